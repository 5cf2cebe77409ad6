"""A twin in this process and a plugin that talks to it."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from gateway_bluesky.config import BlueskyConfig
from gateway_bluesky.plugin import BlueskySource
from gateway_bluesky.twin import BlueskyTwin
from gateway_schemas.files import MemoryFiles
from gateway_schemas.interaction import Interaction, Normalised, Wanted
from gateway_schemas.plugin import MemoryState, Setup
from gateway_schemas.reply import Draft, OutgoingFile, Rendered
from gateway_schemas.testing.clock import StillTime
from gateway_schemas.testing.in_process import in_process
from gateway_schemas.webhook import Page, RawDelivery, RawPage

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ACME, RITA = "acme.example.com", "rita.example.com"


@pytest.fixture
def clock() -> StillTime:
    """A time that stands still until a test moves it."""
    return StillTime(START)


@pytest.fixture
def twin(clock: StillTime) -> BlueskyTwin:
    """A network with a brand and a customer."""
    twin = BlueskyTwin(time=clock)
    twin.add_brand(ACME, did="did:plc:acmeacmeacmeacmeacmeacme", name="Acme Support")
    twin.add_user(RITA, did="did:plc:ritaritaritaritaritarita", name="Rita Example")
    return twin


@pytest.fixture
async def http(twin: BlueskyTwin) -> AsyncIterator[httpx2.AsyncClient]:
    """The host's client."""
    async with in_process(twin) as client:
        yield client


Make = Callable[..., BlueskySource]


@pytest.fixture
def files() -> MemoryFiles:
    """The host's copies of files."""
    return MemoryFiles()


@pytest.fixture
def make(twin: BlueskyTwin, clock: StillTime, http: httpx2.AsyncClient, files: MemoryFiles) -> Make:
    """Makes the plugin of one of the brands; `config` changes its settings, the rest its setup."""

    def make(who: str = ACME, *, config: dict[str, Any] | None = None, **setup: Any) -> BlueskySource:
        made = Setup(
            time=clock,
            connection_id="c1",
            account=twin.state.account(who).did,
            config=BlueskyConfig(**twin.connection_config(who, **(config or {}))),
            http=http,
            media=http,
            files=files,
            state=MemoryState(),
        )
        return BlueskySource(dataclasses.replace(made, **setup))

    return make


@pytest.fixture
def plugin(make: Make) -> BlueskySource:
    """The plugin of the account."""
    return make()


class Bench:
    """What tests do with the plugin that the host does otherwise."""

    def __init__(self, plugin: BlueskySource) -> None:
        self.plugin = plugin

    async def drain(
        self, stream: str, cursor: dict[str, Any] | None = None, plugin: BlueskySource | None = None
    ) -> tuple[list[RawPage], dict[str, Any]]:
        """Poll until the server has no more."""
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
        deliveries = (
            RawDelivery("p", origin, page.body, START, stream=page.stream, note=page.note)
            for page in pages
            if page.body
        )
        return [item for delivery in deliveries for item in self.plugin.normalise(delivery)]

    def heard(self, pages: Sequence[RawPage]) -> list[Interaction]:
        """The interactions on pages."""
        return [item for item in self.news(pages) if isinstance(item, Interaction)]

    async def read(self, uri: str) -> Interaction:
        """A post as the plugin sees it."""
        return self.heard(await self.plugin.fetch([Wanted(ref=uri)]))[-1]

    async def rendered(self, uri: str, text: str, *, plugin: BlueskySource | None = None, **changes: Any) -> Rendered:
        """An answer to a post as it would be sent."""
        return (plugin or self.plugin).render(self.draft(await self.read(uri), text, **changes))

    def draft(self, interaction: Interaction, text: str, **changes: Any) -> Draft:
        """A draft as the host makes it."""
        assert interaction.reply_target is not None
        target = changes.pop("target", interaction.reply_target)
        return Draft(
            reply_id="r1",
            text=text,
            account=interaction.account,
            target=target,
            visibility="private" if target.kind == "direct_message" else "public",
            interaction=interaction,
            **{"written_at": START, **changes},
        )

    def file(self, body: bytes, media_type: str = "image/jpeg", name: str = "photo.jpg") -> OutgoingFile:
        """A file that goes out."""
        assert isinstance(self.plugin.files, MemoryFiles)
        return OutgoingFile(sha256=self.plugin.files.keep(body), media_type=media_type, name=name, size=len(body))


@pytest.fixture
def bench(plugin: BlueskySource) -> Bench:
    """The plugin as the host uses it."""
    return Bench(plugin)
