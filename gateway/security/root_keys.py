"""The root keys of an installation, of which `Vault.derive` makes keys for keyed hashes."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import Database, execute, fetch_all
from gateway.security.vault import Vault


async def ensure_root_key(database: Database, vault: Vault, now: datetime) -> None:
    """Called at every start: make the first root key of an installation, and learn all there are.

    Where none of them opens (the key was lost, or is another installation's), one more is made, so that what has to be
    hashed from now on can be; what was hashed before cannot be checked without the key of then.
    """
    async with database.write() as connection:
        newest = await learn(connection, vault)
        if not vault.has_roots:
            await insert_root(connection, vault, newest + 1, now)
            await learn(connection, vault)


async def learn(connection: AsyncConnection, vault: Vault) -> int:
    """Read the root keys into the vault; the newest version there is, 0 for none.

    Also called where a version is met that is not known: another process may have made it since.
    """
    rows = await fetch_all(connection, "SELECT version, sealed FROM data_key ORDER BY version")
    vault.learn({row["version"]: bytes(row["sealed"]) for row in rows})
    return int(rows[-1]["version"]) if rows else 0


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
