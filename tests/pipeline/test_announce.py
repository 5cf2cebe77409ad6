"""Events exist if and only if what they tell of happened."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from gateway.db.database import execute, fetch_all, insert_rows
from gateway.db.tables.columns import new_id
from gateway.events.announce import Announcement, announce, announce_many
from gateway.events.kinds import KINDS, data_model, schema_of
from gateway.runtime import Runtime


async def subscribe(runtime: Runtime, *kinds: str, **given: Any) -> UUID:
    """A subscription's row, as REST would write it."""
    id, now = new_id(), runtime.now()
    row = {
        "id": id,
        "name": str(id),
        "url": "https://hooks.example.com/in",
        "description": "",
        "kinds": list(kinds),
        "brands": [],
        "connections": [],
        "include_text": False,
        "allow_private": [],
        "state": "active",
        "failures": 0,
        "version": 1,
        "created_by": "test",
        "created_at": now,
        "updated_at": now,
        **given,
    }
    async with runtime.database.write() as connection:
        await insert_rows(connection, "subscription", [row])
    return id


async def connect(runtime: Runtime, name: str, brand: UUID | None = None) -> UUID:
    """A connection's row."""
    id = new_id()
    async with runtime.database.write() as connection:
        await execute(
            connection,
            """INSERT INTO connection (id, role, plugin, name, brand_id, config, allow_private, history, history_days,
                   sla_owner, status, paused_in, paused_out, failures, version, created_at, updated_at)
               VALUES (:id, 'source', 'x', :name, :brand, '{}', '{}', 'record', 90, 'gateway', 'active', false, false,
                   0, 1, :now, :now)""",
            id=id,
            name=name,
            brand=brand,
            now=runtime.now(),
        )
    return id


async def stored(runtime: Runtime) -> list[Any]:
    """All events."""
    async with runtime.database.read() as connection:
        return await fetch_all(connection, "SELECT * FROM event ORDER BY id")


async def deliveries(runtime: Runtime) -> list[Any]:
    """All deliveries, with what they are of."""
    async with runtime.database.read() as connection:
        return await fetch_all(
            connection,
            """SELECT d.*, e.kind, e.subject_id FROM event_delivery d JOIN event e ON e.id = d.event_id
               ORDER BY d.id""",
        )


class Undone(Exception):
    """The transaction comes to nothing."""


async def test_what_is_rolled_back_was_never_announced(runtime: Runtime) -> None:
    await subscribe(runtime, "*")
    channel = await connect(runtime, "shop")

    async def in_vain() -> None:
        async with runtime.database.write() as connection:
            await announce(connection, "connection.unhealthy", "connection", channel, {"reason": "r"}, runtime.now())
            raise Undone

    with pytest.raises(Undone):
        await in_vain()
    assert await stored(runtime) == []
    assert await deliveries(runtime) == []
    async with runtime.database.write() as connection:
        await announce(connection, "connection.unhealthy", "connection", channel, {"reason": "r"}, runtime.now())
    [event] = await stored(runtime)
    assert (event["kind"], event["subject_id"], event["connection_id"]) == ("connection.unhealthy", channel, channel)
    assert event["data"]["connection"] == "shop"
    assert event["data"]["reason"] == "r"


LISTENS = {
    ("connection.unhealthy",): True,
    ("connection.*",): True,
    ("*",): True,
    ("reply.*", "connection.recovered"): False,
    ("connection",): False,
}


async def test_kinds_and_families(runtime: Runtime) -> None:
    channel = await connect(runtime, "shop")
    for kinds, listens in LISTENS.items():
        id = await subscribe(runtime, *kinds)
        async with runtime.database.write() as connection:
            await execute(connection, "DELETE FROM event")
            await announce(connection, "connection.unhealthy", "connection", channel, {}, runtime.now())
            assert (len(await fetch_all(connection, "SELECT id FROM event_delivery")) == 1) is listens, kinds
            kept = await fetch_all(connection, "SELECT id FROM event")
            assert (len(kept) == 1) is listens, f"{kinds}: what nobody wants is not kept"
            await execute(connection, "DELETE FROM subscription WHERE id = :id", id=id)


async def test_filters_by_brand_and_connection(runtime: Runtime) -> None:
    brands = [new_id(), new_id()]
    async with runtime.database.write() as connection:
        await insert_rows(
            connection,
            "brand",
            [{"id": id, "name": str(id), "timezone": "UTC", "created_at": runtime.now()} for id in brands],
        )
    here, there = [await connect(runtime, name, brand) for name, brand in zip(("a", "b"), brands, strict=True)]
    of_brand = await subscribe(runtime, "*", brands=[str(brands[0])])
    of_channel = await subscribe(runtime, "*", connections=[str(there)])
    of_both = await subscribe(runtime, "*", brands=[str(brands[0])], connections=[str(there)])
    async with runtime.database.write() as connection:
        things = [Announcement("connection.recovered", id) for id in (here, there)]
        await announce_many(connection, things, runtime.now())
    got = [(one["subscription_id"], one["subject_id"]) for one in await deliveries(runtime)]
    assert sorted(got) == sorted([(of_brand, here), (of_channel, there)])
    assert of_both not in {one for one, _ in got}


async def test_a_disabled_one_gets_nothing_and_what_it_would_have_got_is_kept(runtime: Runtime) -> None:
    channel = await connect(runtime, "shop")

    async def happens() -> None:
        async with runtime.database.write() as connection:
            await announce(connection, "connection.recovered", "connection", channel, {}, runtime.now())

    paused = await subscribe(runtime, "*", state="paused")
    await happens()
    assert await stored(runtime) == [], f"{paused} is paused: nobody listens"
    await subscribe(runtime, "*", state="disabled")
    await happens()
    assert len(await stored(runtime)) == 1
    assert await deliveries(runtime) == []


MISTAKES: list[tuple[str, str, dict[str, object], str]] = [
    ("reply.hold", "reply", {}, "there is no kind"),
    ("reply.held", "ticket", {}, "is about a reply"),
    ("reply.held", "reply", {"finding": "x"}, "finding"),
    ("policy.activated", "policy", {}, "revision"),
]


async def test_a_mistake_is_found_though_nobody_listens(runtime: Runtime) -> None:
    async with runtime.database.read() as connection:
        for kind, subject, data, said in MISTAKES:
            with pytest.raises((ValueError, ValidationError), match=said):
                await announce(connection, kind, subject, new_id(), data, runtime.now())


def test_no_kind_names_a_field_twice() -> None:
    for kind in KINDS.values():
        assert not set(kind.news.model_fields) & set(kind.facts.model_fields), kind.name
        assert "texts" not in {*kind.news.model_fields, *kind.facts.model_fields}
        assert schema_of(kind.name)["properties"]["type"]["const"] == kind.name
        assert data_model(kind.name).model_config["extra"] == "forbid"
