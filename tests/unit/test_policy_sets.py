"""Which policies are in force: a function of stored rows, named by what is in it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.db.database import execute, fetch_all
from gateway.db.tables.columns import new_id
from gateway.engine.sandbox import Sandbox
from gateway.pipeline.decide import decide_reply, decided_on, still_stands
from gateway.policy import library
from gateway.policy.content import Content
from gateway.policy.library import Activation, NotPossible
from gateway.policy.sets import Active, Member, Place, PolicySetInForce, PolicySets, digest, ordered
from gateway.registry import Registry
from gateway.runtime import Runtime
from gateway.security.audit import by_itself
from gateway.sla.stored import Calendars
from gateway_schemas.interaction import ReplyTarget
from gateway_schemas.reply import Rendered
from support.plugins import MODULE, said

NOW = datetime(2026, 3, 12, 10, 15, tzinfo=UTC)
HOUR = timedelta(hours=1)
PUBLIC = Place(source="x", brand="Acme", visibility="public", kind="post")


@pytest.fixture(scope="module")
def registry() -> Registry:
    """The test policies alone."""
    return Registry.load([], modules=[MODULE])


def member(policy: str = "no-coupon", **changes: Any) -> Member:
    """A policy revision of a set."""
    values: dict[str, Any] = {
        "policy": policy,
        "type": "wild",
        "type_version": "1",
        "revision": 3,
        "params": {"do": "find"},
        "mode": "on",
        "on_error": "hold",
        "scope": {"brands": ["Acme"]},
        **changes,
    }
    return Member(**values)


async def made(runtime: Runtime, name: str, *contents: dict[str, Any], now: datetime = NOW) -> Any:
    """A policy with a revision for each content; nothing is in force yet."""
    async with runtime.database.write() as connection:
        id = await library.create(connection, name=name, type="wild", content=Content(), now=now)
        for content in contents:
            await library.change(connection, id, draft=Content.model_validate({"params": {"do": "find"}, **content}))
            await library.revise(connection, id, reason="because", author="ann", now=now)
    return id


async def activate(runtime: Runtime, *items: Activation, now: datetime = NOW, **span: Any) -> list[int]:
    """Put into force."""
    async with runtime.database.write() as connection:
        return await library.activate(connection, items, reason="because", author="ann", now=now, **span)


async def in_force(runtime: Runtime, registry: Registry, at: datetime = NOW) -> dict[str, int]:
    """Revisions in force at a time, as a process sees them that has not looked before."""
    found = await PolicySets(runtime.database, registry).at(at)
    return {one.policy: one.revision for one in found.members if one.revision and one.type == "wild"}


async def test_all_processes_name_one_set_alike(runtime: Runtime, registry: Registry) -> None:
    one = await made(runtime, "one", {"mode": "on"})
    await activate(runtime, Activation(one, 1))
    found = await asyncio.gather(*(PolicySets(runtime.database, registry).in_force(NOW) for _ in range(6)))
    assert len({each.id for each in found}) == 1


async def test_which_set_is_in_force_follows_from_the_time_alone(runtime: Runtime, registry: Registry) -> None:
    one, two = [await made(runtime, name, {"mode": "on"}, {"mode": "shadow"}) for name in ("one", "two")]
    await activate(runtime, Activation(one, 1), Activation(two, 1))
    await activate(runtime, Activation(one, 2), effective_from=NOW + HOUR, effective_until=NOW + 3 * HOUR)
    await activate(runtime, Activation(two, None), effective_from=NOW + 2 * HOUR)
    assert [await in_force(runtime, registry, NOW + hours * HOUR) for hours in (-1, 0, 1, 2, 3)] == [
        {},
        {"one": 1, "two": 1},
        {"one": 2, "two": 1},
        {"one": 2},
        {"one": 1},
    ]


async def test_what_comes_into_force_later_wins_whenever_it_was_written(runtime: Runtime, registry: Registry) -> None:
    one = await made(runtime, "one", {"mode": "on"}, {"mode": "shadow"}, {"mode": "off"})
    await activate(runtime, Activation(one, 2), effective_from=NOW + HOUR)
    await activate(runtime, Activation(one, 1))
    await activate(runtime, Activation(one, 3))
    assert await in_force(runtime, registry) == {"one": 3}, "of two at one moment the one written last"
    assert await in_force(runtime, registry, NOW + HOUR) == {"one": 2}


async def test_only_what_is_still_to_come_can_be_withdrawn(runtime: Runtime, registry: Registry) -> None:
    one = await made(runtime, "one", {"mode": "on"}, {"mode": "shadow"})
    [now] = await activate(runtime, Activation(one, 1))
    [later] = await activate(runtime, Activation(one, 2), effective_from=NOW + HOUR)
    async with runtime.database.write() as connection:
        await library.withdraw(connection, later, author="ann", now=NOW)
        with pytest.raises(NotPossible):
            await library.withdraw(connection, now, author="ann", now=NOW + HOUR)
    assert await in_force(runtime, registry, NOW + 2 * HOUR) == {"one": 1}


@pytest.mark.parametrize(
    "span",
    [
        {"effective_from": NOW - HOUR},
        {"effective_until": NOW - HOUR},
        {"effective_from": NOW + HOUR, "effective_until": NOW},
    ],
)
async def test_what_is_over_cannot_be_changed(runtime: Runtime, span: dict[str, Any]) -> None:
    one = await made(runtime, "one", {"mode": "on"})
    with pytest.raises(NotPossible):
        await activate(runtime, Activation(one, 1), **span)
    with pytest.raises(NotPossible, match="no revision 9"):
        await activate(runtime, Activation(one, 9))


async def test_going_back_puts_into_force_what_was_and_takes_out_what_was_not(
    runtime: Runtime, registry: Registry
) -> None:
    one, two = [await made(runtime, name, {"mode": "on"}, {"mode": "shadow"}) for name in ("one", "two")]
    await activate(runtime, Activation(one, 1))
    await activate(runtime, Activation(one, 2), Activation(two, 1), now=NOW + HOUR)
    async with runtime.database.write() as connection:
        changed = await library.roll_back(
            connection, NOW, reason="it held everything", author="ann", now=NOW + 2 * HOUR
        )
    assert changed == sorted([Activation(one, 1), Activation(two, None)], key=lambda each: each.policy_id)
    assert await in_force(runtime, registry, NOW + HOUR) == {"one": 2, "two": 1}, "what was, stays"
    assert await in_force(runtime, registry, NOW + 2 * HOUR) == {"one": 1}


async def test_an_unchanged_draft_is_no_new_revision_and_revisions_never_change(runtime: Runtime) -> None:
    one = await made(runtime, "one", {"order": 1}, {"order": 1}, {"order": 2})
    async with runtime.database.read() as connection:
        rows = await library.revisions(connection, one)
    assert [(row["number"], row["content"]["order"]) for row in rows] == [(1, 1), (2, 2)]
    assert library.differences(rows[0]["content"], rows[1]["content"]) == [{"field": "order", "from": 1, "to": 2}]


async def test_shipped_defaults_are_made_once_whatever_starts_at_once(runtime: Runtime) -> None:
    registry = Registry.load([], modules=[MODULE])
    made = await asyncio.gather(*(library.ensure_defaults(runtime.database, registry, NOW) for _ in range(4)))
    assert sorted(name for names in made for name in names) == ["manners", "wild"], "a type of many gets none"
    assert await library.ensure_defaults(runtime.database, registry, NOW) == []
    async with runtime.database.read() as connection:
        rows = await fetch_all(
            connection,
            """SELECT p.name, r.number, r.reason, r.content FROM policy p JOIN policy_revision r ON r.policy_id = p.id
               WHERE p.type IN ('wild', 'manners') ORDER BY p.name""",
        )
    assert [(row["name"], row["number"], row["reason"]) for row in rows] == [
        ("manners", 1, "shipped default"),
        ("wild", 1, "shipped default"),
    ]
    assert rows[0]["content"]["params"] == {"word": "nonsense"}, "the defaults of the time, written out"


async def test_a_default_that_was_put_away_does_not_come_back(runtime: Runtime, registry: Registry) -> None:
    await library.ensure_defaults(runtime.database, registry, NOW)
    async with runtime.database.write() as connection:
        await execute(connection, "UPDATE policy SET archived_at = now(), name = 'old' WHERE type = 'wild'")
    assert await library.ensure_defaults(runtime.database, registry, NOW) == []


async def test_a_process_learns_of_another_set_within_a_second_or_so(runtime: Runtime, registry: Registry) -> None:
    sets = PolicySets(runtime.database, registry)
    before = await sets.in_force(NOW)
    one = await made(runtime, "one", {"mode": "on"})
    await activate(runtime, Activation(one, 1))
    assert (await sets.in_force(NOW)).id == before.id
    await asyncio.sleep(1.05)
    assert (await sets.in_force(NOW)).id != before.id


async def test_another_version_of_code_readers_or_lists_is_another_set(runtime: Runtime, registry: Registry) -> None:
    one = await made(runtime, "one", {"scope": {"when": "interaction.author.handle in lists.vips"}})
    await activate(runtime, Activation(one, 1))
    first = await PolicySets(runtime.database, registry).at(NOW)
    assert [each.needs.lists for each in first.policies if each.member.policy == "one"] == [("vips",)]
    assert first.lists == {}
    async with runtime.database.write() as connection:
        for version, entries in enumerate((["rita"], ["rita", "bob"]), 1):
            await execute(
                connection,
                """INSERT INTO word_list (name, version, entries, reason, author, created_at)
                   VALUES ('vips', :version, :entries, 'r', 'a', now())""",
                version=version,
                entries=entries,
            )
    second = await PolicySets(runtime.database, registry).at(NOW)
    assert second.lists == {"vips": ("rita", "bob")}
    newer = Registry.load([], modules=[MODULE])
    newer.readers = {"0-words": type("Newer", (newer.readers["0-words"],), {"version": "2"})}
    third = await PolicySets(runtime.database, newer).at(NOW)
    assert len({first.id, second.id, third.id}) == 3
    async with runtime.database.read() as connection:
        [row] = await fetch_all(connection, "SELECT versions FROM policy_set WHERE id = :id", id=second.id)
    assert set(row["versions"]) == {"gateway", "readers", "time_zones", "lists"}
    assert (row["versions"]["readers"], row["versions"]["lists"]) == ({"0-words": "1"}, {"vips": 2})


def test_what_was_decided_stands_on_the_same_basis_only(registry: Registry) -> None:
    one = PolicySetInForce(new_id(), (Active.of(member(), registry),))
    found = {"policy_set": one.basis, "until": None}
    assert still_stands(found, one, NOW)
    assert not still_stands(found, replace(one, id=new_id()), NOW)
    assert not still_stands(found, replace(one, tightened={"outage": {"wild": "hold"}}), NOW)
    assert not still_stands(found, replace(one, softened=True), NOW)
    assert still_stands({**found, "until": (NOW + HOUR).isoformat()}, one, NOW)
    assert not still_stands({**found, "until": NOW.isoformat()}, one, NOW), "the waiver it rested on is over"
    assert not still_stands({}, one, NOW)


def test_a_brands_own_policy_takes_the_place_of_the_companys_unless_that_is_locked(registry: Registry) -> None:
    def asked(*members: Member, brand: str | None = "Acme") -> list[str]:
        found = PolicySetInForce(new_id(), ordered(Active.of(one, registry) for one in members))
        return [one.member.policy for one in found.asked("review_reply", replace(PUBLIC, brand=brand))]

    company, own = member("company", scope={}), member("own", scope={}, brand="Acme")
    assert asked(company, own) == ["own"]
    assert asked(company, own, brand="Other") == ["company"]
    assert asked(company, replace(own, mode="off")) == [], "also to switch it off"
    locked = replace(company, locked=True)
    assert asked(locked, own) == ["company", "own"]
    assert asked(locked, replace(own, mode="off")) == ["company"]
    rules = [replace(one, type="scripted", params={}) for one in (company, own)]
    assert asked(*rules) == ["company", "own"], "rules stand beside each other"


async def test_a_set_is_made_anew_where_anything_that_it_was_made_of_has_changed(runtime: Runtime) -> None:
    now = runtime.now()
    await library.ensure_defaults(runtime.audit.on_record(by_itself("default_policies")), runtime.registry, now)
    changes = {
        "policies": "UPDATE policy_activation SET withdrawn_at = clock_timestamp()"
        " WHERE id = (SELECT id FROM policy_activation ORDER BY id LIMIT 1)",
        "softened": "INSERT INTO tone_breaker (id, tripped_at, held, total)"
        " VALUES (gen_random_uuid(), clock_timestamp(), 1, 2)",
    }
    before = await runtime.policies.at(now)
    assert before.policies
    for changed, sql in changes.items():
        assert await runtime.policies.at(now) is before
        async with runtime.database.write() as connection:
            await execute(connection, sql)
        after = await runtime.policies.at(now)
        assert getattr(after, changed) != getattr(before, changed)
        before = after


@pytest.fixture(scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    """Where policies run."""
    made = Sandbox(5.0, modules=[MODULE])
    yield made
    await asyncio.to_thread(made.close)


async def verdict(
    runtime: Runtime,
    sandbox: Sandbox,
    brand: str | None,
    text: str = "sorry",
    language: str | None = None,
    **changes: Any,
) -> tuple[str, list[str]]:
    """What a set of one policy says about an answer: how strict, and the codes it found."""
    registry = Registry.load([], modules=[MODULE])
    target = ReplyTarget(kind="comment", ref="1")
    in_force = PolicySetInForce(new_id(), (Active.of(member(**changes), registry),))
    async with runtime.database.read() as connection:
        found, _ = await decide_reply(
            connection,
            sandbox,
            in_force,
            Calendars(),
            reply_id=None,
            rendered=Rendered(text=text, account="brand", target=target, visibility="public", length=5),
            source="x",
            connection_name="x",
            brand=brand,
            answered=said("where is my parcel?", language=language),
            ticket={"id": new_id(), "status": "open", "priority": "normal", "tags": [], "opened_at": NOW},
            now=NOW,
        )
    assert decided_on(found)["policy_set"] == in_force.basis
    return found.severity.value, [finding["code"] for finding in found.findings]


async def test_an_answer_passes_every_policy_whose_scope_covers_it(runtime: Runtime, sandbox: Sandbox) -> None:
    assert await verdict(runtime, sandbox, "Acme") == ("hold", ["wild"])
    assert await verdict(runtime, sandbox, "Other") == ("allow", [])
    assert await verdict(runtime, sandbox, "Acme", scope={"kinds": ["review"]}) == ("allow", [])
    assert await verdict(runtime, sandbox, "Acme", mode="shadow") == ("allow", ["wild"])
    assert await verdict(runtime, sandbox, "Acme", mode="off") == ("allow", [])


async def test_a_scope_may_name_languages_and_a_condition(runtime: Runtime, sandbox: Sandbox) -> None:
    def scope(**more: Any) -> dict[str, Any]:
        return {"scope": more}

    assert await verdict(runtime, sandbox, "Acme", **scope(languages=["en-GB"])) == ("hold", ["wild"])
    assert await verdict(runtime, sandbox, "Acme", **scope(languages=["de"])) == ("allow", [])
    unknown = await verdict(runtime, sandbox, "Acme", text="zzz", **scope(languages=["de"]))
    assert unknown == ("hold", ["wild"]), "nobody can tell: asked"
    assert await verdict(runtime, sandbox, "Acme", **scope(when='reply.text == "sorry"')) == ("hold", ["wild"])
    assert await verdict(runtime, sandbox, "Acme", **scope(when="ticket.priority == 'urgent'")) == ("allow", [])
    assert await verdict(runtime, sandbox, "Acme", **scope(when="facts.crm.tier > 3")) == ("allow", [])
    assert await verdict(runtime, sandbox, "Acme", **scope(when="int(reply.text) > 3")) == ("hold", ["policy_error"])


async def test_a_policy_that_cannot_be_asked_lets_no_answer_pass(runtime: Runtime, sandbox: Sandbox) -> None:
    assert await verdict(runtime, sandbox, "Acme", params={"do": "raise"}) == ("hold", ["policy_error"])
    assert await verdict(runtime, sandbox, "Acme", type="uninstalled") == ("hold", ["policy_error"])
    assert await verdict(runtime, sandbox, "Acme", type="uninstalled", on_error="block") == ("block", ["policy_error"])
    assert await verdict(runtime, sandbox, "Acme", type="uninstalled", mode="shadow") == ("allow", ["policy_error"])
    assert await verdict(runtime, sandbox, "Other", type="uninstalled") == ("allow", [])
    assert await verdict(runtime, sandbox, "Acme", params={"do": []}) == ("hold", ["policy_error"])


async def test_what_nobody_can_read_is_said(runtime: Runtime, sandbox: Sandbox) -> None:
    manners = {"type": "manners", "params": {}}
    assert await verdict(runtime, sandbox, "Acme", text="nonsense", **manners) == ("hold", ["rude"])
    manners |= {"text": "申し訳ございません。", "language": "ja"}
    assert await verdict(runtime, sandbox, "Acme", **manners) == ("warn", ["language_not_covered"])
    assert await verdict(runtime, sandbox, "Acme", on_uncovered="block", **manners) == (
        "block",
        ["language_not_covered"],
    )


MEMBER = member(scope={})


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
        ({"connections": ["acme on x"]}, False),
    ],
)
@pytest.mark.parametrize("mode", ["on", "shadow", "off"])
def test_a_scope_covers_what_it_does_not_exclude(scope: dict[str, Any], covered: bool, mode: str) -> None:
    assert member(scope=scope, mode=mode).covers(PUBLIC) == (covered and mode != "off")


def test_a_brands_policy_covers_nothing_that_has_no_brand() -> None:
    nowhere = replace(PUBLIC, brand=None)
    assert not member(scope={"brands": ["Acme"]}).covers(nowhere)
    assert not member(scope={}, brand="Acme").covers(nowhere)
    assert MEMBER.covers(nowhere)


def shuffled(value: Any, chance: random.Random) -> Any:
    """The same JSON value with the keys of objects in another order."""
    if isinstance(value, dict):
        keys = list(value)
        chance.shuffle(keys)
        return {key: shuffled(value[key], chance) for key in keys}
    return [shuffled(one, chance) for one in value] if isinstance(value, list) else value


@given(st.lists(st.text(min_size=1), unique=True, max_size=5), st.randoms(use_true_random=False))
def test_a_name_depends_on_content_alone(policies: list[str], chance: random.Random) -> None:
    members = [vars(member(policy)) for policy in policies]
    again = shuffled(members, chance)
    chance.shuffle(again)
    assert digest(again) == digest(members)
    assert digest([*members, vars(member("\x01 one more"))]) != digest(members)
    assert digest(members, {"gateway": "2"}) != digest(members)
