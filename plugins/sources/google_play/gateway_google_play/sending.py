"""The way out: a review has one slot for the developer's reply. Writing replaces what is there; nothing empties it.

`reviews.reply`: "Replies of more than approximately 350 characters will be rejected. HTML tags will be stripped."
"""

from __future__ import annotations

import re

from pydantic import ValidationError

from gateway_google_play import budgets
from gateway_google_play.api import Api, store_page
from gateway_google_play.names import REPLY, read_ref, reply_id, same_words
from gateway_google_play.payloads import DeveloperComment, ReplyResult
from gateway_google_play.slots import Slots
from gateway_schemas.errors import Hold, Rejected
from gateway_schemas.http import json_object
from gateway_schemas.length import Counting, length
from gateway_schemas.reply import Absent, Draft, FindResult, Found, Rendered, SendIntent, Sent

LIMIT = 350
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,200}>|<!--")


def render(draft: Draft) -> Rendered:
    """The draft as Google will get it. Raises Rejected for what the slot cannot carry."""
    target, text = draft.target, draft.text
    if target.kind != "review" or not target.ref or read_ref(target.ref) is None:
        raise Rejected("Google Play takes replies to reviews only, and in public", code="wrong_target")
    if draft.visibility != "public":
        raise Rejected("a reply to a review is public", code="wrong_visibility")
    if draft.files:
        raise Rejected("replies to reviews are text only; put the file where a link can point to it", code="no_files")
    if not text.strip():
        raise Rejected("the reply is empty", code="empty", field="text")
    tag = _TAG.search(text)
    if tag is not None:
        # what was decided on is what must appear, and Google would take this out
        reason = f"Google Play removes HTML from replies: write it without {tag[0]!r}"
        raise Rejected(reason, code="html_removed", field="text")
    return Rendered(
        text=text,
        account=draft.account,
        target=target,
        visibility="public",
        body={"replyText": text},
        length=length(text, Counting.code_points),
        limit=LIMIT,
        counting=Counting.code_points,
    )


class Sender:
    """Replies for one app."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.slots = Slots(api.state)

    async def send(self, rendered: Rendered) -> Sent:
        """Put the reply into the slot, if it is free, or holds what a person has been shown. Raises GatewayError."""
        ref = _ref(rendered)
        _, review = await self.api.review(ref)
        there = review.reply
        if there is not None:
            if same_words(there.text, rendered.text):
                return self._sent(ref, there)  # an earlier try got through
            await self._show(ref, there, rendered)
        return await self._put(ref, rendered)

    async def _show(self, ref: str, there: DeveloperComment, rendered: Rendered) -> None:
        """Raises Hold with both texts, once: whoever lets the same reply go afterwards has seen what it replaces."""
        seen = reply_id(ref, there.text)
        if await self.slots.shown(ref, seen, rendered.digest):
            return
        await self.slots.note(ref, seen, rendered.digest, self.api.now())
        raise Hold(
            "The review has a reply already, and Google Play keeps one only: this one would replace it. There now:\n"
            f"“{there.text}”",
            code="slot_taken",
        )

    async def _put(self, ref: str, rendered: Rendered) -> Sent:
        response = await self.api.call(
            "POST", self.api.path(ref) + ":reply", bucket=budgets.REPLY, body=rendered.body, effect=True
        )
        answer = json_object(response, effect=True)
        try:
            result = ReplyResult.model_validate(answer.get("result") or {})
        except ValidationError:
            result = ReplyResult()
        await self.slots.forget(ref)
        return self._sent(
            ref, DeveloperComment(text=result.reply_text or rendered.text, last_modified=result.last_edited)
        )

    def _sent(self, ref: str, reply: DeveloperComment) -> Sent:
        at = reply.last_modified.at if reply.last_modified else self.api.now()
        return Sent(external_id=reply_id(ref, reply.text), url=store_page(self.api.package), sent_at=at)

    async def find(self, intent: SendIntent) -> FindResult:
        """Whether the slot holds this text. Raises GatewayError."""
        ref = _ref(intent.rendered)
        _, review = await self.api.review(ref)
        there = review.reply
        if there is None or not same_words(there.text, intent.rendered.text):
            return Absent()
        sent = self._sent(ref, there)
        return Found(external_id=sent.external_id, url=sent.url, at=sent.sent_at)

    async def amend(self, sent: Sent, rendered: Rendered) -> Sent:
        """Replace that reply by another text; whatever else has come into the slot is held for. Raises GatewayError."""
        ref = sent.external_id.partition(REPLY)[0]
        _, review = await self.api.review(ref)
        there = review.reply
        if there is not None and same_words(there.text, rendered.text):
            return self._sent(ref, there)
        if there is not None and reply_id(ref, there.text) != sent.external_id:
            await self._show(ref, there, rendered)
        return await self._put(ref, rendered)


def _ref(rendered: Rendered) -> str:
    ref = rendered.target.ref
    if ref is None or read_ref(ref) is None:
        raise Rejected("the target names no review", code="no_target")
    return ref
