"""The way out: rendering a reply, publishing it, finding it again after an unknown outcome, taking it back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from gateway_schemas.errors import GatewayError, Gone, Rejected, Unknown
from gateway_schemas.files import FileStore
from gateway_schemas.http import answer
from gateway_schemas.length import Counting, length, weighted_x_length, without_leading_mentions
from gateway_schemas.reply import Absent, Draft, FindResult, Found, Rendered, SendIntent, Sent
from gateway_x import media, metering
from gateway_x.api import MESSAGE_FIELDS, POST_FIELDS, Api, seconds, told
from gateway_x.config import XConfig
from gateway_x.matching import same_text
from gateway_x.metering import priced, reply_cost
from gateway_x.payloads import Entities, MessageEvent, Post, snowflake_time
from gateway_x.posts import post_url

MESSAGE_LIMIT = 10_000
_MARGIN = timedelta(minutes=1)
"""How far X's clock may be from ours."""
_LONGEST_SEND = timedelta(hours=1)
"""After this long a send that was begun has ended; later posts need not be read and paid for."""
_EARLIER_TRIES = timedelta(hours=1)
_DUPLICATE_CODE = 187
_NOT_SUMMONED = {"client-forbidden", "not-authorized-for-resource"}
_NOT_SUMMONED_REASON = (
    "X lets this App answer only posts whose author mentions the account or quotes one of its posts. "
    "Ask the customer to mention @{handle}, answer in X itself, or move the App to an Enterprise contract."
)
_DUPLICATE_REASON = "X refuses a post with the same text as an earlier one: change the wording."


def render(config: XConfig, draft: Draft) -> Rendered:
    """The draft as X will get it. Raises Rejected for what this target cannot carry."""
    target, text = draft.target, draft.text
    media.check(draft.files)
    if not text.strip() and not draft.files:
        raise Rejected("the reply is empty", code="empty", field="text")
    if target.kind == "direct_message":
        if draft.visibility != "private":
            raise Rejected("a direct message is private", code="wrong_visibility")
        if not (target.recipient or target.ref):
            raise Rejected("the target names neither conversation nor recipient", code="no_target")
        if draft.files:
            reason = "direct messages on X go out as text only; put the file where a link can point to it"
            raise Rejected(reason, code="no_files", field="files")
        count = length(text, Counting.code_points)
        body: dict[str, Any] = {"text": text}
        limit, counting = MESSAGE_LIMIT, Counting.code_points
    elif target.kind in ("comment", "mention"):
        if draft.visibility != "public":
            raise Rejected("an answer to a post is public", code="wrong_visibility")
        if not target.ref:
            raise Rejected("the target names no post", code="no_target")
        # X does not count the names that a reply starts with
        count = weighted_x_length(without_leading_mentions(text))
        body = {"text": text, "reply": {"in_reply_to_tweet_id": target.ref}}
        limit, counting = config.text_limit, Counting.weighted_x
    else:
        raise Rejected(f"X has no answer of the kind {target.kind}", code="wrong_target")
    return Rendered(
        text=text,
        account=draft.account,
        target=target,
        visibility=draft.visibility,
        files=draft.files,
        body=body,
        length=count,
        limit=limit,
        counting=counting,
    )


class Sender:
    """Sends for one account."""

    def __init__(self, api: Api, files: FileStore) -> None:
        self.api = api
        self.files = files
        self.account = api.config.user_id

    async def send(self, rendered: Rendered) -> Sent:
        """Publish exactly this. X has no idempotency key. Raises GatewayError."""
        if rendered.target.kind == "direct_message":
            return await self._send_message(rendered)
        extensions = priced(metering.CREATE, reply_cost(rendered.text), account=self.account)
        body = rendered.body
        if rendered.files:
            body = {**body, "media": {"media_ids": await media.upload(self.api, self.files, rendered.files)}}
        try:
            made = await self.api.change(
                "POST",
                "/2/tweets",
                body,
                who="account",
                extensions=extensions,
                effect=True,
                expected=(200, 201),
            )
        except Rejected as refused:
            return await self._refused(rendered, refused)
        id = _made(made, "id")
        return Sent(external_id=id, url=post_url(id, self.api.config.handle), sent_at=self._time(id))

    async def _refused(self, rendered: Rendered, refused: Rejected) -> Sent:
        """Why X refused a post: not summoned, a duplicate, or something else that it says.

        X names no problem for a duplicate, so a 403 without one may mean that an earlier try of ours got through.
        Only the timeline can tell; Unknown where it cannot be asked.
        """
        response = answer(refused)
        if response is None or response.status_code != 403:
            raise refused
        errors = told(refused)
        names = {problem.name for problem in errors if problem.name}
        # with a reason, X speaks of the App's enrolment and not of this post
        if names & _NOT_SUMMONED and self.api.app.tier == "self_serve" and not any(item.reason for item in errors):
            reason = _NOT_SUMMONED_REASON.format(handle=self.api.config.handle)
            raise Rejected(reason, code="not_summoned") from refused
        duplicate = any(problem.code == _DUPLICATE_CODE for problem in errors)
        if names and not duplicate:
            raise refused
        try:
            earlier = await self._find_post(rendered, self.api.now() - _EARLIER_TRIES)
        except GatewayError as error:
            reason = f"X refused the post, perhaps because an earlier try got through; its timeline says: {error}"
            raise Unknown(reason, code="duplicate_text") from refused
        if isinstance(earlier, Found):
            return Sent(external_id=earlier.external_id, url=earlier.url, sent_at=earlier.at)
        if duplicate:
            raise Rejected(_DUPLICATE_REASON, code="duplicate_text", field="text") from refused
        raise refused

    async def _send_message(self, rendered: Rendered) -> Sent:
        target = rendered.target
        conversation = target.ref or ""
        # a conversation of two is named by its other side, which also opens one that X does not have yet
        path = f"with/{target.recipient}" if target.recipient else conversation
        extensions = priced(metering.SEND_MESSAGE, metering.MESSAGE_CREATE, account=self.account)
        made = await self.api.change(
            "POST",
            f"/2/dm_conversations/{path}/messages",
            rendered.body,
            who="account",
            extensions=extensions,
            effect=True,
            expected=(200, 201),
        )
        id = _made(made, "dm_event_id")
        conversation = str(made["data"].get("dm_conversation_id") or conversation)
        return Sent(external_id=id, url=f"https://x.com/messages/{conversation}", sent_at=self._time(id))

    def _time(self, id: str) -> datetime:
        return snowflake_time(id) or self.api.now()

    # after an unknown outcome

    async def find(self, intent: SendIntent) -> FindResult:
        """Look through what the account published since the send began. Raises GatewayError."""
        since = intent.started_at - _MARGIN
        if intent.rendered.target.kind == "direct_message":
            return await self._find_message(intent.rendered, since)
        return await self._find_post(intent.rendered, since, intent.until)

    async def _find_post(self, rendered: Rendered, since: datetime, until: datetime | None = None) -> FindResult:
        parameters = POST_FIELDS | {"max_results": "100", "start_time": seconds(since)}
        latest = until or since
        if self.api.now() - latest > 2 * _LONGEST_SEND:
            parameters["end_time"] = seconds(latest + _LONGEST_SEND)
        path = f"/2/users/{self.account}/tweets"
        owned = self.account == self.api.app.owner_user_id
        price = metering.OWNED_READ if owned else metering.POST_READ
        extensions = priced(metering.TIMELINE, price, account=self.account)
        async for value in self._pages(path, parameters, extensions):
            try:
                post = Post.model_validate(value)
            except ValidationError:
                continue
            if post.parent != rendered.target.ref:
                continue
            if same_text(rendered.text, post.whole_text, post.all_entities):
                at = post.created_at or snowflake_time(post.id)
                return Found(external_id=post.id, url=post_url(post.id, self.api.config.handle), at=at)
        return Absent()

    async def _find_message(self, rendered: Rendered, since: datetime) -> FindResult:
        target = rendered.target
        path = f"with/{target.recipient}" if target.recipient else target.ref
        parameters = MESSAGE_FIELDS | {"max_results": "20", "event_types": "MessageCreate"}
        extensions = priced(metering.CONVERSATION, metering.MESSAGE_READ, 20, account=self.account)
        async for value in self._pages(f"/2/dm_conversations/{path}/dm_events", parameters, extensions):
            try:
                event = MessageEvent.model_validate(value)
            except ValidationError:
                continue
            at = event.created_at or snowflake_time(event.id)
            if at is not None and at < since:
                break
            own = event.sender_id == self.account
            if own and same_text(rendered.text, event.text, event.entities or Entities()):
                url = f"https://x.com/messages/{event.dm_conversation_id or target.ref or ''}"
                return Found(external_id=event.id, url=url, at=at)
        return Absent()

    async def _pages(
        self, path: str, parameters: dict[str, str], extensions: dict[str, Any]
    ) -> AsyncIterator[dict[str, Any]]:
        """The objects of every page, newest first."""
        while True:
            _, page = await self.api.get(path, parameters, who="account", extensions=extensions)
            for value in page.get("data") or ():
                yield value
            token = (page.get("meta") or {}).get("next_token")
            if not token:
                return
            parameters = {**parameters, "pagination_token": str(token)}

    # taking back

    async def retract(self, sent: Sent) -> None:
        """Delete a post or message of ours; one that is gone already is as it should be. Raises GatewayError."""
        message = "/messages/" in (sent.url or "")
        bucket = metering.DELETE_MESSAGE if message else metering.DELETE_POST
        path = f"/2/dm_events/{sent.external_id}" if message else f"/2/tweets/{sent.external_id}"
        extensions = priced(bucket, metering.DELETE, account=self.account)
        try:
            await self.api.change("DELETE", path, who="account", extensions=extensions, effect=False)
        except Gone:
            return


def _made(body: dict[str, Any], key: str) -> str:
    data = body.get("data")
    id = data.get(key) if isinstance(data, dict) else None
    if not isinstance(id, str) or not id.isdecimal():
        raise Unknown(f"X took the request and its answer names no {key}", code="malformed")
    return id
