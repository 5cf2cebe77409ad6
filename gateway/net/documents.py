"""JSON documents that a provider publishes (its keys, its metadata): fetched, kept, and fetched anew when they change.

A document is fetched when it is first needed and again when the provider's Cache-Control says that it is old. Whoever
misses something in it can have it fetched before its time, but never more often than once in `FLOOR`: whoever makes up
what is missing must not make us call the provider.
"""

from __future__ import annotations

import asyncio
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import httpx2

from gateway.net.client import calling
from gateway_schemas.errors import GatewayError
from gateway_schemas.time import TimeSource

log = logging.getLogger(__name__)

FLOOR = timedelta(seconds=60)
"""At most this often is a document fetched because something is missing in it."""
RETRY = timedelta(seconds=5)
"""After a fetch that failed, none is tried for this long."""
KEEP = (timedelta(minutes=5), timedelta(hours=1), timedelta(hours=24))
"""How long a document is used without asking again: at least, where the provider does not say, and at most."""
USABLE = timedelta(hours=24)
"""For so long after that is it used while the provider cannot be reached; it may have been changed meanwhile."""
SECONDS = 5.0
"""How long one fetch may take: a request waits for it."""

_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=(\d{1,9})", re.IGNORECASE)


class DocumentUnavailable(Exception):
    """The document cannot be had now, so what depends on it can be neither believed nor refused."""


class RemoteDocument(ABC):
    """One document. A subclass says what it is called in logs, how it is read, and what stands in before it came."""

    what = "the document"

    def __init__(self, url: str, client: httpx2.AsyncClient, time: TimeSource) -> None:
        self.url = url
        self.document: Mapping[str, Any] = self.empty()
        self._client = client
        self._time = time
        self._fetched: datetime | None = None
        self._until: datetime | None = None
        self._not_before: datetime | None = None
        self._fetching: asyncio.Task[bool] | None = None

    def empty(self) -> Mapping[str, Any]:
        """What `document` is before the first fetch."""
        return {}

    @abstractmethod
    def read(self, body: bytes) -> Mapping[str, Any]:
        """Read an answer. Raises ValueError when it is none."""

    @property
    def failing(self) -> bool:
        """Whether the last fetch failed."""
        return self._not_before is not None

    async def ready(self) -> None:
        """Have a document that is young enough. Raises DocumentUnavailable."""
        now = self._time.now()
        if self._until is not None and now < self._until:
            return
        if await self._fetch():
            return
        if self._until is None or now >= self._until + USABLE:
            raise DocumentUnavailable(f"{self.what} {self.url} cannot be fetched")

    async def renew(self) -> bool:
        """Fetch it for something that it lacks. Returns whether it has been fetched since that was seen."""
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
            document = self.read(response.content)
        except (httpx2.HTTPError, GatewayError, ValueError, RecursionError, OSError) as error:
            log.warning("%s %s: not fetched: %s", self.what, self.url, str(error) or type(error).__name__)
            self._not_before = self._time.now() + RETRY
            return False
        now = self._time.now()
        self.document, self._fetched, self._until, self._not_before = document, now, now + _keep(response), None
        return True


def _keep(response: httpx2.Response) -> timedelta:
    shortest, usual, longest = KEEP
    given = _MAX_AGE.search(response.headers.get("cache-control", ""))
    return min(max(timedelta(seconds=int(given[1])), shortest), longest) if given else usual
