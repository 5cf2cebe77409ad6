"""One post of Mastodon as an interaction: identity, thread, who is spoken to, who may read it."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import urlsplit

from gateway_mastodon.html import html_to_text
from gateway_mastodon.names import address, status_ref
from gateway_mastodon.payloads import Account, Media, Status, StatusEdit
from gateway_schemas.interaction import (
    Attachment,
    Author,
    Ignored,
    Interaction,
    Normalised,
    ReplyTarget,
    Visibility,
    Wanted,
    content_revision,
)

PUBLIC = {"public", "unlisted", "local"}
"""Everybody may read these; `local` is other servers' word for everybody at one server. All else is private."""
_TYPES = {"image": "image/", "gifv": "video/", "video": "video/", "audio": "audio/"}


@dataclass(frozen=True)
class View:
    """Whose eyes a post is seen with."""

    account: str
    """The brand's address."""
    account_id: str
    """Its id at its server."""
    home: str
    """Its server's domain."""

    def note(self, kind: str, **more: Any) -> dict[str, Any]:
        """What travels with a page, so that it can be read without the connection's configuration."""
        return {"kind": kind, "account": self.account, "account_id": self.account_id, "home": self.home, **more}


def visibility(word: str) -> Visibility:
    """Ours for Mastodon's: a post that only some may read is private, and so is one of a visibility unknown here."""
    return "public" if word in PUBLIC else "private"


def author(account: Account, home: str) -> Author:
    """Who wrote it."""
    followers = account.followers_count
    return Author(
        external_id=address(account.acct, home),
        handle=account.acct if "@" in account.acct else f"{account.acct}@{home}",
        name=account.display_name or account.acct,
        url=account.url,
        avatar_url=account.avatar,
        followers=followers if followers is None or followers >= 0 else None,  # some servers hide it with -1
    )


def items(view: View, status: Status, *, addressed: bool = False) -> Iterator[Normalised]:
    """The post, and its parent as wanted. A boost is somebody else's post and has no words of its own."""
    if status.reblog is not None:
        yield Ignored(reason="a boost without words of its own")
        return
    if status.in_reply_to_id is not None:
        parent = status_ref(view.home, status.in_reply_to_id)
        yield Wanted(ref=parent, reason="ancestor", account=view.account)
    yield interaction(view, status, addressed=addressed)


def speaks_to(view: View, status: Status) -> bool:
    """Whether a post mentions, answers or quotes the brand."""
    if view.account_id == status.in_reply_to_account_id:
        return True
    if any(address(mention.acct, view.home) == view.account for mention in status.mentions):
        return True
    quoted = status.quote.quoted_status if status.quote else None
    return quoted is not None and quoted.account is not None and quoted.account.id == view.account_id


def interaction(view: View, status: Status, *, addressed: bool = False, edit: StatusEdit | None = None) -> Interaction:
    """A post at its present version, or at the one that `edit` gives."""
    wrote = author(status.account, view.home)
    own = wrote.external_id == view.account
    ref = status_ref(view.home, status.id)
    starts = status.in_reply_to_id is None
    seen_by = visibility(status.visibility)
    content, warning = status.content or "", status.spoiler_text or ""
    media, poll, edited_at = status.media_attachments, status.poll, status.edited_at
    if edit is not None:
        content, warning, media, poll = edit.content or "", edit.spoiler_text or "", edit.media_attachments, edit.poll
        edited_at = edit.created_at if edit.created_at > status.created_at else None
    extra: dict[str, Any] = {"visibility": status.visibility}
    if status.uri:
        extra["uri"] = status.uri
    if poll is not None and poll.options:
        extra["poll"] = [option.title for option in poll.options]
    return Interaction(
        external_id=ref,
        revision=_revision(status, edited_at, content, warning, media),
        account=view.account,
        kind="direct_message" if status.visibility == "direct" else "post" if starts else "comment",
        subkind="quote" if status.quoted else None,
        visibility=seen_by,
        direction="outbound" if own else "inbound",
        author=wrote,
        text=html_to_text(content),
        html=content or None,
        title=warning or None,
        language=status.language or None,
        root=ref if starts else None,
        in_reply_to=None if status.in_reply_to_id is None else status_ref(view.home, status.in_reply_to_id),
        root_owner=_owner(own) if starts else None,
        mentions=tuple(dict.fromkeys(address(mention.acct, view.home) for mention in status.mentions)),
        quotes=status_ref(view.home, status.quoted) if status.quoted else None,
        addressed=own or addressed or speaks_to(view, status),
        attachments=tuple(attachment(one) for one in media),
        url=status.url or status.uri,
        reply_target=ReplyTarget(
            kind="direct_message" if seen_by == "private" else "mention" if starts else "comment",
            ref=status.id,
            recipient=wrote.external_id,
            extra={"visibility": status.visibility} | ({"spoiler_text": warning} if warning else {}),
        ),
        published_at=status.created_at,
        edited_at=edited_at,
        extra=extra,
    )


def _owner(own: bool) -> Literal["brand", "customer"]:
    return "brand" if own else "customer"


def _revision(status: Status, edited_at: datetime | None, content: str, warning: str, media: list[Media]) -> str:
    if edited_at is None and "edited_at" not in status.model_fields_set:  # servers that do not tell of edits
        return content_revision(content, warning, *(one.id for one in media))
    return (edited_at or status.created_at).astimezone(UTC).isoformat()


def attachment(media: Media) -> Attachment:
    """A picture, video or sound. `url` is the server's own copy; without one only the original is left."""
    url = media.url or media.remote_url
    guessed = mimetypes.guess_type(urlsplit(url).path)[0] if url else None
    if guessed is not None and not guessed.startswith(_TYPES.get(media.type, "")):
        guessed = None
    return Attachment(external_id=media.id, url=url, media_type=guessed, alt_text=media.description or None)
