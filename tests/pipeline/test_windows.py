"""What came in just before a message: counted and sampled by the database as if each message were looked at alone."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from gateway.db.database import execute, insert_rows
from gateway.db.tables.columns import new_id
from gateway.policy.facts import SAMPLES, WEEKS, hour_of, load_facts
from gateway.runtime import Runtime
from gateway_schemas.decision import WindowFacts
from gateway_schemas.policy import Needs
from support.gateway import Gateway

START = datetime(2026, 3, 4, 12, tzinfo=UTC)
SPAN = timedelta(minutes=30)


async def connected(runtime: Runtime, name: str) -> UUID:
    config = {"signing_secrets": ["whsec_" + "c2VjcmV0" * 4]}
    return await Gateway(runtime).add_connection("source", "inbound", config, name=name)


async def heard(runtime: Runtime, connection_id: UUID, at: datetime, text: str, **more: Any) -> dict[str, Any]:
    """A stored message."""
    id, account = new_id(), new_id()
    async with runtime.database.write() as connection:
        customer = {"id": account, "name": text, "created_at": at}
        await insert_rows(connection, "customer", [customer])
        person = {"scope": "s", "external_id": str(id), "customer_id": account, "provider": "inbound", "handle": text}
        await insert_rows(connection, "account", [{"id": account, **person, "created_at": at, "updated_at": at}])
        row = {
            "id": id,
            "scope": "s",
            "external_id": str(id),
            "connection_id": connection_id,
            "account_id": account,
            "kind": "post",
            "visibility": "public",
            "direction": "inbound",
            "addressed": True,
            "text": text,
            "revision": "1",
            "revisions": 1,
            "data": {"text": text},
            "origin": "webhook",
            "published_at": at,
            "version_at": at,
            "created_at": at,
            **more,
        }
        await insert_rows(connection, "interaction", [row])
    return row


@pytest.mark.parametrize("seed", range(3))
async def test_counts_samples_and_what_is_usual_are_those_of_each_message_alone(runtime: Runtime, seed: int) -> None:
    chance = random.Random(seed)
    mine = [await connected(runtime, f"mine {number}") for number in range(2)]
    other = await connected(runtime, "another brand's")
    async with runtime.database.write() as connection:
        brand = new_id()
        await insert_rows(
            connection, "brand", [{"id": brand, "name": "Another", "timezone": "UTC", "created_at": START}]
        )
        await execute(connection, "UPDATE connection SET brand_id = :brand WHERE id = :id", brand=brand, id=other)
    rows = []
    for number in range(120):
        # whole minutes, so that many share one, and some stand exactly at the ends of a window
        at = START + timedelta(minutes=chance.randrange(90))
        if chance.random() < 0.2:
            at -= chance.randrange(1, WEEKS + 2) * timedelta(days=7)
        more: dict[str, Any] = {"deleted_at": START} if chance.random() < 0.1 else {}
        if chance.random() < 0.1:
            more["direction"] = "outbound"
        where = chance.choice([*mine, *mine, other])
        rows.append(await heard(runtime, where, at, f"text {number}", **more))
    asked = sorted({START + timedelta(minutes=chance.randrange(100)) for _ in range(20)})
    async with runtime.database.read() as connection:
        facts = await load_facts(
            connection,
            Needs(window=SPAN),
            tickets=[],
            places=[(whose, "inbound", at) for at in [*asked, asked[0]] for whose in (None, brand)],
            now=START,
        )
    assert len(facts.windows) == 2 * len(asked)
    for at, (whose, connections) in itertools.product(asked, ((None, mine), (brand, [other]))):
        ours = [row for row in rows if row["connection_id"] in connections and row["direction"] == "inbound"]
        # what was deleted is no news, and was as much as usual at the time
        standing = sorted(
            (row for row in ours if "deleted_at" not in row), key=lambda row: (row["published_at"], row["id"])
        )
        before = [row for row in standing if at - SPAN <= row["published_at"] < at]
        until = [hour_of(at) + timedelta(hours=1) - back * timedelta(days=7) for back in range(1, WEEKS + 1)]
        then = [row for row in ours for end in until if end - SPAN <= row["published_at"] < end]
        found = facts.windows[whose, "inbound", at]
        assert found.count == len(before)
        assert list(found.texts) == [row["text"] for row in before[-SAMPLES:]]
        assert found.expected == pytest.approx(len(then) / WEEKS)
        assert found.span == SPAN


async def test_a_window_does_not_depend_on_what_else_is_in_the_batch(runtime: Runtime) -> None:
    """One message that comes days late, and fresh ones, some of whose windows overlap."""
    mine = await connected(runtime, "mine")
    days_ago = START - timedelta(days=10)
    for number in range(25):
        await heard(runtime, mine, days_ago + timedelta(minutes=number), f"old {number}")
        await heard(runtime, mine, START + timedelta(minutes=2 * number), f"new {number}")
    moments = [days_ago + timedelta(minutes=8), *(START + timedelta(minutes=number) for number in (3, 4, 33, 34, 90))]

    async def windows(asked: list[datetime]) -> dict[datetime, WindowFacts]:
        places = [(None, "inbound", at) for at in asked]
        async with runtime.database.read() as connection:
            facts = await load_facts(connection, Needs(window=SPAN), tickets=[], places=places, now=START)
        return {at: found for (_, _, at), found in facts.windows.items()}

    together = await windows(moments)
    assert (together[moments[0]].count, together[moments[-1]].count) == (8, 0)
    for at in moments:
        assert await windows([at]) == {at: together[at]}


async def test_a_source_that_nobody_is_connected_to_has_an_empty_window(runtime: Runtime) -> None:
    async with runtime.database.read() as connection:
        facts = await load_facts(
            connection, Needs(window=SPAN), tickets=[], places=[(None, "inbound", START)], now=START
        )
    found = facts.windows[None, "inbound", START]
    assert (found.count, found.expected, found.texts) == (0, 0.0, ())
