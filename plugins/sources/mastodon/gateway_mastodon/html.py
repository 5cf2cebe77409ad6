"""The text of a post's HTML: what a reader sees, with links as they lead and not as they are shortened."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_BLOCKS = {"p", "div", "blockquote", "pre", "ul", "ol", "h1", "h2", "h3", "h4", "h5", "h6"}
_UNSEEN = {"script", "style", "head", "title", "template"}
_LONGEST = 100_000
"""Code points of HTML; servers cap posts far below. What is beyond is left out, and `[…]` says so."""


def html_to_text(html: str) -> str:
    """Paragraphs become paragraphs, `<br>` a new line, list items `- `.

    Mastodon hides a link's scheme and shortens it by CSS, so the anchor's whole text is the address; where the text is
    something else, as other servers allow, the address follows in parentheses. The paragraph `quote-inline` repeats
    the address of a quoted post for servers without quotes, and is left out. Never raises.
    """
    reader = _Reader()
    reader.feed(html[:_LONGEST])
    reader.close()
    lines = (re.sub(r"[ \t\r\f\v]+", " ", line).strip() for line in "".join(reader.pieces).split("\n"))
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
    return text if len(html) <= _LONGEST else f"{text}\n\n[…]"


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._unseen: list[str] = []
        self._anchor: tuple[str, bool, int] | None = None
        self._preformatted = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A tag opens."""
        given = dict(attrs)
        classes = (given.get("class") or "").split()
        if self._unseen == ["p"] and tag in _BLOCKS:
            self._unseen.clear()  # a paragraph ends where the next block begins
        if self._unseen:
            if tag == self._unseen[0]:
                self._unseen.append(tag)
            return
        if tag in _UNSEEN or "quote-inline" in classes:
            self._unseen.append(tag)
        elif tag == "br":
            self.pieces.append("\n")
        elif tag == "li":
            self.pieces.append("\n- ")
        elif tag in _BLOCKS:
            self._preformatted += tag == "pre"
            self.pieces.append("\n\n")
        elif tag == "a":
            named = bool({"mention", "hashtag"} & set(classes))
            self._anchor = (given.get("href") or "", named, len(self.pieces))

    def handle_endtag(self, tag: str) -> None:
        """A tag closes."""
        if self._unseen:
            if tag == self._unseen[-1]:
                self._unseen.pop()
        elif tag in _BLOCKS:
            self._preformatted = max(0, self._preformatted - (tag == "pre"))
            self.pieces.append("\n\n")
        elif tag == "a" and self._anchor is not None:
            href, named, start = self._anchor
            self._anchor = None
            shown = "".join(self.pieces[start:]).strip()
            if not named and href.startswith(("http://", "https://")) and not _same(shown, href):
                self.pieces.append(f" ({href})" if shown else href)

    def handle_data(self, data: str) -> None:
        """Text."""
        if not self._unseen:
            self.pieces.append(data if self._preformatted else re.sub(r"\s+", " ", data))


def _same(shown: str, href: str) -> bool:
    return _bare(shown) == _bare(href)


def _bare(url: str) -> str:
    return url.removeprefix("https://").removeprefix("http://").rstrip("/").lower()
