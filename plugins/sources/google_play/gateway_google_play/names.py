"""The ids we make of Google's: a review's with its app, and a reply's, which Google gives none."""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

_PACKAGE = r"[A-Za-z][A-Za-z0-9_]*(?:\.[A-Za-z][A-Za-z0-9_]*)+"
_REVIEW_ID = re.compile(r"(?!\.{1,2}$)[^/?#\s\x00-\x1f]{1,512}")
_REF = re.compile(rf"({_PACKAGE})/reviews/([^/]+)")
REPLY = "/reply#"


class ReviewRef(NamedTuple):
    """A review's external id in parts."""

    package: str
    id: str


def review_ref(package: str, id: str) -> str:
    """A review's external id. Raises ValueError for an id that could name something else in an address."""
    if _REVIEW_ID.fullmatch(id) is None:
        raise ValueError(f"{id[:80]!r} is no review's id")
    return f"{package}/reviews/{id}"


def read_ref(ref: str) -> ReviewRef | None:
    """A review's external id in parts; None when it is none."""
    match = _REF.fullmatch(ref)
    return ReviewRef(match[1], match[2]) if match and _REVIEW_ID.fullmatch(match[2]) else None


def reply_id(ref: str, text: str) -> str:
    """The external id of the reply with this text in a review's one slot.

    Another text is another reply, so that one that replaces ours is not taken for ours.
    """
    words = " ".join(text.split())
    return f"{ref}{REPLY}{hashlib.sha256(words.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def same_words(one: str, other: str) -> bool:
    """Whether two texts differ in white space at most."""
    return one.split() == other.split()
