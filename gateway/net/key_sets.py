"""Providers' public keys (JWKS documents, RFC 7517) for `verify`: fetched, kept, and fetched anew when keys change.

A signature by a key that is not in a set makes it be fetched before its time: the door is open to everybody, so no more
often than `documents.FLOOR` allows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

from gateway.net.client import Outgoing, Target
from gateway.net.documents import RemoteDocument
from gateway_schemas.time import TimeSource


class KeySet(RemoteDocument):
    """One JWKS document."""

    what = "the keys of"

    def empty(self) -> Mapping[str, Any]:
        """No keys."""
        return {"keys": []}

    def read(self, body: bytes) -> Mapping[str, Any]:
        """Read a JWKS document. Raises ValueError when it is none."""
        document = json.loads(body)
        keys = document.get("keys") if isinstance(document, dict) else None
        if not isinstance(keys, list) or not keys or not all(isinstance(key, dict) for key in keys):
            raise ValueError("the answer is no JWKS document with keys")
        return cast(Mapping[str, Any], document)


class KeyView(Mapping[str, Any]):
    """The key sets of one connection or App by name, always as last fetched."""

    def __init__(self, sets: Mapping[str, KeySet]) -> None:
        self._sets = sets

    def __getitem__(self, name: str) -> Mapping[str, Any]:
        return self._sets[name].document

    def __iter__(self) -> Iterator[str]:
        return iter(self._sets)

    def __len__(self) -> int:
        return len(self._sets)

    async def ready(self) -> None:
        """Called before `verify`. Raises DocumentUnavailable."""
        for one in self._sets.values():
            await one.ready()

    async def renew(self) -> bool:
        """Called when `verify` met a key that is in no set. Returns whether it is worth asking again."""
        return any([await one.renew() for one in self._sets.values()])


class KeySets:
    """The key sets of a process: one for each URL, shared by all connections that may reach it."""

    def __init__(self, outgoing: Outgoing, time: TimeSource) -> None:
        self._outgoing = outgoing
        self._time = time
        self._sets: dict[tuple[str, tuple[str, ...]], KeySet] = {}

    def view(self, urls: Mapping[str, str], allow_private: tuple[str, ...]) -> KeyView:
        """The sets of a plugin that needs these URLs. Nothing is fetched yet."""
        return KeyView({name: self.set(url, allow_private) for name, url in urls.items()})

    def set(self, url: str, allow_private: tuple[str, ...]) -> KeySet:
        """The set at a URL. Nothing is fetched yet."""
        key = (url, allow_private)
        if key not in self._sets:
            target = Target(budget_key=f"keys:{url}", allowed_origins=(url,), allow_private=allow_private)
            self._sets[key] = KeySet(url, self._outgoing.client(target), self._time)
        return self._sets[key]
