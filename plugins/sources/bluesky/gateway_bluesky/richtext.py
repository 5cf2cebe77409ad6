"""Facets of an answer: which stretches of its text are links, mentions and tags, counted in UTF-8 bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from gateway_schemas.length import Counting, length
from gateway_schemas.urls import X_RULES, find_urls

_MENTION = re.compile(r"(?<![\w@./-])@((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]{0,61})")
_TAG = re.compile(r"(?<![^\s(])[#＃]([^\s#＃\u00ad\u2060\u200a-\u200d\u20e2]*[^\d\s\W][^\s#＃]*)")
_TAIL = ".,;:!?…)]}'\"»"
_LONGEST_TAG = 64
_TYPE = "app.bsky.richtext.facet"


def facets(text: str, handles: Mapping[str, str]) -> list[dict[str, Any]]:
    """The facets of a text, in its order and without overlaps, as app.bsky.richtext.facet has them.

    A link without a scheme gets `https://`. A mention needs the identifier of its handle; one that is not among
    `handles` stays plain text, and so does a tag of more than 64 graphemes.
    """
    offsets = _Offsets(text)
    found: list[tuple[int, int, dict[str, Any]]] = []
    for start, end, feature in sorted(_stretches(text, handles), key=lambda one: (one[0], -one[1])):
        if not found or start >= found[-1][1]:
            found.append((start, end, feature))
    return [
        {"index": {"byteStart": offsets[start], "byteEnd": offsets[end]}, "features": [feature]}
        for start, end, feature in found
    ]


def _stretches(text: str, handles: Mapping[str, str]) -> Iterator[tuple[int, int, dict[str, Any]]]:
    for url in find_urls(text, X_RULES):
        uri = url.text if "://" in url.text else f"https://{url.text}"
        yield url.start, url.end, {"$type": f"{_TYPE}#link", "uri": uri}
    for match in _MENTION.finditer(text):
        did = handles.get(match[1].lower())
        if did is not None:
            yield match.start(), match.end(), {"$type": f"{_TYPE}#mention", "did": did}
    for match in _TAG.finditer(text):
        tag = match[1].rstrip(_TAIL)
        if tag and length(tag, Counting.graphemes) <= _LONGEST_TAG:
            yield match.start(), match.start(1) + len(tag), {"$type": f"{_TYPE}#tag", "tag": tag}


class _Offsets:
    """Where each character of a text begins in its UTF-8 bytes."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at, self._bytes = 0, 0

    def __getitem__(self, index: int) -> int:
        if index < self._at:
            self._at = self._bytes = 0
        self._bytes += len(self._text[self._at : index].encode("utf-8", "surrogatepass"))
        self._at = index
        return self._bytes
