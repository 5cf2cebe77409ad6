"""Direct messages of X as interactions: the activity webhooks' shape and that of API v2."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from gateway_schemas.errors import Malformed
from gateway_schemas.interaction import Attachment, Ignored, Interaction, Normalised, ReplyTarget, Wanted
from gateway_x.payloads import (
    ActivityMessage,
    Entities,
    Includes,
    MessageEvent,
    canonical_conversation,
    snowflake_time,
)
from gateway_x.posts import attachments, author, links, media_type, plain_text

MESSAGE_REF = "dm:"
"""Marks a wanted message: its bare id could not be told from a post's."""


def activity_message(account: str, message: ActivityMessage, includes: Includes) -> Normalised:
    """One message of a `dm.received` or `dm.sent` event, or of the older account webhooks."""
    created = message.message_create
    if message.type != "message_create" or created is None:
        return Ignored(reason=f"direct message event {message.type} carries no message")
    recipient = created.target.recipient_id
    if recipient is None:
        return Wanted(ref=MESSAGE_REF + message.id, reason="thin", account=account)
    data = created.message_data
    media = data.attachment.media if data.attachment else None
    url = media.media_url_https if media else None
    return _message(
        account,
        includes,
        id=message.id,
        sender=created.sender_id,
        other=recipient if created.sender_id == account else created.sender_id,
        conversation=canonical_conversation(created.sender_id, recipient),
        text=data.text,
        entities=data.entities,
        files=(Attachment(external_id=media.id, url=url, media_type=media_type(url)),) if media else (),
        at=_milliseconds(message.created_timestamp) or snowflake_time(message.id),
    )


def message_event(account: str, event: MessageEvent, includes: Includes) -> Iterator[Normalised]:
    """One event of API v2's message look-ups."""
    if event.event_type != "MessageCreate":
        yield Ignored(reason=f"direct message event {event.event_type} carries no message")
        return
    conversation = event.dm_conversation_id
    if event.sender_id is None or conversation is None:
        raise Malformed(f"message {event.id} has no sender_id or dm_conversation_id; ask for them in dm_event.fields")
    pair = conversation.split("-")
    other: str | None = event.sender_id if event.sender_id != account else None
    if len(pair) == 2:
        if account not in pair:
            raise Malformed(f"message {event.id} belongs to a conversation without account {account}")
        conversation = canonical_conversation(*pair)
        other = pair[0] if pair[1] == account else pair[1]
    yield _message(
        account,
        includes,
        id=event.id,
        sender=event.sender_id,
        other=other,
        conversation=conversation,
        text=event.text,
        entities=event.entities,
        files=attachments(event.attachments.media_keys if event.attachments else (), includes),
        at=event.created_at or snowflake_time(event.id),
    )


def _message(
    account: str,
    includes: Includes,
    *,
    id: str,
    sender: str,
    other: str | None,
    conversation: str,
    text: str,
    entities: Entities | None,
    files: tuple[Attachment, ...],
    at: datetime | None,
) -> Interaction:
    if at is None:
        raise Malformed(f"message {id} has no time, and its id holds none")
    return Interaction(
        external_id=id,
        revision=id,
        account=account,
        kind="direct_message",
        visibility="private",
        direction="outbound" if sender == account else "inbound",
        author=author(sender, includes.users.get(sender)),
        text=plain_text(text),
        root=conversation,
        root_owner=None,
        attachments=files,
        url=f"https://x.com/messages/{conversation}",
        reply_target=ReplyTarget(kind="direct_message", ref=conversation, recipient=other),
        published_at=at,
        extra=links(entities),
    )


def _milliseconds(value: str | None) -> datetime | None:
    return datetime.fromtimestamp(int(value) / 1000, UTC) if value else None
