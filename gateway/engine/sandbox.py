"""Runs plugin code that must be quick in a process that can be killed.

`normalise`, `render` and policies are pure, so they may run anywhere: here they run in a child process under a
deadline. A call that hangs costs its own deadline and nobody else's: the child is killed and a new one takes over.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import pickle
import time
from collections.abc import Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures.process import BrokenProcessPool
from typing import Any
from uuid import UUID

from pebble import ProcessExpired, ProcessPool

from gateway.endpoints import Endpoint
from gateway.engine import child
from gateway.engine.child import Outcome, PolicyCall
from gateway_schemas.errors import Rejected
from gateway_schemas.reply import Draft
from gateway_schemas.webhook import RawDelivery

__all__ = ["Outcome", "PolicyCall", "Sandbox"]

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
            initializer=child.start,
            initargs=self._child,
            context=multiprocessing.get_context("spawn"),
        )
        return self._pools[lane]

    async def warm(self) -> None:
        """Start the child before the first delivery waits for it."""
        await self._in_child(None, child.nothing, (), None)

    async def normalise(self, endpoint: Endpoint, deliveries: Sequence[RawDelivery]) -> list[Outcome]:
        """Each delivery's news. A batch that hangs or dies is run again one by one, so that only the culprit fails."""
        return await self._each(child.normalise, endpoint, deliveries)

    async def render(self, endpoint: Endpoint, drafts: Sequence[Draft]) -> list[Outcome]:
        """Each draft's rendered form."""
        return await self._each(child.render, endpoint, drafts)

    async def policies(self, calls: Sequence[PolicyCall]) -> list[Outcome]:
        """Each call's findings or effects."""
        return await self._each(child.policies, None, calls)

    async def clean_picture(self, picture: bytes) -> tuple[bytes, str]:
        """The picture without its metadata, and its true media type. Raises Rejected for what cannot be cleaned."""
        outcome = (await self._each(child.clean_picture, None, [picture]))[0]
        if not outcome.ok:
            raise Rejected(outcome.reason, code=outcome.code)
        body, media_type = outcome.values
        return body, media_type

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
