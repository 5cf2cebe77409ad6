"""App stores and feeds beside each other in one gateway: from what customers write to the answer in its slot."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from gateway_app_store.twin import AppStoreTwin
from gateway_feed.twin import FeedTwin
from gateway_google_play.twin import PlayTwin
from gateway_schemas.time import SharedTime, SystemTime
from gateway_zendesk.twin import ZendeskTwin
from support.gateway import Gateway, fresh_database, running
from support.postgres import server_url  # noqa: F401  a fixture

PACKAGE, APP = "com.acme.app", "123"


@dataclass
class Stores:
    """Customers in two stores and on a blog, the gateway, agents at Zendesk."""

    gateway: Gateway
    play: PlayTwin
    apple: AppStoreTwin
    blog: FeedTwin
    desk: ZendeskTwin
    clock: SharedTime

    async def poll(self, *, later: timedelta = timedelta()) -> None:
        """Have every stream polled to its end, and everything that follows from it done."""
        self.clock.jump(self.clock.now() + later)
        now = self.gateway.runtime.now()
        await self.gateway.execute("UPDATE cursor SET next_at = :now, polled_at = NULL", now=now)
        for row in await self.gateway.rows("SELECT connection_id, stream FROM cursor"):
            await self.gateway.runtime.wake([f"poll:{row['connection_id']}:{row['stream']}"])

        async def done() -> bool:
            waiting = "SELECT count(*) FROM cursor WHERE polled_at IS NULL OR next_at <= :now"
            return bool(await self.gateway.value(waiting, now=self.gateway.runtime.now()) == 0)

        await self.gateway.until(done, "every stream is polled", 60.0)
        await self.settle()

    async def settle(self) -> None:
        """Wait until nothing is left to do."""
        for _ in range(2):
            await self.gateway.quiet(30.0)
            await self.desk.settle()

    def ticket(self, words: str) -> int:
        """The ticket that has these words."""
        (number,) = [
            number for number, one in self.desk.tickets.items() if any(words in said.body for said in one.comments)
        ]
        return number

    async def answer(self, words: str, text: str) -> None:
        """An agent answers on the ticket that has these words."""
        self.desk.agent_comment(self.ticket(words), "Ann", text)
        await self.settle()

    async def reply_states(self) -> dict[str, Any]:
        """What became of each answer."""
        return {row["text"]: (row["state"], row["code"]) for row in await self.gateway.rows("SELECT * FROM reply")}


@pytest.fixture
async def stores(server_url: str, tmp_path: Path) -> AsyncIterator[Stores]:  # noqa: F811
    """All of them on one time."""
    clock = SharedTime.create(tmp_path / "time", at=SystemTime().now())
    play, apple, blog, desk = (make(time=clock) for make in (PlayTwin, AppStoreTwin, FeedTwin, ZendeskTwin))
    desk.limits.off()
    play.add_app(PACKAGE, "Acme")
    apple.add_app(APP, "Acme")
    blog.add_site("blog", "Acme's blog")
    async with (
        fresh_database(server_url) as url,
        play.serve(),
        apple.serve(),
        blog.serve(),
        desk.serve(),
        running(url, tmp_path, time_file=clock.path) as gateway,
    ):
        desk_config = {"base_url": desk.url, "email": desk.email, "api_token": desk.token, "share": 1.0}
        helpdesk = await gateway.add_connection("helpdesk", "zendesk", desk_config)
        await gateway.install(helpdesk)

        async def connect(plugin: str, config: dict[str, Any], app: UUID | None = None) -> None:
            await gateway.add_connection("source", plugin, config, app=app, helpdesk=helpdesk, name=plugin)

        account = await gateway.add_app("google_play", play.app_config(), name="Play Console")
        await connect("google_play", play.connection_config(PACKAGE), account)
        key = await gateway.add_app("app_store", apple.app_config(), name="App Store Connect")
        await connect("app_store", apple.connection_config(APP), key)
        await connect("feed", blog.connection_config("blog", "comments.atom", own_authors=["Acme"]))
        line = Stores(gateway, play, apple, blog, desk, clock)
        await line.poll()
        yield line


async def test_reviews_and_comments_become_tickets_and_answers_go_where_they_can(stores: Stores) -> None:
    post = stores.blog.post("blog", "Acme", "<p>Our new app is out.</p>", title="New app")
    await stores.poll(later=timedelta(minutes=15))
    play = stores.play.review(PACKAGE, "Ana P.", 2, "It crashes on the camera page")
    apple = stores.apple.review(APP, "walrus_77", 1, "Nothing syncs any more", title="Sync broken")
    stores.blog.comment(post, "Rita", "<p>The link is <b>dead</b>.</p>")
    stores.blog.comment(post, "Acme", "<p>Thank you for reading.</p>")
    await stores.poll(later=timedelta(minutes=15))
    assert len(stores.desk.tickets) == 3, "the brand's own comment opens none"

    await stores.answer("It crashes on", "We are working on the camera page.")
    await stores.answer("Nothing syncs", "We are working on the sync.")
    await stores.answer("The link is dead.", "We mend the link today.")
    assert stores.play.replies_made() == [(play, "We are working on the camera page.")]
    assert stores.apple.responses_made() == [(apple, "We are working on the sync.")]
    states = await stores.reply_states()
    assert states["We mend the link today."] == ("failed", "no_replies")
    notes = [one.body for one in stores.desk.tickets[stores.ticket("The link is dead.")].comments if not one.public]
    assert any("Feeds can be read and not answered." in note and "#comment-" in note for note in notes)

    # the echoes come by polling, and are known for ours; Apple shows its one now
    await stores.poll(later=timedelta(minutes=15))
    states = await stores.reply_states()
    assert states["We are working on the camera page."] == ("sent", None)
    assert states["We are working on the sync."] == ("sent", None)
    assert await stores.gateway.value("SELECT count(*) FROM interaction WHERE reply_id IS NOT NULL") == 2

    # what is taken down is told by no store: the sweeps see it
    stores.play.delete(play)
    stores.apple.delete(apple)
    await stores.poll(later=timedelta(hours=13))
    await stores.poll(later=timedelta(hours=13))
    gone = "SELECT external_id FROM interaction WHERE deleted_at IS NOT NULL AND direction = 'inbound'"
    assert {row["external_id"] for row in await stores.gateway.rows(gone)} == {play, apple}
    assert len(stores.play.replies_made()) == len(stores.apple.responses_made()) == 1
