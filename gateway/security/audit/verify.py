"""Checking the audit log: every entry, the chain between them, and heads that were kept elsewhere."""

from __future__ import annotations

import hmac
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import fetch_all
from gateway.security.audit.entries import COLUMNS, NOTHING, Entry, Head, audit_key, content_digest
from gateway.security.audit.log import REDACTED, read_head
from gateway.security.root_keys import learn
from gateway.security.vault import Vault, VaultError

AT_ONCE = 1000
MOST_PROBLEMS = 100
"""Of more only the number is told."""


@dataclass(frozen=True)
class Trouble:
    """What is wrong with one entry."""

    seq: int
    what: str


@dataclass
class Verification:
    """What became of a check."""

    entries: int = 0
    head: Head = NOTHING
    redacted: int = 0
    troubles: list[Trouble] = field(default_factory=list)
    more: int = 0
    """How many troubles are not listed."""

    @property
    def ok(self) -> bool:
        """Whether the log is as it was written."""
        return not self.troubles

    def summary(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "ok": self.ok,
            "entries": self.entries,
            "redacted": self.redacted,
            "head": self.head.line(),
            "troubles": [asdict(one) for one in self.troubles],
            "more": self.more,
        }

    def found(self, seq: int, what: str) -> None:
        """Take note of a trouble."""
        if len(self.troubles) < MOST_PROBLEMS:
            self.troubles.append(Trouble(seq, what))
        else:
            self.more += 1


class _Keys:
    def __init__(self, vault: Vault, connection: AsyncConnection) -> None:
        self._vault = vault
        self._connection = connection
        self._known: dict[int, bytes | None] = {}
        self._asked = False

    async def of(self, version: int) -> bytes | None:
        if version not in self._known:
            if not self._vault.knows(version) and not self._asked:
                self._asked = True
                # another process has made it since this one started; all that the log speaks of are there by now
                await learn(self._connection, self._vault)
            try:
                self._known[version] = audit_key(self._vault, version)
            except VaultError:
                self._known[version] = None
        return self._known[version]


async def verify(connection: AsyncConnection, vault: Vault, heads: Sequence[Head] = ()) -> Verification:
    """Read the whole log and check it. `heads` were published before: the log must still go through each of them.

    Without one, entries cut off at the end leave no trace. Needs about a second for each 20 000 entries.
    """
    told = Verification()
    keys = _Keys(vault, connection)
    expected = {one.seq: one for one in heads if one.seq}
    blank: set[int] = set()
    redacted: set[int] = set()
    before = NOTHING
    upto = await read_head(connection)  # entries are written meanwhile
    async for entry in _entries(connection, upto.seq):
        told.entries += 1
        _check(told, entry, before, await keys.of(entry.key_version))
        if entry.changes is None:
            blank.add(entry.seq)
        elif entry.action == REDACTED:
            redacted |= _redacted(entry.changes)
        if (published := expected.get(entry.seq)) is not None and published.digest != entry.digest:
            told.found(entry.seq, "it is not the entry whose digest was published")
        before = Head(entry.seq, entry.digest, entry.at)
    told.head = before
    told.redacted = len(blank)
    for seq in sorted(blank - redacted):
        told.found(seq, "its changes were taken away, and no entry tells of it")
    for seq in sorted(redacted - blank):
        told.found(seq, "its changes are there, though an entry tells that they were taken away")
    for one in sorted(expected.values(), key=lambda head: head.seq):
        if one.seq > before.seq:
            told.found(one.seq, f"it was published and is gone: the log ends at {before.seq}")
    return told


def _check(told: Verification, entry: Entry, before: Head, key: bytes | None) -> None:
    if entry.seq != before.seq + 1:
        told.found(entry.seq, f"the entries {before.seq + 1} to {entry.seq - 1} are missing before it")
    if not hmac.compare_digest(entry.previous, before.digest):
        told.found(entry.seq, "it does not continue the entry before it")
    if key is None:
        told.found(
            entry.seq, f"made under root key {entry.key_version}, which GATEWAY_SECRET_KEY of here does not open"
        )
        return
    if not hmac.compare_digest(entry.computed(key), entry.digest):
        told.found(entry.seq, "it was changed, or not written by this installation")
    if (entry.changes is None) != (entry.salt is None):
        told.found(entry.seq, "its changes or its salt are missing")
    elif entry.changes is not None and entry.salt is not None:
        digest = content_digest(key, entry.salt, entry.changes)
        if not hmac.compare_digest(digest, entry.content_digest):
            told.found(entry.seq, "what it says was changed was changed")


def _redacted(changes: str) -> set[int]:
    try:
        return {int(one["id"]) for one in json.loads(changes)}
    except (ValueError, TypeError, KeyError):
        return set()  # the entry's own digest tells that it was tampered with


async def _entries(connection: AsyncConnection, upto: int) -> AsyncIterator[Entry]:
    last: int | None = None
    while True:
        rows = await fetch_all(
            connection,
            f"""SELECT {COLUMNS} FROM audit_entry
                WHERE (CAST(:last AS bigint) IS NULL OR seq > :last) AND seq <= :upto ORDER BY seq LIMIT :limit""",
            last=last,
            upto=upto,
            limit=AT_ONCE,
        )
        for row in rows:
            yield Entry.of(row)
        if len(rows) < AT_ONCE:
            return
        last = rows[-1]["seq"]


def parse_heads(lines: Iterable[str]) -> list[Head]:
    """The heads in a file: one a line, as `gateway audit head` prints them. Raises ValueError, with the line."""
    heads = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                heads.append(Head.parse(line))
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from error
    return heads
