"""A review in the gateway's vocabulary: its words without Google's translation, its stars, its media, and the reply."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from gateway_google_business.names import reply_id
from gateway_google_business.payloads import STARS, MediaItem, ReplyPayload, Review
from gateway_schemas.interaction import (
    Attachment,
    Author,
    Interaction,
    Normalised,
    Rating,
    ReplyTarget,
    SendStatus,
    Subject,
    content_revision,
)

_TRANSLATED = "(Translated by Google)"
_ORIGINAL = "(Original)"
_SIZE = re.compile(r"=[a-z0-9-]+$")
_STATES = {"APPROVED": "published", "PENDING": "pending", "REJECTED": "rejected"}


@dataclass(frozen=True)
class Text:
    """A text as it was written, and what Google made of it for readers of another language."""

    original: str
    translation: str | None = None
    translated_only: bool = False
    """Whether Google sent its translation alone: then that is the text there is."""


def split_translation(comment: str) -> Text:
    """Tell a review's own words from Google's translation, which stands before or after them in one text.

    `(Translated by Google) …` with the author's words after a line `(Original)`; or the author's words, and the
    translation after a line `(Translated by Google)`.
    """
    text = comment.strip()
    if text.startswith(_TRANSLATED):
        translation, marked, original = text.removeprefix(_TRANSLATED).partition("\n" + _ORIGINAL)
        if not marked:
            return Text(translation.strip(), translated_only=True)
        return Text(original.strip(), translation.strip())
    original, marked, translation = text.partition("\n" + _TRANSLATED)
    return Text(original.strip(), translation.strip() if marked else None)


def review_items(review: Review, account: str, places: Mapping[str, Any]) -> Iterator[Normalised]:
    """The review, its reply where it has one, and how Google's review of the reply stands. Raises Malformed."""
    parts = review.parts
    place = places.get(parts.subject)
    place = place if isinstance(place, dict) else {}
    text = split_translation(review.comment or "")
    stars = STARS.get(review.star_rating or "")
    changed = review.changed_at
    author = Author(
        external_id=f"reviewer:{parts.ref}",
        name=review.reviewer.display_name or None,
        avatar_url=None if review.reviewer.is_anonymous else review.reviewer.profile_photo_url,
    )
    extra: dict[str, Any] = {}
    if review.reviewer.is_anonymous:
        extra["anonymous"] = True
    if text.translation is not None:
        extra["translation"] = text.translation
    if text.translated_only:
        extra["translated_only"] = True
    yield Interaction(
        external_id=parts.ref,
        # Google may translate later, or differently: only what the author did makes a new revision
        revision=content_revision(text.original, stars, [_media_key(item) for item in review.review_media_items]),
        account=account,
        kind="review",
        visibility="public",
        author=author,
        text=text.original,
        rating=Rating(value=stars) if stars is not None else None,
        subject=Subject(external_id=parts.subject, kind="place", name=place.get("title"), url=place.get("url")),
        root=parts.ref,
        root_owner="customer",
        attachments=tuple(_attachment(item) for item in review.review_media_items),
        url=review.review_reply_url or place.get("url"),
        reply_target=ReplyTarget(kind="review", ref=parts.ref),
        published_at=review.create_time,
        edited_at=changed if changed > review.create_time else None,
        extra=extra,
    )
    if review.reply is not None:
        yield from _reply_items(review.reply, review, account, place)


def _reply_items(reply: ReplyPayload, review: Review, account: str, place: Mapping[str, Any]) -> Iterator[Normalised]:
    ref = review.parts.ref
    id = reply_id(ref, reply.comment)
    at = reply.update_time or review.changed_at
    if not reply.refused:  # nobody sees a refused one, so it answers nobody
        yield Interaction(
            external_id=id,
            revision=content_revision(reply.comment),
            account=account,
            kind="comment",
            subkind="owner_reply",
            visibility="public",
            direction="outbound",
            author=Author(external_id=account, name=place.get("title")),
            text=reply.comment,
            subject=Subject(external_id=review.parts.subject, kind="place", name=place.get("title")),
            root=ref,
            in_reply_to=ref,
            root_owner="customer",
            url=review.review_reply_url or place.get("url"),
            published_at=at,
        )
    status = reply_status(id, account, reply)
    if status is not None:
        yield status


def reply_status(id: str, account: str, reply: ReplyPayload) -> SendStatus | None:
    """How Google's review of a reply stands; None where it does not say."""
    state = _STATES.get(reply.review_reply_state or "")
    if state is None:
        return None
    reason = violation(reply) if state == "rejected" else None
    return SendStatus(external_id=id, account=account, state=state, reason=reason, at=reply.update_time)  # type: ignore[arg-type]


def violation(reply: ReplyPayload) -> str:
    """Why Google refused a reply, for people."""
    named = (reply.policy_violation or "").removeprefix("POLICY_VIOLATION_").replace("_", " ").lower()
    return f"Google's review refused the reply: {named or 'no reason given'}. Change the wording and answer again."


def _media_key(item: MediaItem) -> str:
    """What identifies a picture or video: its address without the size that Google appends."""
    address = urlsplit(item.video_url or item.thumbnail_url or "")
    return _SIZE.sub("", address.path)


def _attachment(item: MediaItem) -> Attachment:
    return Attachment(
        external_id=_media_key(item) or None,
        url=item.video_url or item.thumbnail_url,
        media_type="video/mp4" if item.video_url else "image/jpeg",
        alt_text=item.thumbnail_label,
    )
