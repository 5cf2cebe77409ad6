"""What a batch of threading changes: nothing is done while it is threaded, everything is noted here.

`thread` says which ticket a message belongs to; this is how it is put there, what the helpdesk is told of it, and what
the policies want done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from gateway.pipeline import wording
from gateway.pipeline.casebook import Casebook
from gateway.pipeline.invitations import Claim
from gateway.pipeline.matters import Matters, ThreadedItem, TicketRow
from gateway.policy.combine import Wish
from gateway.policy.effects import Order, orders_of, update_ticket
from gateway.policy.effects import note as note_payload
from gateway.sla.requests import Request
from gateway_schemas.interaction import Interaction


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
    told: dict[UUID, str] = field(default_factory=dict)
    """Keys of the comments that this batch makes, by interaction."""
    claims: list[Claim] = field(default_factory=list)
    """Invitations that this batch uses first, in order."""
    proven: dict[UUID, ThreadedItem] = field(default_factory=dict)
    """Replies whose sending an echo proves, with the echo."""
    parked: dict[int, tuple[str, datetime]] = field(default_factory=dict)
    """Revisions that wait for a reply in flight."""
    done: dict[int, str | None] = field(default_factory=dict)
    clocks: list[Request] = field(default_factory=list)
    """What is asked of the tickets' clocks."""
    alarms: list[dict[str, Any]] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    """What policies want done besides what changes on the ticket itself."""
    ids: dict[tuple[UUID, UUID | None], UUID] = field(default_factory=dict)
    """Ids of new tickets, by the message that opens them and the ticket they follow: the same in every fold."""

    def place(self, item: ThreadedItem, ticket: TicketRow, book: Casebook) -> None:
        """Put a message on a ticket."""
        self.placed[item.interaction_id] = placement(item, ticket.id)
        item.ticket_id = ticket.id
        book.placed(item, ticket)

    def tell(self, ticket: TicketRow, item: ThreadedItem, book: Casebook, *, edited: bool = False) -> None:
        """Tell the helpdesk what the customer wrote."""
        self.place(item, ticket, book)
        payload = comment(item, edited=edited)
        if ticket.reopen:
            payload["status"], ticket.reopen = "open", False
        key = f"i:{item.name}:{item.news.revision}"
        self.told[item.interaction_id] = key
        self.push(ticket, item, key, "comment", payload)

    def note(self, ticket: TicketRow, item: ThreadedItem, text: str) -> None:
        """Tell the helpdesk's agents something about a message, in a private note."""
        key = f"n:{item.name}:{item.change}:{item.news.revision}:{ticket.mark or ticket.id}"
        self.push(ticket, item, key, "note", note_payload(text, self.now))

    def push(self, ticket: TicketRow, item: ThreadedItem, key: str, kind: str, payload: dict[str, Any]) -> None:
        """Note what the ticket's helpdesk is to be told; a key that stands there already is replaced."""
        if ticket.helpdesk_id is None:
            return
        self.pushes[key] = {
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
            "due_at": self.now + (self.file_patience if kind == "comment" and item.news.attachments else timedelta()),
            "at": item.at,
            "created_at": self.now,
        }

    def apply(
        self, matters: Matters, ticket: TicketRow, item: ThreadedItem, wishes: Sequence[Wish], book: Casebook
    ) -> None:
        """Do what the policies want: on the ticket itself at once, everything else when the batch is written."""
        if not wishes:
            return
        at = next((name for name, id in matters.helpdesks.items() if id == ticket.helpdesk_id), None)
        update = update_ticket(ticket, wishes, at)
        for wish, why in update.lost:
            book.lose(item, wish, why)
        thing = f"{item.name}:{item.news.revision}"
        if update.payload:
            self.push(ticket, item, f"e:{thing}", "update", update.payload)
        if update.note is not None:
            self.push(ticket, item, f"d:{thing}", "note", note_payload(update.note, self.now))
        self.order(ticket, item, wishes, book)

    def order(
        self,
        ticket: TicketRow | None,
        item: ThreadedItem,
        wishes: Sequence[Wish],
        book: Casebook,
        *,
        grouped: bool = False,
    ) -> None:
        """Note what the policies want besides what changes on the ticket itself, but for what cannot be done."""
        lost = {id(wish) for wish, _ in book.lost.get(item.revision_id, ())}
        orders = orders_of(
            f"{item.name}:{item.news.revision}",
            [wish for wish in wishes if id(wish) not in lost],
            at=item.at,
            seen_at=item.seen_at,
            ticket_id=ticket.id if ticket is not None else None,
            brand_id=item.brand_id,
            # what was counted once is not counted again when it is edited
            interaction_id=item.interaction_id if item.change == "created" else None,
            grouped=grouped,
        )
        for one in orders:
            book.did(one, item, ticket)
        self.orders += orders


def placement(item: ThreadedItem, ticket_id: UUID) -> dict[str, Any]:
    """Where a message belongs."""
    return {"ticket_id": ticket_id, "reply_id": item.reply_id, "thread_id": item.thread_id}


def comment(item: ThreadedItem, *, edited: bool) -> dict[str, Any]:
    """What the customer wrote, as the helpdesk is told it."""
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
