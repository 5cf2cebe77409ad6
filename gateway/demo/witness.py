"""Sees what happens at the twins, by their ledgers alone: what was written at the helpdesk, what came out where."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.demo.conductor import NotSeen
from gateway.demo.twins import Twin

if TYPE_CHECKING:
    from gateway_schemas.testing.twin import Effect

LOOK = 0.004

Names = Callable[["Effect"], Iterable[Hashable]]
"""By which names an effect may be waited for."""


@dataclass
class Witness:
    """Reads ledgers as they grow and files each effect under its names."""

    patience: float = 30.0
    """Real seconds to wait for one thing."""
    seen: defaultdict[Hashable, list[Effect]] = field(default_factory=lambda: defaultdict(list))
    _sources: list[tuple[Twin, Names, list[int]]] = field(default_factory=list)
    _waiting: defaultdict[Hashable, list[tuple[int, asyncio.Future[Effect]]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def watch(self, twin: Twin, names: Names) -> None:
        """Read this twin's ledger from its beginning."""
        self._sources.append((twin, names, [0]))

    def look(self) -> None:
        """File what is new."""
        for twin, names, position in self._sources:
            while position[0] < len(twin.ledger):
                effect = twin.ledger[position[0]]
                position[0] += 1
                for name in names(effect):
                    self._file(name, effect)

    def _file(self, name: Hashable, effect: Effect) -> None:
        self.seen[name].append(effect)
        waiting = self._waiting.pop(name, [])
        for count, future in waiting:
            if len(self.seen[name]) < count:
                self._waiting[name].append((count, future))
            elif not future.done():
                future.set_result(effect)

    async def until(self, name: Hashable, what: str, *, count: int = 1) -> Effect:
        """Wait until this was seen `count` times; gives the latest of them. Raises NotSeen."""
        self.look()
        if len(self.seen[name]) >= count:
            return self.seen[name][count - 1]
        future: asyncio.Future[Effect] = asyncio.get_running_loop().create_future()
        self._waiting[name].append((count, future))
        try:
            async with asyncio.timeout(self.patience):
                return await future
        except TimeoutError:
            raise NotSeen(f"{what} was not seen within {self.patience:.0f} s") from None

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Keep looking for as long as this is entered."""

        async def keep_looking() -> None:
            while True:
                self.look()
                await asyncio.sleep(LOOK)

        task = asyncio.create_task(keep_looking())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self.look()


def words(text: str) -> str:
    """A text without the differences that the way through a helpdesk makes: spaces at ends of lines, and the like."""
    return " ".join(text.split())
