"""A twin on loopback, a plugin that talks to it, and a door that verifies and keeps what the twin tells.

Twin and door are made anew for each test, but served by two servers that all tests share: starting and stopping one
takes longer than most tests do.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from gateway_schemas.errors import Unverified
from gateway_schemas.interaction import Interaction, Normalised
from gateway_schemas.plugin import MemoryState, Setup
from gateway_schemas.testing.twin import Twin
from gateway_schemas.time import SharedTime
from gateway_schemas.webhook import RawDelivery, RawPage, WebhookRequest
from gateway_x.config import XApp, XConfig
from gateway_x.plugin import XSource
from gateway_x.twin import XTwin

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
FIXTURES = Path(__file__).parents[1] / "fixtures" / "in"


class Door(Twin):
    """The gateway's door: verifies with the App's instance, keeps what is genuine."""

    name = "door"

    def __init__(self) -> None:
        self.plugin: XSource | None = None
        self.deliveries: list[RawDelivery] = []
        self.refused: list[Unverified] = []
        super().__init__()

    def routes(self) -> Sequence[BaseRoute]:
        return [Route("/hooks/app", self._hook, methods=["GET", "POST"])]

    async def _hook(self, request: Request) -> Response:
        assert self.plugin is not None
        body = await request.body()
        received = WebhookRequest(
            request.method, request.url.path, request.url.query.encode(), request.headers.raw, body, START
        )
        try:
            answer = self.plugin.verify(received)
        except Unverified as error:
            self.refused.append(error)
            return Response(status_code=401)
        if answer is not None:
            return Response(answer.body, answer.status, media_type=answer.media_type)
        self.deliveries.append(
            RawDelivery(str(len(self.deliveries)), "webhook", body, START, tuple(request.headers.raw))
        )
        return Response()

    def news(self) -> list[Normalised]:
        """What all deliveries so far say."""
        assert self.plugin is not None
        return [item for delivery in self.deliveries for item in self.plugin.normalise(delivery)]

    def interactions(self) -> list[Interaction]:
        """The interactions among them."""
        return [item for item in self.news() if isinstance(item, Interaction)]


Make = Callable[..., XSource]


class Stage:
    """A server for whichever twin is on it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.twin: Twin | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self.twin is not None
        await self.twin.app(scope, receive, send)

    @contextlib.asynccontextmanager
    async def shows(self, twin: Twin) -> AsyncIterator[None]:
        """Serve a twin; afterwards its webhooks under way are given up."""
        self.twin, twin.url = twin, self.url
        try:
            yield
        finally:
            for task in (tasks := list(twin._tasks)):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if twin._client is not None:
                await twin._client.aclose()
            self.twin = None


@contextlib.asynccontextmanager
async def staged() -> AsyncIterator[Stage]:
    """Serve on loopback, without waiting for acknowledgements between the parts of an answer."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stage = Stage(f"http://127.0.0.1:{listener.getsockname()[1]}")
    server = uvicorn.Server(uvicorn.Config(stage, log_level="critical", lifespan="off"))
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield stage
    finally:
        server.should_exit = server.force_exit = True
        await task
        listener.close()


@pytest.fixture(scope="session")
async def twin_stage() -> AsyncIterator[Stage]:
    """Where X is."""
    async with staged() as stage:
        yield stage


@pytest.fixture(scope="session")
async def door_stage() -> AsyncIterator[Stage]:
    """Where the gateway is."""
    async with staged() as stage:
        yield stage


@pytest.fixture
def clock(tmp_path: Path) -> SharedTime:
    """A time that tests may move forward."""
    return SharedTime.create(tmp_path / "time", at=START)


@pytest.fixture
async def twin(clock: SharedTime, twin_stage: Stage) -> AsyncIterator[XTwin]:
    """An X with a brand and a customer."""
    twin = XTwin(time=clock)
    twin.add_brand("AcmeSupport", id="1111111111111111111", name="Acme Support")
    twin.add_user("rita_ex", id="2222222222222222222", name="Rita Example")
    async with twin_stage.shows(twin):
        yield twin


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    """The host's client, with a time-out that tests can wait for."""
    async with httpx2.AsyncClient(timeout=httpx2.Timeout(30.0, read=1.0), trust_env=False, verify=False) as client:
        yield client


@pytest.fixture
def make(twin: XTwin, clock: SharedTime, http: httpx2.AsyncClient) -> Make:
    """Makes the plugin of one of the twin's brands; `app` and `config` change its settings."""

    def make(
        who: str = "AcmeSupport",
        *,
        app: dict[str, Any] | None = None,
        config: dict[str, Any] | None = None,
        **setup: Any,
    ) -> XSource:
        made = Setup(
            time=clock,
            connection_id="c1",
            account=twin.state.user(who).id,
            config=XConfig(**twin.connection_config(who, **(config or {}))),
            app=XApp(**twin.app_config(**(app or {}))),
            http=http,
            state=MemoryState(),
        )
        return XSource(dataclasses.replace(made, **setup))

    return make


@pytest.fixture
async def door(make: Make, door_stage: Stage) -> AsyncIterator[Door]:
    """A door that the twin can tell, not yet registered."""
    door = Door()
    door.plugin = make(config=None)
    async with door_stage.shows(door):
        yield door


@pytest.fixture
async def installed(door: Door, make: Make) -> Door:
    """A door with the brand's webhook and subscriptions."""
    await make(door=f"{door.url}/hooks/app").install(dry_run=False)
    return door


def page_delivery(page: RawPage, origin: str = "poll") -> RawDelivery:
    """The delivery the host stores for a page."""
    return RawDelivery("p", origin, page.body, START, stream=page.stream, note=page.note)  # type: ignore[arg-type]


@pytest.fixture
def read(make: Make) -> Callable[..., list[Normalised]]:
    """Normalises pages as the host would."""
    plugin = make()

    def read(pages: Sequence[RawPage], origin: str = "poll") -> list[Normalised]:
        return [item for page in pages for item in plugin.normalise(page_delivery(page, origin))]

    return read
