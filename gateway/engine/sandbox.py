"""Runs plugin code that must be quick in a process that can be killed.

`normalise`, `render` and policies are pure, so they may run anywhere: here they run in a child process under a
deadline. A call that hangs costs its own deadline and nobody else's: the child is killed and a new one takes over.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import Any
from uuid import UUID

from pebble import ProcessExpired, ProcessPool

from gateway.endpoints import Endpoint
from gateway.engine import child
from gateway.engine.child import Outcome
from gateway.engine.forks import Forks
from gateway.engine.judge import Ask, Said, Spec
from gateway.security.redaction import redacted
from gateway_schemas.errors import Rejected
from gateway_schemas.reply import Draft
from gateway_schemas.webhook import RawDelivery

__all__ = ["Ask", "Outcome", "Said", "Sandbox", "Spec"]

SUSPECT_FOR = 60.0
"""Seconds that a connection whose code hung runs apart from all others, and a policy is asked apart from them."""
STRIKES = 3
"""How often a policy may hang or die within that time before it is not asked any more until the time is over."""


class Sandbox:
    """A child process per worker, replaced when it hangs or dies, and a second one for connections that made it so."""

    def __init__(self, deadline: float, time_file: str | None = None, modules: Sequence[str] = ()) -> None:
        self._deadline = deadline
        self._child = (time_file, tuple(modules))
        self._pools: dict[str, ProcessPool] = {}
        self._broken: list[ProcessPool] = []
        self._suspects: dict[UUID | None, float] = {}
        self._strikes: dict[str, list[float]] = defaultdict(list)
        self._forks = Forks()
        self._not_warming = asyncio.Event()
        """Whoever asks a pool while its first child starts waits for that with the whole loop."""
        self._not_warming.set()

    def _pool(self, endpoint: Endpoint | None, apart: bool = False) -> ProcessPool:
        suspect = apart or self._suspects.get(endpoint.id if endpoint else None, 0.0) > time.monotonic()
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
            context=self._forks.context,
        )
        return self._pools[lane]

    async def warm(self) -> None:
        """Start the child before the first delivery waits for it."""
        # whoever starts the first one waits until the server has loaded every language: not the loop, which has others
        self._not_warming.clear()
        try:
            with contextlib.suppress(RuntimeError):  # it is tried again below, and said there
                await asyncio.to_thread(self._pool(None).schedule, child.nothing)
        finally:
            self._not_warming.set()
        await self._in_child(None, child.nothing, (), None)

    async def normalise(self, endpoint: Endpoint, deliveries: Sequence[RawDelivery]) -> list[Outcome]:
        """Each delivery's news. A batch that hangs or dies is run again one by one, so that only the culprit fails."""
        return await self._each(child.normalise, endpoint, deliveries)

    async def render(self, endpoint: Endpoint, drafts: Sequence[Draft]) -> list[Outcome]:
        """Each draft's rendered form."""
        return await self._each(child.render, endpoint, drafts)

    async def judge(self, specs: Sequence[Spec], asks: Sequence[Ask]) -> list[list[Said]]:
        """What policies say of many things, in one round trip: for each thing, in the order of its `specs`.

        A policy that hangs or dies costs its own answers. It is found by asking each alone, and asked apart from then
        on; after three times it is not asked for the rest of a minute.
        """
        answers: list[dict[int, Said]] = [{} for _ in asks]
        apart = {number for number, spec in enumerate(specs) if self._struck(spec)}
        together = {number for ask in asks for number in ask.specs} - apart
        if not await self._judge_some(specs, asks, together, answers):
            apart |= together
        for number in sorted(apart):
            if not await self._judge_some(specs, asks, {number}, answers):
                await self._judge_apart(specs, asks, number, answers)
        return [[answers[place][number] for number in ask.specs] for place, ask in enumerate(asks)]

    async def _judge_some(
        self, specs: Sequence[Spec], asks: Sequence[Ask], some: set[int], answers: list[dict[int, Said]]
    ) -> bool:
        """Ask these policies together. Returns whether all answered; else nothing is written."""
        struck = [number for number in some if len(self._struck(specs[number])) >= STRIKES]
        if struck:
            reason = f"the policy's code hung or died {STRIKES} times within a minute and is not asked for a while"
            for place in range(len(asks)):
                answers[place] |= {number: Said(code="suspended", reason=reason) for number in struck}
            return True
        parts = [(place, tuple(n for n in ask.specs if n in some)) for place, ask in enumerate(asks)]
        chosen = [(place, replace(asks[place], specs=numbers)) for place, numbers in parts if numbers]
        if not chosen:
            return True
        used = [spec if n in some else UNUSED for n, spec in enumerate(specs)]
        found = await self._judge(used, chosen, apart=any(self._struck(specs[n]) for n in some))
        if isinstance(found, Outcome):
            if len(some) == 1:
                self._strikes[specs[min(some)].key].append(time.monotonic())
            return False
        for (place, ask), said in zip(chosen, found, strict=True):
            answers[place] |= zip(ask.specs, said, strict=True)
        return True

    async def _judge_apart(
        self, specs: Sequence[Spec], asks: Sequence[Ask], number: int, answers: list[dict[int, Said]]
    ) -> None:
        """Ask one policy that hung or died thing by thing, so that it fails on what it fails on."""
        for place, ask in enumerate(asks):
            if number not in ask.specs:
                continue
            if await self._judge_some(specs, [ask], {number}, answers[place : place + 1]):
                continue
            answers[place][number] = Said(
                code="deadline", reason=f"the policy's code ran longer than {self._deadline:g} s or died"
            )

    def _struck(self, spec: Spec) -> list[float]:
        """When this policy hung or died lately."""
        if spec.key not in self._strikes:
            return []
        since = time.monotonic() - SUSPECT_FOR
        self._strikes[spec.key] = [at for at in self._strikes[spec.key] if at > since]
        return self._strikes[spec.key]

    async def _judge(
        self, specs: Sequence[Spec], chosen: Sequence[tuple[int, Ask]], *, apart: bool
    ) -> list[Sequence[Said]] | Outcome:
        deadline = self._deadline + 0.01 * len(chosen)
        asks = [ask for _, ask in chosen]
        try:
            packed: list[bytes] = await self._in_child(None, child.judge, (list(specs), asks), deadline, apart)
        except (TimeoutError, FutureTimeout):
            return Outcome(code="deadline", reason="")
        except ProcessExpired:
            return Outcome(code="died", reason="")
        return [_said(one, len(ask.specs)) for one, ask in zip(packed, asks, strict=True)]

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
        self, endpoint: Endpoint | None, function: Any, args: Sequence[Any], limit: float | None, apart: bool = False
    ) -> Any:
        """Run it in the child. A pool whose child died while it had nothing to do is replaced.

        Raises BrokenProcessPool when the new one does not start either.
        """
        await self._not_warming.wait()
        for attempt in (1, 2):
            pool = self._pool(endpoint, apart)
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
        self._forks.release()


UNUSED = Spec("", "", {})


def _said(packed: bytes, count: int) -> Sequence[Said]:
    try:
        found: Sequence[Said] = pickle.loads(packed)
    except Exception as error:  # the plugin's bug, recorded on the row it concerns
        return [Said(code="plugin_bug", reason=f"{type(error).__name__}: its answer cannot be read elsewhere")] * count
    return found


def _unpack(packed: bytes) -> Outcome:
    try:
        outcome: Outcome = pickle.loads(packed)
    except Exception as error:  # the plugin's bug, recorded on the row it concerns
        return Outcome(
            code="plugin_bug", reason=f"{type(error).__name__}: its result cannot be read in another process"
        )
    return outcome if outcome.ok else replace(outcome, code=redacted(outcome.code), reason=redacted(outcome.reason))
