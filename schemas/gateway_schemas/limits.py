"""Rate and cost budgets: what a plugin declares, marks on its requests and reads from answers.

A budget belongs to an App (one registration at a provider), or to a connection without one. The host enforces it across
every process before a request leaves and corrects it by what answers say. A request names its bucket and cost in its
extensions: `await self.http.post(url, json=body, extensions=metered("create_post", cost=Decimal("0.015")))`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any

BUCKET = "gateway.bucket"
COST = "gateway.cost"
SCOPE = "gateway.scope"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST = 10**8
"""Seconds: a provider that asks for more made a mistake."""


@dataclass(frozen=True, slots=True)
class Budget:
    """At most `limit` requests of `bucket` in any window of `per`. The bucket `*` counts every request.

    `per_scope` budgets count each scope on its own (a ticket, a user): the request names it with `metered(scope=…)`.
    """

    bucket: str
    limit: int
    per: timedelta
    per_scope: bool = False


@dataclass(frozen=True, slots=True)
class Allowance:
    """What an admin lets the gateway use: a share of each rate limit, and US dollars a day (UTC) for priced
    requests."""

    share: float = 1.0
    daily_usd: Decimal | None = None


@dataclass(frozen=True, slots=True)
class LimitReading:
    """What an answer said of a bucket: how many requests are left, and when the window starts anew."""

    bucket: str
    limit: int | None
    remaining: int | None
    resets_at: datetime | None


def metered(bucket: str, *, cost: Decimal | None = None, scope: str | None = None) -> dict[str, Any]:
    """Extensions for a request: the bucket it counts against, its price in US dollars, and its scope where one
    counts."""
    extensions: dict[str, Any] = {BUCKET: bucket}
    if cost is not None:
        extensions[COST] = cost
    if scope is not None:
        extensions[SCOPE] = scope
    return extensions


def retry_after(value: str | None, now: datetime) -> timedelta | None:
    """Read a Retry-After header in seconds or as an HTTP date (RFC 9110, 10.2.3); None when absent or unreadable.

    A wait of more than three years counts as unreadable: whoever adds it to a date must not overflow.
    """
    if not value:
        return None
    value = value.strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            at = parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            return None
        if at.tzinfo is None:
            at = at.replace(tzinfo=UTC)
        seconds = max(0.0, (at - now).total_seconds())
    return timedelta(seconds=seconds) if 0 <= seconds < _LONGEST else None


def epoch_headers(headers: Mapping[str, str], bucket: str, *, prefix: str = "x-rate-limit-") -> list[LimitReading]:
    """Read `<prefix>limit|remaining|reset`, the reset in epoch seconds (X). Absent or unreadable numbers are None."""
    limit, remaining, reset = (_integer(headers.get(prefix + name)) for name in ("limit", "remaining", "reset"))
    if limit is None and remaining is None:
        return []
    return [LimitReading(bucket, limit, remaining, _later(_EPOCH, reset) if reset else None)]


def delta_headers(
    headers: Mapping[str, str], bucket: str, now: datetime, *, prefix: str = "ratelimit-"
) -> list[LimitReading]:
    """Read `<prefix>limit|remaining|reset`, the reset in seconds to go (RateLimit header fields, Zendesk)."""
    limit, remaining, reset = (_integer(headers.get(prefix + name)) for name in ("limit", "remaining", "reset"))
    if limit is None and remaining is None:
        return []
    return [LimitReading(bucket, limit, remaining, _later(now, reset) if reset is not None else None)]


def _later(start: datetime, seconds: int) -> datetime | None:
    try:
        return start + timedelta(seconds=seconds)
    except OverflowError:
        return None


def _integer(value: str | None) -> int | None:
    try:
        return int(float(value)) if value is not None else None
    except (ValueError, OverflowError):
        return None
