"""Whom the twin tells of what, and the signed requests that do it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from gateway_x.twin_json import Json, activity_message_json, post_json, user_json
from gateway_x.twin_state import TwinMessage, TwinPost

if TYPE_CHECKING:
    from gateway_x.twin import XTwin

_BILLED = {
    "post.create": "event.post",
    "post.mention.create": "event.post",
    "post.reply.create": "event.post",
    "post.quote.create": "event.post",
    "dm.received": "event.message",
}


@dataclass
class TwinWebhook:
    """A registered callback."""

    id: str
    url: str
    created_at: datetime
    valid: bool = True


@dataclass
class TwinSubscription:
    """One event type of one user, told to a callback."""

    id: str
    event_type: str
    user_id: str
    created_at: datetime
    updated_at: datetime
    tag: str | None = None
    webhook_id: str | None = None


@dataclass(frozen=True)
class TwinEvent:
    """One event as it was delivered, for replay and for tests."""

    at: datetime
    webhook_id: str
    type: str
    body: bytes


class Events:
    """Callbacks, subscriptions, and what was delivered to them."""

    def __init__(self, twin: XTwin) -> None:
        self.twin = twin
        self.webhooks: dict[str, TwinWebhook] = {}
        self.subscriptions: dict[str, TwinSubscription] = {}
        self.by_event: defaultdict[tuple[str, str], list[TwinSubscription]] = defaultdict(list)
        self.delivered: deque[TwinEvent] = deque(maxlen=50_000)

    def signature(self, message: bytes) -> str:
        """Base64 of the HMAC-SHA256 with the App's consumer secret."""
        key = self.twin.consumer_secret.encode()
        return base64.b64encode(hmac.new(key, message, hashlib.sha256).digest()).decode()

    def drop(self, subscription: TwinSubscription) -> None:
        """Take a subscription away, as X does silently at times."""
        del self.subscriptions[subscription.id]
        self.by_event[(subscription.event_type, subscription.user_id)].remove(subscription)

    def tell_post(self, post: TwinPost) -> None:
        """Tell of a new post or version whom X would tell: its author, those it names, answers and quotes."""
        state = self.twin.state
        if state.users[post.author].protected:
            return
        self._tell("post.create", post.author, lambda: self._post_payload(post))
        for user_id in post.mentions:
            if user_id != post.author and self._explicit(post, user_id):
                self._tell("post.mention.create", user_id, lambda: self._post_payload(post))
        for type, target in (("post.reply.create", post.in_reply_to), ("post.quote.create", post.quotes)):
            other = state.posts.get(target or "")
            if other is not None and other.author != post.author:
                self._tell(type, other.author, lambda: (self._post_json(post), {}))

    def _explicit(self, post: TwinPost, user_id: str) -> bool:
        # names that X itself puts before a reply are no mentions to it
        return not post.implicit or user_id in self.twin.state.mentioned(post.written[post.implicit :])

    def tell_deleted(self, post: TwinPost) -> None:
        """Tell the author's subscribers that a post is gone."""
        user = self.twin.state.users[post.author]
        payload = {"id": post.id, "author_id": post.author}
        self._tell("post.delete", post.author, lambda: (payload, {"users": [{"data": user_json(user)}]}))

    def tell_message(self, message: TwinMessage) -> None:
        """Tell both sides of a message."""
        payload = activity_message_json(self.twin.state, message)
        self._tell("dm.received", message.recipient, lambda: (payload, None))
        if message.sender != message.recipient:
            self._tell("dm.sent", message.sender, lambda: (payload, None))

    def tell_revoked(self, user_id: str) -> None:
        """Tell every callback that a user took the App's access away."""
        payload = {"date_time": self.twin.time.now().isoformat(timespec="seconds"), "user_id": user_id, "app_id": "1"}
        for webhook in self.webhooks.values():
            self.send_events(webhook.id, [self._envelope("oauth.revoke", {}, None, payload, None)])

    def _post_json(self, post: TwinPost) -> Json:
        return post_json(self.twin.state, post)

    def _post_payload(self, post: TwinPost) -> tuple[Json, Json]:
        document = self._post_json(post)
        ids = dict.fromkeys((post.author, *post.mentions))
        return document, {"users": [user_json(self.twin.state.users[id]) for id in ids], "tweets": [document]}

    def _tell(self, type: str, user_id: str, payload: Callable[[], tuple[Json, Json | None]]) -> None:
        for subscription in self.by_event.get((type, user_id), ()):
            if subscription.webhook_id is None:
                continue
            body, includes = payload()
            envelope = self._envelope(type, {"user_id": user_id}, subscription.tag, body, includes)
            self.send_events(subscription.webhook_id, [envelope])
            if type in _BILLED:
                self.twin.wire.bill(_BILLED[type], envelope["data"]["event_uuid"], once_a_day=False)

    def _envelope(self, type: str, filter: Json, tag: str | None, payload: Json, includes: Json | None) -> Json:
        uuid = str(self.twin.random.getrandbits(63) - (1 << 62))
        data: Json = {"event_uuid": uuid, "filter": filter, "event_type": type}
        if tag is not None:
            data["tag"] = tag
        data["payload"] = payload
        if includes is not None:
            data["includes"] = includes
        return {"data": data}

    def send_events(self, webhook_id: str, envelopes: Sequence[Json]) -> None:
        """Deliver events to a callback in one request: a list when there are several."""
        body = json.dumps(envelopes[0] if len(envelopes) == 1 else list(envelopes), ensure_ascii=False).encode()
        types = ",".join(envelope["data"]["event_type"] for envelope in envelopes)
        self.delivered.append(TwinEvent(self.twin.time.now(), webhook_id, types, body))
        self.emit(webhook_id, body)

    def emit(self, webhook_id: str, body: bytes) -> None:
        webhook = self.webhooks.get(webhook_id)
        if webhook is None or not webhook.valid:
            return

        def build() -> tuple[str, dict[str, str], bytes]:
            headers = {
                "content-type": "application/json",
                "x-twitter-webhooks-signature": "sha256=" + self.signature(body),
            }
            return webhook.url, headers, body

        self.twin.emit(build)
