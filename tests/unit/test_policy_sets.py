"""Which policies are in force: one set at a time, named by what is in it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.db.database import Database, as_json, execute, fetch_all
from gateway.db.tables.columns import new_id
from gateway.engine.sandbox import Sandbox
from gateway.pipeline.decide import decide_reply
from gateway.policy.sets import Member, PolicySetInForce, PolicySets, digest, put_in_force
from gateway.registry import Registry
from gateway.runtime import Runtime
from gateway_schemas.interaction import ReplyTarget
from gateway_schemas.reply import Rendered
from support.plugins import MODULE, said

NOW = datetime(2026, 3, 12, 10, 15, tzinfo=UTC)


def member(policy: str = "no-coupon", **changes: Any) -> dict[str, Any]:
    """A policy revision as the REST API would put it into a set."""
    return {
        "policy": policy,
        "type": "no_coupon_for_retraction",
        "type_version": "1",
        "revision": 3,
        "params": {"words": ["voucher", "coupon"], "limit": 2},
        "mode": "on",
        "on_error": "hold",
        "scope": {"brands": ["Acme"]},
        **changes,
    }


def shuffled(value: Any, chance: random.Random) -> Any:
    """The same JSON value with the keys of objects in another order."""
    if isinstance(value, dict):
        keys = list(value)
        chance.shuffle(keys)
        return {key: shuffled(value[key], chance) for key in keys}
    return [shuffled(one, chance) for one in value] if isinstance(value, list) else value


async def rows(database: Database) -> list[Any]:
    """All sets there ever were."""
    async with database.read() as connection:
        return await fetch_all(connection, "SELECT * FROM policy_set ORDER BY created_at")


async def in_force(database: Database) -> tuple[Member, ...]:
    """The members in force, as a process sees them that has not looked before."""
    return (await PolicySets(database).in_force(NOW)).members


async def test_a_new_installation_has_the_empty_set_and_all_processes_the_same_one(runtime: Runtime) -> None:
    sets = [PolicySets(runtime.database) for _ in range(6)]
    found = await asyncio.gather(*(one.in_force(NOW) for one in sets))
    assert {one.members for one in found} == {()}
    assert len({one.id for one in found}) == 1
    assert len(await rows(runtime.database)) == 1


async def test_equal_sets_are_one_row_in_whatever_order_they_are_written(runtime: Runtime) -> None:
    members = [member("a"), member("b", params={"x": {"y": [1, 2.5, None], "z": "ü"}}), member("c")]
    ids = set()
    for seed in range(5):
        chance = random.Random(seed)
        again = shuffled(members, chance)
        chance.shuffle(again)
        ids.add(await put_in_force(runtime.database, again, NOW))
    assert len(ids) == 1
    [row] = await rows(runtime.database)
    assert row["digest"] == digest(members) == digest(row["members"]), "also as it comes back from the database"


@pytest.mark.parametrize(
    "change",
    [{"revision": 4}, {"mode": "shadow"}, {"params": {}}, {"scope": {}}, {"on_error": "allow"}, {"type_version": "2"}],
)
async def test_any_difference_is_another_set(runtime: Runtime, change: dict[str, Any]) -> None:
    first = await put_in_force(runtime.database, [member()], NOW)
    assert await put_in_force(runtime.database, [member(**change)], NOW) != first
    assert await put_in_force(runtime.database, [], NOW) != first


async def test_the_last_one_put_in_force_is_in_force_whatever_the_clocks_say(runtime: Runtime) -> None:
    database = runtime.database
    strict, mild = [member(mode="on")], [member(mode="shadow")]
    await put_in_force(database, strict, NOW)
    assert [one.mode for one in await in_force(database)] == ["on"]
    await put_in_force(database, mild, NOW)  # within the same instant, as a virtual clock that stands still tells it
    assert [one.mode for one in await in_force(database)] == ["shadow"]
    await put_in_force(database, strict, NOW - timedelta(hours=1))  # on a machine whose clock is slow
    assert [one.mode for one in await in_force(database)] == ["on"]
    await put_in_force(database, [], NOW)
    assert await in_force(database) == ()
    await put_in_force(database, strict, NOW)
    assert [one.mode for one in await in_force(database)] == ["on"]
    assert len(await rows(database)) == 3


async def test_a_process_learns_of_another_set_within_a_second_or_so(runtime: Runtime) -> None:
    sets = PolicySets(runtime.database)
    assert (await sets.in_force(NOW)).members == ()
    id = await put_in_force(runtime.database, [member()], NOW)
    await asyncio.sleep(1.05)
    assert (await sets.in_force(NOW)).id == id


@pytest.fixture(scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    """Where policies run."""
    made = Sandbox(5.0, modules=[MODULE])
    yield made
    await asyncio.to_thread(made.close)


async def verdict(runtime: Runtime, sandbox: Sandbox, brand: str | None, **changes: Any) -> tuple[str, list[str]]:
    """What a set of one policy says about an answer: how strict, and the codes it found."""
    registry = Registry.load([], modules=[MODULE])
    one = Member.from_row(member(**{"type": "wild", "params": {}, **changes}))
    target = ReplyTarget(kind="comment", ref="1")
    async with runtime.database.read() as connection:
        found, _ = await decide_reply(
            connection,
            registry,
            sandbox,
            PolicySetInForce(new_id(), (one,)),
            rendered=Rendered(text="sorry", account="brand", target=target, visibility="public", length=5),
            source="x",
            brand=brand,
            answered=said("where is my parcel?"),
            ticket={"id": new_id(), "status": "open", "priority": "normal", "tags": [], "opened_at": NOW},
            now=NOW,
        )
    return found.severity.value, [finding["code"] for finding in found.findings]


async def test_an_answer_passes_every_policy_whose_scope_covers_it(runtime: Runtime, sandbox: Sandbox) -> None:
    assert await verdict(runtime, sandbox, "Acme") == ("hold", ["wild"])
    assert await verdict(runtime, sandbox, "Other") == ("allow", [])
    assert await verdict(runtime, sandbox, "Acme", scope={"kinds": ["review"]}) == ("allow", [])
    assert await verdict(runtime, sandbox, "Acme", mode="shadow") == ("allow", ["wild"])
    assert await verdict(runtime, sandbox, "Acme", mode="off") == ("allow", [])


async def test_a_policy_that_cannot_be_asked_lets_no_answer_pass(runtime: Runtime, sandbox: Sandbox) -> None:
    assert await verdict(runtime, sandbox, "Acme", params={"do": "raise"}) == ("hold", ["policy_error"])
    assert await verdict(runtime, sandbox, "Acme", type="uninstalled") == ("hold", ["policy_error"])
    assert await verdict(runtime, sandbox, "Acme", type="uninstalled", on_error="block") == ("block", ["policy_error"])
    assert await verdict(runtime, sandbox, "Acme", type="uninstalled", mode="shadow") == ("allow", ["policy_error"])
    assert await verdict(runtime, sandbox, "Other", type="uninstalled") == ("allow", [])


async def test_the_first_look_of_a_slow_process_does_not_put_a_set_out_of_force(runtime: Runtime) -> None:
    """It looks, finds nothing, is held up; an admin puts policies in force; then it writes the empty set."""
    database = runtime.database
    async with database.write() as connection:
        await execute(connection, "LOCK TABLE policy_set IN SHARE ROW EXCLUSIVE MODE")
        looking = asyncio.create_task(PolicySets(database).in_force(NOW + timedelta(hours=1)))
        await asyncio.sleep(0.2)
        assert not looking.done()
        await execute(
            connection,
            """INSERT INTO policy_set (id, digest, members, created_at, in_force_since)
               VALUES (gen_random_uuid(), :digest, CAST(:members AS jsonb), :now, :now)""",
            digest=digest([member()]),
            members=as_json([member()]),
            now=NOW,
        )
    await looking
    assert [one.policy for one in await in_force(database)] == ["no-coupon"]


MEMBER = Member.from_row(member(scope={}))


@pytest.mark.parametrize(
    ("scope", "covered"),
    [
        ({}, True),
        ({"sources": []}, True),
        ({"sources": ["x"]}, True),
        ({"sources": ["inbound"]}, False),
        ({"sources": ["inbound", "x"], "brands": ["Acme"], "visibility": ["public"], "kinds": ["post"]}, True),
        ({"sources": ["x"], "visibility": ["private"]}, False),
        ({"kinds": ["review"]}, False),
        ({"brands": ["Other"]}, False),
    ],
)
@pytest.mark.parametrize("mode", ["on", "shadow", "off"])
def test_a_scope_covers_what_it_does_not_exclude(scope: dict[str, Any], covered: bool, mode: str) -> None:
    one = Member.from_row(member(scope=scope, mode=mode))
    asked = {"source": "x", "brand": "Acme", "visibility": "public", "kind": "post"}
    assert one.applies(**asked) == (covered and mode != "off")


def test_a_brands_policy_covers_nothing_that_has_no_brand() -> None:
    one = Member.from_row(member(scope={"brands": ["Acme"]}))
    assert not one.applies(source="x", brand=None, visibility="public", kind="post")
    assert MEMBER.applies(source="x", brand=None, visibility="public", kind="post")


@given(st.lists(st.text(min_size=1), unique=True, max_size=5), st.randoms(use_true_random=False))
def test_a_name_depends_on_content_alone(policies: list[str], chance: random.Random) -> None:
    members = [member(policy) for policy in policies]
    again = shuffled(members, chance)
    chance.shuffle(again)
    assert digest(again) == digest(members)
    assert digest([*members, member("\x01 one more")]) != digest(members)
