"""What deliveries say: stars, translations, media, replies and their review, absences, wake-ups."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway_google_business.config import GoogleApp
from gateway_google_business.names import reply_id
from gateway_google_business.plugin import GoogleBusinessSource
from gateway_google_business.reviews import split_translation
from gateway_schemas.errors import Malformed
from gateway_schemas.interaction import (
    Ignored,
    Interaction,
    Listing,
    Normalised,
    SendStatus,
    Unreadable,
    Wanted,
)
from gateway_schemas.plugin import Setup
from gateway_schemas.time import SystemTime
from gateway_schemas.webhook import RawDelivery

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LOCATION = "accounts/1122/locations/3344"
REF = "locations/3344/reviews/AbFvOqmGHN1"


@pytest.fixture(scope="module")
def plugin() -> GoogleBusinessSource:
    """The App's instance: it knows no connection."""
    app = GoogleApp(client_id="c", client_secret="s")  # type: ignore[arg-type]
    return GoogleBusinessSource(Setup(time=SystemTime(), app=app))


def review(**changes: Any) -> dict[str, Any]:
    whole = {
        "name": f"{LOCATION}/reviews/AbFvOqmGHN1",
        "reviewer": {"displayName": "Ana P."},
        "starRating": "TWO",
        "comment": "slow",
        "createTime": "2026-11-18T08:01:02Z",
        "updateTime": "2026-11-18T08:01:02Z",
    }
    return {key: value for key, value in {**whole, **changes}.items() if value is not None}


def said(plugin: GoogleBusinessSource, *reviews: Any, **note: Any) -> Sequence[Normalised]:
    body = json.dumps({"reviews": reviews}).encode()
    full = {"account": "accounts/1122", "kind": "reviews", **note}
    return plugin.normalise(RawDelivery("1", "poll", body, NOW, note=full))


def one(plugin: GoogleBusinessSource, **changes: Any) -> Interaction:
    (item,) = said(plugin, review(**changes))
    assert isinstance(item, Interaction)
    return item


# texts


@pytest.mark.parametrize(
    ("comment", "original", "translation", "only"),
    [
        ("slow", "slow", None, False),
        ("(Translated by Google) Slow!\n\n(Original)\nLangsam!", "Langsam!", "Slow!", False),
        (
            "(Translated by Google)\nSlow!\nVery.\n\n(Original)\nLangsam!\nSehr.",
            "Langsam!\nSehr.",
            "Slow!\nVery.",
            False,
        ),
        ("Langsam!\n\n(Translated by Google)\nSlow!", "Langsam!", "Slow!", False),
        ("Langsam!\n\n(Translated by Google) Slow!", "Langsam!", "Slow!", False),
        ("(Translated by Google) Slow!", "Slow!", None, True),
        (
            "I read (Translated by Google) and (Original) in reviews",
            "I read (Translated by Google) and (Original) in reviews",
            None,
            False,
        ),
        ("A\n(Original)\nB", "A\n(Original)\nB", None, False),
        ("", "", None, False),
        ("  \n ", "", None, False),
    ],
)
def test_translations_are_told_from_the_authors_words(
    comment: str, original: str, translation: str | None, only: bool
) -> None:
    text = split_translation(comment)
    assert (text.original, text.translation, text.translated_only) == (original, translation, only)


def test_long_texts_are_split_in_linear_time() -> None:
    for text in ("(Translated by Google) " * 50_000, "\n" * 500_000 + "x", ("a " * 50 + "\n") * 10_000):
        split_translation(text)


def test_a_translation_that_comes_later_is_no_edit(plugin: GoogleBusinessSource) -> None:
    before = one(plugin, comment="Langsam!")
    after = one(
        plugin, comment="(Translated by Google) Slow!\n\n(Original)\nLangsam!", updateTime="2026-11-19T00:00:00Z"
    )
    assert after.revision == before.revision


@pytest.mark.parametrize(
    "change",
    [
        {"comment": "very slow"},
        {"comment": None},
        {"starRating": "ONE"},
        {"reviewMediaItems": [{"thumbnailUrl": "https://lh3.googleusercontent.com/p/y=s300"}]},
    ],
)
def test_what_the_author_changes_is_a_new_revision(plugin: GoogleBusinessSource, change: dict[str, Any]) -> None:
    assert one(plugin, **change).revision != one(plugin).revision


def test_what_others_do_is_no_new_revision(plugin: GoogleBusinessSource) -> None:
    media = [{"thumbnailUrl": "https://lh3.googleusercontent.com/p/y=s300"}]
    larger = [{"thumbnailUrl": "https://lh3.googleusercontent.com/p/y=w1200-h800"}]
    first = one(plugin, reviewMediaItems=media)
    later = one(
        plugin, reviewMediaItems=larger, updateTime="2026-11-20T00:00:00Z", reviewer={"displayName": "Ana Paula"}
    )
    assert later.revision == first.revision
    assert later.edited_at is not None


def test_an_unknown_rating_is_none(plugin: GoogleBusinessSource) -> None:
    for stars in ("STAR_RATING_UNSPECIFIED", "SEVEN", "0", None):
        assert one(plugin, starRating=stars).rating is None


def test_every_reviewer_is_somebody_else(plugin: GoogleBusinessSource) -> None:
    """Google tells no ids: the same name twice proves nothing."""
    items = said(plugin, review(), review(name=f"{LOCATION}/reviews/AbFvOqmGHN2"))
    authors = {item.author.external_id for item in items if isinstance(item, Interaction)}
    assert len(authors) == 2


def test_one_review_is_one_thing_through_whichever_account_it_is_read(plugin: GoogleBusinessSource) -> None:
    other = said(plugin, review(name="accounts/9/locations/3344/reviews/AbFvOqmGHN1"))
    assert isinstance(other[0], Interaction)
    assert other[0].external_id == one(plugin).external_id == REF


def test_a_hostile_text_is_taken(plugin: GoogleBusinessSource) -> None:
    assert one(plugin, comment="a\x00b\ud83d").text == "a\ufffdb\ufffd"


# replies


def replied(plugin: GoogleBusinessSource, **reply: Any) -> Sequence[Normalised]:
    return said(plugin, review(reviewReply={"comment": "Sorry!", "updateTime": "2026-11-19T12:00:00Z", **reply}))


def test_the_owners_reply_is_an_outbound_answer(plugin: GoogleBusinessSource) -> None:
    _, reply = replied(plugin)
    assert isinstance(reply, Interaction)
    assert (reply.direction, reply.in_reply_to, reply.text) == ("outbound", REF, "Sorry!")
    assert reply.external_id == reply_id(REF, "  Sorry!\n")
    assert reply.external_id != reply_id(REF, "Sorry, Ana!")


@pytest.mark.parametrize(
    ("state", "expected"), [("APPROVED", "published"), ("PENDING", "pending"), ("REJECTED", "rejected")]
)
def test_googles_review_of_a_reply_is_told(plugin: GoogleBusinessSource, state: str, expected: str) -> None:
    items = replied(plugin, reviewReplyState=state, policyViolation="HARASSMENT" if state == "REJECTED" else None)
    (status,) = [item for item in items if isinstance(item, SendStatus)]
    assert (status.state, status.external_id) == (expected, reply_id(REF, "Sorry!"))
    if state == "REJECTED":
        assert "harassment" in (status.reason or "")
        assert not [item for item in items if isinstance(item, Interaction) and item.direction == "outbound"]


def test_an_unknown_state_says_nothing(plugin: GoogleBusinessSource) -> None:
    assert not [item for item in replied(plugin, reviewReplyState="LIMBO") if isinstance(item, SendStatus)]


# listings


def swept(plugin: GoogleBusinessSource, *reviews: Any, **note: Any) -> list[Normalised]:
    given = {"location": "locations/3344", "before": "2026-11-22T00:00:00Z", "last": False, **note}
    return [item for item in said(plugin, *reviews, kind="sweep", **given) if isinstance(item, Listing)]


def test_a_whole_page_of_a_sweep_is_a_listing(plugin: GoogleBusinessSource) -> None:
    older = review(
        name=f"{LOCATION}/reviews/AbFvOqmGHN2", createTime="2026-11-02T00:00:00Z", updateTime="2026-11-02T00:00:00Z"
    )
    (listing,) = swept(plugin, review(), older)
    assert isinstance(listing, Listing)
    assert listing.present == (REF, "locations/3344/reviews/AbFvOqmGHN2")
    assert listing.after == datetime(2026, 11, 2, tzinfo=UTC)
    (last,) = swept(plugin, review(), older, last=True)
    assert isinstance(last, Listing)
    assert last.after is None


def test_a_page_that_is_not_whole_is_no_listing(plugin: GoogleBusinessSource) -> None:
    newer = review(name=f"{LOCATION}/reviews/AbFvOqmGHN2", updateTime="2026-11-20T00:00:00Z")
    foreign = review(name="accounts/1122/locations/9/reviews/AbFvOqmGHN2")
    assert swept(plugin, review(), review(createTime="yesterday")) == []
    assert swept(plugin, review(), newer) == []  # not in order
    assert swept(plugin, review(), foreign) == []
    assert swept(plugin) == []
    assert len(swept(plugin, last=True)) == 1


def test_ordinary_pages_are_no_listings(plugin: GoogleBusinessSource) -> None:
    assert not [item for item in said(plugin, review()) if isinstance(item, Listing)]


# broken and unknown


def test_a_broken_review_beside_whole_ones_is_named(plugin: GoogleBusinessSource) -> None:
    first, second = said(plugin, review(), review(name="locations/3344/reviews/1"))
    assert isinstance(first, Interaction)
    assert isinstance(second, Unreadable)
    assert "name" in second.reason


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"reviews": 3}', b'{"reviews": [3]}', b"\xff"])
def test_what_is_no_page_is_malformed(plugin: GoogleBusinessSource, body: bytes) -> None:
    with pytest.raises(Malformed):
        plugin.normalise(RawDelivery("1", "poll", body, NOW, note={"account": "a", "kind": "reviews"}))


def test_an_empty_page_is_ignored(plugin: GoogleBusinessSource) -> None:
    assert [type(item) for item in said(plugin)] == [Ignored]


def pushed(plugin: GoogleBusinessSource, news: Any) -> Normalised:
    data = base64.b64encode(json.dumps(news).encode()).decode()
    body = json.dumps({"message": {"data": data, "messageId": "1"}, "subscription": "s"}).encode()
    (item,) = plugin.normalise(RawDelivery("1", "webhook", body, NOW))
    return item


def test_a_wake_up_yields_names_only(plugin: GoogleBusinessSource) -> None:
    """The token does not cover the body, so nothing in it is believed but what to look at."""
    name = f"{LOCATION}/reviews/AbFvOqmGHN1"
    item = pushed(
        plugin, {"notificationType": "NEW_REVIEW", "reviewName": name, "comment": "forged", "starRating": "ONE"}
    )
    assert item == Wanted(ref=REF, account="accounts/1122")


@pytest.mark.parametrize(
    "news",
    [
        {"notificationType": "NEW_REVIEW"},
        {"notificationType": "NEW_REVIEW", "reviewName": "accounts/1/locations/2/reviews/../../3"},
        {"notificationType": "NEW_REVIEW", "reviewName": 3},
    ],
)
def test_a_wake_up_without_a_name_is_malformed(plugin: GoogleBusinessSource, news: Any) -> None:
    with pytest.raises(Malformed):
        pushed(plugin, news)


def test_other_news_is_ignored(plugin: GoogleBusinessSource) -> None:
    for kind in ("GOOGLE_UPDATE", "NEW_QUESTION", "VOICE_OF_MERCHANT_UPDATED", ""):
        assert isinstance(pushed(plugin, {"notificationType": kind, "locationName": LOCATION}), Ignored)
