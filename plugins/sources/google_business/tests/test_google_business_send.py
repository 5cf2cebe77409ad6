"""The way out: one slot, that nobody's reply leaves unseen; outcomes that are unknown; Google's refusals."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from gateway_google_business.memory import MOST, Memory
from gateway_google_business.names import reply_id
from gateway_google_business.plugin import GoogleBusinessSource
from gateway_google_business.twin import GoogleTwin
from gateway_schemas.errors import Gone, Hold, Reauthorise, Rejected, Retry, Unknown
from gateway_schemas.interaction import ReplyTarget
from gateway_schemas.length import Counting
from gateway_schemas.reply import Absent, Draft, Found, OutgoingFile, Rendered, SendIntent, absent_is_proof
from gateway_schemas.testing.twin import Fault
from gateway_schemas.time import SharedTime

Make = Callable[..., GoogleBusinessSource]
BenchLike = Any


@pytest.fixture
def ref(twin: GoogleTwin) -> str:
    """A review to answer."""
    return twin.review("3344", "Ana", 2, "slow")


def intent(rendered: Rendered, clock: SharedTime) -> SendIntent:
    return SendIntent(key="k", rendered=rendered, started_at=clock.now())


# rendering


async def test_the_limit_counts_bytes(bench: BenchLike, ref: str) -> None:
    short = await bench.rendered(ref, "ü" * 2048)
    assert (short.length, short.limit, short.counting) == (4096, 4096, Counting.utf8_bytes)
    long = await bench.rendered(ref, "ü" * 2048 + "!")
    assert long.length == 4097
    assert long.text.endswith("!")  # never cut
    assert long.body == {"comment": long.text}


async def test_the_twin_takes_exactly_as_much(
    bench: BenchLike, twin: GoogleTwin, plugin: GoogleBusinessSource, ref: str
) -> None:
    await plugin.send(await bench.rendered(ref, "ü" * 2048), "k")
    assert twin.reply_of(ref) == "ü" * 2048
    with pytest.raises(Rejected) as caught:
        await plugin.send(await bench.rendered(twin.review("3344", "Bo", 1), "ü" * 2048 + "!"), "k")
    assert caught.value.field == "review_reply.comment"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"text": " \n"}, "empty"),
        ({"files": (OutgoingFile(sha256="", media_type="image/png", name="a.png", size=1),)}, "no_files"),
        ({"visibility": "private"}, "wrong_visibility"),
        ({"target": ReplyTarget(kind="direct_message", recipient="x")}, "wrong_target"),
        ({"target": ReplyTarget(kind="review", ref="locations/1/reviews/../../accounts")}, "wrong_target"),
        ({"target": ReplyTarget(kind="review")}, "wrong_target"),
    ],
)
async def test_what_the_slot_cannot_carry(
    bench: BenchLike, plugin: GoogleBusinessSource, ref: str, change: dict[str, Any], code: str
) -> None:
    rendered = await bench.rendered(ref, "Sorry!")
    pages, _ = await bench.drain("reviews")
    whole: dict[str, Any] = {
        "reply_id": "r",
        "text": "Sorry!",
        "account": "accounts/1122",
        "target": rendered.target,
        "visibility": "public",
        "interaction": bench.news(pages)[0],
    }
    with pytest.raises(Rejected) as caught:
        plugin.render(Draft(**{**whole, **change}))
    assert caught.value.code == code


# sending


async def test_a_reply_fills_the_slot(
    bench: BenchLike, twin: GoogleTwin, plugin: GoogleBusinessSource, ref: str, clock: SharedTime
) -> None:
    sent = await plugin.send(await bench.rendered(ref, "Sorry!"), "k")
    assert twin.replies_made() == [(ref, "Sorry!")]
    assert sent.external_id == reply_id(ref, "Sorry!")
    assert sent.pending
    assert sent.sent_at == clock.now()


async def test_the_same_reply_twice_is_written_once(
    bench: BenchLike, twin: GoogleTwin, plugin: GoogleBusinessSource, ref: str
) -> None:
    rendered = await bench.rendered(ref, "Sorry!")
    first = await plugin.send(rendered, "k")
    again = await plugin.send(rendered, "k")
    assert first.external_id == again.external_id
    assert twin.replies_made() == [(ref, "Sorry!")]


async def test_a_reply_in_the_slot_is_not_replaced_unseen(
    bench: BenchLike, twin: GoogleTwin, make: Make, ref: str
) -> None:
    twin.owner_reply(ref, "We called you, Ana.")
    rendered = await bench.rendered(ref, "Sorry!")
    with pytest.raises(Hold) as caught:
        await make().send(rendered, "k")
    assert caught.value.code == "slot_taken"
    assert "We called you, Ana." in caught.value.reason
    assert twin.replies_made() == []
    # a person lets the same reply go, having read what it replaces; another process may send it
    await make().send(rendered, "k")
    assert twin.reply_of(ref) == "Sorry!"


async def test_what_a_person_saw_is_good_for_that_alone(
    bench: BenchLike, twin: GoogleTwin, plugin: GoogleBusinessSource, ref: str
) -> None:
    twin.owner_reply(ref, "one")
    rendered = await bench.rendered(ref, "Sorry!")
    with pytest.raises(Hold):
        await plugin.send(rendered, "k")
    with pytest.raises(Hold):  # another answer
        await plugin.send(await bench.rendered(ref, "Sorry, Ana!"), "k2")
    with pytest.raises(Hold):
        await plugin.send(rendered, "k")
    twin.owner_reply(ref, "two")
    with pytest.raises(Hold):  # another reply in the slot
        await plugin.send(rendered, "k")
    assert twin.replies_made() == []


async def test_our_own_earlier_reply_is_not_replaced_unseen_either(
    bench: BenchLike, twin: GoogleTwin, plugin: GoogleBusinessSource, ref: str
) -> None:
    await plugin.send(await bench.rendered(ref, "We look into it."), "k")
    with pytest.raises(Hold):
        await plugin.send(await bench.rendered(ref, "It is mended."), "k2")
    assert twin.reply_of(ref) == "We look into it."


async def test_a_refused_reply_is_in_nobodys_way(
    bench: BenchLike, twin: GoogleTwin, plugin: GoogleBusinessSource, ref: str
) -> None:
    twin.moderation = "wait"
    await plugin.send(await bench.rendered(ref, "Call 555 0100"), "k")
    twin.moderate(ref, "REJECTED", "PERSONAL_INFO")
    await plugin.send(await bench.rendered(ref, "Please write to us."), "k2")
    assert twin.reply_of(ref) == "Please write to us."


async def test_replies_without_states_as_before_2026(
    bench: BenchLike, twin: GoogleTwin, plugin: GoogleBusinessSource, ref: str
) -> None:
    twin.moderation = "off"
    sent = await plugin.send(await bench.rendered(ref, "Sorry!"), "k")
    assert not sent.pending


async def test_a_review_that_is_gone(
    bench: BenchLike, twin: GoogleTwin, plugin: GoogleBusinessSource, ref: str
) -> None:
    rendered = await bench.rendered(ref, "Sorry!")
    twin.delete(ref)
    with pytest.raises(Gone):
        await plugin.send(rendered, "k")
    assert twin.replies_made() == []


async def test_only_verified_locations_may_answer(
    bench: BenchLike, twin: GoogleTwin, plugin: GoogleBusinessSource, ref: str
) -> None:
    rendered = await bench.rendered(ref, "Sorry!")
    twin.state.locations["3344"].verified = False
    with pytest.raises(Rejected) as caught:
        await plugin.send(rendered, "k")
    assert caught.value.code == "failed_precondition"


async def test_ten_edits_a_minute_for_each_location(
    bench: BenchLike, twin: GoogleTwin, plugin: GoogleBusinessSource, clock: SharedTime
) -> None:
    reviews = [twin.review("3344", f"Ana {n}", 2) for n in range(11)]
    for ref in reviews[:10]:
        await plugin.send(await bench.rendered(ref, "Sorry!"), "k")
    last = await bench.rendered(reviews[10], "Sorry!")
    with pytest.raises(Retry) as caught:
        await plugin.send(last, "k")
    assert (caught.value.bucket, caught.value.after) == ("reviews.reply", timedelta(minutes=1))
    await plugin.send(await bench.rendered(twin.review("5566", "Rui", 1), "Desculpe!"), "k")
    clock.jump(clock.now() + timedelta(minutes=1))
    await plugin.send(last, "k")


async def test_a_refused_token_sends_nothing(
    bench: BenchLike, twin: GoogleTwin, plugin: GoogleBusinessSource, ref: str
) -> None:
    rendered = await bench.rendered(ref, "Sorry!")
    twin.revoke()
    with pytest.raises(Reauthorise):
        await plugin.send(rendered, "k")


# unknown outcomes


@pytest.mark.parametrize("kind", ["status_after", "drop_after", "timeout_after"])
async def test_an_unknown_outcome_that_went_through_is_found(
    bench: BenchLike, twin: GoogleTwin, plugin: GoogleBusinessSource, ref: str, clock: SharedTime, kind: Any
) -> None:
    twin.moderation = "wait"
    rendered = await bench.rendered(ref, "Sorry!  \n")
    twin.faults.append(Fault(kind, path="/reply$", method="PUT", status=503, seconds=2.5))
    with pytest.raises(Unknown):
        await plugin.send(rendered, "k")
    found = await plugin.find(intent(rendered, clock))
    assert isinstance(found, Found)
    assert found.external_id == reply_id(ref, "Sorry!")
    # its review by Google is followed all the same
    assert list(await Memory(plugin.state).all("review")) == [ref]


async def test_an_unknown_outcome_without_effect_is_absent(
    bench: BenchLike, twin: GoogleTwin, plugin: GoogleBusinessSource, ref: str, clock: SharedTime
) -> None:
    rendered = await bench.rendered(ref, "Sorry!")
    twin.faults.append(Fault("status_before", path="/reply$", method="PUT", status=500))
    with pytest.raises(Unknown):
        await plugin.send(rendered, "k")
    started = intent(rendered, clock)
    assert await plugin.find(started) == Absent()
    assert not absent_is_proof(started.started_at, clock.now(), plugin.capabilities.index_lag)


async def test_a_reply_that_shows_late_is_not_taken_for_absent_too_soon(
    bench: BenchLike, twin: GoogleTwin, plugin: GoogleBusinessSource, ref: str, clock: SharedTime
) -> None:
    twin.reply_lag = timedelta(seconds=20)
    rendered = await bench.rendered(ref, "Sorry!")
    started = intent(rendered, clock)
    await plugin.send(rendered, "k")
    assert await plugin.find(started) == Absent()
    lag = plugin.capabilities.index_lag
    assert not absent_is_proof(started.started_at, clock.now(), lag)
    clock.jump(clock.now() + timedelta(seconds=30))
    assert isinstance(await plugin.find(started), Found)


async def test_a_failed_look_into_the_slot_sends_nothing(
    bench: BenchLike, twin: GoogleTwin, plugin: GoogleBusinessSource, ref: str
) -> None:
    rendered = await bench.rendered(ref, "Sorry!")
    twin.faults.append(Fault("status_before", path="/reviews/[^/]+$", method="GET", status=503))
    with pytest.raises(Retry):
        await plugin.send(rendered, "k")
    assert twin.replies_made() == []


# taking back and changing


async def test_a_reply_is_taken_back(
    bench: BenchLike, twin: GoogleTwin, plugin: GoogleBusinessSource, ref: str
) -> None:
    sent = await plugin.send(await bench.rendered(ref, "Sorry!"), "k")
    await plugin.retract(sent)
    assert twin.reply_of(ref) is None
    await plugin.retract(sent)  # as it should be
    assert [effect.kind for effect in twin.ledger].count("reply_deleted") == 1
    assert await Memory(plugin.state).all("review") == {}


async def test_somebody_elses_reply_is_not_taken_back(
    bench: BenchLike, twin: GoogleTwin, plugin: GoogleBusinessSource, ref: str
) -> None:
    sent = await plugin.send(await bench.rendered(ref, "Sorry!"), "k")
    twin.owner_reply(ref, "We called you, Ana.")
    await plugin.retract(sent)
    assert twin.reply_of(ref) == "We called you, Ana."


async def test_a_reply_of_a_deleted_review_is_gone_with_it(
    bench: BenchLike, twin: GoogleTwin, plugin: GoogleBusinessSource, ref: str
) -> None:
    sent = await plugin.send(await bench.rendered(ref, "Sorry!"), "k")
    twin.delete(ref)
    await plugin.retract(sent)


async def test_a_reply_is_amended(bench: BenchLike, twin: GoogleTwin, plugin: GoogleBusinessSource, ref: str) -> None:
    sent = await plugin.send(await bench.rendered(ref, "Sory!"), "k")
    amended = await plugin.amend(sent, await bench.rendered(ref, "Sorry!"))
    assert twin.reply_of(ref) == "Sorry!"
    assert amended.external_id == reply_id(ref, "Sorry!")
    twin.owner_reply(ref, "We called you, Ana.")
    with pytest.raises(Hold):
        await plugin.amend(amended, await bench.rendered(ref, "Sorry again!"))


async def test_what_is_remembered_is_bounded(plugin: GoogleBusinessSource) -> None:
    memory = Memory(plugin.state)
    for number in range(MOST + 20):
        await memory.put("slot", f"r{number}", f"2026-01-01T00:{number // 60:02}:{number % 60:02}", there="x" * 100)
    kept = await memory.all("slot")
    assert len(kept) == MOST
    assert "r0" not in kept


async def test_the_apps_instance_has_no_connection(make: Make) -> None:
    app = GoogleBusinessSource(dataclasses.replace(make().setup, config=None))
    with pytest.raises(RuntimeError):
        await app.poll("reviews", None)
