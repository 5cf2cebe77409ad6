"""A twin in this process and a plugin that talks to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from gateway_app_store.config import AppStoreApp, AppStoreConfig
from gateway_app_store.plugin import AppStoreSource
from gateway_app_store.twin import AppStoreTwin
from gateway_schemas.interaction import Author, Interaction, Normalised, ReplyTarget
from gateway_schemas.plugin import MemoryState, Setup
from gateway_schemas.reply import Draft, Rendered
from gateway_schemas.testing.clock import StillTime
from gateway_schemas.testing.in_process import TWIN_URL, in_process
from gateway_schemas.webhook import RawDelivery, RawPage

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
APP = "123"


@pytest.fixture
def clock() -> StillTime:
    """A time that stands still until a test moves it."""
    return StillTime(START)


@pytest.fixture
def twin(clock: StillTime) -> AppStoreTwin:
    """An App Store Connect with one app."""
    twin = AppStoreTwin(time=clock)
    twin.wire.limit = 10**6
    twin.add_app(APP, "Acme")
    twin.url = TWIN_URL
    return twin


@pytest.fixture
async def http(twin: AppStoreTwin) -> AsyncIterator[httpx2.AsyncClient]:
    """The host's client, into the twin."""
    async with in_process(twin) as client:
        yield client


class Bench:
    """What the host does with the plugin."""

    def __init__(self, twin: AppStoreTwin, clock: StillTime, http: httpx2.AsyncClient) -> None:
        self.twin = twin
        self.clock = clock
        self.http = http
        self.state = MemoryState()
        self.plugin = self.make()

    def make(self, *, app: dict[str, Any] | None = None, **config: Any) -> AppStoreSource:
        """Another instance with the same state, as after a restart."""
        return AppStoreSource(
            Setup(
                time=self.clock,
                connection_id="c1",
                account=APP,
                config=AppStoreConfig(**self.twin.connection_config(APP, **config)),
                app=AppStoreApp(**self.twin.app_config(**(app or {}))),
                http=self.http,
                state=self.state,
            )
        )

    def pass_time(self, **by: float) -> None:
        """Move the clock on."""
        self.clock.pass_by(**by)

    async def drain(
        self, stream: str, cursor: dict[str, Any] | None = None, *, plugin: AppStoreSource | None = None
    ) -> tuple[list[RawPage], dict[str, Any]]:
        """Poll until Apple has no more."""
        pages: list[RawPage] = []
        for _ in range(100):
            page = await (plugin or self.plugin).poll(stream, cursor)
            pages += page.pages
            cursor = page.cursor
            if not page.more:
                return pages, cursor
        raise AssertionError("polling does not end")

    def news(self, pages: Sequence[RawPage]) -> list[Normalised]:
        """What pages say."""
        return [
            item
            for page in pages
            if page.body
            for item in self.plugin.normalise(RawDelivery("p", "poll", page.body, START, note=page.note))
        ]

    def refs(self, pages: Sequence[RawPage]) -> list[str]:
        """The reviews on pages, in order."""
        return [
            item.external_id for item in self.news(pages) if isinstance(item, Interaction) and item.kind == "review"
        ]

    def draft(self, ref: str, text: str, **changes: Any) -> Draft:
        """An agent's answer to a review."""
        target = ReplyTarget(kind="review", ref=ref)
        review = Interaction(
            external_id=ref,
            revision="1",
            account=APP,
            kind="review",
            visibility="public",
            author=Author(external_id="reviewer:1"),
            reply_target=target,
            published_at=START,
        )
        values: dict[str, Any] = {
            "reply_id": "r1",
            "text": text,
            "account": APP,
            "target": target,
            "visibility": "public",
            "interaction": review,
        }
        return Draft(**{**values, **changes})

    def rendered(self, ref: str, text: str) -> Rendered:
        """A reply as it would be sent."""
        return self.plugin.render(self.draft(ref, text))


@pytest.fixture
def bench(twin: AppStoreTwin, clock: StillTime, http: httpx2.AsyncClient) -> Bench:
    """The plugin as the host uses it."""
    return Bench(twin, clock, http)
