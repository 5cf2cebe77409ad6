"""Runs plugin code that must be quick in a process that can be killed.

`normalise`, `render` and policies are pure, so they may run anywhere: here they run in a child process under a
deadline. A call that hangs costs its own deadline and nobody else's: the child is killed and a new one takes over.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pebble import ProcessExpired, ProcessPool
from pydantic import BaseModel

from gateway.connections import Endpoint, build
from gateway.registry import Registry
from gateway_schemas.decision import Case, Finding
from gateway_schemas.errors import GatewayError, Rejected
from gateway_schemas.helpdesk import HelpdeskNews
from gateway_schemas.interaction import Normalised
from gateway_schemas.reply import Draft, Rendered
from gateway_schemas.source import Source
from gateway_schemas.text import clean_model
from gateway_schemas.time import open_time
from gateway_schemas.webhook import RawDelivery


@dataclass(frozen=True)
class Outcome:
    """What became of one pure call: its values, or why there are none."""

    values: Sequence[Any] = ()
    code: str = ""
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether it went well."""
        return not self.code


@dataclass(frozen=True)
class PolicyCall:
    """One policy to run on one thing."""

    type: str
    params: dict[str, Any]
    point: str
    case: Case
    subject: Any


SUSPECT_FOR = 60.0
"""Seconds that a connection whose code hung runs apart from all others."""


class Sandbox:
    """A child process per worker, replaced when it hangs or dies, and a second one for connections that made it so."""

    def __init__(self, deadline: float, time_file: str | None = None) -> None:
        self._deadline = deadline
        self._time_file = time_file
        self._pools: dict[str, ProcessPool] = {}
        self._suspects: dict[UUID | None, float] = {}

    def _pool(self, endpoint: Endpoint | None) -> ProcessPool:
        suspect = self._suspects.get(endpoint.id if endpoint else None, 0.0) > time.monotonic()
        lane = "suspects" if suspect else "all"
        if lane not in self._pools:
            self._pools[lane] = ProcessPool(
                max_workers=1,
                max_tasks=0,
                initializer=_start,
                initargs=[self._time_file],
                context=multiprocessing.get_context("spawn"),
            )
        return self._pools[lane]

    async def warm(self) -> None:
        """Start the child before the first delivery waits for it."""
        await asyncio.wrap_future(self._pool(None).schedule(_nothing))

    async def normalise(self, endpoint: Endpoint, deliveries: Sequence[RawDelivery]) -> list[Outcome]:
        """Each delivery's news. A batch that hangs or dies is run again one by one, so that only the culprit fails."""
        return await self._each(_normalise, endpoint, deliveries)

    async def render(self, endpoint: Endpoint, drafts: Sequence[Draft]) -> list[Outcome]:
        """Each draft's rendered form."""
        return await self._each(_render, endpoint, drafts)

    async def policies(self, calls: Sequence[PolicyCall]) -> list[Outcome]:
        """Each call's findings or effects."""
        return await self._each(_policies, None, calls)

    async def _each(self, function: Any, endpoint: Endpoint | None, items: Sequence[Any]) -> list[Outcome]:
        if not items:
            return []
        failure = await self._run(function, endpoint, items)
        if isinstance(failure, list):
            return failure
        if len(items) == 1:
            return [failure]
        return [(await self._each(function, endpoint, [item]))[0] for item in items]

    async def _run(self, function: Any, endpoint: Endpoint | None, items: Sequence[Any]) -> list[Outcome] | Outcome:
        # a whole batch gets the deadline of one call plus a little for each: only a hang exceeds it
        deadline = self._deadline + 0.02 * len(items)
        future = self._pool(endpoint).schedule(function, args=[endpoint, list(items)], timeout=deadline)
        try:
            outcomes: list[Outcome] = await asyncio.wrap_future(future)
        except (TimeoutError, FutureTimeout):
            self._suspects[endpoint.id if endpoint else None] = time.monotonic() + SUSPECT_FOR
            return Outcome(
                code="deadline", reason=f"the plugin's code ran longer than {self._deadline:g} s and was killed"
            )
        except ProcessExpired as error:
            self._suspects[endpoint.id if endpoint else None] = time.monotonic() + SUSPECT_FOR
            return Outcome(code="died", reason=f"the plugin's code ended its process (exit code {error.exitcode})")
        return outcomes

    def close(self) -> None:
        """Stop the child processes at once."""
        for pool in self._pools.values():
            pool.stop()  # type: ignore[no-untyped-call]
            pool.join()


# What follows runs in the child.

_registry: Registry
_time: Any
_instances: dict[tuple[Any, int], Any] = {}


def _start(time_file: str | None) -> None:
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the worker's to handle
    global _registry, _time
    _registry = Registry.load()
    _time = open_time(time_file)


def _nothing() -> None:
    """Proves that the child is up."""


def _instance(endpoint: Endpoint) -> Any:
    key = (endpoint.id, endpoint.version)
    if key not in _instances:
        for stale in [old for old in _instances if old[0] == endpoint.id]:
            del _instances[stale]
        _instances[key] = build(_registry, endpoint, _time)
    return _instances[key]


def _guarded(call: Any) -> Outcome:
    try:
        return Outcome(values=[clean_model(value) for value in call()])
    except GatewayError as error:
        return Outcome(code=error.code, reason=error.reason)
    except Exception as error:  # the plugin's bug, recorded on the row it concerns
        where = traceback.extract_tb(error.__traceback__)[-1]
        return Outcome(
            code="plugin_bug",
            reason=f"{type(error).__name__} in {where.name} ({where.filename.rsplit('/', 1)[-1]}:{where.lineno})",
        )


def _normalise(endpoint: Endpoint, deliveries: Sequence[RawDelivery]) -> list[Outcome]:
    def read(delivery: RawDelivery) -> Sequence[Normalised | HelpdeskNews]:
        return list(_instance(endpoint).normalise(delivery))

    return [_guarded(lambda delivery=delivery: read(delivery)) for delivery in deliveries]


def _render(endpoint: Endpoint, drafts: Sequence[Draft]) -> list[Outcome]:
    def render(draft: Draft) -> list[Rendered]:
        source = _instance(endpoint)
        if not isinstance(source, Source):
            raise Rejected("this connection is no source", code="no_replies")
        return [source.render(draft)]

    return [_guarded(lambda draft=draft: render(draft)) for draft in drafts]


def _policies(_: None, calls: Sequence[PolicyCall]) -> list[Outcome]:
    def run(call: PolicyCall) -> list[Finding]:
        plugin = _registry.policies[call.type]
        params: BaseModel = plugin.Params.model_validate(call.params)
        policy = plugin(params)
        return list(getattr(policy, call.point)(call.case, call.subject))

    return [_guarded(lambda call=call: run(call)) for call in calls]
