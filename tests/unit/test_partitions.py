"""Partitions are made ahead of time, and nothing that happens to them stops the door."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.db.database import Database, execute, fetch_all
from gateway.engine.upkeep import AHEAD, PARTITIONED, make_partitions

THURSDAY = datetime(2026, 3, 12, 10, 15, tzinfo=UTC)
WEEK = timedelta(weeks=1)

INSERT = """
INSERT INTO delivery (received_at, role, origin, stream, method, query, headers, body, note, shard, state, attempts)
VALUES (:at, 'source', 'webhook', '', 'POST', '', '', '', '{}', 0, 'pending', 0) RETURNING tableoid::regclass::text
"""
PARTITIONS = """
SELECT c.relname AS name, pg_get_expr(c.relpartbound, c.oid) AS bounds
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = CAST(:table AS regclass) ORDER BY 1
"""


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A migrated database."""
    made = Database(database_url)
    yield made
    await made.close()


async def partitions(database: Database, table: str = "delivery") -> dict[str, str]:
    """Bounds of each partition."""
    async with database.read() as connection:
        await execute(connection, "SET timezone = 'UTC'")
        return {row["name"]: row["bounds"] for row in await fetch_all(connection, PARTITIONS, table=table)}


async def receive(database: Database, at: datetime) -> str:
    """Store a delivery; the partition it went to."""
    async with database.write() as connection:
        [row] = await fetch_all(connection, INSERT, at=at)
    return str(row["tableoid"])


async def test_this_week_and_the_next_ones_are_there_for_both_tables(database: Database) -> None:
    await make_partitions(database, THURSDAY)
    for table in PARTITIONED:
        assert await partitions(database, table) == {
            f"{table}_default": "DEFAULT",
            f"{table}_p20260309": "FOR VALUES FROM ('2026-03-09 00:00:00+00') TO ('2026-03-16 00:00:00+00')",
            f"{table}_p20260316": "FOR VALUES FROM ('2026-03-16 00:00:00+00') TO ('2026-03-23 00:00:00+00')",
            f"{table}_p20260323": "FOR VALUES FROM ('2026-03-23 00:00:00+00') TO ('2026-03-30 00:00:00+00')",
        }


async def test_rows_go_where_their_time_says_and_what_has_no_place_is_kept(database: Database) -> None:
    await make_partitions(database, THURSDAY)
    sunday_night = datetime(2026, 3, 15, 23, 59, 59, 999999, tzinfo=UTC)
    assert await receive(database, datetime(2026, 3, 9, tzinfo=UTC)) == "delivery_p20260309"
    assert await receive(database, sunday_night) == "delivery_p20260309"
    assert await receive(database, sunday_night + timedelta(microseconds=1)) == "delivery_p20260316"
    assert await receive(database, datetime(2020, 3, 13, tzinfo=UTC)) == "delivery_default"
    assert await receive(database, THURSDAY + 3 * WEEK) == "delivery_default"


async def test_making_them_again_or_in_many_processes_at_once_changes_nothing(
    database: Database, database_url: str
) -> None:
    others = [Database(database_url) for _ in range(3)]
    await asyncio.gather(*(make_partitions(one, THURSDAY) for one in [database, *others]))
    before = await partitions(database)
    await make_partitions(database, THURSDAY + timedelta(hours=5))
    assert await partitions(database) == before
    assert len(before) == AHEAD + 2
    for one in others:
        await one.close()


async def test_rows_that_came_before_their_partition_stay_where_they_are_and_break_nothing(database: Database) -> None:
    """A door that was open before any worker ran, or a clock that jumped."""
    assert await receive(database, THURSDAY) == "delivery_default"
    assert await receive(database, THURSDAY + 2 * WEEK) == "delivery_default"
    await make_partitions(database, THURSDAY)
    assert set(await partitions(database)) == {"delivery_default", "delivery_p20260316"}
    assert len(await partitions(database, "attempt")) == AHEAD + 2
    assert await receive(database, THURSDAY) == "delivery_default"
    assert await receive(database, THURSDAY + WEEK) == "delivery_p20260316"
    async with database.read() as connection:
        assert len(await fetch_all(connection, "SELECT id FROM delivery")) == 4


async def test_week_after_week_there_is_no_gap_and_dropping_the_oldest_is_retention(database: Database) -> None:
    for week in range(8):
        await make_partitions(database, THURSDAY + week * WEEK)
        assert await receive(database, THURSDAY + week * WEEK) != "delivery_default"
    assert len(await partitions(database)) == 8 + AHEAD + 1
    async with database.write() as connection:
        await execute(connection, "DROP TABLE delivery_p20260309")
    async with database.read() as connection:
        rows = await fetch_all(connection, "SELECT min(received_at) AS first, count(*) AS n FROM delivery")
    assert (rows[0]["first"], rows[0]["n"]) == (THURSDAY + WEEK, 7)


async def test_a_long_query_keeps_neither_the_door_nor_upkeep_waiting(database: Database) -> None:
    """Making a partition locks its table, and every INSERT that comes later queues up behind that."""
    async with database.write() as reader:
        await fetch_all(reader, "SELECT count(*) FROM delivery")  # a backup that goes on
        making = asyncio.create_task(make_partitions(database, THURSDAY))
        longest = 0.0
        while not making.done():
            began = time.monotonic()
            await receive(database, THURSDAY)
            longest = max(longest, time.monotonic() - began)
            await asyncio.sleep(0.02)
        assert longest < 15, "the reader reads until the end"
    await make_partitions(database, THURSDAY + WEEK)  # the next hour: what is still possible
    assert "delivery_p20260316" in await partitions(database)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(0, 109_000).map(lambda days: datetime(1901, 1, 1, tzinfo=UTC) + timedelta(days, hours=days % 24)))
async def test_any_moment_has_its_partition(database: Database, at: datetime) -> None:
    await make_partitions(database, at)
    for ahead in range(AHEAD + 1):
        assert (await receive(database, at + ahead * WEEK)).startswith("delivery_p")
