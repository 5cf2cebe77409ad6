"""Dead letters: what a helpdesk or a source refused for good, tried again when a person says so, at a rate.

A row stays `failed` until its turn, so that nothing of its ticket waits for it, and is looked at once more then:

- A push goes back to where an interrupted one is. The helpdesk is asked for it under the key it went out with, and only
  where it is proven not to be there it goes out again, under that key and unchanged. What newer changes have made
  wrong, or what a customer deleted meanwhile, is dropped.
- A reply is decided on anew, like any other, under its key. One that was out, or may be, is never redriven.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import Row, execute, fetch_all, fetch_one
from gateway.registry import Registry
from gateway.runtime import Runtime

Kind = Literal["push", "reply"]
AT_ONCE = 200
"""Dead letters that one tick sets going."""

# Of push `p`. The newer rows of a ticket are found by `push_of_ticket`.
PUSH_OBSTACLE = """CASE
    WHEN p.kind IN ('update', 'mark') AND EXISTS (
        SELECT 1 FROM push n WHERE n.ticket_id = p.ticket_id AND n.id > p.id AND n.kind IN ('update', 'mark')
          AND n.state NOT IN ('failed', 'dropped')) THEN 'superseded'
    WHEN EXISTS (SELECT 1 FROM interaction i WHERE i.id = p.interaction_id AND i.deleted_at IS NOT NULL
                 AND p.kind = 'comment') THEN 'deleted'
    WHEN p.change_key IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM connection c WHERE c.id = p.helpdesk_id AND c.plugin = ANY(:proving)) THEN 'cannot_ask'
END"""

# Of reply `r`. A call whose outcome was ever unknown may have published it, whatever a later call was told.
REPLY_OBSTACLE = """CASE
    WHEN r.external_id IS NOT NULL OR r.sent_at IS NOT NULL THEN 'was_published'
    WHEN EXISTS (SELECT 1 FROM attempt a WHERE a.thing_id = r.id::text
                 AND (a.outcome = 'unknown' OR a.kind = 'find')) THEN 'may_be_out'
    WHEN EXISTS (SELECT 1 FROM reply n WHERE n.ticket_id = r.ticket_id AND (n.created_at, n.id) > (r.created_at, r.id)
                 AND n.interaction_id IS NOT DISTINCT FROM r.interaction_id
                 AND n.state NOT IN ('cancelled', 'blocked')) THEN 'answered_since'
END"""

OBSTACLES = {
    "superseded": "newer changes of the ticket were told since: this one would undo them",
    "deleted": "the customer deleted the message meanwhile",
    "cannot_ask": "the helpdesk cannot prove that it does not have it",
    "was_published": "it was published, and the source took it down",
    "may_be_out": "the outcome of a call was unknown: it may be published; please look there",
    "answered_since": "the same message has another answer since",
}
"""Why a dead letter is not tried again."""

SELECT: dict[Kind, str] = {
    "push": f"""SELECT p.id, p.ticket_id, p.helpdesk_id AS connection_id, p.kind AS action, p.code, p.reason, p.tries,
                       COALESCE(p.done_at, p.created_at) AS failed_at, p.redrive_at, {PUSH_OBSTACLE} AS obstacle
                FROM push p""",
    "reply": f"""SELECT r.id, r.ticket_id, r.connection_id, 'send' AS action, r.code, r.reason, r.tries,
                        r.updated_at AS failed_at, r.redrive_at, {REPLY_OBSTACLE} AS obstacle
                 FROM reply r""",
}


def proving(registry: Registry) -> list[str]:
    """The helpdesk plugins whose "not there" is a proof, sooner or later."""
    return [name for name, plugin in registry.helpdesks.items() if plugin.capabilities.index_lag is not None]


async def schedule(
    connection: AsyncConnection,
    kind: Kind,
    rows: Sequence[Row],
    per_minute: int | None,
    now: datetime,
) -> datetime | None:
    """Give these failed rows, which the caller has locked, their turns; the last one's time.

    The rate holds across calls: turns begin after those that were given before. Without `per_minute` all are due now.
    """
    if not rows:
        return None
    step = timedelta(minutes=1) / per_minute if per_minute is not None else timedelta()
    start = now
    if per_minute is not None:
        before = await fetch_one(connection, f"SELECT max(redrive_at) AS at FROM {kind} WHERE redrive_at IS NOT NULL")
        if before is not None and before["at"] is not None:
            start = max(now, before["at"] + step)
    turns = [start + step * place for place in range(len(rows))]
    type = "bigint" if kind == "push" else "uuid"
    await execute(
        connection,
        f"""UPDATE {kind} d SET redrive_at = g.at
            FROM unnest(CAST(:ids AS {type}[]), CAST(:turns AS timestamptz[])) AS g (id, at)
            WHERE d.id = g.id AND d.state = 'failed'""",
        ids=[row["id"] for row in rows],
        turns=turns,
    )
    return turns[-1]


async def redrive_due(runtime: Runtime, now: datetime) -> set[str]:
    """Called by every tick: set going whose turn it is. Returns the drains to wake after its commit."""
    async with runtime.database.read() as connection:
        row = await fetch_one(
            connection,
            """SELECT EXISTS (SELECT 1 FROM push WHERE redrive_at <= :now) AS push,
                      EXISTS (SELECT 1 FROM reply WHERE redrive_at <= :now) AS reply""",
            now=now,
        )
    wakes: set[str] = set()
    if row is not None and row["push"]:
        async with runtime.database.write() as connection:
            wakes |= await _pushes(connection, proving(runtime.registry), now)
    if row is not None and row["reply"]:
        async with runtime.database.write() as connection:
            wakes |= await _replies(connection, now)
    return wakes


# Rows that went out as one change are asked for as that change: its other rows come along.
DUE_PUSHES = f"""
WITH due AS (
    SELECT id, ticket_id, change_key FROM push WHERE redrive_at <= :now ORDER BY redrive_at, id LIMIT :limit
)
SELECT p.id, p.helpdesk_id, p.change_key, {PUSH_OBSTACLE} AS obstacle FROM push p
WHERE p.state = 'failed' AND (p.id IN (SELECT id FROM due)
    OR (p.ticket_id, p.change_key) IN (SELECT ticket_id, change_key FROM due WHERE change_key IS NOT NULL))
ORDER BY p.id FOR UPDATE OF p
"""


async def _pushes(connection: AsyncConnection, provable: list[str], now: datetime) -> set[str]:
    rows = await fetch_all(connection, DUE_PUSHES, now=now, limit=AT_ONCE, proving=provable)
    await _forget_turns(connection, "push", now)
    dropped = {row["id"]: OBSTACLES[row["obstacle"]] for row in rows if row["obstacle"] in ("superseded", "deleted")}
    await execute(
        connection,
        """UPDATE push p SET state = 'dropped', reason = g.reason, done_at = :now, redrive_at = NULL
           FROM unnest(CAST(:ids AS bigint[]), CAST(:reasons AS text[])) AS g (id, reason) WHERE p.id = g.id""",
        ids=list(dropped),
        reasons=list(dropped.values()),
        now=now,
    )
    stuck = [row["id"] for row in rows if row["obstacle"] == "cannot_ask"]
    await execute(connection, "UPDATE push SET redrive_at = NULL WHERE id = ANY(:ids)", ids=stuck)
    going = [row for row in rows if row["obstacle"] is None]
    await execute(
        connection,
        # a call was made: found in flight after its deadline, it is asked after; none was made: it simply goes out
        """UPDATE push SET state = CASE WHEN change_key IS NULL THEN 'pending' ELSE 'in_flight' END,
               deadline_at = clock_timestamp(), due_at = :now, done_at = NULL, redrive_at = NULL
           WHERE id = ANY(:ids)""",
        ids=[row["id"] for row in going],
        now=now,
    )
    return {f"push:{row['helpdesk_id']}" for row in going}


async def _replies(connection: AsyncConnection, now: datetime) -> set[str]:
    rows = await fetch_all(
        connection,
        f"""SELECT r.id, r.connection_id, {REPLY_OBSTACLE} AS obstacle FROM reply r
            WHERE r.redrive_at <= :now AND r.state = 'failed' ORDER BY r.redrive_at, r.id LIMIT :limit
            FOR UPDATE OF r SKIP LOCKED""",
        now=now,
        limit=AT_ONCE,
    )
    await _forget_turns(connection, "reply", now)
    await execute(
        connection,
        "UPDATE reply SET redrive_at = NULL WHERE id = ANY(:ids)",
        ids=[row["id"] for row in rows if row["obstacle"] is not None],
    )
    going = [row for row in rows if row["obstacle"] is None]
    ids: list[UUID] = [row["id"] for row in going]
    await execute(
        connection,
        """UPDATE reply SET state = 'received', code = NULL, reason = NULL, due_at = :now, redrive_at = NULL,
               updated_at = :now WHERE id = ANY(:ids) AND state = 'failed'""",
        ids=ids,
        now=now,
    )
    return {f"reply:{row['connection_id']}" for row in going}


async def _forget_turns(connection: AsyncConnection, kind: Kind, now: datetime) -> None:
    """Turns of rows that have left `failed` by another way."""
    await execute(
        connection, f"UPDATE {kind} SET redrive_at = NULL WHERE redrive_at <= :now AND state <> 'failed'", now=now
    )


def told(row: Row) -> dict[str, Any]:
    """A dead letter's row as it is answered."""
    return {**row, "id": str(row["id"])}
