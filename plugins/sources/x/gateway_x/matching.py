"""Whether a post that X shows is the text that we sent: X shortens links, escapes, and may put names before a reply."""

from __future__ import annotations

import re
import unicodedata

from gateway_schemas.length import without_leading_mentions
from gateway_x.payloads import Entities
from gateway_x.posts import plain_text

_SHORT_LINK = re.compile(r"https?://t\.co/[A-Za-z0-9]+")
_OWN_MEDIA = re.compile(r"https://(?:x|twitter)\.com/\w+/status/\d+/(?:photo|video)/\d+")
_SCHEME = re.compile(r"https?://", re.IGNORECASE)


def same_text(sent: str, shown: str, entities: Entities) -> bool:
    """Compare word by word. A short link stands for what X says it stands for, or else for any one address.

    A link to the post's own pictures, which X puts at its end, was not written by anybody.
    """
    expanded = {
        link.url: "" if _OWN_MEDIA.fullmatch(link.expanded_url) else link.expanded_url
        for link in entities.urls
        if link.expanded_url
    }
    ours = _words(sent)
    theirs = _words(_SHORT_LINK.sub(lambda link: expanded.get(link.group(), link.group()), plain_text(shown)))
    return len(ours) == len(theirs) and all(map(_same_word, ours, theirs))


def _words(text: str) -> list[str]:
    return without_leading_mentions(unicodedata.normalize("NFC", text)).split()


def _same_word(own: str, other: str) -> bool:
    if own == other or _address(own) == _address(other):
        return True
    unknown = _SHORT_LINK.search(other)
    if unknown is None:
        return False
    before, after = other[: unknown.start()], other[unknown.end() :]
    return len(own) > len(before) + len(after) and own.startswith(before) and own.endswith(after)


def _address(word: str) -> str:
    """A word without what X adds to the addresses in it: a scheme, a final slash, a lower-case host."""
    host, slash, path = _SCHEME.sub("", word).partition("/")
    return (host.lower() + slash + path).rstrip("/") if "." in host else word
