"""Reading a feed's bytes: RSS 0.9 to 2.0 and Atom, in any encoding, also those that are not quite well-formed.

`feedparser` does the reading. It is given bytes and never an address, so it opens nothing; it loads no external entity.
Entities that a feed declares itself are refused, except short ones such as `&nbsp;`: nested or long ones make a small
feed an endless one.
"""

from __future__ import annotations

import contextlib
import io
import re
import xml.sax
from calendar import timegm
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

import feedparser

from gateway_schemas.errors import Malformed
from gateway_schemas.text import clean

_SHORT = 16
_ROOT = re.compile(rb"<\w")
_ENTITY = re.compile(rb"<!ENTITY", re.IGNORECASE)
_HARMLESS = re.compile(rb"<!ENTITY\s{1,20}\w{1,40}\s{1,20}([\"'])(?:&#x?[0-9A-Fa-f]{1,8};|[^&%\"'<]{0,16})\1\s{0,20}>")
_ENDS = re.compile(rb"</(?:\w{1,20}:)?(?:rss|feed|rdf|channel)\s{0,20}>\s*(?:<!--.{0,1000}-->\s*)?\Z", re.I | re.DOTALL)
_TOMBSTONE = "{http://purl.org/atompub/tombstones/1.0}deleted-entry"


@dataclass(frozen=True)
class Tombstone:
    """An entry that the feed says is gone (RFC 6721)."""

    ref: str
    when: datetime | None


@dataclass(frozen=True)
class Parsed:
    """A feed, read."""

    feed: Mapping[str, Any]
    entries: list[Mapping[str, Any]]
    tombstones: list[Tombstone]
    version: str
    cut_off: bool
    """Whether the document ends in its middle. What was broken off is not among the entries."""
    well_formed: bool


def parse(body: bytes, url: str, content_type: str | None = None, language: str | None = None) -> Parsed:
    """Read a feed. Raises Malformed when it is none, or declares entities."""
    plain = body.replace(b"\x00", b"")  # in every encoding that is in use, what matters here is ASCII without zeros
    if _declares_entities(body, plain):
        raise Malformed("the feed declares entities, which are not expanded", code="entities")
    headers = {"content-location": url}
    if content_type:
        headers["content-type"] = content_type
    if language:
        headers["content-language"] = language
    try:
        result = feedparser.parse(io.BytesIO(body), response_headers=headers)
    except (ValueError, LookupError, RecursionError, AssertionError) as error:
        # what the library lets through of hostile input
        raise Malformed(f"the feed cannot be read: {type(error).__name__}", code="not_a_feed") from error
    version = str(result.get("version") or "")
    entries = list(result["entries"])
    if not version and not entries:
        kind = (content_type or "no type").partition(";")[0]
        raise Malformed(f"this is neither RSS nor Atom ({kind}): look at the address", code="not_a_feed")
    cut_off = _ENDS.search(plain[-2000:]) is None
    return Parsed(
        feed=result["feed"],
        entries=entries[:-1] if cut_off else entries,
        tombstones=list(_tombstones(body, plain)),
        version=version,
        cut_off=cut_off,
        well_formed=not isinstance(result.get("bozo_exception"), xml.sax.SAXException),
    )


def _declares_entities(body: bytes, plain: bytes) -> bool:
    """Whether a document type declares more than short characters, as the parser sees it and as feedparser does.

    A parser that reads up to the first element cannot be misled by comments; the pattern sees what it cannot read.
    """
    root = _ROOT.search(plain)
    head = plain[: root.start()] if root else plain
    if len(_ENTITY.findall(head)) > len(_HARMLESS.findall(head)):
        return True
    found: list[bool] = []

    def declared(_: str, parameter: bool, value: str | None, *__: object) -> None:
        found.append(bool(parameter) or value is None or len(value) > _SHORT or "&" in value or "<" in value)

    def element(*_: object) -> None:
        raise StopIteration

    parser = expat.ParserCreate()
    parser.EntityDeclHandler = declared
    parser.StartElementHandler = element
    with contextlib.suppress(StopIteration, expat.ExpatError, ValueError, LookupError):
        parser.Parse(body, True)
    return any(found)


def _tombstones(body: bytes, plain: bytes) -> Iterator[Tombstone]:
    """Deleted entries, which feedparser keeps the last of only."""
    if b"deleted-entry" not in plain:
        return
    try:
        root = ElementTree.fromstring(body)
    except (ElementTree.ParseError, ValueError, LookupError):
        return
    for element in root.findall(_TOMBSTONE):
        ref, when = element.get("ref"), element.get("when")
        if ref:
            try:
                at = datetime.fromisoformat(when) if when else None
            except ValueError:
                at = None
            yield Tombstone(clean(ref), at if at is not None and at.tzinfo is not None else None)


def time_of(entry: Mapping[str, Any], name: str) -> datetime | None:
    """A date of an entry; None where it has none, or none that can be read. The library gives them in UTC."""
    if f"{name}_parsed" not in entry:  # asked this way it does not answer with another one
        return None
    value = entry[f"{name}_parsed"]
    try:
        return datetime.fromtimestamp(timegm(value), UTC) if value else None
    except (ValueError, OverflowError, OSError, TypeError):
        return None
