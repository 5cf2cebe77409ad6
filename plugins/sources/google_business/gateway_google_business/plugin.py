"""Google Business Profile as a source: the class that the gateway registers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar

import httpx2
from pydantic import BaseModel

from gateway_google_business import authorising, budgets
from gateway_google_business.api import CERTS_PATH, SERVICES, Api, host, media_hosts
from gateway_google_business.config import GoogleApp, GoogleConfig
from gateway_google_business.health import check
from gateway_google_business.installing import Installer
from gateway_google_business.memory import Memory
from gateway_google_business.normalise import normalise
from gateway_google_business.push import KEYS, verify_push
from gateway_google_business.reading import OVERLAP, Reader
from gateway_google_business.refusals import quota_wait, read_refusal
from gateway_google_business.sending import LIMIT, Sender, render
from gateway_google_business.sweeping import Sweeper
from gateway_schemas import hookimpl
from gateway_schemas.capabilities import SourceCapabilities, TextLimit
from gateway_schemas.errors import Rejected, Unverified
from gateway_schemas.interaction import Normalised, Wanted
from gateway_schemas.length import Counting
from gateway_schemas.limits import Budget, LimitReading
from gateway_schemas.oauth import OAuth
from gateway_schemas.plugin import AccountRef, Health, InstallReport, Probing, Setup
from gateway_schemas.reply import Draft, FindResult, Rendered, SendIntent, Sent
from gateway_schemas.source import Source
from gateway_schemas.webhook import Page, RawDelivery, RawPage, WebhookRequest


class GoogleBusinessSource(Source[GoogleConfig]):
    """The reviews of one account's locations, or one project's push subscription."""

    name: ClassVar[str] = "google_business"
    title: ClassVar[str] = "Google Business Profile"
    Config: ClassVar[type[BaseModel]] = GoogleConfig
    AppConfig: ClassVar[type[BaseModel]] = GoogleApp
    budgets: ClassVar[tuple[Budget, ...]] = budgets.BUDGETS
    oauth = authorising.FIELDS
    key_sets: ClassVar[Mapping[str, str]] = {KEYS: host("www", None) + CERTS_PATH}
    probing: ClassVar[Probing] = Probing(calls=6)
    capabilities = SourceCapabilities(
        kinds=frozenset({"review", "comment"}),
        identity="provider",
        webhook=True,
        shared_webhook=True,
        poll=True,
        streams=("reviews", "replies", "sweep"),
        poll_every=timedelta(minutes=5),
        overlap=OVERLAP,
        reply=True,
        edit=True,
        delete=True,
        one_slot=True,
        text={"review": TextLimit(limit=LIMIT, counting=Counting.utf8_bytes)},
        # Google promises nothing about when a reply shows. To be wrong costs nothing: the same text put twice is there
        # once.
        index_lag=timedelta(seconds=30),
        idempotent_send=True,
    )

    def __init__(self, setup: Setup[GoogleConfig]) -> None:
        super().__init__(setup)
        self._known_api: Api | None = None

    @classmethod
    def account_of(cls, config: GoogleConfig) -> str | None:
        """The account's resource name, which wake-ups begin with."""
        return config.account

    @classmethod
    def hosts_of(cls, config: GoogleConfig, app: BaseModel | None = None) -> tuple[str, ...]:
        """Every Google API that is called."""
        base_url = app.base_url if isinstance(app, GoogleApp) else None
        return tuple(host(service, base_url) for service in SERVICES)

    @classmethod
    def oauth_of(cls, config: GoogleConfig, app: BaseModel | None = None) -> OAuth:
        """Google's consent page and token endpoint."""
        return authorising.declared(app if isinstance(app, GoogleApp) else None)

    @classmethod
    def media_hosts_of(cls, config: GoogleConfig, app: BaseModel | None = None) -> tuple[str, ...]:
        """Google's hosts for pictures and videos; a twin's where the App names one."""
        return media_hosts(app.base_url if isinstance(app, GoogleApp) else None)

    @classmethod
    def key_sets_of(cls, config: GoogleConfig | None, app: BaseModel | None = None) -> Mapping[str, str]:
        """Google's keys; those of a twin where the App names one."""
        return {KEYS: host("www", app.base_url if isinstance(app, GoogleApp) else None) + CERTS_PATH}

    def limits_of(self, response: httpx2.Response, bucket: str) -> list[LimitReading]:
        """Google has no headers of limits; a refusal says that a bucket is empty, and at times for how long."""
        if response.status_code not in (403, 429):
            return []
        found = read_refusal(response)
        if not found.over_quota and response.status_code != 429:
            return []
        now = self.setup.time.now()
        # the edits of one location are a quota apart; any other refusal is for the project
        empty = bucket if bucket == budgets.REPLY else budgets.EVERYTHING
        return [LimitReading(empty, None, 0, now + quota_wait(response, found, now))]

    # in

    def verify(self, request: WebhookRequest) -> None:
        """Check Pub/Sub's token against Google's keys, the audience and the service account."""
        verify_push(request, self._app(Unverified), self.setup.keys.get(KEYS) or {})

    def normalise(self, delivery: RawDelivery) -> Sequence[Normalised]:
        """Wake-ups name reviews to fetch; pages and single reviews name the account that they were read for."""
        return normalise(delivery)

    async def fetch(self, wanted: Sequence[Wanted]) -> Sequence[RawPage]:
        """Single reviews; the newest ones of a location."""
        return await Reader(self._api()).fetch(wanted)

    async def poll(self, stream: str, cursor: dict[str, Any] | None) -> Page:
        """One page of new reviews, of the daily sweep, or of replies that Google is looking at."""
        if stream not in self.capabilities.streams:
            raise Rejected(f"Google Business Profile has no stream {stream}", code="no_stream")
        reader = Reader(self._api())
        if stream == "reviews":
            return await reader.poll(cursor)
        sweeper = Sweeper(reader, Memory(self.state))
        return await (sweeper.follow(cursor) if stream == "replies" else sweeper.sweep(cursor))

    # out

    def render(self, draft: Draft) -> Rendered:
        """The request's body, with its length in bytes."""
        return render(draft)

    async def send(self, rendered: Rendered, key: str) -> Sent:
        """Fill the review's slot; what is in it is not replaced before a person has seen it."""
        return await self._sender().send(rendered)

    async def find(self, intent: SendIntent) -> FindResult:
        """Look into the slot."""
        return await self._sender().find(intent)

    async def retract(self, sent: Sent) -> None:
        """Empty the slot."""
        await self._sender().retract(sent)

    async def amend(self, sent: Sent, rendered: Rendered) -> Sent:
        """Put another text into the slot."""
        return await self._sender().amend(sent, rendered)

    # set-up

    async def discover(self) -> Sequence[AccountRef]:
        """The accounts that the token can act for."""
        return await Installer(self._api(), self.setup.door).discover()

    async def install(self, *, dry_run: bool) -> InstallReport:
        """Have Google tell of new reviews on the App's topic."""
        return await Installer(self._api(), self.setup.door).install(dry_run=dry_run)

    async def check(self) -> Health:
        """Token, approval, locations, notifications."""
        return await check(self._api())

    def _app(self, error: type[Unverified] | type[RuntimeError]) -> GoogleApp:
        if not isinstance(self.setup.app, GoogleApp):
            raise error("google_business: this connection belongs to no App; make one with the project's client first")
        return self.setup.app

    def _api(self) -> Api:
        if self._known_api is None:
            self._known_api = Api(self.setup, self.config, self._app(RuntimeError), self.http)
        return self._known_api

    def _sender(self) -> Sender:
        return Sender(self._api(), Memory(self.state))


@hookimpl
def register_sources() -> list[type[Any]]:
    """The gateway asks once, at start."""
    return [GoogleBusinessSource]
