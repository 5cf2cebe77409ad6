"""Calendars: the hours that time targets count."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import APIRouter, Query, Response
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.api.calendar_models import (
    CalendarChange,
    CalendarContent,
    CalendarView,
    ChangedClock,
    DueView,
    ElapsedView,
    FeedView,
    NewCalendar,
    PreviewView,
)
from gateway.api.configs import checked_ranges
from gateway.api.deps import ActivatesPolicies, ReadsPolicies, RuntimeDep
from gateway.api.etags import IfMatch, check_match, etag
from gateway.api.lookup import as_id
from gateway.api.models import Page, Since
from gateway.api.paging import Filters, PagingDep, list_page
from gateway.api.problems import conflict, invalid, not_found, responses
from gateway.api.routes import ApiRoute
from gateway.db.database import Row, execute, fetch_one
from gateway.db.tables.calendar import ALWAYS_ID
from gateway.db.tables.columns import new_id
from gateway.runtime import Runtime
from gateway.security.keys import Caller
from gateway.sla.calendars import Calendar, NeverDue
from gateway.sla.feeds import EVERY, FeedDays, context, fed, fetch_feed
from gateway.sla.hours import (
    HoursInvalid,
    Region,
    check_region,
    check_zone,
    holiday_data_version,
    read_week,
    write_week,
)
from gateway.sla.preview import Previewed, preview
from gateway.sla.stored import hours_of, write_version
from gateway.sla.zones import tzdata_version
from gateway_schemas.errors import GatewayError, Retry

router = APIRouter(prefix="/calendars", tags=["clocks"], route_class=ApiRoute)

SELECT = """
SELECT k.id, k.name, k.version, k.feed, k.allow_private, k.feed_due_at, k.feed_fetched_at, k.feed_problem, k.created_at,
       k.updated_at, v.definition
FROM calendar k JOIN calendar_version v ON v.calendar_id = k.id AND v.version = k.version
"""

Minutes = Annotated[float, Query(ge=0, le=10_000_000, description="Open minutes; fractions count.")]

YEARS = (1970, 2200)

IN_USE = """
SELECT (SELECT count(*) FROM clock WHERE calendar_id = :id AND state IN ('running', 'paused')) AS clocks,
    EXISTS (SELECT 1 FROM (
        SELECT DISTINCT ON (policy_id) policy_id, revision FROM policy_activation
        WHERE effective_from <= :now AND (effective_until IS NULL OR effective_until > :now) AND withdrawn_at IS NULL
        ORDER BY policy_id, effective_from DESC, id DESC) AS standing
    JOIN policy_revision r ON r.policy_id = standing.policy_id AND r.number = standing.revision
    WHERE jsonb_path_exists(r.content, '$.params.**.calendar ? (@ == $name)',
        jsonb_build_object('name', CAST(:name AS text)))) AS named
"""


@router.post("", status_code=201, responses=responses(409))
async def create_calendar(
    runtime: RuntimeDep, caller: ActivatesPolicies, given: NewCalendar, response: Response
) -> CalendarView:
    """Make a calendar. A feed is fetched at once: one that cannot be read is refused."""
    id = new_id()
    definition_of(given)  # what is wrong with it is said before anything is fetched
    found = await fetched(runtime, id, given.feed, checked_ranges(given.allow_private))
    async with runtime.database.write() as connection:
        await add_calendar(connection, runtime, id, given, found, _author(caller))
        view = _view(runtime, await _find(connection, str(id)))
    response.headers["Location"] = f"/v1/calendars/{given.name}"
    response.headers["ETag"] = etag(view.version)
    return view


async def add_calendar(
    connection: AsyncConnection, runtime: Runtime, id: UUID, given: NewCalendar, found: FeedDays | None, author: str
) -> None:
    """Make a calendar in the caller's transaction; `found` is what its feed gave. Raises Problem 409 and 422."""
    now = runtime.now()
    definition = definition_of(given)
    row = await fetch_one(
        connection,
        """INSERT INTO calendar (id, name, version, feed, allow_private, feed_due_at, feed_fetched_at, created_at,
               updated_at)
           VALUES (:id, :name, 0, :feed, :private, :due, :fetched, :now, :now)
           ON CONFLICT (name) WHERE deleted_at IS NULL DO NOTHING RETURNING id""",
        id=id,
        name=given.name,
        feed=_sealed(runtime, id, given.feed),
        private=checked_ranges(given.allow_private),
        due=now + EVERY if found is not None else None,
        fetched=now if found is not None else None,
        now=now,
    )
    if row is None:
        raise conflict(f"There is a calendar {given.name} already.", field="name")
    if found is not None:
        definition |= fed(found)
    await write_version(connection, id, 1, definition, author, now)


@router.get("")
async def list_calendars(runtime: RuntimeDep, _: ReadsPolicies, paging: PagingDep) -> Page[CalendarView]:
    """All calendars, oldest first, the built-in `always` before them."""
    filters = Filters(["k.deleted_at IS NULL"])
    async with runtime.database.read() as connection:
        rows, following = await list_page(connection, SELECT, filters, paging, id="k.id", newest_first=False)
    return Page(items=[_view(runtime, row) for row in rows], next=following)


@router.get("/{calendar_name}")
async def read_calendar(runtime: RuntimeDep, _: ReadsPolicies, calendar_name: str, response: Response) -> CalendarView:
    """One calendar, by its name or id."""
    async with runtime.database.read() as connection:
        view = _view(runtime, await _find(connection, calendar_name))
    response.headers["ETag"] = etag(view.version)
    return view


@router.put("/{calendar_name}", responses=responses(409, 412))
async def replace_calendar(
    runtime: RuntimeDep,
    caller: ActivatesPolicies,
    calendar_name: str,
    given: CalendarContent,
    response: Response,
    if_match: IfMatch = None,
) -> CalendarView:
    """Write a calendar anew; its name stays. Open clocks are planned anew within seconds."""
    given = given.model_copy()
    given.model_fields_set.update(type(given).model_fields)
    return await _change(runtime, caller, calendar_name, given, response, if_match)


@router.patch("/{calendar_name}", responses=responses(409, 412))
async def change_calendar(
    runtime: RuntimeDep,
    caller: ActivatesPolicies,
    calendar_name: str,
    given: CalendarChange,
    response: Response,
    if_match: IfMatch = None,
) -> CalendarView:
    """Change a calendar. Open clocks are planned anew within seconds; a breach that the change undoes is voided."""
    return await _change(runtime, caller, calendar_name, given, response, if_match)


@router.delete("/{calendar_name}", status_code=204, responses=responses(409, 412))
async def delete_calendar(
    runtime: RuntimeDep, _: ActivatesPolicies, calendar_name: str, if_match: IfMatch = None
) -> None:
    """Delete a calendar that no open clock and no policy in force goes by. Its versions stay for decisions that named
    them."""
    async with runtime.database.write() as connection:
        row = await _find(connection, calendar_name, lock=True)
        check_match(if_match, row["version"])
        await remove_calendar(connection, row, runtime.now())


async def remove_calendar(connection: AsyncConnection, row: Row, now: datetime) -> None:
    """Delete a calendar in the caller's transaction. Raises Problem 409 where something goes by it."""
    use = await fetch_one(connection, IN_USE, id=row["id"], name=row["name"], now=now)
    assert use is not None
    if use["clocks"] or use["named"]:
        by = f"{use['clocks']} open clocks" if use["clocks"] else "a policy in force"
        raise conflict(f"The calendar {row['name']} is used by {by}.", clocks=use["clocks"])
    await execute(
        connection,
        "UPDATE calendar SET deleted_at = :now, feed = NULL, feed_due_at = NULL WHERE id = :id",
        id=row["id"],
        now=now,
    )


@router.get("/{calendar_name}/due")
async def calendar_due(
    runtime: RuntimeDep, _: ReadsPolicies, calendar_name: str, start: Since, minutes: Minutes
) -> DueView:
    """When so many open minutes have passed since a moment. What starts while closed counts from the next opening."""
    _in_range("start", start)
    async with runtime.database.read() as connection:
        row = await _find(connection, calendar_name)
        calendar = await _calendar(connection, runtime, row)
    try:
        due = await asyncio.to_thread(calendar.due, start, timedelta(minutes=minutes))
    except NeverDue as error:
        raise invalid("minutes", str(error), "ask for fewer, or open the calendar for longer") from error
    local = due.astimezone(calendar.zone)
    return DueView(calendar=row["name"], version=row["version"], start=start, minutes=minutes, due=local)


@router.get("/{calendar_name}/elapsed")
async def calendar_elapsed(
    runtime: RuntimeDep, _: ReadsPolicies, calendar_name: str, start: Since, end: Since
) -> ElapsedView:
    """How many open minutes pass between two moments; 0 when the end is not after the start."""
    _in_range("start", start)
    _in_range("end", end)
    async with runtime.database.read() as connection:
        row = await _find(connection, calendar_name)
        calendar = await _calendar(connection, runtime, row)
    passed = await asyncio.to_thread(calendar.elapsed, start, end)
    minutes = passed / timedelta(minutes=1)
    return ElapsedView(calendar=row["name"], version=row["version"], start=start, end=end, minutes=minutes)


@router.post("/{calendar_name}/preview")
async def preview_calendar(
    runtime: RuntimeDep, _: ReadsPolicies, calendar_name: str, given: CalendarChange
) -> PreviewView:
    """What a change would do to open clocks: which would be due at another time, be breached at once, or be breached
    no longer. Nothing is changed."""
    async with runtime.database.read() as connection:
        row = await _find(connection, calendar_name)
    if row["id"] == ALWAYS_ID:
        raise conflict("The calendar always is built in; it cannot be changed.")
    definition = _changed(row["definition"], given)
    if "feed" in given.model_fields_set:
        private = row["allow_private"] if given.allow_private is None else checked_ranges(given.allow_private)
        definition = _with_feed(definition, await fetched(runtime, row["id"], given.feed, private))
    async with runtime.database.read() as connection:
        found: Previewed = await preview(
            connection, runtime.calendars, row["id"], Calendar(hours_of(definition)), runtime.now()
        )
    return PreviewView(
        open_clocks=found.open_clocks,
        examined=found.examined,
        changed=found.changed,
        would_breach=found.would_breach,
        would_be_voided=found.would_be_voided,
        clocks=[ChangedClock(**dataclasses.asdict(one)) for one in found.clocks],
    )


def definition_of(given: CalendarContent) -> dict[str, Any]:
    """A calendar as it is stored. Raises Problem 422 that names the field and the mend."""
    try:
        region = given.holiday_region
        if region is not None:
            check_region(Region(region.country, region.subdivision))
        return {
            "timezone": check_zone(given.timezone),
            "hours": write_week(read_week(given.hours)),
            "holidays": sorted({day.isoformat() for day in given.holidays}),
            "holiday_region": region.model_dump() if region is not None else None,
        }
    except HoursInvalid as error:
        raise invalid(error.field, error.message, error.fix) from error


async def _change(
    runtime: Runtime,
    caller: Caller,
    calendar_name: str,
    given: CalendarChange,
    response: Response,
    if_match: str | None,
) -> CalendarView:
    async with runtime.database.read() as connection:
        row = await _find(connection, calendar_name)
    if row["id"] == ALWAYS_ID:
        raise conflict("The calendar always is built in; it cannot be changed.", fix="make one of your own")
    check_match(if_match, row["version"])
    private = row["allow_private"] if given.allow_private is None else checked_ranges(given.allow_private)
    new_feed = "feed" in given.model_fields_set
    _changed(row["definition"], given)  # what is wrong with it is said before anything is fetched
    found = await fetched(runtime, row["id"], given.feed, private) if new_feed else None
    async with runtime.database.write() as connection:
        row = await _find(connection, str(row["id"]), lock=True)
        check_match(if_match, row["version"])
        await alter_calendar(connection, runtime, row, given, found, _author(caller))
        view = _view(runtime, await _find(connection, str(row["id"])))
    await runtime.wake([f"calendar:{view.id}"])
    response.headers["ETag"] = etag(view.version)
    return view


async def alter_calendar(
    connection: AsyncConnection,
    runtime: Runtime,
    row: Row,
    given: CalendarChange,
    found: FeedDays | None,
    author: str,
) -> None:
    """Change a calendar in the caller's transaction; `found` is what its feed gives, where that is among the changes.
    Raises Problem 422."""
    now = runtime.now()
    definition = _changed(row["definition"], given)
    if "feed" in given.model_fields_set:
        definition = _with_feed(definition, found)
        await execute(
            connection,
            """UPDATE calendar SET feed = :feed, feed_due_at = :due, feed_fetched_at = :fetched,
                   feed_problem = NULL WHERE id = :id""",
            id=row["id"],
            feed=_sealed(runtime, row["id"], given.feed),
            due=now + EVERY if found is not None else None,
            fetched=now if found is not None else None,
        )
    private = row["allow_private"] if given.allow_private is None else checked_ranges(given.allow_private)
    await execute(
        connection, "UPDATE calendar SET allow_private = :private WHERE id = :id", id=row["id"], private=private
    )
    await write_version(connection, row["id"], row["version"] + 1, definition, author, now)


def _changed(stored: Mapping[str, Any], given: CalendarChange) -> dict[str, Any]:
    """A stored definition with a change on top. Raises Problem 422."""
    named = given.model_fields_set
    region = stored.get("holiday_region")
    for needed in ("timezone", "hours"):
        if needed in named and getattr(given, needed) is None:
            raise invalid(needed, "cannot be taken away", "leave it out to keep it")
    whole = CalendarContent(
        timezone=given.timezone or stored["timezone"],
        hours=given.hours if given.hours is not None else stored["hours"],
        holidays=(given.holidays or []) if "holidays" in named else stored.get("holidays", []),
        holiday_region=given.holiday_region if "holiday_region" in named else region,
    )
    return {**stored, **definition_of(whole)}


def _with_feed(definition: Mapping[str, Any], found: FeedDays | None) -> dict[str, Any]:
    plain = {name: value for name, value in definition.items() if name not in ("feed_days", "feed_version")}
    return plain if found is None else {**plain, **fed(found)}


async def fetched(runtime: Runtime, id: UUID, feed: str | None, allow_private: list[str]) -> FeedDays | None:
    """What a feed gives at this moment. Raises Problem 422 where it cannot be read."""
    if feed is None:
        return None
    try:
        return await fetch_feed(runtime, id, feed, allow_private, runtime.now())
    except GatewayError as error:
        fix = "try again later" if isinstance(error, Retry) else "give the address of an iCalendar (.ics) document"
        raise invalid("feed", f"it could not be read: {error.reason}", fix) from error


async def _find(connection: AsyncConnection, name: str, *, lock: bool = False) -> Row:
    """A calendar by its name or id. Raises Problem 404, and 409 for a change of the built-in one."""
    where = "WHERE k.deleted_at IS NULL AND (k.id = :id OR k.name = :name)"
    if lock:
        # a statement of its own: one that waited for the row would not see the version that it waited for
        await fetch_one(connection, f"SELECT k.id FROM calendar k {where} FOR UPDATE", id=as_id(name), name=name)
    row = await fetch_one(connection, f"{SELECT} {where}", id=as_id(name), name=name)
    if row is None:
        raise not_found("calendar", name)
    if lock and row["id"] == ALWAYS_ID:
        raise conflict("The calendar always is built in; it cannot be changed.")
    return row


async def _calendar(connection: AsyncConnection, runtime: Runtime, row: Row) -> Calendar:
    key = (row["id"], row["version"])
    return (await runtime.calendars.of(connection, [key]))[key]


def _view(runtime: Runtime, row: Row) -> CalendarView:
    definition = row["definition"]
    feed: FeedView | None = None
    if row["feed"] is not None:
        address = urlsplit(runtime.vault.unseal(row["feed"], context(row["id"]))["url"])
        feed = FeedView(
            origin=f"{address.scheme}://{address.netloc.rpartition('@')[2]}",
            days=len(definition.get("feed_days", ())),
            version=definition.get("feed_version"),
            fetched_at=row["feed_fetched_at"],
            next_fetch_at=row["feed_due_at"],
            problem=row["feed_problem"],
        )
    return CalendarView(
        **{name: row[name] for name in ("id", "name", "version", "allow_private", "created_at", "updated_at")},
        built_in=row["id"] == ALWAYS_ID,
        timezone=definition["timezone"],
        hours=definition["hours"],
        holidays=definition.get("holidays", []),
        holiday_region=definition.get("holiday_region"),
        feed=feed,
        tzdata=tzdata_version(),
        holiday_data=holiday_data_version(),
    )


def _sealed(runtime: Runtime, id: UUID, feed: str | None) -> bytes | None:
    return runtime.vault.seal({"url": feed}, context(id)) if feed is not None else None


def _author(caller: Caller) -> str:
    return caller.actor


def _in_range(field: str, moment: datetime) -> None:
    first, last = YEARS
    if not first <= moment.year < last:
        raise invalid(field, f"lies outside the years {first} to {last - 1}")
