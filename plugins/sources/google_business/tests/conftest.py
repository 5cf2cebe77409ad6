"""A twin on loopback and a plugin that talks to it.

The twin is made anew for each test, but served by one server that all tests share: starting and stopping one takes
longer than most tests do.
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
from starlette.types import Receive, Scope, Send

from gateway_google_business.config import GoogleApp, GoogleConfig
from gateway_google_business.plugin import GoogleBusinessSource
from gateway_google_business.reviews import review_items
from gateway_google_business.twin import GoogleTwin
from gateway_schemas.interaction import Interaction, Normalised, ReplyTarget
from gateway_schemas.plugin import MemoryState, Setup
from gateway_schemas.reply import Draft, Rendered
from gateway_schemas.time import SharedTime
from gateway_schemas.webhook import Page, RawDelivery, RawPage

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


class Stage:
    """A server for whichever twin is on it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.twin: GoogleTwin | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self.twin is not None
        await self.twin.app(scope, receive, send)


@pytest.fixture(scope="session")
async def stage() -> AsyncIterator[Stage]:
    """Where Google is."""
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


@pytest.fixture
def clock(tmp_path: Path) -> SharedTime:
    """A time that stands still until a test moves it."""
    return SharedTime.create(tmp_path / "time", at=START, speed=0)


@pytest.fixture
def twin(clock: SharedTime, stage: Stage) -> GoogleTwin:
    """A Google with an account of two locations."""
    twin = GoogleTwin(time=clock)
    twin.quota = None
    twin.add_account("1122", "Acme")
    twin.add_location("1122", "3344", "Acme Berlin")
    twin.add_location("1122", "5566", "Acme Lisbon")
    stage.twin, twin.url = twin, stage.url
    return twin


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    """The host's client, with a time-out that tests can wait for."""
    async with httpx2.AsyncClient(timeout=httpx2.Timeout(30.0, read=2.0), trust_env=False, verify=False) as client:
        yield client


Make = Callable[..., GoogleBusinessSource]


@pytest.fixture
def make(twin: GoogleTwin, clock: SharedTime, http: httpx2.AsyncClient) -> Make:
    """Makes the plugin of one of the twin's accounts; `app` and `config` change its settings."""
    states: dict[str, MemoryState] = {}

    def make(
        account: str = "1122", *, app: dict[str, Any] | None = None, config: dict[str, Any] | None = None, **setup: Any
    ) -> GoogleBusinessSource:
        made = Setup(
            time=clock,
            connection_id="c1",
            account=f"accounts/{account}",
            config=GoogleConfig(**twin.connection_config(account, **(config or {}))),
            app=GoogleApp(**twin.app_config(**(app or {}))),
            http=http,
            media=http,
            state=states.setdefault(account, MemoryState()),
        )
        return GoogleBusinessSource(dataclasses.replace(made, **setup))

    return make


@pytest.fixture
def plugin(make: Make) -> GoogleBusinessSource:
    """The plugin of the account."""
    return make()


class Bench:
    """What tests do with the plugin that the host does otherwise."""

    def __init__(self, plugin: GoogleBusinessSource) -> None:
        self.plugin = plugin

    async def drain(
        self, stream: str, cursor: dict[str, Any] | None = None, plugin: GoogleBusinessSource | None = None
    ) -> tuple[list[RawPage], dict[str, Any]]:
        """Poll until Google has no more."""
        pages: list[RawPage] = []
        for _ in range(200):
            page: Page = await (plugin or self.plugin).poll(stream, cursor)
            pages += page.pages
            cursor = page.cursor
            if not page.more:
                return pages, cursor
        raise AssertionError("polling does not end")

    def news(self, pages: Sequence[RawPage], origin: Any = "poll") -> list[Normalised]:
        """What pages say."""
        return [
            item
            for page in pages
            if page.body
            for item in self.plugin.normalise(
                RawDelivery("p", origin, page.body, START, stream=page.stream, note=page.note)
            )
        ]

    def refs(self, pages: Sequence[RawPage]) -> list[str]:
        """The reviews on pages, in order."""
        found = (item for item in self.news(pages) if isinstance(item, Interaction))
        return [item.external_id for item in found if item.kind == "review"]

    async def rendered(self, ref: str, text: str) -> Rendered:
        """A reply as it would be sent."""
        _, review = await self.plugin._api().review(ref)
        draft = Draft(
            reply_id="r1",
            text=text,
            account="accounts/1122",
            target=ReplyTarget(kind="review", ref=ref),
            visibility="public",
            interaction=next(
                item for item in review_items(review, "accounts/1122", {}) if isinstance(item, Interaction)
            ),
        )
        return self.plugin.render(draft)


@pytest.fixture
def bench(plugin: GoogleBusinessSource) -> Bench:
    """The plugin as the host uses it."""
    return Bench(plugin)
