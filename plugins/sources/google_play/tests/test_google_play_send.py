"""The way out: one slot, 350 characters, no HTML, outcomes that are unknown."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from gateway_google_play.config import PlayApp
from gateway_google_play.names import reply_id
from gateway_google_play.slots import MOST, Slots
from gateway_google_play.twin import PlayTwin
from gateway_schemas.errors import Gone, Hold, Rejected, Retry, Unknown
from gateway_schemas.interaction import ReplyTarget
from gateway_schemas.reply import Absent, Found, OutgoingFile, SendIntent
from gateway_schemas.testing.clock import StillTime
from gateway_schemas.testing.twin import Fault

BenchLike = Any
PACKAGE = "com.acme.app"


@pytest.fixture
def ref(twin: PlayTwin) -> str:
    """A review to answer."""
    return twin.review(PACKAGE, "Ana", 2, "slow")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"text": " \n"}, "empty"),
        ({"text": "Please <b>update</b>"}, "html_removed"),
        ({"files": (OutgoingFile(sha256="", media_type="image/png", name="a.png", size=1),)}, "no_files"),
        ({"visibility": "private"}, "wrong_visibility"),
        ({"target": ReplyTarget(kind="direct_message", recipient="x")}, "wrong_target"),
        ({"target": ReplyTarget(kind="review", ref="com.acme.app/reviews/../x")}, "wrong_target"),
    ],
)
def test_what_the_slot_cannot_carry(bench: BenchLike, ref: str, change: dict[str, Any], code: str) -> None:
    with pytest.raises(Rejected) as caught:
        bench.plugin.render(bench.draft(ref, **{"text": "Sorry!", **change}))
    assert caught.value.code == code


async def test_350_characters_are_taken_and_one_more_is_refused(bench: BenchLike, twin: PlayTwin, ref: str) -> None:
    whole = bench.rendered(ref, "ü😀 <3 a > b " + "x" * 338)
    assert (whole.length, whole.limit) == (350, 350)
    await bench.plugin.send(whole, "k")
    assert twin.reply_of(ref) == whole.text
    other = twin.review(PACKAGE, "Bo", 1, "bad")
    long = bench.rendered(other, "x" * 351)
    assert long.length == 351
    assert long.text == "x" * 351, "never cut"
    with pytest.raises(Rejected) as caught:
        await bench.plugin.send(long, "k")
    assert (caught.value.code, caught.value.field) == ("invalid_argument", "reply_text")


async def test_the_same_reply_twice_is_written_once(bench: BenchLike, twin: PlayTwin, ref: str) -> None:
    rendered = bench.rendered(ref, "Sorry!")
    first = await bench.plugin.send(rendered, "k")
    again = await bench.plugin.send(rendered, "k")
    assert first.external_id == again.external_id == reply_id(ref, "Sorry!")
    assert twin.replies_made() == [(ref, "Sorry!")]


async def test_a_reply_in_the_slot_is_not_replaced_unseen(bench: BenchLike, twin: PlayTwin, ref: str) -> None:
    twin.owner_reply(ref, "We called you, Ana.")
    rendered = bench.rendered(ref, "Sorry!")
    for other in ("Sorry!", "Something else"):
        with pytest.raises(Hold) as caught:
            await bench.make().send(bench.rendered(ref, other), "k")
        assert "We called you, Ana." in caught.value.reason
    with pytest.raises(Hold):  # what was let go was another text
        await bench.make().send(rendered, "k")
    await bench.make().send(rendered, "k")
    assert twin.reply_of(ref) == "Sorry!"


async def test_our_own_reply_is_recognised_when_it_is_read(bench: BenchLike, twin: PlayTwin, ref: str) -> None:
    sent = await bench.plugin.send(bench.rendered(ref, "Sorry!\nWe mend it."), "k")
    pages, _ = await bench.drain("reviews")
    own = [item for item in bench.news(pages) if getattr(item, "direction", "") == "outbound"]
    assert [one.external_id for one in own] == [sent.external_id]


async def test_after_an_unknown_outcome_the_slot_is_asked(bench: BenchLike, twin: PlayTwin, ref: str) -> None:
    rendered = bench.rendered(ref, "Sorry!")
    intent = SendIntent(key="k", rendered=rendered, started_at=bench.clock.now())
    twin.faults.append(Fault("status_before", path=":reply", status=503))
    with pytest.raises(Unknown):
        await bench.plugin.send(rendered, "k")
    assert await bench.plugin.find(intent) == Absent()
    twin.faults.append(Fault("status_after", path=":reply", status=502))
    with pytest.raises(Unknown):
        await bench.plugin.send(rendered, "k")
    assert isinstance(await bench.plugin.find(intent), Found)
    assert twin.replies_made() == [(ref, "Sorry!")]


async def test_a_reply_is_changed_but_not_somebody_elses(bench: BenchLike, twin: PlayTwin, ref: str) -> None:
    sent = await bench.plugin.send(bench.rendered(ref, "Sorry!"), "k")
    newer = await bench.plugin.amend(sent, bench.rendered(ref, "Sorry, Ana!"))
    assert twin.reply_of(ref) == "Sorry, Ana!"
    twin.owner_reply(ref, "From the console")
    with pytest.raises(Hold):
        await bench.plugin.amend(newer, bench.rendered(ref, "Third"))
    with pytest.raises(Rejected):  # the API has no way to delete one
        await bench.plugin.retract(newer)


async def test_refusals_by_what_to_do_next(bench: BenchLike, twin: PlayTwin, ref: str) -> None:
    rendered = bench.rendered(ref, "Sorry!")
    twin.permit(PACKAGE, "view")
    with pytest.raises(Rejected):
        await bench.plugin.send(rendered, "k")
    twin.permit(PACKAGE, "view", "reply")
    twin.wire.writes = 0
    with pytest.raises(Retry) as caught:
        await bench.plugin.send(rendered, "k")
    assert caught.value.bucket == "reviews.reply"
    twin.delete(ref)
    with pytest.raises(Gone):
        await bench.plugin.send(rendered, "k")


@pytest.mark.parametrize(
    "key",
    ["", "{}", '{"type": "service_account"}', '{"type": "service_account", "client_email": "a", "private_key": "b!"}'],
)
def test_what_is_no_key_file_is_refused_without_its_words(key: str) -> None:
    with pytest.raises(ValidationError) as caught:
        PlayApp(key=key)  # type: ignore[arg-type]
    assert "b!" not in str(caught.value)


def test_secrets_are_nowhere(bench: BenchLike) -> None:
    assert "PRIVATE KEY" not in repr(bench.plugin.setup) + str(bench.plugin.setup.app)


async def test_what_is_remembered_fits_the_state_document(bench: BenchLike, clock: StillTime) -> None:
    slots = Slots(bench.state)
    for number in range(MOST + 20):
        clock.pass_by(seconds=1)
        ref = f"com.acme.app/reviews/gp:{number:060d}"
        await slots.note(ref, reply_id(ref, "there"), "0" * 64, clock.now())
    assert len(json.dumps(bench.state.document)) < 60 * 1024, "with room for the token"
    assert await slots.shown(ref, reply_id(ref, "there"), "0" * 64)
    assert len(bench.state.document) == MOST
