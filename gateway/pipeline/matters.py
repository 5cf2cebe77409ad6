"""What threading a batch knows: the batch itself, and the threads, legs, tickets, parents and context around it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from gateway.pipeline.invitations import Invitation
from gateway.restored import Restored, stable_id
from gateway_schemas.interaction import Interaction

JOIN_WITHIN = timedelta(days=14)
"""A direct message joins a matter of the same customer in which something happened within this span."""


@dataclass
class ThreadedItem:
    """One change of one interaction with what is stored around it."""

    revision_id: int
    change: str
    at: datetime
    seen_at: datetime
    news: Interaction
    interaction_id: UUID
    scope: str
    external_id: str
    connection_id: UUID
    account_id: UUID
    customer_id: UUID
    thread_id: UUID
    ticket_id: UUID | None
    reply_id: UUID | None
    origin: str
    deleted_by: str
    provider: str
    brand_id: UUID | None
    helpdesk_id: UUID | None
    connection_name: str
    requester: dict[str, Any]
    depth: int = 0
    """How many stored posts it stands below: posts of one moment are told from the top."""

    @property
    def name(self) -> UUID:
        """What names it in marks at helpdesks: the same whenever and wherever it is recorded."""
        return stable_id(self.scope, self.external_id)

    @property
    def order(self) -> tuple[datetime, int, int, str]:
        """Sorts a conversation as it was written, also where the source's clock is too coarse to tell."""
        return (self.at, self.depth, len(self.external_id), self.external_id)


@dataclass
class TicketRow:
    """What threading needs of a ticket."""

    id: UUID
    helpdesk_id: UUID | None
    account_id: UUID
    status: str
    priority: str
    ended: str | None
    opened_at: datetime
    last_inbound_at: datetime
    brand_id: UUID | None
    tags: tuple[str, ...] = ()
    fields: dict[str, Any] = field(default_factory=dict)
    assignee: str | None = None
    reopen: bool = False
    mark: str | None = None
    loaded: TicketRow | None = None
    """As it was read; None for one that this batch opens."""


@dataclass
class Matters:
    """The state a batch is folded over."""

    items: list[ThreadedItem] = field(default_factory=list)
    tickets: dict[UUID, TicketRow] = field(default_factory=dict)
    legs: dict[tuple[UUID, UUID], UUID] = field(default_factory=dict)
    firsts: dict[UUID, UUID] = field(default_factory=dict)
    """The first ticket of each thread."""
    parents: dict[UUID, list[ThreadedItem]] = field(default_factory=dict)
    """Ancestors of each interaction, nearest first."""
    loose: dict[UUID, dict[UUID, ThreadedItem]] = field(default_factory=lambda: defaultdict(dict))
    """Interactions of a thread that belong to no ticket yet."""
    answered: dict[tuple[str, str], list[ThreadedItem]] = field(default_factory=lambda: defaultdict(list))
    """Answers the brand gave at the source to posts that were not stored then, by what they answer."""
    of_account: dict[UUID, TicketRow] = field(default_factory=dict)
    sent: dict[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    """Replies that are out, by scope and external id: another connection may see them before their own does."""
    flying: dict[tuple[str, str], list[Mapping[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    unpushed: dict[UUID, str] = field(default_factory=dict)
    """Keys of comments not pushed yet, by interaction."""
    roots: dict[UUID, str] = field(default_factory=dict)
    """What the source calls each thread."""
    restored: Restored | None = None
    helpdesks: dict[str, UUID] = field(default_factory=dict)
    """Helpdesk connections by name, for policies that route."""
    invitations: dict[str, Invitation] = field(default_factory=dict)
    """Those that messages of the batch claim, by code."""
    forgotten: set[UUID] = field(default_factory=set)
    """Customers who are being erased."""

    def fork(self) -> Matters:
        """A copy for one fold: what a fold changes is copied, the rest is shared."""
        rows: dict[int, TicketRow] = {}
        things: dict[int, ThreadedItem] = {}

        def row(one: TicketRow) -> TicketRow:
            return rows.setdefault(id(one), replace(one))

        def item(one: ThreadedItem) -> ThreadedItem:
            return things.setdefault(id(one), replace(one))

        return replace(
            self,
            items=[item(one) for one in self.items],
            tickets={id: row(one) for id, one in self.tickets.items()},
            legs=dict(self.legs),
            firsts=dict(self.firsts),
            parents={id: [item(one) for one in above] for id, above in self.parents.items()},
            loose=defaultdict(
                dict, {id: {key: item(one) for key, one in some.items()} for id, some in self.loose.items()}
            ),
            answered=defaultdict(list, {key: [item(one) for one in some] for key, some in self.answered.items()}),
            of_account={id: row(one) for id, one in self.of_account.items()},
            invitations={code: replace(one) for code, one in self.invitations.items()},
        )

    def ticket_of(self, thread_id: UUID, account_id: UUID) -> TicketRow | None:
        """The ticket of a customer in a thread."""
        id = self.legs.get((thread_id, account_id))
        return self.tickets.get(id) if id else None

    def first_ticket(self, thread_id: UUID) -> TicketRow | None:
        """The ticket that the thread began with."""
        id = self.firsts.get(thread_id)
        return self.tickets.get(id) if id else None

    def open_matter(self, item: ThreadedItem) -> TicketRow | None:
        """The customer's newest open matter, for a direct message to join."""
        ticket = self.of_account.get(item.account_id)
        if ticket is None or ticket.ended or item.at - ticket.last_inbound_at > JOIN_WITHIN:
            return None
        return ticket if ticket.brand_id == item.brand_id else None

    def invitation(self, item: ThreadedItem) -> Invitation | None:
        """The invitation whose code the message carries; never one of another brand."""
        found = self.invitations.get(item.news.claim) if item.news.claim else None
        return found if found is not None and found.brand_id == item.brand_id else None

    def join(self, former: UUID, customer_id: UUID) -> None:
        """Two customers have proven to be one."""
        for item in (*self.items, *(one for above in self.parents.values() for one in above)):
            if item.customer_id == former:
                item.customer_id = customer_id
        for invitation in self.invitations.values():
            if invitation.customer_id == former:
                invitation.customer_id = customer_id

    def add_ticket(self, ticket: TicketRow) -> None:
        """Let later items of the batch see a new ticket."""
        self.tickets[ticket.id] = ticket
        self.of_account[ticket.account_id] = ticket

    def parent(self, item: ThreadedItem) -> ThreadedItem | None:
        """What the item answers, when it is stored."""
        above = self.parents.get(item.interaction_id)
        return above[0] if above else None

    def unclaimed(self, item: ThreadedItem) -> None:
        """Remember an item that belongs to no ticket, for one that is opened later."""
        self.loose[item.thread_id][item.interaction_id] = item

    def claim(self, item: ThreadedItem) -> list[ThreadedItem]:
        """What the same customer wrote in this thread before there was a ticket, and the brand's own in a private
        one."""
        mine = [
            one
            for one in self.loose.get(item.thread_id, {}).values()
            if one.interaction_id != item.interaction_id
            and (
                (one.account_id == item.account_id and one.news.direction == "inbound")
                or (one.news.direction == "outbound" and item.news.visibility == "private")
            )
        ]
        for one in mine:
            del self.loose[item.thread_id][one.interaction_id]
        return mine

    def context_above(self, item: ThreadedItem) -> list[ThreadedItem]:
        """Other people's posts that the item answers to and that are on no ticket, oldest first."""
        above = self.parents.get(item.interaction_id, [])
        return [one for one in reversed(above) if one.account_id != item.account_id and one.ticket_id is None][-5:]

    def early_answers(self, item: ThreadedItem) -> list[ThreadedItem]:
        """Answers of the brand that were told before what they answer could be fetched."""
        return self.answered.pop((item.scope, item.external_id), [])

    def reply_sent_as(self, item: ThreadedItem) -> Mapping[str, Any] | None:
        """The reply of ours that was published under this id."""
        return self.sent.get((item.scope, item.external_id))

    def replies_in_flight(self, item: ThreadedItem) -> list[Mapping[str, Any]]:
        """Replies to the same target that may be out already."""
        if item.news.visibility != "private":
            named = [item.news.in_reply_to]
        else:
            target = item.news.reply_target
            named = [
                item.news.root,
                conversation_with(target.recipient) if target is not None and target.recipient else None,
            ]
        found = {row["id"]: row for name in named if name for row in self.flying.get((item.scope, name), [])}
        return list(found.values())


def conversation_with(recipient: str) -> str:
    """Names who a conversation is with, where ids of conversations are told as well."""
    return f"to {recipient}"
