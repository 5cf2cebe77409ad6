"""Providers' public keys (JWKS documents, RFC 7517) for `verify`: fetched, kept, and fetched anew when keys change.

A set is fetched when it is first needed and again when the provider's Cache-Control says that it is old. A signature by
a key that is not in it makes it be fetched before its time, but never more often than once in `FLOOR`: the door is open
to everybody, and whoever makes up key ids must not make us call the provider.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, cast

import httpx2

from gateway.net.client import Outgoing, Target, calling
from gateway_schemas.errors import GatewayError
from gateway_schemas.time import TimeSource

log = logging.getLogger(__name__)

FLOOR = timedelta(seconds=60)
"""At most this often is a set fetched because a key is not in it."""
RETRY = timedelta(seconds=5)
"""After a fetch that failed, none is tried for this long."""
KEEP = (timedelta(minutes=5), timedelta(hours=1), timedelta(hours=24))
"""How long a set is used without asking again: at least, where the provider does not say, and at most."""
USABLE = timedelta(hours=24)
"""For so long after that is it used while the provider cannot be reached; a key may have been withdrawn meanwhile."""
SECONDS = 5.0
"""How long one fetch may take: a webhook waits for it."""

_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=(\d{1,9})", re.IGNORECASE)


class KeysUnavailable(Exception):
    """The provider's keys cannot be had now, so a request can neither be believed nor refused."""


class KeySet:
    """One JWKS document."""

    def __init__(self, url: str, client: httpx2.AsyncClient, time: TimeSource) -> None:
        self.url = url
        self.document: Mapping[str, Any] = {"keys": []}
        self._client = client
        self._time = time
        self._fetched: datetime | None = None
        self._until: datetime | None = None
        self._not_before: datetime | None = None
        self._fetching: asyncio.Task[bool] | None = None

    async def ready(self) -> None:
        """Have keys that are young enough. Raises KeysUnavailable."""
        now = self._time.now()
        if self._until is not None and now < self._until:
            return
        if await self._fetch():
            return
        if self._until is None or now >= self._until + USABLE:
            raise KeysUnavailable(f"the keys of {self.url} cannot be fetched")

    async def renew(self) -> bool:
        """Fetch the set for a key that it lacks. Returns whether it has been fetched since that was seen."""
        if self._fetching is None and self._fetched is not None and self._time.now() - self._fetched < FLOOR:
            return False
        return await self._fetch()

    async def _fetch(self) -> bool:
        """Fetch once for all who wait. Returns whether it came."""
        if self._fetching is None:
            if self._not_before is not None and self._time.now() < self._not_before:
                return False
            self._fetching = asyncio.create_task(self._fetch_once())
            self._fetching.add_done_callback(self._fetched_once)
        return await asyncio.shield(self._fetching)

    def _fetched_once(self, _: asyncio.Task[bool]) -> None:
        self._fetching = None

    async def _fetch_once(self) -> bool:
        try:
            with calling(lane="reply", seconds=SECONDS):
                response = await self._client.get(self.url)
            if response.status_code != 200:
                raise ValueError(f"answered {response.status_code}")
            document = _key_set(response.content)
        except (httpx2.HTTPError, GatewayError, ValueError, RecursionError, OSError) as error:
            log.warning("the keys of %s were not fetched: %s", self.url, str(error) or type(error).__name__)
            self._not_before = self._time.now() + RETRY
            return False
        now = self._time.now()
        self.document, self._fetched, self._until, self._not_before = document, now, now + _keep(response), None
        return True


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
        """Called before `verify`. Raises KeysUnavailable."""
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
        return KeyView({name: self._set(url, allow_private) for name, url in urls.items()})

    def _set(self, url: str, allow_private: tuple[str, ...]) -> KeySet:
        key = (url, allow_private)
        if key not in self._sets:
            target = Target(budget_key=f"keys:{url}", allowed_origins=(url,), allow_private=allow_private)
            self._sets[key] = KeySet(url, self._outgoing.client(target), self._time)
        return self._sets[key]


def _key_set(body: bytes) -> Mapping[str, Any]:
    """Read a JWKS document. Raises ValueError when it is none."""
    document = json.loads(body)
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or not keys or not all(isinstance(key, dict) for key in keys):
        raise ValueError("the answer is no JWKS document with keys")
    return cast(Mapping[str, Any], document)


def _keep(response: httpx2.Response) -> timedelta:
    shortest, usual, longest = KEEP
    given = _MAX_AGE.search(response.headers.get("cache-control", ""))
    return min(max(timedelta(seconds=int(given[1])), shortest), longest) if given else usual
