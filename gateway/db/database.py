"""The connection to PostgreSQL: short reads, and one write transaction per station."""

from __future__ import annotations

import contextlib
import select
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import psycopg
from psycopg.conninfo import make_conninfo
from pydantic_core import to_json
from sqlalchemy import event, make_url, text
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from gateway_schemas.base import Model

Row = Mapping[str, Any]
"""One row of a statement, by column name."""


class Database:
    """One engine per process. Nothing else opens connections, but the wake-ups' own."""

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self.url = make_url(url).set(drivername="postgresql+psycopg")
        self.engine: AsyncEngine = create_async_engine(
            self.url,
            pool_size=pool_size,
            max_overflow=pool_size,
            hide_parameters=True,  # errors are logged, and values are what customers wrote
            connect_args={"application_name": "helpdesk-gateway", "options": "-c timezone=UTC"},
        )
        event.listen(self.engine.sync_engine, "checkout", self._look)

    @property
    def conninfo(self) -> str:
        """The same address as libpq reads it, for libraries that speak to it directly."""
        # not the URL: SQLAlchemy writes a space in a password as it is, and one in an option as a plus sign
        _, options = self.engine.dialect.create_connect_args(self.url)
        return make_conninfo(**{name: str(value) for name, value in options.items() if isinstance(value, str | int)})

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection whose statements stand alone."""
        async with self.engine.connect() as connection:
            yield await connection.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """One transaction: committed at the end, rolled back by any error. No network call belongs in here."""
        async with self.engine.begin() as connection:
            yield connection

    def _look(self, dbapi: Any, _record: Any, _proxy: Any) -> None:
        """Called for each connection that leaves the pool: one that the server has closed is replaced by a new one.

        A connection at rest has nothing to read, but perhaps its end: only then is it asked, which costs a round trip
        that asking always (`pool_pre_ping`) would cost every statement.
        """
        connection = dbapi.driver_connection
        if not connection.closed:
            waiting = select.poll()
            waiting.register(connection.fileno(), select.POLLIN)
            if not waiting.poll(0):
                return
            with contextlib.suppress(psycopg.Error):
                self.engine.dialect.do_ping(dbapi)
                return
        raise DisconnectionError("the server has closed the connection")

    async def close(self) -> None:
        """Close the pool."""
        await self.engine.dispose()


def as_json(value: Any) -> str:
    """JSON text of models, UUIDs, times and plain values, for a jsonb parameter."""
    # JSON has no NaN, and PostgreSQL refuses one
    return to_json(value, fallback=_plain, inf_nan_mode="null").decode("utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, Model):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} is no JSON value")


async def fetch_all(connection: AsyncConnection, sql: str, /, **values: Any) -> list[Row]:
    """Rows of a statement, by column name."""
    return cast("list[Row]", list((await connection.execute(text(sql), values)).mappings().all()))


async def fetch_one(connection: AsyncConnection, sql: str, /, **values: Any) -> Row | None:
    """The first row of a statement, or None."""
    return cast("Row | None", (await connection.execute(text(sql), values)).mappings().first())


async def execute(connection: AsyncConnection, sql: str, /, **values: Any) -> int:
    """Run a statement; how many rows it touched."""
    return int((await connection.execute(text(sql), values)).rowcount)


async def execute_rows(
    connection: AsyncConnection, sql: str, rows: Sequence[Mapping[str, Any]], /, **values: Any
) -> int:
    """Run a statement over rows that travel as one JSON document, `:rows`; how many rows it touched.

    Without rows there is nothing to do, and no round trip.
    """
    return await execute(connection, sql, rows=as_json(rows), **values) if rows else 0


async def insert_rows(
    connection: AsyncConnection, table: str, rows: Iterable[Mapping[str, Any]], *, tail: str = ""
) -> list[Row]:
    """Insert many rows in one statement. `tail` is what follows the rows: ON CONFLICT, RETURNING.

    The rows travel as one JSON document that PostgreSQL types by the table itself, so a batch of 500 costs one round
    trip and one parse. All rows name the same columns; bytea columns do not travel this way.
    """
    rows = list(rows)
    if not rows:
        return []
    columns = ", ".join(f'"{name}"' for name in rows[0])
    statement = (
        f'INSERT INTO "{table}" ({columns}) SELECT {columns} '
        f'FROM jsonb_populate_recordset(NULL::"{table}", CAST(:rows AS jsonb)) {tail}'
    )
    result = await connection.execute(text(statement), {"rows": as_json(rows)})
    return cast("list[Row]", list(result.mappings().all())) if result.returns_rows else []


def is_data_error(error: DBAPIError) -> bool:
    """Whether the database refused the values rather than the moment: only then does splitting a batch help.

    SQLSTATE classes 22 (data exception) and 23 (integrity constraint).
    """
    state = getattr(error.orig, "sqlstate", None) or ""
    return state[:2] in ("22", "23")
