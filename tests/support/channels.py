"""Channels in simulated time: real plugins against twins over real HTTP, minutes that a test counts, no waiting.

Nothing runs by itself: what a worker would do in a minute is done when the test says that a minute has passed.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2

from gateway.pipeline.drains import Drains, tick
from gateway_feed.twin import FeedTwin
from gateway_mastodon.twin import MastodonTwin
from gateway_meta.twin import MetaTwin
from gateway_schemas.time import SharedTime
from gateway_x.twin import XTwin
from gateway_zendesk.twin import ZendeskTwin
from support.gateway import Gateway, fresh_database, running

KEY = "a-key-for-tests-only"
EVENING = datetime(2026, 3, 2, 17, 0, tzinfo=UTC)


@dataclass
class Channels:
    """A gateway, its channels, and the minutes."""

    gateway: Gateway
    clock: SharedTime
    http: httpx2.AsyncClient
    desk: ZendeskTwin
    helpdesk: UUID
    x: XTwin
    meta: MetaTwin
    mastodon: MastodonTwin
    feed: FeedTwin
    ids: dict[str, UUID]
    apps: dict[str, UUID]
    written: dict[str, list[str]] = field(default_factory=dict)
    """What customers wrote, by channel."""
    halted: set[str] = field(default_factory=set)
    """Drains that nobody runs, as if the process that holds their leases hung."""
    _woken: set[str] = field(default_factory=set)
    _serial: int = 0

    def __post_init__(self) -> None:
        self._drains = Drains(self.gateway.runtime, self.gateway.runtime.sandbox)
        self.gateway.runtime.wake.nearby = self._take

    def _take(self, name: str) -> bool:
        self._woken.add(name)
        return True

    async def work(self) -> None:
        """Everything that is due now."""
        runtime = self.gateway.runtime
        for twin in (self.x, self.meta, self.mastodon, self.feed):
            await twin.settle()
        await tick(runtime)
        for _ in range(100):
            await runtime.wake.settle()
            names, self._woken = sorted(self._woken - self.halted), set()
            if not names:
                return
            for name in names:
                await self._drains.run(name)
        raise AssertionError(f"there is no end to what is due: {names}")

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
        self.written.setdefault(channel, []).append(text)
        return text

    page_post: str = ""

    def told(self, channel: str) -> list[str]:
        """What stands at the helpdesk of what was written in a channel."""
        found = [comment.body for ticket in self.desk.tickets.values() for comment in ticket.comments]
        return [one for body in found for one in self.written.get(channel, ()) if f"{one}\n" in f"{body}\n"]

    async def install(self, channel: str) -> None:
        """What the admin does: set up everything at the provider."""
        answer = await self.http.post(f"/v1/connections/{self.ids[channel]}/install")
        assert answer.is_success, answer.text


@contextlib.asynccontextmanager
async def channels(server_url: str, folder: Path, **settings: Any) -> AsyncIterator[Channels]:
    """Four channels and a helpdesk, set up and proven."""
    clock = SharedTime.create(folder / "time", at=EVENING, speed=0)
    x, meta = XTwin(time=clock, tier="enterprise"), MetaTwin(time=clock)
    mastodon, feed, desk = MastodonTwin(time=clock), FeedTwin(time=clock), ZendeskTwin(time=clock)
    desk.limits.off()
    x.add_brand("AcmeSupport")
    meta.add_page("acme")
    mastodon.add_brand("acme")
    feed.add_site("blog", "Acme's forum")
    for number in range(1, 200):
        name = f"rita{number}"
        x.add_user(name)
        meta.add_user(name)
        mastodon.add_user(name)
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(fresh_database(server_url))
        for twin in (x, meta, mastodon, feed, desk):
            await stack.enter_async_context(twin.serve())
        gateway = await stack.enter_async_context(running(url, folder, worker=False, time_file=clock.path, **settings))
        http = await stack.enter_async_context(
            httpx2.AsyncClient(base_url=gateway.url, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False)
        )
        helpdesk = await gateway.add_connection(
            "helpdesk",
            "zendesk",
            {"base_url": desk.url, "email": desk.email, "api_token": desk.token, "share": 1.0},
        )
        apps = {
            "x": await gateway.add_app("x", x.app_config(), name="x"),
            "meta": await gateway.add_app("meta", meta.app_config(), name="meta"),
        }
        configs: dict[str, dict[str, Any]] = {
            "x": x.connection_config("AcmeSupport", direct_messages=False),
            "meta": meta.connection_config("acme", messages=False),
            "mastodon": mastodon.connection_config("acme", streaming=False),
            "feed": feed.connection_config("blog"),
        }
        ids = {
            name: await gateway.add_connection("source", name, config, app=apps.get(name), helpdesk=helpdesk)
            for name, config in configs.items()
        }
        made = Channels(gateway, clock, http, desk, helpdesk, x, meta, mastodon, feed, ids, apps)
        made.page_post = meta.post("acme", "Our autumn colours")
        await made.work()
        for name in ("x", "meta"):
            await made.install(name)
        for name in ids:
            made.write(name)
        await made.minute(16)
        yield made
