"""RSS and Atom feeds as a source: the class that the gateway registers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

from pydantic import BaseModel

from gateway_feed import setting_up
from gateway_feed.config import FeedConfig
from gateway_feed.normalise import normalise
from gateway_feed.polling import STREAM, poll
from gateway_schemas import hookimpl
from gateway_schemas.capabilities import SourceCapabilities
from gateway_schemas.errors import Rejected, Unverified
from gateway_schemas.interaction import Normalised
from gateway_schemas.plugin import AccountRef, Health, Probing
from gateway_schemas.reply import Draft, Rendered
from gateway_schemas.source import Source
from gateway_schemas.webhook import Page, RawDelivery, WebhookRequest


class FeedSource(Source[FeedConfig]):
    """One feed."""

    name: ClassVar[str] = "feed"
    title: ClassVar[str] = "RSS and Atom feeds"
    Config: ClassVar[type[BaseModel]] = FeedConfig
    capabilities = SourceCapabilities(
        kinds=frozenset({"post", "comment"}),
        # a guid need not be anybody's but the feed's own
        identity="account",
        poll=True,
        streams=(STREAM,),
        poll_every=timedelta(minutes=15),
    )

    @classmethod
    def account_of(cls, config: FeedConfig) -> str | None:
        """The feed's address."""
        return config.url

    @classmethod
    def hosts_of(cls, config: FeedConfig, app: BaseModel | None = None) -> tuple[str, ...]:
        """The feed's site, and the hosts that it may redirect to."""
        return config.origins

    @classmethod
    def probing_of(cls, config: FeedConfig, app: BaseModel | None = None) -> Probing:
        """As often as the config says: it may be somebody else's site."""
        return Probing(every=timedelta(minutes=config.probe_minutes))

    # in

    def verify(self, request: WebhookRequest) -> None:
        """Feeds are polled: whatever comes to the door is not from one."""
        raise Unverified("feeds send no webhooks", code="no_webhooks")

    def normalise(self, delivery: RawDelivery) -> Sequence[Normalised]:
        """The feed's entries, and those that it says are gone."""
        return normalise(delivery, self.config)

    async def poll(self, stream: str, cursor: dict[str, Any] | None) -> Page:
        """The feed, where it has changed since."""
        if stream != STREAM:
            raise Rejected(f"feeds have no stream {stream}", code="no_stream")
        return await poll(self.http, self.config, cursor, self.setup.time.now())

    # out

    def render(self, draft: Draft) -> Rendered:
        """Always refuses: a feed takes no answers. Says where a person can give one."""
        url = draft.target.extra.get("url")
        where = f" Answer on the page itself: {url}" if isinstance(url, str) else ""
        raise Rejected(f"Feeds can be read and not answered.{where}", code="no_replies")

    # set-up

    async def discover(self) -> Sequence[AccountRef]:
        """The feeds of the page at the address."""
        return await setting_up.discover(self.http, self.config, self.setup.time)

    async def check(self) -> Health:
        """Whether the feed is there, and what it lacks."""
        return await setting_up.check(self.http, self.config, self.setup.time)


@hookimpl
def register_sources() -> list[type[Any]]:
    """The gateway asks once, at start."""
    return [FeedSource]
