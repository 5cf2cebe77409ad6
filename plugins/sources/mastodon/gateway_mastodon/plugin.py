"""Mastodon as a source: the class that the gateway registers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any, ClassVar

import httpx2
from pydantic import BaseModel

from gateway_mastodon import api, authorising, streaming
from gateway_mastodon.changes import Changes
from gateway_mastodon.config import MastodonConfig
from gateway_mastodon.installing import Installer
from gateway_mastodon.normalise import normalise
from gateway_mastodon.reading import OVERLAP, Reader
from gateway_mastodon.sending import Sender, render
from gateway_schemas import hookimpl
from gateway_schemas.capabilities import SourceCapabilities, TextLimit
from gateway_schemas.errors import Rejected, Unverified
from gateway_schemas.interaction import Normalised, Wanted
from gateway_schemas.length import Counting
from gateway_schemas.limits import Budget, LimitReading
from gateway_schemas.oauth import OAuth, OAuthClient
from gateway_schemas.plugin import AccountRef, Health, InstallReport, Probing, Setup
from gateway_schemas.reply import Draft, FindResult, Rendered, SendIntent, Sent
from gateway_schemas.source import Source
from gateway_schemas.webhook import Hint, Page, RawDelivery, RawPage, WebhookRequest, WebhookResponse

_TARGETS = ("comment", "mention", "direct_message")


class MastodonSource(Source[MastodonConfig]):
    """One account at one Mastodon server, or at another one that speaks its API."""

    name: ClassVar[str] = "mastodon"
    title: ClassVar[str] = "Mastodon"
    Config: ClassVar[type[BaseModel]] = MastodonConfig
    budgets: ClassVar[tuple[Budget, ...]] = api.BUDGETS
    oauth = authorising.FIELDS
    probing: ClassVar[Probing] = Probing(calls=4)
    capabilities = SourceCapabilities(
        kinds=frozenset({"post", "comment", "direct_message"}),
        identity="provider",
        poll=True,
        streams=("notifications", "own", "changes"),
        poll_every=timedelta(minutes=2),
        overlap=OVERLAP,
        listen=True,
        reply=True,
        private=True,
        edit=True,
        delete=True,
        media=True,
        text={
            kind: TextLimit(limit=500, counting=Counting.graphemes, reserved_url=23)
            for kind in ("comment", "mention", "direct_message")
        },
        # An account's own posts are read from the table they were written to, perhaps from a copy of it that is
        # seconds behind; a minute also covers a request that the server was still working on when we gave up.
        index_lag=timedelta(seconds=60),
        # Keys are sent, but Mastodon keeps them for an hour only: beyond that a repeated send would be a second post.
        idempotent_send=False,
    )

    def __init__(self, setup: Setup[MastodonConfig]) -> None:
        super().__init__(setup)
        self._known_api: api.Api | None = None
        if setup.config is not None:
            self.capabilities = _narrowed(setup.config)

    @classmethod
    def account_of(cls, config: MastodonConfig) -> str | None:
        """The account's address, which is never given to somebody else."""
        return config.account

    @classmethod
    def oauth_of(cls, config: MastodonConfig, app: BaseModel | None = None) -> OAuth:
        """The server's own consent page and token endpoint."""
        return authorising.declared(config)

    async def oauth_client(self, redirect_uri: str) -> OAuthClient:
        """Register the gateway at the account's server."""
        return await authorising.register(self.http, self.config, redirect_uri, self.setup.time)

    @classmethod
    def hosts_of(cls, config: MastodonConfig, app: BaseModel | None = None) -> tuple[str, ...]:
        """The server, and where it streams."""
        return tuple(dict.fromkeys((config.base_url, config.streams_at)))

    @classmethod
    def media_hosts_of(cls, config: MastodonConfig, app: BaseModel | None = None) -> tuple[str, ...]:
        """The server, which keeps copies of what other servers' posts show, and where it keeps them."""
        return (config.base_url, *config.media_hosts)

    def limits_of(self, response: httpx2.Response, bucket: str) -> list[LimitReading]:
        """`X-RateLimit-*`, the reset as an ISO time."""
        return api.limits_of(response, bucket)

    # in

    def verify(self, request: WebhookRequest) -> WebhookResponse | None:
        """Accounts get no webhooks: Mastodon's are for a server's administrators and tell of the whole server."""
        raise Unverified("mastodon: this source is polled and has no webhooks", code="no_webhooks")

    def normalise(self, delivery: RawDelivery) -> Sequence[Normalised]:
        """Polled pages, fetched posts and what the stream carried; each names the account it was read for."""
        return normalise(delivery)

    async def fetch(self, wanted: Sequence[Wanted]) -> Sequence[RawPage]:
        """Posts with their versions, and what is around a post."""
        return await Reader(self._api()).fetch(wanted)

    async def poll(self, stream: str, cursor: dict[str, Any] | None) -> Page:
        """One page of notifications, of the account's own posts, or of what changed."""
        reader = Reader(self._api())
        match stream:
            case "notifications":
                return await reader.poll_notifications(cursor)
            case "own":
                return await reader.poll_own(cursor)
            case "changes":
                return await Changes(reader).poll(cursor)
        raise Rejected(f"mastodon has no stream {stream}", code="no_such_stream")

    async def listen(self) -> AsyncIterator[Hint]:
        """The account's stream of server-sent events."""
        async for hint in streaming.follow(self._api()):
            yield hint

    # out

    def render(self, draft: Draft) -> Rendered:
        """The request's body, with its length as the server counts it."""
        return render(self.config, draft)

    async def send(self, rendered: Rendered, key: str) -> Sent:
        """Publish, with the key as Idempotency-Key."""
        return await self._sender().send(rendered, key)

    async def find(self, intent: SendIntent) -> FindResult:
        """Look through the account's own posts."""
        return await self._sender().find(intent)

    async def retract(self, sent: Sent) -> None:
        """Delete the post."""
        await self._sender().retract(sent)

    async def amend(self, sent: Sent, rendered: Rendered) -> Sent:
        """Edit the post; its readers see that it was edited, and what it said before."""
        return await self._sender().amend(sent, rendered)

    # set-up

    async def discover(self) -> Sequence[AccountRef]:
        """The account whose token it is."""
        return await Installer(self._api()).discover()

    async def install(self, *, dry_run: bool) -> InstallReport:
        """Read the server's limits into the configuration."""
        return await Installer(self._api()).install(dry_run=dry_run)

    async def check(self) -> Health:
        """Token, account, limits, stream."""
        return await Installer(self._api()).check()

    def _sender(self) -> Sender:
        return Sender(self._api(), self.files, self.state)

    def _api(self) -> api.Api:
        if self._known_api is None:
            self._known_api = api.Api(self.setup, self.config, self.http)
        return self._known_api


def _narrowed(config: MastodonConfig) -> SourceCapabilities:
    """What this account's server takes, and whether its stream is followed."""
    text = TextLimit(limit=config.max_characters, counting=Counting.graphemes, reserved_url=config.url_length)
    update = {"listen": config.streaming, "media": config.max_media > 0, "text": dict.fromkeys(_TARGETS, text)}
    return MastodonSource.capabilities.model_copy(update=update)


@hookimpl
def register_sources() -> list[type[Any]]:
    """The gateway asks once, at start."""
    return [MastodonSource]
