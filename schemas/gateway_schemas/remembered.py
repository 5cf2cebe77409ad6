"""Ids that a provider gave to what we name otherwise, remembered across restarts in the state document."""

from __future__ import annotations

import json

from gateway_schemas.plugin import StateStore

STATE_BYTES = 60_000
"""What the ids may take of the state document's 64 KiB."""


class RememberedIds(dict[str, int]):
    """The provider's number by our name, newest last.

    A memory and never the truth: what is not remembered is asked for again. Call `load` before the first look, `save`
    after changes; only the entry `under` of the state document is written.
    """

    def __init__(self, state: StateStore, under: str, *, most: int = 20_000) -> None:
        super().__init__()
        self._state = state
        self._under = under
        self._most = most
        self._loaded = False

    async def load(self) -> None:
        """Read what was saved, once."""
        if self._loaded:
            return
        kept = (await self._state.load()).get(self._under)
        if isinstance(kept, dict):
            self.update({name: id for name, id in kept.items() if isinstance(id, int)})
        self._loaded = True

    async def save(self) -> None:
        """Keep the newest that fit."""
        while len(self) > self._most:
            del self[next(iter(self))]
        kept: list[tuple[str, int]] = []
        room = STATE_BYTES
        for name, id in reversed(self.items()):
            room -= len(json.dumps({name: id}))
            if room < 0:
                break
            kept.append((name, id))
        await self._state.merge({self._under: dict(reversed(kept))})
