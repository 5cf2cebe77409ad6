"""The length of a text as the provider that is to publish it counts it.

Every function takes any `str`. A lone surrogate, which no provider accepts, counts as one code point, one grapheme, one
UTF-16 unit, three UTF-8 bytes (as U+FFFD would) and a weight of two.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any

import regex

from gateway_schemas.urls import MASTODON_RULES, X_RULES, find_urls


class Counting(StrEnum):
    """What a provider's limit counts."""

    weighted_x = "weighted_x"
    """twitter-text, version 3: `weighted_x_length`."""
    code_points = "code_points"
    utf16_units = "utf16_units"
    utf8_bytes = "utf8_bytes"
    graphemes = "graphemes"
    """Extended grapheme clusters: what a reader takes for one character (Bluesky, Mastodon)."""


def length(text: str, counting: Counting, *, reserved_url: int | None = None, short_mentions: bool = False) -> int:
    """Count `text` in the units of `counting`; called when a reply is rendered.

    With `reserved_url` every URL counts that many units, whatever its own length: on X instead of 23, elsewhere as
    Mastodon finds URLs, with `http(s)://` only (`configuration.statuses.characters_reserved_per_url`).
    With `short_mentions` an address `@name@host` counts as `@name`, as on Mastodon.
    """
    if counting is Counting.weighted_x:
        rules = XRules() if reserved_url is None else XRules(url=reserved_url)
        return weigh_x(text, rules).length
    if reserved_url is not None:
        pieces, done = [], 0
        for url in find_urls(text, MASTODON_RULES):
            pieces += [_shortened(text[done : url.start], short_mentions), "x" * reserved_url]
            done = url.end
        text = "".join([*pieces, _shortened(text[done:], short_mentions)])
    else:
        text = _shortened(text, short_mentions)
    match counting:
        case Counting.code_points:
            return len(text)
        case Counting.utf16_units:
            return len(text) + sum(map(len, _ASTRAL.findall(text)))
        case Counting.utf8_bytes:
            return len(text.encode("utf-8", "surrogatepass"))
        case Counting.graphemes:
            return _graphemes(text)


_ASTRAL = re.compile("[\U00010000-\U0010ffff]+")
_GRAPHEME = regex.compile(r"\X")
_FLAG = re.compile("[\U0001f1e6-\U0001f1ff]{1,2}")
_ADDRESS = re.compile(r"(?<![=/\w])(@[A-Za-z0-9_]++(?:[.-]++[A-Za-z0-9_]++)*+)@\w++(?:[.-]++\w++)*+")


def _graphemes(text: str) -> int:
    # Two regional indicators are one cluster. `\X` counts them anew from each one, which takes quadratic time in a row
    # of them, and any other letter stands for the pair just as well.
    return sum(1 for _ in _GRAPHEME.finditer(_FLAG.sub("x", text)))


def _shortened(text: str, wanted: bool) -> str:
    return _ADDRESS.sub(r"\1", text) if wanted else text


@dataclass(frozen=True, slots=True)
class XRules:
    """How X weighs a post: the defaults are twitter-text's configuration 3. A Premium account has a greater limit."""

    limit: int = 280
    url: int = 23
    wide: int = 2
    """What a code point weighs that is none of the narrow ones: Latin, Greek, Cyrillic, Arabic, … and punctuation."""
    emoji_as_one: bool = True
    """Whether an emoji weighs `wide` however many code points it has; else each of them weighs for itself."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """What X makes of a text. `fits` is how many code points of its NFC form come before the first that is too much."""

    length: int
    valid: bool
    fits: int


def weighted_x_length(text: str) -> int:
    """The weighted length of a post as X counts it: 280 is the limit of an ordinary account."""
    return weigh_x(text).length


def weigh_x(text: str, rules: XRules | None = None) -> Weighed:
    """Weigh a post as X does and say whether it may be sent, for a message that shows where it gets too long.

    The text is normalised to NFC; every URL weighs the same. A text is not valid when it is empty, too long or has a
    code point X refuses: U+FEFF, U+FFFE, U+FFFF.
    """
    rules = rules or XRules()
    text = unicodedata.normalize("NFC", text)
    entities = [(url.start, url.end, rules.url) for url in find_urls(text, X_RULES)]
    if rules.emoji_as_one:
        # No URL starts where an emoji does; one that starts within the other is passed over below.
        entities = sorted(entities + [(start, end, rules.wide) for start, end in _emoji(text)])
    weight = done = fits = 0
    for start, end, own in [*entities, (len(text), len(text), 0)]:
        if start < done:
            continue
        plain = text[done:start]
        if weight <= rules.limit:
            fits = done + _fitting(plain, rules.limit - weight, rules.wide)
        weight += _weight(plain, rules.wide) + own
        if weight <= rules.limit:
            fits = end
        done = end
    refused = _REFUSED.search(text)
    return Weighed(
        length=weight,
        valid=refused is None and 0 < weight <= rules.limit,
        fits=min(fits, refused.start()) if refused else fits,
    )


_WIDE = re.compile("[^\u0000-\u10ff\u2000-\u200d\u2010-\u201f\u2032-\u2037]+")
_REFUSED = re.compile("[\ufeff\ufffe\uffff]")
_JOINED = re.compile("(?s:.)(?=[\ufe0f\u200d\u20e3\U0001f1e6-\U0001f1ff\U0001f3fb-\U0001f3ff\U000e0061-\U000e007a])")


def _weight(text: str, wide: int) -> int:
    return len(text) + (wide - 1) * sum(map(len, _WIDE.findall(text)))


def _fitting(text: str, limit: int, wide: int) -> int:
    """How many code points from the start weigh `limit` at most."""
    if len(text) * wide <= limit:
        return len(text)
    done = 0
    for run in _WIDE.finditer(text):
        start, end = run.span()
        if start - done > limit:
            break
        limit -= start - done
        if (end - start) * wide > limit:
            return start + limit // wide
        limit -= (end - start) * wide
        done = end
    return min(len(text), done + limit)


def _emoji(text: str) -> list[tuple[int, int]]:
    """Where the emoji of several code points are; those of one weigh what other characters of their range do."""
    found: list[tuple[int, int]] = []
    done = 0
    for match in _JOINED.finditer(text):
        start = match.start()
        if start < done:
            continue
        node: Any = _emoji_tree()
        for index in range(start, len(text)):
            node = node.get(text[index])
            if node is None:
                break
            if "" in node:
                done = index + 1
        if done > start:
            found.append((start, done))
    return found


@cache
def _emoji_tree() -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for line in files(__package__).joinpath("data", "emoji.txt").read_text("ascii").splitlines():
        for listed in () if line.startswith("#") else line.split():
            for tone in ("1f3fb", "1f3fc", "1f3fd", "1f3fe", "1f3ff") if "T" in listed else ("",):
                node = tree
                for code in listed.replace("T", tone).split("-"):
                    node = node.setdefault(chr(int(code, 16)), {})
                node[""] = True
    return tree


_LEADING_MENTIONS = re.compile(r"(?:\s*+[@\uff20][A-Za-z0-9_]{1,20}+(?:\s++|\Z))++")


def without_leading_mentions(text: str) -> str:
    """The text of a reply without the @names it starts with: on X those of the conversation do not count."""
    match = _LEADING_MENTIONS.match(text)
    return text[match.end() :] if match else text
