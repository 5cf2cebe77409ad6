"""Bluesky as a source: the class that the gateway registers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

import httpx2
from pydantic import BaseModel

from gateway_bluesky import refusals
from gateway_bluesky.api import Api
from gateway_bluesky.changes import Changes
from gateway_bluesky.chat import Chat
from gateway_bluesky.config import BlueskyConfig
from gateway_bluesky.installing import Installer
from gateway_bluesky.normalise import normalise
from gateway_bluesky.reading import OVERLAP, Reader
from gateway_bluesky.sending import MESSAGE_LIMIT, POST_LIMIT, Sender, render
from gateway_schemas import hookimpl
from gateway_schemas.capabilities import SourceCapabilities, TextLimit
from gateway_schemas.errors import Rejected, Unverified
from gateway_schemas.files import Downloaded
from gateway_schemas.interaction import Attachment, Normalised, Wanted
from gateway_schemas.length import Counting
from gateway_schemas.limits import Budget, LimitReading
from gateway_schemas.plugin import AccountRef, Health, InstallReport, Probing, Setup
from gateway_schemas.reply import Draft, FindResult, Rendered, SendIntent, Sent
from gateway_schemas.source import Source
from gateway_schemas.webhook import Page, RawDelivery, RawPage, WebhookRequest, WebhookResponse

_PUBLIC = ("notifications", "own", "threads", "changes")


class BlueskySource(Source[BlueskyConfig]):
    """One account at Bluesky, or at another server of the AT Protocol."""

    name: ClassVar[str] = "bluesky"
    title: ClassVar[str] = "Bluesky"
    Config: ClassVar[type[BaseModel]] = BlueskyConfig
    budgets: ClassVar[tuple[Budget, ...]] = refusals.BUDGETS
    probing: ClassVar[Probing] = Probing(calls=3)
    capabilities = SourceCapabilities(
        kinds=frozenset({"post", "comment", "direct_message"}),
        identity="provider",
        poll=True,
        streams=(*_PUBLIC, "messages"),
        poll_every=timedelta(minutes=1),
        overlap=OVERLAP,
        reply=True,
        private=True,
        delete=True,
        media=True,
        text={
            "comment": TextLimit(limit=POST_LIMIT, counting=Counting.graphemes),
            "mention": TextLimit(limit=POST_LIMIT, counting=Counting.graphemes),
            "direct_message": TextLimit(limit=MESSAGE_LIMIT, counting=Counting.graphemes),
        },
        # A post is looked up where it was written, by its key. A minute covers a request that was still under way when
        # we gave up, and the chat service, which promises nothing.
        index_lag=timedelta(seconds=60),
    )

    def __init__(self, setup: Setup[BlueskyConfig]) -> None:
        super().__init__(setup)
        self._known_api: Api | None = None
        if setup.config is not None and not setup.config.direct_messages:
            self.capabilities = _without_messages(self.capabilities)

    @classmethod
    def account_of(cls, config: BlueskyConfig) -> str | None:
        """The account's identifier, which never changes; handles do."""
        return config.did

    @classmethod
    def hosts_of(cls, config: BlueskyConfig, app: BaseModel | None = None) -> tuple[str, ...]:
        """Where it logs in, and its own server."""
        return tuple(dict.fromkeys((config.base_url, config.home)))

    @classmethod
    def media_hosts_of(cls, config: BlueskyConfig, app: BaseModel | None = None) -> tuple[str, ...]:
        """Bluesky's host for pictures."""
        return tuple(config.media_hosts)

    def limits_of(self, response: httpx2.Response, bucket: str) -> list[LimitReading]:
        """`ratelimit-*`, the reset in epoch seconds."""
        return refusals.limits_of(response, bucket)

    # in

    def verify(self, request: WebhookRequest) -> WebhookResponse | None:
        """There are no webhooks."""
        raise Unverified("bluesky: this source is polled and has no webhooks", code="no_webhooks")

    def normalise(self, delivery: RawDelivery) -> Sequence[Normalised]:
        """Polled pages and fetched posts; each names the account it was read for."""
        return normalise(delivery)

    async def fetch(self, wanted: Sequence[Wanted]) -> Sequence[RawPage]:
        """Posts by 25, threads, messages."""
        return await self._reader().fetch(wanted)

    async def download(self, attachment: Attachment) -> Downloaded:
        """The bytes of a picture; a notification names it by its blob, which its post is looked up for."""
        if attachment.url is None and attachment.lookup is not None:
            attachment = await self._reader().picture(attachment)
        return await super().download(attachment)

    async def poll(self, stream: str, cursor: dict[str, Any] | None) -> Page:
        """One page of a stream."""
        reader = self._reader()
        match stream:
            case "notifications":
                return await reader.poll_notifications(cursor)
            case "own":
                return await reader.poll_own(cursor)
            case "threads":
                return await reader.poll_threads(cursor)
            case "changes":
                return await Changes(reader).poll(cursor)
            case "messages":
                return await Chat(reader).poll(cursor)
        raise Rejected(f"bluesky has no stream {stream}", code="no_such_stream")

    # out

    def render(self, draft: Draft) -> Rendered:
        """The record or message, with its length as Bluesky counts it."""
        return render(self.config, draft)

    async def send(self, rendered: Rendered, key: str) -> Sent:
        """Publish; a post's record key is made of the key."""
        return await self._sender().send(rendered, key)

    async def find(self, intent: SendIntent) -> FindResult:
        """Look up the record key, or look through the conversation."""
        return await self._sender().find(intent)

    async def retract(self, sent: Sent) -> None:
        """Delete the post."""
        await self._sender().retract(sent)

    # set-up

    async def discover(self) -> Sequence[AccountRef]:
        """The account whose app password it is."""
        return await Installer(self._api()).discover()

    async def install(self, *, dry_run: bool) -> InstallReport:
        """Find the account's own server."""
        return await Installer(self._api()).install(dry_run=dry_run)

    async def check(self) -> Health:
        """Session, account, server, messages."""
        return await Installer(self._api()).check()

    def _reader(self) -> Reader:
        return Reader(self._api())

    def _sender(self) -> Sender:
        return Sender(self._api(), self.files)

    def _api(self) -> Api:
        if self._known_api is None:
            self._known_api = Api(self.setup, self.config, self.http, self.state)
        return self._known_api


def _without_messages(general: SourceCapabilities) -> SourceCapabilities:
    text = {kind: limit for kind, limit in general.text.items() if kind != "direct_message"}
    kinds = general.kinds - {"direct_message"}
    # a post is the same however often it is sent under its key; of messages that cannot be said
    update = {"kinds": kinds, "streams": _PUBLIC, "private": False, "text": text, "idempotent_send": True}
    return general.model_copy(update=update)


@hookimpl
def register_sources() -> list[type[Any]]:
    """The gateway asks once, at start."""
    return [BlueskySource]
