"""A Page's changes: posts and comments (`feed`), the Page named elsewhere (`mention`), recommendations (`ratings`)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from gateway_meta import items
from gateway_meta.payloads import FeedValue, Person
from gateway_schemas.errors import Malformed
from gateway_schemas.interaction import (
    Attachment,
    Deletion,
    Ignored,
    Interaction,
    Normalised,
    Rating,
    ReplyTarget,
    Wanted,
    content_revision,
)

POSTS = {"post", "status", "photo", "video", "share", "link", "note", "album", "photo-album", "event", "question"}
WRITTEN = {"add", "edit", "edited", "update"}
REMOVED = {"remove", "delete"}
VISITOR = "wall_post"
"""The `status_type` of what others post on a Page."""


def feed(account: str, at: datetime, value: FeedValue) -> Iterator[Normalised]:
    """One change of `feed`. `at` is when Meta sent it."""
    if value.item == "comment":
        yield from _comment(account, at, value)
    elif value.item in POSTS:
        yield from _post(account, at, value)
    else:
        yield Ignored(reason=f"feed: {value.item or 'an item without a name'} is neither post nor comment")


def _comment(account: str, at: datetime, value: FeedValue) -> Iterator[Normalised]:
    id = _needed(value.comment_id, "feed: comment_id")
    if value.verb in REMOVED:
        yield Deletion(external_id=id, account=account, deleted_at=at)
    elif value.verb == "hide":
        yield Ignored(reason="the comment was hidden on the Page: its author and their friends see it still")
    elif value.verb == "unhide":
        # Meta may have hidden it before it told of it
        yield Wanted(ref=id, reason="refresh", account=account, at=at)
    elif value.verb not in WRITTEN:
        yield Ignored(reason=f"feed: {value.verb or 'no verb'} of a comment")
    else:
        attachments = _media(value)
        if _says_too_little(value, attachments):
            yield _look_up(account, id, at, value)
            return
        parent = value.parent_id or value.post_id
        if parent is not None and value.person.id != account:
            yield Wanted(ref=parent, reason="ancestor", account=account)
        kind = value.post.status_type if value.post else None
        yield items.page_comment(
            account,
            id=id,
            person=value.person,
            text=value.message,
            attachments=attachments,
            root=value.post_id,
            parent=parent,
            root_owner="brand" if kind and kind != VISITOR else None,
            published_at=value.created_time or at,
            edited_at=_edited(at, value),
        )


def _post(account: str, at: datetime, value: FeedValue) -> Iterator[Normalised]:
    if value.post_id is None:
        yield Ignored(reason=f"feed: a {value.item} without post_id is part of another post")
        return
    if value.verb in REMOVED:
        yield Deletion(external_id=value.post_id, account=account, deleted_at=at)
    elif value.verb not in WRITTEN:
        yield Ignored(reason=f"feed: {value.verb or 'no verb'} of a {value.item}")
    elif value.published == 0:
        yield Ignored(reason="feed: a post that is not published yet")
    elif value.person.id is None or (value.verb != "add" and not value.message):
        yield _look_up(account, value.post_id, at, value)
    else:
        yield items.page_post(
            account,
            id=value.post_id,
            person=value.person,
            text=value.message,
            attachments=_media(value),
            published_at=value.created_time or at,
            edited_at=_edited(at, value),
            url=value.post.permalink_url if value.post else None,
        )


def mention(account: str, at: datetime, value: FeedValue) -> Iterator[Normalised]:
    """The Page named in somebody's post or comment."""
    id = _needed(value.comment_id or value.post_id, "mention: post_id")
    if value.verb in REMOVED:
        yield Deletion(external_id=id, account=account, deleted_at=at)
    elif value.verb not in WRITTEN:
        yield Ignored(reason=f"mention: {value.verb or 'no verb'}")
    elif value.person.id is None or not value.message:
        yield Wanted(ref=f"mention:{id}", reason="thin", account=account)
    elif value.comment_id is not None:
        yield items.page_comment(
            account,
            id=id,
            person=value.person,
            text=value.message,
            attachments=_media(value),
            root=value.post_id,
            parent=value.parent_id or value.post_id,
            root_owner=None,
            published_at=value.created_time or at,
            edited_at=_edited(at, value),
            mention=True,
        )
    else:
        yield items.page_post(
            account,
            id=id,
            person=value.person,
            text=value.message,
            attachments=_media(value),
            published_at=value.created_time or at,
            edited_at=_edited(at, value),
            mention=True,
        )


def rating(account: str, at: datetime, value: FeedValue) -> Iterator[Normalised]:
    """A recommendation, or a comment on one. A recommendation is no rating, and none is made of it."""
    story = value.open_graph_story_id
    if value.comment_id is not None:
        yield from _review_comment(account, at, value)
        return
    if value.item in ("like", "reaction"):
        yield Ignored(reason=f"ratings: {value.item}")
        return
    reviewer = Person(id=value.reviewer_id, name=value.reviewer_name)
    if reviewer.id is None:
        reviewer = value.person
    if story is None and reviewer.id is None:
        raise Malformed("ratings: expected open_graph_story_id or reviewer_id")
    id = story or items.rating_id(account, reviewer.id or "")
    if value.verb in REMOVED:
        yield Deletion(external_id=id, account=account, deleted_at=at)
    elif value.verb not in WRITTEN:
        yield Ignored(reason=f"ratings: {value.verb or 'no verb'}")
    elif story is None:
        # its identity is its story, which the list of recommendations may tell
        yield Wanted(ref=id, reason="thin", account=account)
    else:
        yield review(
            account,
            story=story,
            reviewer=reviewer,
            kind=value.recommendation_type,
            stars=value.rating,
            text=value.review_text,
            published_at=value.created_time or at,
            edited_at=_edited(at, value),
        )


def review(
    account: str,
    *,
    story: str | None,
    reviewer: Person,
    kind: str | None,
    stars: float | None,
    text: str,
    published_at: datetime,
    edited_at: datetime | None = None,
) -> Interaction:
    """A recommendation, answered by a comment on its story; `stars` count only where it is from before those."""
    id = story or items.rating_id(account, reviewer.id or "")
    verdict = items.recommendation(kind)
    old = Rating(value=stars) if not kind and stars is not None and 1 <= stars <= 5 else None
    return Interaction(
        external_id=id,
        revision=content_revision(text, verdict, old.value if old else None),
        account=account,
        kind="review",
        subkind="recommendation" if old is None else None,
        visibility="public",
        author=items.author(reviewer, id),
        text=text,
        rating=old,
        recommendation=verdict,
        subject=items.page_subject(account),
        root=id,
        root_owner="customer",
        url=f"https://www.facebook.com/{story}" if story else f"https://www.facebook.com/{account}/reviews",
        reply_target=ReplyTarget(kind="comment", ref=story, recipient=reviewer.id, extra={"root": story})
        if story
        else None,
        published_at=published_at,
        edited_at=edited_at,
    )


def _review_comment(account: str, at: datetime, value: FeedValue) -> Iterator[Normalised]:
    id = _needed(value.comment_id, "ratings: comment_id")
    person = value.person if value.person.id else Person(id=value.reviewer_id, name=value.reviewer_name)
    if value.verb in REMOVED:
        yield Deletion(external_id=id, account=account, deleted_at=at)
    elif value.verb not in WRITTEN:
        yield Ignored(reason=f"ratings: {value.verb or 'no verb'} of a comment")
    elif person.id is None or not (value.message or value.review_text):
        yield _look_up(account, id, at, value)
    else:
        yield items.page_comment(
            account,
            id=id,
            person=person,
            text=value.message or value.review_text,
            attachments=_media(value),
            root=value.open_graph_story_id,
            parent=value.parent_id or value.open_graph_story_id,
            root_owner="customer",
            published_at=value.created_time or at,
            edited_at=_edited(at, value),
        )


def _needed(id: str | None, what: str) -> str:
    if id is None:
        raise Malformed(f"{what}: expected an id")
    return id


def _edited(at: datetime, value: FeedValue) -> datetime | None:
    """When it was edited: Meta tells when it sent the news, and `created_time` stays that of the first version."""
    if value.verb == "add":
        return None
    # in whole seconds an edit right after may look as old as what it changes
    return max(at, value.created_time + timedelta(microseconds=1)) if value.created_time else at


def _says_too_little(value: FeedValue, attachments: tuple[Attachment, ...]) -> bool:
    """A sticker, an edit without its words, or a value without what the App may not see: the comment says more."""
    if value.person.id is None:
        return True
    return not value.message and (value.verb != "add" or not attachments)


def _look_up(account: str, id: str, at: datetime, value: FeedValue) -> Wanted:
    return Wanted(ref=id, reason="thin" if value.verb == "add" else "refresh", account=account, at=at)


def _media(value: FeedValue) -> tuple[Attachment, ...]:
    pictures = [value.photo] if value.photo else list(value.photos)
    if not pictures and value.item == "photo" and value.link:
        pictures = [value.link]
    found = [items.media(url, "photo") for url in pictures]
    video = value.video or (value.link if value.item == "video" else None)
    if video:
        found.append(items.media(video, "video"))
    return tuple(found)
