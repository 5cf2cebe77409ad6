"""Root keys: a process with another installation's secret key is refused, and one made meanwhile is learned."""

from __future__ import annotations

import asyncio
import base64
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import event

from gateway.backup import backup
from gateway.db.database import Database, execute, fetch_all
from gateway.db.migrate import migrate
from gateway.registry import Registry
from gateway.runtime import Runtime, open_runtime
from gateway.security.audit import at_the_command_line, note
from gateway.security.audit.verify import verify
from gateway.security.master_keys import ForeignKey
from gateway.security.rotation import rotate
from gateway.security.vault import Vault
from gateway.settings import Settings
from support.gateway import settings_for
from support.postgres import clone_database, drop_database
from support.processes import environment

OURS, THEIRS = (base64.b64encode(os.urandom(32)).decode() for _ in range(2))


def with_keys(database: str, folder: Path, *keys: str) -> Settings:
    """Settings of a process in development that was given these keys; without any it makes one in its folder."""
    return settings_for(database, folder, secret_key=SecretStr(",".join(keys)) if keys else None)


async def refused(settings: Settings) -> str:
    """What a process that starts with these is told, which must not start."""
    with pytest.raises(ForeignKey) as caught:
        async with open_runtime(settings, registry=Registry()):
            pass
    return str(caught.value)


async def rows(database: str) -> dict[str, list[Any]]:
    """All rows of all tables, and which these are."""
    one = Database(database)
    try:
        async with one.read() as connection:
            tables = await fetch_all(
                connection, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
            )
            return {
                row["tablename"]: await fetch_all(
                    connection, f"SELECT one::text AS row FROM {row['tablename']} AS one ORDER BY 1"
                )
                for row in tables
            }
    finally:
        await one.close()


async def add_root(database: str, version: int, key: str) -> None:
    """A root key that a process with this key has made."""
    one = Database(database)
    async with one.write() as connection:
        await execute(
            connection,
            "INSERT INTO data_key (version, sealed, created_at) VALUES (:version, :sealed, now())",
            version=version,
            sealed=Vault(base64.b64decode(key)).new_root(version),
        )
    await one.close()


async def test_a_process_with_another_key_does_not_start_and_changes_nothing(database: str, tmp_path: Path) -> None:
    async with open_runtime(with_keys(database, tmp_path, OURS), registry=Registry()) as runtime:
        id = runtime.vault.key_ids[0].hex()
    before = await rows(database)
    assert len(before["data_key"]) == 1
    for keys in ((THEIRS,), ()):
        told = await refused(with_keys(database, tmp_path / "elsewhere", *keys))
        assert id in told, "which key is needed"
        for named in ("GATEWAY_SECRET_KEY", "GATEWAY_SECRET_KEY_FILE", "secret.key", "GATEWAY_DATABASE_URL"):
            assert named in told
        assert OURS not in told
        assert THEIRS not in told
    with pytest.raises(ForeignKey):
        await asyncio.to_thread(backup, with_keys(database, tmp_path, THEIRS), tmp_path / "backup.tar")
    assert not (tmp_path / "backup.tar").exists(), "nobody could tell which key it opens with"
    assert await rows(database) == before
    async with open_runtime(with_keys(database, tmp_path, OURS), registry=Registry()) as runtime:
        assert runtime.vault.version == 1


async def test_each_root_key_needs_its_key_whichever_is_the_newest(database: str, tmp_path: Path) -> None:
    """A stranger's root key came in, or a replacement of the key is not done."""
    await add_root(database, 1, OURS)
    await add_root(database, 2, THEIRS)
    for key in (OURS, THEIRS):
        await refused(with_keys(database, tmp_path, key))
    async with open_runtime(with_keys(database, tmp_path, OURS, THEIRS), registry=Registry()) as runtime:
        assert runtime.vault.version == 2
    assert len((await rows(database))["data_key"]) == 2


async def test_a_schema_that_is_behind_stays_so(server_url: str, tmp_path: Path) -> None:
    """A newer version of the gateway, with another key, does not even migrate."""
    url = await clone_database(server_url, "template1")
    try:
        await asyncio.to_thread(migrate, url, "0016")
        await add_root(url, 1, OURS)
        before = await rows(url)
        await refused(with_keys(url, tmp_path, THEIRS))
        assert await rows(url) == before
    finally:
        await drop_database(url)


async def test_of_two_that_start_together_with_keys_of_their_own_one_is_refused(database: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        started = await asyncio.gather(
            *(
                stack.enter_async_context(open_runtime(with_keys(database, tmp_path, key), registry=Registry()))
                for key in (OURS, THEIRS)
            ),
            return_exceptions=True,
        )
    assert sorted(type(one) for one in started if isinstance(one, Exception)) == [ForeignKey]
    assert len([one for one in started if isinstance(one, Runtime)]) == 1
    assert len((await rows(database))["data_key"]) == 1


async def test_the_server_says_so_and_ends_with_2(database: str, tmp_path: Path) -> None:
    await add_root(database, 1, OURS)
    before = await rows(database)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.cli", "serve", "--port", "0"),
        env=environment(with_keys(database, tmp_path, THEIRS)),
        stderr=asyncio.subprocess.PIPE,
    )
    _, told = await process.communicate()
    assert process.returncode == 2
    assert told.decode().splitlines()[-1].startswith("The database holds root key 1")
    assert await rows(database) == before


VERSIONS = "SELECT key_version AS v FROM audit_entry ORDER BY seq"


class Asked:
    """Every statement that goes to a database from now on."""

    def __init__(self, database: Database) -> None:
        self.statements: list[str] = []
        event.listen(database.engine.sync_engine, "before_cursor_execute", self._note)

    def _note(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        self.statements.append(statement)

    def of(self, table: str) -> int:
        """How many read this table."""
        return sum(f"FROM {table} " in f"{one} " for one in self.statements)


async def test_what_another_process_made_meanwhile_is_learned_without_a_restart(database: str, tmp_path: Path) -> None:
    """One process replaces the key; the other has both, as docs/secrets.md says, and goes on working."""
    async with (
        open_runtime(with_keys(database, tmp_path, OURS, THEIRS), registry=Registry()) as old,
        open_runtime(with_keys(database, tmp_path, THEIRS, OURS), registry=Registry()) as new,
    ):
        sealed = old.vault.seal({"token": "before"}, "connection:1")
        assert (await rotate(new.database, new.vault, new.now())).lost == []
        async with open_runtime(new.settings, registry=Registry()) as newest:
            assert newest.vault.version == 2
            for number, runtime in enumerate((old, newest, old, newest)):
                async with runtime.audit.on_record(at_the_command_line("test")).write() as connection:
                    await note(connection, "brand", number, {}, {"by": number})
            anew = newest.vault.renew(sealed, "connection:1")
        assert not old.vault.knows(2)
        async with old.database.read() as connection:
            versions = [row["v"] for row in await fetch_all(connection, VERSIONS)]
            asked = Asked(old.database)
            told = await verify(connection, old.vault)
        assert versions == [1, 2, 1, 2]
        assert (told.ok, told.entries) == (True, 4), told.summary()
        assert asked.of("data_key") == 1, "it asks once"
        assert old.vault.unseal(anew, "connection:1") == {"token": "before"}
        assert old.vault.derive("audit", 2) == newest.vault.derive("audit", 2)


async def test_a_root_key_that_nobody_made_is_asked_for_once_and_told(database: str, tmp_path: Path) -> None:
    """Somebody changed the number of the key in every entry."""
    async with open_runtime(with_keys(database, tmp_path, OURS), registry=Registry()) as runtime:
        for number in range(5):
            async with runtime.audit.on_record(at_the_command_line("test")).write() as connection:
                await note(connection, "brand", number, {}, {"by": number})
        async with runtime.database.write() as connection:
            await execute(connection, "ALTER TABLE audit_entry DISABLE TRIGGER USER")
            await execute(connection, "UPDATE audit_entry SET key_version = 10 + seq")
        asked = Asked(runtime.database)
        async with runtime.database.read() as connection:
            told = await verify(connection, runtime.vault)
        assert [one.seq for one in told.troubles] == [1, 2, 3, 4, 5]
        assert asked.of("data_key") == 1
