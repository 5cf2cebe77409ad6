"""How many requests a caller may send: a bucket each, filled evenly, told in the standard headers.

The buckets are in the memory of the process that serves: a shared count would cost a write for each request, and guard
against nothing that several processes could not bear. With several, a caller has its limit at each of them. The
providers' door and the health routes have no limit.

Headers: https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/ (draft 10).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

WINDOW = 60.0
"""Seconds in which an empty bucket becomes full."""
MOST = 10_000
"""Buckets kept at most: beyond that, those that are full again are forgotten."""


@dataclass(frozen=True)
class Standing:
    """How a caller stands after a request."""

    allowed: bool
    quota: int
    remaining: int
    reset: int
    """Seconds until the whole quota is there again."""
    retry_after: int
    """Seconds until the next request is allowed."""

    def headers(self) -> dict[str, str]:
        """The headers that tell the caller."""
        told = {
            "RateLimit-Policy": f'"caller";q={self.quota};w={WINDOW:.0f}',
            "RateLimit": f'"caller";r={self.remaining};t={self.reset}',
        }
        return told if self.allowed else {**told, "Retry-After": str(self.retry_after)}


def tell(request: Request, response: Response) -> Response:
    """The response, with how its caller stands."""
    standing: Standing | None = getattr(request.state, "standing", None)
    if standing is not None:
        response.headers.update(standing.headers())
    return response


@dataclass(slots=True)
class _Bucket:
    quota: int
    held: float
    at: float


class Limits:
    """The buckets of a process. `usual` is the limit, in requests a minute, of callers that have none of their own."""

    def __init__(self, usual: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._usual = usual
        self._clock = clock
        self._buckets: dict[UUID, _Bucket] = {}

    def spend(self, caller: UUID, limit: int | None) -> Standing | None:
        """Take one request out of the caller's bucket. None where there is no limit."""
        quota = self._usual if limit is None else limit
        if quota == 0:
            return None
        now = self._clock()
        bucket = self._buckets.get(caller)
        if bucket is None or bucket.quota != quota:
            if len(self._buckets) >= MOST:
                self._forget(now)
            bucket = self._buckets[caller] = _Bucket(quota, quota, now)
        pace = quota / WINDOW
        bucket.held = min(quota, bucket.held + (now - bucket.at) * pace)
        bucket.at = now
        allowed = bucket.held >= 1
        if allowed:
            bucket.held -= 1
        return Standing(
            allowed=allowed,
            quota=quota,
            remaining=math.floor(bucket.held),
            reset=math.ceil((quota - bucket.held) / pace),
            retry_after=max(1, math.ceil((1 - bucket.held) / pace)),
        )

    def _forget(self, now: float) -> None:
        self._buckets = {
            caller: bucket
            for caller, bucket in self._buckets.items()
            if bucket.held + (now - bucket.at) * bucket.quota / WINDOW < bucket.quota
        }
