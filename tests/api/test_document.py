"""The OpenAPI document is true: whatever can be asked is answered as it says, with no fault, whoever asks."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest

from gateway.db.tables.columns import new_id
from gateway.registry import Registry
from support.exploring import Explorer
from support.gateway import fresh_database, settings_for
from support.matters import START, insert, open_matter
from support.postgres import server_url  # noqa: F401  a fixture
from support.rest import KEY, Api, serving, signed, small_registry

OPEN = {"GET /healthz", "GET /readyz", "GET /hooks/{id}", "POST /hooks/{id}", "GET /oauth/callback"}


@dataclass
class World:
    """A gateway with one of everything."""

    api: Api
    known: dict[str, list[Any]]
    """What path parameters may be, by their name."""

    async def explorer(self, key: str | None) -> Explorer:
        """Who asks what the document allows, with a key or with none."""
        document = (await self.api.http.get("/openapi.json")).json()
        headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
        return Explorer(document, self.api.url, headers, self.known)


def registry() -> Registry:
    """The installed policies, and the small plugins of these tests."""
    small, installed = small_registry(), Registry.load()
    small.policies, small.readers = installed.policies, installed.readers
    small.listed = [*small.listed, *installed.listed]
    return small


@pytest.fixture(scope="module")
async def world(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:  # noqa: F811
    """A gateway with one of everything."""
    folder = tmp_path_factory.mktemp("data")
    async with (
        fresh_database(server_url) as url,
        serving(settings_for(url, folder, default_policies=True, rate_limit=0), registry()) as api,
    ):
        yield World(api, await furnish(api))


async def furnish(api: Api) -> dict[str, list[Any]]:
    """Make one of everything. Returns what path parameters may be."""
    matter = await open_matter(api, "one")
    app = await api.made("/v1/apps", plugin="crowd", name="an app", config={"app_secret": "s"})
    brand = await api.made("/v1/brands", name="acme")
    key = await api.made("/v1/keys", name="spare", scopes=["read"])
    person = await api.made("/v1/people", name="Ada", keys=[key["id"]])
    hours = {"monday": [["09:00", "17:00"]]}
    calendar = await api.made("/v1/calendars", name="office", timezone="Europe/Berlin", hours=hours)
    promise = await api.made("/v1/promises", ticket=str(matter.ticket), quote="by Friday", due="2027-03-13T00:00:00Z")
    hook = b'{"posts": []}'
    await api.http.post(f"/hooks/{matter.source}", content=hook, headers={"x-signature": signed("s", hook)})
    await api.http.put("/v1/lists/words", json={"entries": ["a"], "reason": "a test"})
    states = ("received", "queued", "held", "blocked", "sent", "unknown")
    replies = [await matter.reply(state) for state in states]
    group, decided_by, incident, alarm = (new_id() for _ in range(4))
    await insert(api, "reply_group", id=group, state="held", sample="x", words=[], opened_at=START, last_at=START)
    await insert(api, "policy_set", id=decided_by, digest="d", members=[], versions={}, created_at=START)
    decision = {"point": "message", "thing_id": matter.message, "verdict": "allow", "for_tone": False, "at": START}
    await insert(api, "decision", ticket_id=matter.ticket, policy_set_id=decided_by, **decision)
    told = {"ticket_id": matter.ticket, "policy": "surge"}
    unusual = {"key": "k", "title": "t", "tighten": {}, "grouping": True, "tell_at": 1, "opened_at": START}
    await insert(api, "incident", id=incident, **told, **unusual)
    await insert(api, "alarm", id=alarm, key="a", severity="warning", code="c", message="m", at=START, **told)
    policies = (await api.http.get("/v1/policies")).json()["items"]
    return {
        "brand_id": [brand["id"]],
        "app_id": [app["id"]],
        "connection_id": [str(matter.source), str(matter.helpdesk)],
        "id": [str(matter.source), app["id"]],
        "delivery_id": [row["id"] for row in await api.rows("SELECT id FROM delivery")],
        "interaction_id": [str(matter.message)],
        "ticket_id": [str(matter.ticket)],
        "reply_id": [str(one) for one in replies],
        "group_id": [str(group)],
        "key_id": [key["id"]],
        "person_id": [person["id"]],
        "calendar_name": [calendar["name"], "always"],
        "policy_id": [one["id"] for one in policies],
        "decision_id": [row["id"] for row in await api.rows("SELECT id FROM decision")],
        "promise_id": [promise["id"]],
        "incident_id": [str(incident)],
        "alarm_id": [str(alarm)],
        "type": sorted(registry().policies),
        "role": ["source", "helpdesk", "policy"],
        "name": ["shout", "desk", "wreck", "words", "standard"],
        "number": [1],
    }


async def explored(world: World, *, examples: int, start: int) -> None:
    """Ask everything, as somebody who may."""
    explorer = await world.explorer(KEY)
    await asyncio.to_thread(explorer.explore, examples=examples, start=start)
    assert explorer.wrong == []
    answered = [label for label, statuses in explorer.seen.items() if any(one < 300 for one in statuses)]
    # most of what was asked did not end at a field that is wrong
    assert len(answered) > 0.6 * len(explorer.seen), sorted(set(explorer.seen) - set(answered))


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_whoever_may_everything_is_answered_as_documented(world: World) -> None:
    await explored(world, examples=1, start=1)


NOBODY = UUID(int=0)
EDGES = ("0001-01-01T00:00:00+14:00", "1000-01-01T00:00:00Z", "9000-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00")


@pytest.mark.parametrize("at", EDGES)
async def test_times_at_the_ends_of_the_calendar_are_no_fault(world: World, at: str) -> None:
    document = (await world.api.http.get("/openapi.json")).json()
    asked = 0
    for path, operations in document["paths"].items():
        place = re.sub(r"{(\w+)}", lambda name: str(world.known.get(name[1], [NOBODY])[0]), path)
        for parameter in operations.get("get", {}).get("parameters", ()):
            if "date-time" in str(parameter["schema"]):
                asked += 1
                query = {parameter["name"]: at}
                answer = await world.api.http.get(place, params=query)
                assert answer.status_code in (200, 404, 422), (place, query, answer.text)
    assert asked > 10
    backtest = {"policies": [{"policy": world.known["policy_id"][0]}], "until": at}
    assert (await world.api.http.post("/v1/backtests", json=backtest)).status_code in (202, 422)
    promise = {"ticket": world.known["ticket_id"][0], "quote": "one day", "due": at}
    assert (await world.api.http.post("/v1/promises", json=promise)).status_code in (201, 422)
    key = {"name": "x", "scopes": ["read"], "expires_at": at}
    assert (await world.api.http.post("/v1/keys", json=key)).status_code in (201, 422)
    # what was stored can be read: 9999-12-31 in the west is the year 10000
    for path in ("/v1/backtests", "/v1/promises", "/v1/keys", "/v1/clocks", "/v1/tickets"):
        answer = await world.api.http.get(path)
        assert answer.status_code == 200, (path, answer.text)


async def test_nobody_is_told_anything_but_that_a_key_is_needed(world: World) -> None:
    explorer = await world.explorer(None)
    await asyncio.to_thread(explorer.explore, examples=1, start=1, wrongly=False)
    assert explorer.wrong == []
    assert len(explorer.seen) > 100
    assert {label: seen for label, seen in explorer.seen.items() if label not in OPEN and seen - {400, 401}} == {}


@pytest.mark.torture
@pytest.mark.timeout(0)
@pytest.mark.parametrize("start", range(2, 6))
async def test_many_more_questions_are_answered_as_documented(world: World, start: int) -> None:
    await explored(world, examples=60, start=start)
