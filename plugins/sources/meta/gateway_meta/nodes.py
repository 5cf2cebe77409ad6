"""Nodes of the Graph API that were polled or fetched, as interactions; lists within them are read too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gateway_meta import items, messages
from gateway_meta.feed import review
from gateway_meta.payloads import (
    CommentNode,
    InstagramComment,
    InstagramMedia,
    MessageNode,
    Person,
    PostNode,
    RatingNode,
    read,
)
from gateway_schemas.errors import Malformed
from gateway_schemas.interaction import Normalised


@dataclass(frozen=True)
class Read:
    """What a page was read for, as its note says."""

    side: messages.Side
    kind: str
    root: str | None = None
    """The post or media that listed comments are under."""
    thread: str | None = None
    """The comment that listed answers are under."""
    owner: str | None = None
    """The handle of an Instagram media's owner."""

    @property
    def account(self) -> str:
        """Whose page it is."""
        return self.side.account


def listed(value: Any) -> list[Any]:
    """The objects of a list, or of an object that is one by itself."""
    if isinstance(value, Mapping) and "data" in value:
        value = value["data"]
        if not isinstance(value, list):
            raise Malformed("data: expected a list")
        return value
    return value if isinstance(value, list) else [value]


def parts(read: Read, body: Mapping[str, Any]) -> list[Iterator[Normalised]]:
    """One part for each object of a page, so that a broken one does not take others down."""
    found: list[Iterator[Normalised]] = []
    for value in listed(body):
        found += _node(read, value)
    return found


def _node(page: Read, value: Any) -> list[Iterator[Normalised]]:
    match page.kind:
        case "posts":
            return [_post(page, value), *_nested(page, value, "comments", "comments", root=_id(value))]
        case "tagged":
            return [_post(page, value, mention=True)]
        case "post":
            return [_post(page, value, context=True)]
        case "comments":
            return [_comment(page, value)]
        case "mention":
            return [_comment(page, value, mention=True)]
        case "ratings":
            return [_rating(page, value)]
        case "conversations":
            return _nested(page, value, "messages", "messages")
        case "messages":
            return [_message(page, value)]
        case "media":
            nested = _nested(page, value, "comments", "instagram_comments", root=_id(value), owner=_owner(value))
            return [_media(page, value), *nested]
        case "instagram_comments":
            thread = _id(value)
            return [
                _instagram_comment(page, value),
                *_nested(page, value, "replies", "instagram_comments", root=page.root, owner=page.owner, thread=thread),
            ]
        case "mentioned_comment":
            return [_mentioned_comment(page, value)]
        case "mentioned_media":
            return [_mentioned_media(page, value)]
    raise Malformed(f"the page was stored as {page.kind!r}, which is no kind of page")


def _nested(
    page: Read,
    value: Any,
    key: str,
    kind: str,
    *,
    root: str | None = None,
    owner: str | None = None,
    thread: str | None = None,
) -> list[Iterator[Normalised]]:
    inner = value.get(key) if isinstance(value, Mapping) else None
    if inner is None:
        return []
    within = Read(page.side, kind, root, thread, owner)
    return [part for one in listed(inner) for part in _node(within, one)]


def _id(value: Any) -> str | None:
    id = value.get("id") if isinstance(value, Mapping) else None
    return str(id) if isinstance(id, str | int) else None


def _owner(value: Any) -> str | None:
    name = value.get("username") if isinstance(value, Mapping) else None
    return name if isinstance(name, str) else None


def _post(page: Read, value: Any, *, mention: bool = False, context: bool = False) -> Iterator[Normalised]:
    post = read(PostNode, value, "post")
    yield items.page_post(
        page.account,
        id=post.id,
        person=post.sender or Person(),
        text=post.message,
        attachments=items.node_media(post.attachments),
        published_at=post.created_time,
        url=post.permalink_url,
        mention=mention,
        # a visitor writes on the Page to be read by it; a post elsewhere that was looked up is context
        addressed=not context or post.id.startswith(f"{page.account}_"),
    )


def _comment(page: Read, value: Any, *, mention: bool = False) -> Iterator[Normalised]:
    comment = read(CommentNode, value, "comment")
    root = page.root
    if root is None and not mention:
        # comments are named after their post, and that after the Page
        root = f"{page.account}_{comment.id.split('_')[0]}" if "_" in comment.id else None
    parent = comment.parent.id if comment.parent else root
    yield items.page_comment(
        page.account,
        id=comment.id,
        person=comment.sender or Person(),
        text=comment.message,
        attachments=items.node_media([comment.attachment] if comment.attachment else ()),
        root=root,
        parent=parent,
        root_owner=None,
        published_at=comment.created_time,
        url=comment.permalink_url,
        mention=mention,
        hidden=comment.is_hidden,
    )


def _rating(page: Read, value: Any) -> Iterator[Normalised]:
    rating = read(RatingNode, value, "rating")
    story = rating.open_graph_story.id if rating.open_graph_story else None
    reviewer = rating.reviewer or Person()
    if story is None and reviewer.id is None:
        raise Malformed("rating: expected open_graph_story or reviewer; ask for both in fields")
    yield review(
        page.account,
        story=story,
        reviewer=reviewer,
        kind=rating.recommendation_type,
        stars=rating.rating if rating.has_rating else None,
        text=rating.review_text,
        published_at=rating.created_time,
    )


def _message(page: Read, value: Any) -> Iterator[Normalised]:
    yield messages.node(page.side, read(MessageNode, value, "message"))


def _media(page: Read, value: Any) -> Iterator[Normalised]:
    media = read(InstagramMedia, value, "media")
    yield items.instagram_media(
        page.account,
        media,
        person=Person(id=page.account, username=media.username),
        root_owner="brand",
    )


def _instagram_comment(page: Read, value: Any) -> Iterator[Normalised]:
    comment = read(InstagramComment, value, "comment")
    person = comment.sender or Person(username=comment.username)
    if person.username is None and comment.username is not None:
        person = person.model_copy(update={"username": comment.username})
    own = person.id == page.account or (page.owner is not None and person.username == page.owner)
    if own:
        person = person.model_copy(update={"id": page.account})
    yield items.instagram_comment(
        page.account,
        id=comment.id,
        person=person,
        text=comment.text,
        media_id=comment.media.id if comment.media else page.root,
        parent=comment.parent_id or page.thread,
        published_at=comment.timestamp,
        own=own,
        extra={"hidden": True} if comment.hidden else {},
    )


def _mentioned_comment(page: Read, value: Any) -> Iterator[Normalised]:
    inner = value.get("mentioned_comment") if isinstance(value, Mapping) else None
    comment = read(InstagramComment, inner, "mentioned_comment")
    yield items.instagram_comment(
        page.account,
        id=comment.id,
        person=comment.sender or Person(username=comment.username),
        text=comment.text,
        media_id=comment.media.id if comment.media else page.root,
        parent=None,
        published_at=comment.timestamp,
        subkind="mention",
        mention=True,
        root_owner=None,
    )


def _mentioned_media(page: Read, value: Any) -> Iterator[Normalised]:
    inner = value.get("mentioned_media") if isinstance(value, Mapping) else None
    media = read(InstagramMedia, inner, "mentioned_media")
    person = Person(id=media.owner.id if media.owner else None, username=media.username)
    yield items.instagram_media(page.account, media, person=person, root_owner="customer")
