"""Answers of which nobody knows whether they are out: the source is asked, and only proof counts.

"Not found" is believed only where the source proves it. Where it cannot tell, a person is asked to look.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.connections import Endpoint
from gateway.db.database import execute, fetch_all
from gateway.engine.leases import Held
from gateway.events.announce import announce_replies
from gateway.pipeline.leaving import REPEAT
from gateway.pipeline.marks import mark_push
from gateway.pipeline.published import note_sent
from gateway.pipeline.trouble import Trouble, note_attempt, note_trouble, trouble_of
from gateway.runtime import Runtime
from gateway_schemas.reply import Absent, FindResult, Found, NotYet, Rendered, SendIntent, absent_is_proof
from gateway_schemas.source import Source

OUTER = 1.0
"""Seconds by which the last resort comes after the client's own deadline, which knows whether anything was sent."""


async def ask_after_unknown(runtime: Runtime, endpoint: Endpoint, source: Source[Any], held: Held) -> None:
    """Replies whose outcome nobody recorded: ask the source, and act on proof only."""
    now = runtime.now()
    async with runtime.database.write() as connection:
        await held.check(connection)
        await execute(
            connection,
            """UPDATE reply SET state = CASE WHEN amends IS NULL THEN 'unknown' ELSE 'queued' END, code = 'interrupted',
                   reason = 'the call was interrupted', due_at = :now
               WHERE connection_id = :connection AND state = 'sending' AND deadline_at < clock_timestamp()""",
            connection=endpoint.id,
            now=now,
        )
        rows = await fetch_all(
            connection,
            """SELECT id, key, rendered, started_at, tries, doubt FROM reply
               WHERE connection_id = :connection AND state = 'unknown' AND code <> 'needs_person' AND due_at <= :now
               ORDER BY started_at LIMIT 20""",
            connection=endpoint.id,
            now=now,
        )
    for row in rows:
        started = time.monotonic()
        answer: FindResult | None = None
        trouble: Trouble | None = None
        intent = SendIntent(
            key=row["key"],
            rendered=Rendered.model_validate(row["rendered"]),
            started_at=row["started_at"],
            until=runtime.restored.until if row["doubt"] == "asking" and runtime.restored is not None else None,
        )
        try:
            async with asyncio.timeout(runtime.settings.call_timeout + OUTER):
                answer = await source.find(intent)
        except Exception as error:  # recorded; the reply stays unknown
            trouble = trouble_of(error)
        now = runtime.now()
        async with runtime.database.write() as connection:
            await held.check(connection)
            wakes = await _learn(connection, runtime, endpoint, source, row, answer, trouble, now)
            if trouble is not None:
                await note_trouble(connection, endpoint, trouble, now)
            await note_attempt(
                connection, endpoint.id, "find", str(row["id"]), trouble, now, int((time.monotonic() - started) * 1000)
            )
        await runtime.wake(wakes)
        if trouble is not None and trouble.kind in ("retry", "reauthorise"):
            return


async def _learn(
    connection: AsyncConnection,
    runtime: Runtime,
    endpoint: Endpoint,
    source: Source[Any],
    row: Mapping[str, Any],
    answer: FindResult | None,
    trouble: Trouble | None,
    now: datetime,
) -> set[str]:
    lag = source.capabilities.index_lag
    match answer:
        case Found():
            return await note_sent(
                connection, runtime, endpoint, row["id"], answer.external_id, answer.url, answer.at or now, now, None
            )
        case Absent() if absent_is_proof(row["started_at"], now, lag):
            await _requeue(connection, row["id"], now)
            return {f"send:{endpoint.id}", f"reply:{endpoint.id}"}
        case Absent() if lag is not None:
            await _ask_again(connection, row["id"], row["started_at"] + lag, now)
            return set()
        case NotYet():
            await _ask_again(connection, row["id"], now + answer.after, now)
            return set()
    if trouble is not None and trouble.kind in ("retry", "reauthorise", "unknown"):
        await _ask_again(connection, row["id"], now + trouble.delay(min(row["tries"] + 2, 5)), now)
        return set()
    if source.capabilities.idempotent_send and trouble is not None:
        await _requeue(connection, row["id"], now, code=REPEAT)
        return {f"send:{endpoint.id}"}
    reason = "The source cannot tell whether it was published. Please look there, and answer again only if it was not."
    await execute(
        connection,
        """UPDATE reply SET code = 'needs_person', reason = :reason, updated_at = :now
           WHERE id = :id AND state = 'unknown'""",
        id=row["id"],
        reason=reason,
        now=now,
    )
    await announce_replies(connection, "reply.unknown", [row["id"]], now)
    drain = await mark_push(connection, row["id"], "unknown", reason=reason, now=now)
    return {drain} if drain else set()


async def _requeue(connection: AsyncConnection, reply_id: UUID, now: datetime, code: str | None = None) -> None:
    await execute(
        connection,
        # what was only in doubt after a restore is decided on as it stands now
        """UPDATE reply SET state = CASE WHEN doubt = 'asking' AND CAST(:code AS text) IS NULL THEN 'received'
                   ELSE 'queued' END,
               doubt = CASE WHEN doubt = 'asking' THEN 'settled' ELSE doubt END,
               code = :code, reason = NULL, due_at = :now, updated_at = :now
           WHERE id = :id AND state = 'unknown'""",
        id=reply_id,
        code=code,
        now=now,
    )


async def _ask_again(connection: AsyncConnection, reply_id: UUID, due: datetime, now: datetime) -> None:
    await execute(
        connection,
        "UPDATE reply SET due_at = :due, updated_at = :now WHERE id = :id AND state = 'unknown'",
        id=reply_id,
        due=max(due, now + timedelta(seconds=1)),
        now=now,
    )
