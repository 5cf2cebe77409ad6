"""Replacing the master key while the gateway runs: everything sealed is sealed anew under the first of its keys.

Row by row, and only where the row is still what was read, so that nothing a running process writes meanwhile is lost.
Nothing is remembered between the batches: what is left to do can be seen on the rows themselves, and so the command may
be killed at any time and begun again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Column, and_, func, select, tuple_, update

from gateway.db.database import Database, fetch_all
from gateway.db.tables import DataKey
from gateway.registry import Registry
from gateway.runtime import open_runtime
from gateway.security.audit import at_the_command_line, note
from gateway.security.root_keys import insert_root
from gateway.security.vault import Vault, VaultError
from gateway.settings import Settings

BATCH = 100
"""Rows that share a transaction: each is locked for a few milliseconds."""
PASSES = 5
"""Passes over all tables in one run. A second one finds what other processes sealed under an older key meanwhile."""


@dataclass(frozen=True)
class SealedColumn:
    """A column that holds what the vault sealed."""

    table: str
    column: str
    context: str

    @property
    def name(self) -> str:
        """`connection.secrets`."""
        return f"{self.table}.{self.column}"

    def bound_to(self, row: Mapping[str, Any]) -> str:
        """The context of a row."""
        return self.context.format_map(row)


@dataclass
class Rotation:
    """What a run did."""

    renewed: int = 0
    """Documents sealed anew."""
    left: int = 0
    """Documents that are still sealed under another key than the first, though they open: run it again."""
    lost: list[str] = field(default_factory=list)
    """Documents that none of the keys opens: `connection.secrets id=…`. They are left as they are."""


def sealed_columns() -> list[SealedColumn]:
    """All columns that hold sealed documents, as the tables declare them."""
    return [
        SealedColumn(table.name, column.name, column.info["sealed"])
        for table in DataKey.metadata.sorted_tables
        for column in table.columns
        if "sealed" in column.info
    ]


async def rotate(
    database: Database, vault: Vault, now: datetime, progress: Callable[[str], None] = lambda _: None
) -> Rotation:
    """Seal everything under the vault's first key. Safe to run beside anything, several times and to kill."""
    rotation = Rotation()
    await _new_root(database, vault, now)
    for number in range(PASSES):
        before, rotation.left, rotation.lost = rotation.renewed, 0, []
        for one in sealed_columns():
            await _rotate_column(database, vault, one, rotation, progress)
        if rotation.renewed == before and not rotation.left:
            break
        if rotation.left:
            await asyncio.sleep(0.1 * (number + 1))
    return rotation


async def usage(database: Database) -> dict[str, dict[str, int]]:
    """How many documents of each column are sealed under which master key: its id in hex."""
    found: dict[str, dict[str, int]] = {}
    async with database.read() as connection:
        for one in sealed_columns():
            rows = await fetch_all(
                connection,
                f"""SELECT encode(substring({one.column} FROM 2 FOR 8), 'hex') AS key, count(*) AS number
                    FROM {one.table} WHERE octet_length({one.column}) > 0 GROUP BY 1""",
            )
            found[one.name] = {row["key"]: row["number"] for row in rows}
    return found


async def rotate_from_command_line(settings: Settings, progress: Callable[[str], None]) -> tuple[Rotation, str]:
    """Called by `gateway secrets rotate`: what was done, and the id of the key that everything is sealed under."""
    async with open_runtime(settings, registry=Registry()) as runtime:
        key = runtime.vault.key_ids[0].hex()
        on_record = runtime.audit.on_record(at_the_command_line("secrets_rotate"))
        async with on_record.write() as connection:
            await note(connection, "secret_key", key, {}, {"rotation": "begun"})
        done = await rotate(runtime.database, runtime.vault, runtime.now(), progress)
        async with on_record.write() as connection:
            found = {"renewed": done.renewed, "left": done.left, "lost": done.lost}
            await note(connection, "secret_key", key, {}, {"rotation": "ended", **found})
        return done, key


async def status_from_command_line(settings: Settings) -> tuple[dict[str, dict[str, int]], list[str]]:
    """Called by `gateway secrets status`: `usage`, and the ids of the keys that this process has."""
    async with open_runtime(settings, registry=Registry()) as runtime:
        return await usage(runtime.database), [one.hex() for one in runtime.vault.key_ids]


async def _new_root(database: Database, vault: Vault, now: datetime) -> None:
    """With a new master key comes a new root key: what is hashed from now on does not depend on what the old one
    guarded. Told by the newest root key's row: it is sealed under another key until the run has passed it."""
    async with database.write() as connection:
        rows = await fetch_all(
            connection, "SELECT version, sealed FROM data_key ORDER BY version DESC LIMIT 1 FOR UPDATE"
        )
        if rows and not bytes(rows[0]["sealed"]).startswith(vault.current):
            await insert_root(connection, vault, rows[0]["version"] + 1, now)


async def _rotate_column(
    database: Database, vault: Vault, one: SealedColumn, rotation: Rotation, progress: Callable[[str], None]
) -> None:
    table = DataKey.metadata.tables[one.table]
    keys: list[Column[Any]] = list(table.primary_key.columns)
    column: Column[Any] = table.columns[one.column]
    under_another = and_(column.is_not(None), func.substring(column, 1, len(vault.current)) != vault.current)
    after: tuple[Any, ...] | None = None
    renewed = 0
    while True:
        where = under_another if after is None else and_(under_another, tuple_(*keys) > tuple_(*after))
        async with database.write() as connection:
            found = (
                (await connection.execute(select(*keys, column).where(where).order_by(*keys).limit(BATCH)))
                .mappings()
                .all()
            )
            for row in found:
                sealed = bytes(row[one.column])
                try:
                    again = vault.renew(sealed, one.bound_to(dict(row)))
                except VaultError:
                    rotation.lost.append(f"{one.name} {' '.join(f'{key.name}={row[key.name]}' for key in keys)}")
                    continue
                same = and_(*(key == row[key.name] for key in keys), column == sealed)
                changed = await connection.execute(update(table).where(same).values({one.column: again}))
                # else somebody has sealed it anew meanwhile: the next pass looks at it again
                rotation.renewed += changed.rowcount
                renewed += changed.rowcount
                rotation.left += 1 - changed.rowcount
        if renewed and found:
            progress(f"{one.name}: {renewed} sealed anew")
        if len(found) < BATCH:
            return
        after = tuple(found[-1][key.name] for key in keys)


__all__ = ["Rotation", "SealedColumn", "rotate", "sealed_columns", "usage"]
