"""Polling one feed: only what is new is asked for, and only what is new is stored."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import httpx2
from pydantic import AwareDatetime, BaseModel, Field

from gateway_feed.config import FeedConfig
from gateway_feed.fetching import Fetched, fetch
from gateway_feed.manners import looks_like_a_feed, max_age, pause, resting, skips
from gateway_schemas.errors import Gone, Malformed, Rejected
from gateway_schemas.webhook import Page, RawPage

STREAM = "entries"
GONE = "feed_gone"
_GONE_AGAIN = timedelta(days=1)
_EARLY = timedelta(minutes=1)
"""Polls are not to the second."""


class Cursor(BaseModel):
    """What the server said of the newest version that is stored."""

    configured: str
    """The address that an admin entered: with another one everything begins anew."""
    url: str | None = None
    """Where the feed has moved to for good."""
    etag: str | None = None
    modified: str | None = None
    digest: str | None = None
    """Of the newest body, for servers that say neither."""
    asks: int = 0
    """Seconds that the feed asks to be left alone after each look."""
    not_before: AwareDatetime | None = None
    skip_hours: list[int] = Field(default_factory=list)
    skip_days: list[int] = Field(default_factory=list)
    gone_at: AwareDatetime | None = None


async def poll(http: httpx2.AsyncClient, config: FeedConfig, given: Mapping[str, Any] | None, now: datetime) -> Page:
    """One look. Raises GatewayError; Rejected with `feed_gone` once a feed has answered 410."""
    cursor = Cursor.model_validate(given) if given else Cursor(configured=config.url)
    if cursor.configured != config.url:
        cursor = Cursor(configured=config.url)
    if cursor.gone_at is not None and now < cursor.gone_at + _GONE_AGAIN:
        raise Rejected("the feed has ended for good (410 Gone): remove it, or enter another address", code=GONE)
    if cursor.not_before is not None and now < cursor.not_before:
        return _page(cursor)
    if resting(now, cursor.skip_hours, cursor.skip_days):
        return _page(cursor)
    try:
        fetched = await fetch(http, config, cursor.url or config.url, now, etag=cursor.etag, modified=cursor.modified)
    except Gone:
        if cursor.url is None:
            raise
        # where it had moved to is nothing any more: begin where the admin said
        return _page(Cursor(configured=config.url), more=True)
    if fetched.gone:
        # the cursor has to remember it, so the trouble is told from the next poll on
        return _page(Cursor(configured=config.url, gone_at=now))
    return _taken(cursor, fetched, now)


def _taken(cursor: Cursor, fetched: Fetched, now: datetime) -> Page:
    response = fetched.response
    cursor.gone_at = None
    cursor.url = fetched.moved_to or cursor.url
    if fetched.unchanged:
        asks = max(timedelta(seconds=cursor.asks), max_age(response))
        cursor.not_before = _later(now, asks)
        return _page(cursor)
    body = response.content
    if not looks_like_a_feed(body):
        # nothing of it is remembered: once the feed is back it is read again, whatever it says of changes
        raise Malformed("the answer is neither RSS nor Atom: look at the address", code="not_a_feed")
    digest = hashlib.sha256(body).hexdigest()[:16]
    known = digest == cursor.digest
    cursor.digest = digest
    cursor.etag = response.headers.get("etag")
    cursor.modified = response.headers.get("last-modified")
    asks = pause(body, response)
    cursor.asks = int(asks.total_seconds())
    cursor.not_before = _later(now, asks)
    cursor.skip_hours, cursor.skip_days = skips(body)
    return _page(cursor) if known else _page(cursor, RawPage(body, stream=STREAM, note=note(fetched)))


def note(fetched: Fetched) -> dict[str, Any]:
    """What a page is stored with: what its server said of its type and language."""
    headers = fetched.response.headers
    named = {"content_type": "content-type", "content_language": "content-language"}
    return {key: headers[name] for key, name in named.items() if name in headers}


def _later(now: datetime, asks: timedelta) -> datetime | None:
    return now + asks - _EARLY if asks > _EARLY else None


def _page(cursor: Cursor, *pages: RawPage, more: bool = False) -> Page:
    return Page(pages, cursor.model_dump(mode="json", exclude_defaults=True), more)
