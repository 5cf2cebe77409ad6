"""The brand's own posts made elsewhere: taken back at the source, or corrected under them."""

from __future__ import annotations

import time
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import StringConstraints
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.api.answering import AcceptedReply, accept
from gateway.api.asking import ProviderProblem, ask, plugin_for
from gateway.api.deps import RuntimeDep, WritesReplies
from gateway.api.interactions import SELECT, InteractionView
from gateway.api.models import Input
from gateway.api.problems import conflict, not_found, responses
from gateway.api.routes import ApiRoute
from gateway.db.database import Row, execute, fetch_one
from gateway.pipeline.record import bury
from gateway.pipeline.trouble import Trouble, note_attempt
from gateway.security.audit import note
from gateway_schemas.interaction import Deletion
from gateway_schemas.reply import Sent
from gateway_schemas.source import Source

router = APIRouter(prefix="/interactions", tags=["conversations"], route_class=ApiRoute)

# A reply of ours may be out before its echo is known to be it.
OWN = """
SELECT i.id, i.scope, i.external_id, i.connection_id, i.ticket_id, i.direction, i.visibility, i.url, i.published_at,
       i.deleted_at, i.data ->> 'account' AS account,
       COALESCE(jsonb_typeof(i.data -> 'reply_target'), 'null') <> 'null' AS answerable,
       COALESCE(i.reply_id, (SELECT max(r.id::text)::uuid FROM reply r WHERE r.connection_id = i.connection_id
           AND r.external_id = i.external_id AND r.state = 'sent')) AS reply_id
FROM interaction i WHERE i.id = :id
"""


class Correction(Input):
    """What puts a post of the brand's right."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=60_000)]


@router.post("/{interaction_id}/retract", responses=responses(502, 503, 504))
async def retract_own_post(runtime: RuntimeDep, caller: WritesReplies, interaction_id: UUID) -> InteractionView:
    """Delete a post at the source that the brand made there itself, where the source can; its alarms are acknowledged.

    After a 504 nobody knows whether it is gone; asking again is safe. What the gateway published is taken back with
    `POST /v1/replies/{id}/retract`.
    """
    async with runtime.database.read() as database:
        row = await _own(database, interaction_id)
    endpoint = await runtime.connections.get(row["connection_id"])
    if endpoint is None:
        raise not_found("connection", row["connection_id"])
    source = plugin_for(runtime, endpoint)
    if not isinstance(source, Source) or not source.capabilities.delete:
        raise conflict(f"{endpoint.plugin} cannot take back what was published; do it at the source.")
    sent = Sent(external_id=row["external_id"], url=row["url"], sent_at=row["published_at"])
    async with runtime.database.write() as database:
        await note(database, "interaction", interaction_id, {}, {"retract": "asked"})  # on record before it is gone
    trouble: Trouble | None = None
    started = time.monotonic()
    try:
        await ask(lambda: source.retract(sent))
    except ProviderProblem as problem:
        trouble = problem.trouble
    gone = trouble is None or trouble.kind == "gone"  # somebody was faster
    now = runtime.now()
    milliseconds = int((time.monotonic() - started) * 1000)
    wakes: set[str] = set()
    async with runtime.database.write() as database:
        await note_attempt(database, endpoint.id, "retract", str(interaction_id), trouble, now, milliseconds)
        outcome = "done" if trouble is None else trouble.code
        await note(database, "interaction", interaction_id, {}, {"retract": outcome})
        if gone:
            told = Deletion(external_id=row["external_id"], account=row["account"] or "", deleted_at=now, by="brand")
            wakes = await bury(database, [((row["scope"], row["external_id"]), told)], now)
            await execute(
                database,
                """UPDATE alarm SET acknowledged_at = :now, acknowledged_by = :who
                   WHERE interaction_id = :id AND acknowledged_at IS NULL""",
                id=interaction_id,
                now=now,
                who=caller.name,
            )
        view = await fetch_one(database, SELECT + " WHERE i.id = :id", id=interaction_id)
    await runtime.wake(wakes)
    if trouble is not None and not gone:
        raise ProviderProblem(trouble)
    if view is None:
        raise not_found("interaction", interaction_id)
    return InteractionView(**view)


@router.post("/{interaction_id}/correct", status_code=202)
async def correct_own_post(
    runtime: RuntimeDep, caller: WritesReplies, interaction_id: UUID, given: Correction, request: Request
) -> AcceptedReply:
    """Publish a correction as an answer under a post that the brand made at the source itself.

    The policies decide on it as on any answer. The post must belong to a ticket, and the source must let the brand
    answer itself.
    """
    async with runtime.database.write() as database:
        row = await _own(database, interaction_id)
        ticket = await fetch_one(
            database,
            """SELECT o.id, o.connection_id, o.helpdesk_id FROM ticket t JOIN ticket o ON o.id =
                   COALESCE(t.merged_into, t.moved_to, t.id) WHERE t.id = :id""",
            id=row["ticket_id"],
        )
        if ticket is None:
            raise conflict(
                "The post belongs to no ticket that a correction could be kept on. Take it back with"
                f" POST /v1/interactions/{interaction_id}/retract, or correct it at the source."
            )
        if not row["answerable"]:
            raise conflict("The source offers no way to answer this post. Take it back, or correct it at the source.")
        accepted, wakes = await accept(
            database,
            runtime,
            caller,
            {**ticket, "connection_id": row["connection_id"]},
            text=given.text,
            leg=row["visibility"],
            interaction=interaction_id,
            once=getattr(request.state, "once", None),
            does="corrects a post of yours over the API",
        )
    await runtime.wake(wakes)
    return accepted


async def _own(database: AsyncConnection, interaction_id: UUID) -> Row:
    """A post that the brand made at the source itself and that still stands there. Raises Problem 404 and 409."""
    row = await fetch_one(database, OWN, id=interaction_id)
    if row is None:
        raise not_found("interaction", interaction_id)
    if row["direction"] != "outbound":
        raise conflict("It was written by somebody else; only the brand's own posts can be taken back or corrected.")
    if row["deleted_at"] is not None:
        raise conflict(f"It is gone from the source since {row['deleted_at']:%Y-%m-%d %H:%M} UTC.")
    if row["reply_id"] is not None:
        raise conflict(f"The gateway published it: take it back with POST /v1/replies/{row['reply_id']}/retract.")
    return row
