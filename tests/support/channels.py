"""Channels in simulated time: real plugins against twins over real HTTP, minutes that a test counts, no waiting.

Nothing runs by itself: what a worker would do in a minute is done when the test says that a minute has passed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2

from gateway.pipeline.drains import Drains, tick
from gateway.pipeline.listen import QUIETLY, Listeners
from gateway_email.twin import EmailTwin
from gateway_feed.twin import FeedTwin
from gateway_google_business.twin import GoogleTwin
from gateway_inbound.twin import InboundTwin
from gateway_mastodon.twin import MastodonTwin
from gateway_meta.twin import MetaTwin
from gateway_schemas.testing.twin import Twin
from gateway_schemas.time import SharedTime
from gateway_x.twin import XTwin
from gateway_zendesk.twin import ZendeskTwin
from support.gateway import Gateway, fresh_database, running

KEY = "a-key-for-tests-only"
EVENING = datetime(2026, 3, 2, 17, 0, tzinfo=UTC)
MAILBOX = "help@acme.example"
FOUR = ("x", "meta", "mastodon", "feed")
"""The channels that most tests need."""
PLUGINS = {"google": "google_business", "forum": "inbound"}
"""Of channels that are not called like their plugin."""
TOPIC = "projects/acme-twin/topics/reviews"
PUSHES_AS = "push@acme-twin.iam.gserviceaccount.com"


@dataclass
class Twins:
    """The providers; those of the channels that a test needs are served."""

    time: SharedTime

    def __post_init__(self) -> None:
        self.desk = ZendeskTwin(time=self.time)
        self.x, self.meta = XTwin(time=self.time, tier="enterprise"), MetaTwin(time=self.time)
        self.mastodon, self.feed = MastodonTwin(time=self.time), FeedTwin(time=self.time)
        self.google, self.email = GoogleTwin(time=self.time), EmailTwin(time=self.time)
        self.forum = InboundTwin(time=self.time)
        self.desk.limits.off()
        self.x.add_brand("AcmeSupport")
        self.meta.add_page("acme")
        self.mastodon.add_brand("acme")
        self.feed.add_site("blog", "Acme's forum")
        self.google.add_user("owner", cloud=True)
        self.google.add_account("100", "Acme")
        self.google.add_location("100", "200", "Acme Springfield")
        self.google.add_topic(TOPIC)
        self.email.add_brand(MAILBOX)
        for number in range(1, 200):
            name = f"rita{number}"
            self.x.add_user(name)
            self.meta.add_user(name)
            self.mastodon.add_user(name)

    def of(self, channel: str) -> Twin:
        """The provider of a channel."""
        found: Twin = getattr(self, channel)
        return found

    def app_config(self, channel: str, url: str) -> dict[str, Any] | None:
        """What an App at a provider needs; None where there are none."""
        match channel:
            case "x":
                return self.x.app_config()
            case "meta":
                return self.meta.app_config()
            case "google":
                return self.google.app_config(pubsub_topic=TOPIC, push_audience=url, push_service_account=PUSHES_AS)
        return None

    def connection_config(self, channel: str) -> dict[str, Any]:
        """What an account there needs."""
        match channel:
            case "x":
                return self.x.connection_config("AcmeSupport", direct_messages=False)
            case "meta":
                return self.meta.connection_config("acme", messages=False)
            case "mastodon":
                return self.mastodon.connection_config("acme", streaming=False)
            case "feed":
                return self.feed.connection_config("blog")
            case "google":
                return self.google.connection_config("100")
            case "email":
                return self.email.connection_config(MAILBOX)
        return self.forum.connection_config()


@dataclass
class Channels:
    """A gateway, its channels, and the minutes."""

    gateway: Gateway
    clock: SharedTime
    http: httpx2.AsyncClient
    helpdesk: UUID
    twins: Twins
    ids: dict[str, UUID]
    apps: dict[str, UUID]
    written: dict[str, list[str]] = field(default_factory=dict)
    """What customers wrote, by channel."""
    halted: set[str] = field(default_factory=set)
    """Drains that nobody runs, as if the process that holds their leases hung."""
    _woken: set[str] = field(default_factory=set)
    _serial: int = 0
    _mailed_at: datetime | None = None
    """When a mail came of which somebody who waits was told."""

    def __post_init__(self) -> None:
        self._drains = Drains(self.gateway.runtime, self.gateway.runtime.sandbox)
        self.listeners = Listeners(self.gateway.runtime)
        self.desk = self.twins.desk
        self.x, self.meta, self.mastodon, self.feed = (
            self.twins.x,
            self.twins.meta,
            self.twins.mastodon,
            self.twins.feed,
        )
        self.google, self.email, self.forum = self.twins.google, self.twins.email, self.twins.forum
        self.gateway.runtime.wake.nearby = self._take

    def _take(self, name: str) -> bool:
        self._woken.add(name)
        return True

    async def work(self) -> None:
        """Everything that is due now."""
        runtime = self.gateway.runtime
        for twin in map(self.twins.of, self.ids):
            if not twin.webhooks.paused:
                await twin.settle()
        await self._follow()
        await tick(runtime)
        for _ in range(100):
            await runtime.wake.settle()
            names, self._woken = sorted(self._woken - self.halted), set()
            if not names:
                return
            for name in names:
                await self._drains.run(name)
        raise AssertionError(f"there is no end to what is due: {names}")

    async def _follow(self) -> None:
        """Follow the streams that nobody follows, as long as it takes until each is followed or has ended, and what was
        told by one has been heard."""
        if "email" not in self.ids:
            return
        await self.listeners.look()
        async with asyncio.timeout(30.0):
            while True:
                row = (
                    await self.gateway.rows(
                        """SELECT hinted_at, failures, (SELECT count(*) FROM lease WHERE name = 'listen:' || :id
                               AND until > clock_timestamp()) AS held
                           FROM listener WHERE connection_id = :id""",
                        id=self.ids["email"],
                    )
                    or [{"hinted_at": None, "failures": 0, "held": 1}]
                )[0]
                told = self._mailed_at if self.email.idling and not self.email.deaf else None
                heard = told is None or (row["hinted_at"] is not None and row["hinted_at"] > told - QUIETLY)
                if heard and (self.email.idling or not row["held"]):
                    return
                await asyncio.sleep(0.02)

    async def minute(self, count: int = 1, *, by: int = 1) -> None:
        """Let minutes pass, in steps of so many."""
        for _ in range(count):
            self.clock.jump(self.clock.now() + timedelta(minutes=by))
            await self.work()

    async def health(self, channel: str) -> dict[str, Any]:
        """A channel's health as the REST API shows it."""
        answer = await self.http.get(f"/v1/connections/{self.ids[channel]}")
        shown: dict[str, Any] = answer.json()["health"]["channel"]
        return shown

    async def until(self, channel: str, state: str, minutes: int) -> tuple[int, dict[str, Any]]:
        """After how many minutes a channel was in a state, and its health then."""
        for passed in range(1, minutes + 1):
            await self.minute()
            health = await self.health(channel)
            if health["state"] == state:
                return passed, health
        raise AssertionError(f"{channel} is not {state} after {minutes} minutes, but {health}")

    def write(self, channel: str) -> str:
        """A customer writes something that is to become a ticket."""
        self._serial += 1
        text = f"Matter {self._serial} of {channel}"
        match channel:
            case "x":
                self.x.post(f"rita{self._serial}", f"@AcmeSupport {text}")
            case "meta":
                self.meta.post(f"rita{self._serial}", text, self.page_post)
            case "mastodon":
                self.mastodon.post(f"rita{self._serial}", f"@acme {text}")
            case "feed":
                self.feed.post("blog", f"Rita {self._serial}", f"<p>{text}</p>")
            case "google":
                self.google.review("200", f"Rita {self._serial}", 2, text)
            case "email":
                self._mailed_at = self.clock.now() if self.email.idling and not self.email.deaf else None
                self.email.direct_message(f"rita{self._serial}@mail.example", MAILBOX, text)
            case "forum":
                self.forum.write(text, f"rita{self._serial}")
        self.written.setdefault(channel, []).append(text)
        return text

    page_post: str = ""

    def told(self, channel: str) -> list[str]:
        """What stands at the helpdesk of what was written in a channel."""
        found = [comment.body for ticket in self.desk.tickets.values() for comment in ticket.comments]
        return [one for body in found for one in self.written.get(channel, ()) if f"{one}\n" in f"{body}\n"]

    def subscribe(self) -> None:
        """What the owner of the Google project does: have the topic pushed to the gateway."""
        self.google.subscribe(
            TOPIC, f"{self.gateway.url}/hooks/{self.apps['google']}", PUSHES_AS, audience=self.gateway.url
        )

    async def install(self, channel: str) -> None:
        """What the admin does: set up everything at the provider."""
        answer = await self.http.post(f"/v1/connections/{self.ids[channel]}/install")
        assert answer.is_success, answer.text


@contextlib.asynccontextmanager
async def channels(
    server_url: str, folder: Path, names: Sequence[str] = FOUR, **settings: Any
) -> AsyncIterator[Channels]:
    """Some channels and a helpdesk, set up and proven."""
    clock = SharedTime.create(folder / "time", at=EVENING, speed=0)
    twins = Twins(clock)
    desk = twins.desk
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(fresh_database(server_url))
        for twin in (desk, *map(twins.of, names)):
            await stack.enter_async_context(twin.serve())
        gateway = await stack.enter_async_context(running(url, folder, worker=False, time_file=clock.path, **settings))
        http = await stack.enter_async_context(
            httpx2.AsyncClient(
                base_url=gateway.url, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False, timeout=60.0
            )
        )
        helpdesk = await gateway.add_connection(
            "helpdesk",
            "zendesk",
            {"base_url": desk.url, "email": desk.email, "api_token": desk.token, "share": 1.0},
        )
        apps: dict[str, UUID] = {}
        ids: dict[str, UUID] = {}
        for name in names:
            plugin, app = PLUGINS.get(name, name), twins.app_config(name, gateway.url)
            if app is not None:
                apps[name] = await gateway.add_app(plugin, app, name=name)
            ids[name] = await gateway.add_connection(
                "source", plugin, twins.connection_config(name), app=apps.get(name), helpdesk=helpdesk, name=name
            )
        made = Channels(gateway, clock, http, helpdesk, twins, ids, apps)
        stack.push_async_callback(made.listeners.stop)
        if "meta" in names:
            made.page_post = twins.meta.post("acme", "Our autumn colours")
        if "google" in names:
            made.subscribe()
        if "forum" in names:
            twins.forum.door = f"{gateway.url}/hooks/{ids['forum']}"
        await made.work()
        for name in apps:
            await made.install(name)
        for name in ids:
            made.write(name)
        await made.minute(16)
        yield made
