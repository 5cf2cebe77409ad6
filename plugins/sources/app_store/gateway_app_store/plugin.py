"""The App Store as a source: the class that the gateway registers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

import httpx2
from pydantic import BaseModel

from gateway_app_store import setting_up
from gateway_app_store.api import Api, host
from gateway_app_store.budgets import budgets, read_limit
from gateway_app_store.config import AppStoreApp, AppStoreConfig
from gateway_app_store.normalise import normalise
from gateway_app_store.reading import OVERLAP, Reader
from gateway_app_store.sending import LIMIT, Sender, render
from gateway_schemas import hookimpl
from gateway_schemas.capabilities import SourceCapabilities, TextLimit
from gateway_schemas.errors import Rejected, Unverified
from gateway_schemas.interaction import Normalised, Wanted
from gateway_schemas.length import Counting
from gateway_schemas.limits import Budget, LimitReading
from gateway_schemas.plugin import AccountRef, Health, Probing, Setup
from gateway_schemas.reply import Draft, FindResult, Rendered, SendIntent, Sent
from gateway_schemas.source import Source
from gateway_schemas.webhook import Page, RawDelivery, RawPage, WebhookRequest


class AppStoreSource(Source[AppStoreConfig]):
    """The customer reviews of one app."""

    name: ClassVar[str] = "app_store"
    title: ClassVar[str] = "App Store"
    Config: ClassVar[type[BaseModel]] = AppStoreConfig
    AppConfig: ClassVar[type[BaseModel]] = AppStoreApp
    budgets: ClassVar[tuple[Budget, ...]] = budgets()
    probing: ClassVar[Probing] = Probing(calls=2)
    capabilities = SourceCapabilities(
        kinds=frozenset({"review", "comment"}),
        identity="provider",
        poll=True,
        streams=("reviews", "responses", "sweep"),
        poll_every=timedelta(minutes=5),
        overlap=OVERLAP,
        reply=True,
        edit=True,
        delete=True,
        one_slot=True,
        text={"review": TextLimit(limit=LIMIT, counting=Counting.code_points)},
        # Apple promises nothing about when the API shows a response. To be wrong costs nothing: the same text put twice
        # is there once.
        index_lag=timedelta(seconds=30),
        idempotent_send=True,
    )

    def __init__(self, setup: Setup[AppStoreConfig]) -> None:
        super().__init__(setup)
        self._known_api: Api | None = None

    @classmethod
    def account_of(cls, config: AppStoreConfig) -> str | None:
        """The app's Apple ID."""
        return config.app_id

    @classmethod
    def hosts_of(cls, config: AppStoreConfig, app: BaseModel | None = None) -> tuple[str, ...]:
        """The API."""
        return (host(app.base_url if isinstance(app, AppStoreApp) else None),)

    @classmethod
    def budgets_of(cls, config: AppStoreConfig, app: BaseModel | None = None) -> tuple[Budget, ...]:
        """Apple's limit, as the App's settings have it."""
        return budgets(app if isinstance(app, AppStoreApp) else None)

    def limits_of(self, response: httpx2.Response, bucket: str) -> list[LimitReading]:
        """What is left of the key's hour."""
        return read_limit(response.headers.get("x-rate-limit"))

    # in

    def verify(self, request: WebhookRequest) -> None:
        """Apple's webhooks know no event for reviews: whatever comes to the door is not about one."""
        raise Unverified("the App Store sends no webhooks about reviews", code="no_webhooks")

    def normalise(self, delivery: RawDelivery) -> Sequence[Normalised]:
        """Pages of reviews, single responses, and what is gone."""
        return normalise(delivery)

    async def fetch(self, wanted: Sequence[Wanted]) -> Sequence[RawPage]:
        """Single reviews."""
        return await Reader(self._api()).fetch(wanted)

    async def poll(self, stream: str, cursor: dict[str, Any] | None) -> Page:
        """One page of new reviews, of the daily sweep, or of responses that are not shown yet."""
        match stream:
            case "reviews":
                return await Reader(self._api()).poll(cursor)
            case "responses":
                return await Reader(self._api()).follow(cursor)
            case "sweep":
                return await Reader(self._api()).sweep(cursor)
        raise Rejected(f"the App Store has no stream {stream}", code="no_stream")

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

    async def retract(self, sent: Sent) -> None:
        """Empty the slot."""
        await Sender(self._api()).retract(sent)

    async def amend(self, sent: Sent, rendered: Rendered) -> Sent:
        """Put another text into the slot."""
        return await Sender(self._api()).amend(sent, rendered)

    # set-up

    async def discover(self) -> Sequence[AccountRef]:
        """The apps that the key can see."""
        return await setting_up.discover(self._api())

    async def check(self) -> Health:
        """The key, its role, the app."""
        return await setting_up.check(self._api())

    def _api(self) -> Api:
        if self._known_api is None:
            app = self.setup.app
            if not isinstance(app, AppStoreApp):
                raise RuntimeError("app_store: this connection belongs to no App; make one with the API key first")
            self._known_api = Api(self.setup, self.config, app, self.http, self.state)
        return self._known_api


@hookimpl
def register_sources() -> list[type[Any]]:
    """The gateway asks once, at start."""
    return [AppStoreSource]
