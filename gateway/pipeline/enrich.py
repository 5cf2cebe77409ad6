"""Between record and thread: facts from elsewhere about whoever wrote, for the policies that read them.

A message whose author nobody has been asked about lately waits for the answer, not longer than the enricher's deadline;
it holds up nobody else. What was said is kept with the account for a while, and stored in each case.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.connections import ConfigInvalid, Endpoint, PluginMissing
from gateway.db.database import as_json, execute, fetch_all
from gateway.engine.leases import Held
from gateway.net.client import calling
from gateway.pipeline.trouble import Trouble, note_attempt, note_success, note_trouble, trouble_of
from gateway.pipeline.waiting import FACTS, release_waiting
from gateway.policy.sets import PolicySetInForce
from gateway.runtime import Runtime
from gateway_schemas.decision import Case
from gateway_schemas.enricher import MOST_BYTES, Enricher
from gateway_schemas.interaction import Interaction

BATCH = 50
ON_THE_WAY = timedelta(seconds=1)
"""What a message waits beyond the deadline, for a worker to come and ask."""
RETRY = timedelta(minutes=1)
"""When an account is asked about again that nothing could be learnt of."""
RESTS_AFTER, REST = 5, timedelta(seconds=30)
"""Failures in a row after which nobody waits for an enricher for a while."""

ASKABLE = """
SELECT id FROM connection WHERE role = 'enricher' AND name = ANY(:names) AND status = 'active' AND NOT paused_out
    AND (blocked_until IS NULL OR blocked_until <= :now) ORDER BY id
"""

# A row that is known and has not expired is left alone, and so is one that is being asked about already.
ASK = """
INSERT INTO enrichment AS e (connection_id, account_id, interaction_id, facts, asked_at, answer_by, expires_at)
SELECT CAST(:connection AS uuid), g.account_id, g.interaction_id, CAST(:default AS jsonb), :now, :by, :now
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g (account_id uuid, interaction_id uuid) ORDER BY g.account_id
ON CONFLICT (connection_id, account_id) DO UPDATE
SET interaction_id = EXCLUDED.interaction_id, asked_at = EXCLUDED.asked_at, answer_by = EXCLUDED.answer_by
WHERE e.asked_at IS NULL AND e.expires_at <= :now
RETURNING 1
"""

PARK = f"""
UPDATE revision r SET state = 'waiting', waits_for = '{FACTS}' || g.account_id, wait_until = e.answer_by
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g (revision_id bigint, account_id uuid),
     LATERAL (SELECT max(answer_by) AS answer_by FROM enrichment
              WHERE account_id = g.account_id AND asked_at IS NOT NULL AND answer_by > :now) AS e
WHERE r.id = g.revision_id AND r.state = 'pending' AND e.answer_by IS NOT NULL
RETURNING r.id
"""


async def wait_for_facts(
    runtime: Runtime, in_force: PolicySetInForce, held: Held, rows: Sequence[Mapping[str, Any]], now: datetime
) -> list[Mapping[str, Any]]:
    """Have enrichers asked about the authors of a batch. Returns what can be threaded without waiting for an answer."""
    names = in_force.needs("on_interaction").facts
    written = [row for row in rows if row["change"] != "deleted" and row["direction"] == "inbound"]
    if not names or not written:
        return list(rows)
    async with runtime.database.read() as connection:
        ids = [row["id"] for row in await fetch_all(connection, ASKABLE, names=list(names), now=now)]
    asked: list[tuple[Endpoint, Enricher[Any]]] = []
    for endpoint in (await runtime.connections.load(ids)).values() if ids else ():
        try:
            asked.append((endpoint, runtime.connections.enricher(endpoint, outgoing=runtime.outgoing)))
        except (PluginMissing, ConfigInvalid):
            continue  # the connection says so itself; policies see no facts of it
    if not asked:
        return list(rows)
    authors = {row["account_id"]: row["interaction_id"] for row in reversed(written)}
    wakes: set[str] = set()
    async with runtime.database.write() as connection:
        await held.check(connection)
        for endpoint, enricher in sorted(asked, key=lambda one: str(one[0].id)):
            new = await fetch_all(
                connection,
                ASK,
                connection=endpoint.id,
                default=as_json(enricher.default()),
                rows=as_json([{"account_id": one, "interaction_id": authors[one]} for one in sorted(authors, key=str)]),
                by=now + enricher.deadline + ON_THE_WAY,
                now=now,
            )
            if new:
                wakes.add(f"enrich:{endpoint.id}")
        parked = await fetch_all(
            connection,
            PARK,
            rows=as_json([{"revision_id": one["revision_id"], "account_id": one["account_id"]} for one in written]),
            now=now,
        )
    await runtime.wake(wakes)
    waiting = {row["id"] for row in parked}
    return [row for row in rows if row["revision_id"] not in waiting]


@dataclass(frozen=True)
class _Answer:
    """How asking about one account ended."""

    row: Mapping[str, Any]
    facts: dict[str, Any] | None
    trouble: Trouble | None
    milliseconds: int


async def enrich_due(runtime: Runtime, endpoint: Endpoint, held: Held) -> bool:
    """Ask one enricher about whom messages wait for. Returns whether there may be more."""
    async with runtime.database.read() as connection:
        rows = await fetch_all(
            connection,
            """SELECT e.account_id, e.asked_at, i.data::text AS data, a.provider, b.name AS brand, c.name AS connection
               FROM enrichment e JOIN interaction i ON i.id = e.interaction_id JOIN account a ON a.id = e.account_id
                    JOIN connection c ON c.id = i.connection_id LEFT JOIN brand b ON b.id = c.brand_id
               WHERE e.connection_id = :id AND e.asked_at IS NOT NULL ORDER BY e.asked_at LIMIT :limit""",
            id=endpoint.id,
            limit=BATCH,
        )
    if not rows:
        return False
    enricher = runtime.connections.enricher(endpoint, outgoing=runtime.outgoing)
    free = asyncio.Semaphore(runtime.settings.max_in_flight)
    answers = await asyncio.gather(*(_ask(runtime, enricher, row, free) for row in rows))
    now = runtime.now()
    async with runtime.database.write() as connection:
        await held.check(connection)
        for answer in sorted(answers, key=lambda one: str(one.row["account_id"])):
            await _keep(connection, endpoint, enricher, answer, now)
        failed = [answer.trouble for answer in answers if answer.trouble is not None]
        if len(failed) < len(answers):
            await note_success(connection, endpoint, now)
        elif failed:
            await _failed(connection, endpoint, failed[0], now)
    async with runtime.database.read() as connection:
        wakes = await release_waiting(connection, now)
    await runtime.wake(wakes)
    return len(rows) == BATCH


async def _ask(runtime: Runtime, enricher: Enricher[Any], row: Mapping[str, Any], free: asyncio.Semaphore) -> _Answer:
    case = Case(
        now=runtime.now(),
        brand=row["brand"],
        source=row["provider"],
        connection=row["connection"],
        interaction=Interaction.model_validate_json(row["data"]),
    )
    facts: dict[str, Any] | None = None
    trouble: Trouble | None = None
    async with free:
        started = time.monotonic()
        seconds = enricher.deadline.total_seconds()
        try:
            with calling(lane="interactive", seconds=seconds):
                async with asyncio.timeout(seconds):
                    facts = _checked(await enricher.enrich(case))
        except Exception as error:  # recorded with the account; what was known last stands in
            trouble = trouble_of(error)
    return _Answer(row, facts, trouble, int((time.monotonic() - started) * 1000))


def _checked(facts: Any) -> dict[str, Any]:
    """The facts as they can be stored. Raises TypeError and ValueError: a bug of the plugin, and told as one."""
    if not isinstance(facts, dict):
        raise TypeError(f"enrich gave {type(facts).__name__}, not facts by name")
    if len(json.dumps(facts, allow_nan=False).encode()) > MOST_BYTES:
        raise ValueError(f"enrich gave more than {MOST_BYTES} bytes")
    return facts


async def _keep(
    connection: AsyncConnection, endpoint: Endpoint, enricher: Enricher[Any], answer: _Answer, now: datetime
) -> None:
    trouble = answer.trouble
    await execute(
        connection,
        """UPDATE enrichment SET facts = COALESCE(CAST(:facts AS jsonb), facts), failed = :failed, asked_at = NULL,
               answer_by = NULL, expires_at = :expires
           WHERE connection_id = :connection AND account_id = :account AND asked_at = :asked""",
        connection=endpoint.id,
        account=answer.row["account_id"],
        asked=answer.row["asked_at"],
        facts=None if answer.facts is None else as_json(answer.facts),
        failed=f"{trouble.code}: {trouble.reason}"[:500] if trouble is not None else None,
        expires=now + (enricher.cache if trouble is None else min(enricher.cache, RETRY)),
    )
    await note_attempt(
        connection, endpoint.id, "enrich", str(answer.row["account_id"]), trouble, now, answer.milliseconds
    )


async def _failed(connection: AsyncConnection, endpoint: Endpoint, trouble: Trouble, now: datetime) -> None:
    """Show it on the connection. One that fails again and again is left in peace for a while, and nobody waits."""
    await note_trouble(connection, endpoint, trouble, now)
    if trouble.kind == "reauthorise":
        return
    await execute(
        connection,
        """UPDATE connection SET failures = failures + :more, blocked_reason = :reason,
               blocked_until = CASE WHEN failures + :more >= :many THEN GREATEST(blocked_until, :until)
                                    ELSE blocked_until END WHERE id = :id""",
        id=endpoint.id,
        more=0 if trouble.kind == "retry" else 1,
        many=RESTS_AFTER,
        reason=f"{trouble.code}: {trouble.reason}",
        until=now + REST,
    )
