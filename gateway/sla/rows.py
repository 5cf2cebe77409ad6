"""Clocks and their rows: read under a lock, written set-based."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import Row, execute, execute_rows, fetch_all, insert_rows
from gateway.events.announce import Announcement, announce_many
from gateway.sla.calendars import Calendar
from gateway.sla.clock import Clock, Step, Terms
from gateway.sla.stored import Calendars

SELECT = """
SELECT id, ticket_id, kind, policy, revision, slot, label, calendar_id, calendar_version, target, fixed_due,
    steps, stops_on, pauses, credit, started_at, running_since, stretches, asked, state,
    due_at, next_at, step, round, breached_at, stopped_at, stopped_by, reason, remark
FROM clock
"""

PLAIN = (
    *("id", "ticket_id", "kind", "policy", "revision", "slot", "label", "calendar_id", "calendar_version"),
    *("started_at", "running_since", "state", "due_at", "next_at", "step", "round", "breached_at", "stopped_at"),
    *("stopped_by", "reason", "remark", "credit"),
)
"""Columns that are as the clock has them."""

MOVING = (
    *("calendar_id", "calendar_version", "target", "fixed_due", "steps", "stops_on"),
    *("pauses", "credit", "started_at", "running_since", "stretches", "asked", "state", "due_at", "next_at"),
    *("step", "round", "breached_at", "stopped_at", "stopped_by", "reason", "remark", "updated_at"),
)
"""Columns that change."""

UPDATE = f"""
UPDATE clock c SET {", ".join(f"{name} = g.{name}" for name in MOVING)}
FROM jsonb_populate_recordset(NULL::clock, CAST(:rows AS jsonb)) AS g WHERE c.id = g.id
"""


async def load(connection: AsyncConnection, calendars: Calendars, where: str, **values: Any) -> list[Clock]:
    """The clocks that a condition chooses, with their calendars; `where` says what follows SELECT … FROM clock."""
    rows = await fetch_all(connection, SELECT + where, **values)
    known = await calendars.of(connection, {(row["calendar_id"], row["calendar_version"]) for row in rows})
    return [clock_of(row, known[(row["calendar_id"], row["calendar_version"])]) for row in rows]


def clock_of(row: Row, calendar: Calendar) -> Clock:
    """The clock of a row."""
    return Clock(
        **{name: row[name] for name in PLAIN},
        calendar=calendar,
        terms=Terms(
            target=row["target"],
            due=row["fixed_due"],
            steps=tuple(Step(one["at"], one["name"], tuple(one["notify"])) for one in row["steps"]),
            stops_on=row["stops_on"],
            pauses=row["pauses"],
        ),
        stretches=[(_time(begin), _time(end)) for begin, end in row["stretches"]],
        asked=[_time(one) for one in row["asked"]],
    )


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _row(clock: Clock, now: datetime) -> dict[str, Any]:
    terms = clock.terms
    return {
        **{name: getattr(clock, name) for name in PLAIN},
        "target": terms.target,
        "fixed_due": terms.due,
        "steps": [{"at": one.share, "name": one.name, "notify": one.notify} for one in terms.steps],
        "stops_on": terms.stops_on,
        "pauses": terms.pauses,
        "stretches": clock.stretches,
        "asked": clock.asked,
        "created_at": now,
        "updated_at": now,
    }


async def write(connection: AsyncConnection, clocks: Sequence[Clock], now: datetime) -> None:
    """Write new and changed clocks and tell of their events, in the caller's transaction."""
    fresh = sorted(
        (one for one in clocks if one.is_new), key=lambda one: (one.ticket_id, one.kind, one.policy, one.slot)
    )
    stored = await insert_rows(
        connection,
        "clock",
        [_row(one, now) for one in fresh],
        # another process may have started the same clock at this moment
        tail="ON CONFLICT (ticket_id, kind, policy, slot) DO NOTHING RETURNING id",
    )
    gone = {one.id for one in fresh} - {row["id"] for row in stored}
    changed = sorted((one for one in clocks if one.changed and not one.is_new), key=lambda one: one.id)
    await execute_rows(connection, UPDATE, [_row(one, now) for one in changed])
    await _tell(connection, [one for one in clocks if one.id not in gone], now)


async def _tell(connection: AsyncConnection, clocks: Iterable[Clock], now: datetime) -> None:
    rows = [
        {
            "clock_id": clock.id,
            "ticket_id": clock.ticket_id,
            "kind": event.kind,
            "step": event.step,
            "round": event.round,
            "at": event.at,
            "data": event.data,
            "created_at": now,
        }
        for clock in clocks
        for event in clock.events
    ]
    fresh = await insert_rows(
        connection,
        "clock_event",
        rows,
        tail="ON CONFLICT DO NOTHING RETURNING clock_id, kind, at, data ->> 'name' AS step, data -> 'notify' AS notify",
    )
    told = [
        Announcement(
            f"clock.{row['kind']}",
            row["clock_id"],
            {"at": row["at"], "step": row["step"], "notify": row["notify"] or []},
        )
        for row in fresh
    ]
    await announce_many(connection, told, now)


async def move_clocks(connection: AsyncConnection, source: UUID, target: UUID, now: datetime) -> None:
    """Let open clocks go on at the ticket that takes another one's place, where it has none of their own."""
    both = "SELECT id FROM clock WHERE ticket_id IN (:source, :target) ORDER BY id FOR UPDATE"
    await fetch_all(connection, both, source=source, target=target)
    await execute(
        connection,
        """UPDATE clock c SET ticket_id = :target, updated_at = :now
           WHERE c.ticket_id = :source AND c.state IN ('running', 'paused')
             AND NOT EXISTS (SELECT 1 FROM clock o WHERE o.ticket_id = :target
                 AND (o.kind, o.policy, o.slot) = (c.kind, c.policy, c.slot))""",
        source=source,
        target=target,
        now=now,
    )
    await execute(
        connection,
        """UPDATE clock SET state = 'cancelled', reason = 'the ticket it was moved to has one of its own',
               next_at = NULL, running_since = NULL, stopped_at = :now, updated_at = :now
           WHERE ticket_id = :source AND state IN ('running', 'paused')""",
        source=source,
        now=now,
    )
