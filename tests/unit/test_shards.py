"""A shard is the same whether Python or PostgreSQL computes it."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.db.database import fetch_all
from gateway.db.tables.columns import new_id
from gateway.engine.shards import SHARD_SQL, SHARDS, shard_of
from gateway.runtime import Runtime

ASK = f"SELECT id, {SHARD_SQL.format('id')} AS shard FROM unnest(CAST(:ids AS uuid[])) AS id"


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.uuids(), min_size=1, max_size=200))
@example([UUID(int=0), UUID(int=2**128 - 1), *(UUID(int=number) for number in range(256))])
async def test_python_and_postgresql_agree(runtime: Runtime, ids: list[UUID]) -> None:
    async with runtime.database.read() as connection:
        rows = await fetch_all(connection, ASK, ids=ids)
    assert [(row["id"], row["shard"]) for row in rows] == [(id, shard_of(id)) for id in ids]


def test_every_shard_is_one_that_a_drain_exists_for() -> None:
    assert {shard_of(UUID(int=number)) for number in range(256)} == set(range(SHARDS))


def test_identifiers_made_one_after_the_other_are_spread_over_all_shards() -> None:
    """They begin with the time, so that an index likes them; what spreads them is at their end."""
    counted = Counter(shard_of(new_id()) for _ in range(8000))
    assert all(800 < counted[shard] < 1200 for shard in range(SHARDS))
