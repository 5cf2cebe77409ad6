"""HTML as helpdesks keep what agents wrote, scripts included, read back as the plain text that was meant."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_BLOCKS = frozenset(
    {"p", "div", "li", "tr", "blockquote", "pre", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table"}
)
_SPACED = frozenset({"p", "ul", "ol", "blockquote", "pre", "table", "h1", "h2", "h3", "h4", "h5", "h6"})
_UNSEEN = frozenset({"script", "style", "head", "title"})


def as_text(markup: str) -> str:
    """The text that a reader sees: a line for each block, a blank one round paragraphs, links with their address.

    An answer is published with its lines.
    """
    reader = _Reader()
    reader.feed(markup)
    reader.close()
    lines = (
        re.sub(r"[ \t\f\v]+", " ", line).strip() for line in "".join(reader.parts).replace("\xa0", " ").split("\n")
    )
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def images_in(markup: str) -> list[tuple[str, str | None]]:
    """The pictures that stand within the text: address and alternative text of each."""
    reader = _Reader()
    reader.feed(markup)
    reader.close()
    return reader.images


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.images: list[tuple[str, str | None]] = []
        self._unseen = 0
        self._links: list[tuple[str, int]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _UNSEEN:
            self._unseen += 1
        elif tag == "br":
            self.parts.append("\n")
        elif tag in _BLOCKS:
            self._break(tag)
            if tag == "li":
                self.parts.append("- ")
        elif tag == "img":
            given = dict(attrs)
            address = given.get("src") or ""
            if address.startswith(("http://", "https://")):
                self.images.append((address, given.get("alt") or None))
        elif tag == "a":
            self._links.append((dict(attrs).get("href") or "", len(self.parts)))

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNSEEN:
            self._unseen = max(0, self._unseen - 1)
        elif tag in _BLOCKS:
            self._break(tag)
        elif tag == "a" and self._links:
            address, start = self._links.pop()
            label = "".join(self.parts[start:]).strip()
            if address.startswith(("http://", "https://")) and address.rstrip("/") != label.rstrip("/"):
                self.parts.append(f" ({address})" if label else address)

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.parts.append(re.sub(r"\s+", " ", data))

    def _break(self, tag: str) -> None:
        written = "".join(self.parts[-3:]).rstrip(" ")
        if not self.parts:
            return
        if not written.endswith("\n"):
            self.parts.append("\n")
        if tag in _SPACED and not written.endswith("\n\n"):
            self.parts.append("\n")
