"""What is kept how long: raw deliveries, files, texts and the evidence of decisions, each for its own span.

What is still needed stays whatever its age: open matters, answers on their way, work that is not done. And what a thing
is known again by stays for good, so that an old webhook that is delivered once more is no news.
"""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import execute, fetch_all
from gateway.files.store import Files
from gateway.privacy.registry import EFFECTS, FINDINGS, bare
from gateway.runtime import Runtime
from gateway.settings import Settings

BATCH = 500
SECONDS = 1.0
"""How long one call may go on: upkeep shares its process with the tick."""

SETTLED = """(ticket.status IN ('solved', 'closed') OR ticket.ended IS NOT NULL)
    AND GREATEST(ticket.updated_at, ticket.last_inbound_at) < :before
    AND NOT EXISTS (SELECT 1 FROM reply q WHERE q.ticket_id = ticket.id
        AND q.state IN ('received', 'queued', 'held', 'sending', 'unknown', 'retracting'))
    AND NOT EXISTS (SELECT 1 FROM push p WHERE p.ticket_id = ticket.id AND p.state IN ('pending', 'in_flight', 'job'))
    AND NOT EXISTS (SELECT 1 FROM promise m WHERE m.ticket_id = ticket.id AND m.state = 'open')"""
"""SQL: whether a ticket's matter is over for good, as far as anybody can tell."""
OVER = f"""NOT EXISTS (SELECT 1 FROM ticket WHERE ticket.id = {{ticket}} AND NOT ({SETTLED}))"""


def over(ticket: str) -> str:
    """SQL: whether what belongs to this ticket, or to none, is needed no more."""
    return OVER.format(ticket=ticket)


async def expire(runtime: Runtime, now: datetime) -> tuple[Counter[str], bool]:
    """Forget what is past its time, for a second at most. Returns how much of what, and whether there is more."""
    counts: Counter[str] = Counter()
    began = time.monotonic()
    more = False
    for kind, days in spans(runtime.settings).items():
        if days == 0:
            continue
        before = now - timedelta(days=days)
        while True:
            async with runtime.database.write() as connection:
                touched, gone = await _batch(connection, kind, before, now)
            await _forget_files(runtime.files, gone)
            counts[kind] += touched
            if touched < BATCH:
                break
            if time.monotonic() - began > SECONDS:
                more = True
                break
    return +counts, more


def spans(settings: Settings) -> dict[str, int]:
    """Days by kind; 0 keeps it for good."""
    return {
        "deliveries": settings.keep_deliveries_days,
        "attachments": settings.keep_attachments_days,
        "texts": settings.keep_texts_days,
        "evidence": settings.keep_evidence_days,
    }


async def _batch(connection: AsyncConnection, kind: str, before: datetime, now: datetime) -> tuple[int, list[str]]:
    if kind == "deliveries":
        long_before = before - (now - before)
        return await execute(connection, DELIVERIES, before=before, long_before=long_before, limit=BATCH), []
    if kind == "evidence":
        return await execute(connection, EVIDENCE, before=before, limit=BATCH), []
    if kind == "attachments":
        rows = await fetch_all(connection, ATTACHMENTS, before=before, limit=BATCH)
        copies = sorted({row["sha256"] for row in rows if row["sha256"]})
        kept = await fetch_all(
            connection, "SELECT DISTINCT sha256 FROM attachment WHERE sha256 = ANY(:copies)", copies=copies
        )
        return len(rows), [one for one in copies if one not in {row["sha256"] for row in kept}]
    touched = 0
    for statement in TEXTS:
        touched += await execute(connection, statement, before=before, limit=BATCH)
    return touched, []


async def _forget_files(files: Files, copies: list[str]) -> None:
    for sha256 in copies:
        await files.delete(sha256)


# What failed is kept while somebody may mend the plugin and replay it: as long again.
DELIVERIES = """
DELETE FROM delivery WHERE (id, received_at) IN (
    SELECT id, received_at FROM delivery
    WHERE received_at < :before AND (state IN ('processed', 'ignored')
        OR (state = 'failed' AND received_at < :long_before))
    ORDER BY received_at LIMIT :limit)
"""

EVIDENCE = f"""
UPDATE decision SET "case" = NULL,
    findings = {FINDINGS % "CASE jsonb_typeof(findings) WHEN 'array' THEN findings END"},
    effects = {EFFECTS % "CASE jsonb_typeof(effects) WHEN 'array' THEN effects END"}
WHERE id IN (SELECT d.id FROM decision d WHERE d.at < :before AND d."case" IS NOT NULL AND {over("d.ticket_id")}
             ORDER BY d.id LIMIT :limit)
"""

ATTACHMENTS = f"""
UPDATE attachment a SET data = '{{}}', name = NULL, sha256 = NULL, state = 'refused', reason = 'kept no longer'
FROM (SELECT f.id, f.sha256 FROM attachment f
          LEFT JOIN interaction i ON f.owner = 'interaction' AND i.id = f.owner_id
          LEFT JOIN reply r ON f.owner = 'reply' AND r.id = f.owner_id
      WHERE f.created_at < :before AND f.state = 'stored' AND {over("COALESCE(i.ticket_id, r.ticket_id)")}
      ORDER BY f.id LIMIT :limit FOR UPDATE OF f) AS before
WHERE a.id = before.id RETURNING before.sha256
"""

KEPT = f"""{bare("external_id", "revision", "data -> 'author' ->> 'external_id'")}
    || '{{"extra": {{"kept": "no longer"}}}}'"""

# External ids and revisions stay: by them what is told once more is known.
TEXTS = (
    f"""
    UPDATE interaction SET text = '', url = NULL,
        data = {KEPT}
    WHERE id IN (SELECT i.id FROM interaction i WHERE i.published_at < :before AND i.created_at < :before
                     AND NOT i.data -> 'extra' ? 'kept' AND {over("i.ticket_id")}
                     AND NOT EXISTS (SELECT 1 FROM revision v WHERE v.interaction_id = i.id
                         AND v.state IN ('pending', 'waiting'))
                 ORDER BY i.published_at LIMIT :limit)
    """,
    """
    UPDATE revision SET data = '{}' WHERE id IN (
        SELECT v.id FROM revision v JOIN interaction i ON i.id = v.interaction_id
        WHERE i.published_at < :before AND i.data -> 'extra' ? 'kept' AND v.change <> 'deleted' AND v.data <> '{}'
          AND v.state IN ('done', 'failed') LIMIT :limit)
    """,
    f"""
    UPDATE reply SET text = '', html = NULL, rendered = NULL, decided_on = NULL, findings = NULL, waived = NULL,
        attachments = '{{}}', bands = '{{}}'
    WHERE id IN (SELECT r.id FROM reply r WHERE r.updated_at < :before
                     AND r.state IN ('sent', 'failed', 'cancelled', 'blocked', 'retracted')
                     AND (r.text <> '' OR r.rendered IS NOT NULL) AND {over("r.ticket_id")} ORDER BY r.id LIMIT :limit)
    """,
    f"""
    UPDATE note SET text = ''
    WHERE id IN (SELECT n.id FROM note n WHERE n.at < :before AND n.text <> '' AND {over("n.ticket_id")} LIMIT :limit)
    """,
    f"""
    UPDATE push SET payload = '{{}}'
    WHERE id IN (SELECT p.id FROM push p WHERE p.created_at < :before AND p.state IN ('done', 'dropped')
                     AND p.payload <> '{{}}' AND {over("p.ticket_id")} ORDER BY p.id LIMIT :limit)
    """,
    f"""
    UPDATE promise SET quote = '', detail = '', evidence = ''
    WHERE id IN (SELECT m.id FROM promise m WHERE m.made_at < :before AND m.state <> 'open'
                     AND (m.quote <> '' OR m.detail <> '' OR m.evidence <> '') AND {over("m.ticket_id")} LIMIT :limit)
    """,
    f"""
    UPDATE ticket SET subject = '' WHERE id IN (
        SELECT t.id FROM ticket t WHERE t.subject <> '' AND t.updated_at < :before AND {over("t.id")} LIMIT :limit)
    """,
    f"""
    UPDATE alarm SET message = '' WHERE id IN (
        SELECT l.id FROM alarm l WHERE l.at < :before AND l.message <> '' AND l.acknowledged_at IS NOT NULL
            AND {over("l.ticket_id")} LIMIT :limit)
    """,
)
