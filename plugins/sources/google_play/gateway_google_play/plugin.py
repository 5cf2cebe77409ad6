"""Google Play as a source: the class that the gateway registers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

import httpx2
from pydantic import BaseModel

from gateway_google_play.api import SERVICES, Api, host
from gateway_google_play.budgets import EVERYTHING, budgets
from gateway_google_play.config import PlayApp, PlayConfig
from gateway_google_play.health import check
from gateway_google_play.normalise import normalise
from gateway_google_play.reading import OVERLAP, Reader
from gateway_google_play.refusals import quota_wait, read_refusal
from gateway_google_play.sending import LIMIT, Sender, render
from gateway_schemas import hookimpl
from gateway_schemas.capabilities import SourceCapabilities, TextLimit
from gateway_schemas.errors import Rejected, Unverified
from gateway_schemas.interaction import Normalised, Wanted
from gateway_schemas.length import Counting
from gateway_schemas.limits import Budget, LimitReading
from gateway_schemas.plugin import Health, Setup
from gateway_schemas.reply import Draft, FindResult, Rendered, SendIntent, Sent
from gateway_schemas.source import Source
from gateway_schemas.webhook import Page, RawDelivery, RawPage, WebhookRequest


class GooglePlaySource(Source[PlayConfig]):
    """The reviews of one app."""

    name: ClassVar[str] = "google_play"
    title: ClassVar[str] = "Google Play"
    Config: ClassVar[type[BaseModel]] = PlayConfig
    AppConfig: ClassVar[type[BaseModel]] = PlayApp
    budgets: ClassVar[tuple[Budget, ...]] = budgets()
    capabilities = SourceCapabilities(
        kinds=frozenset({"review", "comment"}),
        identity="provider",
        poll=True,
        streams=("reviews", "sweep"),
        poll_every=timedelta(minutes=5),
        overlap=OVERLAP,
        reply=True,
        edit=True,
        one_slot=True,
        text={"review": TextLimit(limit=LIMIT, counting=Counting.code_points)},
        # Google promises nothing about when a reply shows. To be wrong costs nothing: the same text put twice is there
        # once.
        index_lag=timedelta(seconds=30),
        idempotent_send=True,
    )

    def __init__(self, setup: Setup[PlayConfig]) -> None:
        super().__init__(setup)
        self._known_api: Api | None = None

    @classmethod
    def account_of(cls, config: PlayConfig) -> str | None:
        """The app's package name."""
        return config.package_name

    @classmethod
    def hosts_of(cls, config: PlayConfig, app: BaseModel | None = None) -> tuple[str, ...]:
        """The API and the token endpoint."""
        base_url = app.base_url if isinstance(app, PlayApp) else None
        return tuple(host(service, base_url) for service in SERVICES)

    @classmethod
    def budgets_of(cls, config: PlayConfig, app: BaseModel | None = None) -> tuple[Budget, ...]:
        """Google's limits, as the App's settings have them."""
        return budgets(app if isinstance(app, PlayApp) else None)

    def limits_of(self, response: httpx2.Response, bucket: str) -> list[LimitReading]:
        """Google has no headers of limits; a refusal says that a bucket is empty, and at times for how long."""
        if response.status_code not in (403, 429):
            return []
        found = read_refusal(response)
        if not found.over_quota and response.status_code != 429:
            return []
        now = self.setup.time.now()
        return [LimitReading(bucket or EVERYTHING, None, 0, now + quota_wait(response, found, bucket, now))]

    # in

    def verify(self, request: WebhookRequest) -> None:
        """Google Play tells of no reviews: whatever comes to the door is not from it."""
        raise Unverified("Google Play sends no webhooks", code="no_webhooks")

    def normalise(self, delivery: RawDelivery) -> Sequence[Normalised]:
        """Pages of reviews, single reviews, and reviews that are gone."""
        return normalise(delivery)

    async def fetch(self, wanted: Sequence[Wanted]) -> Sequence[RawPage]:
        """Single reviews."""
        return await Reader(self._api()).fetch(wanted)

    async def poll(self, stream: str, cursor: dict[str, Any] | None) -> Page:
        """One page of new reviews, or of the sweep over the last week."""
        if stream not in self.capabilities.streams:
            raise Rejected(f"Google Play has no stream {stream}", code="no_stream")
        reader = Reader(self._api())
        return await (reader.poll(cursor) if stream == "reviews" else reader.sweep(cursor))

    # out

    def render(self, draft: Draft) -> Rendered:
        """The request's body, with its length in characters."""
        return render(draft)

    async def send(self, rendered: Rendered, key: str) -> Sent:
        """Fill the review's slot; what is in it is not replaced before a person has seen it."""
        return await Sender(self._api()).send(rendered)

    async def find(self, intent: SendIntent) -> FindResult:
        """Look into the slot."""
        return await Sender(self._api()).find(intent)

    async def amend(self, sent: Sent, rendered: Rendered) -> Sent:
        """Put another text into the slot."""
        return await Sender(self._api()).amend(sent, rendered)

    # set-up

    async def check(self) -> Health:
        """The key, the permission, the app, and whether a week was missed."""
        return await check(self._api())

    def _api(self) -> Api:
        if self._known_api is None:
            app = self.setup.app
            if not isinstance(app, PlayApp):
                raise RuntimeError("google_play: this connection belongs to no App; make one with the service account")
            self._known_api = Api(self.setup, self.config, app, self.http, self.state)
        return self._known_api


@hookimpl
def register_sources() -> list[type[Any]]:
    """The gateway asks once, at start."""
    return [GooglePlaySource]
