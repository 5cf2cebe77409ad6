"""Replies: answers on their way out, and what people may do about them."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Body
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.api.asking import ProviderProblem, ask, plugin_for
from gateway.api.decisions import SELECT as DECISIONS
from gateway.api.decisions import DecisionView
from gateway.api.deps import ReadsReplies, RuntimeDep, WritesReplies, login_of
from gateway.api.models import Answer, Input, Page, Reason
from gateway.api.paging import Filters, PagingDep, list_page
from gateway.api.problems import conflict, invalid, not_found, responses
from gateway.api.routes import ApiRoute
from gateway.db.database import Row, execute, fetch_all, fetch_one
from gateway.events.announce import announce_replies
from gateway.pipeline import approvals
from gateway.pipeline.leaving import REPEAT
from gateway.pipeline.people import look_up
from gateway.pipeline.trouble import Trouble, note_attempt
from gateway.pipeline.verdicts import name_of
from gateway.security.audit import note
from gateway_schemas.reply import Sent
from gateway_schemas.source import Source

router = APIRouter(prefix="/replies", tags=["replies"], route_class=ApiRoute)

SELECT = """
SELECT r.id, r.ticket_id, r.connection_id, r.helpdesk_id, r.comment_id, r.author_name, r.text, r.visibility,
       r.interaction_id, r.state, r.code, r.reason, r.digest, r.approved_by, r.external_id, r.url, r.sent_at,
       r.not_after, r.origin, r.findings, r.group_id, r.amends,
       r.written_at, r.created_at, r.updated_at, r.tries
FROM reply r
"""

State = Literal[
    "received",
    "queued",
    "held",
    "blocked",
    "sending",
    "unknown",
    "sent",
    "failed",
    "cancelled",
    "retracting",
    "retracted",
]


class Holding(Answer):
    """One thing that keeps a reply from going out."""

    name: str
    """`policy@revision:code`: what an approval waives."""
    message: str
    second_person: bool
    """Whether only somebody other than the author may approve past it."""


class ReplyView(Answer):
    """An answer, and the truth about its sending."""

    id: UUID
    ticket_id: UUID
    connection_id: UUID
    """The source connection that sends."""
    helpdesk_id: UUID | None
    comment_id: str | None
    """The helpdesk's comment it was written as; null for one made over REST."""
    author_name: str | None
    text: str
    visibility: str | None
    interaction_id: UUID | None
    """What it answers."""
    state: State
    """`received` is being decided; `unknown` may or may not be out, and the source is asked."""
    origin: str
    """`composer`, `app`, … as the helpdesk tells, or `rest`. Only what a person wrote is published."""
    code: str | None
    reason: str | None
    holding: list[Holding]
    """What a held reply waits for a person's word on."""
    group_id: UUID | None
    """The group of near-identical answers that it waits with: `GET /v1/replies/groups/{id}`."""
    amends: UUID | None
    """The published reply whose text it changes."""
    digest: str | None
    """Names exactly what would be sent; an approval is bound to it."""
    approved_by: str | None
    external_id: str | None
    """The source's id, once it is out."""
    url: str | None
    sent_at: datetime | None
    not_after: datetime
    """Not sent later than this without a person's word."""
    written_at: datetime
    created_at: datetime
    updated_at: datetime
    tries: int


class AttemptView(Answer):
    """One try at the source."""

    at: datetime
    kind: str
    outcome: str
    code: str | None
    reason: str | None
    milliseconds: int


class ReplyDetail(ReplyView):
    """An answer with what would be or was sent, and why."""

    rendered: dict[str, Any] | None
    """Exactly what leaves: text, target, files, length and limit."""
    decided_on: dict[str, Any] | None
    attempts: list[AttemptView]
    decisions: list[DecisionView]


class Approval(Input):
    """A person's word that this may go out."""

    digest: str | None = None
    """The `digest` that was looked at; refused when the reply has changed since. Null only where it has none."""
    findings: list[str] | None = None
    """Names of `holding` to waive; null: all of them. What is not waived holds it again."""


class Refusal(Input):
    """A person's word that this does not go out."""

    reason: Reason | None = None


@router.get("")
async def list_replies(
    runtime: RuntimeDep,
    _: ReadsReplies,
    paging: PagingDep,
    state: State | None = None,
    ticket: UUID | None = None,
    connection: UUID | None = None,
) -> Page[ReplyView]:
    """Replies, newest first. `state=held` is the approval queue."""
    filters = Filters()
    filters.add("r.state = :state", state=state)
    filters.add("r.ticket_id = :ticket", ticket=ticket)
    filters.add("r.connection_id = :connection", connection=connection)
    async with runtime.database.read() as database:
        rows, following = await list_page(database, SELECT, filters, paging, id="r.id")
    return Page(items=[ReplyView(**shown(row)) for row in rows], next=following)


@router.get("/{reply_id}")
async def read_reply(runtime: RuntimeDep, _: ReadsReplies, reply_id: UUID) -> ReplyDetail:
    """One reply with its decisions and attempts."""
    async with runtime.database.read() as database:
        row = await fetch_one(
            database, SELECT.replace("r.tries", "r.tries, r.rendered, r.decided_on") + " WHERE r.id = :id", id=reply_id
        )
        if row is None:
            raise not_found("reply", reply_id)
        attempts = await fetch_all(
            database,
            "SELECT at, kind, outcome, code, reason, milliseconds FROM attempt WHERE thing_id = :id ORDER BY at, id",
            id=str(reply_id),
        )
        decisions = await fetch_all(database, DECISIONS + " WHERE thing_id = :id ORDER BY id", id=reply_id)
    return ReplyDetail(
        **shown(row),
        attempts=[AttemptView(**one) for one in attempts],
        decisions=[DecisionView(**one) for one in decisions],
    )


@router.post("/{reply_id}/approve")
async def approve_reply(
    runtime: RuntimeDep, caller: WritesReplies, reply_id: UUID, given: Annotated[Approval | None, Body()] = None
) -> ReplyView:
    """Let a held reply go out as it is. It is decided on once more, and held again for anything that is new.

    Where four eyes are demanded, the API key must belong to a person (`/v1/people`) who did not write it.
    """
    given = given or Approval()
    async with runtime.database.write() as database:
        row = await fetch_one(
            database, f"SELECT {approvals.COLUMNS} FROM reply r WHERE r.id = :id FOR UPDATE", id=reply_id
        )
        if row is None:
            raise not_found("reply", reply_id)
        if row["state"] == "held" and row["digest"] is not None and given.digest is None:
            raise invalid("digest", "required", "give the digest of the reply as you read it")
        [who] = await look_up(database, [login_of(caller)])
        try:
            wakes = await approvals.approve(
                database,
                row,
                who,
                runtime.now(),
                timedelta(hours=runtime.settings.reply_ttl_hours),
                digest=given.digest,
                findings=given.findings,
            )
        except approvals.Refused as error:
            if error.field == "findings":
                raise invalid("findings", error.reason, "take names of its holding") from error
            raise conflict(error.reason, field=error.field) from error
        row = await _reply(database, reply_id)
    await runtime.wake(wakes)
    return ReplyView(**shown(row))


@router.post("/{reply_id}/reject")
async def reject_reply(
    runtime: RuntimeDep, caller: WritesReplies, reply_id: UUID, given: Annotated[Refusal | None, Body()] = None
) -> ReplyView:
    """Decide that a held or blocked reply does not go out; the agent reads why on the ticket."""
    return await _end(runtime, reply_id, ("held", "blocked"), "rejected", f"rejected by {caller.name}", given)


@router.post("/{reply_id}/cancel")
async def cancel_reply(
    runtime: RuntimeDep, caller: WritesReplies, reply_id: UUID, given: Annotated[Refusal | None, Body()] = None
) -> ReplyView:
    """Take back a reply that has not gone out yet; also one of which only a person could tell that it has not."""
    states = ("received", "queued", "held", "blocked")
    return await _end(runtime, reply_id, states, "cancelled", f"cancelled by {caller.name}", given)


@router.post("/{reply_id}/retract", responses=responses(502, 503, 504))
async def retract_reply(runtime: RuntimeDep, caller: WritesReplies, reply_id: UUID) -> ReplyView:
    """Delete a published answer at the source, where the source can."""
    async with runtime.database.read() as database:
        row = await _reply(database, reply_id)
    if row["state"] != "sent" or row["external_id"] is None:
        raise conflict(f"The reply is {row['state']}; only a published one can be taken back.")
    endpoint = await runtime.connections.get(row["connection_id"])
    if endpoint is None:
        raise not_found("connection", row["connection_id"])
    source = plugin_for(runtime, endpoint)
    if not isinstance(source, Source) or not source.capabilities.delete:
        raise conflict(f"{endpoint.plugin} cannot take back what was published.")
    sent = Sent(external_id=row["external_id"], url=row["url"], sent_at=row["sent_at"])
    async with runtime.database.write() as database:
        await note(database, "reply", reply_id, {}, {"retract": "asked"})  # on record before it is gone
    trouble: Trouble | None = None
    started = time.monotonic()
    try:
        await ask(lambda: source.retract(sent))
    except ProviderProblem as problem:
        trouble = problem.trouble
    gone = trouble is None or trouble.kind == "gone"  # somebody was faster
    now = runtime.now()
    async with runtime.database.write() as database:
        milliseconds = int((time.monotonic() - started) * 1000)
        await note_attempt(database, endpoint.id, "retract", str(reply_id), trouble, now, milliseconds)
        await note(database, "reply", reply_id, {}, {"retract": "done" if trouble is None else trouble.code})
        if gone:
            touched = await execute(
                database,
                """UPDATE reply SET state = 'retracted', reason = :reason, updated_at = :now
                   WHERE id = :id AND state = 'sent'""",
                id=reply_id,
                reason=f"retracted by {caller.name}",
                now=now,
            )
            await announce_replies(database, "reply.retracted", [reply_id] if touched else [], now)
        row = await _reply(database, reply_id)
    if trouble is not None and not gone:
        raise ProviderProblem(trouble)
    return ReplyView(**shown(row))


async def _end(
    runtime: RuntimeDep, reply_id: UUID, states: tuple[str, ...], code: str, who: str, given: Refusal | None
) -> ReplyView:
    now = runtime.now()
    reason = f"{who}: {given.reason}" if given is not None and given.reason else who
    async with runtime.database.write() as database:
        row = await _reply(database, reply_id, lock=True)
        # a person who looked at the source may say so of a reply that the source could not tell about
        looked = code == "cancelled" and (row["state"], row["code"]) == ("unknown", "needs_person")
        if row["state"] not in states and not looked:
            raise conflict(f"The reply is {row['state']}; possible for {', '.join(states)}.")
        if row["code"] == REPEAT:
            raise conflict(
                "The reply may be out already and is being sent again to find out. Retract it once it is sent."
            )
        wakes = await approvals.end(database, reply_id, code, reason, now)
        row = await _reply(database, reply_id)
    await runtime.wake(wakes)
    return ReplyView(**shown(row))


def shown(row: Row) -> dict[str, Any]:
    """A reply's row as it is answered."""
    found = row["findings"] if row["state"] == "held" else None
    holding = [
        Holding(name=name_of(one), message=one["message"], second_person=bool(one.get("second_person")))
        for one in found or ()
    ]
    return {**row, "holding": holding}


async def _reply(database: AsyncConnection, reply_id: UUID, *, lock: bool = False) -> Row:
    row = await fetch_one(database, SELECT + " WHERE r.id = :id" + (" FOR UPDATE" if lock else ""), id=reply_id)
    if row is None:
        raise not_found("reply", reply_id)
    return row
