"""A twin in this process and a plugin that talks to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from gateway_google_play.config import PlayApp, PlayConfig
from gateway_google_play.plugin import GooglePlaySource
from gateway_google_play.twin import PlayTwin
from gateway_schemas.interaction import Author, Interaction, Normalised, ReplyTarget
from gateway_schemas.plugin import MemoryState, Setup
from gateway_schemas.reply import Draft, Rendered
from gateway_schemas.testing.clock import StillTime
from gateway_schemas.testing.in_process import TWIN_URL, in_process
from gateway_schemas.webhook import RawDelivery, RawPage

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PACKAGE = "com.acme.app"


@pytest.fixture
def clock() -> StillTime:
    """A time that stands still until a test moves it."""
    return StillTime(START)


@pytest.fixture
def twin(clock: StillTime) -> PlayTwin:
    """A Google Play with one app."""
    twin = PlayTwin(time=clock)
    twin.wire.reads = twin.wire.writes = None
    twin.add_app(PACKAGE, "Acme")
    twin.url = TWIN_URL
    return twin


@pytest.fixture
async def http(twin: PlayTwin) -> AsyncIterator[httpx2.AsyncClient]:
    """The host's client, into the twin."""
    async with in_process(twin) as client:
        yield client


class Bench:
    """What the host does with the plugin."""

    def __init__(self, twin: PlayTwin, clock: StillTime, http: httpx2.AsyncClient) -> None:
        self.twin = twin
        self.clock = clock
        self.http = http
        self.state = MemoryState()
        self.plugin = self.make()

    def make(self, *, app: dict[str, Any] | None = None, **config: Any) -> GooglePlaySource:
        """Another instance with the same state, as after a restart."""
        return GooglePlaySource(
            Setup(
                time=self.clock,
                connection_id="c1",
                account=PACKAGE,
                config=PlayConfig(**self.twin.connection_config(PACKAGE, **config)),
                app=PlayApp(**self.twin.app_config(**(app or {}))),
                http=self.http,
                state=self.state,
            )
        )

    def pass_time(self, **by: float) -> None:
        """Move the clock on."""
        self.clock.pass_by(**by)

    async def drain(
        self, stream: str, cursor: dict[str, Any] | None = None, *, plugin: GooglePlaySource | None = None
    ) -> tuple[list[RawPage], dict[str, Any]]:
        """Poll until Google has no more."""
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
            account=PACKAGE,
            kind="review",
            visibility="public",
            author=Author(external_id="reviewer:1"),
            reply_target=target,
            published_at=START,
        )
        values: dict[str, Any] = {
            "reply_id": "r1",
            "text": text,
            "account": PACKAGE,
            "target": target,
            "visibility": "public",
            "interaction": review,
        }
        return Draft(**{**values, **changes})

    def rendered(self, ref: str, text: str) -> Rendered:
        """A reply as it would be sent."""
        return self.plugin.render(self.draft(ref, text))


@pytest.fixture
def bench(twin: PlayTwin, clock: StillTime, http: httpx2.AsyncClient) -> Bench:
    """The plugin as the host uses it."""
    return Bench(twin, clock, http)
