"""Changes of tickets, one by one: create, update, and write notes as the customer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from mimetypes import guess_extension
from typing import Any

import httpx2

from gateway_freshdesk import merges, payloads
from gateway_freshdesk.api import CREATE, UPDATE, Api, File, status_of
from gateway_freshdesk.customers import Customers
from gateway_freshdesk.words import CLOSED, moment, number
from gateway_schemas.errors import Closed, Gone, Moved, Rejected, Retry, Unknown
from gateway_schemas.files import FileStore
from gateway_schemas.http import json_object
from gateway_schemas.ticket import Done, OutgoingComment, Requester, TicketChange

MOST_BYTES = 20_000_000
"""What the files of one ticket or note may have together at Freshdesk: 20 MB."""


class Pusher:
    """A change takes one call that must not be repeated, and it comes last: all before it may be done again.

    Freshdesk has no idempotency keys. An update is: read the ticket, write what differs, then write the note.
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
        """`POST /tickets` with the customer's external id: Freshdesk finds the contact or makes it."""
        files = await self._files(change.comments)
        body = payloads.creation(change, self.config, files)
        try:
            response = await self.api.send(
                "POST", "tickets", effect=True, bucket=CREATE, json=body, files=list(files.values())
            )
        except Gone as error:
            # nothing that could be gone is named: the address is wrong
            raise Rejected(f"{error.reason}; check domain or base_url", code="no_endpoint") from error
        ticket = json_object(response, effect=True)
        found = number(ticket.get("id"))
        if found is None:
            raise Unknown("the answer names no ticket", code="malformed")
        contact = number(ticket.get("requester_id"))
        if contact is not None:
            await self.customers.learn(change.requester.external_id, contact)
        return Done(
            key=change.key,
            external_id=str(found),
            url=self.url(found),
            comments={change.comments[0].key: description_id(found)},
            at=moment(ticket.get("created_at")),
        )

    async def _update(self, change: TicketChange) -> Done:
        """Comments that shall be made private stay as they are: Freshdesk's API changes a note's body and no more.

        What tells the agent is the private note and the tag that the same change brings.
        """
        ticket_id = number_of(change)
        ticket = await self.api.ticket(ticket_id)
        if ticket.get("status") == CLOSED:
            await self._closed(change, ticket_id)
        body = payloads.update(change, ticket, self.config)
        if body:
            response = await self._write(ticket_id, "PUT", f"tickets/{ticket_id}", body, effect=False)
            ticket = json_object(response)
        at, comments = moment(ticket.get("updated_at")), {}
        for comment in change.comments:
            written = await self._note(ticket_id, comment)
            found = number(written.get("id"))
            if found is None:
                raise Unknown("the answer names no note", code="malformed")
            comments[comment.key] = str(found)
            at = moment(written.get("created_at")) or at
        return Done(key=change.key, external_id=str(ticket_id), url=self.url(ticket_id), comments=comments, at=at)

    async def _closed(self, change: TicketChange, ticket_id: int) -> None:
        """A closed ticket would take anything: who merged it away or means it to be over is followed all the same.

        What the gateway itself has to say still goes to it: no ticket stays closed with an unpublished answer.
        """
        ticket = await self.api.ticket(ticket_id, stats=True)
        conversations = await self.api.conversations(ticket_id)
        try:
            related = await merges.evidence(self.api, ticket, conversations, self.api.time.now())
        except merges.Undecided as error:
            raise Retry(f"ticket {ticket_id} may be being merged just now", code="merge_open") from error
        target = merges.merged_into(ticket, conversations, related)
        if target is not None:
            raise Moved(f"ticket {ticket_id} was merged into {target}", to=target)
        if self.config.closed_is_final and any(comment.author is not None for comment in change.comments):
            raise Closed(f"ticket {ticket_id} is closed")

    async def _note(self, ticket_id: int, comment: OutgoingComment) -> dict[str, Any]:
        path = f"tickets/{ticket_id}/notes"
        files = await self._files([comment])
        contact = await self._contact(comment.author) if comment.author is not None else None
        body = payloads.note(comment, contact, files)
        try:
            response = await self._write(ticket_id, "POST", path, body, effect=True, files=files)
        except Rejected as error:
            if contact is None or comment.author is None or error.field != "user_id":
                raise
            # deleted or merged since, or an account where notes are written by agents only: nothing was written
            await self.customers.forget(comment.author.external_id)
            body = payloads.note(comment, None, files)
            response = await self._write(ticket_id, "POST", path, body, effect=True, files=files)
        return json_object(response, effect=True)

    async def _files(self, comments: Sequence[OutgoingComment]) -> dict[str, File]:
        """The files that go with a request, by their SHA-256: as many as Freshdesk takes, in order.

        One that is too much, or of which no copy is kept any more, is named in the text. Raises Retry while the copies
        cannot be read.
        """
        found: dict[str, File] = {}
        room = MOST_BYTES
        for file in (file for comment in comments for file in comment.attachments if file.sha256):
            sha256 = str(file.sha256)
            try:
                body = await self.files.read(sha256)
            except Gone:
                continue
            if sha256 not in found and len(body) <= room:
                room -= len(body)
                media_type = file.media_type or "application/octet-stream"
                name = file.name or f"{sha256[:12]}{guess_extension(media_type) or ''}"
                found[sha256] = File(name, body, media_type)
        return found

    async def _contact(self, author: Requester) -> int | None:
        """The author's contact; None where the account takes none like it, as with contact fields that are required."""
        try:
            return await self.customers.contact(author)
        except Rejected as error:
            if status_of(error) in (401, 403):
                raise
            return None

    async def _write(
        self,
        ticket_id: int,
        method: str,
        path: str,
        body: dict[str, Any],
        *,
        effect: bool,
        files: Mapping[str, File] | None = None,
    ) -> httpx2.Response:
        carried = list(files.values()) if files else []
        try:
            return await self.api.send(method, path, effect=effect, bucket=UPDATE, json=body, files=carried)
        except Rejected as error:
            if status_of(error) == 405:
                # in the trash or marked as spam since it was read
                await self.api.ticket(ticket_id)
            raise

    def url(self, ticket: int | str) -> str:
        """Where agents see the ticket."""
        return f"{self.config.url}/a/tickets/{ticket}"


def description_id(ticket: int | str) -> str:
    """What stands for the id of a ticket's description: it is no conversation and has none."""
    return f"description-{ticket}"


def number_of(change: TicketChange) -> int:
    """The ticket's id. Raises Rejected for one that Freshdesk cannot have given."""
    found = number(change.external_id)
    if found is None:
        raise Rejected(f"{change.external_id} is not a ticket's id", code="bad_id", field="external_id")
    return found
