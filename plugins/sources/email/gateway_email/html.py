"""A mail's HTML as the text that a reader sees, and where in it the history begins."""

from __future__ import annotations

import re
from html.parser import HTMLParser

QUOTE = "\x02"
"""Stands in the text where a mail program marked that what follows is quoted history."""
MOST_TAGS = 60_000
_BLOCKS = frozenset(
    {"p", "div", "li", "tr", "blockquote", "pre", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table", "hr"}
)
_SPACED = frozenset({"p", "ul", "ol", "blockquote", "pre", "table", "h1", "h2", "h3", "h4", "h5", "h6"})
_UNSEEN = frozenset({"script", "style", "head", "title", "noscript", "template"})
_HISTORY_CLASSES = frozenset(
    {"gmail_quote", "gmail_quote_container", "gmail_attr", "yahoo_quoted", "moz-cite-prefix", "protonmail_quote"}
    | {"tutanota_quote", "zmail_extra", "gmx_quote", "ms-outlook-mobile-reference-message"}
)
_HISTORY_IDS = frozenset({"divrplyfwdmsg", "appendonsend", "mail-editor-reference-message-container", "reply-intro"})
_OUTLOOK_LINE = re.compile(r"border:\s*none;\s*border-top:\s*solid\s+#(?:e1e1e1|b5c4df)")


def html_text(markup: str) -> str:
    """The text: a line for each block, a blank one round paragraphs, links with their address. Where a mail program
    marks its history (Gmail, Outlook, Thunderbird, Yahoo, Apple Mail, Proton) stands `QUOTE`."""
    reader = _Reader()
    try:
        reader.feed(_tame(markup.replace(QUOTE, "")))
        reader.close()
    except (_Enough, AssertionError):
        pass
    text = "".join(reader.parts).replace("\xa0", " ").replace("\u200b", "").replace("\ufeff", "")
    lines = (re.sub(r"[ \t\f\v]+", " ", line).strip(" ") for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n ")


def _tame(markup: str) -> str:
    """The same without comments and declarations, and without brackets that open nothing: on these the standard
    library's parser takes quadratic time."""
    found: list[str] = []
    at = 0
    while (start := markup.find("<!", at)) >= 0:
        found.append(markup[at:start])
        end = "-->" if markup.startswith("<!--", start) else ">"
        closed = markup.find(end, start + 2)
        if closed < 0:
            at = len(markup)
            break
        at = closed + len(end)
    found.append(markup[at:])
    plain = re.sub(r"<(?![a-zA-Z/])", "&lt;", "".join(found))
    whole, closing, rest = plain.rpartition(">")
    return whole + closing + rest.replace("<", "&lt;")


class _Enough(Exception):
    """There are more tags than anybody reads."""


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._tags = 0
        self._unseen = 0
        self._links: list[tuple[str, int]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tags += 1
        if self._tags > MOST_TAGS:
            raise _Enough
        if tag in _UNSEEN:
            self._unseen += 1
            return
        given = dict(attrs)
        if _is_history(tag, given):
            self.parts.append(f"\n{QUOTE}\n")
        if tag == "br":
            self.parts.append("\n")
        elif tag in _BLOCKS:
            self._break(tag)
            if tag == "li":
                self.parts.append("- ")
        elif tag == "a" and len(self._links) < 20:
            self._links.append((given.get("href") or "", len(self.parts)))

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNSEEN:
            self._unseen = max(0, self._unseen - 1)
        elif tag in _BLOCKS:
            self._break(tag)
        elif tag == "a" and self._links:
            address, start = self._links.pop()
            label = "".join(self.parts[start:]).strip()
            if address.startswith(("http://", "https://")) and address.rstrip("/") != label.rstrip("/"):
                self.parts.append(f" ({address[:2000]})" if label else address[:2000])

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.parts.append(re.sub(r"\s+", " ", data))

    def _break(self, tag: str) -> None:
        if not self.parts:
            return
        written = "".join(self.parts[-3:]).rstrip(" ")
        if not written.endswith("\n"):
            self.parts.append("\n")
        if tag in _SPACED and not written.endswith("\n\n"):
            self.parts.append("\n")


def _is_history(tag: str, attrs: dict[str, str | None]) -> bool:
    classes = set((attrs.get("class") or "").lower().split())
    return (
        bool(classes & _HISTORY_CLASSES)
        or (attrs.get("id") or "").lower() in _HISTORY_IDS
        or (tag == "blockquote" and (attrs.get("type") or "").lower() == "cite")
        or (tag == "div" and _OUTLOOK_LINE.search((attrs.get("style") or "").lower()) is not None)
    )
