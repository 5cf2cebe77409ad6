"""The way out: a review has one slot for the developer's response. Creating one replaces what is there.

"Create or update a response to a customer review": "If a response already exists, this endpoint updates the response by
overwriting it." It is shown some time later, when its state turns from PENDING_PUBLISH to PUBLISHED.
"""

from __future__ import annotations

from gateway_app_store import budgets
from gateway_app_store.api import Api, store_page
from gateway_app_store.memory import Memory, digest, same_words
from gateway_app_store.payloads import Response, is_id, read
from gateway_schemas.errors import Gone, Hold, Malformed, Rejected, Unknown
from gateway_schemas.http import json_object
from gateway_schemas.length import Counting, length
from gateway_schemas.reply import Absent, Draft, FindResult, Found, Rendered, SendIntent, Sent

LIMIT = 5970
"""Characters, as App Store Connect's own form counts them down."""


def render(draft: Draft) -> Rendered:
    """The draft as Apple will get it. Raises Rejected for what the slot cannot carry."""
    target, text = draft.target, draft.text
    if target.kind != "review" or not target.ref or not is_id(target.ref):
        raise Rejected("the App Store takes responses to reviews only, and in public", code="wrong_target")
    if draft.visibility != "public":
        raise Rejected("a response to a review is public", code="wrong_visibility")
    if draft.files:
        raise Rejected("responses are text only; put the file where a link can point to it", code="no_files")
    if not text.strip():
        raise Rejected("the response is empty", code="empty", field="text")
    return Rendered(
        text=text,
        account=draft.account,
        target=target,
        visibility="public",
        body={
            "data": {
                "type": "customerReviewResponses",
                "attributes": {"responseBody": text},
                "relationships": {"review": {"data": {"type": "customerReviews", "id": target.ref}}},
            }
        },
        length=length(text, Counting.code_points),
        limit=LIMIT,
        counting=Counting.code_points,
    )


class Sender:
    """Responses for one app."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.memory = Memory(api.state)

    async def send(self, rendered: Rendered) -> Sent:
        """Put the response into the slot, if it is free, or holds what a person has been shown. Raises GatewayError."""
        ref = _ref(rendered)
        _, _, there = await self.api.review(ref)
        if there is not None:
            if same_words(there.text, rendered.text):
                return await self._sent(ref, there)  # an earlier try got through
            await self._show(ref, there, rendered)
        return await self._put(ref, rendered)

    async def _show(self, ref: str, there: Response, rendered: Rendered) -> None:
        """Raises Hold with both texts, once: whoever lets the same one go afterwards has seen what it replaces."""
        seen = {"there": digest(there.text), "instead": rendered.digest}
        known = await self.memory.get("slot", ref)
        if {key: known.get(key) for key in seen} == seen:
            return
        await self.memory.put("slot", ref, self.api.now().isoformat(), **seen)
        raise Hold(
            "The review has a response already, and the App Store keeps one: this one would replace it. There now:\n"
            f"“{there.text}”",
            code="slot_taken",
        )

    async def _put(self, ref: str, rendered: Rendered) -> Sent:
        answer = await self.api.call(
            "POST", "v1/customerReviewResponses", bucket=budgets.RESPOND, body=rendered.body, effect=True
        )
        try:
            response = read(Response, json_object(answer, effect=True).get("data"), "response")
        except Malformed as error:
            raise Unknown(f"Apple's answer cannot be read: {error.reason}", code="malformed") from error
        await self.memory.drop("slot", [ref])
        return await self._sent(ref, response)

    async def _sent(self, ref: str, response: Response) -> Sent:
        """What became of it so far. Until it is shown it is asked after: a 2xx is no publication."""
        now = self.api.now().isoformat()
        await self.memory.put("ours", response.id, now, words=digest(response.text))
        if response.attributes.state != "PUBLISHED":
            await self.memory.put("pending", response.id, now, review=ref)
        return Sent(
            external_id=response.id,
            url=store_page(self.api.config.app_id),
            sent_at=response.attributes.last_modified_date or self.api.now(),
            pending=response.attributes.state != "PUBLISHED",
        )

    async def find(self, intent: SendIntent) -> FindResult:
        """Whether the slot holds this text. Raises GatewayError."""
        ref = _ref(intent.rendered)
        _, _, there = await self.api.review(ref)
        if there is None or not same_words(there.text, intent.rendered.text):
            return Absent()
        sent = await self._sent(ref, there)
        return Found(external_id=sent.external_id, url=sent.url, at=sent.sent_at)

    async def retract(self, sent: Sent) -> None:
        """Empty the slot. Raises Hold where somebody has changed the text at Apple since, and other GatewayErrors."""
        if not is_id(sent.external_id):
            raise Rejected("the id names no response", code="no_target")
        path = f"v1/customerReviewResponses/{sent.external_id}"
        try:
            _, there = await self.api.response(sent.external_id)
            ours = (await self.memory.get("ours", sent.external_id)).get("words")
            if ours is not None and ours != digest(there.text):
                reason = "Somebody has changed the response in App Store Connect; take it back there. There now:\n"
                raise Hold(f"{reason}“{there.text}”", code="changed_elsewhere")
            await self.api.call("DELETE", path, bucket=budgets.RESPOND)
        except Gone:
            pass
        await self.memory.drop("pending", [sent.external_id])
        await self.memory.drop("ours", [sent.external_id])

    async def amend(self, sent: Sent, rendered: Rendered) -> Sent:
        """Replace that response's text; whatever else has come into the slot is held for. Raises GatewayError."""
        ref = _ref(rendered)
        _, _, there = await self.api.review(ref)
        if there is not None:
            if same_words(there.text, rendered.text):
                return await self._sent(ref, there)
            ours = (await self.memory.get("ours", sent.external_id)).get("words", digest(there.text))
            if there.id != sent.external_id or ours != digest(there.text):
                await self._show(ref, there, rendered)
        return await self._put(ref, rendered)


def _ref(rendered: Rendered) -> str:
    ref = rendered.target.ref
    if ref is None or not is_id(ref):
        raise Rejected("the target names no review", code="no_target")
    return ref
