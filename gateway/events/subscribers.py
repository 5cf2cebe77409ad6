"""What people do with subscriptions: make, change, stop, let go on, replay. In the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import execute, fetch_all
from gateway.events.announce import WANTS
from gateway.events.kinds import KINDS, TEST

MOST = 50
"""Subscriptions of one installation: each that fails keeps a request under way."""


def unknown_kinds(kinds: Iterable[str]) -> list[str]:
    """Those that are neither a kind, nor a family (`reply.*`), nor `*`."""
    known = {"*", *KINDS, *(kind.family for kind in KINDS.values())}
    return [one for one in kinds if one not in known]


@dataclass(frozen=True)
class Chosen:
    """Which events are replayed: those of a span of time, or these."""

    since: datetime | None = None
    until: datetime | None = None
    ids: Sequence[UUID] | None = None
    only: Literal["all", "not_delivered"] = "all"


# by `event_at`, or by primary key; what is on its way already keeps its turn
REPLAY = f"""
INSERT INTO event_delivery AS d (subscription_id, event_id, state, tries, due_at, replays, created_at)
SELECT :id, chosen.id, 'pending', 0,
       CAST(:now AS timestamptz) + make_interval(secs => :step) * (chosen.place - 1), 1, :now
FROM (SELECT e.id, row_number() OVER (ORDER BY e.at, e.id) AS place FROM event e JOIN subscription s ON s.id = :id
      LEFT JOIN event_delivery known ON known.subscription_id = s.id AND known.event_id = e.id
      WHERE e.kind <> '{TEST}' AND {WANTS.format(event="e")}
        AND (CAST(:since AS timestamptz) IS NULL OR e.at >= :since)
        AND (CAST(:until AS timestamptz) IS NULL OR e.at < :until)
        AND (CAST(:ids AS uuid[]) IS NULL OR e.id = ANY(:ids))
        AND known.state IS DISTINCT FROM 'pending' AND (:all OR known.state IS DISTINCT FROM 'delivered')
      ORDER BY e.at, e.id LIMIT :limit) AS chosen
ON CONFLICT (subscription_id, event_id) DO UPDATE
SET state = 'pending', tries = 0, due_at = EXCLUDED.due_at, deadline_at = NULL, done_at = NULL, replays = d.replays + 1
WHERE d.state <> 'pending'
RETURNING d.due_at
"""


async def replay(
    connection: AsyncConnection, id: UUID, chosen: Chosen, now: datetime, *, per_minute: int, limit: int
) -> tuple[int, datetime | None]:
    """Tell a subscription again of events that it asks for, under the ids they have, one after another at a rate.

    Returns how many, and the last one's turn.
    """
    rows = await fetch_all(
        connection,
        REPLAY,
        id=id,
        now=now,
        step=timedelta(minutes=1).total_seconds() / per_minute,
        since=chosen.since,
        until=chosen.until,
        ids=None if chosen.ids is None else list(chosen.ids),
        all=chosen.only == "all",
        limit=limit,
    )
    return len(rows), max((row["due_at"] for row in rows), default=None)


async def pause(connection: AsyncConnection, id: UUID, reason: str, now: datetime) -> None:
    """Tell it nothing and keep nothing new for it. What is due to it already stays."""
    await execute(
        connection,
        """UPDATE subscription SET state = 'paused', reason = :reason, stopped_at = :now, version = version + 1,
               updated_at = :now WHERE id = :id""",
        id=id,
        reason=reason,
        now=now,
    )


async def resume(connection: AsyncConnection, id: UUID, now: datetime) -> None:
    """Let a paused or disabled one go on, as if it had never failed; what is due to it goes out at once."""
    await execute(
        connection,
        """UPDATE subscription SET state = 'active', reason = NULL, stopped_at = NULL, failures = 0,
               failing_since = NULL, wait_until = NULL, last_error = NULL, version = version + 1, updated_at = :now
           WHERE id = :id""",
        id=id,
        now=now,
    )
    await execute(
        connection,
        "UPDATE event_delivery SET due_at = :now WHERE subscription_id = :id AND state = 'pending' AND due_at > :now",
        id=id,
        now=now,
    )
