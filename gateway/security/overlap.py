"""Secrets that were replaced and are still accepted at the door for a while.

A provider goes on signing with the old secret until it has been told the new one, and what it has under way for longer.
What was replaced is only ever used to verify; whatever the gateway sends or signs itself uses the new secret at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import Database, Row, execute, fetch_all
from gateway.db.tables.columns import new_id
from gateway.security.vault import Vault

LONGEST = timedelta(days=30)
"""How long a replaced secret may stay valid. One that leaked is better ended at once."""
AFTER_INSTALL = timedelta(hours=1)
"""How long the old secrets stay valid when an install has replaced them."""
NOTED_EVERY = timedelta(minutes=1)


def context(id: UUID) -> str:
    """What binds retired secrets to their row."""
    return f"retired:{id}"


async def retire(
    connection: AsyncConnection,
    vault: Vault,
    endpoint: UUID,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    until: datetime,
    now: datetime,
) -> bool:
    """Keep those of the secrets `before` that are others in `after`, in the transaction that replaces them. Whether
    there were any."""
    replaced = {name: value for name, value in before.items() if value and after.get(name) != value}
    if not replaced or until <= now:
        return False
    id = new_id()
    await execute(
        connection,
        """INSERT INTO retired_secret (id, endpoint_id, fields, secrets, created_at, valid_until)
           VALUES (:id, :endpoint, :fields, :secrets, :now, :until)""",
        id=id,
        endpoint=endpoint,
        fields=sorted(replaced),
        secrets=vault.seal(replaced, context(id)),
        now=now,
        until=until,
    )
    return True


async def end(connection: AsyncConnection, endpoint: UUID, until: datetime | None, now: datetime) -> None:
    """Let everything that this App or connection has retired be valid until then, or not any more."""
    if until is None or until <= now:
        await execute(connection, "DELETE FROM retired_secret WHERE endpoint_id = :endpoint", endpoint=endpoint)
    else:
        await execute(
            connection,
            "UPDATE retired_secret SET valid_until = :until WHERE endpoint_id = :endpoint AND valid_until > :now",
            endpoint=endpoint,
            until=until,
            now=now,
        )


async def retired(connection: AsyncConnection, endpoints: Sequence[UUID], now: datetime) -> list[Row]:
    """What is still valid of these Apps and connections, the newest first."""
    return await fetch_all(
        connection,
        """SELECT id, endpoint_id, fields, secrets, created_at, valid_until, last_used_at FROM retired_secret
           WHERE endpoint_id = ANY(:ids) AND valid_until > :now ORDER BY id DESC""",
        ids=list(endpoints),
        now=now,
    )


async def note_use(database: Database, id: UUID, now: datetime) -> None:
    """Write down that a request was signed with this one, at most once a minute."""
    async with database.read() as connection:
        await execute(
            connection,
            """UPDATE retired_secret SET last_used_at = :now
               WHERE id = :id AND (last_used_at IS NULL OR last_used_at < :before)""",
            id=id,
            now=now,
            before=now - NOTED_EVERY,
        )


async def drop_ended(database: Database, now: datetime) -> None:
    """Part of the housekeeping: remove what is not valid any more."""
    async with database.write() as connection:
        await execute(connection, "DELETE FROM retired_secret WHERE valid_until <= :now", now=now)
