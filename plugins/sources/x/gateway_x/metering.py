"""What X allows and what it charges, by the buckets that requests name.

Limits and prices are X's published ones (pay-per-use, 2026). Limits on an account's own token count each account for
itself. A resource that was billed once is not billed again the same UTC day, so what a poll finds after the webhook
told of it costs nothing more; a budget reckons with what a call can cost at most where that is known beforehand.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from gateway_schemas.limits import Budget, metered
from gateway_schemas.urls import find_urls

_QUARTER = timedelta(minutes=15)
_DAY = timedelta(hours=24)

POST_READ = Decimal("0.005")
OWNED_READ = Decimal("0.001")
USER_READ = Decimal("0.010")
MESSAGE_READ = Decimal("0.010")
POST_CREATE = Decimal("0.015")
POST_CREATE_WITH_URL = Decimal("0.200")
SUMMONED_REPLY = Decimal("0.010")
MESSAGE_CREATE = Decimal("0.015")
DELETE = Decimal("0.010")

LOOK_UP = "posts.look_up"
SEARCH = "posts.search"
CREATE = "posts.create"
DELETE_POST = "posts.delete"
MENTIONS = "users.mentions"
TIMELINE = "users.posts"
ME = "users.me"
MESSAGES = "messages.list"
CONVERSATION = "messages.conversation"
MESSAGE = "messages.look_up"
SEND_MESSAGE = "messages.create"
DELETE_MESSAGE = "messages.delete"
MANAGE = "webhooks"
TOKEN = "oauth2.token"
UPLOAD = "media.upload"

BUDGETS = (
    Budget(LOOK_UP, 3500, _QUARTER),
    Budget(SEARCH, 450, _QUARTER),
    Budget(CREATE, 100, _QUARTER, per_scope=True),
    Budget(CREATE, 10_000, _DAY),
    Budget(DELETE_POST, 50, _QUARTER, per_scope=True),
    Budget(MENTIONS, 300, _QUARTER, per_scope=True),
    Budget(TIMELINE, 900, _QUARTER, per_scope=True),
    Budget(ME, 75, _QUARTER, per_scope=True),
    Budget(MESSAGES, 15, _QUARTER, per_scope=True),
    Budget(CONVERSATION, 15, _QUARTER, per_scope=True),
    Budget(MESSAGE, 15, _QUARTER, per_scope=True),
    Budget(SEND_MESSAGE, 15, _QUARTER, per_scope=True),
    Budget(SEND_MESSAGE, 1440, _DAY),
    Budget(DELETE_MESSAGE, 300, _QUARTER, per_scope=True),
)


def priced(bucket: str, price: Decimal, count: int = 1, *, account: str | None = None) -> dict[str, Any]:
    """Extensions for a request that costs `price` for each of `count` resources, on the App or one account's token."""
    return metered(bucket, cost=price * count, scope=account)


def reply_cost(text: str) -> Decimal:
    """What a public reply costs: X charges twenty times as much for one with a link."""
    return POST_CREATE_WITH_URL if find_urls(text) else SUMMONED_REPLY
