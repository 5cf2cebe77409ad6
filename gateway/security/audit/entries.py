"""What an entry is, and how it is hashed.

    content digest = HMAC(key, "content" · salt · changes)
    digest         = HMAC(key, "entry" · everything but changes, salt and the digest itself, as canonical JSON)

`previous` is part of the entry, so each digest stands for all entries up to it. The changes are hashed apart, under a
salt of their own, so that they can be taken away without breaking the chain: what is left of them then is a number that
nobody can try guesses on, since the salt is gone too.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from gateway.db.database import Row
from gateway.security.audit.changes import canonical
from gateway.security.vault import Vault

PURPOSE = "audit"
BEGINNING = bytes(32)
"""What stands in the first entry for the digest before it."""

COLUMNS = """seq, at, actor_kind, actor_id, actor_name, key_prefix, address, trace_id, action, things, rows,
    CAST(changes AS text) AS changes, salt, content_digest, key_version, previous, digest"""
"""Of `audit_entry`, as `Entry.of` reads them: the changes as the text that was hashed."""


def audit_key(vault: Vault, version: int) -> bytes:
    """The key of the chain, from this version of the installation's secret key. Raises VaultError."""
    return vault.derive(PURPOSE, version)


@dataclass(frozen=True)
class Entry:
    """One entry, as it is stored."""

    seq: int
    at: datetime
    actor_kind: str
    actor_id: str | None
    actor_name: str
    key_prefix: str | None
    address: str | None
    trace_id: str | None
    action: str
    things: list[str]
    rows: int
    changes: str | None
    salt: str | None
    content_digest: bytes
    key_version: int
    previous: bytes
    digest: bytes

    @classmethod
    def of(cls, row: Row) -> Entry:
        """From a row of `COLUMNS`."""
        return cls(**{**row, **{name: bytes(row[name]) for name in ("content_digest", "previous", "digest")}})

    def computed(self, key: bytes) -> bytes:
        """The digest that the entry must have."""
        hashed: list[Any] = [
            self.seq,
            self.at.astimezone(UTC).isoformat(timespec="microseconds"),
            self.actor_kind,
            self.actor_id,
            self.actor_name,
            self.key_prefix,
            self.address,
            self.trace_id,
            self.action,
            self.things,
            self.rows,
            self.content_digest.hex(),
            self.key_version,
            self.previous.hex(),
        ]
        return hmac.new(key, b"entry\0" + canonical(hashed), hashlib.sha256).digest()


def content_digest(key: bytes, salt: str, changes: str) -> bytes:
    """The digest of an entry's changes, as their text is stored."""
    return hmac.new(key, b"content\0" + salt.encode() + b"\0" + changes.encode(), hashlib.sha256).digest()


@dataclass(frozen=True)
class Head:
    """How far the log goes. Kept elsewhere, it proves later that nothing up to there was changed or cut off."""

    seq: int
    digest: bytes
    at: datetime | None

    def line(self) -> str:
        """In one line: number, digest, and the time of the entry."""
        at = self.at.astimezone(UTC).isoformat(timespec="microseconds") if self.at is not None else "-"
        return f"{self.seq} {self.digest.hex()} {at}"

    @classmethod
    def parse(cls, line: str) -> Head:
        """As `line` wrote it. Raises ValueError."""
        parts = line.split()
        if len(parts) != 3 or not parts[0].isdecimal() or len(parts[1]) != 64:
            raise ValueError("a head is one line: number, digest in 64 hexadecimal digits, time")
        at = None if parts[2] == "-" else datetime.fromisoformat(parts[2])
        return cls(int(parts[0]), bytes.fromhex(parts[1]), at)


NOTHING = Head(0, BEGINNING, None)
"""The head of an empty log."""
