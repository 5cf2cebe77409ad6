"""A twin in this process and a plugin that talks to it."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from gateway_mastodon.config import MastodonConfig
from gateway_mastodon.plugin import MastodonSource
from gateway_mastodon.twin import MastodonTwin
from gateway_schemas.files import MemoryFiles
from gateway_schemas.interaction import Interaction, Normalised, Wanted
from gateway_schemas.plugin import MemoryState, Setup
from gateway_schemas.reply import Draft, OutgoingFile, Rendered
from gateway_schemas.testing.clock import StillTime
from gateway_schemas.testing.in_process import in_process
from gateway_schemas.webhook import Page, RawDelivery, RawPage

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
RITA = "rita@example.social"
SUPPORT = "@support@masto.acme.example"


@pytest.fixture
def clock() -> StillTime:
    """A time that stands still until a test moves it."""
    return StillTime(START)


@pytest.fixture
def twin(clock: StillTime) -> MastodonTwin:
    """A server with a brand's account, and a customer at another one."""
    twin = MastodonTwin(time=clock)
    twin.add_brand("support", id="109000000000000001", name="Acme Support")
    twin.add_user(RITA, id="109000000000000002", name="Rita Example", followers=7)
    return twin


@pytest.fixture
async def http(twin: MastodonTwin) -> AsyncIterator[httpx2.AsyncClient]:
    """The host's client."""
    async with in_process(twin) as client:
        yield client


Make = Callable[..., MastodonSource]


@pytest.fixture
def files() -> MemoryFiles:
    """The host's copies of files."""
    return MemoryFiles()


@pytest.fixture
def make(twin: MastodonTwin, clock: StillTime, http: httpx2.AsyncClient, files: MemoryFiles) -> Make:
    """Makes the plugin of one of the server's accounts; `config` changes its settings, the rest its setup."""

    def make(who: str = "support", *, config: dict[str, Any] | None = None, **setup: Any) -> MastodonSource:
        made = Setup(
            time=clock,
            connection_id="c1",
            account=f"{who}@masto.acme.example",
            config=MastodonConfig(**twin.connection_config(who, **(config or {}))),
            http=http,
            media=http,
            files=files,
            state=MemoryState(),
        )
        return MastodonSource(dataclasses.replace(made, **setup))

    return make


@pytest.fixture
def plugin(make: Make) -> MastodonSource:
    """The plugin of the account."""
    return make()


class Bench:
    """What tests do with the plugin that the host does otherwise."""

    def __init__(self, plugin: MastodonSource) -> None:
        self.plugin = plugin

    async def drain(
        self, stream: str, cursor: dict[str, Any] | None = None, plugin: MastodonSource | None = None
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

    async def read(self, id: str) -> Interaction:
        """A post as the plugin sees it."""
        page = await self.plugin.fetch([wanted(id)])
        return self.heard(page[:1])[-1]

    async def rendered(self, id: str, text: str, *, plugin: MastodonSource | None = None, **changes: Any) -> Rendered:
        """An answer to a post as it would be sent."""
        return (plugin or self.plugin).render(self.draft(await self.read(id), text, **changes))

    def draft(self, interaction: Interaction, text: str, **changes: Any) -> Draft:
        """A draft as the host makes it."""
        assert interaction.reply_target is not None
        target = changes.pop("target", interaction.reply_target)
        return Draft(
            reply_id="r1",
            text=text,
            account="support@masto.acme.example",
            target=target,
            visibility="private" if target.kind == "direct_message" else "public",
            interaction=interaction,
            **changes,
        )

    def file(self, body: bytes, media_type: str = "image/jpeg", name: str = "photo.jpg") -> OutgoingFile:
        """A file that goes out."""
        assert isinstance(self.plugin.files, MemoryFiles)
        return OutgoingFile(sha256=self.plugin.files.keep(body), media_type=media_type, name=name, size=len(body))


def wanted(id: str) -> Wanted:
    """A post as the host asks for it."""
    return Wanted(ref=f"masto.acme.example/{id}")


@pytest.fixture
def bench(plugin: MastodonSource) -> Bench:
    """The plugin as the host uses it."""
    return Bench(plugin)
