"""The budget layer: nothing leaves without room in its budgets, and every answer corrects them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta

import httpx2

from gateway.net.budgets import EVERYTHING, Demand
from gateway.net.deadline import current_lane, progress_of, seconds_left
from gateway.net.ledger import Ledger
from gateway_schemas.limits import BUCKET, COST, SCOPE, LimitReading, retry_after
from gateway_schemas.time import TimeSource

log = logging.getLogger(__name__)

ReadLimits = Callable[[httpx2.Response, str], list[LimitReading]]

_SLIPS = (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)
"""What code that reads numbers and dates out of headers and JSON can raise."""

_ASKS_TO_WAIT = frozenset({429, 503})


class MeteredTransport(httpx2.AsyncBaseTransport):
    """Reserves before a request and settles after it. Raises Retry, with nothing sent, when a budget has no room."""

    def __init__(
        self,
        inner: httpx2.AsyncBaseTransport,
        ledger: Ledger,
        time: TimeSource,
        demand: Demand,
        read_limits: ReadLimits | None,
    ) -> None:
        self._inner = inner
        self._ledger = ledger
        self._time = time
        self._demand = demand
        self._read_limits = read_limits

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Pass on with room reserved. Each hop of a redirect is a request of its own to the provider."""
        marks = request.extensions
        demand = replace(
            self._demand,
            bucket=marks.get(BUCKET) or EVERYTHING,
            scope=marks.get(SCOPE),
            cost=marks.get(COST),
            lane=current_lane(self._demand.lane),
        )
        reservation = await self._ledger.reserve(demand, seconds_left(request))
        started = time.perf_counter()
        try:
            response = await self._inner.handle_async_request(request)
        finally:
            self._ledger.settle(reservation, sent=progress_of(request).sent)
        response.request = request
        async with AsyncExitStack() as unless_returned:
            unless_returned.push_async_callback(response.aclose)
            await self._learn(demand, response, started)
            unless_returned.pop_all()
        return response

    async def _learn(self, demand: Demand, response: httpx2.Response, started: float) -> None:
        restricted = False
        if response.status_code in _ASKS_TO_WAIT:
            wait = retry_after(response.headers.get("retry-after"), self._time.now())
            if wait:
                self._ledger.block(demand, wait)
                restricted = True
        if self._read_limits is not None:
            if response.is_error:
                # some say in the body how long to wait (Telegram, Discord)
                await response.aread()
                response.elapsed = timedelta(seconds=time.perf_counter() - started)
            restricted |= self._ledger.learn(demand, self._readings(self._read_limits, response, demand.bucket))
        if restricted:
            # the next request, in this process or another, is to know it already
            await self._ledger.flush()

    def _readings(self, read: ReadLimits, response: httpx2.Response, bucket: str) -> list[LimitReading]:
        try:
            return read(response, bucket)
        except _SLIPS as error:  # must not turn an answer into a failed request
            log.warning(
                "%s: reading limits of %s failed with %s; the answer is used without them",
                self._demand.key,
                bucket,
                type(error).__name__,
            )
            return []
