"""A customer's data as one JSON document, a table after the other, so that the largest never stands in memory whole."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import Database, Row, as_json, fetch_all
from gateway.privacy.erase import UnknownCustomer, used
from gateway.privacy.registry import ITEMS, REGISTRY, REPLIES

PAGE = 500
NOT_THEIRS = {
    "tombstone",  # found by ids that the other tables name already
    "wanted",
    "backtest",
    "budget",
    "reply_group",
    "push",  # the same words once more, on their way to the helpdesk
}
FILES = f"""SELECT id, owner, owner_id, name, media_type, size, sha256, state, created_at FROM attachment
    WHERE owner_id IN {ITEMS} OR owner_id IN {REPLIES}"""
DELIVERIES = f"""SELECT id, received_at, origin, body FROM delivery
    WHERE body <> '' AND id IN (SELECT delivery_id FROM revision WHERE interaction_id IN {ITEMS})"""
INTERNAL = ("shard", "epoch", "bands", "key", "mark", "doubt", "change_key", "deadline_at")


async def export_customer(database: Database, customer_id: UUID, now: datetime) -> AsyncIterator[str]:
    """The document in pieces. Raises UnknownCustomer before the first.

    Everything is read in one snapshot, so that what is told of a post and of the answer to it belongs together.
    """
    async with database.engine.connect() as plain:
        connection = await plain.execution_options(isolation_level="REPEATABLE READ")
        accounts = await fetch_all(connection, "SELECT id FROM account WHERE customer_id = :id", id=customer_id)
        if not accounts:
            raise UnknownCustomer
        params = {
            "accounts": [row["id"] for row in accounts],
            "customer": customer_id,
            "ids": [],
            "texts": [],
            "until": now,
        }
        yield f'{{"customer_id": "{customer_id}", "exported_at": {as_json(now)}, "data": {{'
        first = True
        for name, statement in statements().items():
            yield f'{"" if first else ", "}"{name}": ['
            first = False
            comma = ""
            async for row in _rows(connection, statement, params):
                yield comma + as_json(_told(row))
                comma = ", "
            yield "]"
        yield "}}"


def statements() -> dict[str, str]:
    """One statement for each kind of data."""
    found: dict[str, str] = {}
    for table, entry in REGISTRY.items():
        if entry.holdings and table not in NOT_THEIRS:
            where = " OR ".join(f"({holding.where})" for holding in entry.holdings)
            found[table] = f"SELECT * FROM {table} WHERE {where}"
    return {**found, "attachment": FILES, "delivery": DELIVERIES}


async def _rows(connection: AsyncConnection, statement: str, params: dict[str, Any]) -> AsyncIterator[Row]:
    async with connection.stream(text(statement), used(statement, params)) as result:
        async for row in result.mappings():
            yield dict(row)


def _told(row: Row) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name, value in row.items():
        if name in INTERNAL or value is None:
            continue
        if isinstance(value, bytes | memoryview):
            try:
                value = bytes(value).decode("utf-8")
            except UnicodeDecodeError:
                name, value = f"{name}_base64", base64.b64encode(bytes(value)).decode("ascii")
        told[name] = value
    return told
