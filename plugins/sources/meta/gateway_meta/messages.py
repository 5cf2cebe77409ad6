"""Private messages of Messenger and Instagram, as webhooks tell them and as conversations are read."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from gateway_meta import items
from gateway_meta.payloads import (
    FilePayload,
    Message,
    MessageAttachment,
    MessageEdit,
    MessageFile,
    MessageNode,
    Messaging,
    Person,
)
from gateway_meta.windows import messaging_window
from gateway_schemas.errors import Malformed
from gateway_schemas.interaction import Attachment, Deletion, Ignored, Normalised

_TYPES = {"image": "image/jpeg", "video": "video/mp4", "audio": "audio/mpeg", "sticker": "image/png"}
_FILES = {*_TYPES, "file", "ig_reel", "reel", "ig_post", "share", "story_mention", "media", "animated_image_share"}


@dataclass(frozen=True)
class Side:
    """Whose messages these are, and how long they may be answered."""

    account: str
    own: frozenset[str]
    """The ids under which the account speaks: of an Instagram account also its Page's."""
    instagram: bool
    human_agent: bool


def event(side: Side, at: datetime, value: Messaging, *, standby: bool = False) -> Iterator[Normalised]:
    """One `messaging` event, or one of `standby`, which another App of the account is to answer."""
    moment = value.timestamp or at
    if value.message is not None:
        yield from _message(side, moment, value, value.message, standby)
    elif value.message_edit is not None:
        yield _edited(side, moment, value, value.message_edit)
    elif value.postback is not None and value.postback.mid is not None:
        pressed = value.postback
        yield _interaction(
            side, moment, value, pressed.mid or "", pressed.title, (), "postback", {"payload": pressed.payload}
        )
    else:
        yield Ignored(reason="a messaging event that carries no message")


def _edited(side: Side, at: datetime, value: Messaging, edit: MessageEdit) -> Normalised:
    """The event has the new words and the time of the edit; when the message was written only reading it would tell.

    An edit does not open the window anew, so how long it may be answered is left open here.
    """
    own = value.sender.id in side.own
    other = value.recipient if own else value.sender
    if other.id is None:
        raise Malformed("message_edit: sender.id, recipient.id: expected ids")
    return items.direct_message(
        side.account,
        id=edit.mid,
        own=own,
        other=other,
        text=edit.text,
        attachments=(),
        published_at=at,
        closes_at=None,
        edited_at=at,
        instagram=side.instagram,
        extra={"edits": edit.num_edit},
    )


def _message(side: Side, at: datetime, value: Messaging, message: Message, standby: bool) -> Iterator[Normalised]:
    own = message.is_echo or value.sender.id in side.own
    if message.is_self:
        yield Ignored(reason="a message of the account to itself")
        return
    if message.is_deleted:
        yield Deletion(external_id=message.mid, account=side.account, deleted_at=at, by="brand" if own else "author")
        return
    story = message.reply_to.story if message.reply_to else None
    subkind: str | None = None
    extra: dict[str, Any] = {}
    if message.is_unsupported:
        subkind, extra["unsupported"] = "unsupported", True
    if any(file.type == "story_mention" for file in message.attachments):
        subkind = "story_mention"
    elif story is not None:
        subkind = "story_reply"
        extra["story"] = {"id": story.id, "url": story.url}
    if message.reply_to is not None and message.reply_to.mid:
        extra["reply_to"] = message.reply_to.mid
    if own and message.app_id is not None:
        extra["app_id"] = str(message.app_id)
    if standby:
        extra["standby"] = True
    files = tuple(_file(file) for file in message.attachments if file.type in _FILES)
    addresses = (file.payload.url for file in message.attachments if file.type not in _FILES and file.payload)
    links = [address for address in addresses if address]
    if links:
        extra["links"] = links
    yield _interaction(side, at, value, message.mid, message.text, files, subkind, extra)


def _interaction(
    side: Side,
    at: datetime,
    value: Messaging,
    mid: str,
    text: str,
    files: tuple[Attachment, ...],
    subkind: str | None,
    extra: dict[str, Any],
) -> Normalised:
    own = value.sender.id in side.own or bool(value.message and value.message.is_echo)
    other = value.recipient if own else value.sender
    if other.id is None:
        raise Malformed("messaging: sender.id, recipient.id: expected ids")
    return items.direct_message(
        side.account,
        id=mid,
        own=own,
        other=other,
        text=text,
        attachments=files,
        published_at=at,
        closes_at=at + messaging_window(side.human_agent),
        subkind=subkind,
        instagram=side.instagram,
        extra=extra,
    )


def _file(file: MessageFile) -> Attachment:
    given = file.payload or FilePayload()
    guessed = mimetypes.guess_type(urlsplit(given.url).path)[0] if given.url else None
    return Attachment(url=given.url, media_type=guessed or _TYPES.get(file.type), name=given.title)


def node(side: Side, message: MessageNode) -> Normalised:
    """One message of a conversation that was read."""
    own = message.sender.id in side.own
    other = next((one for one in message.to if one.id not in side.own), Person()) if own else message.sender
    return items.direct_message(
        side.account,
        id=message.id,
        own=own,
        other=other,
        text=message.message,
        attachments=tuple(_read_file(file) for file in message.attachments),
        published_at=message.created_time,
        closes_at=message.created_time + messaging_window(side.human_agent),
        instagram=side.instagram,
    )


def _read_file(file: MessageAttachment) -> Attachment:
    shown = file.image_data or file.video_data
    return Attachment(
        external_id=file.id,
        url=file.file_url or (shown.url if shown else None),
        media_type=file.mime_type,
        name=file.name,
        size=file.size if file.size is not None and file.size >= 0 else None,
    )
