"""What follows from the proof that an answer is out: by its call, by asking after it, or by its echo."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.connections import Endpoint
from gateway.db.database import execute, fetch_one
from gateway.events.announce import announce_replies
from gateway.pipeline.aftermath import follow_sent
from gateway.pipeline.decide import apply_on_publication
from gateway.pipeline.marks import published_push
from gateway.pipeline.record import scope_of
from gateway.pipeline.statuses import UNDER_REVIEW
from gateway.runtime import Runtime
from gateway.sla.clocks import apply
from gateway.sla.news import answered
from gateway.sla.requests import Fulfil

log = logging.getLogger(__name__)


async def note_sent(
    connection: AsyncConnection,
    runtime: Runtime,
    endpoint: Endpoint,
    reply_id: UUID,
    external_id: str,
    url: str | None,
    at: datetime,
    now: datetime,
    epoch: int | None,
    *,
    under_review: bool = False,
) -> set[str]:
    """It is out: write so, join it with its echo, and let the helpdesk know."""
    before = await fetch_one(connection, "SELECT state, code FROM reply WHERE id = :id FOR UPDATE", id=reply_id)
    touched = await execute(
        connection,
        """UPDATE reply SET state = 'sent', external_id = :external, url = COALESCE(:url, url), sent_at = :at,
               code = :code,
               reason = NULL, deadline_at = NULL, updated_at = :now
           WHERE id = :id AND state IN ('sending', 'unknown', 'sent') AND (CAST(:epoch AS bigint) IS NULL OR epoch =
                  :epoch)""",
        id=reply_id,
        external=external_id,
        url=url,
        at=at,
        code=UNDER_REVIEW if under_review else None,
        now=now,
        epoch=epoch,
    )
    if not touched:
        log.error("reply %s was sent as %s, but its row has gone on without us", reply_id, external_id)
        return set()
    if before is not None and before["state"] != "sent" and not under_review:  # its echo may have been faster
        await announce_replies(connection, "reply.published", [reply_id], now)
    wakes = await apply_on_publication(connection, runtime.calendars, reply_id, at, now)
    wakes |= await after_sent(
        connection,
        runtime.registry,
        endpoint,
        reply_id,
        external_id,
        url,
        now,
        was_marked=bool(before and before["code"]),
        under_review=under_review,
    )
    stopped = await published(connection, reply_id, now)
    return wakes | (await apply(connection, runtime.calendars, [stopped], now)).wakes


async def after_sent(
    connection: AsyncConnection,
    registry: Any,
    endpoint: Endpoint,
    reply_id: UUID,
    external_id: str,
    url: str | None,
    now: datetime,
    *,
    was_marked: bool,
    under_review: bool = False,
) -> set[str]:
    """Whatever follows from the proof that a reply is out."""
    scope = scope_of(registry, endpoint)
    await execute(
        connection,
        """UPDATE interaction i SET reply_id = r.id, ticket_id = r.ticket_id FROM reply r
           WHERE r.id = :id AND i.scope = :scope AND i.external_id = :external AND i.reply_id IS NULL""",
        id=reply_id,
        scope=scope,
        external=external_id,
    )
    state: Literal["published", "under_review"] = "under_review" if under_review else "published"
    drain = await published_push(connection, reply_id, url, now, was_marked=was_marked, state=state)
    wakes = await follow_sent(connection, reply_id, now)
    return wakes | ({drain} if drain else set())


async def published(connection: AsyncConnection, reply_id: UUID, now: datetime) -> Fulfil:
    """What a reply that is out means for its ticket's clocks."""
    reply = await fetch_one(connection, "SELECT ticket_id, sent_at, written_at FROM reply WHERE id = :id", id=reply_id)
    assert reply is not None
    return answered(reply["ticket_id"], reply["sent_at"] or now, now, f"reply:{reply_id}", reply["written_at"])
