"""What deliveries say: every event type, both generations of names, edits, threads, times, ids."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest

from gateway_schemas.errors import Malformed
from gateway_schemas.interaction import Deletion, Ignored, Interaction, Normalised, Revoked, Unreadable, Wanted
from gateway_schemas.plugin import Setup
from gateway_schemas.testing.fixtures import as_delivery, load_request
from gateway_schemas.testing.recordings import Recordings
from gateway_schemas.time import SystemTime
from gateway_schemas.webhook import RawDelivery
from gateway_x.config import XApp
from gateway_x.payloads import snowflake_at, snowflake_time
from gateway_x.plugin import XSource
from gateway_x.posts import language

FIXTURES = Path(__file__).parents[1] / "fixtures" / "in"
BRAND, RITA, OMAR = "1111111111111111111", "2222222222222222222", "3333333333333333333"
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def plugin() -> XSource:
    """The App's instance: it knows no connection."""
    app = XApp(consumer_secret="fixture-consumer-secret", bearer_token="b")  # type: ignore[arg-type]
    return XSource(Setup(time=SystemTime(), app=app))


def webhook(plugin: XSource, body: Any) -> Sequence[Normalised]:
    return plugin.normalise(RawDelivery("1", "webhook", json.dumps(body).encode(), NOW))


def event(type: str, payload: dict[str, Any], includes: dict[str, Any] | None = None) -> dict[str, Any]:
    data = {"event_uuid": "-5", "filter": {"user_id": BRAND}, "event_type": type, "payload": payload}
    return {"data": data | ({"includes": includes} if includes is not None else {})}


def post(id: str = "2090000000000000222", **changes: Any) -> dict[str, Any]:
    whole = {
        "id": id,
        "text": "hello",
        "author_id": RITA,
        "conversation_id": id,
        "created_at": "2026-11-20T10:02:00.000Z",
        "edit_history_tweet_ids": [id],
    }
    return {key: value for key, value in (whole | changes).items() if value is not None}


def one(items: Sequence[Normalised]) -> Interaction:
    (item,) = items
    assert isinstance(item, Interaction)
    return item


def test_polled_and_told_are_the_same_interaction(plugin: XSource) -> None:
    """The same post over the webhook and over the timeline differs in nothing that a policy or a person sees."""
    told = one(plugin.normalise(as_delivery(load_request(FIXTURES / "post_mention_create__root.http"))))
    polled = one(Recordings(FIXTURES.parent, XSource).normalised("poll_mentions__old_names"))
    same = {"external_id", "revision", "account", "kind", "text", "root", "published_at", "reply_target", "addressed"}
    assert told.model_dump(include=same) == polled.model_dump(include=same)


def test_edits_keep_the_first_id(plugin: XSource) -> None:
    first, second, third = (str(snowflake_at(NOW.replace(minute=minute))) for minute in (1, 2, 3))
    history = [first, second, third]
    versions = [
        one(webhook(plugin, event("post.mention.create", post(id, conversation_id=first, edit_history_tweet_ids=seen))))
        for id, seen in ((first, [first]), (second, [first, second]), (third, history))
    ]
    assert {version.external_id for version in versions} == {first}
    assert [version.revision for version in versions] == history
    assert [version.supersedes for version in versions] == [(), (first,), (first, second)]
    assert {version.published_at.minute for version in versions[1:]} == {1}
    assert [version.edited_at.minute for version in versions[1:] if version.edited_at] == [2, 3]
    assert {version.root for version in versions} == {first}
    assert versions[2].reply_target is not None
    assert versions[2].reply_target.ref == third
    # an old version asked for by its own id, after the edits: still that version
    old = one(webhook(plugin, event("post.mention.create", post(second, edit_history_tweet_ids=history))))
    assert (old.revision, old.supersedes) == (second, (first,))


def test_direction_is_told_by_the_author(plugin: XSource) -> None:
    own = one(webhook(plugin, event("post.create", post(author_id=BRAND))))
    other = one(webhook(plugin, event("post.mention.create", post())))
    assert (own.direction, own.root_owner) == ("outbound", "brand")
    assert (other.direction, other.root_owner) == ("inbound", "customer")


@pytest.mark.parametrize(
    ("changes", "addressed"),
    [
        ({}, False),
        ({"entities": {"mentions": [{"start": 0, "end": 1, "username": "AcmeSupport", "id": BRAND}]}}, True),
        ({"entities": {"mentions": [{"start": 0, "end": 1, "username": "omar_q", "id": OMAR}]}}, False),
        ({"in_reply_to_user_id": BRAND, "referenced_tweets": [{"type": "replied_to", "id": "1"}]}, True),
        ({"in_reply_to_user_id": OMAR, "referenced_tweets": [{"type": "replied_to", "id": "1"}]}, False),
        ({"referenced_tweets": [{"type": "quoted", "id": "77"}]}, True),
        ({"referenced_tweets": [{"type": "replied_to", "id": "77"}]}, True),
        ({"referenced_tweets": [{"type": "quoted", "id": "78"}]}, False),
    ],
)
def test_fetched_posts_speak_to_the_brand_or_not(plugin: XSource, changes: dict[str, Any], addressed: bool) -> None:
    includes = {"tweets": [post("77", author_id=BRAND), post("78", author_id=OMAR)]}
    body = {"data": [post(**changes)], "includes": includes}
    delivery = RawDelivery("1", "fetch", json.dumps(body).encode(), NOW, note={"account": BRAND, "kind": "posts"})
    items = [item for item in plugin.normalise(delivery) if isinstance(item, Interaction)]
    assert items[-1].addressed is addressed


def test_the_mentions_timeline_needs_no_entities(plugin: XSource) -> None:
    """Older objects name mentions without ids, and the App's instance does not know the account's handle."""
    older = post(entities={"mentions": [{"start": 0, "end": 12, "username": "AcmeSupport"}]})
    body = json.dumps({"data": [older]}).encode()
    note = {"account": BRAND, "kind": "posts"}
    polled = one(plugin.normalise(RawDelivery("1", "poll", body, NOW, stream="mentions", note=note)))
    assert (polled.addressed, polled.mentions) == (True, ())


def test_a_missing_parent_is_wanted_once(plugin: XSource) -> None:
    reply = {"conversation_id": "1", "in_reply_to_user_id": OMAR}
    parent = {"referenced_tweets": [{"type": "replied_to", "id": "2090000000000000002"}]}
    body = {"data": [post("2090000000000000223", **reply, **parent), post("2090000000000000224", **reply, **parent)]}
    note = {"account": BRAND, "kind": "posts"}
    raw = json.dumps(body).encode()
    for origin in ("poll", "fetch"):
        items = plugin.normalise(RawDelivery("1", origin, raw, NOW, note=note))
        wanted = [item for item in items if isinstance(item, Wanted)]
        assert wanted == [Wanted(ref="2090000000000000002", reason="ancestor", account=BRAND)]


def test_a_reply_to_the_brand_wants_nothing(plugin: XSource) -> None:
    payload = post(
        conversation_id="1", in_reply_to_user_id=BRAND, referenced_tweets=[{"type": "replied_to", "id": "1"}]
    )
    told = one(webhook(plugin, event("post.reply.create", payload, {})))
    assert (told.in_reply_to, told.root, told.root_owner, told.kind) == ("1", "1", "brand", "comment")


def test_parents_that_refer_to_each_other_end(plugin: XSource) -> None:
    loop = [{"type": "replied_to", "id": "2090000000000000002"}]
    back = [{"type": "replied_to", "id": "2090000000000000001"}]
    includes = {"tweets": [post("2090000000000000002", referenced_tweets=back)]}
    includes["tweets"].append(post("2090000000000000001", referenced_tweets=loop))
    items = webhook(plugin, event("post.mention.create", post("2090000000000000001", referenced_tweets=loop), includes))
    assert len([item for item in items if isinstance(item, Interaction)]) == 2


def test_a_reply_whose_parent_was_deleted_stays_in_its_conversation(plugin: XSource) -> None:
    told = one(webhook(plugin, event("post.mention.create", post(conversation_id="2090000000000000001"))))
    assert (told.kind, told.root, told.in_reply_to) == ("comment", "2090000000000000001", None)


@pytest.mark.parametrize("number", ["9007199254740993", 9007199254740993, "2090000000000000222", 2090000000000000222])
def test_ids_beyond_53_bits_are_exact(plugin: XSource, number: str | int) -> None:
    told = one(webhook(plugin, event("post.mention.create", post(number, edit_history_tweet_ids=[number]))))  # type: ignore[arg-type]
    assert told.external_id == str(number)


def test_a_message_without_a_time_has_that_of_its_id(plugin: XSource) -> None:
    message = {"type": "message_create", "id": str(snowflake_at(NOW))}
    message["message_create"] = {"sender_id": RITA, "target": {"recipient_id": BRAND}, "message_data": {"text": "hi"}}  # type: ignore[assignment]
    told = one(webhook(plugin, event("dm.received", {"direct_message_events": [message]})))
    assert told.published_at == NOW
    assert (told.visibility, told.root) == ("private", f"{BRAND}-{RITA}")


@pytest.mark.parametrize(("small", "large"), [("9", "10"), ("99", "100"), ("783214", "2222222222222222222")])
def test_conversations_are_ordered_as_numbers(plugin: XSource, small: str, large: str) -> None:
    message = {
        "type": "message_create",
        "id": str(snowflake_at(NOW)),
        "message_create": {"sender_id": large, "target": {"recipient_id": small}, "message_data": {"text": "hi"}},
    }
    data = {"filter": {"user_id": small}, "event_type": "dm.received", "payload": {"direct_message_events": [message]}}
    told = one(webhook(plugin, {"data": data}))
    assert told.root == f"{small}-{large}"
    assert told.reply_target is not None
    assert told.reply_target.recipient == large


def test_a_message_without_recipient_is_fetched(plugin: XSource) -> None:
    message = {"type": "message_create", "id": "2090000000000000333", "message_create": {"sender_id": RITA}}
    assert webhook(plugin, event("dm.received", {"direct_message_events": [message]})) == [
        Wanted(ref="dm:2090000000000000333", reason="thin", account=BRAND)
    ]


@pytest.mark.parametrize(
    ("code", "expected"),
    [("en", "en"), ("in", "id"), ("iw", "he"), ("zh-TW", "zh-TW")]
    + [(code, None) for code in ("und", "qme", "qht", "qam", "qct", "qst", "zxx", "art", "", None)],
)
def test_languages(code: str | None, expected: str | None) -> None:
    assert language(code) == expected


@pytest.mark.parametrize(
    ("shown", "written"),
    [
        ("a &amp; b", "a & b"),
        ("&lt;3 &gt; 2", "<3 > 2"),
        ("&amp;lt; &amp;gt;", "&lt; &gt;"),
        ("&amp;copy; &copy;", "&copy; &copy;"),
        ("\ud800 lone", "\ufffd lone"),
        ("nul\x00", "nul\ufffd"),
    ],
)
def test_text_is_what_the_author_wrote(plugin: XSource, shown: str, written: str) -> None:
    assert one(webhook(plugin, event("post.mention.create", post(text=shown)))).text == written


@pytest.mark.parametrize("type", ["dm.read", "dm.indicate_typing", "post.repost.create", "chat.received", "news.new"])
def test_what_means_nothing_is_ignored_with_a_reason(plugin: XSource, type: str) -> None:
    (item,) = webhook(plugin, event(type, {"id": "1"}))
    assert isinstance(item, Ignored)
    assert type in item.reason


def test_revocation_names_the_account(plugin: XSource) -> None:
    payload = {"date_time": "2026-11-20T21:44:05+00:00", "user_id": BRAND, "app_id": "1"}
    (item,) = webhook(plugin, {"data": {"filter": {}, "event_type": "oauth.revoke", "payload": payload}})
    assert isinstance(item, Revoked)
    assert (item.account, item.at) == (BRAND, datetime(2026, 11, 20, 21, 44, 5, tzinfo=UTC))


def test_deletion_of_an_edited_post_names_its_first_id(plugin: XSource) -> None:
    payload = {"id": "11", "author_id": BRAND, "edit_history_tweet_ids": ["10", "11"]}
    assert webhook(plugin, event("post.delete", payload)) == [Deletion(external_id="10", account=BRAND, by="brand")]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"null",
        b"7",
        b"[]]",
        b'{"data": 1}',
        json.dumps(event("post.mention.create", {})).encode(),
        json.dumps(event("post.mention.create", post(id="-1"))).encode(),
        json.dumps({"data": {"event_type": "post.create", "payload": post()}}).encode(),
        json.dumps(event("dm.received", {})).encode(),
        json.dumps({"for_user_id": "x", "tweet_create_events": []}).encode(),
    ],
)
def test_what_is_not_documented_is_malformed(plugin: XSource, body: bytes) -> None:
    with pytest.raises(Malformed):
        plugin.normalise(RawDelivery("1", "webhook", body, NOW))


@pytest.mark.parametrize("origin", ["poll", "fetch"])
def test_a_page_without_its_account_is_malformed(plugin: XSource, origin: Literal["poll", "fetch"]) -> None:
    with pytest.raises(Malformed, match="account"):
        plugin.normalise(RawDelivery("1", origin, b'{"data": []}', NOW))


def test_one_broken_event_does_not_take_its_neighbours_down(plugin: XSource) -> None:
    items = webhook(plugin, [event("post.mention.create", {"id": "?"}), event("post.mention.create", post())])
    assert [type(item) for item in items] == [Interaction, Unreadable]


def test_one_broken_message_or_old_post_does_not_take_its_neighbours_down(plugin: XSource) -> None:
    message = {"type": "message_create", "id": "2090000000000000333"}
    message["message_create"] = {"sender_id": RITA, "target": {"recipient_id": BRAND}}  # type: ignore[assignment]
    items = webhook(plugin, event("dm.received", {"direct_message_events": [message, {"id": "?"}]}))
    assert [type(item) for item in items] == [Interaction, Unreadable]
    old = {"id_str": "2090000000000000101", "text": "hi", "user": {"id_str": RITA}}
    items = webhook(plugin, {"for_user_id": BRAND, "tweet_create_events": [{"user": None}, old]})
    assert [type(item) for item in items] == [Interaction, Unreadable]


def test_every_account_of_the_app_goes_through_one_instance(plugin: XSource) -> None:
    other = event("post.mention.create", post())
    other["data"]["filter"]["user_id"] = OMAR
    items = webhook(plugin, [event("post.mention.create", post()), other])
    assert [item.account for item in items if isinstance(item, Interaction)] == [BRAND, OMAR]


def test_snowflakes() -> None:
    assert snowflake_time(str(snowflake_at(NOW))) == NOW
    assert snowflake_time("20") is None
