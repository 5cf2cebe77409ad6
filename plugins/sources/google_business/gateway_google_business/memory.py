"""What a connection remembers of single replies, in its state document: one value each, so that processes can change
different ones at the same time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from gateway_schemas.plugin import StateStore

Kind = Literal["review", "slot"]
"""`review`: a reply that Google is looking at; `slot`: what a person was shown before a reply replaces it."""

MOST = 150
"""Of each kind; older ones are forgotten. The document has 64 KiB."""


class Memory:
    """Remembers by kind and review."""

    def __init__(self, state: StateStore) -> None:
        self._state = state

    async def all(self, kind: Kind) -> dict[str, dict[str, Any]]:
        """What is remembered of a kind, by review, oldest first."""
        document = await self._state.load()
        found = [
            (key.removeprefix(f"{kind}/"), value)
            for key, value in document.items()
            if key.startswith(f"{kind}/") and isinstance(value, dict)
        ]
        return dict(sorted(found, key=lambda pair: str(pair[1].get("at"))))

    async def get(self, kind: Kind, ref: str) -> dict[str, Any]:
        """What is remembered of one review; empty when nothing is."""
        return (await self.all(kind)).get(ref, {})

    async def put(self, kind: Kind, ref: str, at: str, **value: str) -> None:
        """Remember something of a review since `at`, and forget the oldest above the limit."""
        known = await self.all(kind)
        known.pop(ref, None)
        excess = list(known)[: max(0, len(known) + 1 - MOST)]
        changes: dict[str, Any] = {f"{kind}/{old}": None for old in excess}
        await self._state.merge({**changes, f"{kind}/{ref}": {"at": at, **value}})

    async def drop(self, kind: Kind, refs: Mapping[str, Any] | list[str]) -> None:
        """Forget reviews."""
        if refs:
            await self._state.merge({f"{kind}/{ref}": None for ref in refs})
