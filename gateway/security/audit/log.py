"""Writing the audit log: in the transaction of the change, as its last act, one entry after the other."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import Database, Row, as_json, execute, fetch_all, fetch_one
from gateway.security.audit.changes import MOST, Change, canonical, fold
from gateway.security.audit.entries import BEGINNING, NOTHING, Entry, Head, audit_key, content_digest
from gateway.security.audit.origin import Origin
from gateway.security.vault import Vault

LOCK = 7_226_513_412
"""Advisory lock: entries follow one another. It is taken last in a transaction, so whoever holds it waits for nobody
and commits at once."""
REDACTED = "redact_audit_entries"
"""The action of entries that tell of others whose changes were taken away."""

PENDING = """
DELETE FROM audit_pending WHERE transaction = pg_current_xact_id()::text::bigint
RETURNING number, origin, kind, thing, before, after
"""

INSERT = """
INSERT INTO audit_entry (seq, at, actor_kind, actor_id, actor_name, key_prefix, address, trace_id, action, things,
    rows, changes, salt, content_digest, key_version, previous, digest)
VALUES (:seq, :at, :actor_kind, :actor_id, :actor_name, :key_prefix, :address, :trace_id, :action, :things,
    :rows, CAST(:changes AS json), :salt, :content_digest, :key_version, :previous, :digest)
"""


async def attribute(connection: AsyncConnection, origin: Origin | None) -> None:
    """From here on, changes of this transaction are this origin's; None: nobody's, they are not on record.

    Who attributes changes calls `AuditLog.seal` before the commit.
    """
    await execute(
        connection,
        "SELECT set_config('gateway.audit', :origin, true)",
        origin=origin.text() if origin is not None else "",
    )


async def note(
    connection: AsyncConnection,
    kind: str,
    id: object,
    before: dict[str, Any],
    after: dict[str, Any],
) -> None:
    """Put something on record that no watched row shows, such as what was done at a provider.

    Says nothing in a transaction that is not on record. Values are shown as they are: no secrets, no customers' words.
    """
    await note_all(connection, kind, [id], before, after)


async def note_all(
    connection: AsyncConnection, kind: str, ids: Sequence[object], before: dict[str, Any], after: dict[str, Any]
) -> None:
    """As `note`, for many things to which the same was done."""
    await execute(
        connection,
        """INSERT INTO audit_pending (transaction, origin, kind, thing, before, after)
           SELECT pg_current_xact_id()::text::bigint, current_setting('gateway.audit', true), :kind, t.thing,
               CAST(:before AS jsonb), CAST(:after AS jsonb)
           FROM unnest(CAST(:things AS text[])) WITH ORDINALITY AS t (thing, place)
           WHERE current_setting('gateway.audit', true) <> '' ORDER BY t.place""",
        kind=kind,
        things=[str(id) for id in ids],
        before=as_json(before),
        after=as_json(after),
    )


class AuditedDatabase(Database):
    """The database to somebody whose changes are on record: each write transaction of theirs ends with its entry."""

    def __init__(self, database: Database, log: AuditLog, origin: Origin) -> None:
        self.url = database.url
        self.engine = database.engine
        self._log = log
        self._origin = origin

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """One transaction, committed together with the entry that tells of it; without a change there is none."""
        async with self.engine.begin() as connection:
            await attribute(connection, self._origin)
            yield connection
            await self._log.seal(connection)


class AuditLog:
    """The audit log of one installation."""

    def __init__(self, database: Database, vault: Vault, now: Callable[[], datetime]) -> None:
        self._database = database
        self._vault = vault
        self._now = now

    def on_record(self, origin: Origin) -> AuditedDatabase:
        """The database for what this origin does."""
        return AuditedDatabase(self._database, self, origin)

    async def seal(self, connection: AsyncConnection) -> int:
        """Make entries of what was attributed in this transaction, as its last act. Returns how many it made."""
        rows = sorted(await fetch_all(connection, PENDING), key=lambda row: int(row["number"]))
        by_origin: dict[str, list[Row]] = {}
        for row in rows:
            by_origin.setdefault(row["origin"], []).append(row)
        found = [(Origin.of(origin), fold(rows)) for origin, rows in by_origin.items()]
        told = [(origin, changes) for origin, changes in found if changes]
        if not told:
            return 0
        await execute(connection, "SELECT pg_advisory_xact_lock(:lock)", lock=LOCK)
        head = await read_head(connection)
        version = self._vault.version
        key = audit_key(self._vault, version)
        now = self._now()
        entries: list[Entry] = []
        for origin, changes in told:
            entry = _entry(head, origin, changes, key, version, now)
            entries.append(entry)
            head = Head(entry.seq, entry.digest, entry.at)
        await connection.execute(text(INSERT), [vars(entry) for entry in entries])
        return len(entries)

    async def redact_entries(
        self, connection: AsyncConnection, numbers: Sequence[int], origin: Origin, reason: str
    ) -> int:
        """Take the changes out of these entries, in the caller's transaction, and put on record that it was done.

        What is left of them says who did what to which thing, and the chain still proves that. Called for the erasure
        of a person whose data may stand in them. Entries that tell of a redaction are passed over. Returns how many
        were redacted. Takes the log's lock: nothing else may come after it in the transaction.
        """
        origin = replace(origin, action=REDACTED)
        await execute(connection, "SELECT pg_advisory_xact_lock(:lock)", lock=LOCK)
        rows = await fetch_all(
            connection,
            """UPDATE audit_entry SET changes = NULL, salt = NULL
               WHERE seq = ANY(:numbers) AND changes IS NOT NULL AND action <> :redacted RETURNING seq""",
            numbers=list(numbers),
            redacted=REDACTED,
        )
        gone = sorted(row["seq"] for row in rows)
        before = await fetch_one(connection, "SELECT current_setting('gateway.audit', true) AS origin")
        for start in range(0, len(gone), MOST):
            await attribute(connection, origin)
            told = {"changes": None, "reason": reason}
            await note_all(connection, "audit_entry", gone[start : start + MOST], {"changes": "there"}, told)
            await self.seal(connection)
        found = before["origin"] if before is not None else None
        await attribute(connection, Origin.of(found) if found else None)
        return len(gone)


async def read_head(connection: AsyncConnection) -> Head:
    """The newest entry's number, digest and time."""
    row = await fetch_one(connection, "SELECT seq, digest, at FROM audit_entry ORDER BY seq DESC LIMIT 1")
    return Head(row["seq"], bytes(row["digest"]), row["at"]) if row is not None else NOTHING


async def entries_about(connection: AsyncConnection, things: Sequence[str]) -> list[int]:
    """Numbers of the entries about any of these things (`kind:id`), for `AuditLog.redact_entries`."""
    rows = await fetch_all(
        connection,
        "SELECT seq FROM audit_entry WHERE things && CAST(:things AS text[]) AND changes IS NOT NULL ORDER BY seq",
        things=list(things),
    )
    return [row["seq"] for row in rows]


def _entry(head: Head, origin: Origin, changes: Sequence[Change], key: bytes, version: int, now: datetime) -> Entry:
    told = canonical([one.shown(key) for one in changes[:MOST]]).decode()
    salt = secrets.token_hex(16)
    entry = Entry(
        seq=head.seq + 1,
        at=now,
        actor_kind=origin.actor_kind,
        actor_id=origin.actor_id,
        actor_name=origin.actor_name,
        key_prefix=origin.key_prefix,
        address=origin.address,
        trace_id=origin.trace_id,
        action=origin.action,
        things=[one.thing for one in changes],
        rows=len(changes),
        changes=told,
        salt=salt,
        content_digest=content_digest(key, salt, told),
        key_version=version,
        previous=head.digest if head.seq else BEGINNING,
        digest=b"",
    )
    return replace(entry, digest=entry.computed(key))
