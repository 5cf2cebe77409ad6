"""Tickets: one matter with one customer, with everything that was said."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import Field, StringConstraints
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.api.answering import AcceptedReply, accept
from gateway.api.clocks import SELECT as CLOCKS
from gateway.api.clocks import ClockView
from gateway.api.deps import ReadsTickets, RuntimeDep, WritesTickets
from gateway.api.lookup import helpdesk_of
from gateway.api.models import Answer, Input, Page, Reason, Reference
from gateway.api.paging import Filters, PagingDep, list_page
from gateway.api.problems import conflict, invalid, not_found
from gateway.api.routes import ApiRoute
from gateway.db.database import Row, fetch_all, fetch_one
from gateway.pipeline import moving

router = APIRouter(prefix="/tickets", tags=["conversations"], route_class=ApiRoute)

SELECT = """
SELECT t.id, t.subject, t.status, t.priority, t.tags, t.connection_id, t.helpdesk_id, t.external_id, t.external_url,
       t.customer_id, t.followup_of, t.linked_to, t.merged_into, t.moved_to, t.ended, t.assignee, t.problem,
       t.opened_at, t.last_inbound_at, a.provider AS source, COALESCE('@' || a.handle, a.name, a.external_id)
           AS customer
FROM ticket t JOIN account a ON a.id = t.account_id
"""

# What was merged into a ticket at the helpdesk is told as one matter.
TIMELINE = """
WITH matter AS (SELECT id FROM ticket WHERE id = :id OR merged_into = :id)
SELECT i.published_at AS at, length(i.external_id) AS size, i.external_id AS tie, 'interaction' AS entry,
       CASE WHEN i.direction = 'outbound' THEN CASE WHEN i.reply_id IS NULL THEN 'brand' ELSE 'agent' END
            WHEN i.account_id = t.account_id THEN 'customer' ELSE 'bystander' END AS who,
       COALESCE('@' || a.handle, a.name, a.external_id) AS author, i.kind, i.visibility, i.text, i.url, i.external_id,
       i.id AS interaction_id, i.reply_id, NULL AS state, i.revisions > 1 AS edited, i.deleted_at
FROM interaction i JOIN ticket t ON t.id = i.ticket_id JOIN account a ON a.id = i.account_id
WHERE i.ticket_id IN (SELECT id FROM matter)
UNION ALL
SELECT COALESCE(r.sent_at, r.written_at), 0, r.id::text, 'reply', 'agent', r.author_name, 'reply', r.visibility,
       COALESCE(r.rendered ->> 'text', r.text), r.url, r.external_id, NULL, r.id, r.state, false, NULL
FROM reply r WHERE r.ticket_id IN (SELECT id FROM matter)
    AND NOT EXISTS (SELECT 1 FROM interaction i WHERE i.reply_id = r.id)
    -- a changed text that is out is told by the answer it changed
    AND NOT (r.amends IS NOT NULL AND r.state = 'sent')
UNION ALL
SELECT n.at, 0, n.comment_id, 'note', 'agent', n.author_name, 'note', 'private', n.text, NULL, n.comment_id, NULL, NULL,
       NULL, n.edited_at IS NOT NULL, NULL
FROM note n WHERE n.ticket_id IN (SELECT id FROM matter)
UNION ALL
SELECT e.at, 0, e.id::text, 'clock', 'gateway', NULL, e.kind, NULL,
       concat_ws(' ', c.kind || ':', e.kind, '(' || nullif(c.label, '') || ')'), NULL, NULL, NULL, NULL, c.state, false,
       NULL
FROM clock_event e JOIN clock c ON c.id = e.clock_id WHERE c.ticket_id IN (SELECT id FROM matter)
ORDER BY 1, 2, 3
"""


class TicketView(Answer):
    """One matter with one customer."""

    id: UUID
    subject: str
    status: str
    """As last seen at the helpdesk: `new`, `open`, `waiting`, `solved` or `closed`."""
    priority: str
    tags: list[str]
    source: str
    """The source's plugin."""
    customer: str
    customer_id: UUID
    connection_id: UUID
    helpdesk_id: UUID | None
    external_id: str | None
    """The helpdesk's id; null until it has the ticket."""
    external_url: str | None
    followup_of: UUID | None
    linked_to: UUID | None
    merged_into: UUID | None
    moved_to: UUID | None
    """The ticket at another helpdesk that goes on with it."""
    ended: str | None
    """`closed`, `deleted` or `merged` at the helpdesk, or `moved` to another."""
    assignee: str | None
    problem: str | None
    """Why the helpdesk does not have the newest state; null when it has."""
    opened_at: datetime
    last_inbound_at: datetime


class TimelineView(Answer):
    """One thing said in the matter, in the source's time."""

    at: datetime
    entry: Literal["interaction", "reply", "note", "clock"]
    """`clock` is a step of one of `clocks`: `kind` says which."""
    who: Literal["customer", "bystander", "agent", "brand", "gateway"]
    """`brand` is what was answered at the source itself, outside the helpdesk."""
    author: str | None
    kind: str
    visibility: str | None
    text: str
    url: str | None
    external_id: str | None
    interaction_id: UUID | None
    reply_id: UUID | None
    state: str | None
    """A reply's state, while it is not seen at the source; a clock's."""
    edited: bool
    deleted_at: datetime | None


class LegView(Answer):
    """One conversation at the source that belongs to the ticket."""

    thread: str
    """The source's id of its first item."""
    visibility: str


class PushView(Answer):
    """One thing the helpdesk is to be told."""

    kind: str
    state: str
    code: str | None
    reason: str | None
    tries: int
    due_at: datetime


class TicketDetail(TicketView):
    """One ticket with its timeline."""

    legs: list[LegView]
    timeline: list[TimelineView]
    clocks: list[ClockView]
    """Its time targets, also those of what was merged into it."""
    open_pushes: list[PushView]
    """What the helpdesk has not been told yet, or could not be told."""


class NewReply(Input):
    """An answer to be published."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=60_000)]
    visibility: Literal["public", "private"] | None = None
    """Null: that of the message it answers."""
    interaction: UUID | None = None
    """What it answers; null: the customer's last message."""


class Move(Input):
    """Where a matter goes on."""

    helpdesk: Reference
    """The helpdesk connection, by id or name."""
    reason: Reason | None = None


class Split(Input):
    """Which part of a matter gets a ticket of its own."""

    threads: Annotated[list[str], Field(min_length=1)]
    """The conversations, as `legs` names them."""
    reason: Reason | None = None


@router.get("")
async def list_tickets(
    runtime: RuntimeDep,
    _: ReadsTickets,
    paging: PagingDep,
    connection: UUID | None = None,
    helpdesk: UUID | None = None,
    customer: UUID | None = None,
    status: Literal["new", "open", "waiting", "solved", "closed"] | None = None,
    external_id: str | None = None,
    problem: bool | None = None,
) -> Page[TicketView]:
    """Tickets, newest first. `problem=true`: those whose helpdesk lags behind."""
    filters = Filters()
    filters.add("t.connection_id = :connection", connection=connection)
    filters.add("t.helpdesk_id = :helpdesk", helpdesk=helpdesk)
    filters.add("t.customer_id = :customer", customer=customer)
    filters.add("t.status = :status", status=status)
    filters.add("t.external_id = :external_id", external_id=external_id)
    filters.add("(t.problem IS NOT NULL) = :problem", problem=problem)
    async with runtime.database.read() as database:
        rows, following = await list_page(database, SELECT, filters, paging, id="t.id")
    return Page(items=[TicketView(**row) for row in rows], next=following)


@router.get("/{ticket_id}")
async def read_ticket(runtime: RuntimeDep, _: ReadsTickets, ticket_id: UUID) -> TicketDetail:
    """One ticket with everything that was said, oldest first."""
    async with runtime.database.read() as database:
        row = await _ticket(database, ticket_id)
        timeline = await fetch_all(database, TIMELINE, id=ticket_id)
        legs = await fetch_all(
            database,
            """SELECT h.root AS thread, l.visibility FROM leg l JOIN thread h ON h.id = l.thread_id
               WHERE l.ticket_id = :id ORDER BY l.created_at""",
            id=ticket_id,
        )
        clocks = await fetch_all(
            database,
            f"{CLOCKS} WHERE c.ticket_id IN (SELECT id FROM ticket WHERE id = :id OR merged_into = :id) ORDER BY c.id",
            id=ticket_id,
        )
        pushes = await fetch_all(
            database,
            """SELECT kind, state, code, reason, tries, due_at FROM push
               WHERE ticket_id = :id AND state NOT IN ('done', 'dropped') ORDER BY id""",
            id=ticket_id,
        )
    return TicketDetail(
        **row,
        legs=[LegView(**one) for one in legs],
        timeline=[TimelineView(**one) for one in timeline],
        clocks=[ClockView(**one) for one in clocks],
        open_pushes=[PushView(**one) for one in pushes],
    )


@router.post("/{ticket_id}/replies", status_code=202)
async def answer_ticket(
    runtime: RuntimeDep, caller: WritesTickets, ticket_id: UUID, given: NewReply, request: Request
) -> AcceptedReply:
    """Answer the customer, as an agent would in the helpdesk; the policies decide on it in the same way."""
    once: str | None = getattr(request.state, "once", None)
    async with runtime.database.write() as database:
        ticket = await _ticket(database, ticket_id)
        if ticket["merged_into"] is not None:
            raise conflict(f"The ticket was merged into {ticket['merged_into']}; answer there.")
        if ticket["moved_to"] is not None:
            raise conflict(f"The matter goes on in {ticket['moved_to']}; answer there.")
        await _answerable(database, ticket_id, given.interaction)
        accepted, wakes = await accept(
            database,
            runtime,
            caller,
            ticket,
            text=given.text,
            leg=given.visibility,
            interaction=given.interaction,
            once=once,
            does="answers over the API",
        )
    await runtime.wake(wakes)
    return accepted


@router.post("/{ticket_id}/move", status_code=201)
async def move_ticket(runtime: RuntimeDep, caller: WritesTickets, ticket_id: UUID, given: Move) -> TicketView:
    """Let a matter go on at another helpdesk: a note at the old ticket, and a new one with all that was said.

    Answers the new ticket. What agents still answer at the old one is refused, with the new place named.
    """
    async with runtime.database.write() as database:
        ticket = await _locked(database, ticket_id)
        helpdesk = await fetch_one(
            database,
            "SELECT id, name FROM connection WHERE id = :id",
            id=await helpdesk_of(database, given.helpdesk),
        )
        assert helpdesk is not None
        try:
            fresh, wakes = await moving.move(database, ticket, helpdesk, caller.name, given.reason, runtime.now())
        except moving.NotMovable as error:
            raise conflict(str(error)) from error
        row = await _ticket(database, fresh)
    await runtime.wake(wakes)
    return TicketView(**row)


@router.post("/{ticket_id}/split", status_code=201)
async def split_ticket(runtime: RuntimeDep, caller: WritesTickets, ticket_id: UUID, given: Split) -> TicketView:
    """Give conversations of a matter a ticket of their own, and answer that ticket."""
    async with runtime.database.write() as database:
        ticket = await _locked(database, ticket_id)
        threads = await fetch_all(
            database,
            """SELECT h.id, h.root FROM leg l JOIN thread h ON h.id = l.thread_id
               WHERE l.ticket_id = :id AND h.root = ANY(:roots)""",
            id=ticket_id,
            roots=given.threads,
        )
        missing = sorted(set(given.threads) - {row["root"] for row in threads})
        if missing:
            raise invalid("threads", f"{missing[0]} is not a conversation of this ticket", "take one of its legs")
        try:
            fresh, wakes = await moving.split(
                database, ticket, [row["id"] for row in threads], caller.name, given.reason, runtime.now()
            )
        except moving.NotMovable as error:
            raise conflict(str(error)) from error
        row = await _ticket(database, fresh)
    await runtime.wake(wakes)
    return TicketView(**row)


async def _locked(database: AsyncConnection, ticket_id: UUID) -> Row:
    row = await fetch_one(
        database,
        """SELECT id, helpdesk_id, external_id, moved_to, merged_into FROM ticket WHERE id = :id
           FOR NO KEY UPDATE""",
        id=ticket_id,
    )
    if row is None:
        raise not_found("ticket", ticket_id)
    return row


async def _answerable(database: AsyncConnection, ticket_id: UUID, interaction_id: UUID | None) -> None:
    if interaction_id is None:
        return
    row = await fetch_one(
        database,
        "SELECT direction FROM interaction WHERE id = :id AND ticket_id = :ticket",
        id=interaction_id,
        ticket=ticket_id,
    )
    if row is None:
        raise invalid("interaction", "it does not belong to this ticket", "take one of the ticket's timeline")
    if row["direction"] != "inbound":
        raise invalid("interaction", "it is the brand's own; only what others wrote can be answered")


async def _ticket(database: AsyncConnection, ticket_id: UUID) -> Row:
    row = await fetch_one(database, SELECT + " WHERE t.id = :id", id=ticket_id)
    if row is None:
        raise not_found("ticket", ticket_id)
    return row
