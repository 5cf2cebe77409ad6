"""The twin's rate limits: windows per account, bucket and ticket, with Zendesk's headers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

from gateway_schemas.time import TimeSource
from gateway_zendesk.twin_model import ApiError


@dataclass(frozen=True)
class Limit:
    """At most `limit` requests in each window of `seconds`; None never refuses."""

    limit: int | None
    seconds: int = 60


class Limits:
    """Fixed windows of the twin's time. Buckets and numbers as documented; all of them can be changed."""

    def __init__(self, time: TimeSource) -> None:
        self.time = time
        self.limits: dict[str, Limit] = {
            "account": Limit(400),
            "tickets-update": Limit(100),
            "ticket": Limit(30, 600),
            "user": Limit(5, 60),
            "users-create": Limit(1, 1),
            "incremental-exports": Limit(10),
            "tickets-index": Limit(100),
        }
        self.plain_text_429 = False
        """Whether 429 answers have a plain text body, as has been seen."""
        self._used: dict[tuple[str, str], tuple[int, int]] = {}

    def off(self) -> None:
        """Switch every limit off."""
        self.limits = {name: Limit(None) for name in self.limits}

    def take(self, bucket: str, scope: str = "", *, hidden: bool = False) -> dict[str, str]:
        """Count one request; gives the headers. Raises 429 when the window is full."""
        limit = self.limits[bucket]
        now = self.time.now()
        window = int(now.timestamp() // limit.seconds)
        seen, used = self._used.get((bucket, scope), (window, 0))
        used = used + 1 if seen == window else 1
        if limit.limit is not None and used > limit.limit:
            raise self._refusal(bucket, limit, now, hidden)
        self._used[(bucket, scope)] = (window, used)
        return {} if hidden else self._headers(bucket, limit, used, now)

    def _resets(self, limit: Limit, now: datetime) -> int:
        return max(1, math.ceil(limit.seconds - now.timestamp() % limit.seconds))

    def _headers(self, bucket: str, limit: Limit, used: int, now: datetime) -> dict[str, str]:
        if limit.limit is None:
            return {}
        left, resets = str(max(0, limit.limit - used)), str(self._resets(limit, now))
        if bucket == "account":
            return {
                "X-Rate-Limit": str(limit.limit),
                "X-Rate-Limit-Remaining": left,
                "ratelimit-limit": str(limit.limit),
                "ratelimit-remaining": left,
                "ratelimit-reset": resets,
            }
        return {f"zendesk-ratelimit-{bucket}": f"total={limit.limit}; remaining={left}; resets={resets}"}

    def _refusal(self, bucket: str, limit: Limit, now: datetime, hidden: bool) -> ApiError:
        headers = {"Retry-After": str(self._resets(limit, now))}
        if not hidden:
            headers.update(self._headers(bucket, limit, limit.limit or 0, now))
        if self.plain_text_429:
            return ApiError(429, "Number of allowed API requests per minute exceeded", headers)
        text = "You have exceeded the rate limit. Please try again later."
        return ApiError(429, {"error": "APIRateLimitExceeded", "description": text}, headers)
