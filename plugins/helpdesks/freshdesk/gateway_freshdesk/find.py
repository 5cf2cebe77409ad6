"""After an unknown outcome: is the ticket there, and which of the change's comments are on it?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from gateway_freshdesk.api import LIST, Api
from gateway_freshdesk.comments import own_mark
from gateway_freshdesk.customers import Customers
from gateway_freshdesk.payloads import marked_with, short_key
from gateway_freshdesk.push import Pusher, description_id, number_of
from gateway_freshdesk.words import iso, number
from gateway_schemas.markup import as_text
from gateway_schemas.ticket import FoundTicket, PushIntent, TicketChange

BEFORE = timedelta(minutes=15)
"""How much older than the call a ticket's last change may look, should the two clocks disagree."""
MOST_PAGES = 5


class Finder:
    """Looks where Freshdesk looks itself: in the requester's tickets and in the ticket's conversations.

    Never in the search: that has an index of its own, minutes behind.
    """

    def __init__(self, api: Api, pusher: Pusher, customers: Customers) -> None:
        self.api = api
        self.pusher = pusher
        self.customers = customers

    async def find(self, intent: PushIntent) -> FoundTicket:
        """Raises Gone for a deleted ticket."""
        change = intent.change
        return await (self._created(intent) if change.external_id is None else self._updated(change))

    async def _updated(self, change: TicketChange) -> FoundTicket:
        ticket_id = number_of(change)
        ticket = await self.api.ticket(ticket_id)
        marks = {short_key(comment.key): comment.key for comment in change.comments}
        found: dict[str, str] = {}
        if marks:
            for one in await self.api.conversations(ticket_id):
                key = marks.get(own_mark(one, ticket, self.api.config) or "")
                if key is not None and number(one.get("id")) is not None:
                    found.setdefault(key, str(one["id"]))
        return FoundTicket(external_id=str(ticket_id), url=self.pusher.url(ticket_id), comments=found)

    async def _created(self, intent: PushIntent) -> FoundTicket:
        """The requester's ticket whose description ends in the mark; not the one that it may follow."""
        change = intent.change
        wanted = {short_key(comment.key): comment.key for comment in change.comments}
        external_id = change.requester.external_id
        contact = await self.customers.remembered(external_id) or await self.customers.look_up(external_id)
        if contact is None:
            return FoundTicket()  # a ticket would have made the contact
        asked = {
            "requester_id": str(contact),
            "updated_since": iso(intent.started_at - BEFORE),
            "order_by": "created_at",
            "order_type": "desc",
            "include": "description",
        }
        async for page in self.api.pages("tickets", asked, bucket=LIST, most=MOST_PAGES):
            for ticket in _oldest_first(page):
                key = wanted.get(marked_with(_description(ticket)) or "")
                ticket_id = number(ticket.get("id"))
                if key is not None and ticket_id is not None:
                    await self.customers.learn(external_id, contact)
                    comments = {key: description_id(ticket_id)}
                    return FoundTicket(external_id=str(ticket_id), url=self.pusher.url(ticket_id), comments=comments)
        return FoundTicket()


def _oldest_first(tickets: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted(tickets, key=lambda one: number(one.get("id")) or 0)


def _description(ticket: Mapping[str, Any]) -> str:
    markup = ticket.get("description")
    return as_text(markup) if isinstance(markup, str) else str(ticket.get("description_text") or "")
