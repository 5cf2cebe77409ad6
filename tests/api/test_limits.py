"""How many requests a caller may send: told in the standard headers, the same for a key and its successor, no limit at
the door."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from gateway.api.limits import Limits, Standing
from support.gateway import fresh_database, settings_for
from support.postgres import server_url  # noqa: F401  a fixture
from support.rest import Api, serving

RATE = re.compile(r'"caller";r=(\d+);t=(\d+)')


@pytest.fixture(scope="module")
async def limited(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:  # noqa: F811
    """A gateway whose callers may send 6000 requests a minute, as they may by default."""
    folder = tmp_path_factory.mktemp("data")
    async with fresh_database(server_url) as url, serving(settings_for(url, folder)) as served:
        yield served


async def made(api: Api, limit: int | None, *scopes: str) -> dict[str, Any]:
    """A key that may send so many."""
    return await api.made("/v1/keys", name="of a test", scopes=list(scopes or ("read",)), rate_limit=limit)


async def test_a_caller_over_its_limit_is_told_when_to_come_again(limited: Api) -> None:
    key = await made(limited, 3)
    async with limited.caller(key["key"]) as caller:
        answers = [await caller.get("/v1/brands") for _ in range(5)]
    assert [one.status_code for one in answers] == [200, 200, 200, 429, 429]
    for at, answer in enumerate(answers):
        assert answer.headers["ratelimit-policy"] == '"caller";q=3;w=60'
        remaining, reset = map(int, RATE.fullmatch(answer.headers["ratelimit"]).groups())  # type: ignore[union-attr]
        assert remaining == max(0, 2 - at)
        assert 0 < reset <= 60
    refused = answers[-1]
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["type"] == "urn:helpdesk-gateway:problem:too-many-requests"
    assert 1 <= int(refused.headers["retry-after"]) <= 20
    # nobody else is held up, and the operator's key has the usual limit
    usual = await limited.http.get("/v1/brands")
    assert (usual.status_code, usual.headers["ratelimit-policy"]) == (200, '"caller";q=6000;w=60')


async def test_refusals_count_and_tell_too(limited: Api) -> None:
    key = await made(limited, 4)
    async with limited.caller(key["key"]) as caller:
        statuses = [
            (await caller.post("/v1/brands", json={})).status_code,
            (await caller.get(f"/v1/brands/{UUID(int=1)}")).status_code,
            (await caller.get("/v1/brands?limit=x")).status_code,
            (await caller.get("/v1/keys")).status_code,
        ]
        assert statuses == [403, 404, 422, 403]
        last = await caller.get("/v1/brands")
    assert (last.status_code, RATE.fullmatch(last.headers["ratelimit"]).group(1)) == (429, "0")  # type: ignore[union-attr]


async def test_nothing_is_done_over_the_limit_and_the_key_of_the_request_stays_free(limited: Api, name: str) -> None:
    key = await made(limited, 1, "connections")
    once = {"Idempotency-Key": f"once {name}"}
    async with limited.caller(key["key"]) as caller:
        assert (await caller.get("/v1/brands")).status_code == 200
        refused = await caller.post("/v1/brands", json={"name": name}, headers=once)
    assert refused.status_code == 429
    assert await limited.value("SELECT count(*) FROM brand WHERE name = :name", name=name) == 0
    assert await limited.value("SELECT count(*) FROM idempotent_answer WHERE key = :key", key=f"once {name}") == 0


async def test_a_successor_has_no_second_bucket(limited: Api) -> None:
    old = await made(limited, 2)
    new = (await limited.http.post(f"/v1/keys/{old['id']}/rotate")).json()
    async with limited.caller(old["key"]) as one, limited.caller(new["key"]) as two:
        statuses = [(await who.get("/v1/brands")).status_code for who in (one, two, one, two)]
    assert statuses == [200, 200, 429, 429]


async def test_the_door_and_health_have_no_limit_even_for_a_caller_over_it(limited: Api) -> None:
    key = await made(limited, 1)
    async with limited.caller(key["key"]) as caller:
        await caller.get("/v1/brands")
        assert (await caller.get("/v1/brands")).status_code == 429
        for path in ("/healthz", "/readyz", f"/hooks/{UUID(int=5)}"):
            answers = await asyncio.gather(*(caller.get(path) for _ in range(20)))
            assert {one.status_code for one in answers} <= {200, 404}, path
            assert not any("ratelimit" in one.headers or "retry-after" in one.headers for one in answers)


async def test_nobody_has_no_bucket(limited: Api) -> None:
    async with limited.caller("hg_aaaaaaaa_" + "0" * 64) as nobody:
        answer = await nobody.get("/v1/brands")
    assert (answer.status_code, "ratelimit" in answer.headers) == (401, False)


@pytest.mark.parametrize("limit", [0, -1, 1_000_001, "many", 1.5])
async def test_a_limit_that_is_none_is_refused(limited: Api, limit: Any) -> None:
    answer = await limited.http.post("/v1/keys", json={"name": "x", "scopes": ["read"], "rate_limit": limit})
    assert (answer.status_code, [one["field"] for one in answer.json()["errors"]]) == (422, ["rate_limit"])


class Clock:
    """A clock that a test turns."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def told(standing: Standing | None) -> Standing:
    """The standing that there is."""
    assert standing is not None
    return standing


def test_a_bucket_fills_evenly_and_never_over_its_brim() -> None:
    clock = Clock()
    limits, caller = Limits(60, clock), uuid4()
    for _ in range(60):
        assert told(limits.spend(caller, None)).allowed
    empty = told(limits.spend(caller, None))
    assert (empty.allowed, empty.remaining, empty.retry_after, empty.reset) == (False, 0, 1, 60)
    # asking too soon does not put off the next one
    clock.now = 0.9
    assert not told(limits.spend(caller, None)).allowed
    clock.now = 1.0
    assert told(limits.spend(caller, None)).allowed
    clock.now = 10_000.0
    assert told(limits.spend(caller, None)).remaining == 59
    # in any minute no more than the bucket and its filling
    allowed = 0
    for step in range(6000):
        clock.now = 10_000.0 + step / 100
        allowed += told(limits.spend(caller, None)).allowed
    assert 59 + 58 <= allowed <= 59 + 60


def test_whoever_waits_as_told_is_let_in() -> None:
    clock = Clock()
    for quota in (1, 2, 7, 59, 61, 600, 6000, 9973):
        limits, caller = Limits(quota, clock), uuid4()
        while (standing := told(limits.spend(caller, None))).allowed:
            pass
        clock.now += standing.retry_after
        assert told(limits.spend(caller, None)).allowed, quota


def test_buckets_that_are_full_again_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.api.limits.MOST", 10)
    clock = Clock()
    limits, first = Limits(1, clock), uuid4()
    for _ in range(10):
        limits.spend(uuid4(), None)
    clock.now = 59.0
    assert told(limits.spend(first, None)).allowed
    clock.now = 61.0
    for _ in range(5):
        limits.spend(uuid4(), None)
    assert len(limits._buckets) == 6
    # but none that is not full
    assert not told(limits.spend(first, None)).allowed


def test_without_a_limit_nothing_is_counted() -> None:
    limits = Limits(0)
    assert limits.spend(uuid4(), None) is None
    assert told(limits.spend(uuid4(), 5)).quota == 5
