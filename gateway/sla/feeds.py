"""Holidays from an iCalendar feed (RFC 5545), such as a calendar that the company shares.

An event that lasts whole days closes those days; repetitions are followed. An event with hours closes nothing, because
a calendar is open or closed by the day. The feed is fetched once a day; its days are kept with the calendar's version,
so that a feed that is away or broken changes nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import icalendar
import recurring_ical_events

from gateway.db.database import execute, fetch_one
from gateway.engine.leases import Held
from gateway.net.download import download
from gateway.runtime import Runtime
from gateway.sla.stored import write_version
from gateway_schemas.errors import GatewayError, Rejected

log = logging.getLogger(__name__)

EVERY = timedelta(days=1)
AGAIN = timedelta(hours=1)
"""When a feed is fetched again that could not be."""
YEARS_BACK, YEARS_AHEAD = 1, 5
"""For which years the days of a feed are kept."""
MOST_EVENTS = 5000
MOST_DAYS = 3000
PATIENCE = 5.0
"""Seconds that working out repetitions may take, which are somebody else's to write."""
FREQUENCIES = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")


class FeedInvalid(Rejected):
    """What a feed gave is no calendar that can be used."""


@dataclass(frozen=True)
class FeedDays:
    """The days that a feed closes, within the years that are kept."""

    days: frozenset[date]
    version: str
    """A digest of what was fetched."""
    timed: int
    """Events with hours, which close nothing."""


def read_feed(data: bytes, now: datetime) -> FeedDays:
    """The days that an iCalendar document closes. Raises FeedInvalid."""
    first, last = date(now.year - YEARS_BACK, 1, 1), date(now.year + YEARS_AHEAD, 12, 31)
    try:
        calendar = icalendar.Calendar.from_ical(data)
        if not isinstance(calendar, icalendar.Calendar):
            raise FeedInvalid("it holds several calendars or none", code="feed_invalid")
        events: list[Any] = [event for event in calendar.walk("VEVENT") if event.get("DTSTART") is not None]
        if len(events) > MOST_EVENTS:
            raise FeedInvalid(f"it has {len(events)} events; at most {MOST_EVENTS} are read", code="feed_too_large")
        whole = [event for event in events if not isinstance(event["DTSTART"].dt, datetime)]
        days = _expand(calendar, whole, first, last)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        # the libraries raise what the odd value made of itself
        raise FeedInvalid(f"it is no iCalendar document: {type(error).__name__}", code="feed_invalid") from error
    return FeedDays(frozenset(days), hashlib.sha256(data).hexdigest()[:16], len(events) - len(whole))


def _expand(calendar: icalendar.Calendar, events: Sequence[Any], first: date, last: date) -> set[date]:
    """The days of all-day events. A repeated event and its exceptions, which share a UID, are worked out together."""
    for event in events:
        _check_repetition(event)
    repeated = {str(event.get("UID")) for event in events if "RRULE" in event or "RDATE" in event}
    series: dict[str, list[Any]] = defaultdict(list)
    for event in events:
        uid = str(event.get("UID"))
        series[uid if uid in repeated else ""].append(event)
    days: set[date] = set()
    began = time.monotonic()
    for together in series.values():
        calendar.subcomponents = together
        for event in recurring_ical_events.of(calendar).between(first, last + timedelta(days=1)):
            if event.get("STATUS") != "CANCELLED":
                days |= _days(event, first, last)
        if len(days) > MOST_DAYS or time.monotonic() - began > PATIENCE:
            raise FeedInvalid(f"it closes more than {MOST_DAYS} days, or repeats too much", code="feed_too_large")
    return days


def _check_repetition(event: Any) -> None:
    rules = event.get("RRULE") or []
    for rule in rules if isinstance(rules, list) else [rules]:
        often = any(str(one).upper() not in FREQUENCIES for one in rule.get("FREQ", ()))
        if often or any(name in rule for name in ("BYHOUR", "BYMINUTE", "BYSECOND")):
            raise FeedInvalid("an event repeats several times a day", code="feed_invalid")


def _days(event: Any, first: date, last: date) -> set[date]:
    begin = event["DTSTART"].dt
    end = event["DTEND"].dt if event.get("DTEND") is not None else begin + timedelta(days=1)
    begin, end = max(begin, first), min(end, last + timedelta(days=1))
    return {begin + timedelta(days=number) for number in range((end - begin).days)}


async def fetch_feed(runtime: Runtime, calendar: UUID, url: str, allow_private: list[str], now: datetime) -> FeedDays:
    """Fetch and read a feed. Raises the contract's errors; their reasons do not hold the URL."""
    data = await download(runtime.outgoing, f"calendar:{calendar}", https(url), allow_private=allow_private)
    return await asyncio.to_thread(read_feed, data, now)


def https(url: str) -> str:
    """The address that a calendar program's `webcal:` address stands for."""
    scheme, colon, rest = url.partition(":")
    return f"https:{rest}" if colon and scheme.lower() in ("webcal", "webcals") else url


def context(calendar: UUID) -> str:
    """What binds a sealed feed address to its calendar."""
    return f"calendar:{calendar}"


async def refresh_feed(runtime: Runtime, calendar: UUID, held: Held) -> None:
    """Part of the drain `calendar:<id>`: fetch its feed when that is due. Other days make a new version."""
    now = runtime.now()
    async with runtime.database.read() as connection:
        row = await fetch_one(
            connection,
            "SELECT feed, allow_private FROM calendar WHERE id = :id AND feed_due_at <= :now AND deleted_at IS NULL",
            id=calendar,
            now=now,
        )
    if row is None or row["feed"] is None:
        return
    found: FeedDays | None = None
    problem: str | None = None
    try:
        url = runtime.vault.unseal(row["feed"], context(calendar))["url"]
        found = await fetch_feed(runtime, calendar, url, row["allow_private"], now)
    except GatewayError as error:
        problem = f"{error.code}: {error.reason}"
        log.warning("the feed of calendar %s could not be read: %s", calendar, problem)
    async with runtime.database.write() as connection:
        await held.check(connection)
        current = await fetch_one(
            connection, "SELECT feed, version FROM calendar WHERE id = :id FOR UPDATE", id=calendar
        )
        if current is None or current["feed"] != row["feed"]:
            return  # somebody entered another one meanwhile
        if found is not None:
            await _follow(connection, calendar, current["version"], found, now)
        await execute(
            connection,
            """UPDATE calendar SET feed_due_at = :due, feed_problem = :problem,
                   feed_fetched_at = CASE WHEN :ok THEN :now ELSE feed_fetched_at END WHERE id = :id""",
            id=calendar,
            due=now + (EVERY if found is not None else AGAIN),
            problem=problem,
            ok=found is not None,
            now=now,
        )


async def _follow(connection: Any, calendar: UUID, version: int, found: FeedDays, now: datetime) -> None:
    row = await fetch_one(
        connection,
        "SELECT definition FROM calendar_version WHERE calendar_id = :id AND version = :version",
        id=calendar,
        version=version,
    )
    assert row is not None
    definition = {**row["definition"], **fed(found)}
    if definition["feed_days"] != row["definition"].get("feed_days"):
        await write_version(connection, calendar, version + 1, definition, "feed", now)


def fed(found: FeedDays) -> Mapping[str, Any]:
    """The part of a definition that a feed gives."""
    return {"feed_days": sorted(day.isoformat() for day in found.days), "feed_version": found.version}
