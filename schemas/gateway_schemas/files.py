"""Files that travel with messages: what the host keeps of them, and how a plugin gets at the bytes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Protocol

from gateway_schemas.errors import Gone


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A file as its provider gave it. `media_type` and `name` are the provider's words, or None."""

    body: bytes
    media_type: str | None = None
    name: str | None = None


class FileStore(Protocol):
    """The host's copies of files, by the SHA-256 of their bytes."""

    async def read(self, sha256: str) -> bytes:
        """The whole file. Raises `errors.Gone` when it is not kept any more."""


class NoFiles:
    """Stands where the host keeps no copies for a plugin: nothing is there to be read."""

    async def read(self, sha256: str) -> bytes:
        """Always Gone."""
        raise Gone("no copies of files are kept here", code="no_copy")


@dataclass
class MemoryFiles:
    """Copies in memory, for tests of plugins that upload them."""

    kept: dict[str, bytes] = field(default_factory=dict)

    def keep(self, body: bytes) -> str:
        """Keep a file and return its SHA-256."""
        sha256 = hashlib.sha256(body).hexdigest()
        self.kept[sha256] = body
        return sha256

    async def read(self, sha256: str) -> bytes:
        """The whole file. Raises Gone."""
        if sha256 not in self.kept:
            raise Gone("there is no such file", code="no_copy")
        return self.kept[sha256]
