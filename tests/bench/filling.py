"""Fills a database with tickets of the shape that a drain has just made, by set-based statements.

One stored row of each table is the model of all: what differs is named below, everything else is as it was written.
"""

from __future__ import annotations

import time

import psycopg
from psycopg import sql

SEED = """
CREATE UNLOGGED TABLE seed AS
SELECT n, p.customer_id, p.account_id, p.who, p.who = n AS first, uuidv7() AS thread_id, uuidv7() AS interaction_id,
       uuidv7() AS ticket_id, m.opened_at - (n % 31536000) * interval '1 second' AS at
FROM generate_series(0, {tickets} - 1) AS n
JOIN (SELECT who, uuidv7() AS customer_id, uuidv7() AS account_id FROM generate_series(0, {customers} - 1) AS who) p
    ON p.who = n % {customers}
CROSS JOIN (SELECT opened_at FROM ticket LIMIT 1) m
"""
PEOPLE = {"customer", "account"}
"""Tables with a row for each customer rather than for each ticket."""

TABLES: dict[str, dict[str, str]] = {
    "customer": {"id": "s.customer_id", "created_at": "s.at"},
    "account": {
        "id": "s.account_id",
        "customer_id": "s.customer_id",
        "external_id": "'seed-user-' || s.who",
        "handle": "'seed' || s.who",
        "created_at": "s.at",
    },
    "thread": {"id": "s.thread_id", "root": "'seed-' || s.n", "created_at": "s.at"},
    "ticket": {
        "id": "s.ticket_id",
        "account_id": "s.account_id",
        "customer_id": "s.customer_id",
        "external_id": "'seed-' || s.n",
        "opened_at": "s.at",
        "last_inbound_at": "s.at",
        "created_at": "s.at",
    },
    "leg": {"thread_id": "s.thread_id", "account_id": "s.account_id", "ticket_id": "s.ticket_id"},
    "interaction": {
        "id": "s.interaction_id",
        "external_id": "'seed-' || s.n",
        "account_id": "s.account_id",
        "thread_id": "s.thread_id",
        "ticket_id": "s.ticket_id",
        "published_at": "s.at",
        "version_at": "s.at",
        "created_at": "s.at",
    },
    "revision": {
        "id": "1000000000 + s.n",
        "interaction_id": "s.interaction_id",
        "at": "s.at",
        "seen_at": "s.at",
    },
    "push": {
        "id": "1000000000 + s.n",
        "key": "'seed:' || s.n",
        "ticket_id": "s.ticket_id",
        "interaction_id": "s.interaction_id",
        "state": "'done'",
        "at": "s.at",
        "created_at": "s.at",
        "done_at": "s.at",
    },
    "decision": {
        "id": "1000000000 + s.n",
        "thing_id": "s.interaction_id",
        "ticket_id": "s.ticket_id",
        "at": "s.at",
    },
    "delivery": {"id": "1000000000 + s.n", "received_at": "s.at"},
}
WAITING: dict[str, dict[str, str]] = {
    "ticket": {"external_id": "NULL", "external_url": "NULL"},
    "push": {
        **{"state": "'pending'", "due_at": "s.at", "done_at": "NULL", "tries": "0", "change_key": "NULL"},
        "payload": "m.payload || jsonb_build_object('text', 'My order ' || s.n || ' is late.')",
    },
}
"""What differs besides where the helpdesk has heard of nothing yet."""
GENERATED = {"delivery"}
"""Tables whose id the database insists on making itself, unless told otherwise."""


async def fill(url: str, tickets: int) -> tuple[int, float]:
    """Add so many tickets with all that belongs to them. Returns how many there are now, and the seconds it took."""
    began = time.perf_counter()
    await clone(url, tickets, customers=tickets)
    async with await psycopg.AsyncConnection.connect(url) as connection:
        row = await (await connection.execute("SELECT count(*) FROM ticket")).fetchone()
    assert row is not None
    return int(row[0]), time.perf_counter() - began


async def clone(url: str, tickets: int, *, customers: int, waiting: bool = False) -> None:
    """Copy the one complaint that is stored, as many times, with customers in turn; `waiting` to be pushed, or done."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("SET synchronous_commit = off")  # a crash would only cost the run
        numbers = {"tickets": sql.Literal(tickets), "customers": sql.Literal(customers)}
        await connection.execute(sql.SQL(SEED).format(**numbers))  # a definition takes no parameters
        for table, values in TABLES.items():
            await _clone_table(connection, table, {**values, **(WAITING.get(table, {}) if waiting else {})})
        await connection.execute("DROP TABLE seed")
        await connection.execute("ANALYZE")  # as autovacuum would have by then


async def _clone_table(connection: psycopg.AsyncConnection, table: str, values: dict[str, str]) -> None:
    found = await connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped", [table]
    )
    columns = [str(row[0]) for row in await found.fetchall()]
    chosen = [
        sql.SQL(values[name]) if name in values else sql.SQL("m.{}").format(sql.Identifier(name))  # type: ignore[arg-type]
        for name in columns
    ]
    await connection.execute(
        sql.SQL(
            "INSERT INTO {table} ({names}) {override} SELECT {chosen} FROM seed s, (SELECT * FROM {table} LIMIT 1) m"
            " WHERE {which} ORDER BY s.n"
        ).format(
            table=sql.Identifier(table),
            names=sql.SQL(", ").join(map(sql.Identifier, columns)),
            override=sql.SQL("OVERRIDING SYSTEM VALUE" if table in GENERATED else ""),
            chosen=sql.SQL(", ").join(chosen),
            which=sql.SQL("s.first" if table in PEOPLE else "true"),
        )
    )
