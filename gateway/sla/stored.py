"""Calendars in the database: their definitions as documents, and the calendars that a process has worked with."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import as_json, execute, fetch_all
from gateway.db.tables.calendar import ALWAYS_ID
from gateway.sla.calendars import Calendar
from gateway.sla.hours import Hours, Region, read_week

KEPT = 256
"""How many versions of calendars a process keeps with their worked-out years."""

CURRENT = "SELECT id, name, version FROM calendar WHERE deleted_at IS NULL AND name = ANY(:names)"


def hours_of(definition: Mapping[str, Any]) -> Hours:
    """The hours that a stored definition describes."""
    region = definition.get("holiday_region")
    return Hours(
        timezone=definition["timezone"],
        week=read_week(definition["hours"]),
        closed=_dates(definition.get("holidays")),
        region=Region(region["country"], region.get("subdivision")) if region else None,
        fed=_dates(definition.get("feed_days")),
    )


def _dates(days: Any) -> frozenset[date]:
    return frozenset(date.fromisoformat(day) for day in days or ())


class Calendars:
    """The calendars of one process. A version never changes, so what was worked out once stays right."""

    def __init__(self) -> None:
        self._kept: dict[tuple[UUID, int], Calendar] = {}

    async def of(
        self, connection: AsyncConnection, wanted: Collection[tuple[UUID, int]]
    ) -> dict[tuple[UUID, int], Calendar]:
        """The calendars of these ids and versions."""
        missing = sorted({key for key in wanted if key not in self._kept})
        if missing:
            rows = await fetch_all(
                connection,
                """SELECT calendar_id, version, definition FROM calendar_version WHERE (calendar_id, version) IN
                   (SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:versions AS int[])))""",
                ids=[id for id, _ in missing],
                versions=[version for _, version in missing],
            )
            for row in rows:
                self._kept[(row["calendar_id"], row["version"])] = Calendar(hours_of(row["definition"]))
        found = {key: self._kept[key] for key in wanted}
        while len(self._kept) > KEPT:
            del self._kept[next(iter(self._kept))]
        return found

    async def named(self, connection: AsyncConnection, names: Collection[str]) -> dict[str, tuple[UUID, int]]:
        """Id and current version of the calendars of these names; one that is gone is left out."""
        rows = await fetch_all(connection, CURRENT, names=sorted(set(names)))
        return {row["name"]: (row["id"], row["version"]) for row in rows}


async def write_version(
    connection: AsyncConnection, id: UUID, version: int, definition: Mapping[str, Any], author: str, now: datetime
) -> None:
    """Store a new version of a calendar and make it the current one, in the caller's transaction.

    Open clocks follow: the tick sees that they were planned by an older version and wakes the calendar's drain.
    """
    await execute(
        connection,
        """INSERT INTO calendar_version (calendar_id, version, definition, author, created_at)
           VALUES (:id, :version, CAST(:definition AS jsonb), :author, :now)""",
        id=id,
        version=version,
        definition=as_json(definition),
        author=author,
        now=now,
    )
    await execute(
        connection,
        "UPDATE calendar SET version = :version, updated_at = :now WHERE id = :id",
        id=id,
        version=version,
        now=now,
    )


__all__ = ["ALWAYS_ID", "Calendars", "hours_of", "write_version"]
