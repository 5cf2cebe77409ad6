"""What a connection remembers of single reviews and responses, in its state document: one value each, so that processes
can change different ones at the same time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Literal

from gateway_schemas.plugin import StateStore

Kind = Literal["slot", "ours", "pending"]
"""`slot`: what a person was shown before a response replaces it, by review; `ours`: the words of a response of ours;
`pending`: a response that is not known to be shown yet."""

MOST = 100
"""Of each kind; older ones are forgotten. The document has 64 KiB."""


class Memory:
    """Remembers by kind and id."""

    def __init__(self, state: StateStore) -> None:
        self._state = state

    async def all(self, kind: Kind) -> dict[str, dict[str, Any]]:
        """What is remembered of a kind, by id, oldest first."""
        document = await self._state.load()
        found = [
            (key.removeprefix(f"{kind}/"), value)
            for key, value in document.items()
            if key.startswith(f"{kind}/") and isinstance(value, dict)
        ]
        return dict(sorted(found, key=lambda pair: str(pair[1].get("at"))))

    async def get(self, kind: Kind, id: str) -> dict[str, Any]:
        """What is remembered of one; empty when nothing is."""
        found = (await self._state.load()).get(f"{kind}/{id}")
        return found if isinstance(found, dict) else {}

    async def put(self, kind: Kind, id: str, at: str, **value: str) -> None:
        """Remember something since `at`, and forget the oldest above the limit."""
        known = await self.all(kind)
        known.pop(id, None)
        excess = list(known)[: max(0, len(known) + 1 - MOST)]
        changes: dict[str, Any] = {f"{kind}/{old}": None for old in excess}
        await self._state.merge({**changes, f"{kind}/{id}": {"at": at, **value}})

    async def drop(self, kind: Kind, ids: Iterable[str]) -> None:
        """Forget some."""
        if changes := {f"{kind}/{id}": None for id in ids}:
            await self._state.merge(changes)


def digest(text: str) -> str:
    """What tells one text from another, white space aside."""
    return hashlib.sha256(" ".join(text.split()).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def same_words(one: str, other: str) -> bool:
    """Whether two texts differ in white space at most."""
    return one.split() == other.split()
