"""What a stored page says: reviews with their responses, single responses, and what is gone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from gateway_app_store.api import store_page
from gateway_app_store.payloads import Response, Review, included, is_id, read
from gateway_schemas.errors import Malformed
from gateway_schemas.interaction import (
    Author,
    Deletion,
    Ignored,
    Interaction,
    Listing,
    Normalised,
    Rating,
    ReplyTarget,
    SendStatus,
    Subject,
    Unreadable,
    content_revision,
)
from gateway_schemas.text import parse_object
from gateway_schemas.webhook import RawDelivery


def normalise(delivery: RawDelivery) -> list[Normalised]:
    """Read a page. Raises Malformed when none of it can be read; a broken review beside whole ones is named."""
    body = parse_object(delivery.body)
    note = delivery.note
    app, kind, name = note.get("app"), note.get("kind"), note.get("name")
    if not isinstance(app, str):
        raise Malformed("the page was stored without the app that it was read for")
    subject = Subject(external_id=app, kind="app", name=name if isinstance(name, str) else None, url=store_page(app))
    match kind:
        case "gone":
            return [Deletion(external_id=_ref(body), account=app)]
        case "response_gone":
            reason = "the response is not at the App Store any more"
            return [SendStatus(external_id=_ref(body), account=app, state="removed", reason=reason)]
        case "response":
            response = read(Response, body.get("data"), "response")
            return list(_response_items(response, str(note.get("review")), subject, delivery.received_at))
        case "review":
            values = [body.get("data")]
        case "list" | "sweep":
            values = body.get("data") or []
        case _:
            raise Malformed(f"the page was stored as {kind!r}, which is no kind of page")
    if not isinstance(values, list):
        raise Malformed("data: expected a list")
    return _reviews(values, included(body), subject, note) or [Ignored(reason="an empty page")]


def _ref(body: Mapping[str, Any]) -> str:
    """What a page of our own names. Raises Malformed."""
    ref = body.get("ref")
    if not is_id(ref):
        raise Malformed("ref: expected an id")
    return str(ref)


def _reviews(
    values: list[Any], responses: Mapping[str, Response], subject: Subject, note: Mapping[str, Any]
) -> list[Normalised]:
    items: list[Normalised] = []
    broken: list[str] = []
    whole: list[Review] = []
    for index, value in enumerate(values):
        try:
            review = read(Review, value, f"data[{index}]")
        except Malformed as error:
            broken.append(error.reason)
            continue
        items.append(_review(review, subject))
        whole.append(review)
        response = responses.get(review.response_id or "")
        if response is not None and response.text:
            items += _response_items(response, review.id, subject, review.attributes.created_date)
    if broken and not whole:
        raise Malformed("; ".join(broken))
    items += [Unreadable(reason=reason) for reason in broken]
    if note.get("kind") == "sweep" and not broken:
        items += _listing(whole, subject.external_id, note)
    return items


def _review(review: Review, subject: Subject) -> Interaction:
    words = review.attributes
    return Interaction(
        external_id=review.id,
        # Apple tells no time of change
        revision=content_revision(words.rating, words.title, words.body),
        account=subject.external_id,
        kind="review",
        visibility="public",
        author=Author(external_id=f"reviewer:{review.id}", name=words.reviewer_nickname or None),
        text=words.body,
        title=words.title or None,
        rating=Rating(value=words.rating),
        subject=subject,
        root=review.id,
        root_owner="customer",
        url=subject.url,
        reply_target=ReplyTarget(kind="review", ref=review.id),
        published_at=words.created_date,
        extra={"territory": words.territory} if words.territory else {},
    )


def _response_items(response: Response, review: str, subject: Subject, otherwise: datetime) -> Iterator[Normalised]:
    """What the developer answered, and whether it is shown yet."""
    at = response.attributes.last_modified_date or otherwise
    yield Interaction(
        external_id=response.id,
        revision=content_revision(response.text),
        account=subject.external_id,
        kind="comment",
        subkind="owner_reply",
        visibility="public",
        direction="outbound",
        author=Author(external_id=subject.external_id, name=subject.name),
        text=response.text,
        subject=subject,
        root=review,
        in_reply_to=review,
        root_owner="customer",
        url=subject.url,
        published_at=at,
    )
    if response.attributes.state in ("PENDING_PUBLISH", "PUBLISHED"):
        yield SendStatus(
            external_id=response.id,
            account=subject.external_id,
            state="pending" if response.pending else "published",
            at=at,
        )


def _listing(whole: list[Review], app: str, note: Mapping[str, Any]) -> Iterator[Listing]:
    """What a page of the sweep says of absence: all of the app's reviews between two times are on it.

    Only where they came in order; times are told to the second, so the page's edge is left out.
    """
    before = note.get("before")
    if not isinstance(before, str):
        return
    times = [review.attributes.created_date for review in whole]
    if times != sorted(times, reverse=True) or (not times and not note.get("last")):
        return
    yield Listing(
        account=app,
        subject=app,
        present=tuple(review.id for review in whole),
        after=None if note.get("last") else times[-1],
        before=datetime.fromisoformat(before),
    )
