"""The way out: publishing an answer, finding it again after an unknown outcome, changing it, taking it back."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

from pydantic import TypeAdapter, ValidationError

from gateway_meta import budgets, media
from gateway_meta.api import Api, after, made_id, objects
from gateway_meta.payloads import Time
from gateway_meta.refusals import told
from gateway_meta.rendering import closed_reason
from gateway_schemas.errors import Gone, Hold, Rejected
from gateway_schemas.files import FileStore
from gateway_schemas.interaction import ReplyTarget
from gateway_schemas.reply import Absent, FindResult, Found, Rendered, SendIntent, Sent

_MARGIN = timedelta(minutes=1)
"""How far Meta's clock may be from ours."""
_EARLIER_TRIES = timedelta(hours=1)
_DUPLICATE = 506
_PUBLIC_ID = re.compile(r"[0-9]+(_[0-9]+)*")
_TIME: TypeAdapter[datetime] = TypeAdapter(Time)


class Sender:
    """Sends for one account."""

    def __init__(self, api: Api, files: FileStore) -> None:
        self.api = api
        self.files = files
        self.config = api.config

    async def send(self, rendered: Rendered) -> Sent:
        """Publish exactly this; Meta has no idempotency keys. Raises GatewayError."""
        if rendered.target.kind == "direct_message":
            return await self._send_message(rendered)
        body = dict(rendered.body)
        if rendered.files:
            body["attachment_id"] = await media.upload(self.api, self.files, rendered.files[0])
        try:
            made = await self.api.change("POST", self._edge(rendered.target), body, effect=True)
        except Rejected as refused:
            error = told(refused)
            if error is None or error.code != _DUPLICATE:
                raise
            return await self._duplicate(rendered, refused)
        id = made_id(made)
        return Sent(external_id=id, url=self._url(id), sent_at=self.api.now())

    def _edge(self, target: ReplyTarget) -> str:
        """Where an answer to this is posted."""
        if not self.config.instagram:
            return f"{target.ref}/comments"
        return f"{self.config.account_id}/mentions" if target.kind == "mention" else f"{target.ref}/replies"

    def _url(self, id: str) -> str | None:
        return None if self.config.instagram else f"https://www.facebook.com/{id}"

    async def _duplicate(self, rendered: Rendered, refused: Rejected) -> Sent:
        """Meta has the same words from this account already: from an earlier try of ours, or from somebody."""
        earlier = await self._find_comment(rendered, self.api.now() - _EARLIER_TRIES)
        if isinstance(earlier, Found):
            return Sent(external_id=earlier.external_id, url=earlier.url, sent_at=earlier.at)
        reason = "Meta refuses a comment with the same text as one just before: change the wording"
        raise Rejected(reason, code="duplicate_text", field="text") from refused

    async def _send_message(self, rendered: Rendered) -> Sent:
        target = rendered.target
        if target.closes_at is not None and self.api.now() > target.closes_at:
            raise Rejected(closed_reason(target), code="window_closed")
        bucket = budgets.PRIVATE_REPLIES if target.extra.get("private_reply") else self.api.messages_bucket
        path = f"{self.config.messaging_node}/messages"
        made = await self.api.change("POST", path, rendered.body, effect=True, bucket=bucket)
        return Sent(external_id=made_id(made, "message_id"), sent_at=self.api.now())

    # after an unknown outcome

    async def find(self, intent: SendIntent) -> FindResult:
        """Look through the thread or the conversation for what was sent since. Raises GatewayError."""
        since = intent.started_at - _MARGIN
        if intent.rendered.target.kind == "direct_message":
            return await self._find_message(intent.rendered, since)
        return await self._find_comment(intent.rendered, since)

    async def _find_comment(self, rendered: Rendered, since: datetime) -> FindResult:
        target = rendered.target
        thread = target.extra.get("thread")
        root = target.extra.get("root")
        under = {id for id in (target.ref, thread) if isinstance(id, str)}
        if self.config.instagram:
            if target.kind == "mention":
                raise Hold("Instagram lists no answers under media of others: look there", code="cannot_look")
            path, text_field, time_field = f"{thread or target.ref}/replies", "text", "timestamp"
            parameters = {"fields": "id,text,timestamp,from,username", "limit": "50"}
        else:
            # an answer to an answer is put beside it, so the whole post is looked through
            path, text_field, time_field = f"{root or target.ref}/comments", "message", "created_time"
            parameters = {
                "fields": "id,message,from,created_time,parent{id},permalink_url",
                "filter": "stream",
                "order": "reverse_chronological",
                "limit": "50",
            }
        async for one in self._listed(path, parameters, time_field, None if self.config.instagram else since):
            at = _at(one, time_field)
            if at is None or at < since or not self._own(one) or not same_text(rendered.text, one.get(text_field)):
                continue
            parent = one.get("parent") or {}
            if not self.config.instagram and target.ref != root and parent.get("id") not in under:
                continue
            url = one.get("permalink_url")
            id = str(one.get("id"))
            return Found(external_id=id, url=url if isinstance(url, str) else self._url(id), at=at)
        return Absent()

    async def _find_message(self, rendered: Rendered, since: datetime) -> FindResult:
        platform = "instagram" if self.config.instagram else "messenger"
        parameters = {"platform": platform, "user_id": rendered.target.recipient or "", "fields": "id"}
        bucket = self.api.messages_bucket
        path = f"{self.config.messaging_node}/conversations"
        _, answer = await self.api.get(path, parameters, bucket=bucket)
        for conversation in objects(answer):
            fields = {"fields": "id,created_time,from,message", "limit": "50"}
            listed = self._listed(f"{conversation.get('id')}/messages", fields, "created_time", since, bucket)
            async for one in listed:
                at = _at(one, "created_time")
                if at is not None and at >= since and self._own(one) and same_text(rendered.text, one.get("message")):
                    return Found(external_id=str(one.get("id")), at=at)
        return Absent()

    def _own(self, one: dict[str, Any]) -> bool:
        who = one.get("from")
        return isinstance(who, dict) and str(who.get("id")) in self.config.own_ids

    async def _listed(
        self, path: str, parameters: dict[str, str], time: str, since: datetime | None, bucket: str | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """The objects of every page; of lists that are newest first, down to `since`."""
        while True:
            _, answer = await self.api.get(path, parameters, bucket=bucket)
            for one in objects(answer):
                at = _at(one, time)
                if since is not None and at is not None and at < since:
                    return
                yield one
            token = after(answer)
            if token is None:
                return
            parameters = {**parameters, "after": token}

    # changing and taking back

    async def amend(self, sent: Sent, rendered: Rendered) -> Sent:
        """Change a published comment of the Page. Raises GatewayError; Rejected where Meta cannot."""
        if self.config.instagram or not _PUBLIC_ID.fullmatch(sent.external_id):
            raise Rejected("Meta lets only a Page's comments be changed", code="no_edit")
        body = dict(rendered.body)
        if rendered.files:
            body["attachment_id"] = await media.upload(self.api, self.files, rendered.files[0])
        await self.api.change("POST", sent.external_id, body, effect=False)
        return sent

    async def retract(self, sent: Sent) -> None:
        """Delete a published comment; one that is gone already is as it should be. Raises GatewayError."""
        if not _PUBLIC_ID.fullmatch(sent.external_id):
            raise Rejected("Meta has no way to take a sent message back", code="no_delete")
        try:
            await self.api.change("DELETE", sent.external_id, effect=False)
        except Gone:
            return

    async def hide(self, external_id: str, *, hidden: bool = True) -> None:
        """Hide a comment of somebody's, or show it again. Its author and their friends see it still.

        Raises GatewayError.
        """
        parameter = "hide" if self.config.instagram else "is_hidden"
        await self.api.change("POST", external_id, {parameter: hidden}, effect=False)


def same_text(sent: str, shown: Any) -> bool:
    """Whether a comment or message that Meta shows is the text that was sent: Meta trims and joins white space."""
    return isinstance(shown, str) and _words(sent) == _words(shown)


def _words(text: str) -> list[str]:
    return unicodedata.normalize("NFC", text).split()


def _at(one: dict[str, Any], name: str) -> datetime | None:
    try:
        return _TIME.validate_python(one.get(name))
    except ValidationError:
        return None
