"""Reviews at Google, from the first star to the reply in its slot; and what a first connect makes of thousands."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import pytest

from gateway_google_business.twin import GoogleTwin
from gateway_schemas.testing.twin import Fault
from gateway_schemas.time import SharedTime, SystemTime
from gateway_zendesk.twin import ZendeskTwin
from support.gateway import Gateway, fresh_database, running
from support.postgres import server_url  # noqa: F401  a fixture

TOPIC = "projects/acme-twin/topics/reviews"
EMAIL = "push@acme-twin.iam.gserviceaccount.com"
PUSH = {"pubsub_topic": TOPIC, "push_audience": "acme-gateway", "push_service_account": EMAIL}
DAY = timedelta(days=1)


@dataclass
class ReviewLine:
    """Reviewers at Google, the gateway, agents at Zendesk, all on one time."""

    gateway: Gateway
    google: GoogleTwin
    desk: ZendeskTwin
    clock: SharedTime
    source: UUID
    app: UUID

    async def settle(self, seconds: float = 30.0) -> None:
        """Wait until the gateway has nothing left to do."""
        await self.google.settle()
        await self.gateway.quiet(seconds)
        await self.desk.settle()
        await self.gateway.quiet(seconds)

    async def poll(self, *streams: str, seconds: float = 30.0) -> None:
        """Have streams polled to their end now, and everything that follows from it done."""
        for stream in streams or ("reviews",):
            await self.gateway.execute(
                "UPDATE cursor SET next_at = :now, polled_at = NULL WHERE connection_id = :id AND stream = :stream",
                now=self.gateway.runtime.now(),
                id=self.source,
                stream=stream,
            )
            await self.gateway.runtime.wake([f"poll:{self.source}:{stream}"])
        await self.polled(seconds)

    async def polled(self, seconds: float = 30.0) -> None:
        """Wait until no stream has more pages, and all of them are taken in."""

        async def done() -> bool:
            polled = await self.gateway.value(
                """SELECT count(*) FROM cursor
                   WHERE connection_id = :id AND polled_at IS NOT NULL AND next_at > :now""",
                id=self.source,
                now=self.gateway.runtime.now(),
            )
            return bool(polled == 3)

        await self.gateway.until(done, "every stream is polled", seconds)
        await self.settle(seconds)

    async def sweep(self) -> None:
        """Let a day pass, and with it a sweep."""
        self.clock.jump(self.clock.now() + DAY + timedelta(minutes=1))
        await self.poll("sweep")

    async def answer(self, number: int, text: str) -> None:
        """An agent answers in the helpdesk."""
        self.desk.agent_comment(number, "Ann", text)
        await self.desk.settle()
        await self.settle()

    def comments(self, number: int = 1, *, public: bool = True) -> list[str]:
        """What stands on a ticket, without permalinks."""
        found = [one for one in self.desk.tickets[number].comments if one.public is public]
        return [one.body.split("\n\nhttp")[0] for one in found]

    async def reply(self) -> Any:
        """The newest reply's row."""
        return (await self.gateway.rows("SELECT * FROM reply ORDER BY created_at DESC LIMIT 1"))[0]

    async def approve(self, id: UUID) -> None:
        """A person lets a held reply go, over REST."""
        headers = {"authorization": "Bearer a-key-for-tests-only"}
        async with httpx2.AsyncClient(base_url=self.gateway.url, headers=headers, trust_env=False) as client:
            digest = (await client.get(f"/v1/replies/{id}")).json()["digest"]
            answer = await client.post(f"/v1/replies/{id}/approve", json={"digest": digest})
        assert answer.status_code == 200, answer.text
        await self.settle()


LineFactory = Callable[..., contextlib.AbstractAsyncContextManager[ReviewLine]]


@pytest.fixture
def make_line(server_url: str, tmp_path: Path) -> LineFactory:  # noqa: F811
    """Builds lines; `before` puts reviews there that the first poll finds."""

    @contextlib.asynccontextmanager
    async def make(
        *, history: str = "record", before: Callable[[GoogleTwin], None] | None = None, **settings: Any
    ) -> AsyncIterator[ReviewLine]:
        clock = SharedTime.create(tmp_path / "time", at=SystemTime().now())
        google, desk = GoogleTwin(time=clock), ZendeskTwin(time=clock)
        google.quota = None
        desk.limits.off()
        google.add_account("1122", "Acme")
        google.add_location("1122", "3344", "Acme Berlin")
        google.add_location("1122", "5566", "Acme Lisbon")
        google.add_topic(TOPIC)
        if before is not None:
            before(google)
        async with (
            fresh_database(server_url) as url,
            google.serve(),
            desk.serve(),
            running(url, tmp_path, time_file=clock.path, **settings) as gateway,
        ):
            helpdesk = await gateway.add_connection(
                "helpdesk",
                "zendesk",
                {"base_url": desk.url, "email": desk.email, "api_token": desk.token, "share": 1.0},
            )
            await gateway.install(helpdesk)
            app = await gateway.add_app("google_business", google.app_config(**PUSH))
            source = await gateway.add_connection(
                "source",
                "google_business",
                google.connection_config("1122"),
                app=app,
                helpdesk=helpdesk,
                history=history,
            )
            line = ReviewLine(gateway, google, desk, clock, source, app)
            await line.polled(90.0)
            yield line

    return make


@pytest.fixture
async def line(make_line: LineFactory) -> AsyncIterator[ReviewLine]:
    """A line with ordinary settings."""
    async with make_line() as made:
        yield made


async def test_a_polled_review_is_answered_in_its_slot_once(line: ReviewLine) -> None:
    ref = line.google.review("3344", "Ana P.", 2, "(Translated by Google) Slow.\n\n(Original)\nLangsam.")
    await line.poll()
    assert line.comments() == ["[2 of 5 stars]\nLangsam."]
    await line.answer(1, "We are working on it.")
    assert line.google.replies_made() == [(ref, "We are working on it.")]
    reply = await line.reply()
    assert (reply["state"], reply["code"]) == ("sent", "under_review")
    # its echo comes by polling and is known for ours, and Google's approval is read back
    await line.poll("reviews", "replies")
    assert (await line.reply())["code"] is None
    assert line.comments(public=False) == []
    assert await line.gateway.value("SELECT count(*) FROM interaction WHERE reply_id IS NOT NULL") == 1
    assert line.google.replies_made() == [(ref, "We are working on it.")]


async def test_a_reply_that_another_connection_sees_is_known_for_ours(line: ReviewLine) -> None:
    line.google.add_account("7788", "Acme South")
    line.google.add_location("7788", "3344", "Acme Berlin")
    config = line.google.connection_config("7788")
    helpdesk = await line.gateway.value("SELECT helpdesk_id FROM connection WHERE id = :id", id=line.source)
    other = await line.gateway.add_connection(
        "source", "google_business", config, name="South", app=line.app, helpdesk=helpdesk
    )
    ref = line.google.review("3344", "Ana P.", 2, "slow")
    await line.poll()
    await line.answer(1, "We are working on it.")
    line.source = other
    await line.poll("reviews", "replies")
    assert line.google.replies_made() == [(ref, "We are working on it.")]
    assert line.comments(public=False) == []
    assert await line.gateway.value("SELECT count(*) FROM interaction WHERE reply_id IS NOT NULL") == 1


@pytest.mark.parametrize("kind", ["status_after", "drop_after"])
async def test_a_reply_whose_outcome_is_unknown_is_looked_for(line: ReviewLine, kind: Any) -> None:
    ref = line.google.review("3344", "Ana P.", 2, "slow")
    await line.poll()
    line.google.faults.append(Fault(kind, path="/reply$", method="PUT", status=500))
    await line.answer(1, "Sorry!")
    assert line.google.replies_made() == [(ref, "Sorry!")]
    assert (await line.reply())["state"] == "sent"


async def test_a_rating_without_words_is_a_matter_too(line: ReviewLine) -> None:
    line.google.review("5566", "", 1, anonymous=True)
    await line.poll()
    assert line.comments() == ["[1 of 5 stars]"]
    assert line.desk.tickets[1].subject.startswith("A Google user on google_business: 1/5")


async def test_an_edited_review_is_a_new_revision(line: ReviewLine) -> None:
    ref = line.google.review("3344", "Ana P.", 2, "slow")
    await line.poll()
    line.google.edit(ref, stars=4, comment="They called me, thank you")
    await line.poll()
    assert line.comments() == ["[2 of 5 stars]\nslow", "[edited]\n[4 of 5 stars]\nThey called me, thank you"]
    assert await line.gateway.value("SELECT revisions FROM interaction") == 2
    assert len(line.desk.tickets) == 1


async def test_an_edit_back_to_earlier_words_is_told_as_often_as_it_is_made(line: ReviewLine) -> None:
    """A version is named by a hash of its words: the third has the name of the first."""
    ref = line.google.review("3344", "Ana P.", 2, "slow")
    await line.poll()
    for words in ("slow, and rude", "slow", "slow, and rude", "slow"):
        line.google.edit(ref, comment=words)
        await line.poll()
        await line.poll()  # told once more, it is no news
        assert await line.gateway.value("SELECT text FROM interaction") == words
    said = ["slow", *(f"[edited]\n[2 of 5 stars]\n{words}" for words in ("slow, and rude", "slow") * 2)]
    assert line.comments() == [f"[2 of 5 stars]\n{said[0]}", *said[1:]]
    assert await line.gateway.value("SELECT revisions FROM interaction") == 5


async def test_edits_there_and_back_between_two_polls_leave_what_stands_there(line: ReviewLine) -> None:
    ref = line.google.review("3344", "Ana P.", 2, "slow")
    await line.poll()
    line.google.edit(ref, comment="slow, and rude")
    line.google.edit(ref, comment="slow")
    await line.poll()
    assert await line.gateway.value("SELECT text FROM interaction") == "slow"
    assert line.comments()[-1].endswith("[2 of 5 stars]\nslow")


async def test_a_deleted_review_is_noted_once_it_is_sure(line: ReviewLine) -> None:
    gone, kept = line.google.review("3344", "Ana P.", 2, "slow"), line.google.review("3344", "Rui", 1, "lento")
    await line.poll()
    line.google.delete(gone)
    await line.poll()
    await line.sweep()
    notes = {number: line.comments(number, public=False) for number in line.desk.tickets}
    (note,) = [text for texts in notes.values() for text in texts]
    assert "deleted this review" in note
    assert "slow" in note
    alive = await line.gateway.rows("SELECT external_id FROM interaction WHERE deleted_at IS NULL")
    assert [row["external_id"] for row in alive] == [kept]
    looked_at = [path for method, path, _ in line.google.requests if method == "GET" and "/reviews/" in path]
    assert [path.endswith(gone) for path in looked_at] == [True]
    # an answer to it does not go out any more
    number = next(number for number, texts in notes.items() if texts)
    await line.answer(number, "Sorry!")
    assert line.google.replies_made() == []
    assert (await line.reply())["code"] == "target_deleted"


async def test_a_listing_that_lacks_a_review_deletes_nothing_by_itself(line: ReviewLine) -> None:
    """Google's listing forgets a review for a while, as it does when it changes while it is listed."""
    ref = line.google.review("3344", "Ana P.", 2, "slow")
    await line.poll()
    line.clock.jump(line.clock.now() + timedelta(hours=3))
    review = line.google.state.review(ref)
    line.google.list_lag = line.clock.now() - review.created_at + 2 * DAY
    await line.sweep()
    assert await line.gateway.value("SELECT count(*) FROM interaction WHERE deleted_at IS NOT NULL") == 0
    assert any(path.endswith(ref) for method, path, _ in line.google.requests if method == "GET")
    assert line.comments(public=False) == []


async def test_a_review_that_changed_without_a_change_is_not_looked_at_again(line: ReviewLine) -> None:
    """Google moves a review to the front for reasons of its own: then it is missed where it stood before."""
    ref = line.google.review("3344", "Ana P.", 2, "slow")
    line.google.review("3344", "Rui", 1, "lento")
    await line.poll()
    line.clock.jump(line.clock.now() + timedelta(hours=3))
    line.google.edit(ref)
    await line.poll()
    assert sorted(line.comments(1) + line.comments(2)) == ["[1 of 5 stars]\nlento", "[2 of 5 stars]\nslow"]
    assert await line.gateway.value("SELECT max(version_at) - min(version_at) > '2 hours' FROM interaction")
    await line.sweep()
    assert not [path for method, path, _ in line.google.requests if method == "GET" and path.endswith(ref)]


async def test_a_reply_made_elsewhere_is_noted_and_not_replaced_unseen(line: ReviewLine) -> None:
    ref = line.google.review("3344", "Ana P.", 2, "slow")
    await line.poll()
    line.google.owner_reply(ref, "We called you, Ana.")
    await line.answer(1, "Sorry!")
    reply = await line.reply()
    assert (reply["state"], reply["code"]) == ("held", "slot_taken")
    assert any("We called you, Ana." in note for note in line.comments(public=False))
    assert line.google.replies_made() == []
    await line.approve(reply["id"])
    assert line.google.replies_made() == [(ref, "Sorry!")]
    assert (await line.reply())["state"] == "sent"


async def test_a_reply_that_google_refuses_comes_back_to_the_agent(line: ReviewLine) -> None:
    line.google.moderation = "wait"
    ref = line.google.review("3344", "Ana P.", 2, "slow")
    await line.poll()
    await line.answer(1, "Call me on 555 0100")
    line.google.moderate(ref, "REJECTED", "PERSONAL_INFO")
    await line.poll("replies")
    reply = await line.reply()
    assert (reply["state"], reply["code"]) == ("failed", "source_rejected")
    (note,) = line.comments(public=False)[-1:]
    assert "personal info" in note
    ticket = line.desk.tickets[1]
    assert ticket.status == "open"
    assert "gw_failed" in ticket.tags


# push


async def test_a_wake_up_brings_the_review_at_once_and_keys_may_change(line: ReviewLine) -> None:
    line.google.subscribe(TOPIC, f"{line.gateway.url}/hooks/{line.app}", EMAIL, "acme-gateway")
    account = line.google.state.accounts["1122"]
    account.topic, account.types = TOPIC, ["NEW_REVIEW", "UPDATED_REVIEW"]
    line.google.webhooks.duplicate = 0.5
    line.google.review("3344", "Ana P.", 2, "slow")
    await line.settle()
    assert line.comments() == ["[2 of 5 stars]\nslow"]
    line.google.keys.rotate()
    line.clock.jump(line.clock.now() + timedelta(minutes=2))
    line.google.review("5566", "Rui", 1, "lento")
    await line.settle()
    assert len(line.desk.tickets) == 2
    assert line.google.webhook_failures == []
    fetched = [path for _, path, _ in line.google.requests if path.endswith("/oauth2/v3/certs")]
    assert len(fetched) == 2
    # polling finds nothing that was not there
    await line.poll()
    assert len(line.desk.tickets) == 2


async def test_a_forged_wake_up_is_refused_and_nothing_is_stored(line: ReviewLine) -> None:
    line.google.subscribe(TOPIC, f"{line.gateway.url}/hooks/{line.app}", "somebody@else.example", "acme-gateway")
    account = line.google.state.accounts["1122"]
    account.topic, account.types = TOPIC, ["NEW_REVIEW"]
    line.google.review("3344", "Ana P.", 2, "slow")
    await line.settle()
    assert [status for _, status in line.google.webhook_failures] == [401]
    assert await line.gateway.value("SELECT count(*) FROM delivery WHERE origin = 'webhook'") == 0
    refused = await line.gateway.rows("SELECT code, count FROM refusal")
    assert [(row["code"], row["count"]) for row in refused] == [("wrong_sender", 1)]


# the first connect


def old_reviews(count: int, apart: timedelta) -> Callable[[GoogleTwin], None]:
    """Reviews from before the gateway came, some with a reply."""

    def write(google: GoogleTwin) -> None:
        now = google.time.now()
        for number in range(count):
            location = "3344" if number % 5 else "5566"
            at = now - apart * (number + 1)
            ref = google.review(location, f"Old {number}", number % 5 + 1, f"review {number}", at=at, quiet=True)
            if number % 10 == 0:
                google.owner_reply(ref, f"Thank you {number}")
                google.state.review(ref).replies[-1][1].updated_at = at + timedelta(minutes=5)  # type: ignore[union-attr]

    return write


def changes_at_helpdesk(line: ReviewLine) -> list[tuple[str, str]]:
    """What the gateway changed at the helpdesk since it was set up there."""
    set_up = ("webhooks", "triggers", "ticket_fields", "trigger_categories")
    made = [(method, path) for method, path, _ in line.desk.requests if method != "GET"]
    return [(method, path) for method, path in made if not any(part in path for part in set_up)]


@pytest.mark.slow
@pytest.mark.parametrize("many", [500, pytest.param(5_000, marks=pytest.mark.torture)])
async def test_old_reviews_open_nothing(make_line: LineFactory, many: int) -> None:
    async with make_line(before=old_reviews(many, timedelta(hours=5))) as line:
        await line.settle(90.0)
        assert await line.gateway.value("SELECT count(*) FROM interaction WHERE kind = 'review'") == many
        assert await line.gateway.value("SELECT count(*) FROM interaction WHERE direction = 'outbound'") == many // 10
        assert await line.gateway.value("SELECT count(*) FROM ticket") == 0
        assert changes_at_helpdesk(line) == []
        # what comes from now on does
        ref = line.google.review("3344", "Ana P.", 2, "slow")
        await line.poll()
        assert len(line.desk.tickets) == 1
        assert await line.gateway.value("SELECT external_id FROM interaction WHERE ticket_id IS NOT NULL") == ref


async def test_what_is_written_in_the_second_in_which_it_was_connected_is_news(line: ReviewLine) -> None:
    """Providers tell whole seconds: told so, it seems to be from before."""
    connected = await line.gateway.value("SELECT created_at FROM connection WHERE id = :id", id=line.source)
    ref = line.google.review("3344", "Ana P.", 2, "slow", at=connected.replace(microsecond=0), quiet=True)
    await line.poll()
    assert await line.gateway.value("SELECT external_id FROM interaction WHERE ticket_id IS NOT NULL") == ref


@pytest.mark.slow
async def test_old_reviews_become_tickets_where_that_is_asked_for(make_line: LineFactory) -> None:
    """A review every nine days: ten of them lie within the ninety days of `history_days`."""
    before = old_reviews(20, timedelta(days=9, minutes=-1))
    async with make_line(history="tickets", before=before, call_timeout=20.0) as line:

        async def told() -> bool:
            return await line.gateway.value("SELECT count(*) FROM push WHERE state <> 'done'") == 0

        await line.gateway.until(told, "the helpdesk has been told", 90.0)
        assert await line.gateway.value("SELECT count(*) FROM interaction WHERE kind = 'review'") == 20
        assert len(line.desk.tickets) == 10
        assert await line.gateway.value("SELECT min(published_at) FROM interaction WHERE ticket_id IS NOT NULL") > (
            line.clock.now() - timedelta(days=90)
        )


async def test_old_reviews_are_not_kept_where_nothing_is_asked_for(make_line: LineFactory) -> None:
    async with make_line(history="none", before=old_reviews(20, timedelta(days=1))) as line:
        assert await line.gateway.value("SELECT count(*) FROM interaction") == 0
        line.google.review("3344", "Ana P.", 2, "slow")
        await line.poll()
        assert len(line.desk.tickets) == 1
