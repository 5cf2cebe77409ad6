"""What Apple allows: a key has so many requests in any hour, which every answer tells in `X-Rate-Limit`.

`user-hour-lim:3500;user-hour-rem:500;` ("Identifying Rate Limits" of the App Store Connect API).
"""

from __future__ import annotations

import re
from datetime import timedelta

from gateway_app_store.config import AppStoreApp
from gateway_schemas.limits import Budget, LimitReading

EVERYTHING = "*"
APPS = "apps.read"
REVIEWS = "reviews.read"
RESPONSES = "responses.read"
RESPOND = "responses.write"
_PART = re.compile(r"user-hour-(lim|rem):(\d{1,9})")


def budgets(app: AppStoreApp | None = None) -> tuple[Budget, ...]:
    """The budget by an App's settings; Apple's published one without any."""
    return (Budget(EVERYTHING, app.requests_an_hour if app else 3500, timedelta(hours=1)),)


def read_limit(header: str | None) -> list[LimitReading]:
    """What an answer says is left. The hour rolls, so nobody can say when it begins anew."""
    found = {name: int(number) for name, number in _PART.findall(header or "")}
    if "rem" not in found:
        return []
    return [LimitReading(EVERYTHING, found.get("lim"), found["rem"], None)]
