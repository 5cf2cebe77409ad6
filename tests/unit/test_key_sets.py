"""Providers' keys: fetched when needed, kept as long as the provider says, renewed for a new key, never in a rush."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from gateway.net.documents import FLOOR, RETRY, USABLE, DocumentUnavailable
from gateway.net.key_sets import KeySet, KeyView
from gateway.pipeline.accept import verify_with_keys
from gateway_schemas.errors import UnknownKey, Unverified
from gateway_schemas.interaction import Normalised
from gateway_schemas.plugin import Health, Setup
from gateway_schemas.source import Source
from gateway_schemas.testing.twin import Fault, Twin
from gateway_schemas.time import SharedTime
from gateway_schemas.webhook import RawDelivery, WebhookRequest

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


class KeyServer(Twin):
    """Publishes keys by their ids."""

    name = "keys"

    def __init__(self) -> None:
        self.kids = ["one"]
        self.max_age: int | None = 3600
        self.body: Any = None
        super().__init__()

    def routes(self) -> Sequence[BaseRoute]:
        async def keys(_: Request) -> Response:
            headers = {} if self.max_age is None else {"cache-control": f"public, max-age={self.max_age}"}
            document = self.body if self.body is not None else {"keys": [{"kid": kid} for kid in self.kids]}
            return JSONResponse(document, headers=headers)

        return [Route("/certs", keys)]

    @property
    def asked(self) -> int:
        """How often the keys were fetched."""
        return len(self.requests)


class Keyed(Source[BaseModel]):
    """Believes whoever names a key that is published."""

    name = "keyed"
    Config = BaseModel

    def verify(self, request: WebhookRequest) -> None:
        kid = request.header("kid")
        if kid == "forged":
            raise Unverified("forged")
        if kid not in [key["kid"] for key in self.setup.keys["main"]["keys"]]:
            raise UnknownKey("no such key")

    def normalise(self, delivery: RawDelivery) -> Sequence[Normalised]:
        return ()

    async def check(self) -> Health:
        return Health(ok=True)


@pytest.fixture
def clock(tmp_path: Path) -> SharedTime:
    """A time that stands still."""
    return SharedTime.create(tmp_path / "time", at=START, speed=0)


@pytest.fixture
async def server() -> AsyncIterator[KeyServer]:
    """Where the keys are."""
    server = KeyServer()
    async with server.serve():
        yield server


@pytest.fixture
async def keys(server: KeyServer, clock: SharedTime) -> AsyncIterator[KeySet]:
    """The set of that server."""
    async with httpx2.AsyncClient(trust_env=False) as client:
        yield KeySet(f"{server.url}/certs", client, clock)


@pytest.fixture
def plugin(keys: KeySet, clock: SharedTime) -> Keyed:
    """A plugin that verifies with it."""
    return Keyed(Setup(time=clock, keys=KeyView({"main": keys})))


def request(kid: str) -> WebhookRequest:
    return WebhookRequest("POST", "/", b"", [(b"kid", kid.encode())], b"", START)


def later(clock: SharedTime, delta: timedelta) -> None:
    clock.jump(clock.now() + delta)


async def test_keys_are_fetched_once_for_all_who_wait(plugin: Keyed, server: KeyServer) -> None:
    assert server.asked == 0
    server.faults.append(Fault("latency", seconds=0.05))
    await asyncio.gather(*(verify_with_keys(plugin, request("one")) for _ in range(50)))
    assert server.asked == 1


@pytest.mark.parametrize(
    ("max_age", "kept"),
    [(7200, timedelta(hours=2)), (1, timedelta(minutes=5)), (None, timedelta(hours=1)), (10**8, timedelta(hours=24))],
)
async def test_keys_are_kept_as_long_as_the_provider_says(
    plugin: Keyed, server: KeyServer, clock: SharedTime, max_age: int | None, kept: timedelta
) -> None:
    server.max_age = max_age
    await verify_with_keys(plugin, request("one"))
    later(clock, kept - timedelta(seconds=1))
    await verify_with_keys(plugin, request("one"))
    assert server.asked == 1
    later(clock, timedelta(seconds=1))
    await verify_with_keys(plugin, request("one"))
    assert server.asked == 2


async def test_a_new_key_is_fetched_for_the_request_that_names_it(
    plugin: Keyed, server: KeyServer, clock: SharedTime
) -> None:
    await verify_with_keys(plugin, request("one"))
    server.kids = ["two", "one"]
    later(clock, FLOOR)
    await verify_with_keys(plugin, request("two"))
    assert server.asked == 2


async def test_a_withdrawn_key_stops(plugin: Keyed, server: KeyServer, clock: SharedTime) -> None:
    await verify_with_keys(plugin, request("one"))
    server.kids = ["two"]
    later(clock, FLOOR)
    await verify_with_keys(plugin, request("two"))
    with pytest.raises(UnknownKey):
        await verify_with_keys(plugin, request("one"))


async def test_made_up_keys_do_not_make_us_call_the_provider(
    plugin: Keyed, server: KeyServer, clock: SharedTime
) -> None:
    await verify_with_keys(plugin, request("one"))
    later(clock, FLOOR)

    async def attack(number: int) -> None:
        with pytest.raises(UnknownKey):
            await verify_with_keys(plugin, request(f"made up {number}"))

    await asyncio.gather(*(attack(number) for number in range(200)))
    for number in range(200):
        await attack(number)
    assert server.asked == 2
    later(clock, FLOOR)
    await asyncio.gather(*(attack(number) for number in range(200)))
    assert server.asked == 3


async def test_other_refusals_fetch_nothing(plugin: Keyed, server: KeyServer, clock: SharedTime) -> None:
    await verify_with_keys(plugin, request("one"))
    later(clock, FLOOR)
    with pytest.raises(Unverified):
        await verify_with_keys(plugin, request("forged"))
    assert server.asked == 1


async def test_without_any_keys_nothing_is_believed_or_refused(
    plugin: Keyed, server: KeyServer, clock: SharedTime
) -> None:
    server.faults.append(Fault("status_before", status=500, times=1))
    for _ in range(5):
        with pytest.raises(DocumentUnavailable):
            await verify_with_keys(plugin, request("one"))
    assert server.asked == 1
    later(clock, RETRY)
    await verify_with_keys(plugin, request("one"))


async def test_old_keys_serve_while_the_provider_is_away_but_not_for_ever(
    plugin: Keyed, server: KeyServer, clock: SharedTime
) -> None:
    await verify_with_keys(plugin, request("one"))
    server.faults.append(Fault("drop_after", times=None))
    later(clock, timedelta(hours=2))
    await verify_with_keys(plugin, request("one"))
    later(clock, USABLE)
    with pytest.raises(DocumentUnavailable):
        await verify_with_keys(plugin, request("one"))


@pytest.mark.parametrize("body", [[], "keys", {"keys": []}, {"keys": {}}, {"keys": ["x"]}, {}])
async def test_what_is_no_key_set_replaces_no_keys(
    plugin: Keyed, server: KeyServer, clock: SharedTime, body: Any
) -> None:
    await verify_with_keys(plugin, request("one"))
    server.body = body
    later(clock, timedelta(hours=2))
    await verify_with_keys(plugin, request("one"))
    assert server.asked == 2


async def test_plugins_without_key_sets_are_asked_at_once(clock: SharedTime) -> None:
    plugin = Keyed(Setup(time=clock, keys={"main": {"keys": [{"kid": "one"}]}}))
    assert await verify_with_keys(plugin, request("one")) is None
