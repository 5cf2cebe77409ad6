"""The twin's rate limits: a minute's credits of the account, and limits of single endpoints within it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gateway_freshdesk.twin_model import ApiError
from gateway_schemas.time import TimeSource


@dataclass(frozen=True)
class PlanLimits:
    """Requests a minute by plan, as documented."""

    total: int
    create: int
    update: int
    tickets: int
    contacts: int


PLANS = {
    "growth": PlanLimits(200, 80, 80, 20, 20),
    "pro": PlanLimits(400, 160, 160, 100, 100),
    "enterprise": PlanLimits(700, 280, 280, 200, 200),
}


class Limits:
    """Fixed minutes of the twin's time. Every request counts, also an invalid one; includes cost more."""

    def __init__(self, time: TimeSource) -> None:
        self.time = time
        self.limits: dict[str, int | None] = {}
        self.plan("growth")
        self.decimals = False
        """Whether header values come as decimals, as has been seen."""
        self._used: dict[str, tuple[int, int]] = {}

    def plan(self, name: str) -> None:
        """The limits of a plan."""
        plan = PLANS[name]
        self.limits = {
            "account": plan.total,
            "tickets-create": plan.create,
            "tickets-update": plan.update,
            "tickets-list": plan.tickets,
            "contacts-list": plan.contacts,
        }

    def off(self) -> None:
        """Switch every limit off."""
        self.limits = dict.fromkeys(self.limits)

    def take(self, bucket: str | None, cost: int) -> dict[str, str]:
        """Count one request; gives the headers. Raises 429 when a limit is used up."""
        headers = self._count("account", cost)
        if bucket is not None:
            self._count(bucket, 1, headers)
        return headers

    def _count(self, bucket: str, cost: int, headers: dict[str, str] | None = None) -> dict[str, str]:
        limit, now = self.limits[bucket], self.time.now()
        window = int(now.timestamp() // 60)
        seen, used = self._used.get(bucket, (window, 0))
        used = used + cost if seen == window else cost
        if limit is None:
            return {"X-Freshdesk-API-Version": "latest=v2; requested=v2"}
        if used > limit:
            wait = str(max(1, math.ceil(60 - now.timestamp() % 60)))
            told = headers or self._headers(limit, limit, cost)
            message = "You have exceeded the limit of requests per minute"
            raise ApiError(429, {"message": message}, {**told, "Retry-After": wait})
        self._used[bucket] = (window, used)
        return self._headers(limit, used, cost)

    def _headers(self, limit: int, used: int, cost: int) -> dict[str, str]:
        def shown(value: int) -> str:
            return f"{value}.0" if self.decimals else str(value)

        return {
            "X-Freshdesk-API-Version": "latest=v2; requested=v2",
            "X-RateLimit-Total": shown(limit),
            "X-RateLimit-Remaining": shown(max(0, limit - used)),
            "X-RateLimit-Used-CurrentRequest": str(cost),
        }
