"""What an installation that was restored from a backup must not believe: that nothing happened since.

Between the backup (`since`) and the restore (`until`) the lost installation went on making tickets and sending answers,
and nothing here knows of it. Polling brings back what customers and agents wrote in that time; before anything that may
be done already is done, its provider is asked. That covers what was waiting when the backup was taken and what is
gathered anew: whatever it is about happened before `until`. Rows of `push` and `reply` say in `doubt` how far that is:
nothing yet, `asking`, or `settled`.

It works because the marks that providers keep follow from what a thing is, and not from when it was first seen:
`stable_id`.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import as_json, execute, fetch_all, fetch_one

FACT = "restored"
SPACE = UUID("6f1c41f0-6a55-5a0e-9d0c-6f2f3f6d3c11")
"""Tells our stable ids from other people's version 5 UUIDs."""
PATIENCE = timedelta(minutes=15)
"""How long after a restore answers wait for all that was missed to be gathered, and the brand's own posts of that time
for the answers that they may be."""


def stable_id(*parts: object) -> UUID:
    """An id that a lost installation gave and a restored one gives again, because it follows from what is named."""
    return uuid.uuid5(SPACE, "\n".join(map(str, parts)))


@dataclass
class Restored:
    """The time that is missing."""

    since: datetime
    until: datetime
    caught_up: bool = False
    """Whether everything that polling brings back is there. Before that it is not known what an answer answers."""

    def doubts_push(self, row: Mapping[str, Any]) -> bool:
        """Whether a helpdesk may have this already."""
        return row["doubt"] is None and row["at"] <= self.until

    def own_posts_wait(self, published_at: datetime, now: datetime) -> bool:
        """Whether an own post may be an answer whose row is still to be gathered."""
        return self.since - PATIENCE <= published_at <= self.until and now < self.until + PATIENCE


REPLY_DOUBTED = """(r.doubt IS NULL AND r.amends IS NULL AND r.code IS DISTINCT FROM 'repeat' AND (
    r.written_at <= :until OR (r.origin = 'policy' AND EXISTS (
        SELECT 1 FROM ticket q WHERE q.id = r.ticket_id AND q.last_inbound_at <= :until))))"""
"""SQL: whether the answer of row `r` may be out already. What a policy asks customers has no time of its own."""


WAITS = f"(CAST(:waits AS boolean) AND {REPLY_DOUBTED})"
"""SQL: whether answer `r` has to wait until everything is gathered; see `waiting`."""


def waiting(restored: Restored | None, now: datetime) -> dict[str, Any]:
    """The parameters of `WAITS`."""
    if restored is None or restored.caught_up:
        return {"waits": False, "until": now}
    return {"waits": True, "until": restored.until}


CAUGHT_UP = """
SELECT NOT (
    EXISTS (SELECT 1 FROM cursor k JOIN connection c ON c.id = k.connection_id
            WHERE c.status = 'active' AND NOT c.paused_in
              AND (k.polled_at IS NULL OR k.polled_at < :until OR k.next_at <= k.polled_at))
    OR EXISTS (SELECT 1 FROM delivery WHERE state = 'pending')
    OR EXISTS (SELECT 1 FROM revision WHERE state = 'pending')
    OR EXISTS (SELECT 1 FROM wanted WHERE state = 'pending' AND due_at <= :now)
    OR EXISTS (SELECT 1 FROM push WHERE state IN ('pending', 'in_flight', 'job') AND at <= :until
               AND kind <> 'update' AND doubt IS DISTINCT FROM 'settled')
) AS caught_up
"""


async def catch_up(connection: AsyncConnection, restored: Restored, now: datetime) -> None:
    """Called by the tick: note when what was missed has been polled, read, and found or told."""
    if not restored.caught_up:
        row = await fetch_one(connection, CAUGHT_UP, until=restored.until, now=now)
        restored.caught_up = now > restored.until + PATIENCE or (row is not None and bool(row["caught_up"]))


async def load(connection: AsyncConnection) -> Restored | None:
    """The newest restore of this installation; None where there was none."""
    row = await fetch_one(connection, "SELECT value FROM fact WHERE name = :name", name=FACT)
    if row is None:
        return None
    value = row["value"]
    return Restored(datetime.fromisoformat(value["since"]), datetime.fromisoformat(value["until"]))


async def mark(connection: AsyncConnection, restored: Restored) -> None:
    """Called by the restore, before anything may work on the data: from now on nothing of that time is believed."""
    await execute(
        connection,
        """INSERT INTO fact (name, value) VALUES (:name, CAST(:value AS jsonb))
           ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value""",
        name=FACT,
        value=as_json({"since": restored.since, "until": restored.until}),
    )
    # what was missed is fetched at once
    await execute(connection, "UPDATE cursor SET next_at = :now", now=restored.until)
    # settled in an earlier restore is not settled in this one
    await execute(connection, "UPDATE push SET doubt = NULL WHERE doubt IS NOT NULL AND state IN ('pending', 'failed')")
    await execute(
        connection,
        # what was under way when the backup was taken may have been tried again at any time since
        """UPDATE reply SET doubt = CASE WHEN state IN ('sending', 'unknown') THEN 'asking' END
           WHERE state NOT IN ('sent', 'cancelled', 'retracted')""",
    )


async def doubt_replies(connection: AsyncConnection, restored: Restored, now: datetime) -> set[str]:
    """Set out to ask after every answer that may be out already, also those that wait for a person.

    Called before answers are sent and by the tick. Returns the drains to wake.
    """
    if not restored.caught_up:
        return set()
    rows = await fetch_all(
        connection,
        f"""UPDATE reply u SET state = 'unknown', doubt = 'asking', code = 'restored', started_at = :since,
               reason = 'restored from a backup: it may have been published since', due_at = :now, updated_at = :now
           FROM reply r WHERE u.id = r.id AND r.state IN ('queued', 'held') AND r.rendered IS NOT NULL
             AND {REPLY_DOUBTED} RETURNING u.connection_id""",
        since=restored.since,
        until=restored.until,
        now=now,
    )
    return {f"send:{row['connection_id']}" for row in rows}


def ask_apart(rows: Sequence[Mapping[str, Any]], *, exists: bool, talking: Sequence[str]) -> list[Mapping[str, Any]]:
    """Of a ticket's pending rows, in order: those up to the first comment, so that each comment is asked after alone.

    On a ticket that exists, state that comes before a comment goes by itself: it may be written twice.
    """
    first = next((at for at, row in enumerate(rows) if row["kind"] in talking), len(rows))
    if exists and first > 0:
        return list(rows[:first])
    return list(rows[: first + 1])
