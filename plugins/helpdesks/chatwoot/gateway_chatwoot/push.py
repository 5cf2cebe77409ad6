"""Changes of conversations, one by one: create, update, and write as the customer."""

from __future__ import annotations

from collections.abc import Mapping
from mimetypes import guess_extension
from typing import Any

from gateway_chatwoot import payloads
from gateway_chatwoot.api import Api, File
from gateway_chatwoot.customers import Customers
from gateway_chatwoot.words import OUR_STATUS, THEIR_STATUS, moment, number
from gateway_schemas.errors import Gone, Malformed, Rejected, Unknown
from gateway_schemas.files import FileStore
from gateway_schemas.http import json_object
from gateway_schemas.ticket import Done, OutgoingComment, Requester, TicketChange

MOST_FILES = 15
MOST_BYTES = 40_000_000
"""What one message may carry: Chatwoot's limits of attachments, by number and by size."""


class Pusher:
    """The call of a change that must not be repeated comes last: the message. All before it may be done again.

    Chatwoot has no idempotency keys. A conversation carries the ticket's key as a custom attribute, and is looked for
    among its contact's before one is made; a message carries its key as `source_id`.
    """

    def __init__(self, api: Api, customers: Customers, files: FileStore) -> None:
        self.api = api
        self.customers = customers
        self.files = files
        self.config = api.config

    async def one(self, change: TicketChange) -> Done:
        """Apply one change. Raises the errors of the contract: Gone for a conversation that was deleted."""
        if self.config.inbox_id is None:
            raise Rejected("no inbox is set up; call the connection's install", code="no_inbox", field="inbox_id")
        if change.external_id is None:
            return await self._create(change)
        id = number_of(change)
        return await self._write(change, id, await self.api.conversation(id))

    async def _create(self, change: TicketChange) -> Done:
        contact, made = await self.customers.contact(change.requester)
        body = payloads.conversation(change, contact, self.config)
        try:
            found = None if made else await self.existing(contact, change.ticket_key)
        except Gone:
            # deleted, or merged into another: whoever has the identifier now is asked for anew
            await self.customers.forget(change.requester.external_id)
            contact, made = await self.customers.contact(change.requester)
            body = payloads.conversation(change, contact, self.config)
            found = None if made else await self.existing(contact, change.ticket_key)
        if found is None:
            try:
                response = await self.api.send("POST", "conversations", effect=True, json=body)
            except Gone as error:
                await self.customers.forget(change.requester.external_id)
                raise Rejected(f"{error.reason}; check inbox_id", code="no_inbox", field="inbox_id") from error
            found = json_object(response, effect=True)
            if number(found.get("id")) is None:
                raise Unknown("the answer names no conversation", code="malformed")
            found = {**found, "custom_attributes": body["custom_attributes"]}
            return await self._write(change, int(found["id"]), found)
        id = number(found.get("id"))
        if id is None:
            raise Malformed("a conversation of the list has no id", code="malformed")
        written = {payloads.marked_with(one): one for one in await self.api.messages(id)}
        there = written.get(payloads.short_key(change.comments[0].key))
        if there is None:
            return await self._write(change, id, found)
        done = await self._write(change.model_copy(update={"comments": ()}), id, found)
        return done.model_copy(update={"comments": {change.comments[0].key: str(there.get("id"))}})

    async def existing(self, contact: int, ticket_key: str) -> dict[str, Any] | None:
        """The contact's conversation in our inbox with the ticket's key; None when there is none. Raises Gone."""
        name = self.config.attribute(payloads.KEY)
        for one in await self.api.listed(f"contacts/{contact}/conversations"):
            kept = one.get("custom_attributes")
            if one.get("inbox_id") == self.config.inbox_id and isinstance(kept, dict) and kept.get(name) == ticket_key:
                return one
        return None

    async def _write(self, change: TicketChange, id: int, present: Mapping[str, Any]) -> Done:
        """What differs, each a call of its own that may be repeated; then the messages."""
        path = f"conversations/{id}"
        if change.external_id is not None or change.custom or change.fields:
            wanted = payloads.changed_attributes(
                payloads.attributes(change, self.config), present.get("custom_attributes")
            )
            if wanted is not None:
                body = {"custom_attributes": wanted, "merge": True}
                await self.api.send("POST", f"{path}/custom_attributes", json=body)
        labels = payloads.labels(present.get("labels"), self.config, change.add_tags, change.remove_tags)
        if labels is not None:
            await self.api.send("POST", f"{path}/labels", json={"labels": labels})
        priority = payloads.priority(change, present.get("priority"))
        if priority is not None:
            await self.api.send("POST", f"{path}/toggle_priority", json={"priority": priority})
        if change.external_id is not None:
            await self._assign(change, path)
        await self._hide(change, path)
        status = self._status(change, present.get("status"))
        if status is not None:
            await self.api.send("POST", f"{path}/toggle_status", json={"status": status})
        at, comments = moment(present.get("updated_at")) or moment(present.get("created_at")), {}
        for comment in change.comments:
            written = await self._message(path, comment, change.requester)
            found = number(written.get("id"))
            if found is None:
                raise Unknown("the answer names no message", code="malformed")
            comments[comment.key] = str(found)
            at = moment(written.get("created_at")) or at
        return Done(key=change.key, external_id=str(id), url=self.config.shown(id), comments=comments, at=at)

    async def _message(self, path: str, comment: OutgoingComment, requester: Requester) -> dict[str, Any]:
        files = await self._files(comment)
        body = payloads.message(comment, requester, files)
        response = await self.api.send("POST", f"{path}/messages", effect=True, json=body, files=list(files.values()))
        return json_object(response, effect=True)

    async def _assign(self, change: TicketChange, path: str) -> None:
        """One call each: of a team and an assignee in one request Chatwoot takes the assignee alone."""
        for name, id in (("team_id", number(change.group)), ("assignee_id", number(change.assignee))):
            if id is not None:
                await self.api.send("POST", f"{path}/assignments", json={name: id})

    async def _hide(self, change: TicketChange, path: str) -> None:
        """An answer that was not published shows as failed: API channels may say so of a message. Its privacy cannot
        be changed."""
        for id in change.make_private:
            body = {"status": "failed", "external_error": "Not published. The private note says why."}
            try:
                await self.api.send("PATCH", f"{path}/messages/{id}", json=body)
            except (Gone, Rejected):
                continue  # deleted meanwhile, or a release that cannot: the note and the label say it

    def _status(self, change: TicketChange, present: object) -> str | None:
        """The status to set; None where it means that already, whichever of `pending` and `snoozed` it is."""
        if change.status is None:
            return None
        theirs = self.config.waiting if change.status == "waiting" else THEIR_STATUS[change.status]
        same = isinstance(present, str) and OUR_STATUS.get(present) == OUR_STATUS[theirs]
        return None if same else theirs

    async def _files(self, comment: OutgoingComment) -> dict[str, File]:
        """The files that go with a message, by their SHA-256. One that is too much, or of which no copy is kept any
        more, is named in the text. Raises Retry while the copies cannot be read."""
        found: dict[str, File] = {}
        room = MOST_BYTES
        for file in (file for file in comment.attachments if file.sha256):
            sha256 = str(file.sha256)
            try:
                body = await self.files.read(sha256)
            except Gone:
                continue
            if sha256 not in found and len(body) <= room and len(found) < MOST_FILES:
                room -= len(body)
                media_type = file.media_type or "application/octet-stream"
                name = file.name or f"{sha256[:12]}{guess_extension(media_type) or ''}"
                found[sha256] = File(name, body, media_type)
        return found


def number_of(change: TicketChange) -> int:
    """The conversation's id. Raises Rejected for one that Chatwoot cannot have given."""
    found = number(change.external_id)
    if found is None:
        raise Rejected(f"{change.external_id} is not a conversation's id", code="bad_id", field="external_id")
    return found
