"""Calendars as files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.api.calendar_models import CalendarChange, NewCalendar
from gateway.api.calendars import (
    SELECT,
    add_calendar,
    alter_calendar,
    definition_of,
    fetched,
    remove_calendar,
)
from gateway.api.configs import checked_ranges
from gateway.api.problems import Problem
from gateway.configuration.documents import OneLine
from gateway.configuration.kinds import COMMAND_LINE, Faults, Ground, Kind, Stored, Wanted, Work, without
from gateway.configuration.policies import calendars_in
from gateway.configuration.secrets import UNREADABLE, Secret, fill
from gateway.db.database import Row, fetch_all, fetch_one
from gateway.db.tables.calendar import ALWAYS_ID
from gateway.db.tables.columns import new_id
from gateway.runtime import Runtime
from gateway.security.scopes import Scope
from gateway.security.vault import VaultError
from gateway.sla.feeds import FeedDays, context
from gateway.sla.hours import WEEKDAYS

UNDERSTOOD: dict[str, Any] = {"holidays": [], "holiday_region": None, "feed": None, "allow_private": []}


class CalendarFile(NewCalendar):
    """A calendar; its feed's address may hold a key, so that it may be a placeholder."""

    feed: str | dict[str, Any] | None = None  # type: ignore[assignment]


class Calendars(Kind[NewCalendar]):
    """The hours that time targets count. The built-in `always` has no file."""

    folder = "calendars"
    noun = "calendar"
    Model = CalendarFile
    scopes = (Scope.policies_activate,)
    table = "calendar"
    removal = "delete"

    async def stored(self, connection: AsyncConnection, runtime: Runtime) -> list[Stored]:
        rows = await fetch_all(connection, f"{SELECT} WHERE k.deleted_at IS NULL ORDER BY k.name")
        return [
            Stored(row["name"], _content(runtime, row), row, str(row["version"]))
            for row in rows
            if row["id"] != ALWAYS_ID
        ]

    async def want(
        self, given: NewCalendar, file: str, stored: Stored | None, ground: Ground, faults: Faults
    ) -> Wanted[NewCalendar] | None:
        document = given.model_dump(mode="json")
        known = {"feed": _feed(ground.runtime, stored.row)} if stored is not None else None
        filled = fill({"feed": document["feed"]}, ground.secrets, known)
        ground.kept |= {one.name for one in filled.kept}
        for path, one in filled.missing:
            faults.add(file, path, f"there is no value for {one}", f"set {one}, or leave the feed out")
        if filled.missing:
            return None
        feed = filled.content["feed"]
        try:
            given = NewCalendar.model_validate({**document, "feed": feed})
            definition = definition_of(given)
            checked_ranges(given.allow_private)
        except Problem as problem:
            faults.absorb(file, problem)
            return None
        except ValueError:
            faults.add(file, "feed", "is no address of at most 2,000 characters", "give {from_env: NAME}")
            return None
        content = {
            "name": given.name,
            **definition,
            "feed": Secret.of(feed) if feed is not None else None,
            "allow_private": given.allow_private,
        }
        return Wanted(given.name, file, given, content)

    def written(self, stored: Stored) -> dict[str, Any]:
        content = without(stored.content, UNDERSTOOD)
        hours = stored.content["hours"]
        content["hours"] = {day: [OneLine(period) for period in hours[day]] for day in WEEKDAYS if day in hours}
        if region := content.get("holiday_region"):
            content["holiday_region"] = {name: value for name, value in region.items() if value is not None}
        return content

    async def prepare(
        self, runtime: Runtime, stored: Stored | None, wanted: Wanted[NewCalendar]
    ) -> tuple[Any, FeedDays | None]:
        id = stored.id if stored is not None else new_id()
        if stored is not None and stored.content["feed"] == wanted.content["feed"]:
            return id, None
        return id, await fetched(runtime, id, wanted.given.feed, wanted.given.allow_private)

    async def create(self, work: Work, wanted: Wanted[NewCalendar]) -> None:
        id, found = work.prepared[wanted.file]
        await add_calendar(work.connection, work.runtime, id, wanted.given, found, _author(work))

    async def change(self, work: Work, stored: Stored, wanted: Wanted[NewCalendar]) -> None:
        _, found = work.prepared[wanted.file]
        document = wanted.given.model_dump(exclude={"name"})
        if stored.content["feed"] == wanted.content["feed"]:
            del document["feed"]
        change = CalendarChange.model_validate(document)
        await alter_calendar(work.connection, work.runtime, stored.row, change, found, _author(work))
        work.wakes.add(f"calendar:{stored.id}")

    async def check_removal(self, stored: Stored, ground: Ground, faults: Faults) -> None:
        for name, policy in sorted(ground.given.get("policies", {}).items()):
            if stored.key in calendars_in(policy.model_dump(mode="json")):
                faults.add("", "", f"the calendar {stored.key} has no file, and the policy {name} names it", "add one")
        found = await fetch_one(
            ground.connection,
            "SELECT count(*) AS open FROM clock WHERE calendar_id = :id AND state IN ('running', 'paused')",
            id=stored.id,
        )
        if found is not None and found["open"]:
            message = f"the calendar {stored.key} has no file, and {found['open']} open clocks go by it"
            faults.add("", "", message, "add one, or prune when they have ended")

    async def remove(self, work: Work, stored: Stored) -> None:
        await remove_calendar(work.connection, stored.row, work.now)


def _content(runtime: Runtime, row: Row) -> Mapping[str, Any]:
    definition = row["definition"]
    feed = None
    if row["feed"] is not None:
        url = _feed(runtime, row)
        feed = Secret.of(url) if url is not None else UNREADABLE
    return {
        "name": row["name"],
        "timezone": definition["timezone"],
        "hours": definition["hours"],
        "holidays": definition.get("holidays", []),
        "holiday_region": definition.get("holiday_region"),
        "feed": feed,
        "allow_private": list(row["allow_private"]),
    }


def _feed(runtime: Runtime, row: Row) -> str | None:
    if row["feed"] is None:
        return None
    try:
        url: str = runtime.vault.unseal(row["feed"], context(row["id"]))["url"]
    except VaultError:
        return None
    return url


def _author(work: Work) -> str:
    return f"key:{work.caller.id}" if work.caller is not None else COMMAND_LINE
