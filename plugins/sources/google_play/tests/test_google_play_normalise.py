"""What pages say: whose words they are, what is new, what is gone."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway_google_play.normalise import normalise
from gateway_google_play.plugin import GooglePlaySource
from gateway_schemas.errors import Malformed
from gateway_schemas.interaction import Interaction, Listing
from gateway_schemas.testing.recordings import Recordings
from gateway_schemas.webhook import RawDelivery

RECORDED = Recordings(Path(__file__).parents[1] / "fixtures", GooglePlaySource)
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def only(name: str) -> Interaction:
    found = next(item for item in RECORDED.normalised(name) if isinstance(item, Interaction))
    assert found.kind == "review"
    return found


def test_an_edit_is_the_same_review_at_another_revision() -> None:
    before, after = only("poll_reviews__title_device_and_reply"), only("poll_reviews__edited")
    assert before.external_id == after.external_id
    assert before.revision != after.revision
    assert after.published_at > before.published_at


def test_the_authors_words_are_the_text_and_the_translation_is_extra() -> None:
    review = only("poll_reviews__translated")
    assert (review.title, review.text) == ("Unbrauchbar", "Seit dem Update geht nichts mehr. 😡")
    assert review.extra["translation"] == "Unusable\nSince the update nothing works any more."
    assert review.language is None, "the device's language is not the text's"
    assert review.extra["device_language"] == "de"


def test_the_newest_of_several_comments_counts_whatever_their_order() -> None:
    said = [
        {"userComment": {"text": text, "lastModified": {"seconds": at}}} for text, at in (("new", "9"), ("old", "8"))
    ]
    answers = [{"developerComment": {"text": text}} for text in ("first", "second", "")]
    note = {"package": "com.acme.app", "kind": "review"}
    for comments in ([*said, *answers], [*said[::-1], *answers]):
        body = json.dumps({"reviewId": "gp:1", "comments": comments}).encode()
        review, reply = normalise(RawDelivery("1", "fetch", body, NOW, note=note))
        assert isinstance(review, Interaction)
        assert isinstance(reply, Interaction)
        assert (review.text, reply.text) == ("new", "second")


def test_a_page_that_came_out_of_order_says_nothing_of_absence() -> None:
    assert not [item for item in RECORDED.normalised("poll_sweep__out_of_order") if isinstance(item, Listing)]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"comments": []}, "comments"),
        ({"comments": [{"developerComment": {"text": "x"}}]}, "comments"),
        ({"comments": [{"userComment": {"text": "x", "lastModified": {"seconds": "soon"}}}]}, "seconds"),
        ({"comments": [{"userComment": {"text": "x", "lastModified": {"seconds": "99999999999999"}}}]}, "seconds"),
        (
            {"comments": [{"userComment": {"text": "x", "lastModified": {"seconds": "1"}, "starRating": 11}}]},
            "starRating",
        ),
        ({"reviewId": "../../x"}, "reviewId"),
        ({"reviewId": ".."}, "reviewId"),
        ({"reviewId": None}, "reviewId"),
    ],
)
def test_what_cannot_be_read_is_named(changes: dict[str, Any], field: str) -> None:
    review = {"reviewId": "gp:1", "comments": [{"userComment": {"text": "x", "lastModified": {"seconds": "1"}}}]}
    body = json.dumps({"reviews": [{**review, **changes}]}).encode()
    note = {"package": "com.acme.app", "kind": "list"}
    with pytest.raises(Malformed, match=field):
        normalise(RawDelivery("1", "poll", body, NOW, note=note))
