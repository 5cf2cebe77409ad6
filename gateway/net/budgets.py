"""Which budgets a request counts against, and how much of each its lane may use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from gateway.net.deadline import Lane
from gateway.net.statements import GRAIN
from gateway_schemas.limits import Budget

EVERYTHING = "*"


@dataclass(frozen=True, slots=True)
class Demand:
    """What a request needs: its bucket, scope and price, and the budgets it is under."""

    key: str
    budgets: Sequence[Budget]
    bucket: str = EVERYTHING
    scope: str | None = None
    share: float = 1.0
    lane: Lane = "backlog"
    cost: Decimal | None = None
    daily_cost_limit: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the budget table that a request looks at. `cap` is what may be used up, or for the row of a bucket
    (`per_ms` 0) what must be left over."""

    bucket: str
    scope: str
    per_ms: int
    cap: int

    def slot(self, ms: int) -> int:
        """The sub-window that a time is in."""
        return ms * GRAIN // self.per_ms if self.per_ms else 0


def milliseconds(at: datetime) -> int:
    """A time as the ledger counts it."""
    return int(at.timestamp() * 1000)


def allowed(budget: Budget, share: float) -> int:
    """How many requests of a budget's window are ours."""
    return max(1, int(budget.limit * share + 1e-9))


def reserve_of(limit: int, lane: Lane) -> int:
    """How much of a window a lane leaves for the lanes before it.

    About 3 %, and 1 of a small window: enough to answer while a backlog runs, little enough for the backlog to use
    95 % of the share. While a window is that full, only replies take what gets free. Probes take what nobody needs:
    they keep off the last quarter.
    """
    least = 0 if limit < 4 else max(1, limit // 32)
    return {
        "reply": 0,
        "interactive": least // 2,
        "backlog": least,
        "probe": max(least, limit // 4, min(1, limit - 1)),
    }[lane]


def rows_of(demand: Demand) -> list[Row]:
    """Every row a request looks at: its windows, and what is known of its bucket and of all buckets."""
    windows: dict[tuple[str, str, int], int] = {}
    for budget in demand.budgets:
        if budget.bucket not in (demand.bucket, EVERYTHING) or (budget.per_scope and demand.scope is None):
            continue
        scope = demand.scope if budget.per_scope and demand.scope is not None else ""
        key = (budget.bucket, scope, max(1, round(budget.per / timedelta(milliseconds=1))))
        windows[key] = min(windows.get(key, budget.limit), allowed(budget, demand.share))
    scopes = {"", demand.scope or ""}
    buckets = {(bucket, scope, 0): 0 for bucket in (demand.bucket, EVERYTHING) for scope in scopes}
    for (bucket, scope, _), limit in windows.items():
        keep = reserve_of(limit, demand.lane)
        buckets[bucket, scope, 0] = min(buckets[bucket, scope, 0] or keep, keep)
    return [
        *(Row(*key, left) for key, left in buckets.items()),
        *(Row(*key, limit - reserve_of(limit, demand.lane)) for key, limit in windows.items()),
    ]


def scope_of(bucket: str, budgets: Iterable[Budget], scope: str | None) -> str:
    """The scope that an answer's word on a bucket is about: the request's, where that bucket counts scopes."""
    counted = any(budget.bucket == bucket and budget.per_scope for budget in budgets)
    return scope if counted and scope is not None else ""
