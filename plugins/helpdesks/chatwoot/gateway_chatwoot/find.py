"""After an unknown outcome: is the conversation there, and which of the change's messages are in it?"""

from __future__ import annotations

from gateway_chatwoot.api import Api
from gateway_chatwoot.customers import Customers
from gateway_chatwoot.payloads import marked_with, short_key
from gateway_chatwoot.push import Pusher, number_of
from gateway_chatwoot.words import number
from gateway_schemas.errors import Gone
from gateway_schemas.ticket import FoundTicket, PushIntent, TicketChange


class Finder:
    """Looks in the contact's conversations and in a conversation's messages: both read what was just written."""

    def __init__(self, api: Api, pusher: Pusher, customers: Customers) -> None:
        self.api = api
        self.pusher = pusher
        self.customers = customers

    async def find(self, intent: PushIntent) -> FoundTicket:
        """A conversation whose first message is missing counts as not made: making it again finds it by its key and
        writes the message alone. Raises Gone for one that was deleted."""
        change = intent.change
        if change.external_id is not None:
            id = number_of(change)
            await self.api.conversation(id)
            return await self._seen(change, id)
        requester = change.requester.external_id
        contact = await self.customers.remembered(requester) or await self.customers.look_up(requester)
        try:
            found = await self.pusher.existing(contact, change.ticket_key) if contact is not None else None
        except Gone:
            await self.customers.forget(requester)
            return FoundTicket()
        made = number(found.get("id")) if found is not None else None
        if contact is None or made is None:
            return FoundTicket()
        await self.customers.learn(requester, contact)
        seen = await self._seen(change, made)
        return seen if seen.comments or not change.comments else FoundTicket()

    async def _seen(self, change: TicketChange, id: int) -> FoundTicket:
        keys = {short_key(comment.key): comment.key for comment in change.comments}
        comments: dict[str, str] = {}
        for one in await self.api.messages(id) if keys else ():
            key = keys.get(marked_with(one) or "")
            if key is not None and number(one.get("id")) is not None:
                comments.setdefault(key, str(one["id"]))
        return FoundTicket(external_id=str(id), url=self.api.config.shown(id), comments=comments)
