"""After an unknown outcome: is the ticket there, and which of the change's comments are on it?"""

from __future__ import annotations

from gateway_request_tracker.api import Api, quoted
from gateway_request_tracker.comments import own_mark
from gateway_request_tracker.payloads import key_value, short_key
from gateway_request_tracker.push import Pusher, description_id, number_of
from gateway_request_tracker.words import number
from gateway_schemas.ticket import FoundTicket, PushIntent, TicketChange


class Finder:
    """Looks by key and by mark; both come out of RT's database, in which everything stands at once."""

    def __init__(self, api: Api, pusher: Pusher) -> None:
        self.api = api
        self.pusher = pusher

    async def find(self, intent: PushIntent) -> FoundTicket:
        """Raises Moved and Gone for a ticket that was merged away or deleted."""
        change = intent.change
        return await (self._created(change) if change.external_id is None else self._updated(change))

    async def _updated(self, change: TicketChange) -> FoundTicket:
        ticket = number_of(change)
        _, etag = await self.pusher.read(ticket)
        marks = {short_key(comment.key): comment.key for comment in change.comments}
        found: dict[str, str] = {}
        for one in await self.api.history(ticket, etag) if marks else ():
            key = marks.get(own_mark(one, self.api.config) or "")
            if key is not None and number(one.get("id")) is not None:
                found.setdefault(key, str(one["id"]))
        return FoundTicket(external_id=str(ticket), url=self.pusher.url(ticket), comments=found)

    async def _created(self, change: TicketChange) -> FoundTicket:
        """By the whole of the key field, which names the description too: a follow-up shares its ticket's key alone."""
        query = f"'CF.{{{self.api.config.key_field}}}' = {quoted(key_value(change))}"
        asked = {"query": query, "orderby": "id", "order": "ASC"}
        for one in await self.api.page("tickets", asked):
            ticket = number(one.get("id"))
            if ticket is not None:
                comments = {change.comments[0].key: description_id(ticket)}
                return FoundTicket(external_id=str(ticket), url=self.pusher.url(ticket), comments=comments)
        return FoundTicket()
