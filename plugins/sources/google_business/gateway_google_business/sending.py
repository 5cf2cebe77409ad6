"""The way out: a review has one slot for the owner's reply. Writing to it replaces what is there."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from gateway_google_business import budgets
from gateway_google_business.api import Api
from gateway_google_business.memory import Memory
from gateway_google_business.names import is_review_ref, reply_id, same_words
from gateway_google_business.payloads import ReplyPayload, Review
from gateway_google_business.reviews import violation
from gateway_schemas.errors import Gone, Hold, Rejected
from gateway_schemas.http import json_object
from gateway_schemas.length import Counting, length
from gateway_schemas.reply import Absent, Draft, FindResult, Found, Rendered, SendIntent, Sent

LIMIT = 4096
"""Bytes of UTF-8, by the reference of `ReviewReply.comment`."""


def render(draft: Draft) -> Rendered:
    """The draft as Google will get it. Raises Rejected for what the slot cannot carry."""
    target, text = draft.target, draft.text
    if target.kind != "review" or not target.ref or not is_review_ref(target.ref):
        raise Rejected("Google takes replies to reviews only, and in public", code="wrong_target")
    if draft.visibility != "public":
        raise Rejected("a reply to a review is public", code="wrong_visibility")
    if draft.files:
        raise Rejected("replies to reviews are text only; put the file where a link can point to it", code="no_files")
    if not text.strip():
        raise Rejected("the reply is empty", code="empty", field="text")
    return Rendered(
        text=text,
        account=draft.account,
        target=target,
        visibility="public",
        body={"comment": text},
        length=length(text, Counting.utf8_bytes),
        limit=LIMIT,
        counting=Counting.utf8_bytes,
    )


class Sender:
    """Replies for one account."""

    def __init__(self, api: Api, memory: Memory) -> None:
        self.api = api
        self.memory = memory

    async def send(self, rendered: Rendered) -> Sent:
        """Put the reply into the slot, if it is free, or holds what a person has been shown. Raises GatewayError."""
        ref = _ref(rendered)
        _, review = await self.api.review(ref)
        there = review.reply
        if there is not None and not there.refused:
            if same_words(there.comment, rendered.text):
                return await self._sent(review, there, rendered.text)  # an earlier try got through
            await self._shown(ref, there, rendered)
        return await self._put(review, rendered)

    async def _shown(self, ref: str, there: ReplyPayload, rendered: Rendered) -> None:
        """Raises Hold with both texts, once: whoever lets the same reply go afterwards has seen what it replaces."""
        seen = {"there": reply_id(ref, there.comment), "instead": rendered.digest}
        known = await self.memory.get("slot", ref)
        if {key: known.get(key) for key in seen} == seen:
            return
        await self.memory.put("slot", ref, self.api.now().isoformat(), **seen)
        raise Hold(
            "The review has a reply already, and Google keeps one only: this one would replace it. There now:\n"
            f"“{there.comment}”",
            code="slot_taken",
        )

    async def _put(self, review: Review, rendered: Rendered) -> Sent:
        ref = review.parts.ref
        response = await self.api.call(
            "PUT",
            "mybusiness",
            f"v4/{self.api.account}/{ref}/reply",
            bucket=budgets.REPLY,
            scope=review.parts.subject,
            body=rendered.body,
            effect=True,
        )
        try:
            reply = ReplyPayload.model_validate(json_object(response, effect=True))
        except ValidationError:
            reply = ReplyPayload(comment=rendered.text)
        if reply.refused:
            raise Rejected(violation(reply), code="policy_violation", field="text")
        sent = await self._sent(review, reply, rendered.text)
        await self.memory.drop("slot", [ref])
        return sent

    async def _sent(self, review: Review, reply: ReplyPayload, text: str) -> Sent:
        """What became of it so far. Until Google has approved it, it is asked after: a 2xx is no publication."""
        ref = review.parts.ref
        id = reply_id(ref, text)
        at = reply.update_time or self.api.now()
        if reply.review_reply_state != "APPROVED":
            await self.memory.put("review", ref, self.api.now().isoformat(), id=id)
        pending = reply.review_reply_state == "PENDING"
        return Sent(external_id=id, url=review.review_reply_url, sent_at=at, pending=pending)

    async def find(self, intent: SendIntent) -> FindResult:
        """Whether the slot holds this text. Raises GatewayError."""
        _, review = await self.api.review(_ref(intent.rendered))
        there = review.reply
        if there is None or not same_words(there.comment, intent.rendered.text):
            return Absent()
        sent = await self._sent(review, there, intent.rendered.text)
        return Found(external_id=sent.external_id, url=sent.url, at=sent.sent_at)

    async def retract(self, sent: Sent) -> None:
        """Empty the slot, if what it holds is that reply. Raises GatewayError."""
        ref = _ref_of(sent)
        try:
            _, review = await self.api.review(ref)
            there = review.reply
            if there is None or reply_id(ref, there.comment) != sent.external_id:
                return
            path = f"v4/{self.api.account}/{ref}/reply"
            scope = review.parts.subject
            await self.api.call("DELETE", "mybusiness", path, bucket=budgets.REPLY, scope=scope)
        except Gone:
            return
        await self.memory.drop("review", [ref])

    async def amend(self, sent: Sent, rendered: Rendered) -> Sent:
        """Replace that reply by another text; whatever else has come into the slot is held for. Raises GatewayError."""
        ref = _ref_of(sent)
        _, review = await self.api.review(ref)
        there = review.reply
        if there is not None and not there.refused and reply_id(ref, there.comment) != sent.external_id:
            await self._shown(ref, there, rendered)
        return await self._put(review, rendered)


def _ref(rendered: Rendered) -> str:
    ref: Any = rendered.target.ref
    if not isinstance(ref, str) or not is_review_ref(ref):
        raise Rejected("the target names no review", code="no_target")
    return ref


def _ref_of(sent: Sent) -> str:
    ref = sent.external_id.partition("/reply#")[0]
    if not is_review_ref(ref):
        raise Rejected("the reply's id names no review", code="no_target")
    return ref
