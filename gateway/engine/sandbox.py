"""Runs plugin code that must be quick in a process that can be killed.

`normalise`, `render` and policies are pure, so they may run anywhere: here they run in a child process under a
deadline. A call that hangs costs its own deadline and nobody else's: the child is killed and a new one takes over.
"""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from pebble import ProcessExpired, ProcessPool
from pydantic import BaseModel

from gateway.connections import ConfigInvalid, Endpoint, PluginMissing, build
from gateway.registry import Registry
from gateway_schemas.decision import Case, Finding
from gateway_schemas.errors import GatewayError, Rejected
from gateway_schemas.helpdesk import HelpdeskNews
from gateway_schemas.interaction import Normalised
from gateway_schemas.reply import Draft, Rendered
from gateway_schemas.source import Source
from gateway_schemas.text import clean, clean_model
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


PR_SET_PDEATHSIG = 1
SUSPECT_FOR = 60.0
"""Seconds that a connection whose code hung runs apart from all others."""


class Sandbox:
    """A child process per worker, replaced when it hangs or dies, and a second one for connections that made it so."""

    def __init__(self, deadline: float, time_file: str | None = None, modules: Sequence[str] = ()) -> None:
        self._deadline = deadline
        self._child = (time_file, tuple(modules))
        self._pools: dict[str, ProcessPool] = {}
        self._broken: list[ProcessPool] = []
        self._suspects: dict[UUID | None, float] = {}

    def _pool(self, endpoint: Endpoint | None) -> ProcessPool:
        suspect = self._suspects.get(endpoint.id if endpoint else None, 0.0) > time.monotonic()
        lane = "suspects" if suspect else "all"
        kept = self._pools.get(lane)
        if kept is not None and kept.active:
            return kept
        if kept is not None:
            self._broken.append(kept)
        self._pools[lane] = ProcessPool(
            max_workers=1,
            max_tasks=0,
            initializer=_start,
            initargs=self._child,
            context=multiprocessing.get_context("spawn"),
        )
        return self._pools[lane]

    async def warm(self) -> None:
        """Start the child before the first delivery waits for it."""
        await self._in_child(None, _nothing, (), None)

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
        if len(items) > 1:
            return [(await self._each(function, endpoint, [item]))[0] for item in items]
        if failure.code == "died":
            # the system kills processes too (no memory left): only who dies twice has died of itself
            failure = await self._run(function, endpoint, items)
        return failure if isinstance(failure, list) else [failure]

    async def _run(self, function: Any, endpoint: Endpoint | None, items: Sequence[Any]) -> list[Outcome] | Outcome:
        # a whole batch gets the deadline of one call plus a little for each: only a hang exceeds it
        deadline = self._deadline + 0.02 * len(items)
        try:
            packed: list[bytes] = await self._in_child(endpoint, function, (endpoint, list(items)), deadline)
        except (TimeoutError, FutureTimeout):
            self._suspects[endpoint.id if endpoint else None] = time.monotonic() + SUSPECT_FOR
            return Outcome(
                code="deadline", reason=f"the plugin's code ran longer than {self._deadline:g} s and was killed"
            )
        except ProcessExpired as error:
            self._suspects[endpoint.id if endpoint else None] = time.monotonic() + SUSPECT_FOR
            return Outcome(code="died", reason=f"the plugin's code ended its process (exit code {error.exitcode})")
        return [_unpack(one) for one in packed]

    async def _in_child(
        self, endpoint: Endpoint | None, function: Any, args: Sequence[Any], limit: float | None
    ) -> Any:
        """Run it in the child. A pool whose child died while it had nothing to do is replaced.

        Raises BrokenProcessPool when the new one does not start either.
        """
        for attempt in (1, 2):
            pool = self._pool(endpoint)
            try:
                running = asyncio.wrap_future(pool.schedule(function, args=args, timeout=limit))
                try:
                    while not running.done() and pool.active:
                        await asyncio.wait([running], timeout=1.0)
                    if running.done():
                        return running.result()
                finally:
                    running.cancel()
            except RuntimeError:  # BrokenProcessPool, or said by `schedule`: the pool, never the code that was to run
                if attempt == 2:
                    raise
        raise BrokenProcessPool("the process for the plugins' code does not start")

    def close(self) -> None:
        """Stop the child processes at once."""
        for pool in [*self._pools.values(), *self._broken]:
            pool.stop()  # type: ignore[no-untyped-call]
            pool.join()


def _unpack(packed: bytes) -> Outcome:
    try:
        outcome: Outcome = pickle.loads(packed)
    except Exception as error:  # the plugin's bug, recorded on the row it concerns
        return Outcome(
            code="plugin_bug", reason=f"{type(error).__name__}: its result cannot be read in another process"
        )
    return outcome


# What follows runs in the child.

_registry: Registry
_time: Any
_instances: dict[tuple[Any, int], Any] = {}


def _start(time_file: str | None, modules: tuple[str, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the worker's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a Python handler would wait for a regular expression to end
    _end_with_parent()
    global _registry, _time
    _registry = Registry.load(modules=modules)
    _time = open_time(time_file)


def _end_with_parent() -> None:
    """Code that hangs never sees that its worker is gone; Linux kills the child then, wherever the code is."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _nothing() -> None:
    """Proves that the child is up."""


def _instance(endpoint: Endpoint) -> Any:
    key = (endpoint.id, endpoint.version)
    if key not in _instances:
        for stale in [old for old in _instances if old[0] == endpoint.id]:
            del _instances[stale]
        _instances[key] = build(_registry, endpoint, _time)
    return _instances[key]


def _guarded(call: Any) -> bytes:
    """One call's outcome, packed here: a result that cannot leave the process concerns its own row only."""
    try:
        return pickle.dumps(Outcome(values=[clean_model(value) for value in call()]))
    except GatewayError as error:
        outcome = Outcome(code=error.code, reason=error.reason)
    except (PluginMissing, ConfigInvalid) as error:
        outcome = Outcome(code="misconfigured", reason=str(error))
    except BaseException as error:  # the plugin's bug (`sys.exit` is one), recorded on the row it concerns
        where = traceback.extract_tb(error.__traceback__)[-1]
        outcome = Outcome(
            code="plugin_bug",
            reason=f"{type(error).__name__} in {where.name} ({where.filename.rsplit('/', 1)[-1]}:{where.lineno})",
        )
    # a plugin may quote what it was sent
    return pickle.dumps(replace(outcome, code=clean(outcome.code), reason=clean(outcome.reason)))


def _normalise(endpoint: Endpoint, deliveries: Sequence[RawDelivery]) -> list[bytes]:
    def read(delivery: RawDelivery) -> Sequence[Normalised | HelpdeskNews]:
        return list(_instance(endpoint).normalise(delivery))

    return [_guarded(lambda delivery=delivery: read(delivery)) for delivery in deliveries]


def _render(endpoint: Endpoint, drafts: Sequence[Draft]) -> list[bytes]:
    def render(draft: Draft) -> list[Rendered]:
        source = _instance(endpoint)
        if not isinstance(source, Source):
            raise Rejected("this connection is no source", code="no_replies")
        return [source.render(draft)]

    return [_guarded(lambda draft=draft: render(draft)) for draft in drafts]


def _policies(_: None, calls: Sequence[PolicyCall]) -> list[bytes]:
    def run(call: PolicyCall) -> list[Finding]:
        plugin = _registry.policies[call.type]
        params: BaseModel = plugin.Params.model_validate(call.params)
        policy = plugin(params)
        return list(getattr(policy, call.point)(call.case, call.subject))

    return [_guarded(lambda call=call: run(call)) for call in calls]
