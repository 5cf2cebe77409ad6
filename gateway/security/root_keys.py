"""The root keys of an installation, of which `Vault.derive` makes keys for keyed hashes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import Database, execute, fetch_all, fetch_one
from gateway.security.master_keys import ForeignKey
from gateway.security.vault import Vault


async def refuse_foreign(database: Database, vault: Vault) -> None:
    """Called at every start, before anything is changed: read the root keys, of a schema that may be older or not
    there yet. Raises ForeignKey where one of them opens with none of this process's keys."""
    async with database.read() as connection:
        there = await fetch_one(connection, "SELECT to_regclass('data_key') IS NOT NULL AS there")
        if there is not None and there["there"]:
            await _learn_all(connection, vault)


async def ensure_root_key(database: Database, vault: Vault, now: datetime) -> None:
    """Called at every start: make the first root key of an installation, and learn all there are.

    Raises ForeignKey as `refuse_foreign` does, also where a process with another key was faster.
    """
    async with database.write() as connection:
        if not await _learn_all(connection, vault):
            await insert_root(connection, vault, 1, now)
            await _learn_all(connection, vault)


async def learn(connection: AsyncConnection, vault: Vault) -> int:
    """Read the root keys into the vault; the newest version there is, 0 for none.

    Also called where a version is met that is not known: another process may have made it since.
    """
    return max(await _read(connection, vault), default=0)


async def insert_root(connection: AsyncConnection, vault: Vault, version: int, now: datetime) -> None:
    """Make a root key of this version, unless another process was faster."""
    await execute(
        connection,
        """INSERT INTO data_key (version, sealed, created_at) VALUES (:version, :sealed, :now)
           ON CONFLICT (version) DO NOTHING""",
        version=version,
        sealed=vault.new_root(version),
        now=now,
    )


async def _learn_all(connection: AsyncConnection, vault: Vault) -> int:
    """How many root keys there are. Raises ForeignKey unless the vault knows all of them."""
    found = await _read(connection, vault)
    for version, sealed in found.items():
        if not vault.knows(version):
            raise ForeignKey(
                f"The database holds root key {version}, sealed under the secret key {vault.key_of(sealed)}, and this "
                f"process has {', '.join(one.hex() for one in vault.key_ids)} (ids, not the keys). Nothing was "
                "changed. Give it the installation's own key in GATEWAY_SECRET_KEY, or in a file that "
                "GATEWAY_SECRET_KEY_FILE names (without either it is read from secret.key in GATEWAY_DATA_DIR); while "
                "a key is being replaced, both, separated by a comma. If another installation was meant, name its "
                "database in GATEWAY_DATABASE_URL"
            )
    return len(found)


async def _read(connection: AsyncConnection, vault: Vault) -> Mapping[int, bytes]:
    rows = await fetch_all(connection, "SELECT version, sealed FROM data_key ORDER BY version")
    found = {int(row["version"]): bytes(row["sealed"]) for row in rows}
    vault.learn(found)
    return found
