"""Agents' Markdown as the plain text that they meant, and others' plain text as Markdown that does nothing: Chatwoot's
editor writes CommonMark, and its dashboard renders every message as such."""

from __future__ import annotations

import re
from collections.abc import Iterable

from markdown_it import MarkdownIt
from markdown_it.token import Token

_BRACKET = re.compile(r"\\*\[")
_TAG = re.compile(r"\\*<(?=[a-zA-Z/!?])")
_NO_HTML = {"html": False, "linkify": False, "typographer": False}


def as_markdown(text: str) -> str:
    """What customers wrote, as it will be rendered: without links that say another address than they lead to, pictures
    that tell their host who reads, and markup. What has none of these stays as it is."""
    if any(mark in text for mark in ("](", "][", "]:")):
        text = _BRACKET.sub(_escaped, text)
    return _TAG.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    """A backslash before it counts only if those that stand there already are doubled."""
    return "\\" * (2 * len(found[0]) - 1) + found[0][-1]


def as_text(markdown: str) -> str:
    """The text that a reader sees: without emphasis and escapes, links with their address, lists with their marks.

    What is no Markdown stays as it is. Chatwoot's editor escapes what would be some (`1\\.`, `\\*`), and writes a line
    break as a backslash at the line's end.
    """
    parser = MarkdownIt("commonmark", _NO_HTML).enable("strikethrough")
    # a line that agents begin with four blanks is no program code, and one under `---` no heading
    parser.disable(["code", "lheading", "reference"])
    return _Writer().write(parser.parse(markdown.replace("\r\n", "\n")))


class _Writer:
    def __init__(self) -> None:
        self._parts: list[str] = []
        self._lists: list[int | None] = []
        self._mark = ""
        self._in_list = False

    def write(self, tokens: Iterable[Token]) -> str:
        for token in tokens:
            match token.type:
                case "inline":
                    self._block(_inline(token.children or []))
                case "fence":
                    self._block(token.content.rstrip("\n"))
                case "hr":
                    self._block("---")
                case "bullet_list_open":
                    self._lists.append(None)
                case "ordered_list_open":
                    self._lists.append(int(token.attrGet("start") or 1))
                case "bullet_list_close" | "ordered_list_close":
                    self._lists.pop()
                case "list_item_open":
                    self._item()
        return "".join(self._parts).strip()

    def _item(self) -> None:
        at = self._lists[-1]
        if at is not None:
            self._lists[-1] = at + 1
        self._mark = "  " * (len(self._lists) - 1) + ("- " if at is None else f"{at}. ")

    def _block(self, text: str) -> None:
        """A blank line stands between blocks, none between the items of a list."""
        if self._parts:
            self._parts.append("\n" if self._mark and self._in_list else "\n\n")
        self._parts.append(self._mark + text)
        self._mark, self._in_list = "", bool(self._lists)


def _inline(tokens: Iterable[Token]) -> str:
    parts: list[str] = []
    links: list[tuple[str, int]] = []
    for token in tokens:
        match token.type:
            case "text" | "code_inline":
                parts.append(token.content)
            case "softbreak" | "hardbreak":
                parts.append("\n")
            case "link_open":
                links.append((str(token.attrGet("href") or ""), len(parts)))
            case "link_close" if links:
                address, start = links.pop()
                label = "".join(parts[start:]).strip()
                if address.removeprefix("mailto:").rstrip("/") != label.rstrip("/"):
                    parts.append(f" ({address})" if label else address)
            case "image":
                address = str(token.attrGet("src") or "")
                parts.append(f"{token.content} ({address})" if token.content else address)
    return "".join(parts)
