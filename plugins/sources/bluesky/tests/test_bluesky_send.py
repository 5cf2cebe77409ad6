"""The way out: strong references, facets by bytes, two limits, a record key of the reply's key, messages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_bluesky.names import blob_cid, is_tid, parse_uri, record_key
from gateway_bluesky.plugin import BlueskySource
from gateway_bluesky.richtext import facets
from gateway_bluesky.twin import BlueskyTwin
from gateway_schemas.errors import Gone, Hold, Rejected, Unknown
from gateway_schemas.interaction import ReplyTarget
from gateway_schemas.length import Counting
from gateway_schemas.reply import Absent, Found, Rendered, SendIntent, Sent
from gateway_schemas.testing.clock import EVENING, StillTime
from gateway_schemas.testing.twin import Fault

ACME, RITA = "acme.example.com", "rita.example.com"
RITA_DID, ACME_DID = "did:plc:ritaritaritaritaritarita", "did:plc:acmeacmeacmeacmeacmeacme"
JPEG = b"\xff\xd8\xff"
BenchLike = Any
Make = Callable[..., BlueskySource]


@pytest.fixture
def asked(twin: BlueskyTwin) -> str:
    """A customer's post."""
    return twin.post(RITA, f"@{ACME} my login fails")


def intent(rendered: Rendered, clock: StillTime, key: str = "k") -> SendIntent:
    return SendIntent(key=key, rendered=rendered, started_at=clock.now())


# rendered


async def test_a_record_names_root_and_parent_by_version(twin: BlueskyTwin, bench: BenchLike, asked: str) -> None:
    own = twin.post(ACME, "Which browser?", asked)
    again = twin.post(RITA, "The blue one", own)
    record = (await bench.rendered(again, "Sorry!")).body["record"]
    strong = {uri: {"uri": uri, "cid": twin.state.records[uri].cid} for uri in (asked, again)}
    assert record == {
        "$type": "app.bsky.feed.post",
        "text": "Sorry!",
        "createdAt": "2026-11-23T12:00:00.000Z",
        "langs": ["en"],
        "reply": {"root": strong[asked], "parent": strong[again]},
    }
    assert (await bench.rendered(asked, "Sorry!")).body["record"]["reply"] == {
        "root": strong[asked],
        "parent": strong[asked],
    }


def features(text: str) -> list[tuple[str, Any]]:
    raw = text.encode()
    found = facets(text, {RITA: RITA_DID, ACME: ACME_DID})
    return [
        (
            raw[one["index"]["byteStart"] : one["index"]["byteEnd"]].decode(),
            {key: value for key, value in one["features"][0].items() if key != "$type"},
        )
        for one in found
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("nothing", []),
        ("😕 @rita.example.com!", [("@rita.example.com", {"did": RITA_DID})]),
        ("@RITA.Example.Com", [("@RITA.Example.Com", {"did": RITA_DID})]),
        ("@nobody.example.com", []),
        ("mail@rita.example.com", []),
        ("@rita.example.com.evil.example", []),
        ("Grüße https://example.com/ä?x=1.", [("https://example.com/ä?x=1", {"uri": "https://example.com/ä?x=1"})]),
        ("(example.com/help)", [("example.com/help", {"uri": "https://example.com/help"})]),
        ("#ok #2 #a1, (#b) x#no", [("#ok", {"tag": "ok"}), ("#a1", {"tag": "a1"}), ("#b", {"tag": "b"})]),
        ("https://example.com/#top", [("https://example.com/#top", {"uri": "https://example.com/#top"})]),
        ("#" + "x" * 65, []),
        (
            "👩‍👩‍👧@rita.example.com #漢字 https://example.com",
            [
                ("@rita.example.com", {"did": RITA_DID}),
                ("#漢字", {"tag": "漢字"}),
                ("https://example.com", {"uri": "https://example.com"}),
            ],
        ),
    ],
)
def test_facets_count_bytes(text: str, found: list[tuple[str, Any]]) -> None:
    assert features(text) == found


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from(["@rita.example.com", "#tag", "https://e.example/x", "é", "👩‍👩‍👧", " ", "(", ".", "a"]))
)
def test_facets_never_overlap_and_never_cut_a_character(parts: list[str]) -> None:
    text = "".join(parts)
    raw, end = text.encode(), 0
    for one in facets(text, {RITA: RITA_DID}):
        start, stop = one["index"]["byteStart"], one["index"]["byteEnd"]
        assert end <= start < stop <= len(raw)
        assert raw[start:stop].decode() in text
        end = stop


async def test_both_limits(bench: BenchLike, plugin: BlueskySource, asked: str) -> None:
    family = "👩‍👩‍👧‍👦"  # one grapheme of 25 bytes
    rendered = await bench.rendered(asked, "é" * 301)
    assert (rendered.length, rendered.limit, rendered.counting) == (301, 300, Counting.graphemes)
    rendered = await bench.rendered(asked, family * 121)
    assert (rendered.length, rendered.limit, rendered.counting) == (3025, 3000, Counting.utf8_bytes)
    with pytest.raises(Rejected, match="3000"):
        await plugin.send(rendered, "k")
    fits = await bench.rendered(asked, family * 120)
    assert fits.length == 120
    await plugin.send(fits, "k2")


async def test_what_cannot_be_rendered(bench: BenchLike, plugin: BlueskySource, make: Make, asked: str) -> None:
    heard = await bench.read(asked)
    private = ReplyTarget(kind="direct_message", recipient=RITA_DID)
    picture = bench.file(JPEG)
    for expected, draft in (
        ("empty", bench.draft(heard, " ")),
        ("wrong_target", bench.draft(heard, "x", target=ReplyTarget(kind="review", ref=asked))),
        ("no_target", bench.draft(heard, "x", target=ReplyTarget(kind="comment", ref=asked))),
        ("wrong_visibility", bench.draft(heard, "x").model_copy(update={"visibility": "private"})),
        ("wrong_visibility", bench.draft(heard, "x", target=private).model_copy(update={"visibility": "public"})),
        ("no_target", bench.draft(heard, "x", target=ReplyTarget(kind="direct_message"))),
        ("no_files", bench.draft(heard, "x", target=private, files=(picture,))),
        ("too_many_files", bench.draft(heard, "x", files=(picture,) * 5)),
        ("no_such_media", bench.draft(heard, "x", files=(bench.file(b"%PDF", "application/pdf"),))),
        ("file_too_large", bench.draft(heard, "x", files=(bench.file(b"x" * 2_000_001),))),
    ):
        with pytest.raises(Rejected) as caught:
            plugin.render(draft)
        assert caught.value.code == expected
    with pytest.raises(Rejected) as caught:
        make(config={"direct_messages": False}).render(bench.draft(heard, "x", target=private))
    assert caught.value.code == "no_messages"


# sent


async def test_exactly_what_was_rendered_is_written(
    twin: BlueskyTwin, bench: BenchLike, plugin: BlueskySource, asked: str
) -> None:
    rendered = await bench.rendered(asked, f"@{RITA} sorry! See https://example.com/help")
    sent = await plugin.send(rendered, "k")
    (record,) = twin.published(ACME)
    assert record.value == rendered.body["record"]
    assert sent.external_id == record.uri
    assert sent.url == f"https://bsky.app/profile/{ACME_DID}/post/{record.uri.rpartition('/')[2]}"
    echo = bench.heard((await bench.drain("own"))[0])[-1]
    assert (echo.external_id, echo.direction, echo.mentions) == (sent.external_id, "outbound", (RITA_DID,))


async def test_a_repetition_under_the_same_key_is_the_same_post(
    twin: BlueskyTwin, bench: BenchLike, plugin: BlueskySource, asked: str, clock: StillTime
) -> None:
    rendered = await bench.rendered(asked, "Sorry!")
    first = await plugin.send(rendered, "k")
    clock.pass_by(days=1)
    assert await plugin.send(rendered, "k") == first
    assert (await plugin.send(rendered, "other")).external_id != first.external_id
    assert [effect.kind for effect in twin.ledger if effect.data["author"] == ACME_DID] == ["post", "post"]


@pytest.mark.parametrize("kind", ["status_after", "timeout_after", "drop_after"])
async def test_an_unknown_outcome_is_found_by_its_key(
    twin: BlueskyTwin, bench: BenchLike, plugin: BlueskySource, asked: str, clock: StillTime, kind: Any
) -> None:
    rendered = await bench.rendered(asked, "Sorry!")
    assert isinstance(await plugin.find(intent(rendered, clock)), Absent)
    twin.faults.append(Fault(kind, path="putRecord", status=502, seconds=60))
    with pytest.raises(Unknown):
        await plugin.send(rendered, "k")
    found = await plugin.find(intent(rendered, clock))
    assert isinstance(found, Found)
    assert found.external_id == twin.published(ACME)[0].uri
    assert isinstance(await plugin.find(intent(rendered, clock, "another")), Absent)


async def test_an_answer_that_names_something_else_is_unknown(
    twin: BlueskyTwin, bench: BenchLike, plugin: BlueskySource, asked: str
) -> None:
    twin.faults.append(Fault("status_after", path="putRecord", status=200, body=b'{"uri":"at://x"}'))
    with pytest.raises(Unknown):
        await plugin.send(await bench.rendered(asked, "Sorry!"), "k")


async def test_the_target_is_looked_at_first(
    twin: BlueskyTwin, bench: BenchLike, plugin: BlueskySource, asked: str
) -> None:
    """The account's own server takes answers to anything."""
    rendered = await bench.rendered(asked, "Sorry!")
    twin.close_thread(asked)
    with pytest.raises(Rejected) as caught:
        await plugin.send(rendered, "k")
    assert caught.value.code == "replies_closed"
    twin.closed.clear()
    twin.edit(asked, f"@{ACME} it works again")
    with pytest.raises(Hold):
        await plugin.send(rendered, "k")
    twin.delete(asked)
    with pytest.raises(Gone):
        await plugin.send(rendered, "k")
    assert twin.published(ACME) == []


async def test_retract(twin: BlueskyTwin, bench: BenchLike, plugin: BlueskySource, asked: str) -> None:
    sent = await plugin.send(await bench.rendered(asked, "Sorry!"), "k")
    await plugin.retract(sent)
    assert twin.published(ACME) == []
    await plugin.retract(sent)
    for other in (asked, "at://x", f"at://{ACME_DID}/app.bsky.feed.like/3k"):
        with pytest.raises(Rejected):
            await plugin.retract(Sent(external_id=other))


async def test_pictures_are_named_before_they_are_uploaded(
    twin: BlueskyTwin, bench: BenchLike, plugin: BlueskySource, asked: str
) -> None:
    files = (bench.file(JPEG + b"1"), bench.file(JPEG + b"2"))
    rendered = await bench.rendered(asked, "Look", files=files)
    sent = await plugin.send(rendered, "k")
    assert twin.state.records[sent.external_id].value == rendered.body["record"]
    assert set(twin.state.blobs[ACME_DID]) == {blob_cid(file.sha256) for file in files}
    seen = (await bench.read(sent.external_id)).attachments
    assert (await plugin.download(seen[1])).body == JPEG + b"2"


async def test_a_file_that_is_not_what_it_says(bench: BenchLike, plugin: BlueskySource, asked: str) -> None:
    rendered = await bench.rendered(asked, "Look", files=(bench.file(JPEG, "image/png"),))
    with pytest.raises(Rejected) as caught:
        await plugin.send(rendered, "k")
    assert caught.value.code == "media_type_differs"


# messages


async def test_a_message_to_whom_wrote_in_public(
    twin: BlueskyTwin, bench: BenchLike, plugin: BlueskySource, asked: str, clock: StillTime
) -> None:
    heard = await bench.read(asked)
    target = ReplyTarget(kind="direct_message", recipient=RITA_DID)
    rendered = plugin.render(bench.draft(heard, f"@{RITA} your order number?", target=target))
    assert (rendered.limit, rendered.visibility) == (1000, "private")
    sent = await plugin.send(rendered, "k")
    (message,) = twin.messages_from(ACME)
    assert sent.external_id == f"chat:{twin.conversation(ACME, RITA).id}/{message.id}"
    assert message.facets[0]["features"][0]["did"] == RITA_DID
    assert isinstance(await plugin.find(intent(rendered, clock)), Found)
    with pytest.raises(Rejected) as caught:
        await plugin.retract(sent)
    assert caught.value.code == "no_delete"


async def test_a_message_of_unknown_outcome(
    twin: BlueskyTwin, bench: BenchLike, plugin: BlueskySource, clock: StillTime
) -> None:
    twin.direct_message(RITA, ACME, "help")
    twin.direct_message(ACME, RITA, "Sorry!")
    clock.pass_by(hours=1)
    heard = bench.heard((await bench.drain("messages"))[0])[0]
    rendered = plugin.render(bench.draft(heard, "Sorry!"))
    assert isinstance(await plugin.find(intent(rendered, clock)), Absent), "the same words of an hour ago are another"
    twin.faults.append(Fault("status_after", path="sendMessage", status=500))
    with pytest.raises(Unknown):
        await plugin.send(rendered, "k")
    for number in range(150):
        twin.direct_message(RITA, ACME, f"more {number}")
    assert isinstance(await plugin.find(intent(rendered, clock)), Found)


@pytest.mark.parametrize(
    ("trouble", "code"),
    [
        (lambda twin: twin.allow_messages(RITA, "none"), "messages_disabled"),
        (lambda twin: twin.allow_messages(RITA, "following"), "not_followed_by_sender"),
        (lambda twin: twin.block(RITA, ACME), "blocked_actor"),
        (lambda twin: twin.state.accounts.pop(RITA_DID), "recipient_not_found"),
    ],
)
async def test_who_takes_no_messages(
    twin: BlueskyTwin, bench: BenchLike, plugin: BlueskySource, asked: str, trouble: Any, code: str
) -> None:
    heard = await bench.read(asked)
    rendered = plugin.render(bench.draft(heard, "Hello", target=ReplyTarget(kind="direct_message", recipient=RITA_DID)))
    trouble(twin)
    with pytest.raises(Rejected) as caught:
        await plugin.send(rendered, "k")
    assert caught.value.code == code
    assert "customer" in caught.value.reason


async def test_a_locked_conversation(twin: BlueskyTwin, bench: BenchLike, plugin: BlueskySource) -> None:
    twin.direct_message(RITA, ACME, "help")
    heard = bench.heard((await bench.drain("messages"))[0])[0]
    twin.conversation(RITA, ACME).locked = True
    with pytest.raises(Rejected) as caught:
        await plugin.send(plugin.render(bench.draft(heard, "Hello")), "k")
    assert caught.value.code == "convo_locked"


# names


@pytest.mark.parametrize("at", [None, EVENING, EVENING + timedelta(days=9999), EVENING.replace(year=1970)])
def test_record_keys_are_tids_and_go_by_the_key(at: datetime | None) -> None:
    keys = ["k", "ké", "reply-1", "x" * 300, *(f"r{number}" for number in range(200))]
    made = [record_key(key, at) for key in keys]
    assert all(map(is_tid, made))
    assert len(set(made)) == len(keys)
    assert made == [record_key(key, at) for key in keys]


@pytest.mark.parametrize(
    "uri",
    ["", "at://x/y/z", "at://did:plc:a/app.bsky.feed.post", "at://did:plc:a/app.bsky.feed.post/..", "https://x/y/z"],
)
def test_addresses_that_are_none(uri: str) -> None:
    assert parse_uri(uri) is None
