"""The machine that a schedule runs on: a clock that stands still until it is moved, and dice that a seed has loaded.

Everything of a schedule lives in one event loop: workers, door, twins. The loop knows when nothing in it can go on by
itself any more, because every task waits for the schedule's word or for the clock. That moment is where the schedule
chooses what happens next, so the same choices give the same run.

What is replaced is the machine's own (its monotonic clock, its random identifiers), as a hypervisor could do it; no
line of the product is touched. `take_over` is called once, before anything of the product is imported.
"""

from __future__ import annotations

import asyncio
import os
import random
import selectors
import time
import uuid
from collections.abc import Callable
from contextvars import Context, ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any

import uuid_utils.compat

EPOCH = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
"""When every schedule begins: a Monday morning."""
BEGIN = 10_000.0
"""What the monotonic clock says then."""

OWNER: ContextVar[Any] = ContextVar("torture_owner", default=None)
"""The worker on whose behalf the running code runs."""

_real_monotonic = time.monotonic


class Clock:
    """Virtual time: seconds since the schedule began, and dice for identifiers."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.moved: list[Callable[[], None]] = []
        self.dice = random.Random(0)
        self._ids = 0

    def now(self) -> datetime:
        """Virtual wall-clock time."""
        return EPOCH + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        """Virtual monotonic time."""
        return BEGIN + self.seconds

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.seconds += seconds
        for tell in self.moved:
            tell()

    def begin(self, seed: int) -> None:
        """Start anew for a schedule."""
        self.seconds = 0.0
        self._ids = 0
        self.dice = random.Random(f"dice {seed}")
        random.seed(f"random {seed}")

    async def sleep(self, seconds: float) -> None:
        """Return after so much virtual time: with this and `now` it is a TimeSource."""
        await asyncio.sleep(max(0.0, seconds))

    def uuid7(self, *_: Any, **__: Any) -> uuid.UUID:
        """A time-ordered identifier with loaded dice; in order also within a millisecond."""
        self._ids += 1
        milliseconds = int(self.now().timestamp() * 1000)
        value = (milliseconds << 80) | (7 << 76) | ((self._ids & 0xFFF) << 64) | (2 << 62) | self.dice.getrandbits(62)
        return uuid.UUID(int=value)

    def uuid4(self) -> uuid.UUID:
        """A random identifier with loaded dice."""
        return uuid.UUID(int=self.dice.getrandbits(128), version=4)


CLOCK = Clock()


def take_over() -> None:
    """Give this process the virtual clock and the loaded dice. There is no way back: the process is the machine."""
    time.monotonic = CLOCK.monotonic
    uuid.uuid4 = CLOCK.uuid4
    uuid_utils.compat.uuid7 = CLOCK.uuid7
    if os.environ.get("PYTHONHASHSEED") != "0":
        raise RuntimeError("the order of sets is part of a schedule: start with PYTHONHASHSEED=0")


class Stuck(Exception):
    """Nothing can go on: no task is ready, no timer set, no answer under way."""


class _Selector(selectors.DefaultSelector):  # type: ignore[misc,valid-type]
    """Asks the loop, where it would wait, whether there is anything real to wait for."""

    loop: Loop

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        if found or timeout == 0:
            return found
        began = _real_monotonic()
        while self.loop.busy:
            found = super().select(0.05)
            if found:
                return found
            if _real_monotonic() - began > 120:
                raise Stuck(f"no answer from the database or a thread for two minutes: {self.loop.busy}")
        if self.loop.on_the_wire:
            # loopback delivers at once, but not always within this very instant
            found = super().select(0.002)
            if found:
                return found
            self.loop.on_the_wire = False
        if timeout is None and not self.loop.awaited:
            # nothing but a late word of the kernel can help; on a busy machine it may be that late
            found = super().select(10.0)
            if found:
                return found
        self.loop.idle(timeout)
        return []


class Loop(asyncio.SelectorEventLoop):
    """An event loop on virtual time that tells when it is idle."""

    def __init__(self) -> None:
        selector = _Selector()
        selector.loop = self
        self._waiting_fds: set[Any] = set()
        self._threads = 0
        self._idle: asyncio.Future[None] | None = None
        self.on_the_wire = False
        """Whether something was sent since the loop was idle last."""
        super().__init__(selector)
        self.set_task_factory(_tracked)

    def time(self) -> float:
        """Virtual."""
        return CLOCK.monotonic()

    @property
    def busy(self) -> bool:
        """Whether the database (its driver asks the loop to watch its socket) or a thread owes an answer."""
        return bool(self._waiting_fds) or self._threads > 0

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> None:
        self._waiting_fds.add(("r", fd))
        super().add_reader(fd, callback, *args)

    def remove_reader(self, fd: Any) -> bool:
        self._waiting_fds.discard(("r", fd))
        return super().remove_reader(fd)

    def add_writer(self, fd: Any, callback: Any, *args: Any) -> None:
        self._waiting_fds.add(("w", fd))
        super().add_writer(fd, callback, *args)

    def remove_writer(self, fd: Any) -> bool:
        self._waiting_fds.discard(("w", fd))
        return super().remove_writer(fd)

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        future = super().run_in_executor(executor, func, *args)
        self._threads += 1

        def back(_: Any) -> None:
            self._threads -= 1

        future.add_done_callback(back)
        return future

    @property
    def awaited(self) -> bool:
        """Whether the schedule waits for its turn."""
        return self._idle is not None and not self._idle.done()

    def idle(self, timeout: float | None) -> None:
        """Called by the selector when nothing can go on: the schedule has the word, else the clock goes on."""
        waiting, self._idle = self._idle, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)
        elif timeout is not None:
            CLOCK.advance(max(timeout, 1e-6))
        else:
            raise Stuck("nothing is under way, nobody sets a timer")

    async def until_idle(self) -> None:
        """Return when nothing else in this loop can go on by itself."""
        self._idle = self.create_future()
        await self._idle


def _tracked(loop: Any, coroutine: Any, context: Context | None = None) -> asyncio.Task[Any]:
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, context=context)
    owner = context.get(OWNER) if context is not None else OWNER.get()
    if owner is not None:
        owner.tasks.add(task)
        task.add_done_callback(owner.tasks.discard)
    return task


def run(main: Callable[[], Any]) -> Any:
    """Run a coroutine function on a loop of this kind."""
    loop = Loop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(main())
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        asyncio.set_event_loop(None)
        loop.close()
