"""What a stored delivery says: wake-ups of Pub/Sub, pages of reviews, single reviews, and reviews that are gone."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from gateway_google_business.names import is_review_ref, location_name, reply_id, review_name
from gateway_google_business.payloads import PushBody, Review, read
from gateway_google_business.reviews import review_items
from gateway_schemas.errors import Malformed
from gateway_schemas.interaction import Deletion, Ignored, Listing, Normalised, SendStatus, Unreadable, Wanted
from gateway_schemas.text import parse_object
from gateway_schemas.webhook import RawDelivery

REVIEW_NEWS = {"NEW_REVIEW", "UPDATED_REVIEW"}


def normalise(delivery: RawDelivery) -> list[Normalised]:
    """Read a delivery. Raises Malformed when none of it can be read; a broken part beside whole ones is named."""
    body = parse_object(delivery.body)
    if delivery.origin == "webhook":
        return [_wake_up(body)]
    account = delivery.note.get("account")
    if not isinstance(account, str):
        raise Malformed("the page was stored without the account that it was read for")
    kind = delivery.note.get("kind")
    if kind == "gone":
        ref = body.get("ref")
        if not isinstance(ref, str) or not is_review_ref(ref):
            raise Malformed("ref: expected locations/…/reviews/…")
        return [Deletion(external_id=ref, account=account)]
    places = delivery.note.get("places")
    places = places if isinstance(places, Mapping) else {}
    if kind == "review":
        review = read(Review, body, "review")
        return [*review_items(review, account, places), *_missing_reply(review, account, delivery.note)]
    if kind not in ("reviews", "batch", "sweep"):
        raise Malformed(f"the page was stored as {kind!r}, which is no kind of page")
    values = _objects(body, kind)
    items: list[Normalised] = []
    broken: list[str] = []
    whole: list[Review] = []
    for index, value in enumerate(values):
        try:
            review = read(Review, value, f"reviews[{index}]")
            items += review_items(review, account, places)
            whole.append(review)
        except Malformed as error:
            broken.append(error.reason)
    if broken and not items:
        raise Malformed("; ".join(broken))
    items += [Unreadable(reason=reason) for reason in broken]
    if kind == "sweep":
        items += _listing(values, whole, account, delivery.note)
    return items or [Ignored(reason="an empty page")]


def _objects(body: Mapping[str, Any], kind: str) -> list[Any]:
    name = "locationReviews" if kind == "batch" else "reviews"
    values = body.get(name) or []
    if not isinstance(values, list):
        raise Malformed(f"{name}: expected a list")
    if kind == "batch":
        return [value.get("review") if isinstance(value, Mapping) else value for value in values]
    return values


def _wake_up(body: Mapping[str, Any]) -> Normalised:
    """Pub/Sub tells names only; its token proves who calls and not what the body says, so the review is fetched."""
    data = read(PushBody, body, "push").message.data
    try:
        news = parse_object(base64.b64decode(data, validate=True))
    except binascii.Error:
        raise Malformed("message.data: expected base64") from None
    kind = _named(news, "notificationType", "notification_type", "type")
    if kind not in REVIEW_NEWS:
        return Ignored(reason=f"{kind or 'a message without a type'} is not about a review")
    review = review_name(_named(news, "reviewName", "review_name", "review"))
    if review is not None:
        return Wanted(ref=review.ref, account=review.account)
    location = location_name(_named(news, "locationName", "location_name", "location"))
    if location is not None:
        return Wanted(ref=location[1], kind="thread", account=location[0])
    raise Malformed("reviewName: expected accounts/…/locations/…/reviews/…")


def _named(news: Mapping[str, Any], *names: str) -> str:
    return next((value for name in names if isinstance(value := news.get(name), str) and value), "")


def _missing_reply(review: Review, account: str, note: Mapping[str, Any]) -> Iterator[Normalised]:
    """Whether a reply of ours that was looked for is not in its slot any more."""
    expected = note.get("expected")
    if not isinstance(expected, str):
        return
    reply = review.reply
    if reply is not None and reply_id(review.parts.ref, reply.comment) == expected:
        return
    reason = "another reply is in its place at Google" if reply is not None else "the reply is not at Google any more"
    yield SendStatus(external_id=expected, account=account, state="removed", reason=reason)


def _listing(values: list[Any], whole: list[Review], account: str, note: Mapping[str, Any]) -> Iterator[Listing]:
    """What the page says of absence: all of the location's reviews between two times are on it.

    Only where every review of it was read, and they came in order; an incomplete page says nothing.
    """
    before, subject = note.get("before"), note.get("location")
    if len(whole) != len(values) or not isinstance(before, str) or not isinstance(subject, str):
        return
    times = [review.changed_at for review in whole]
    if times != sorted(times, reverse=True) or any(review.parts.subject != subject for review in whole):
        return
    if not times and not note.get("last"):
        return
    yield Listing(
        account=account,
        subject=subject,
        present=tuple(review.parts.ref for review in whole),
        after=None if note.get("last") else times[-1],
        before=datetime.fromisoformat(before),
    )
