"""News of what we sent: shown after the provider's own review, refused by it, or taken down later.

A reply that was refused or taken down afterwards must not look published: it ends failed, and the agent reads why on
the ticket, which is opened again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.connections import Endpoint
from gateway.db.database import as_json, fetch_all
from gateway.events.announce import announce_replies
from gateway.pipeline.marks import mark_push, published_push
from gateway_schemas.interaction import SendStatus

UNDER_REVIEW = "under_review"
"""The code of a sent reply that the provider shows only after looking at it."""


async def note_statuses(
    connection: AsyncConnection, statuses: Sequence[tuple[Endpoint, SendStatus]], now: datetime
) -> set[str]:
    """Write what became of replies, in the caller's transaction. Returns the drains to wake after its commit."""
    newest: dict[tuple[str, str], SendStatus] = {}
    for endpoint, item in statuses:
        newest[str(endpoint.id), item.external_id] = item
    if not newest:
        return set()
    rows = await fetch_all(
        connection,
        # most statuses are of replies made elsewhere, or say what is known: those change no row
        """
        UPDATE reply r SET updated_at = :now,
            state = CASE WHEN g.state IN ('rejected', 'removed') THEN 'failed' ELSE r.state END,
            code = CASE WHEN g.state IN ('rejected', 'removed') THEN 'source_' || g.state END,
            reason = CASE WHEN g.state IN ('rejected', 'removed')
                THEN COALESCE(g.reason, 'the source reports it as ' || g.state) END
        FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g (connection_id uuid, external_id text, state text,
            reason text)
        WHERE r.connection_id = g.connection_id AND r.external_id = g.external_id AND r.state = 'sent'
          AND (g.state IN ('rejected', 'removed') OR (g.state = 'published' AND r.code = :review))
        RETURNING r.id, r.state, r.code, r.reason, r.url
        """,
        rows=as_json(
            [
                {"connection_id": id, "external_id": external_id, "state": item.state, "reason": item.reason}
                for (id, external_id), item in sorted(newest.items(), key=lambda pair: pair[0])
            ]
        ),
        review=UNDER_REVIEW,
        now=now,
    )
    wakes: set[str] = set()
    for kind, failed in (("reply.failed", True), ("reply.published", False)):
        ids = [row["id"] for row in rows if (row["state"] == "failed") is failed]
        await announce_replies(connection, kind, ids, now)
    for row in rows:
        if row["state"] == "failed":
            reason, code = row["reason"], row["code"]
            drain = await mark_push(connection, row["id"], "failed", reason=reason, now=now, suffix=code)
        else:
            drain = await published_push(connection, row["id"], row["url"], now, was_marked=False)
        wakes |= {drain} if drain else set()
    return wakes
