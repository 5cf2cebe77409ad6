"""The budget ledger: reserves room for a request in every budget it is under, across all processes, before it leaves.

A request counts from its reservation until its window has passed *after its answer*: it reached the provider somewhere
in between, so however long requests and answers travel, no window of the provider's sees more than the limit. One that
gets no answer counts until its deadline and a window more.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from weakref import WeakValueDictionary

from sqlalchemy import RowMapping, TextClause
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.net import statements
from gateway.net.budgets import EVERYTHING, Demand, Row, allowed, milliseconds, rows_of, scope_of
from gateway_schemas.errors import Retry
from gateway_schemas.limits import LimitReading
from gateway_schemas.time import TimeSource

log = logging.getLogger(__name__)

LONGEST_BLOCK = timedelta(hours=24)
"""A provider that asks for more (a broken header) is asked again after a day."""

_UNBOUNDED = 900.0  # seconds that a request without a deadline is thought under way if its process dies
_LINGER = 3600.0  # seconds that a row stays after the last moment it could matter
_SAME_WINDOW = timedelta(seconds=2)
_RACE = ("40P01", "40001")  # SQLSTATE deadlock_detected, serialization_failure: nothing was written


@dataclass(frozen=True, slots=True)
class Reservation:
    """Room taken for one request: the sub-window of its deadline in each window it counts in."""

    demand: Demand
    taken: tuple[tuple[Row, int], ...]
    day: date | None


@dataclass(slots=True)
class _Word:
    """What answers said of one bucket since it was last written down."""

    blocked_until: datetime | None = None
    remaining: int | None = None
    until: datetime | None = None


@dataclass
class _Pending:
    moves: Counter[tuple[str, str, str, int, int]] = field(default_factory=Counter)
    words: dict[tuple[str, str, str], _Word] = field(default_factory=dict)
    refunds: dict[tuple[str, date], tuple[Decimal, int]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.moves or self.words or self.refunds)


class Ledger:
    """Budgets of one process, kept in the database that all processes share."""

    def __init__(self, engine: AsyncEngine, time: TimeSource) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._time = time
        self._under_way: Counter[tuple[str, str]] = Counter()
        self._pending = _Pending()
        self._writer: asyncio.Task[None] | None = None
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def reserve(self, demand: Demand, seconds: float | None) -> Reservation:
        """Take room for a request that will have ended in `seconds`; one round trip.

        Raises Retry, having taken nothing, with code `rate_budget` when a window is full, `rate_blocked` when the
        provider asked to wait or has nothing left, `cost_budget` when the day's money is spent, and
        `budget_unavailable` when the database does not answer: without a budget nothing leaves. The error's bucket is
        `<bucket>:<scope>` where only one scope ran out.
        """
        rows = rows_of(demand)
        linger = seconds if seconds is not None else _UNBOUNDED
        for _ in range(5):
            try:
                # one at a time per key: the others would only hold connections while they wait for its rows
                async with self._turns.setdefault(demand.key, asyncio.Lock()):
                    now = self._time.now()
                    opened = milliseconds(now + timedelta(seconds=linger))
                    answer = await self._ask(demand, rows, now, opened, linger)
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) in _RACE:
                    continue
                raise _unavailable() from error
            except SQLAlchemyError as error:
                raise _unavailable() from error
            if not answer[0]["room"] or not answer[0]["affordable"]:
                raise _refusal(demand, answer, now)
            kept = {(row["bucket"], row["scope"], row["per_ms"]) for row in answer if row["kept"]}
            taken = tuple((row, row.slot(opened)) for row in rows if (row.bucket, row.scope, row.per_ms) in kept)
            paid = demand.cost is not None and answer[0]["paid"] == 1
            reservation = Reservation(demand, tuple(one for one in taken if one[0].per_ms), _day(now) if paid else None)
            for bucket in {demand.bucket, EVERYTHING}:
                self._under_way[demand.key, bucket] += 1
            if all((row.bucket, row.scope, row.per_ms) in kept for row in rows if row.per_ms) and paid == (
                demand.cost is not None
            ):
                return reservation
            # another request made one of the rows at the same moment: give back and look again
            self.settle(reservation, sent=False)
        raise _unavailable()

    async def _ask(
        self, demand: Demand, rows: list[Row], now: datetime, opened: int, linger: float
    ) -> list[RowMapping]:
        now_ms = milliseconds(now)
        return await self._run(
            statements.RESERVE,
            {
                "key": demand.key,
                "buckets": [row.bucket for row in rows],
                "scopes": [row.scope for row in rows],
                "windows": [row.per_ms for row in rows],
                "caps": [row.cap for row in rows],
                "slots_now": [row.slot(now_ms) for row in rows],
                "slots_open": [row.slot(opened) for row in rows],
                "now": now,
                "now_ms": now_ms,
                "day": _day(now),
                "cost": demand.cost,
                "cost_limit": demand.daily_cost_limit,
                "linger": linger + _LINGER,
            },
        )

    async def _run(self, statement: TextClause, values: Mapping[str, Any]) -> list[RowMapping]:
        async with self._engine.connect() as connection:
            result = await connection.execute(statement, values)
            return list(result.mappings().all()) if result.returns_rows else []

    def settle(self, reservation: Reservation, *, sent: bool) -> None:
        """Called once per reservation, when the answer is there or will not come. Not sent: all of it is given back.

        Never raises and never waits: what became of a request must not hang on its bookkeeping, which is written soon
        after, for many requests at once. If it is lost with the process, the reservation ends by itself.
        """
        demand = reservation.demand
        now_ms = milliseconds(self._time.now())
        for row, slot in reservation.taken:
            place = (demand.key, row.bucket, row.scope, row.per_ms)
            self._pending.moves[*place, slot] -= 1
            if sent:
                self._pending.moves[*place, row.slot(now_ms)] += 1
        if not sent and reservation.day is not None and demand.cost is not None:
            usd, calls = self._pending.refunds.get((demand.key, reservation.day), (Decimal(0), 0))
            self._pending.refunds[demand.key, reservation.day] = usd + demand.cost, calls + 1
        for bucket in {demand.bucket, EVERYTHING}:
            self._under_way[demand.key, bucket] -= 1
            if not self._under_way[demand.key, bucket]:
                del self._under_way[demand.key, bucket]
        self._write_soon()

    def block(self, demand: Demand, wait: timedelta) -> None:
        """Called when the provider said how long to wait: nothing of this bucket leaves until then, anywhere."""
        scope = scope_of(demand.bucket, demand.budgets, demand.scope)
        word = self._pending.words.setdefault((demand.key, demand.bucket, scope), _Word())
        until = self._time.now() + min(wait, LONGEST_BLOCK)
        word.blocked_until = max(word.blocked_until or until, until)
        self._write_soon()

    def learn(self, demand: Demand, readings: Iterable[LimitReading]) -> bool:
        """Called with what an answer said of limits, after `settle`; lowers what is left where others used it too.

        True when a bucket turned out to be empty.
        """
        now = self._time.now()
        empty = False
        for reading in readings:
            if reading.remaining is None:
                continue
            mine = [budget for budget in demand.budgets if budget.bucket == reading.bucket]
            if mine and reading.remaining >= min(allowed(budget, demand.share) for budget in mine):
                continue  # more than we would take anyway
            # what this process has on the way may not have been counted there yet
            remaining = max(0, reading.remaining - self._under_way[demand.key, reading.bucket])
            until = reading.resets_at
            if until is None:
                until = now + min([timedelta(minutes=1), *(budget.per for budget in mine)])
            until = min(until, now + LONGEST_BLOCK)
            scope = scope_of(reading.bucket, demand.budgets, demand.scope)
            word = self._pending.words.setdefault((demand.key, reading.bucket, scope), _Word())
            if word.until is not None and word.remaining is not None and abs(until - word.until) <= _SAME_WINDOW:
                remaining = min(remaining, word.remaining)
            word.remaining, word.until = remaining, until
            empty = empty or remaining == 0
            self._write_soon()
        return empty

    async def flush(self, patience: float = 1.0) -> None:
        """Wait until everything settled and learned so far is written, but at most `patience` seconds."""
        if self._writer is not None:
            await asyncio.wait({self._writer}, timeout=patience)

    async def purge(self) -> int:
        """Called now and then by upkeep: delete rows that say nothing any more; how many."""
        async with self._engine.connect() as connection:
            result = await connection.execute(statements.PURGE, {"now": self._time.now()})
            return int(result.rowcount)

    def _write_soon(self) -> None:
        if self._pending and (self._writer is None or self._writer.done()):
            self._writer = asyncio.create_task(self._write_all())

    async def _write_all(self) -> None:
        while self._pending:
            batch, self._pending = self._pending, _Pending()
            try:
                await self._write(batch)
            except SQLAlchemyError as error:
                log.warning("Budgets could not be corrected (%s); reservations end by themselves", type(error).__name__)

    async def _write(self, batch: _Pending) -> None:
        moves = [(place, count) for place, count in batch.moves.items() if count]
        if moves:
            names = ("keys", "buckets", "scopes", "windows", "slots")
            columns = {name: [place[at] for place, _ in moves] for at, name in enumerate(names)}
            await self._run(statements.MOVE, {**columns, "counts": [count for _, count in moves]})
        if batch.words:
            words = list(batch.words.values())
            await self._run(
                statements.LEARN,
                {
                    **{name: [key[at] for key in batch.words] for at, name in enumerate(("keys", "buckets", "scopes"))},
                    "blocked": [word.blocked_until for word in words],
                    "remaining": [word.remaining for word in words],
                    "until": [word.until for word in words],
                    "now": self._time.now(),
                    "linger": _LINGER,
                },
            )
        for (key, day), (usd, calls) in batch.refunds.items():
            await self._run(statements.REFUND, {"key": key, "day": day, "cost": usd, "calls": calls})


def _day(now: datetime) -> date:
    return now.astimezone(UTC).date()


def _unavailable() -> Retry:
    return Retry("The budget could not be looked up in the database; nothing was sent", code="budget_unavailable")


def _refusal(demand: Demand, answer: list[RowMapping], now: datetime) -> Retry:
    """The error for the row that has to be waited for longest."""
    if answer[0]["room"]:
        tomorrow = datetime.combine(_day(now) + timedelta(days=1), datetime.min.time(), UTC)
        return Retry(
            f"The day's budget of {demand.daily_cost_limit} US dollars does not hold another {demand.cost} today",
            after=tomorrow - now,
            bucket=demand.bucket,
            code="cost_budget",
        )
    wait, bucket, scope, per_ms, full = max(
        (float(ms), row["bucket"], row["scope"], row["per_ms"], kind == "full_ms")
        for row in answer
        for kind in ("blocked_ms", "told_ms", "full_ms")
        if (ms := row[kind]) is not None
    )
    name = "all requests" if bucket == EVERYTHING else bucket
    after = timedelta(milliseconds=max(1.0, wait))
    # what ran out for one ticket or user must not be taken for the whole bucket
    which = f"{bucket}:{scope}" if scope else bucket
    if full:
        window = timedelta(milliseconds=per_ms)
        return Retry(f"The budget of {name} per {window} is used up", after=after, bucket=which, code="rate_budget")
    return Retry(f"The provider asked to wait with {name}", after=after, bucket=which, code="rate_blocked")
