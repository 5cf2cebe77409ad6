"""Changes of tickets, one by one: create, update, and write what customers and the gateway say."""

from __future__ import annotations

import base64
from mimetypes import guess_extension
from typing import Any

import httpx2

from gateway_request_tracker import payloads
from gateway_request_tracker.api import Api, located, messages
from gateway_request_tracker.customers import Customers
from gateway_request_tracker.words import DELETED, moment, number
from gateway_schemas.errors import Closed, Gone, Moved, Rejected, Unknown
from gateway_schemas.files import FileStore
from gateway_schemas.http import json_object
from gateway_schemas.ticket import Done, OutgoingComment, TicketChange

MOST_BYTES = 10_000_000
"""What goes along of one message's files, as base64 within the JSON. RT's own limit is its MaxAttachmentSize, 10 MB
unless set otherwise."""


class Pusher:
    """A change makes one call that must not be repeated, and it comes last: all before it may be done again.

    RT has no idempotency keys. An update is: read the ticket, write what differs provided that nobody else wrote
    meanwhile, look what of it came to stand there, then write the message.
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
        files = await self._files(change.comments[0]) if change.comments else {}
        body = payloads.creation(change, self.config, files)
        await self.customers.ensure(change.requester)
        try:
            response = await self.api.send("POST", "ticket", effect=True, expected=(201,), json=body)
        except Gone as error:
            # nothing that could be gone is named: the address is wrong
            raise Rejected(f"{error.reason}; check url", code="no_endpoint") from error
        found = number(json_object(response, effect=True).get("id"))
        if found is None:
            raise Unknown("the answer names no ticket", code="malformed")
        comments = {change.comments[0].key: description_id(found)}
        return Done(key=change.key, external_id=str(found), url=self.url(found), comments=comments)

    async def _update(self, change: TicketChange) -> Done:
        """Comments that shall be made private stay as they are: RT cannot change what was written.

        What tells the agent is the comment and the tag that the same change brings.
        """
        if len(change.comments) > 1:
            raise Rejected("one update takes one comment", code="one_comment", field="comments")
        ticket_id = number_of(change)
        ticket, etag = await self.read(ticket_id)
        final = self.config.closed_is_final and ticket.get("Status") == self.config.solved
        if final and any(comment.author is not None for comment in change.comments):
            raise Closed(f"ticket {ticket_id} is resolved")
        missed, said = await self._fields(change, ticket, etag)
        if missed and not change.comments:
            # a field that RT refuses holds back no message; alone it is said
            reason = f"RT did not take {', '.join(missed)}: {' / '.join(said) or 'it gave no reason'}"
            raise Rejected(reason, code="not_applied", field=missed[0])
        await self._route(change, ticket)
        comments = {}
        for comment in change.comments:
            comments[comment.key] = await self._message(ticket_id, comment)
        at = moment(ticket.get("LastUpdated"))
        return Done(key=change.key, external_id=str(ticket_id), url=self.url(ticket_id), comments=comments, at=at)

    async def read(self, ticket_id: int) -> tuple[dict[str, Any], str | None]:
        """A ticket that may be written to. Raises Moved for a merged one and Gone for a deleted one."""
        ticket, etag = await self.api.ticket(ticket_id)
        now = number(ticket.get("id"))
        if now is not None and now != ticket_id:
            raise Moved(f"ticket {ticket_id} was merged into {now}", to=str(now))
        if ticket.get("Status") == DELETED:
            raise Gone(f"ticket {ticket_id} was deleted", code="deleted")
        return ticket, etag

    async def _fields(
        self, change: TicketChange, ticket: dict[str, Any], etag: str | None
    ) -> tuple[list[str], list[str]]:
        """Write what differs. What RT says of it are sentences, so the ticket is read again and compared."""
        body = payloads.update(change, ticket, self.config)
        if not body:
            return [], []
        ticket_id = number_of(change)
        said = messages(await self.api.send("PUT", f"ticket/{ticket_id}", json=body, etag=etag))
        after, _ = await self.read(ticket_id)
        return payloads.not_applied(body, after), said

    async def _route(self, change: TicketChange, ticket: dict[str, Any]) -> None:
        """Queue and owner by name; one that RT does not take leaves the ticket where it is."""
        for name, wanted in (("Queue", change.group), ("Owner", change.assignee)):
            present = ticket.get(name)
            if wanted is not None and (not isinstance(present, dict) or present.get("id") != wanted):
                await self.api.send("PUT", f"ticket/{number_of(change)}", json={name: wanted})

    async def _message(self, ticket_id: int, comment: OutgoingComment) -> str:
        """`correspond` for what is public, `comment` for what is not; the id is that of the transaction."""
        files = await self._files(comment)
        person = comment.author if comment.public else None
        login = self.customers.login(person) if person is not None else None
        response: httpx2.Response | None = None
        if person is not None and login is not None:
            await self.customers.ensure(person)
            try:
                response = await self._write(ticket_id, comment, None, files, login)
            except (Rejected, Gone):
                # no right to reply, another password, disabled: nothing was written
                await self.customers.forget(person)
        if response is None:
            response = await self._write(ticket_id, comment, payloads.heading_of(comment), files, None)
        found = located(response)
        if found is None:
            raise Unknown("the answer names no transaction", code="malformed")
        return found

    async def _write(
        self,
        ticket_id: int,
        comment: OutgoingComment,
        heading: str | None,
        files: dict[str, dict[str, str]],
        login: tuple[str, str] | None,
    ) -> httpx2.Response:
        path = f"ticket/{ticket_id}/{'correspond' if comment.public else 'comment'}"
        body = payloads.message(comment, heading, files)
        return await self.api.send("POST", path, effect=True, expected=(201,), json=body, login=login)

    async def _files(self, comment: OutgoingComment) -> dict[str, dict[str, str]]:
        """The files that go with a message, by their SHA-256: as many as fit, in order.

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
            if not body or len(body) > room:
                continue
            room -= len(body)
            media_type = file.media_type or "application/octet-stream"
            name = file.name or f"{file.sha256[:12]}{guess_extension(media_type) or ''}"
            data = base64.b64encode(body).decode("ascii")
            found[file.sha256] = {"FileName": name, "FileType": media_type, "FileContent": data}
        return found

    def url(self, ticket: int | str) -> str:
        """Where agents see the ticket."""
        return f"{self.config.url}/Ticket/Display.html?id={ticket}"


def description_id(ticket: int | str) -> str:
    """What stands for the id of a ticket's description: creating one does not tell its transaction."""
    return f"create-{ticket}"


def number_of(change: TicketChange) -> int:
    """The ticket's id. Raises Rejected for one that RT cannot have given."""
    found = number(change.external_id)
    if found is None:
        raise Rejected(f"{change.external_id} is not a ticket's id", code="bad_id", field="external_id")
    return found
