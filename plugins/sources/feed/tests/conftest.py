"""A twin in this process and a plugin that reads one of its feeds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from gateway_feed.config import FeedConfig
from gateway_feed.plugin import FeedSource
from gateway_feed.twin import FeedTwin
from gateway_schemas.interaction import Normalised
from gateway_schemas.plugin import Setup
from gateway_schemas.testing.clock import StillTime
from gateway_schemas.testing.in_process import TWIN_URL, in_process
from gateway_schemas.webhook import Page, RawDelivery, RawPage

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.fixture
def clock() -> StillTime:
    """A time that stands still until a test moves it."""
    return StillTime(START)


@pytest.fixture
def twin(clock: StillTime) -> FeedTwin:
    """A blog with one post of the brand's."""
    twin = FeedTwin(time=clock)
    twin.url = TWIN_URL
    twin.add_site("blog", "Acme's blog")
    twin.post("blog", "Acme", "<p>Our new app is out.</p>", title="New app")
    return twin


@pytest.fixture
async def http(twin: FeedTwin) -> AsyncIterator[httpx2.AsyncClient]:
    """The host's client, into the twin."""
    async with in_process(twin) as client:
        yield client


class Bench:
    """What the host does with the plugin."""

    def __init__(self, twin: FeedTwin, clock: StillTime, http: httpx2.AsyncClient) -> None:
        self.twin = twin
        self.clock = clock
        self.http = http
        self.cursor: dict[str, Any] | None = None

    def make(self, site: str = "blog", feed: str = "feed.xml", **config: Any) -> FeedSource:
        """The plugin of one feed."""
        given = FeedConfig(**self.twin.connection_config(site, feed, **config))
        return FeedSource(Setup(time=self.clock, connection_id="c1", account=given.url, config=given, http=self.http))

    async def poll(self, plugin: FeedSource | None = None) -> list[RawPage]:
        """Poll until there is no more, from where the last poll ended."""
        pages: list[RawPage] = []
        for _ in range(5):
            page: Page = await (plugin or self.make()).poll("entries", self.cursor)
            pages += page.pages
            self.cursor = page.cursor
            if not page.more:
                return pages
        raise AssertionError("polling does not end")

    def news(self, pages: Sequence[RawPage], plugin: FeedSource | None = None) -> list[Normalised]:
        """What pages say."""
        return [
            item
            for page in pages
            for item in (plugin or self.make()).normalise(
                RawDelivery("p", "poll", page.body, self.clock.now(), note=page.note)
            )
        ]

    def statuses(self) -> list[int]:
        """What the twin has answered so far."""
        return [status for _, _, status in self.twin.requests]


@pytest.fixture
def bench(twin: FeedTwin, clock: StillTime, http: httpx2.AsyncClient) -> Bench:
    """The plugin as the host uses it."""
    return Bench(twin, clock, http)
