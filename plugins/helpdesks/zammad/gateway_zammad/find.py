"""After an unknown outcome: is the ticket there, and which of the change's comments are on it?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway_schemas.errors import Gone
from gateway_schemas.ticket import FoundTicket, PushIntent, TicketChange
from gateway_zammad.api import Api
from gateway_zammad.comments import own_mark
from gateway_zammad.customers import Customers
from gateway_zammad.payloads import short_key
from gateway_zammad.push import Pusher, number_of
from gateway_zammad.words import number


class Finder:
    """Looks at the articles' message ids, in the ticket or in the customer's newest tickets: all from the database.

    Only who the customer is, where that is not remembered, is asked of the search, which trails behind.
    """

    def __init__(self, api: Api, pusher: Pusher, customers: Customers) -> None:
        self.api = api
        self.pusher = pusher
        self.customers = customers

    async def find(self, intent: PushIntent) -> FoundTicket:
        """Raises Gone for a deleted ticket."""
        change = intent.change
        if change.external_id is None:
            return await self._created(intent)
        ticket = number_of(change)
        found = self._marks(change, await self.api.articles(ticket))
        return FoundTicket(external_id=str(ticket), url=self.pusher.url(ticket), comments=found)

    def _marks(self, change: TicketChange, articles: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        wanted = {short_key(comment.key): comment.key for comment in change.comments}
        found: dict[str, str] = {}
        for one in articles:
            key = wanted.get(own_mark(one, self.api.config) or "")
            if key is not None and number(one.get("id")) is not None:
                found.setdefault(key, str(one["id"]))
        return found

    async def _created(self, intent: PushIntent) -> FoundTicket:
        person = intent.change.requester
        customer = await self.customers.remembered(person) or await self.customers.look_up(person)
        if customer is None:
            return FoundTicket()  # a ticket would have made the user
        listed = await self.api.get("ticket_customer", {"customer_id": str(customer)})
        ids: set[int] = set()
        for name in ("ticket_ids_open", "ticket_ids_closed"):
            some = listed.get(name)
            ids |= {id for one in (some if isinstance(some, list) else ()) if (id := number(one)) is not None}
        for id in sorted(ids, reverse=True):
            try:
                articles = await self.api.articles(id)
            except Gone:
                continue
            found = self._marks(intent.change, articles)
            if found:
                await self.customers.learn(person, customer)
                return FoundTicket(external_id=str(id), url=self.pusher.url(id), comments=found)
        return FoundTicket()
