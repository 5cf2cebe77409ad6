"""Changes of tickets, one by one: create, update, and write articles as the customer."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from mimetypes import guess_extension
from typing import Any

import httpx2

from gateway_schemas.errors import Closed, Gone, Moved, Rejected, Unknown
from gateway_schemas.files import FileStore
from gateway_schemas.http import json_object
from gateway_schemas.ticket import Done, OutgoingComment, TicketChange
from gateway_zammad import payloads
from gateway_zammad.api import Api, listed, status_of
from gateway_zammad.customers import Customers
from gateway_zammad.normalise import merged_into
from gateway_zammad.words import CLOSED, MERGED, moment, number

MOST_BYTES = 20_000_000
"""What goes along of one message's files; they travel as base64 within the JSON."""


class Pusher:
    """A change makes one call that must not be repeated, and it comes last: all before it may be done again.

    Zammad has no idempotency keys. An update is: read the ticket, write what differs, then write the article.
    """

    def __init__(self, api: Api, customers: Customers, files: FileStore) -> None:
        self.api = api
        self.customers = customers
        self.files = files
        self.config = api.config

    async def one(self, change: TicketChange) -> Done:
        """Apply one change. Raises the errors of the contract: Closed, Moved and Gone for what people did meanwhile."""
        return await (self._create(change) if change.external_id is None else self._update(change))

    async def _create(self, change: TicketChange) -> Done:
        customer = await self.customers.remembered(change.requester)
        try:
            response = await self._creation(change, customer)
        except Rejected as error:
            if customer is None or status_of(error) != 422:
                raise
            # deleted since, perhaps: nothing was made, and by login Zammad finds or makes them
            await self.customers.forget(change.requester)
            response = await self._creation(change, None)
        ticket = json_object(response, effect=True)
        found, articles = number(ticket.get("id")), ticket.get("article_ids")
        if found is None or not isinstance(articles, list) or not articles:
            raise Unknown("the answer names no ticket with its article", code="malformed")
        await self.customers.learn(change.requester, ticket.get("customer_id"))
        return Done(
            key=change.key,
            external_id=str(found),
            url=self.url(found),
            comments={change.comments[0].key: str(articles[0])},
            at=moment(ticket.get("created_at")),
        )

    async def _creation(self, change: TicketChange, customer: int | None) -> httpx2.Response:
        body = payloads.creation(change, self.config, self.api.time.now(), customer)
        body |= await self._routed(change)
        comment = change.comments[0]
        files, author, heading = await self._files(comment), None, None
        if comment.author is not None:
            if comment.author.external_id == change.requester.external_id:
                author = {"origin_by_id": customer} if customer is not None else {}  # Zammad: the ticket's customer
            else:
                author = {"origin_by_id": await self._known(comment)}
        body["article"] = payloads.article(comment, self.config, author, heading, files)
        try:
            return await self.api.send("POST", "tickets", effect=True, json=body)
        except Gone as error:
            # nothing that could be gone is named: the address is wrong
            raise Rejected(f"{error.reason}; check url", code="no_endpoint") from error

    async def _known(self, comment: OutgoingComment) -> int:
        assert comment.author is not None
        return await self.customers.remembered(comment.author) or await self.customers.make(comment.author)

    async def _update(self, change: TicketChange) -> Done:
        if len(change.comments) > 1:
            raise Rejected("one update takes one comment", code="one_comment", field="comments")
        ticket_id = number_of(change)
        ticket = await self.api.ticket(ticket_id)
        if ticket.get("state") == MERGED:
            await self._moved(ticket_id)
        final = self.config.closed_is_final and ticket.get("state") in (self.config.solved, CLOSED)
        if final and any(comment.author is not None for comment in change.comments):
            raise Closed(f"ticket {ticket_id} is closed")
        for article in change.make_private:
            await self._make_private(article)
        body = payloads.update(change, ticket, self.config, self.api.time.now())
        body |= {name: value for name, value in (await self._routed(change)).items() if ticket.get(name) != value}
        if body:
            ticket = json_object(await self.api.send("PUT", f"tickets/{ticket_id}", json=body))
        await self._tags(ticket_id, change)
        at, comments = moment(ticket.get("updated_at")), {}
        for comment in change.comments:
            written = await self._article(ticket_id, comment)
            found = number(written.get("id"))
            if found is None:
                raise Unknown("the answer names no article", code="malformed")
            comments[comment.key] = str(found)
            at = moment(written.get("created_at")) or at
        return Done(key=change.key, external_id=str(ticket_id), url=self.url(ticket_id), comments=comments, at=at)

    async def _moved(self, ticket_id: int) -> None:
        target = merged_into(await self.api.links(ticket_id))
        if target is None:
            raise Gone(f"ticket {ticket_id} was merged into one that is not there any more", code="merged_away")
        raise Moved(f"ticket {ticket_id} was merged into {target}", to=target)

    async def _make_private(self, article: str) -> None:
        """An article's text can never be changed; whether it is internal can."""
        if number(article) is None:
            return
        try:
            await self.api.send("PUT", f"ticket_articles/{article}", json={"internal": True})
        except Gone:
            return  # the agent deleted it

    async def _tags(self, ticket_id: int, change: TicketChange) -> None:
        """Each tag is a call of its own, and a repeat is harmless.

        A ticket that others were merged into may not have had the tag by which its changes are seen.
        """
        present = await self.api.tags(ticket_id)
        have = {tag.lower(): tag for tag in present}
        wanted = {tag.lower(): tag for tag in payloads.merged_tags([self.config.tag, *change.add_tags], ())}
        for name in payloads.merged_tags(change.remove_tags, [self.config.tag]):
            wanted.pop(name.lower(), None)
            if name.lower() in have:
                item = {"item": have[name.lower()], "object": "Ticket", "o_id": ticket_id}
                await self.api.send("DELETE", "tags/remove", json=item)
        for key, tag in wanted.items():
            if key not in have:
                await self.api.send("POST", "tags/add", json={"item": tag, "object": "Ticket", "o_id": ticket_id})

    async def _article(self, ticket_id: int, comment: OutgoingComment) -> dict[str, Any]:
        files = await self._files(comment)
        author = await self.customers.author(comment.author) if comment.author is not None else None
        try:
            response = await self._write(ticket_id, comment, author, files)
        except Rejected as error:
            if author is None or comment.author is None or status_of(error) != 422:
                raise
            # nothing was written: the user is not there yet, or was deleted
            await self.customers.forget(comment.author)
            author = {"origin_by_id": await self.customers.make(comment.author)}
            response = await self._write(ticket_id, comment, author, files)
        written = json_object(response, effect=True)
        if comment.author is not None:
            await self.customers.learn(comment.author, written.get("origin_by_id"))
        return written

    async def _write(
        self,
        ticket_id: int,
        comment: OutgoingComment,
        author: Mapping[str, Any] | None,
        files: Mapping[str, dict[str, str]],
    ) -> httpx2.Response:
        body = {"ticket_id": ticket_id, **payloads.article(comment, self.config, author, None, files)}
        return await self.api.send("POST", "ticket_articles", effect=True, json=body)

    async def _routed(self, change: TicketChange) -> dict[str, Any]:
        """Group by name or number, owner by number or e-mail address; one that is not there leaves the ticket alone."""
        found: dict[str, Any] = {}
        if change.group is not None:
            groups = listed(await self.api.send("GET", "groups"), "groups")
            named = [one for one in groups if change.group in (one.get("name"), str(one.get("id")))]
            if named and isinstance(named[0].get("name"), str):
                found["group"] = named[0]["name"]
        if change.assignee is not None:
            owner = number(change.assignee)
            if owner is None:
                users = await self.api.users("email", change.assignee.lower())
                owner = next((number(one.get("id")) for one in users), None)
            if owner is not None:
                found["owner_id"] = owner
        return found

    async def _files(self, comment: OutgoingComment) -> dict[str, dict[str, str]]:
        """The files that go with an article, by their SHA-256: as many as fit, in order.

        One that is too much, or of which no copy is kept any more, is named in the text. Raises Retry while the copies
        cannot be read.
        """
        found: dict[str, dict[str, str]] = {}
        room = MOST_BYTES
        for file in comment.attachments:
            if file.sha256 is None or file.sha256 in found:
                continue
            try:
                body = await self.files.read(file.sha256)
            except Gone:
                continue
            if len(body) > room:
                continue
            room -= len(body)
            media_type = file.media_type or "application/octet-stream"
            name = file.name or f"{file.sha256[:12]}{guess_extension(media_type) or ''}"
            data = base64.b64encode(body).decode("ascii")
            found[file.sha256] = {"filename": name, "data": data, "mime-type": media_type}
        return found

    def url(self, ticket: int | str) -> str:
        """Where agents see the ticket."""
        return f"{self.config.url}/#ticket/zoom/{ticket}"


def number_of(change: TicketChange) -> int:
    """The ticket's id. Raises Rejected for one that Zammad cannot have given."""
    found = number(change.external_id)
    if found is None:
        raise Rejected(f"{change.external_id} is not a ticket's id", code="bad_id", field="external_id")
    return found
