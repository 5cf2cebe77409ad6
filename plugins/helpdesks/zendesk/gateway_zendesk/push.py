"""Changes of tickets, one by one: create with an idempotency key, update, make comments private."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from mimetypes import guess_extension
from typing import Any

from gateway_schemas.errors import Closed, GatewayError, Gone, Malformed, Moved, Reauthorise, Rejected, Retry, Unknown
from gateway_schemas.files import FileStore
from gateway_schemas.http import json_object
from gateway_schemas.ticket import Done, Failed, TicketChange
from gateway_zendesk import payloads
from gateway_zendesk.api import Api, status_of
from gateway_zendesk.customers import Customers
from gateway_zendesk.normalise import merged_into
from gateway_zendesk.words import moment


class Pusher:
    """Single calls for single changes."""

    def __init__(self, api: Api, customers: Customers, files: FileStore) -> None:
        self.api = api
        self.files = files
        self.customers = customers
        self.config = api.config
        self.tags_apart = False
        """Whether this account was seen to ignore `additional_tags` outside `update_many?ids=`."""

    async def one(self, change: TicketChange) -> Done:
        """Apply one change. Raises the errors of the contract: Closed, Moved and Gone for what people did meanwhile."""
        users = await self.customers.ids(payloads.people_in(change))
        uploads = await self.upload(change)
        if change.external_id is None:
            return await self.create(change, payloads.creation(change, users, self.config, uploads))
        await self.prepare(change)
        return await self.update(change, self.payload(change, users, uploads))

    def payload(self, change: TicketChange, users: Mapping[str, int], uploads: Sequence[str] = ()) -> dict[str, Any]:
        """The body of an update, after `prepare`."""
        return payloads.update(change, users, self.config, uploads, tags=not self.tags_apart)

    async def upload(self, change: TicketChange) -> list[str]:
        """Upload the files of the change's comments and return one token for them all; none where there are none.

        `POST /uploads?filename=…` with the raw bytes; a further file names the token of the first. An upload that no
        comment takes is gone within the hour, so this may be repeated. Raises Retry while the copies cannot be read.
        """
        token: str | None = None
        for file in (file for comment in change.comments for file in comment.attachments if file.sha256):
            assert file.sha256 is not None
            try:
                body = await self.files.read(file.sha256)
            except Gone:
                continue  # of the copy, not of the ticket: a comment without its file is better than none
            name = file.name or f"{file.sha256[:12]}{guess_extension(file.media_type or '') or ''}"
            response = await self.api.send(
                "POST",
                "uploads",
                bucket="uploads",
                headers={"Content-Type": file.media_type or "application/octet-stream"},
                params={"filename": name, **({"token": token} if token else {})},
                content=body,
            )
            upload = json_object(response).get("upload")
            token = upload.get("token") if isinstance(upload, dict) else None
            if not isinstance(token, str) or not token:
                raise Malformed("the answer to an upload names no token", code="malformed")
        return [token] if token else []

    async def create(self, change: TicketChange, ticket: dict[str, Any]) -> Done:
        """`POST /tickets`: the same key within two hours gives the ticket that the first try made."""
        try:
            response = await self.api.send(
                "POST",
                "tickets",
                effect=True,
                bucket="tickets-create",
                headers={"Idempotency-Key": payloads.short_key(change.key)},
                json={"ticket": ticket},
            )
        except Rejected as error:
            await self._refused(change, error)
            raise
        return self._done(change, json_object(response, effect=True))

    async def update(self, change: TicketChange, ticket: dict[str, Any]) -> Done:
        """`PUT /tickets/{id}`; without anything to write the ticket is looked at, and tagged as ours if it is not."""
        number = number_of(change)
        if not ticket:
            return self._done(change, {"ticket": await self._own(number)})
        try:
            response = await self.api.send(
                "PUT",
                f"tickets/{number}",
                effect=True,
                bucket="tickets-update",
                scope=str(number),
                json={"ticket": ticket},
            )
        except Rejected as error:
            await self._refused(change, error)
            raise
        document = json_object(response, effect=True)
        done = self._done(change, document)
        await self.mend_tags(
            number, document["ticket"], change.add_tags, change.remove_tags, repeatable=not change.comments
        )
        return done

    async def _own(self, number: int) -> dict[str, Any]:
        """A ticket that ours was merged into has not got the tag by which trigger and poll know our tickets."""
        ticket = await self.api.ticket(number)
        tags = ticket.get("tags")
        if isinstance(tags, list) and self.config.tag not in tags and ticket.get("status") != "closed":
            await self._write_tags(number, [self.config.tag], ())
        return ticket

    async def prepare(self, change: TicketChange) -> int:
        """Called before an update: what needs calls of its own and may be repeated. Returns how many it took.

        Public comments are made private; one that is not there shows nothing in public. Tags are written here where the
        update itself would not take them.
        """
        number, calls = number_of(change), len(change.make_private)
        if self.tags_apart:
            calls += await self._write_tags(
                number, payloads.merged_tags((), change.add_tags, ()), payloads.merged_tags((), change.remove_tags, ())
            )
        for comment in change.make_private:
            if not comment.isdigit():
                raise Rejected(f"{comment} is not a comment's id", code="bad_id", field="make_private")
            try:
                await self.api.send(
                    "PUT",
                    f"tickets/{number}/comments/{comment}/make_private",
                    bucket="tickets-update",
                    scope=str(number),
                    json={},
                )
            except Gone:
                await self.api.ticket(number)
            except Rejected as error:
                await self._refused(change, error)
                raise
        return calls

    async def mend_tags(
        self,
        ticket: int,
        stored: Mapping[str, Any],
        added: Iterable[str],
        removed: Iterable[str],
        *,
        repeatable: bool = False,
    ) -> bool:
        """Called with what an update left: write the tags that it did not take. Returns whether there were any.

        `additional_tags` is documented for `update_many?ids=` only. Unless the update is `repeatable`, for it had no
        comment, what goes wrong here is Unknown and not Retry: a repeat would write the comment a second time. Once an
        account was seen to ignore the words, tags are written before the update, where a failure costs nothing.
        """
        tags = stored.get("tags")
        have = set(tags) if isinstance(tags, list) else set()
        gone = payloads.merged_tags((), removed, ())
        missing = [tag for tag in payloads.merged_tags((), added, gone) if tag not in have]
        left = [tag for tag in gone if tag in have]
        if not missing and not left:
            return False
        self.tags_apart = True
        try:
            await self._write_tags(ticket, missing, left)
        except GatewayError as error:
            if repeatable:
                raise
            raise Unknown(f"the update was made, its tags were not: {error.reason}", code="tags_unwritten") from error
        return True

    async def _write_tags(self, ticket: int, add: Sequence[str], remove: Sequence[str]) -> int:
        """By the endpoints for tags, which add and remove without replacing. Returns how many calls it took."""
        calls = [(method, tags) for method, tags in (("PUT", add), ("DELETE", remove)) if tags]
        for method, tags in calls:
            await self.api.send(
                method,
                f"tickets/{ticket}/tags",
                bucket="tickets-update",
                scope=str(ticket),
                json={"tags": list(tags)},
            )
        return len(calls)

    async def why_closed(self, ticket: Mapping[str, Any]) -> Closed | Moved | None:
        """What a ticket's state means for changes to it: merged, closed, or None when it takes changes."""
        if ticket.get("status") != "closed":
            return None
        number = int(ticket["id"])
        tags = ticket.get("tags")
        if isinstance(tags, list) and "closed_by_merge" in tags:
            audits, _ = await self.api.audits(number)
            target = merged_into(ticket, audits)
            if target is not None:
                return Moved(f"ticket {number} was merged into {target}", to=target)
        return Closed(f"ticket {number} is closed")

    def url(self, ticket: int | str) -> str:
        """Where agents see the ticket."""
        return f"{self.config.url}/agent/tickets/{ticket}"

    async def _refused(self, change: TicketChange, error: Rejected) -> None:
        """A 422 has many reasons and its text is no key: look at what the request named, raise what is found."""
        if status_of(error) != 422:
            return
        if change.external_id is not None:
            why = await self.why_closed(await self.api.ticket(number_of(change)))
            if why is not None:
                raise why from error
        if await self.customers.forget_missing(payloads.people_in(change)):
            raise Retry("a customer's user was deleted or merged; looking again", code="user_gone") from error

    def _done(self, change: TicketChange, document: Mapping[str, Any]) -> Done:
        ticket = document.get("ticket")
        number = ticket.get("id") if isinstance(ticket, dict) else None
        if not isinstance(ticket, dict) or not isinstance(number, int):
            raise Unknown("the answer names no ticket", code="malformed")
        audit = document.get("audit")
        events = audit.get("events") if isinstance(audit, dict) else None
        written = [event for event in events if isinstance(event, dict)] if isinstance(events, list) else []
        ids = [str(event["id"]) for event in written if event.get("type") == "Comment" and event.get("id")]
        return Done(
            key=change.key,
            external_id=str(number),
            url=self.url(number),
            comments=dict(zip((comment.key for comment in change.comments), ids, strict=False)),
            at=moment(ticket.get("updated_at")),
        )


def number_of(change: TicketChange) -> int:
    """The ticket's id. Raises Rejected for one that Zendesk cannot have given."""
    if change.external_id is None or not change.external_id.isdigit():
        raise Rejected(f"{change.external_id} is not a ticket's id", code="bad_id", field="external_id")
    return int(change.external_id)


def failed(key: str, error: GatewayError) -> Failed:
    """The error of one change in a batch."""
    after, bucket, target = None, None, None
    if isinstance(error, Retry):
        name, after, bucket = "retry", error.after, error.bucket
    elif isinstance(error, Moved):
        name, target = "moved", error.to
    elif isinstance(error, Reauthorise):
        name = "reauthorise"
    elif isinstance(error, Unknown):
        name = "unknown"
    elif isinstance(error, Closed):
        name = "closed"
    elif isinstance(error, Gone):
        name = "gone"
    else:
        name = "rejected"
    return Failed.model_validate(
        {
            "key": key,
            "error": name,
            "code": error.code,
            "reason": error.reason,
            "after": after,
            "bucket": bucket,
            "moved_to": target,
        }
    )
