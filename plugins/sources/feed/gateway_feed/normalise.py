"""What a stored feed says, entry by entry."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal
from urllib.parse import urldefrag, urlsplit

from gateway_feed.config import FeedConfig
from gateway_feed.html_text import as_text, images_in
from gateway_feed.parsing import parse, time_of
from gateway_schemas.interaction import (
    Attachment,
    Author,
    Deletion,
    Ignored,
    Interaction,
    Normalised,
    ReplyTarget,
    Unreadable,
    content_revision,
)
from gateway_schemas.text import clean
from gateway_schemas.webhook import RawDelivery

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}")
_COMMENT = re.compile(r"(?:comment|reply|post|c|p)[-_]?\d+", re.IGNORECASE)
_LONGEST_ID = 900
_PICTURES = 20


def normalise(delivery: RawDelivery, config: FeedConfig) -> list[Normalised]:
    """Read a feed. Raises Malformed when it is none."""
    note = delivery.note
    # relative ids are made whole by the address that an admin entered: they stay what they are when the feed moves
    parsed = parse(delivery.body, config.url, note.get("content_type"), note.get("content_language"))
    items: list[Normalised] = []
    for index, entry in enumerate(parsed.entries):
        try:
            items.append(_Entry(clean_entry(entry), parsed.feed, config).interaction(delivery.received_at))
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            items.append(Unreadable(reason=f"entry {index + 1}: {type(error).__name__}: it is not what feeds hold"))
    for tombstone in parsed.tombstones:
        items.append(Deletion(external_id=short(tombstone.ref), account=config.url, deleted_at=tombstone.when))
    if parsed.cut_off:
        items.append(Unreadable(reason="the feed breaks off in the middle; what is whole of it was taken"))
    return items or [Ignored(reason="a feed without entries")]


def clean_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The entry as plain values, fit to be stored."""
    return {key: value if key.endswith("_parsed") else clean(value) for key, value in entry.items()}


def short(id: str) -> str:
    """An id as it is, or what stands for one that is too long to be an id."""
    if len(id) <= _LONGEST_ID:
        return id
    return f"sha256:{hashlib.sha256(id.encode('utf-8', 'surrogatepass')).hexdigest()}"


class _Entry:
    """One entry, with the feed that it is in."""

    def __init__(self, entry: dict[str, Any], feed: Mapping[str, Any], config: FeedConfig) -> None:
        self.entry = entry
        self.feed = feed
        self.config = config
        self.markup, self.text = self._content()
        self.link = _web(entry.get("link"))

    def interaction(self, received_at: datetime) -> Interaction:
        """In our vocabulary."""
        id = self._id()
        kind = self._kind()
        parent = self._parent()
        published = time_of(self.entry, "published") or time_of(self.entry, "updated")
        updated = time_of(self.entry, "updated")
        at = published or received_at
        title = self._title()
        attachments = tuple(self._attachments())
        own = self._own(kind)
        return Interaction(
            external_id=id,
            # an entry may say that it changed when nothing did, and the other way round
            revision=content_revision(
                self.entry.get("updated") if "updated_parsed" in self.entry else None,
                title,
                self.text,
                [one.url for one in attachments],
            ),
            account=self.config.url,
            kind=kind,
            visibility="public",
            direction="outbound" if own else "inbound",
            author=self._author(id),
            text=self.text,
            html=self.markup,
            title=title,
            language=self._language(),
            root=None if parent else self._root(kind, id),
            in_reply_to=parent,
            root_owner="brand" if own and kind == "post" else None,
            attachments=attachments,
            url=self.link,
            # feeds take no answers; it says where a person can give one
            reply_target=ReplyTarget(kind="comment", ref=id, extra={"url": self.link} if self.link else {}),
            published_at=at,
            edited_at=updated if updated is not None and updated > at else None,
            extra=self._extra(undated=published is None),
        )

    def _id(self) -> str:
        """`atom:id` or `guid`, else the link, else a hash of what does not change."""
        given = self.entry.get("id") or self.entry.get("link")
        if isinstance(given, str) and given.strip():
            return short(given.strip())
        what = (self.entry.get("title"), self.entry.get("published"), self.entry.get("author"))
        if not any(what) and not self.text:
            raise ValueError("an entry without id, link, title and text")
        return f"hash:{content_revision(*what, None if any(what) else self.text)}"

    def _kind(self) -> Literal["post", "comment"]:
        if self.config.kind != "auto":
            return self.config.kind
        below = self.link is not None and _COMMENT.fullmatch(urldefrag(self.link).fragment) is not None
        return "comment" if below or self._parent() else "post"

    def _parent(self) -> str | None:
        """What it answers (RFC 4685)."""
        given = self.entry.get("thr_in-reply-to")
        ref = given.get("ref") if isinstance(given, Mapping) else None
        return short(ref) if isinstance(ref, str) and ref else None

    def _root(self, kind: str, id: str) -> str | None:
        """A post begins a thread; a comment without a word of what it answers belongs to the page it stands on."""
        if kind == "post":
            return id
        return short(urldefrag(self.link).url) if self.link and urldefrag(self.link).fragment else None

    def _content(self) -> tuple[str | None, str]:
        """HTML, where there is some, and the text."""
        contents = [one for one in self.entry.get("content") or () if isinstance(one, Mapping) and one.get("value")]
        detail = self.entry.get("summary_detail")
        if isinstance(detail, Mapping) and detail.get("value"):
            contents.append(detail)
        best = next((one for one in contents if "html" in str(one.get("type"))), contents[0] if contents else None)
        if best is None:
            return None, str(self.entry.get("summary") or "").strip()
        value = str(best["value"])
        if "html" not in str(best.get("type")):
            return None, value.strip()
        return value, as_text(value)

    def _title(self) -> str | None:
        detail = self.entry.get("title_detail")
        if not isinstance(detail, Mapping):
            return None
        value = str(detail.get("value") or "")
        text = as_text(value) if "html" in str(detail.get("type")) else value
        return " ".join(text.split()) or None

    def _author(self, id: str) -> Author:
        """Who wrote it. Anybody may write under any name, unless the site is said to know its authors."""
        detail = self.entry.get("author_detail")
        detail = detail if isinstance(detail, Mapping) else {}
        name = str(detail.get("name") or self.entry.get("author") or "").strip() or None
        url = _web(detail.get("href"))
        known = (url or name) if self.config.verified_authors else None
        return Author(external_id=short(f"author:{known}" if known else f"author-of:{id}"), name=name, url=url)

    def _own(self, kind: str) -> bool:
        """Whether the brand wrote it itself."""
        if self.config.own_posts and kind == "post":
            return True
        detail = self.entry.get("author_detail")
        detail = detail if isinstance(detail, Mapping) else {}
        names = {str(one).strip().casefold() for one in (*detail.values(), self.entry.get("author")) if one}
        return any(own.strip().casefold() in names for own in self.config.own_authors)

    def _language(self) -> str | None:
        contents: Sequence[Any] = self.entry.get("content") or ()
        parts = (*contents, self.entry.get("summary_detail"), self.entry.get("title_detail"))
        found = [part.get("language") for part in parts if isinstance(part, Mapping)]
        for value in (*found, self.feed.get("language")):
            if isinstance(value, str) and _LANGUAGE.fullmatch(value.strip().replace("_", "-")):
                return value.strip().replace("_", "-")
        return None

    def _attachments(self) -> Iterator[Attachment]:
        seen: set[str] = set()
        for link in self.entry.get("links") or ():
            address = _web(link.get("href")) if isinstance(link, Mapping) and link.get("rel") == "enclosure" else None
            if address and address not in seen:
                seen.add(address)
                size = str(link.get("length") or "")
                number = int(size) if size.isascii() and size.isdigit() and len(size) < 16 else 0
                yield Attachment(url=address, media_type=link.get("type") or None, size=number or None)
        for address, alt in images_in(self.markup or "")[:_PICTURES]:
            if address not in seen:
                seen.add(address)
                yield Attachment(url=address, alt_text=alt)

    def _extra(self, *, undated: bool) -> dict[str, Any]:
        links = [one for one in self.entry.get("links") or () if isinstance(one, Mapping)]
        replies = next((one.get("href") for one in links if one.get("rel") == "replies"), None)
        tags = [one for one in self.entry.get("tags") or () if isinstance(one, Mapping)]
        found: dict[str, Any] = {
            "feed_title": self.feed.get("title") or None,
            "tags": [str(one["term"]) for one in tags if one.get("term")],
            "comments": _count(self.entry.get("slash_comments") or self.entry.get("thr_total")),
            "comments_feed": _web(self.entry.get("wfw_commentrss") or replies),
            "undated": undated or None,
        }
        return {key: clean(value) for key, value in found.items() if value not in (None, [], "")}


def _web(value: Any) -> str | None:
    """An address that a person can open."""
    if not isinstance(value, str) or len(value) > 2000:
        return None
    try:
        parts = urlsplit(value.strip())
    except ValueError:
        return None
    return value.strip() if parts.scheme in ("http", "https") and parts.netloc else None


def _count(value: Any) -> int | None:
    return int(value) if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() else None
