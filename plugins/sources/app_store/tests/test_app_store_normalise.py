"""What pages say: whose words they are, what is new, what is gone."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway_app_store.normalise import normalise
from gateway_app_store.plugin import AppStoreSource
from gateway_schemas.errors import Malformed
from gateway_schemas.interaction import Interaction, Listing, SendStatus
from gateway_schemas.testing.recordings import Recordings
from gateway_schemas.webhook import RawDelivery

RECORDED = Recordings(Path(__file__).parents[1] / "fixtures", AppStoreSource)
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def only(name: str) -> Interaction:
    found = next(item for item in RECORDED.normalised(name) if isinstance(item, Interaction))
    assert found.kind == "review"
    return found


def test_an_edit_is_the_same_review_at_another_revision() -> None:
    before, after = only("poll_reviews__pending_response"), only("poll_reviews__edited")
    assert before.external_id == after.external_id
    assert before.revision != after.revision
    assert after.published_at > before.published_at


def test_a_response_turns_from_pending_to_published_without_being_another() -> None:
    def parts(name: str) -> tuple[Interaction, SendStatus]:
        found = RECORDED.normalised(name)
        (own,) = [item for item in found if isinstance(item, Interaction) and item.direction == "outbound"]
        (status,) = [item for item in found if isinstance(item, SendStatus)]
        return own, status

    (own, status), (same, later) = parts("poll_reviews__pending_response"), parts("poll_responses__published")
    assert own == same
    assert (status.state, later.state) == ("pending", "published")
    assert status.external_id == later.external_id == own.external_id


def test_a_page_that_came_out_of_order_says_nothing_of_absence() -> None:
    assert not [item for item in RECORDED.normalised("poll_sweep__out_of_order") if isinstance(item, Listing)]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"id": "a/../b"}, "id"),
        ({"id": None}, "id"),
        ({"attributes": {"rating": 0, "createdDate": "2026-11-19T00:00:00Z"}}, "rating"),
        ({"attributes": {"rating": 1, "createdDate": "yesterday"}}, "createdDate"),
        ({"attributes": {"rating": 1, "createdDate": "2026-11-19T00:00:00"}}, "createdDate"),
        ({"attributes": None}, "attributes"),
    ],
)
def test_what_cannot_be_read_is_named(changes: dict[str, Any], field: str) -> None:
    review = {"type": "customerReviews", "id": "1", "attributes": {"rating": 1, "createdDate": "2026-11-19T00:00:00Z"}}
    body = json.dumps({"data": [{**review, **changes}]}).encode()
    note = {"app": "123", "kind": "list"}
    with pytest.raises(Malformed, match=field):
        normalise(RawDelivery("1", "poll", body, NOW, note=note))
