"""What a stored page says: the week's reviews, single ones, and reviews that are gone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from gateway_google_play.api import store_page
from gateway_google_play.names import read_ref, reply_id, review_ref
from gateway_google_play.payloads import DeveloperComment, Review, UserComment, read
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
    package, kind, app = note.get("package"), note.get("kind"), note.get("app")
    if not isinstance(package, str):
        raise Malformed("the page was stored without the app that it was read for")
    app = app if isinstance(app, str) else None
    if kind == "gone":
        ref = body.get("ref")
        if not isinstance(ref, str) or read_ref(ref) is None:
            raise Malformed("ref: expected a review's id")
        return [Deletion(external_id=ref, account=package)]
    if kind == "review":
        return list(review_items(read(Review, body, "review"), package, app))
    if kind not in ("list", "sweep"):
        raise Malformed(f"the page was stored as {kind!r}, which is no kind of page")
    values = body.get("reviews") or []
    if not isinstance(values, list):
        raise Malformed("reviews: expected a list")
    items: list[Normalised] = []
    broken: list[str] = []
    whole: list[Review] = []
    for index, value in enumerate(values):
        try:
            review = read(Review, value, f"reviews[{index}]")
            items += review_items(review, package, app)
            whole.append(review)
        except Malformed as error:
            broken.append(error.reason if error.reason.startswith("reviews[") else f"reviews[{index}]: {error.reason}")
    if broken and not items:
        raise Malformed("; ".join(broken))
    items += [Unreadable(reason=reason) for reason in broken]
    if kind == "sweep" and not broken:
        items += _listing(whole, package, note)
    return items or [Ignored(reason="an empty page")]


def review_items(review: Review, package: str, app: str | None) -> Iterator[Normalised]:
    """The review, and the reply where it has one. Raises Malformed."""
    try:
        ref = review_ref(package, review.review_id)
    except ValueError as error:
        raise Malformed(f"reviewId: {error}") from None
    words = review.words
    # Google's translation stands in `text`, and the author's words beside it, where the review was translated
    title, text = split_title(words.original_text or words.text)
    subject = Subject(
        external_id=package, kind="app", name=app, version=words.app_version_name, url=store_page(package)
    )
    yield Interaction(
        external_id=ref,
        revision=words.last_modified.exact,
        account=package,
        kind="review",
        visibility="public",
        author=Author(external_id=f"reviewer:{ref}", name=review.author_name or None),
        text=text,
        title=title,
        rating=Rating(value=words.star_rating) if words.star_rating is not None else None,
        subject=subject,
        root=ref,
        root_owner="customer",
        url=store_page(package),
        reply_target=ReplyTarget(kind="review", ref=ref),
        published_at=words.last_modified.at,
        extra=_extra(words),
    )
    if review.reply is not None:
        yield _reply(review.reply, ref, words, subject)
    for reason in review.conversation.broken:
        yield Unreadable(reason=f"{ref}: {reason}")


def _reply(reply: DeveloperComment, ref: str, words: UserComment, subject: Subject) -> Interaction:
    return Interaction(
        external_id=reply_id(ref, reply.text),
        revision=content_revision(reply.text),
        account=subject.external_id,
        kind="comment",
        subkind="owner_reply",
        visibility="public",
        direction="outbound",
        author=Author(external_id=subject.external_id, name=subject.name),
        text=reply.text,
        subject=Subject(external_id=subject.external_id, kind="app", name=subject.name, url=subject.url),
        root=ref,
        in_reply_to=ref,
        root_owner="customer",
        url=subject.url,
        published_at=(reply.last_modified or words.last_modified).at,
    )


def split_title(text: str) -> tuple[str | None, str]:
    """Title and body: Google joins them with a tab where the author gave both."""
    title, tab, body = text.partition("\t")
    if not tab:
        return None, text.strip()
    return title.strip() or None, body.strip()


def _extra(words: UserComment) -> dict[str, Any]:
    """What the vocabulary has no words for."""
    found: dict[str, Any] = {
        # of the device's settings: the review may be in another language
        "device_language": words.reviewer_language,
        "app_version_code": words.app_version_code,
        "android_api_level": words.android_os_version,
        "device": words.device,
        "thumbs_up": words.thumbs_up_count,
        "thumbs_down": words.thumbs_down_count,
    }
    if words.original_text:
        title, text = split_title(words.text)
        found["translation"] = f"{title}\n{text}" if title else text
    if words.device_metadata is not None:
        found["device_metadata"] = words.device_metadata.model_dump(exclude_none=True)
    return {name: value for name, value in found.items() if value is not None and value != {}}


def _listing(whole: list[Review], package: str, note: Mapping[str, Any]) -> Iterator[Listing]:
    """What a page of the sweep says of absence: all of the app's reviews between two times are on it.

    Only where they came in order. Reviews leave the listing with age, a week after their last change, so the last page
    speaks of no more than `window`.
    """
    before, window = note.get("before"), note.get("window")
    if not isinstance(before, str) or not isinstance(window, str):
        return
    times = [review.words.last_modified.at for review in whole]
    if times != sorted(times, reverse=True):
        return
    if not note.get("last") and not times:
        return
    after = datetime.fromisoformat(window)
    if not note.get("last"):
        after = max(after, times[-1])
    until = datetime.fromisoformat(before)
    if after >= until:
        return
    present = tuple(review_ref(package, review.review_id) for review in whole)
    yield Listing(account=package, subject=package, present=present, after=after, before=until)
