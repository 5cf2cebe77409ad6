"""What a person was shown before a reply takes another's place, in the state document: one value each, so that
processes can change different ones at the same time."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from gateway_schemas.plugin import StateStore

MOST = 100
"""Older ones are forgotten: the document has 64 KiB."""
_UNDER = "slot/"


class Slots:
    """Remembers by review."""

    def __init__(self, state: StateStore) -> None:
        self._state = state

    async def shown(self, ref: str, there: str, instead: str) -> bool:
        """Whether somebody was shown that `there` is in the slot and that `instead` would replace it."""
        known = (await self._all()).get(_UNDER + ref, {})
        return bool(known.get("there") == there and known.get("instead") == instead)

    async def note(self, ref: str, there: str, instead: str, at: datetime) -> None:
        """Remember that it is shown now."""
        known = await self._all()
        known.pop(_UNDER + ref, None)
        oldest = sorted(known, key=lambda key: str(known[key].get("at")))
        changes: dict[str, Any] = dict.fromkeys(oldest[: max(0, len(known) + 1 - MOST)])
        changes[_UNDER + ref] = {"at": at.isoformat(), "there": there, "instead": instead}
        await self._state.merge(changes)

    async def forget(self, ref: str) -> None:
        """The slot has been filled."""
        if _UNDER + ref in await self._all():
            await self._state.merge({_UNDER + ref: None})

    async def _all(self) -> dict[str, dict[str, Any]]:
        document = await self._state.load()
        return {key: value for key, value in document.items() if key.startswith(_UNDER) and isinstance(value, dict)}
