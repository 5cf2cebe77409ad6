"""Station 5: which matter does it belong to?

A ticket's key is (thread, customer account). Under a brand's post every commenter is a matter of their own; a bystander
in a customer's thread gets a linked ticket when they address the brand, else a line of context; a direct message joins
the customer's open matter; a closed ticket is followed by a new one. The station takes a batch as a fold: each item is
threaded knowing what the items before it did, so any partition of the same input gives the same tickets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from gateway.db.tables.columns import new_id
from gateway.pipeline import wording
from gateway.pipeline.matters import Matters, ThreadedItem, TicketRow
from gateway.sla.news import answered, customer_returned
from gateway.sla.requests import Request
from gateway_schemas.decision import AddTags, Effect, Ignore, Note, SetPriority
from gateway_schemas.interaction import Interaction

ECHO_PATIENCE = timedelta(minutes=10)
"""How long an own post waits for the reply that it may be the echo of."""
PRIORITIES = ("low", "normal", "high", "urgent")


@dataclass
class Plan:
    """What one batch changes; written in one transaction."""

    now: datetime
    file_patience: timedelta = timedelta()
    """How long a message waits for its files to be copied."""
    tickets: dict[UUID, dict[str, Any]] = field(default_factory=dict)
    changed_tickets: dict[UUID, TicketRow] = field(default_factory=dict)
    legs: dict[tuple[UUID, UUID], dict[str, Any]] = field(default_factory=dict)
    placed: dict[UUID, dict[str, Any]] = field(default_factory=dict)
    """Interactions with their ticket and reply."""
    pushes: dict[str, dict[str, Any]] = field(default_factory=dict)
    rewritten: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Payloads of comments not yet pushed whose interaction was edited meanwhile."""
    proven: dict[UUID, ThreadedItem] = field(default_factory=dict)
    """Replies whose sending an echo proves, with the echo."""
    parked: dict[int, str] = field(default_factory=dict)
    """Revisions that wait for a reply in flight."""
    done: dict[int, str | None] = field(default_factory=dict)
    clocks: list[Request] = field(default_factory=list)
    """What is asked of the tickets' clocks."""


def fold(
    matters: Matters,
    effects: Mapping[int, Sequence[Effect]],
    now: datetime,
    file_patience: timedelta = timedelta(),
) -> Plan:
    """Thread a batch. `effects` is what the policies said of each revision, by its id."""
    plan = Plan(now, file_patience)
    for item in matters.items:
        _thread_one(plan, matters, item, effects.get(item.revision_id, ()))
    return plan


def _thread_one(plan: Plan, matters: Matters, item: ThreadedItem, effects: Sequence[Effect]) -> None:
    if item.change == "deleted":
        _deleted(plan, matters, item)
    elif item.change == "edited" and (item.ticket_id is not None or not item.news.addressed):
        _edited(plan, matters, item)
    elif item.news.direction == "outbound":
        _own(plan, matters, item)
    else:
        _inbound(plan, matters, item, effects)


def _inbound(plan: Plan, matters: Matters, item: ThreadedItem, effects: Sequence[Effect]) -> None:
    ticket = matters.ticket_of(item.thread_id, item.account_id)
    if ticket is None and item.news.visibility == "private":
        ticket = matters.open_matter(item)
        if ticket is not None:
            _add_leg(plan, matters, item, ticket)
    answers = matters.early_answers(item) if ticket is None and not item.news.addressed else []
    if ticket is None and not item.news.addressed and not answers:
        owner = matters.first_ticket(item.thread_id)
        if owner is not None and item.origin != "fetch":
            _place(plan, item, owner)
            _note(plan, owner, item, wording.context(item.news))
        plan.done[item.revision_id] = "context"
        matters.unclaimed(item)
        return
    ignored = next((effect for effect in effects if isinstance(effect, Ignore)), None)
    if ticket is None and ignored is not None and all(isinstance(effect, Ignore) for effect in effects):
        plan.done[item.revision_id] = f"ignored: {ignored.reason}"
        return
    ticket = _writable(plan, matters, item, ticket) if ticket else _open(plan, matters, item)
    if item.interaction_id not in plan.placed:
        _tell(plan, ticket, item)
    for answer in sorted(answers, key=lambda one: one.order):
        _answered_at_source(plan, ticket, answer)
    _apply(plan, ticket, effects, item)
    ticket.last_inbound_at = max(ticket.last_inbound_at, item.news.published_at)
    plan.changed_tickets[ticket.id] = ticket
    plan.done[item.revision_id] = None


def _own(plan: Plan, matters: Matters, item: ThreadedItem) -> None:
    """The brand's own post: our send come back, an answer given outside the helpdesk, or a post that opens nothing."""
    sent = matters.reply_sent_as(item)
    if sent is not None:
        plan.placed[item.interaction_id] = {
            "ticket_id": sent["ticket_id"],
            "reply_id": sent["id"],
            "thread_id": item.thread_id,
        }
        plan.done[item.revision_id] = "our own reply"
        return
    for flying in matters.replies_in_flight(item):
        if flying["rendered"] and _same_words(flying["rendered"]["text"], item.news.text):
            # it overtook the answer to our call, and is the proof that the call succeeded
            plan.proven[flying["id"]] = item
            plan.placed[item.interaction_id] = {
                "ticket_id": flying["ticket_id"],
                "reply_id": flying["id"],
                "thread_id": item.thread_id,
            }
            plan.done[item.revision_id] = "our own reply, before its answer"
            return
        if plan.now - item.seen_at < ECHO_PATIENCE:
            plan.parked[item.revision_id] = f"reply:{flying['id']}"
            return
    parent = matters.parent(item)
    ticket = matters.ticket_of(item.thread_id, parent.account_id) if parent else matters.first_ticket(item.thread_id)
    if ticket is None and parent is not None and parent.news.direction == "inbound":
        # the brand answered somebody who did not address it: from here on it is a matter
        matters.parents[parent.interaction_id] = matters.parents[item.interaction_id][1:]
        ticket = _open(plan, matters, parent)
    if ticket is None:
        plan.done[item.revision_id] = "own post"
        matters.unclaimed(item)
        return
    _answered_at_source(plan, ticket, item)
    plan.done[item.revision_id] = None


def _edited(plan: Plan, matters: Matters, item: ThreadedItem) -> None:
    ticket = matters.tickets.get(item.ticket_id) if item.ticket_id else None
    if ticket is None:
        plan.done[item.revision_id] = "context"
        return
    waiting = matters.unpushed.get(item.interaction_id)
    if waiting is not None:
        plan.rewritten[waiting] = _comment(item, edited=False)
    elif item.news.direction == "inbound":
        _tell(plan, ticket, item, edited=True)
    plan.done[item.revision_id] = None


def _deleted(plan: Plan, matters: Matters, item: ThreadedItem) -> None:
    ticket = matters.tickets.get(item.ticket_id) if item.ticket_id else None
    if ticket is not None and item.reply_id is None:
        _note(plan, ticket, item, wording.deleted(item.news, item.deleted_by, item.at))
    plan.done[item.revision_id] = None


def _open(plan: Plan, matters: Matters, item: ThreadedItem, *, follows: TicketRow | None = None) -> TicketRow:
    """Open a ticket for the item's author, beginning where their part of the conversation began."""
    helpdesk_id = follows.helpdesk_id if follows else item.helpdesk_id
    linked = None if follows else matters.first_ticket(item.thread_id)
    claimed = [] if follows else matters.claim(item)
    first = min([item, *claimed], key=lambda one: one.order)
    ticket = TicketRow(
        id=new_id(),
        helpdesk_id=helpdesk_id,
        account_id=item.account_id,
        status="new",
        priority="normal",
        ended=None,
        opened_at=first.news.published_at,
        last_inbound_at=item.news.published_at,
        brand_id=item.brand_id,
    )
    plan.tickets[ticket.id] = {
        "id": ticket.id,
        "brand_id": item.brand_id,
        "connection_id": item.connection_id,
        "helpdesk_id": helpdesk_id,
        "account_id": item.account_id,
        "customer_id": item.customer_id,
        "subject": wording.subject(first.news, item.provider),
        "status": "new",
        "priority": "normal",
        "tags": [],
        "followup_of": follows.id if follows else None,
        "linked_to": linked.id if linked and item.news.root_owner != "brand" else None,
        "opened_at": first.news.published_at,
        "last_inbound_at": item.news.published_at,
        "created_at": plan.now,
        "updated_at": plan.now,
    }
    matters.add_ticket(ticket)
    _add_leg(plan, matters, item, ticket)
    if follows is None:
        for one in sorted([item, *claimed], key=lambda one: one.order):
            if one.news.direction == "outbound":
                _answered_at_source(plan, ticket, one)
            else:
                _tell(plan, ticket, one)
        for other in matters.context_above(item):
            _note(plan, ticket, other, wording.context(other.news))
        parent = matters.parent(item)
        if linked is not None and parent is not None and parent.ticket_id is not None:
            _note(plan, ticket, parent, wording.joined(parent.news))
    return ticket


def _writable(plan: Plan, matters: Matters, item: ThreadedItem, ticket: TicketRow) -> TicketRow:
    """The ticket itself, reopened where it was solved; a follow-up where the helpdesk takes no more changes to it."""
    if ticket.ended is not None:
        fresh = _open(plan, matters, item, follows=ticket)
        return fresh
    if ticket.status in ("solved", "waiting"):
        ticket.status = "open"
        ticket.reopen = True
        plan.clocks.append(customer_returned(ticket.id, item.news.published_at, item.seen_at))
    return ticket


def _add_leg(plan: Plan, matters: Matters, item: ThreadedItem, ticket: TicketRow) -> None:
    plan.legs[(item.thread_id, item.account_id)] = {
        "thread_id": item.thread_id,
        "account_id": item.account_id,
        "ticket_id": ticket.id,
        "visibility": item.news.visibility,
        "created_at": plan.now,
    }
    matters.legs[(item.thread_id, item.account_id)] = ticket.id
    matters.firsts.setdefault(item.thread_id, ticket.id)


def _place(plan: Plan, item: ThreadedItem, ticket: TicketRow) -> None:
    plan.placed[item.interaction_id] = {"ticket_id": ticket.id, "reply_id": item.reply_id, "thread_id": item.thread_id}
    item.ticket_id = ticket.id


def _answered_at_source(plan: Plan, ticket: TicketRow, item: ThreadedItem) -> None:
    """The brand answered outside the helpdesk: agents are told, and what waited for an answer has it."""
    _place(plan, item, ticket)
    _note(plan, ticket, item, wording.native_answer(item.news, item.provider))
    by = f"interaction:{item.interaction_id}"
    plan.clocks.append(answered(ticket.id, item.news.published_at, item.seen_at, by))


def _tell(plan: Plan, ticket: TicketRow, item: ThreadedItem, *, edited: bool = False) -> None:
    """Tell the helpdesk what the customer wrote."""
    _place(plan, item, ticket)
    payload = _comment(item, edited=edited)
    if ticket.reopen:
        payload["status"], ticket.reopen = "open", False
    key = f"i:{item.interaction_id}:{item.news.revision}"
    _push(plan, ticket, item, key, "comment", payload)


def _note(plan: Plan, ticket: TicketRow, item: ThreadedItem, text: str) -> None:
    key = f"n:{item.interaction_id}:{item.change}:{item.news.revision}:{ticket.id}"
    payload: dict[str, Any] = {
        "text": text,
        "author": None,
        "public": False,
        "at": plan.now,
        "url": None,
        "attachments": [],
    }
    _push(plan, ticket, item, key, "note", payload)


def _push(plan: Plan, ticket: TicketRow, item: ThreadedItem, key: str, kind: str, payload: dict[str, Any]) -> None:
    if ticket.helpdesk_id is None:
        return
    plan.pushes[key] = {
        "key": key,
        "ticket_id": ticket.id,
        "helpdesk_id": ticket.helpdesk_id,
        "kind": kind,
        "lane": 1 if item.origin != "poll" else 2,
        "payload": payload,
        "interaction_id": item.interaction_id if kind == "comment" else None,
        "reply_id": None,
        "thread_id": item.thread_id,
        "source_id": item.connection_id,
        "state": "pending",
        "epoch": 0,
        "tries": 0,
        "due_at": plan.now + (plan.file_patience if kind == "comment" and item.news.attachments else timedelta()),
        "at": item.at,
        "created_at": plan.now,
    }


def _comment(item: ThreadedItem, *, edited: bool) -> dict[str, Any]:
    news: Interaction = item.news
    return {
        "text": wording.comment(news, edited=edited),
        "author": item.requester,
        "public": True,
        "at": news.edited_at if edited and news.edited_at else news.published_at,
        "url": news.url,
        "attachments": [file.model_dump(mode="json") for file in news.attachments],
        "custom": _custom(item),
    }


def _custom(item: ThreadedItem) -> dict[str, Any]:
    """Values that a helpdesk's own fields may be mapped to."""
    news = item.news
    return {
        "source": item.provider,
        "kind": news.kind,
        "visibility": news.visibility,
        "rating": news.rating.value if news.rating else None,
        "language": news.language,
    }


def _apply(plan: Plan, ticket: TicketRow, effects: Sequence[Effect], item: ThreadedItem) -> None:
    """Combine the policies' effects: the highest priority, the union of tags."""
    update: dict[str, Any] = {}
    for effect in effects:
        if isinstance(effect, SetPriority) and PRIORITIES.index(effect.priority) > PRIORITIES.index(ticket.priority):
            ticket.priority = effect.priority
            update["priority"] = effect.priority
        elif isinstance(effect, AddTags):
            update["add_tags"] = sorted({*update.get("add_tags", ()), *effect.tags})
        elif isinstance(effect, Note):
            _note(plan, ticket, item, effect.text)
    if update:
        _push(plan, ticket, item, f"e:{item.interaction_id}:{item.news.revision}", "update", update)


def _same_words(rendered: str, seen: str) -> bool:
    return " ".join(rendered.split()) == " ".join(seen.split())
