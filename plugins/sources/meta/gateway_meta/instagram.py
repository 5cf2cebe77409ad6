"""Instagram's changes: comments on the account's media, and the account named elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from gateway_meta import items
from gateway_meta.payloads import InstagramValue, Person
from gateway_schemas.errors import Malformed
from gateway_schemas.interaction import Normalised, Wanted

MENTIONED_COMMENT = "mentioned_comment:"
MENTIONED_MEDIA = "mentioned_media:"
"""Mark what is wanted of a mention: Instagram shows it to the account alone, and at an address of its own."""


def comment(account: str, at: datetime, value: InstagramValue, *, live: bool = False) -> Iterator[Normalised]:
    """A comment. Webhooks do not say when it was written: that is when Meta sent them, within seconds."""
    if value.id is None:
        raise Malformed("comments: id: expected an id")
    person = value.sender or Person()
    if person.id is None:
        yield Wanted(ref=value.id, reason="thin", account=account)
        return
    media = value.media
    parent = value.parent_id or (media.id if media else None)
    if parent is not None and person.id != account and not live:
        yield Wanted(ref=parent, reason="ancestor", account=account)
    extra: dict[str, Any] = {}
    if media is not None and media.media_product_type:
        extra["media_product_type"] = media.media_product_type
    if media is not None and media.ad_id:
        extra["ad_id"] = media.ad_id
    yield items.instagram_comment(
        account,
        id=value.id,
        person=person,
        text=value.text,
        media_id=media.id if media else None,
        parent=value.parent_id,
        published_at=at,
        subkind="live_comment" if live else None,
        extra=extra,
    )


def mention(account: str, value: InstagramValue) -> Iterator[Normalised]:
    """A thin webhook: it says where the account was named, and not what was said."""
    if value.comment_id is not None:
        yield Wanted(ref=f"{MENTIONED_COMMENT}{value.comment_id}:{value.media_id or ''}", account=account)
    elif value.media_id is not None:
        yield Wanted(ref=f"{MENTIONED_MEDIA}{value.media_id}", account=account)
    else:
        raise Malformed("mentions: media_id: expected an id")
