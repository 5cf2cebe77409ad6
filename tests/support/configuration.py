"""One installation for many tests of its configuration."""

from __future__ import annotations

from gateway.db.database import execute
from gateway.db.tables.calendar import ALWAYS_ID
from gateway.runtime import Runtime

TABLES = (
    *("policy_case", "policy_activation", "policy_revision", "policy", "word_list"),
    *("subscription", "cursor", "connection", "app", "brand"),
)


async def empty(runtime: Runtime) -> None:
    """As after the first start, without policies: of what tests of configurations write."""
    async with runtime.database.write() as connection:
        for table in TABLES:
            await execute(connection, f"DELETE FROM {table}")
        await execute(connection, "DELETE FROM calendar_version WHERE calendar_id <> :always", always=ALWAYS_ID)
        await execute(connection, "DELETE FROM calendar WHERE id <> :always", always=ALWAYS_ID)
