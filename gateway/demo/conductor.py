"""Plays dated steps on the shared clock: in their order, each after those it depends on, as many at once as may be.

The clock jumps from step to step. Three rules keep it honest. A step begins only when those before it in its own
conversation have had their effect, and before the next one there is due. The clock runs ahead of the oldest unfinished
step by no more than `slack`. And it never jumps while the gateway is in the middle of something that has a deadline of
minutes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from gateway_schemas.time import SharedTime

SMALL = timedelta(seconds=30)
"""Time may pass this much at once whatever is under way."""


class NotSeen(Exception):
    """What a step should have brought about did not show in time. The message says what."""


@dataclass(eq=False)
class Step:
    """One thing that somebody does, and the wait for what comes of it."""

    at: datetime
    play: Callable[[], Awaitable[None]]
    after: tuple[Step, ...] = ()
    before: datetime | None = None
    """What it brings about is dated by the clock, which does not pass this while it is unfinished."""
    done: bool = False
    failure: str | None = None


@dataclass
class Conductor:
    """Plays steps. `pace` are virtual seconds per real second, None for as fast as it goes."""

    clock: SharedTime
    may_jump: Callable[[], Awaitable[bool]]
    """Asked before more than half a minute passes at once."""
    at_once: int = 8
    slack: timedelta = timedelta(hours=6)
    pace: float | None = None
    on_done: Callable[[int], None] = lambda count: None
    finished: int = 0
    _running: dict[asyncio.Task[None], Step] = field(default_factory=dict)

    async def play(self, steps: Sequence[Step]) -> None:
        """Play them all. A step that fails keeps its reason, and those that depend on it are not played."""
        pending = sorted(steps, key=lambda step: step.at)
        self._began = asyncio.get_running_loop().time()
        self._first = pending[0].at if pending else self.clock.now()
        try:
            while pending or self._running:
                step = self._next(pending)
                if step is None:
                    await self._settle_one()
                    continue
                pending.remove(step)
                broken = next((one for one in step.after if one.failure), None)
                if broken is not None:
                    step.done, step.failure = True, f"not played: {broken.failure}"
                    continue
                await self._reach(step.at)
                self._running[asyncio.create_task(self._play(step))] = step
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    def _next(self, pending: Sequence[Step]) -> Step | None:
        """The earliest step that may begin now."""
        if not pending or len(self._running) >= self.at_once:
            return None
        unfinished = [*pending, *self._running.values()]
        latest = min(step.at for step in unfinished) + self.slack
        latest = min([latest, *(step.before for step in unfinished if step.before is not None)])
        for step in pending:
            if step.at > latest:
                return None
            if all(one.done for one in step.after):
                return step
        return None

    async def _settle_one(self) -> None:
        done, _ = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            del self._running[task]
            task.result()

    async def _play(self, step: Step) -> None:
        try:
            await step.play()
        except NotSeen as error:
            step.failure = str(error)
        step.done = True
        self.finished += 1
        self.on_done(self.finished)

    async def _reach(self, at: datetime) -> None:
        """Bring the clock to `at`, when it may be brought there."""
        if self.pace is not None:
            due = self._began + (at - self._first).total_seconds() / self.pace
            await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
        while at - self.clock.now() > SMALL and not await self.may_jump():
            await asyncio.sleep(0.005)
        self.clock.jump(at)
