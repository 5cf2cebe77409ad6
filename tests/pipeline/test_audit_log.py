"""The audit log: nothing in it can be changed, cut or put in unnoticed, and writing it holds nobody up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine
from sqlalchemy.exc import IntegrityError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import Database, execute, fetch_all
from gateway.db.tables import AuditEntry
from gateway.db.tables.columns import new_id
from gateway.db.watch import WATCHED, Watched, watch
from gateway.security.audit import AuditLog, Origin, attribute, note, note_all
from gateway.security.audit.entries import COLUMNS, Entry, Head, content_digest
from gateway.security.audit.log import REDACTED, entries_about, read_head
from gateway.security.audit.verify import Verification, parse_heads, verify
from gateway.security.vault import Vault
from support.gateway import fresh_database
from support.postgres import server_url  # noqa: F401  a fixture

NOW = datetime(2026, 11, 30, 9, 0, 0, 123456, tzinfo=UTC)
ANN = Origin("change_brand", "key", "k1", "Ann's key", "abcdefgh", "192.0.2.7", "4bf92f3577b34da6a3ce929d0e0e4736")


def vault_of(key: bytes) -> Vault:
    """A vault with the first root key of an installation."""
    vault = Vault(key)
    vault.learn({1: vault.new_root(1)})
    return vault


@dataclass
class Logged:
    """A database with a log in it."""

    database: Database
    vault: Vault
    log: AuditLog

    async def brand(self, name: str, origin: Origin = ANN, *, fails: bool = False) -> Any:
        """Make a brand, on record; its id."""
        id = new_id()
        async with self.log.on_record(origin).write() as connection:
            await execute(
                connection,
                "INSERT INTO brand (id, name, timezone, created_at) VALUES (:id, :name, 'UTC', :now)",
                id=id,
                name=name,
                now=NOW,
            )
            if fails:
                raise ZeroDivisionError
        return id

    async def verify(self, *heads: Head) -> Verification:
        """Check the log."""
        async with self.database.read() as connection:
            return await verify(connection, self.vault, heads)

    async def head(self) -> Head:
        """Its head."""
        async with self.database.read() as connection:
            return await read_head(connection)

    async def entries(self) -> list[Entry]:
        """All entries."""
        async with self.database.read() as connection:
            return [
                Entry.of(row) for row in await fetch_all(connection, f"SELECT {COLUMNS} FROM audit_entry ORDER BY seq")
            ]

    async def tamper(self, sql: str, **values: Any) -> int:
        """What somebody with all rights over the database can do."""
        async with self.database.write() as connection:
            return await tampered(connection, sql, **values)


async def tampered(connection: AsyncConnection, sql: str, **values: Any) -> int:
    """Change the log, with its triggers off: the table's owner may do that."""
    await execute(connection, "ALTER TABLE audit_entry DISABLE TRIGGER USER")
    touched = await execute(connection, sql, **values)
    await execute(connection, "ALTER TABLE audit_entry ENABLE TRIGGER USER")
    return touched


@pytest.fixture(scope="module")
async def shared(server_url: str) -> AsyncIterator[Logged]:  # noqa: F811
    """A log of some entries that tests leave as it is."""
    async with fresh_database(server_url) as url:
        logged = await open_log(url)
        for number in range(8):
            await logged.brand(f"brand {number}")
        yield logged
        await logged.database.close()


@pytest.fixture(scope="module")
async def emptied(server_url: str) -> AsyncIterator[Logged]:  # noqa: F811
    """A log whose tests begin it anew."""
    async with fresh_database(server_url) as url:
        logged = await open_log(url)
        yield logged
        await logged.database.close()


@pytest.fixture
async def logged(emptied: Logged) -> Logged:
    """An empty log."""
    await emptied.tamper("TRUNCATE audit_entry, brand CASCADE")
    return replace(emptied)


async def open_log(url: str) -> Logged:
    """The log in this database."""
    database, vault = Database(url), vault_of(b"k" * 32)
    return Logged(database, vault, AuditLog(database, vault, lambda: NOW))


CHANGES = {
    "seq": "seq + 100",
    "at": "at + interval '1 microsecond'",
    "actor_kind": "'agent'",
    "actor_id": "CASE WHEN actor_id IS NULL THEN '' END",
    "actor_name": "actor_name || ' '",
    "key_prefix": "CASE WHEN key_prefix IS NULL THEN '' END",
    "address": "CASE WHEN address IS NULL THEN '' END",
    "trace_id": "CASE WHEN trace_id IS NULL THEN '' END",
    "action": "upper(action)",
    "things": "array_append(things, 'brand:x')",
    "rows": "rows + 1",
    "changes": "CAST(CAST(changes AS text) || ' ' AS json)",
    "salt": "reverse(salt)",
    "content_digest": "set_byte(content_digest, 31, get_byte(content_digest, 31) # 1)",
    "key_version": "key_version + 1",
    "previous": "set_byte(previous, 0, get_byte(previous, 0) # 1)",
    "digest": "set_byte(digest, 0, get_byte(digest, 0) # 1)",
}
"""For each column the smallest change there is."""


def test_there_is_a_change_for_each_column() -> None:
    assert CHANGES.keys() == set(AuditEntry.__table__.columns.keys())  # type: ignore[attr-defined]


@pytest.mark.parametrize("column", CHANGES)
async def test_any_single_changed_column_of_any_row_is_detected(shared: Logged, column: str) -> None:
    untouched = await shared.verify()
    assert (untouched.ok, untouched.entries) == (True, 8)
    for seq in range(1, 9):
        async with shared.database.engine.connect() as connection:
            transaction = await connection.begin()
            touched = await tampered(
                connection, f"UPDATE audit_entry SET {column} = {CHANGES[column]} WHERE seq = :seq", seq=seq
            )
            assert touched == 1
            told = await verify(connection, shared.vault)
            await transaction.rollback()
        assert not told.ok, f"{column} of entry {seq}"
        assert {one.seq for one in told.troubles} & {seq, seq + 1, seq + 100}, told.troubles
    assert (await shared.verify()).ok


@dataclass
class Tampering:
    """What was done to a log, and what its check must say."""

    sql: str
    told: str


@pytest.mark.parametrize(
    "done",
    [
        Tampering("DELETE FROM audit_entry WHERE seq = 5", "entries 5 to 5 are missing"),
        Tampering("DELETE FROM audit_entry WHERE seq = 1", "entries 1 to 1 are missing"),
        Tampering("DELETE FROM audit_entry WHERE seq > 7", "it was published and is gone: the log ends at 7"),
        Tampering("DELETE FROM audit_entry", "it was published and is gone: the log ends at 0"),
        Tampering(
            # the gap closed up
            """WITH gone AS (DELETE FROM audit_entry WHERE seq = 5) UPDATE audit_entry SET seq = seq - 20 WHERE seq > 5;
               UPDATE audit_entry SET seq = seq + 19 WHERE seq < 0""",
            "it does not continue the entry before it",
        ),
        Tampering(
            """UPDATE audit_entry SET seq = CASE seq WHEN 4 THEN -5 ELSE -4 END WHERE seq IN (4, 5);
               UPDATE audit_entry SET seq = -seq WHERE seq < 0""",
            "it was changed",
        ),
        Tampering(
            """INSERT INTO audit_entry SELECT 9, at, actor_kind, actor_id, 'Bob', key_prefix, address, trace_id,
                   action, things, rows, changes, salt, content_digest, key_version, digest, digest
               FROM audit_entry WHERE seq = 8""",
            "it was changed, or not written by this installation",
        ),
        Tampering("UPDATE audit_entry SET changes = NULL, salt = NULL WHERE seq = 3", "and no entry tells of it"),
        Tampering("UPDATE audit_entry SET changes = NULL WHERE seq = 3", "its changes or its salt are missing"),
    ],
    ids=lambda done: done.told[:25],
)
async def test_what_is_taken_out_put_in_or_moved_is_detected(shared: Logged, done: Tampering) -> None:
    head = await shared.head()
    async with shared.database.engine.connect() as connection:
        transaction = await connection.begin()
        for statement in done.sql.split(";\n"):
            await tampered(connection, statement)
        told = await verify(connection, shared.vault, [head])
        await transaction.rollback()
    assert done.told in " ".join(one.what for one in told.troubles), told.troubles
    assert (await shared.verify(head)).ok


async def test_a_log_written_anew_without_the_key_is_detected(shared: Logged) -> None:
    """Somebody who knows all but the key changes an entry and makes all digests after it anew."""
    forged = b"g" * 32
    async with shared.database.engine.connect() as connection:
        transaction = await connection.begin()
        previous = None
        for row in await fetch_all(connection, f"SELECT {COLUMNS} FROM audit_entry WHERE seq >= 6 ORDER BY seq"):
            entry = Entry.of(row)
            entry = replace(entry, actor_name="Bob", previous=previous or entry.previous)
            assert entry.salt is not None
            assert entry.changes is not None
            entry = replace(entry, content_digest=content_digest(forged, entry.salt, entry.changes))
            previous = entry.computed(forged)
            await tampered(
                connection,
                """UPDATE audit_entry SET actor_name = 'Bob', previous = :before, content_digest = :content,
                       digest = :digest WHERE seq = :seq""",
                seq=entry.seq,
                before=entry.previous,
                content=entry.content_digest,
                digest=previous,
            )
        told = await verify(connection, shared.vault)
        await transaction.rollback()
    assert {one.seq for one in told.troubles} == set(range(6, 9))


async def test_a_cut_tail_needs_a_head_kept_elsewhere(logged: Logged) -> None:
    for number in range(5):
        await logged.brand(f"brand {number}")
    lines = [(await logged.head()).line()]
    await logged.brand("one more")
    lines.append((await logged.head()).line())
    heads = parse_heads([*lines, ""])
    assert (await logged.verify(*heads)).ok
    await logged.tamper("DELETE FROM audit_entry WHERE seq = 6")
    assert (await logged.verify()).ok, "by itself a shorter log is a whole one"
    assert (await logged.verify(heads[0])).ok
    assert [one.seq for one in (await logged.verify(*heads)).troubles] == [6]
    await logged.brand("in its place")
    told = await logged.verify(*heads)
    assert [one.what for one in told.troubles] == ["it is not the entry whose digest was published"]
    with pytest.raises(ValueError, match="line 2: a head is one line"):
        parse_heads([lines[0], "6 abc"])


@given(data=st.data())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_whatever_one_bit_is_turned_over_it_is_detected(shared: Logged, data: st.DataObject) -> None:
    """Any bit of any digest, and any character of any text."""
    seq = data.draw(st.integers(1, 8))
    column = data.draw(
        st.sampled_from(["content_digest", "previous", "digest", "actor_name", "action", "changes", "salt"])
    )
    if column in ("content_digest", "previous", "digest"):
        bit = data.draw(st.integers(0, 255))
        change, values = f"set_bit({column}, :bit, 1 - get_bit({column}, :bit))", {"bit": bit}
    else:
        entry = next(one for one in await shared.entries() if one.seq == seq)
        found: str = getattr(entry, column)
        place = data.draw(st.integers(0, len(found) - 1))
        other = data.draw(st.sampled_from("ab 1").filter(lambda sign: sign != found[place]))
        changed = found[:place] + other + found[place + 1 :]
        change = "CAST(:text AS json)" if column == "changes" else ":text"
        values = {"text": changed}
        if column == "changes":
            try:
                json.loads(changed)
            except ValueError:
                assume(False)
    async with shared.database.engine.connect() as connection:
        transaction = await connection.begin()
        await tampered(connection, f"UPDATE audit_entry SET {column} = {change} WHERE seq = :seq", seq=seq, **values)
        told = await verify(connection, shared.vault)
        await transaction.rollback()
    assert not told.ok


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE audit_entry SET actor_name = 'Bob'",
        "DELETE FROM audit_entry",
        "TRUNCATE audit_entry",
        "UPDATE audit_entry SET changes = NULL, salt = NULL, actor_name = 'Bob'",
    ],
)
async def test_the_database_itself_refuses_to_change_it(shared: Logged, sql: str) -> None:
    with pytest.raises(ProgrammingError, match=r"audit_entry is append-only: (UPDATE|DELETE|TRUNCATE) is refused"):
        async with shared.database.write() as connection:
            await execute(connection, sql)


async def test_a_change_and_its_entry_stand_or_fall_together(logged: Logged) -> None:
    await logged.brand("same")
    with pytest.raises(ZeroDivisionError):
        await logged.brand("other", fails=True)
    with pytest.raises(IntegrityError):
        await logged.brand("same")
    async with logged.database.write() as connection:
        await note(connection, "thing", 1, {}, {"state": "nobody's, and not on record"})
        await execute(connection, "UPDATE brand SET timezone = 'Europe/Rome'")
        assert await logged.log.seal(connection) == 0
    async with logged.log.on_record(ANN).write() as connection:
        await execute(connection, "UPDATE brand SET timezone = 'Europe/Rome'")  # as it is already
    [entry] = await logged.entries()
    assert (entry.seq, entry.action, entry.actor_name, entry.address) == (1, "change_brand", "Ann's key", "192.0.2.7")


async def test_many_at_once_all_get_in_without_a_gap(logged: Logged) -> None:
    await asyncio.gather(*(logged.brand(f"brand {number}") for number in range(20)))
    told = await logged.verify()
    assert (told.ok, told.entries) == (True, 20), told.troubles
    assert len({one.things[0] for one in await logged.entries()}) == 20


async def test_two_changes_of_one_thing_follow_each_other(logged: Logged) -> None:
    id = await logged.brand("one")

    async def rename(name: str) -> None:
        async with logged.log.on_record(replace(ANN, actor_name=name)).write() as connection:
            await execute(connection, "UPDATE brand SET name = :name WHERE id = :id", name=name, id=id)
            await asyncio.sleep(0.02)

    await asyncio.gather(rename("two"), rename("three"))
    _, first, second = [json.loads(one.changes or "")[0] for one in await logged.entries()]
    assert first["before"] == {"name": "one"}
    assert second["before"] == first["after"], "who came second saw what the first had made"
    assert (await logged.verify()).ok


async def test_who_writes_an_entry_holds_up_nobody_but_other_writers_of_entries(logged: Logged) -> None:
    async with logged.log.on_record(ANN).write() as connection:
        await execute(
            connection,
            "INSERT INTO brand (id, name, timezone, created_at) VALUES (:id, 'a', 'UTC', :now)",
            id=new_id(),
            now=NOW,
        )
        await logged.log.seal(connection)  # holds the lock from here to its commit
        async with logged.database.write() as other:
            # the pipeline's transactions: not on record
            await execute(other, "SET LOCAL lock_timeout = '2s'")
            await execute(
                other,
                "INSERT INTO brand (id, name, timezone, created_at) VALUES (:id, 'b', 'UTC', :now)",
                id=new_id(),
                now=NOW,
            )
            assert await logged.log.seal(other) == 0
        waiting = asyncio.create_task(logged.brand("c"))
        await asyncio.sleep(0.1)
        assert not waiting.done()
    await waiting
    assert (await logged.verify()).entries == 2


async def test_what_two_people_did_in_one_transaction_is_told_apart(logged: Logged) -> None:
    bob = Origin("approve_reply", "agent", "desk:7", "Bob")
    async with logged.database.write() as connection:
        await attribute(connection, ANN)
        await note(connection, "reply", 1, {"state": "held"}, {"state": "cancelled"})
        await attribute(connection, bob)
        await note(connection, "reply", 2, {"state": "held"}, {"state": "received"})
        await attribute(connection, None)
        await note(connection, "reply", 3, {"state": "queued"}, {"state": "sent"})
        assert await logged.log.seal(connection) == 2
    assert [(one.actor_name, one.things) for one in await logged.entries()] == [
        ("Ann's key", ["reply:1"]),
        ("Bob", ["reply:2"]),
    ]
    assert (await logged.verify()).ok


async def test_a_thing_is_told_of_once_from_first_to_last(logged: Logged) -> None:
    id, gone = new_id(), new_id()
    insert = "INSERT INTO brand (id, name, timezone, created_at) VALUES (:id, :name, 'UTC', :now)"
    async with logged.log.on_record(ANN).write() as connection:
        await execute(connection, insert, id=id, name="first", now=NOW)
        await execute(connection, insert, id=gone, name="gone", now=NOW)
        await execute(connection, "UPDATE brand SET name = 'second' WHERE id = :id", id=id)
        await execute(connection, "DELETE FROM brand WHERE id = :id", id=gone)
    async with logged.log.on_record(ANN).write() as connection:
        await execute(connection, "UPDATE brand SET name = 'third', timezone = 'Europe/Rome' WHERE id = :id", id=id)
        await execute(connection, "UPDATE brand SET name = 'second' WHERE id = :id", id=id)
    async with logged.log.on_record(ANN).write() as connection:
        await execute(connection, "UPDATE brand SET name = 'last' WHERE id = :id", id=id)
        await execute(connection, "DELETE FROM brand WHERE id = :id", id=id)
    made, changed, deleted = [json.loads(one.changes or "") for one in await logged.entries()]
    assert [(one["before"], one["after"]["name"]) for one in made] == [(None, "second")]
    assert [(one["before"], one["after"]) for one in changed] == [({"timezone": "UTC"}, {"timezone": "Europe/Rome"})]
    assert [(one["before"]["name"], one["after"]) for one in deleted] == [("second", None)]


async def test_of_very_many_changes_all_are_named_and_the_first_thousand_told(logged: Logged) -> None:
    async with logged.log.on_record(ANN).write() as connection:
        await note_all(connection, "delivery", range(2500), {"state": "failed"}, {"state": "pending"})
    [entry] = await logged.entries()
    assert (entry.rows, len(entry.things), len(json.loads(entry.changes or ""))) == (2500, 2500, 1000)
    assert (await logged.verify()).ok


async def test_erasing_takes_the_changes_and_leaves_the_chain(logged: Logged) -> None:
    ids = [await logged.brand(name) for name in ("Rita Rossi", "b", "c")]
    head = await logged.head()
    async with logged.database.write() as connection:
        numbers = await entries_about(connection, [f"brand:{ids[0]}"])
        assert numbers == [1]
        assert (
            await logged.log.redact_entries(connection, [*numbers, 99], replace(ANN, actor_name="DPO"), "erasure 7")
            == 1
        )
    whole = "".join(str(one) for one in await logged.entries())
    assert "Rita" not in whole
    first, *_, last = await logged.entries()
    assert (first.changes, first.salt, first.actor_name, first.things) == (None, None, "Ann's key", [f"brand:{ids[0]}"])
    assert (last.action, last.actor_name, last.things) == (REDACTED, "DPO", ["audit_entry:1"])
    told = await logged.verify(head)
    assert (told.ok, told.redacted) == (True, 1), told.troubles
    async with logged.database.write() as connection:
        again = [1, last.seq]
        assert await logged.log.redact_entries(connection, again, ANN, "once more") == 0, "nor does a redaction go away"
    await logged.tamper(f"UPDATE audit_entry SET changes = NULL, salt = NULL WHERE seq = {last.seq}")
    assert not (await logged.verify()).ok


async def test_very_many_are_erased_at_once(logged: Logged) -> None:
    async with logged.database.write() as connection:
        await execute(
            connection,
            """INSERT INTO audit_pending (transaction, origin, kind, thing, before, after)
               SELECT pg_current_xact_id()::text::bigint, replace(:origin, 'NUMBER', n::text), 'reply', n::text,
                   '{"text": "a"}', '{"text": "b"}' FROM generate_series(1, 1010) AS n""",
            origin=replace(ANN, trace_id="NUMBER").text(),
        )
        assert await logged.log.seal(connection) == 1010
        assert await logged.log.redact_entries(connection, range(1, 1011), ANN, "erasure 8") == 1010
        await attribute(connection, ANN)
        await note(connection, "reply", 1, {}, {"state": "after it"})
        await logged.log.seal(connection)
    told = await logged.verify()
    assert (told.ok, told.redacted, told.entries) == (True, 1010, 1013), told.troubles[:3]


async def test_the_chain_goes_on_over_a_new_key(logged: Logged) -> None:
    vault = vault_of(b"k" * 32)
    logged.vault, logged.log = vault, AuditLog(logged.database, vault, lambda: NOW)
    await logged.brand("before")
    vault.learn({2: vault.new_root(2)})
    await logged.brand("after")
    assert [one.key_version for one in await logged.entries()] == [1, 2]
    assert (await logged.verify()).ok
    await logged.tamper("UPDATE audit_entry SET key_version = 7 WHERE seq = 1")
    assert "made under root key 7" in (await logged.verify()).troubles[0].what
    logged.vault = vault_of(b"x" * 32)
    assert not (await logged.verify()).ok, "another installation's key"


async def test_an_entry_of_another_history_is_detected(logged: Logged) -> None:
    """After a restore the same installation has written other entries under the same numbers, with its own key."""
    for name in ("a", "b"):
        await logged.brand(name)
    await logged.tamper("CREATE TABLE IF NOT EXISTS kept AS SELECT * FROM audit_entry WHERE seq = 2")
    await logged.tamper("DELETE FROM audit_entry WHERE seq = 2")
    for name in ("c", "d"):
        await logged.brand(name)
    assert (await logged.verify()).ok
    await logged.tamper("DELETE FROM audit_entry WHERE seq = 2")
    await logged.tamper("INSERT INTO audit_entry SELECT * FROM kept")
    await logged.tamper(
        "UPDATE audit_entry SET previous = (SELECT digest FROM audit_entry WHERE seq = 2) WHERE seq = 3"
    )
    assert [one.seq for one in (await logged.verify()).troubles] == [3]


async def test_tables_are_watched_as_the_code_says(logged: Logged) -> None:
    """A newer version may watch another table, or show less of one; nothing else is touched."""

    def install(watched: Sequence[Watched]) -> list[str]:
        engine = create_engine(logged.database.url)
        with engine.connect() as connection:
            changed = watch(connection, watched)
        engine.dispose()
        return changed

    assert await asyncio.to_thread(install, WATCHED) == [], "the migration has done it"
    id = await logged.brand("Acme")
    assert await asyncio.to_thread(install, [Watched("brand", hidden=("timezone",))]) == ["brand"]
    async with logged.log.on_record(ANN).write() as connection:
        await execute(connection, "UPDATE brand SET timezone = 'Europe/Rome' WHERE id = :id", id=id)
    assert await asyncio.to_thread(install, WATCHED) == ["brand"]
    whole = (await logged.entries())[-1].changes or ""
    assert ("timezone" in whole, "Rome" in whole) == (True, False)
