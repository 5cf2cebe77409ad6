"""What webhooks and nodes have in common when they become interactions: identity, author, revision, target."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal

from gateway_meta.payloads import AttachmentNode, InstagramMedia, Person
from gateway_schemas.interaction import Attachment, Author, Interaction, ReplyTarget, Subject, content_revision

Owner = Literal["brand", "customer", "other"]

PICTURES = {"photo", "image", "cover_photo", "profile_media", "album"}
VIDEOS = {"video", "video_inline", "video_autoplay", "video_direct_response"}


def author(person: Person, thing: str, *, instagram: bool = False) -> Author:
    """Who wrote it. Where Meta does not say, somebody of their own: two unknown people are not one."""
    handle = person.username
    return Author(
        external_id=person.id or f"unknown:{thing}",
        handle=handle,
        name=person.name,
        url=f"https://www.instagram.com/{handle}/" if instagram and handle else None,
    )


def media(url: str | None, kind: Literal["photo", "video"], id: str | None = None) -> Attachment:
    """A picture or video of a post or comment."""
    return Attachment(external_id=id, url=url, media_type="image/jpeg" if kind == "photo" else "video/mp4")


def node_media(nodes: Iterable[AttachmentNode]) -> tuple[Attachment, ...]:
    """The pictures and videos of nodes; previews of links are none."""
    found = []
    for node in nodes:
        id = node.target.get("id")
        id = id if isinstance(id, str) else None
        image = node.media.image.src if node.media and node.media.image else None
        if node.type in PICTURES:
            found.append(media(image or node.url, "photo", id))
        elif node.type in VIDEOS:
            found.append(media((node.media.source if node.media else None) or node.url or image, "video", id))
    return tuple(found)


def revision(text: str, attachments: Iterable[Attachment], *more: object) -> str:
    """The same from webhook and from poll, whose addresses and ids of one picture differ: text, and kinds of media."""
    return content_revision(text, sorted({item.media_type or "" for item in attachments}), *more)


def page_comment(
    account: str,
    *,
    id: str,
    person: Person,
    text: str,
    attachments: tuple[Attachment, ...],
    root: str | None,
    parent: str | None,
    root_owner: Owner | None,
    published_at: datetime,
    edited_at: datetime | None = None,
    url: str | None = None,
    mention: bool = False,
    hidden: bool = False,
) -> Interaction:
    """A comment on a Page's post, under a recommendation, or elsewhere with the Page's name in it."""
    own = person.id == account
    extra: dict[str, Any] = {"root": root, "thread": parent if parent != root and parent else id}
    target = ReplyTarget(kind="mention" if mention else "comment", ref=id, recipient=person.id, extra=extra)
    return Interaction(
        external_id=id,
        revision=revision(text, attachments),
        account=account,
        kind="comment",
        subkind="mention" if mention else None,
        visibility="public",
        direction="outbound" if own else "inbound",
        author=author(person, id),
        text=text,
        root=root,
        in_reply_to=parent,
        root_owner=root_owner,
        mentions=(account,) if mention else (),
        attachments=attachments,
        url=url or f"https://www.facebook.com/{id}",
        reply_target=None if own else target,
        published_at=published_at,
        edited_at=edited_at,
        extra={"hidden": True} if hidden else {},
    )


def page_post(
    account: str,
    *,
    id: str,
    person: Person,
    text: str,
    attachments: tuple[Attachment, ...],
    published_at: datetime,
    edited_at: datetime | None = None,
    url: str | None = None,
    mention: bool = False,
    addressed: bool = True,
) -> Interaction:
    """A post by the Page, by somebody on the Page, or elsewhere with the Page's name in it."""
    own = person.id == account
    target = ReplyTarget(kind="mention" if mention else "comment", ref=id, recipient=person.id, extra={"root": id})
    return Interaction(
        external_id=id,
        revision=revision(text, attachments),
        account=account,
        kind="post",
        subkind="mention" if mention else None if own else "visitor_post",
        visibility="public",
        direction="outbound" if own else "inbound",
        author=author(person, id),
        text=text,
        root=id,
        root_owner="brand" if own else "customer",
        mentions=(account,) if mention else (),
        addressed=addressed,
        attachments=attachments,
        url=url or f"https://www.facebook.com/{id}",
        reply_target=None if own else target,
        published_at=published_at,
        edited_at=edited_at,
    )


def rating_id(account: str, reviewer: str) -> str:
    """What a recommendation is called that has no story of its own: a person has one for each Page at most."""
    return f"rating:{account}:{reviewer}"


def recommendation(kind: str | None) -> Literal["positive", "negative"] | None:
    """Meta writes it in upper and in lower case."""
    match (kind or "").lower():
        case "positive":
            return "positive"
        case "negative":
            return "negative"
    return None


def page_subject(account: str) -> Subject:
    """The Page that is recommended, or not."""
    return Subject(external_id=account, kind="page", url=f"https://www.facebook.com/{account}")


def instagram_comment(
    account: str,
    *,
    id: str,
    person: Person,
    text: str,
    media_id: str | None,
    parent: str | None,
    published_at: datetime,
    own: bool | None = None,
    subkind: str | None = None,
    extra: dict[str, Any] | None = None,
    mention: bool = False,
    root_owner: Owner | None = "brand",
    url: str | None = None,
) -> Interaction:
    """A comment under an Instagram media, or one elsewhere that names the account. Nobody can edit one."""
    own = person.id == account if own is None else own
    # Instagram puts an answer to an answer under the comment that both are under
    how: dict[str, Any] = {"media": media_id, "thread": parent or id}
    if subkind == "live_comment":
        how["live"] = True
    return Interaction(
        external_id=id,
        revision=content_revision(text),
        account=account,
        kind="comment",
        subkind=subkind,
        visibility="public",
        direction="outbound" if own else "inbound",
        author=author(person, id, instagram=True),
        text=text,
        root=media_id,
        in_reply_to=parent or media_id,
        root_owner=root_owner,
        mentions=(account,) if mention else (),
        url=url,
        reply_target=None
        if own
        else ReplyTarget(kind="mention" if mention else "comment", ref=id, recipient=person.id, extra=how),
        published_at=published_at,
        extra=extra or {},
    )


def instagram_media(account: str, item: InstagramMedia, *, person: Person, root_owner: Owner) -> Interaction:
    """A media of the account, or one of somebody else's whose caption names the account."""
    own = person.id == account
    url = item.media_url
    attachments = (media(url, "video" if item.media_type == "VIDEO" else "photo", item.id),) if url else ()
    how: dict[str, Any] = {"media": item.id, "thread": None}
    return Interaction(
        external_id=item.id,
        revision=content_revision(item.caption),
        account=account,
        kind="post",
        subkind=None if own else "mention",
        visibility="public",
        direction="outbound" if own else "inbound",
        author=author(person, item.id, instagram=True),
        text=item.caption,
        root=item.id,
        root_owner=root_owner,
        mentions=() if own else (account,),
        attachments=attachments,
        url=item.permalink,
        reply_target=None if own else ReplyTarget(kind="mention", ref=item.id, recipient=person.id, extra=how),
        published_at=item.timestamp,
    )


def conversation(account: str, other: str) -> str:
    """The private conversation of an account with one person: webhooks do not tell Meta's own id of it."""
    return f"dm:{account}:{other}"


def direct_message(
    account: str,
    *,
    id: str,
    own: bool,
    other: Person,
    text: str,
    attachments: tuple[Attachment, ...],
    published_at: datetime,
    closes_at: datetime | None,
    edited_at: datetime | None = None,
    subkind: str | None = None,
    instagram: bool = False,
    extra: dict[str, Any] | None = None,
) -> Interaction:
    """A message of a private conversation."""
    # reading names a message's pictures otherwise than the webhook does: only how many there are is comparable
    thread = conversation(account, other.id or f"unknown:{id}")
    return Interaction(
        external_id=id,
        revision=content_revision(text, len(attachments)),
        account=account,
        kind="direct_message",
        subkind=subkind,
        visibility="private",
        direction="outbound" if own else "inbound",
        author=Author(external_id=account) if own else author(other, id, instagram=instagram),
        text=text,
        root=thread,
        attachments=attachments,
        reply_target=None
        if own or other.id is None
        else ReplyTarget(kind="direct_message", ref=thread, recipient=other.id, closes_at=closes_at),
        published_at=published_at,
        edited_at=edited_at,
        extra=extra or {},
    )
