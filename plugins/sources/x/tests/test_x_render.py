"""Rendering: what X will get, counted as X counts; and whether what X shows is what was sent."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from gateway_schemas.errors import Rejected
from gateway_schemas.interaction import Author, Interaction, ReplyTarget
from gateway_schemas.length import Counting
from gateway_schemas.plugin import Setup
from gateway_schemas.reply import Draft, OutgoingFile
from gateway_schemas.time import SystemTime
from gateway_x.config import XConfig
from gateway_x.matching import same_text
from gateway_x.payloads import Entities, Link
from gateway_x.plugin import XSource

BRAND, RITA = "1111111111111111111", "2222222222222222222"


def draft(text: str, target: ReplyTarget | None = None, **changes: Any) -> Draft:
    target = target or ReplyTarget(kind="mention", ref="20", recipient=RITA)
    interaction = Interaction(
        external_id="20",
        revision="20",
        account=BRAND,
        kind="post",
        visibility="public",
        author=Author(external_id=RITA, handle="rita_ex"),
        published_at=datetime(2026, 11, 23, tzinfo=UTC),
    )
    visibility = "private" if target.kind == "direct_message" else "public"
    values: dict[str, Any] = {"visibility": visibility, **changes}
    return Draft(reply_id="r", text=text, account=BRAND, target=target, interaction=interaction, **values)


MESSAGE = ReplyTarget(kind="direct_message", ref=f"{BRAND}-{RITA}", recipient=RITA)


def picture(media_type: str = "image/png", size: int = 1000) -> OutgoingFile:
    return OutgoingFile(sha256="0", media_type=media_type, name="a.png", size=size)


def offline(**config: Any) -> XSource:
    """A plugin as in the process of pure methods: without network and state."""
    whole = XConfig(user_id=BRAND, username="AcmeSupport", access_token="t", **config)  # type: ignore[arg-type]
    return XSource(Setup(time=SystemTime(), config=whole))


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("Sorry!", 6),
        ("@rita_ex Sorry!", 6),
        ("@rita_ex @omar_q Sorry!", 6),
        ("Sorry @rita_ex", 14),
        ("see https://example.com/a/very/long/path/that/goes/on/and/on?and=on", 27),
        ("漢字", 4),
        ("👨‍👩‍👧‍👦", 2),
        ("cafe\u0301", 4),
        ("x" * 281, 281),
    ],
)
def test_length_as_x_counts(text: str, length: int) -> None:
    rendered = offline().render(draft(text))
    assert (rendered.length, rendered.limit, rendered.counting) == (length, 280, Counting.weighted_x)
    assert rendered.text == text == rendered.body["text"], "nothing is altered and nothing cut"
    assert rendered.body["reply"] == {"in_reply_to_tweet_id": "20"}


@pytest.mark.parametrize(
    ("config", "limit"), [({}, 280), ({"premium": True}, 25_000), ({"max_text": 200}, 200), ({"max_text": 500}, 280)]
)
def test_limits(config: dict[str, Any], limit: int) -> None:
    assert offline(**config).render(draft("x" * 300)).limit == limit


def test_messages_count_code_points() -> None:
    rendered = offline().render(draft("漢" * 10_001, MESSAGE))
    assert (rendered.length, rendered.limit, rendered.counting) == (10_001, 10_000, Counting.code_points)
    assert rendered.body == {"text": "漢" * 10_001}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"files": (picture(),) * 5}, "too_many_files"),
        ({"files": (picture(), picture("image/gif"))}, "too_many_files"),
        ({"files": (picture("application/pdf"),)}, "no_such_media"),
        ({"files": (picture(size=5_000_001),)}, "file_too_large"),
        ({"text": " \n"}, "empty"),
        ({"target": ReplyTarget(kind="review", ref="1")}, "wrong_target"),
        ({"target": ReplyTarget(kind="comment")}, "no_target"),
        ({"target": ReplyTarget(kind="direct_message")}, "no_target"),
        ({"visibility": "private"}, "wrong_visibility"),
        ({"target": MESSAGE, "files": (picture(),)}, "no_files"),
        ({"target": MESSAGE, "visibility": "public"}, "wrong_visibility"),
    ],
)
def test_what_x_cannot_carry(changes: dict[str, Any], code: str) -> None:
    values = {"text": "hello", **changes}
    with pytest.raises(Rejected) as caught:
        offline().render(draft(values.pop("text"), values.pop("target", None), **values))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("sent", "shown", "links", "same"),
    [
        ("hello", "hello https://t.co/a", {"https://t.co/a": "https://x.com/AcmeSupport/status/7/photo/1"}, True),
        ("hello", "hello", {}, True),
        ("hello", "hello!", {}, False),
        ("hello  there", "hello there", {}, True),
        ("hello", "@rita_ex hello", {}, True),
        ("@rita_ex hello", "hello", {}, True),
        ("a & b <c>", "a &amp; b &lt;c&gt;", {}, True),
        ("see https://a.example/x", "see https://t.co/abc", {"https://t.co/abc": "https://a.example/x"}, True),
        ("see a.example", "see https://t.co/abc", {"https://t.co/abc": "http://a.example"}, True),
        ("see A.example/.", "see https://t.co/abc.", {"https://t.co/abc": "http://a.example/"}, True),
        ("(https://a.example)", "(https://t.co/abc)", {}, True),
        ("see https://b.example/x", "see https://t.co/abc", {"https://t.co/abc": "https://a.example/x"}, False),
        ("see", "see https://t.co/abc", {}, False),
        ("cafe\u0301", "café", {}, True),
        ("Hello", "hello", {}, False),
    ],
)
def test_same_text(sent: str, shown: str, links: dict[str, str], same: bool) -> None:
    entities = Entities(urls=[Link(url=url, expanded_url=expanded) for url, expanded in links.items()])
    assert same_text(sent, shown, entities) is same


def test_bodies_are_plain_json() -> None:
    rendered = offline().render(draft("hello", ReplyTarget(kind="mention", ref="2090000000000000101")))
    assert json.loads(rendered.model_dump_json())["body"] == rendered.body
    assert httpx2.Request("POST", "http://x", json=rendered.body).content
