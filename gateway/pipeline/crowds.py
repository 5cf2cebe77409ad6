"""How much of a crowd a worker takes at once, so that everybody else is served in between.

Whoever delivers much in a short time stands in shards of its own. A worker takes from those in turns: it reads some,
waits until they are threaded, and goes on. What else came in meanwhile waits for one turn at most, so a turn lasts a
fraction of a second, whatever the machine, the policies and the database make of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator

AT_ONCE = 2
"""Turns at once while nobody else delivers. In company there is one."""
ALONE, IN_COMPANY = 0.3, 0.1
"""Seconds that a turn is to last while nobody else delivers, and while others do."""
COMPANY = 2.0
"""Seconds for which somebody else's delivery counts as company."""
FEWEST = 10
BEGINS_WITH = 250.0
"""Messages a second that are expected of the first turn; from then on it goes by those before."""
WAKING = 0.02
"""Seconds until threading has heard of what was read."""
GIVE_WAY = 1.0
"""Seconds that a turn waits for threading: what others thread is not the crowd's."""


class Turns:
    """The turns of one worker."""

    def __init__(self, most: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._now = monotonic
        self._places = asyncio.Semaphore(AT_ONCE)
        self._one = asyncio.Lock()
        self._pace = BEGINS_WITH
        self._others_at = float("-inf")
        self._threading = 0
        self._threaded = asyncio.Event()
        self._threaded.set()

    def others(self) -> None:
        """Somebody who is no crowd has delivered."""
        self._others_at = self._now()

    @contextlib.contextmanager
    def threading(self) -> Iterator[None]:
        """While something is threaded."""
        self._threading += 1
        self._threaded.clear()
        try:
            yield
        finally:
            self._threading -= 1
            if not self._threading:
                self._threaded.set()

    async def take(self, drain: Callable[[int], Awaitable[bool]]) -> bool:
        """Have a turn, when there is a place: `drain` is told how many messages to take, and says whether there may be
        more. Returns when they are threaded, with what it said."""
        async with self._places:
            if self._now() - self._others_at >= COMPANY:
                return await self._take(drain, ALONE)
            async with self._one:
                return await self._take(drain, IN_COMPANY)

    async def _take(self, drain: Callable[[int], Awaitable[bool]], seconds: float) -> bool:
        size = max(FEWEST, min(self._most, int(self._pace * seconds)))
        began = self._now()
        more = await drain(size)
        await asyncio.sleep(WAKING)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GIVE_WAY):
                await self._threaded.wait()
        if more:
            self._pace = (self._pace + size / max(self._now() - began, 1e-3)) / 2
        return more
