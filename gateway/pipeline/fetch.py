"""Station 3: what a delivery names but does not carry is asked for, once for all who want it.

Missing ancestors, the tickets a thin webhook names, expired media. What comes back is stored as a delivery before
anything is read from it, and goes through `normalise` like everything else.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.connections import Endpoint
from gateway.db.database import as_json, execute, fetch_all
from gateway.engine.leases import Held
from gateway.engine.shards import SHARDS, crowd_shard
from gateway.pipeline.trouble import Trouble, note_attempt, note_success, note_trouble, trouble_of
from gateway.pipeline.waiting import release_waiting
from gateway.runtime import Runtime
from gateway_schemas.interaction import Wanted
from gateway_schemas.webhook import RawPage

log = logging.getLogger(__name__)

SKEW = timedelta(seconds=60)
"""How far a provider's clock may be from ours before a fetch is taken as older than the change it should show."""
GIVE_UP_AFTER = 12
BATCH = 100


async def want(
    connection: AsyncConnection,
    wanted: Sequence[tuple[Endpoint, Wanted, datetime]],
    now: datetime,
    depths: Mapping[tuple[UUID, str], int] | None = None,
    *,
    due: datetime | None = None,
) -> set[str]:
    """Note what is wanted, unless an answer that is fresh enough has been fetched. Returns the drains to wake.

    `depths` says how far up its conversation an ancestor is, by connection and reference. `due` is when it is asked
    for if nobody wants it sooner; None: now.
    """
    rows: dict[tuple[Any, str, str], dict[str, Any]] = {}
    for endpoint, item, seen_at in wanted:
        # a thin webhook says that something changed before it was received; a poll names the time of the change
        fresh_from = {"ancestor": None, "thin": seen_at, "expired": seen_at}.get(item.reason)
        if item.reason == "refresh" and item.at is not None:
            fresh_from = item.at + SKEW
        key = (endpoint.id, item.kind, item.ref)
        earlier = rows.get(key)
        if earlier and earlier["fresh_from"] and (fresh_from is None or earlier["fresh_from"] > fresh_from):
            fresh_from = earlier["fresh_from"]
        rows[key] = {
            "connection_id": endpoint.id,
            "kind": item.kind,
            "ref": item.ref,
            "reason": item.reason,
            "depth": (depths or {}).get((endpoint.id, item.ref), 0),
            "fresh_from": fresh_from,
        }
    if not rows:
        return set()
    noted = await fetch_all(
        connection,
        """
        INSERT INTO wanted AS w
            (connection_id, kind, ref, reason, depth, state, generation, due_at, attempts, created_at)
        SELECT connection_id, kind, ref, reason, depth, 'pending', 1, :due, 0, :now
        FROM jsonb_to_recordset(CAST(:rows AS jsonb))
             AS g (connection_id uuid, kind text, ref text, reason text, depth int, fresh_from timestamptz)
        ORDER BY connection_id, kind, ref
        ON CONFLICT (connection_id, kind, ref) DO UPDATE
        SET generation = w.generation + 1, state = 'pending', reason = EXCLUDED.reason,
            due_at = CASE WHEN w.state <> 'pending' THEN EXCLUDED.due_at
                          WHEN w.attempts > 0 THEN w.due_at  -- after a failure it has its time
                          ELSE LEAST(w.due_at, EXCLUDED.due_at) END,
            attempts = CASE WHEN w.state = 'pending' THEN w.attempts ELSE 0 END
        WHERE EXISTS (
            SELECT 1 FROM jsonb_to_recordset(CAST(:rows AS jsonb))
                 AS g (connection_id uuid, kind text, ref text, fresh_from timestamptz)
            WHERE g.connection_id = w.connection_id AND g.kind = w.kind AND g.ref = w.ref AND (
                CASE WHEN g.fresh_from IS NULL THEN w.state = 'failed'
                     ELSE w.fetched_at IS NULL OR w.fetched_at < g.fresh_from END))
        RETURNING w.connection_id
        """,
        rows=as_json([rows[key] for key in sorted(rows, key=str)]),
        due=due or now,
        now=now,
    )
    return {f"fetch:{row['connection_id']}" for row in noted}


async def fetch_due(runtime: Runtime, endpoint: Endpoint, held: Held) -> bool:
    """Fetch what is due for one connection. Returns whether there may be more."""
    now = runtime.now()
    async with runtime.database.read() as connection:
        due = await fetch_all(
            connection,
            """SELECT id, kind, ref, reason, generation, attempts FROM wanted
               WHERE connection_id = :connection AND state = 'pending' AND due_at <= :now ORDER BY due_at,
                      id LIMIT :limit""",
            connection=endpoint.id,
            now=now,
            limit=BATCH,
        )
    if not due:
        return False
    plugin = runtime.connections.instance(endpoint, outgoing=runtime.outgoing)
    asked = [Wanted(ref=row["ref"], kind=row["kind"], reason=row["reason"], account=endpoint.account) for row in due]
    started = time.monotonic()
    pages: Sequence[RawPage] = ()
    trouble: Trouble | None = None
    try:
        pages = await plugin.fetch(asked)
    except Exception as error:  # whatever it is, it is recorded on every row that was asked for
        trouble = trouble_of(error)
    milliseconds = int((time.monotonic() - started) * 1000)
    wakes = await _settle(runtime, endpoint, held, due, pages, trouble, now, milliseconds)
    await runtime.wake(wakes)
    return trouble is None and len(due) == BATCH


async def _settle(
    runtime: Runtime,
    endpoint: Endpoint,
    held: Held,
    due: Sequence[Mapping[str, Any]],
    pages: Sequence[RawPage],
    trouble: Trouble | None,
    began: datetime,
    milliseconds: int,
) -> set[str]:
    now = runtime.now()
    async with runtime.database.write() as connection:
        await held.check(connection)
        if trouble is not None:
            await _postpone(connection, due, trouble, now)
            await note_trouble(connection, endpoint, trouble, now)
            await note_attempt(connection, endpoint.id, "fetch", str(due[0]["ref"]), trouble, now, milliseconds)
            return set()
        answered = {ref for page in pages for ref in page.answers}
        gone = {ref for page in pages for ref in page.gone}
        wakes = await store_pages(connection, endpoint, "fetch", pages, now)
        unanswered = [row for row in due if row["ref"] not in answered | gone]
        for state, refs in (("done", answered), ("gone", gone)):
            await execute(
                connection,
                """UPDATE wanted w SET fetched_at = :began, attempts = 0, error = NULL,
                       state = CASE WHEN w.generation = g.generation THEN :state ELSE 'pending' END
                   FROM unnest(CAST(:ids AS bigint[]), CAST(:generations AS int[])) AS g (id, generation)
                   WHERE w.id = g.id""",
                began=began,
                state=state,
                ids=[row["id"] for row in due if row["ref"] in refs],
                generations=[row["generation"] for row in due if row["ref"] in refs],
            )
        if unanswered:
            await _postpone(
                connection, unanswered, Trouble("retry", "unanswered", "the provider did not answer for it"), now
            )
        await note_success(connection, endpoint, now)
    if gone:
        async with runtime.database.read() as connection:
            wakes |= await release_waiting(connection, now)
    return wakes


async def _postpone(
    connection: AsyncConnection, rows: Sequence[Mapping[str, Any]], trouble: Trouble, now: datetime
) -> None:
    for row in rows:
        tries = row["attempts"] + 1
        final = trouble.kind in ("rejected", "gone") or tries >= GIVE_UP_AFTER
        await execute(
            connection,
            """UPDATE wanted SET attempts = :tries, due_at = :due, error = :error,
                   state = CASE WHEN :final THEN 'failed' ELSE state END WHERE id = :id""",
            id=row["id"],
            tries=tries,
            due=now + trouble.delay(tries),
            error=trouble.reason,
            final=final,
        )


async def store_pages(
    connection: AsyncConnection,
    endpoint: Endpoint,
    origin: str,
    pages: Sequence[RawPage],
    now: datetime,
    *,
    crowd: bool = False,
) -> set[str]:
    """Store what a plugin got from its API as deliveries, in the caller's transaction. A crowd gives way to others."""
    pages = [page for page in pages if page.body]
    if not pages:
        return set()
    number = endpoint.id.bytes[15]
    shard = crowd_shard(number) if crowd else number % SHARDS
    await execute(
        connection,
        """
        INSERT INTO delivery (received_at, app_id, connection_id, role, origin, stream, method, query, headers,
            body, note,
                              shard, state, attempts)
        SELECT :now, CAST(:app AS uuid), :connection, :role, :origin, stream, '', '', '', body, CAST(note AS jsonb),
               :shard, 'pending', 0
        FROM unnest(CAST(:streams AS text[]), CAST(:bodies AS bytea[]), CAST(:notes AS text[])) AS p (stream, body,
            note)
        """,
        now=now,
        app=endpoint.app_id,
        connection=endpoint.id,
        role=endpoint.role,
        origin=origin,
        shard=shard,
        streams=[page.stream for page in pages],
        bodies=[page.body for page in pages],
        notes=[as_json(page.note) for page in pages],
    )
    return {f"inbox:{shard}"}
