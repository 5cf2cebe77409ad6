"""What Google allows, by the buckets that requests name.

A project has 300 requests a minute for each of the Business Profile APIs once it is approved, and 0 before; a location
takes ten edits a minute. We count all APIs together, which is on the safe side. Google sends no headers of limits: what
is left is known only when a request is refused.
"""

from __future__ import annotations

from datetime import timedelta

from gateway_schemas.limits import Budget

_MINUTE = timedelta(minutes=1)

EVERYTHING = "*"
REVIEWS = "reviews.read"
REPLY = "reviews.reply"
ACCOUNTS = "accounts.read"
LOCATIONS = "locations.read"
NOTIFICATIONS = "notifications"
PUBSUB = "pubsub"
TOKEN = "oauth2.token"

BUDGETS = (
    Budget(EVERYTHING, 300, _MINUTE),
    Budget(REPLY, 10, _MINUTE, per_scope=True),
)
