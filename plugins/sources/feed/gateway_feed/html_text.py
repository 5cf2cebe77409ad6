"""HTML as the plain text that a reader sees, and the pictures in it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_SPACED = frozenset({"p", "ul", "ol", "blockquote", "pre", "table", "h1", "h2", "h3", "h4", "h5", "h6"})
_BLOCKS = _SPACED | {"div", "li", "tr", "figure", "figcaption", "section", "article", "dt", "dd", "hr"}
_UNSEEN = frozenset({"script", "style", "head", "title", "template", "noscript"})
_ADDRESS = re.compile(r"https?://\S+")


def as_text(markup: str) -> str:
    """A line for each block, a blank one round paragraphs, `>` before quotations, links with their address."""
    reader = _read(markup)
    lines = (re.sub(r"[ \t\f\v\r]+", " ", line).strip() for line in "".join(reader.parts).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def images_in(markup: str) -> list[tuple[str, str | None]]:
    """The pictures that stand within the text: address and alternative text of each."""
    return _read(markup).images


def _read(markup: str) -> _Reader:
    reader = _Reader()
    reader.feed(markup)
    reader.close()
    return reader


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.images: list[tuple[str, str | None]] = []
        self._unseen = 0
        self._quoted = 0
        self._links: list[tuple[str, int]] = []
        self._tail = "\n\n"
        """The end of what was written, for breaks: nothing counts as a paragraph's end."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in _UNSEEN:
            self._unseen += 1
        elif tag == "br":
            self._write("\n")
        elif tag in _BLOCKS:
            self._break(tag)
            self._quoted += tag == "blockquote"
            if tag == "li":
                self._write("- ")
        elif tag == "img":
            address = given.get("src") or ""
            if _ADDRESS.fullmatch(address):
                self.images.append((address, given.get("alt") or None))
            if given.get("alt"):
                self._write(f"[{given['alt']}]")
        elif tag == "a":
            self._links.append((given.get("href") or "", len(self.parts)))

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNSEEN:
            self._unseen = max(0, self._unseen - 1)
        elif tag in _BLOCKS:
            self._break(tag)
            self._quoted = max(0, self._quoted - (tag == "blockquote"))
        elif tag == "a" and self._links:
            address, start = self._links.pop()
            label = "".join(self.parts[start:]).strip()
            if _ADDRESS.fullmatch(address) and address.rstrip("/") != label.rstrip("/"):
                self._write(f" ({address})" if label else address)

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            text = re.sub(r"\s+", " ", data)
            if text != " " or not self._tail.endswith("\n"):
                self._write(text)

    def _write(self, text: str) -> None:
        if self._quoted and self._tail.endswith("\n") and text.strip():
            text = "> " * min(self._quoted, 9) + text.lstrip()
        self.parts.append(text)
        self._tail = (self._tail + text)[-2:]

    def _break(self, tag: str) -> None:
        wanted = 2 if tag in _SPACED else 1
        missing = wanted - (len(self._tail) - len(self._tail.rstrip("\n")))
        if missing > 0:
            self._write("\n" * missing)
