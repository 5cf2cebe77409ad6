"""Finds the clocks whose next step is due, and the clocks whose calendar has changed.

What it costs depends on what is due: both are found by partial indexes of open clocks. Each clock tells only of the
strongest step that is due, so that an outage ends in one event a clock. Workers that sweep at the same time skip each
other's rows, and an event that is there already is not written twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import fetch_all, fetch_one
from gateway.engine.leases import Held
from gateway.runtime import Runtime
from gateway.sla.clock import Clock
from gateway.sla.clocks import TICKETS, catch_up, is_ours
from gateway.sla.rows import load, write
from gateway.sla.stored import Calendars
from gateway.sla.told import Told, tell_helpdesks, told_of

DUE_CLOCKS = """
WHERE state = 'running' AND next_at <= :now ORDER BY next_at LIMIT :limit FOR UPDATE SKIP LOCKED
"""

# found by the index of open clocks and versions, locked in the order that everybody locks in
STALE_CLOCKS = """
WHERE id IN (SELECT id FROM clock WHERE calendar_id = :calendar AND calendar_version < :version
        AND state IN ('running', 'paused') ORDER BY calendar_version LIMIT :limit)
ORDER BY id FOR UPDATE
"""


@dataclass
class Swept:
    """What one transaction of the sweep did."""

    clocks: int
    wakes: set[str] = field(default_factory=set)


async def sweep_due(connection: AsyncConnection, calendars: Calendars, now: datetime, limit: int) -> Swept:
    """Take the steps that are due of up to `limit` clocks, the longest overdue first, in the caller's transaction."""
    clocks = await load(connection, calendars, DUE_CLOCKS, now=now, limit=limit)
    if not clocks:
        return Swept(0)
    before = await _Standing.of(connection, calendars, clocks)
    await _follow_calendars(connection, calendars, clocks, now)
    following = await catch_up(connection, clocks, now)
    for clock in following:
        before.clocks[clock.ticket_id].append(clock)
    for clock in clocks:
        if not clock.open:
            continue
        if is_ours(before.owners.get(clock.ticket_id, "gateway"), clock.kind):
            clock.sweep(now)
        else:
            clock.cancel(now, f"sla_owner: {before.owners[clock.ticket_id]}")
    await write(connection, [*clocks, *following], now)
    return Swept(len(clocks), await tell_helpdesks(connection, before.news(), now, urgent=True))


async def replan_calendar(
    connection: AsyncConnection, calendars: Calendars, calendar: UUID, now: datetime, limit: int
) -> Swept:
    """Plan up to `limit` open clocks anew that an older version of this calendar was counted by.

    A breach that the calendar's change undoes is voided; one that it makes is left to the sweep.
    """
    row = await fetch_one(connection, "SELECT version FROM calendar WHERE id = :id", id=calendar)
    if row is None:
        return Swept(0)
    values = {"calendar": calendar, "version": row["version"], "limit": limit}
    clocks = await load(connection, calendars, STALE_CLOCKS, **values)
    if not clocks:
        return Swept(0)
    before = await _Standing.of(connection, calendars, clocks)
    await _follow_calendars(connection, calendars, clocks, now)
    await write(connection, clocks, now)
    return Swept(len(clocks), await tell_helpdesks(connection, before.news(), now))


@dataclass
class _Standing:
    """The tickets of some clocks, with all their clocks and what was told of them before."""

    owners: dict[UUID, str]
    helpdesks: dict[UUID, UUID | None]
    clocks: dict[UUID, list[Clock]]
    told: dict[UUID, Told | None]

    @classmethod
    async def of(cls, connection: AsyncConnection, calendars: Calendars, clocks: Sequence[Clock]) -> _Standing:
        """Load what is told of the tickets of these clocks."""
        ids = sorted({clock.ticket_id for clock in clocks})
        rows = await fetch_all(connection, TICKETS, ids=ids)
        others = "WHERE ticket_id = ANY(:tickets) AND NOT id = ANY(:clocks)"
        by_ticket: dict[UUID, list[Clock]] = defaultdict(list)
        taken = [clock.id for clock in clocks]
        for clock in (*clocks, *await load(connection, calendars, others, tickets=ids, clocks=taken)):
            by_ticket[clock.ticket_id].append(clock)
        return cls(
            owners={row["named"]: row["owner"] for row in rows},
            helpdesks={row["named"]: row["helpdesk_id"] for row in rows},
            clocks=by_ticket,
            told={id: told_of(found) for id, found in by_ticket.items()},
        )

    def news(self) -> list[tuple[UUID, UUID | None, Told | None]]:
        """What is to be told anew."""
        return [
            (id, self.helpdesks.get(id), told)
            for id, found in self.clocks.items()
            if (told := told_of(found)) != self.told[id]
        ]


async def _follow_calendars(
    connection: AsyncConnection, calendars: Calendars, clocks: Sequence[Clock], now: datetime
) -> None:
    """Plan those anew whose calendar has a newer version: no step may be told of by hours that are over."""
    rows = await fetch_all(
        connection,
        "SELECT id, version FROM calendar WHERE id = ANY(:ids)",
        ids=sorted({clock.calendar_id for clock in clocks}),
    )
    current = {row["id"]: row["version"] for row in rows}
    known = await calendars.of(connection, set(current.items()))
    for clock in clocks:
        version = current[clock.calendar_id]
        if clock.calendar_version != version:
            key = (clock.calendar_id, version)
            clock.retarget(clock.terms, now, calendar=(*key, known[key]))


async def drain_clocks(runtime: Runtime, held: Held) -> bool:
    """The drain `clock:sweep`: take the steps that are due. Returns whether there may be more."""
    limit = runtime.settings.batch
    async with runtime.database.write() as connection:
        await held.check(connection)
        swept = await sweep_due(connection, runtime.calendars, runtime.now(), limit)
    await runtime.wake(swept.wakes)
    return swept.clocks == limit


async def drain_calendar(runtime: Runtime, calendar: UUID, held: Held) -> bool:
    """Part of the drain `calendar:<id>`: let open clocks follow its change. Returns whether there may be more."""
    limit = runtime.settings.batch
    async with runtime.database.write() as connection:
        await held.check(connection)
        swept = await replan_calendar(connection, runtime.calendars, calendar, runtime.now(), limit)
    await runtime.wake(swept.wakes)
    return swept.clocks == limit
