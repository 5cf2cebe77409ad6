"""What a change of a calendar would do to open clocks, worked out without changing any."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import fetch_one
from gateway.sla.calendars import Calendar
from gateway.sla.clock import Clock, copy_of
from gateway.sla.rows import load
from gateway.sla.stored import Calendars

MOST_EXAMINED = 20_000
MOST_SHOWN = 200
BATCH = 1000


@dataclass(frozen=True)
class Moved:
    """One clock that would change."""

    clock: UUID
    ticket: UUID
    kind: str
    due_at: datetime | None
    would_be: datetime | None
    breach: Literal["none", "new", "voided"]


@dataclass
class Previewed:
    """What a change would do."""

    open_clocks: int
    examined: int = 0
    changed: int = 0
    would_breach: int = 0
    would_be_voided: int = 0
    clocks: list[Moved] = field(default_factory=list)


async def preview(
    connection: AsyncConnection, calendars: Calendars, id: UUID, changed: Calendar, now: datetime
) -> Previewed:
    """Plan open clocks of a calendar by another one, the earliest due first."""
    counted = await fetch_one(
        connection,
        "SELECT count(*) AS found FROM clock WHERE calendar_id = :id AND state IN ('running', 'paused')",
        id=id,
    )
    assert counted is not None
    found = Previewed(counted["found"])
    clocks = await load(
        connection,
        calendars,
        "WHERE calendar_id = :calendar AND state IN ('running', 'paused') ORDER BY due_at NULLS LAST, id LIMIT :most",
        calendar=id,
        most=MOST_EXAMINED,
    )
    found.examined = len(clocks)
    for start in range(0, len(clocks), BATCH):
        # the process has others to serve
        await asyncio.to_thread(_compare, found, clocks[start : start + BATCH], changed, now)
    return found


def _compare(found: Previewed, clocks: Sequence[Clock], changed: Calendar, now: datetime) -> None:
    for clock in clocks:
        tried = copy_of(clock, calendar=changed)
        tried.plan()
        if tried.due_at == clock.due_at:
            continue
        late = tried.due_at is not None and tried.due_at <= now
        was_late = clock.breached_at is not None or (clock.due_at is not None and clock.due_at <= now)
        breach: Literal["none", "new", "voided"] = "none"
        if late != was_late:
            breach = "new" if late else "voided"
        found.changed += 1
        found.would_breach += breach == "new"
        found.would_be_voided += breach == "voided"
        if len(found.clocks) < MOST_SHOWN:
            found.clocks.append(Moved(clock.id, clock.ticket_id, clock.kind, clock.due_at, tried.due_at, breach))
