"""What a pushed body means, and what the sender's people are told when it means nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from gateway_inbound.config import InboundConfig
from gateway_inbound.events import read as read_body
from gateway_inbound.source import InboundSource
from gateway_schemas.errors import Malformed
from gateway_schemas.interaction import Deletion, Ignored, Interaction, Normalised, SendStatus, Unreadable
from gateway_schemas.webhook import RawDelivery

AT = datetime(2026, 5, 4, 12, 30, 10, tzinfo=UTC)
STAMP = "2026-05-04T12:30:00Z"

MakeSource = Callable[..., InboundSource]


def event(type: str = "interaction.created", *, timestamp: str | None = STAMP, **data: Any) -> dict[str, Any]:
    basis = {"external_id": "c-1", "kind": "comment", "author": {"external_id": "u-1"}, "text": "late again"}
    whole = {**basis, **data} if type.startswith("interaction.") else data
    return {"type": type, "timestamp": timestamp, "data": {k: v for k, v in whole.items() if v != "absent"}}


def read(source: InboundSource, document: Any) -> list[Normalised]:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return list(source.normalise(RawDelivery(id="d", origin="webhook", body=body, received_at=AT)))


def one(source: InboundSource, document: Any) -> Interaction:
    (item,) = read(source, document)
    assert isinstance(item, Interaction)
    return item


def complaint(source: InboundSource, document: Any) -> str:
    with pytest.raises(Malformed) as caught:
        read(source, document)
    return caught.value.reason


def test_defaults_fill_in_what_an_ordinary_comment_leaves_out(make_source: MakeSource) -> None:
    item = one(make_source(account="forum"), event())
    assert (item.account, item.visibility, item.direction, item.addressed) == ("forum", "public", "inbound", True)
    assert item.published_at == datetime(2026, 5, 4, 12, 30, tzinfo=UTC)
    assert item.reply_target is not None
    assert (item.reply_target.kind, item.reply_target.ref) == ("comment", "c-1")


@pytest.mark.parametrize(
    ("kind", "target"),
    [("post", "comment"), ("comment", "comment"), ("review", "review"), ("direct_message", "direct_message")],
)
def test_an_answer_goes_where_it_was_said(kind: str, target: str, make_source: MakeSource) -> None:
    item = one(make_source(), event(kind=kind))
    assert item.reply_target is not None
    assert (item.reply_target.kind, item.reply_target.ref) == (target, "c-1")
    assert item.reply_target.recipient == ("u-1" if kind == "direct_message" else None)
    assert item.visibility == ("private" if kind == "direct_message" else "public")


def test_a_target_is_completed_replaced_or_refused_by_the_sender(make_source: MakeSource) -> None:
    source = make_source()
    given_target = one(source, event(reply_target={"ref": "slot-3", "extra": {"shard": 2}})).reply_target
    assert given_target is not None
    assert (given_target.kind, given_target.ref, given_target.extra) == ("comment", "slot-3", {"shard": 2})
    assert one(source, event(reply_target=None)).reply_target is None
    assert one(source, event(author={"external_id": "brand"})).reply_target is None


def test_own_authors_are_outbound_even_where_the_sender_says_otherwise(make_source: MakeSource) -> None:
    source = make_source()
    assert one(source, event(author={"external_id": "brand"}, direction="inbound")).direction == "outbound"
    assert one(source, event(direction="outbound")).direction == "outbound"


def test_a_revision_follows_text_rating_and_media_and_nothing_else(make_source: MakeSource) -> None:
    source = make_source()
    first = one(source, event()).revision
    assert one(source, event(author={"external_id": "u-1", "followers": 9}, url="https://a.example")).revision == first
    assert one(source, event(timestamp="2026-05-04T12:31:00Z")).revision == first
    assert one(source, event(rating={"value": 1})).revision == one(source, event(rating={"value": 1.0})).revision
    for change in (
        {"text": "late again!"},
        {"rating": {"value": 1}},
        {"rating": {"value": 1, "best": 10}},
        {"attachments": [{"url": "https://cdn.example/1.jpg"}]},
        {"title": "t"},
        {"recommendation": "negative"},
    ):
        assert one(source, event(**change)).revision != first, change
    assert one(source, event(revision="7")).revision == "7"


def test_an_edit_back_to_the_first_text_is_a_new_revision_where_its_time_is_told(make_source: MakeSource) -> None:
    source = make_source()

    def update(text: str, edited_at: str) -> Interaction:
        return one(source, event("interaction.updated", text=text, published_at=STAMP, edited_at=edited_at))

    back = update("late again", "2026-05-04T12:33:00Z")
    assert back.revision not in (one(source, event()).revision, update("sorry", "2026-05-04T12:32:00Z").revision)
    assert back.revision == update("late again", "2026-05-04T14:33:00+02:00").revision


def test_an_update_is_edited_at_its_events_time_and_keeps_when_it_was_published(make_source: MakeSource) -> None:
    source = make_source()
    published = "2026-05-01T08:00:00Z"
    item = one(source, event("interaction.updated", published_at=published))
    assert item.edited_at == datetime(2026, 5, 4, 12, 30, tzinfo=UTC)
    assert item.published_at == datetime(2026, 5, 1, 8, 0, tzinfo=UTC)
    assert "data.published_at: required" in complaint(source, event("interaction.updated"))


def test_sending_the_same_state_again_is_no_new_revision(make_source: MakeSource) -> None:
    source = make_source()
    again = [
        one(source, event("interaction.updated", published_at=STAMP, timestamp=f"2026-05-0{day}T12:30:00Z"))
        for day in (5, 6)
    ]
    assert {item.revision for item in again} == {one(source, event()).revision}


def test_a_deletion_needs_no_more_than_an_id(make_source: MakeSource) -> None:
    source = make_source()
    bare = {"type": "interaction.deleted", "timestamp": STAMP, "data": {"external_id": "c-1"}}
    assert read(source, bare) == [
        Deletion(external_id="c-1", account="default", deleted_at=datetime(2026, 5, 4, 12, 30, tzinfo=UTC))
    ]
    without_time = {"type": "interaction.deleted", "data": {"external_id": "c-1", "by": "provider"}}
    assert read(source, without_time) == [Deletion(external_id="c-1", account="default", by="provider")]


def test_a_status_is_read(make_source: MakeSource) -> None:
    status = event("reply.status", external_id="reply-1", state="removed", reason="spam")
    at = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)
    expected = SendStatus(external_id="reply-1", account="default", state="removed", reason="spam", at=at)
    assert read(make_source(), status) == [expected]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (event(author="absent"), "data.author: required; who wrote it"),
        (event(author={"name": "x"}), "data.author.external_id: required; the author's id at your system"),
        (event(author={"external_id": 42}), 'data.author.external_id: expected a string; write a number as "42"'),
        (event(external_id="absent"), "data.external_id: required; the id of this thing"),
        (event(external_id=""), "data.external_id: string should have at least 1 character"),
        (event(kind="tweet"), "data.kind: expected 'post', 'comment', 'review' or 'direct_message'"),
        (event(kind="absent"), "data.kind: required; one of `post`"),
        (event(athor=1), "data.athor: unknown field; what the vocabulary has no word for goes into `data.extra`"),
        (event(published_at="2026-05-04T12:30:00"), "data.published_at: expected a time with its offset"),
        (event(published_at="yesterday"), "data.published_at: expected a time with its offset"),
        (event(timestamp=None), "data.published_at: required; a time with its offset"),
        (event(timestamp="12:30"), "timestamp: expected a time with its offset"),
        (event(attachments=[{}, {"size": -1}]), "data.attachments[1].size: input should be greater than"),
        (event(kind="direct_message", visibility="public"), "data.visibility: a direct_message is `private`"),
        (event(account="other"), "data.account: this door belongs to the account 'default'"),
        (event(rating={"value": float("nan")}), "data.rating.value: "),
        (event(extra={"n": 2**63}), "data.extra.n: the number does not fit into 64 bits"),
        (event(external_id="a\x00"), "data.external_id: an id may not hold NUL"),
        (event(reply_target=3), "data.reply_target: "),
        (event("reply.status", external_id="r"), "data.state: required; one of `published`"),
        (event("reply.status", external_id="r", state="pending", x=1), "data.x: unknown field"),
        ({"timestamp": STAMP, "data": {}}, "type: required; one of interaction.created"),
        ({"type": "interaction.created", "timestamp": STAMP}, "data: required; an object"),
        ({"type": "batch", "data": {}}, "data: required in a batch; the list of its events"),
        ([event()], "the body is a JSON list, not an object"),
        (b"", "the body is not JSON"),
        (b'{"type": ', "the body is not JSON: Expecting value at character 9"),
        (b'{"type":"interaction.created","data":{"text":"\xe4"}}', "the body is not UTF-8 at byte 46"),
        (b"[" * 100_000, "the body is nested too deeply"),
        (b'{"type":"batch","data":' + b"9" * 5000 + b"}", "the body has a number that is too long"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_a_complaint_names_the_field_and_the_mend(document: Any, said: str, make_source: MakeSource) -> None:
    assert said in complaint(make_source(), document)


def test_a_complaint_is_complete_but_never_endless(make_source: MakeSource) -> None:
    source = make_source()
    said = complaint(source, event(author="absent", kind="absent", external_id="absent"))
    assert [part.split(":")[0] for part in said.split("; ") if part.startswith("data.")] == [
        "data.external_id",
        "data.kind",
        "data.author",
    ]
    unknown: dict[str, Any] = {f"field-{number}-{'x' * 5000}": 1 for number in range(100)}
    flood = complaint(source, event(**unknown))
    assert flood.endswith("; and 95 more fields")
    assert len(flood) < 3000


def test_nesting_is_limited_before_it_can_hurt(make_source: MakeSource) -> None:
    deep: Any = 1
    for _ in range(40):
        deep = [deep]
    assert "nested too deeply; at most 32 levels" in complaint(make_source(), event(extra={"deep": deep}))


def test_nulls_are_fields_left_out_except_in_extra(make_source: MakeSource) -> None:
    author = {"external_id": "u-1", "name": None}
    item = one(make_source(), event(author=author, text=None, rating=None, mentions=None, extra={"a": None}))
    assert (item.text, item.rating, item.mentions, item.extra) == ("", None, (), {"a": None})


def test_promise_2_one_bad_event_does_not_take_its_batch_down(make_source: MakeSource) -> None:
    events = [event(external_id="a"), event(author={}), 7, event(external_id="b", text="x\x00y \ud83d")]
    first, bad, worse, last = read(make_source(), {"type": "batch", "data": events})
    assert isinstance(first, Interaction)
    assert isinstance(last, Interaction)
    assert (first.external_id, last.external_id, last.text) == ("a", "b", "x\ufffdy \ufffd")
    said = "data[1].data.author.external_id: required; the author's id at your system"
    assert bad == Unreadable(reason=said)
    assert worse == Unreadable(reason="data[2]: expected an object with `type`, `timestamp` and `data`")


def test_a_batch_of_which_nothing_can_be_read_fails_and_can_be_replayed(make_source: MakeSource) -> None:
    said = complaint(make_source(), {"type": "batch", "data": [event(kind="x")] * 5})
    assert said.startswith("data[0].data.kind: expected 'post'")
    assert said.endswith("; and 2 more events")


def test_what_is_not_ours_is_ignored_with_a_reason(make_source: MakeSource) -> None:
    source = make_source()
    assert read(source, {"type": "batch", "data": []}) == [Ignored(reason="a batch without events")]
    (ignored,) = read(source, {"type": "topic.closed", "data": {}})
    assert isinstance(ignored, Ignored)
    assert ignored.reason.startswith("type: 'topic.closed' is none of interaction.created")
    nested = complaint(source, {"type": "batch", "data": [{"type": "batch", "data": []}]})
    assert nested == "data[0].type: a batch may not hold another batch"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
CONFIG = InboundConfig(signing_secrets=[SecretStr("whsec_" + "QUFB" * 8)])
FIELDS = st.dictionaries(
    st.sampled_from([*Interaction.model_fields, *Deletion.model_fields, *SendStatus.model_fields]), JSON, max_size=6
)


@given(
    type=st.sampled_from(["interaction.created", "interaction.updated", "interaction.deleted", "reply.status"]),
    timestamp=JSON | st.just(STAMP),
    data=FIELDS,
)
def test_odd_data_is_read_or_complained_about_and_always_storable(type: str, timestamp: Any, data: Any) -> None:
    basis = event(external_id="c", published_at=STAMP)["data"]
    body = json.dumps({"type": type, "timestamp": timestamp, "data": {**basis, **data}}).encode()
    try:
        items = read_body(body, CONFIG)
    except Malformed:
        return
    for item in items:
        written = item.model_dump_json()
        json.loads(written)
        assert "\\u0000" not in written
