"""The twin's webhooks: registration with its challenge, activity subscriptions, replay."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx2
from starlette.routing import Route

from gateway_x.twin_events import TwinSubscription, TwinWebhook
from gateway_x.twin_http import DAY, Call, Refusal, checked_id, forbidden, invalid
from gateway_x.twin_json import Json, iso, problem

if TYPE_CHECKING:
    from gateway_x.twin import XTwin

PUBLIC_EVENTS = {"post.create", "post.delete"}
PRIVATE_EVENTS = {
    "post.mention.create",
    "post.reply.create",
    "post.quote.create",
    "post.repost.create",
    "dm.received",
    "dm.sent",
    "dm.read",
    "dm.indicate_typing",
    "like.create",
    "chat.received",
    "chat.sent",
}


class WebhookEndpoints:
    """Webhooks v2 and the X Activity API."""

    def __init__(self, twin: XTwin) -> None:
        self.twin = twin
        self.events = twin.events
        self._serial = 1_976_000_000_000_000_000

    def routes(self) -> list[Route]:
        """X's endpoints; X documents no limits for them."""
        route = self.twin.wire.route
        return [
            route("POST", "/2/webhooks", self.create, "app"),
            route("GET", "/2/webhooks", self.listed, "app"),
            route("POST", "/2/webhooks/replay", self.replay, "app"),
            route("PUT", "/2/webhooks/{id}", self.validate, "app"),
            route("DELETE", "/2/webhooks/{id}", self.delete, "app"),
            route("POST", "/2/activity/subscriptions", self.subscribe, "either"),
            route("GET", "/2/activity/subscriptions", self.subscribed, "either"),
            route("PUT", "/2/activity/subscriptions/{id}", self.move, "app"),
            route("DELETE", "/2/activity/subscriptions/{id}", self.unsubscribe, "app"),
        ]

    def _new_id(self) -> str:
        self._serial += 1
        return str(self._serial)

    # webhooks

    async def create(self, call: Call) -> Json:
        """Register a callback; X challenges it at once."""
        url = (await call.body()).get("url")
        if not isinstance(url, str) or not self._acceptable(url):
            raise invalid("UrlValidationFailed: the URL must be https, public and without a port.", parameter="url")
        if any(webhook.url == url for webhook in self.events.webhooks.values()):
            raise invalid("DuplicateUrlFailed: a webhook is already registered for this URL.", parameter="url")
        if len(self.events.webhooks) >= (1 if self.twin.tier == "self_serve" else 5):
            raise invalid("WebhookLimitExceeded: your application has the most webhooks it may have.")
        if not await self.challenge(url):
            raise invalid("CrcValidationFailed: the callback did not answer the challenge correctly.", parameter="url")
        webhook = TwinWebhook(self._new_id(), url, self.twin.time.now())
        self.events.webhooks[webhook.id] = webhook
        self.twin.effect("webhook", webhook.id, url=url)
        return {"data": self._webhook_json(webhook)}

    def _acceptable(self, url: str) -> bool:
        parts = urlsplit(url)
        if self.twin.loopback_hooks and parts.hostname in ("127.0.0.1", "localhost", "::1"):
            return True
        return parts.scheme == "https" and bool(parts.hostname) and parts.port is None

    async def challenge(self, url: str) -> bool:
        """One CRC: whether the callback knows the consumer secret. Redirects and wrong answers are failures."""
        token = secrets.token_urlsafe(24)
        expected = "sha256=" + self.events.signature(token.encode())
        try:
            answer = await self.twin.client.get(url, params={"crc_token": token}, timeout=10.0)
            return answer.status_code == 200 and answer.json().get("response_token") == expected
        except (httpx2.TransportError, ValueError, AttributeError):
            return False

    async def listed(self, call: Call) -> Json:
        """The App's callbacks."""
        webhooks = [self._webhook_json(webhook) for webhook in self.events.webhooks.values()]
        return {"data": webhooks, "meta": {"result_count": len(webhooks)}}

    async def validate(self, call: Call) -> Json:
        """Challenge a callback again and put it back in force."""
        webhook = self._webhook(call.path("id"))
        webhook.valid = await self.challenge(webhook.url)
        if not webhook.valid:
            raise invalid("CrcValidationFailed: the callback did not answer the challenge correctly.")
        return {"data": {"valid": True}}

    async def delete(self, call: Call) -> Json:
        """Forget a callback; its subscriptions deliver nowhere."""
        webhook = self._webhook(call.path("id"))
        del self.events.webhooks[webhook.id]
        self.twin.effect("webhook_deleted", webhook.id)
        return {"data": {"deleted": True}}

    async def replay(self, call: Call) -> Json:
        """Deliver again what was delivered between two minutes of the last day."""
        body = await call.body()
        webhook = self._webhook(body.get("webhook_id"))
        start, end = (_minute(body.get(name), name) for name in ("from_date", "to_date"))
        now = self.twin.time.now()
        if now - start > DAY or now - start < timedelta(minutes=31) or now - end < timedelta(minutes=10) or end < start:
            raise invalid("from_date must be 31 minutes to 24 hours old and to_date at least 10 minutes old.")
        for event in list(self.events.delivered):
            if event.webhook_id == webhook.id and start <= event.at < end + timedelta(minutes=1):
                self.events.emit(webhook.id, event.body)
        return {"data": {"job_id": self._new_id(), "created_at": iso(now)}}

    def _webhook(self, id: Any) -> TwinWebhook:
        webhook = self.events.webhooks.get(checked_id(id, "webhook_id"))
        if webhook is None:
            raise invalid("WebhookIdInvalid: the webhook was not found or is not your application's.")
        return webhook

    def _webhook_json(self, webhook: TwinWebhook) -> Json:
        return {
            "id": webhook.id,
            "url": webhook.url,
            "valid": webhook.valid,
            "created_at": iso(webhook.created_at),
        }

    # subscriptions

    async def subscribe(self, call: Call) -> Json:
        """Tell one event type of one user; private events need that user's own token."""
        body = await call.body()
        type, user_id = body.get("event_type"), (body.get("filter") or {}).get("user_id")
        if type not in PUBLIC_EVENTS | PRIVATE_EVENTS:
            raise invalid(f"$.event_type: does not have a value in the enumeration, got [{type}]")
        user_id = checked_id(user_id, "filter.user_id")
        if type in PRIVATE_EVENTS and call.user_id != user_id:
            detail = f"{type} is a private event: subscribe with the token of user {user_id}."
            raise Refusal(403, problem("not-authorized-for-resource", "Authorization Error", detail, 403))
        tag, webhook_id = body.get("tag"), body.get("webhook_id")
        if tag is not None and not (isinstance(tag, str) and 1 <= len(tag) <= 200):
            raise invalid("$.tag: must be between 1 and 200 characters")
        if webhook_id is not None:
            self._webhook(webhook_id)
        if self.events.by_event[(type, user_id)]:
            raise invalid("A subscription for this event type and filter already exists.")
        if len(self.events.subscriptions) >= (1500 if self.twin.tier == "self_serve" else 75_000):
            raise forbidden("Your application has the most subscriptions it may have.")
        now = self.twin.time.now()
        subscription = TwinSubscription(self._new_id(), type, user_id, now, now, tag, webhook_id)
        self.events.subscriptions[subscription.id] = subscription
        self.events.by_event[(type, user_id)].append(subscription)
        self.twin.effect("subscription", subscription.id, event_type=type, user_id=user_id)
        return self._subscription_answer(subscription)

    async def subscribed(self, call: Call) -> Json:
        """The App's subscriptions, in pages."""
        value = call.parameters.get("max_results", "1000")
        if not value.isdecimal() or not 1 <= int(value) <= 1000:
            raise invalid(f"The `max_results` query parameter value [{value}] is not between 1 and 1000")
        size = int(value)
        after = call.parameters.get("pagination_token")
        start = int(after.removeprefix("subscriptions-")) if after else 0
        everything = list(self.events.subscriptions.values())
        meta: Json = {"total_subscriptions": len(everything)}
        if start + size < len(everything):
            meta["next_token"] = f"subscriptions-{start + size:010d}"
        return {"data": [_subscription_json(item) for item in everything[start : start + size]], "meta": meta}

    async def move(self, call: Call) -> Json:
        """Change a subscription's tag or callback."""
        subscription = self._subscription(call)
        body = await call.body()
        if "webhook_id" in body:
            subscription.webhook_id = self._webhook(body["webhook_id"]).id
        subscription.tag = body.get("tag", subscription.tag)
        subscription.updated_at = self.twin.time.now()
        return self._subscription_answer(subscription)

    async def unsubscribe(self, call: Call) -> Json:
        """Take a subscription away."""
        self.events.drop(self._subscription(call))
        return {"data": {"deleted": True}, "meta": {"total_subscriptions": len(self.events.subscriptions)}}

    def _subscription(self, call: Call) -> TwinSubscription:
        id = checked_id(call.path("id"), "subscription_id")
        if id not in self.events.subscriptions:
            raise invalid(f"Subscription [{id}] was not found.")
        return self.events.subscriptions[id]

    def _subscription_answer(self, subscription: TwinSubscription) -> Json:
        total = len(self.events.subscriptions)
        return {"data": _subscription_json(subscription), "meta": {"total_subscriptions": total}}


def _subscription_json(subscription: TwinSubscription) -> Json:
    document: Json = {
        "subscription_id": subscription.id,
        "event_type": subscription.event_type,
        "filter": {"user_id": subscription.user_id},
        "created_at": iso(subscription.created_at),
        "updated_at": iso(subscription.updated_at),
    }
    if subscription.tag is not None:
        document["tag"] = subscription.tag
    if subscription.webhook_id is not None:
        document["webhook_id"] = subscription.webhook_id
    return document


def _minute(value: Any, name: str) -> datetime:
    try:
        return datetime.strptime(value, "%Y%m%d%H%M").replace(tzinfo=UTC)
    except (TypeError, ValueError):
        raise invalid(f"$.{name}: does not match ^[0-9]{{12}}$") from None
