"""The way out: one slot, outcomes that are unknown, and what others do in App Store Connect."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from typing import Any

import pytest
from joserfc.jwk import ECKey, OKPKey
from pydantic import ValidationError

from gateway_app_store.config import AppStoreApp
from gateway_app_store.memory import MOST, Memory
from gateway_app_store.twin import AppStoreTwin
from gateway_schemas.errors import Gone, Hold, Rejected, Retry, Unknown
from gateway_schemas.interaction import Interaction, ReplyTarget
from gateway_schemas.reply import Absent, Found, OutgoingFile, SendIntent
from gateway_schemas.testing.twin import Fault

BenchLike = Any
APP = "123"


@pytest.fixture
def ref(twin: AppStoreTwin) -> str:
    """A review to answer."""
    return twin.review(APP, "Ana", 2, "slow")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"text": " \n"}, "empty"),
        ({"files": (OutgoingFile(sha256="", media_type="image/png", name="a.png", size=1),)}, "no_files"),
        ({"visibility": "private"}, "wrong_visibility"),
        ({"target": ReplyTarget(kind="direct_message", recipient="x")}, "wrong_target"),
        ({"target": ReplyTarget(kind="review", ref="../apps")}, "wrong_target"),
    ],
)
def test_what_the_slot_cannot_carry(bench: BenchLike, ref: str, change: dict[str, Any], code: str) -> None:
    with pytest.raises(Rejected) as caught:
        bench.plugin.render(bench.draft(ref, **{"text": "Sorry!", **change}))
    assert caught.value.code == code


async def test_5970_characters_are_taken_and_one_more_is_refused(
    bench: BenchLike, twin: AppStoreTwin, ref: str
) -> None:
    whole = bench.rendered(ref, "ü😀" * 2985)
    assert (whole.length, whole.limit) == (5970, 5970)
    await bench.plugin.send(whole, "k")
    assert twin.response_of(ref) == whole.text
    long = bench.rendered(twin.review(APP, "Bo", 1), "x" * 5971)
    assert long.length == 5971
    with pytest.raises(Rejected) as caught:
        await bench.plugin.send(long, "k")
    assert (caught.value.code, caught.value.field) == ("entity_error.attribute.invalid", "responseBody")


async def test_the_same_response_twice_is_written_once(bench: BenchLike, twin: AppStoreTwin, ref: str) -> None:
    rendered = bench.rendered(ref, "Sorry!")
    first = await bench.plugin.send(rendered, "k")
    again = await bench.plugin.send(rendered, "k")
    assert first.external_id == again.external_id
    assert (first.pending, again.pending) == (True, False)
    assert twin.responses_made() == [(ref, "Sorry!")]


async def test_a_response_in_the_slot_is_not_replaced_unseen(bench: BenchLike, twin: AppStoreTwin, ref: str) -> None:
    twin.owner_response(ref, "We called you, Ana.")
    rendered = bench.rendered(ref, "Sorry!")
    with pytest.raises(Hold) as caught:
        await bench.make().send(rendered, "k")
    assert "We called you, Ana." in caught.value.reason
    twin.owner_response(ref, "We called you twice, Ana.")
    with pytest.raises(Hold):  # what was seen is not what is there now
        await bench.make().send(rendered, "k")
    await bench.make().send(rendered, "k")
    assert twin.response_of(ref) == "Sorry!"


async def test_our_own_response_is_recognised_when_it_is_read(bench: BenchLike, twin: AppStoreTwin, ref: str) -> None:
    sent = await bench.plugin.send(bench.rendered(ref, "Sorry!"), "k")
    pages, _ = await bench.drain("reviews")
    own = [item for item in bench.news(pages) if isinstance(item, Interaction) and item.direction == "outbound"]
    assert [one.external_id for one in own] == [sent.external_id]


@pytest.mark.parametrize(
    ("fault", "there"),
    [
        (Fault("status_before", method="POST", status=503), False),
        (Fault("status_after", method="POST", status=502), True),
        (Fault("status_after", method="POST", status=201, body=b'{"data": {}}'), True),
    ],
    ids=["not done", "done", "an answer that names nothing"],
)
async def test_after_an_unknown_outcome_the_slot_is_asked(
    bench: BenchLike, twin: AppStoreTwin, ref: str, fault: Fault, there: bool
) -> None:
    rendered = bench.rendered(ref, "Sorry!")
    twin.faults.append(dataclasses.replace(fault))
    with pytest.raises(Unknown):
        await bench.plugin.send(rendered, "k")
    found = await bench.plugin.find(SendIntent(key="k", rendered=rendered, started_at=bench.clock.now()))
    assert isinstance(found, Found if there else Absent)
    await bench.plugin.send(rendered, "k")
    assert twin.responses_made() == [(ref, "Sorry!")]


async def test_a_response_is_changed_and_taken_back(bench: BenchLike, twin: AppStoreTwin, ref: str) -> None:
    sent = await bench.plugin.send(bench.rendered(ref, "Sorry!"), "k")
    newer = await bench.plugin.amend(sent, bench.rendered(ref, "Sorry, Ana!"))
    assert twin.response_of(ref) == "Sorry, Ana!"
    assert newer.external_id == sent.external_id, "Apple overwrites the text and keeps the id"
    await bench.plugin.retract(newer)
    assert twin.response_of(ref) is None
    await bench.plugin.retract(newer)
    assert not [key for key in bench.state.document if key.startswith(("ours/", "pending/"))]


async def test_what_somebody_changed_in_connect_is_neither_replaced_nor_taken_back_unseen(
    bench: BenchLike, twin: AppStoreTwin, ref: str
) -> None:
    sent = await bench.plugin.send(bench.rendered(ref, "Sorry!"), "k")
    assert twin.owner_response(ref, "From Connect") == sent.external_id
    with pytest.raises(Hold):
        await bench.plugin.amend(sent, bench.rendered(ref, "Third"))
    with pytest.raises(Hold) as caught:
        await bench.plugin.retract(sent)
    assert "From Connect" in caught.value.reason
    assert twin.response_of(ref) == "From Connect"


async def test_refusals_by_what_to_do_next(bench: BenchLike, twin: AppStoreTwin, ref: str) -> None:
    rendered = bench.rendered(ref, "Sorry!")
    twin.key.role = "DEVELOPER"
    with pytest.raises(Rejected) as caught:
        await bench.plugin.send(rendered, "k")
    assert caught.value.code == "forbidden_error"
    twin.key.role = "CUSTOMER_SUPPORT"
    twin.faults.append(Fault("status_before", method="POST", status=429, headers={"retry-after": "90"}))
    with pytest.raises(Retry) as waiting:
        await bench.plugin.send(rendered, "k")
    assert waiting.value.after == timedelta(seconds=90)
    twin.delete(ref)
    with pytest.raises(Gone):
        await bench.plugin.send(rendered, "k")


@pytest.mark.parametrize("kind", ["nothing", "other kind", "other curve", "public"])
def test_what_is_no_key_for_es256_is_refused_without_its_words(twin: AppStoreTwin, kind: str) -> None:
    match kind:
        case "other kind":
            key = OKPKey.generate_key("Ed25519").as_pem(private=True).decode()
        case "other curve":
            key = ECKey.generate_key("P-384").as_pem(private=True).decode()
        case "public":
            key = twin.key.key.as_pem(private=False).decode()
        case _:
            key = "what an admin pasted instead"
    with pytest.raises(ValidationError) as caught:
        AppStoreApp(**twin.app_config(private_key=key))
    assert key[-40:] not in str(caught.value)


def test_secrets_are_nowhere(bench: BenchLike) -> None:
    assert "PRIVATE KEY" not in repr(bench.plugin.setup) + str(bench.plugin.setup.app)


async def test_what_is_remembered_fits_the_state_document(bench: BenchLike, twin: AppStoreTwin) -> None:
    memory = Memory(bench.state)
    for number in range(MOST + 20):
        at = f"2026-11-23T12:00:{number:06d}"
        await memory.put("slot", f"review-{number:030d}", at, there="0" * 16, instead="0" * 64)
        await memory.put("ours", f"response-{number:030d}", at, words="0" * 16)
        await memory.put("pending", f"response-{number:030d}", at, review="0" * 36)
    assert len(json.dumps(bench.state.document)) < 64 * 1024
    assert next(iter(await memory.all("ours"))).endswith("20"), "the oldest are forgotten"
