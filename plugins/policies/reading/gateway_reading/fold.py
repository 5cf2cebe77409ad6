"""Folding: the forms of a word that mean the same however it is written.

`fold` is asked about one written word, `unescape` about a whole text. A disguise is undone beside the plain reading,
not instead of it (`c0up0n` reads as itself and as `coupon`): an honest odd spelling still reads as what it is.
"""

from __future__ import annotations

import html
import re
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\U000e0000-\U000e01ef"
)
"""Characters that take no room, as the inside of a regular expression's class."""
MARKS = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
"""Combining marks that decorate Latin, Greek or Cyrillic letters, likewise."""

_INVISIBLE = re.compile(f"[{INVISIBLE}]")
_MARKS = re.compile(f"[{MARKS}]")
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});")
_REPEATED = re.compile(r"(.)\1{2,}")
_LATIN_NAME = re.compile(r"\b(?:LATIN|REGIONAL INDICATOR SYMBOL)\b.*\b(?:LETTER|CAPITAL) ([A-Z])\b")

_SPELT = {"ß": "ss", "ẞ": "ss", "æ": "ae", "œ": "oe", "þ": "th", "ı": "i", "ĳ": "ij"}
_LOOK_ALIKE = dict(
    zip(
        "авеёіїкмнорстухьѕјһԁԛԝѵӏгпиαβγεηικνορσςτυχωϲϳ",
        "abeeiikmhopctyxbsjhdqwvlrnuabyenikvopostuxwcj",
        strict=True,
    )
)
_LEET = {"0": "o", "1": "il", "3": "e", "4": "a", "5": "s", "7": "t", "8": "b", "@": "a", "$": "s", "!": "i", "|": "il"}
_LEET |= {"€": "e", "£": "l", "*": "aeiou"}
VARIANTS = 32
"""At most this many readings of one written word."""


@dataclass(frozen=True, slots=True)
class Folded:
    """How one written word reads."""

    accented: str
    """Lower case, composed, accents kept: tells `sí` from `si`."""
    forms: tuple[str, ...]
    """The plain form without accents first, then what it may disguise."""


def _letter(character: str) -> str:
    """One character in lower case without accents or decoration; a letter of another script stays what it is."""
    if character < "\x80":
        return character.lower()
    if spelt := _SPELT.get(character):
        return spelt
    plain = _MARKS.sub("", unicodedata.normalize("NFKD", character))
    if plain.isascii() and plain:
        return plain.lower()
    if found := _LATIN_NAME.search(unicodedata.name(character, "")):
        return found[1].lower()
    return plain.casefold()


def _disguised(form: str) -> list[str]:
    """What a word with digits or symbols among its letters may stand for."""
    letters = sum(character.isalpha() for character in form)
    places = [index for index, character in enumerate(form) if character in _LEET]
    if not places or letters < 2 or len(places) > letters:
        return []
    written = [index for index, character in enumerate(form) if character.isalpha()]
    if not any(written[0] < index < written[-1] for index in places):
        return []  # `20eur`, `mp3`: a number and a word, nothing hidden
    choices = [_LEET.get(character, character) for character in form]
    return ["".join(choice) for choice, _ in zip(product(*choices), range(VARIANTS), strict=False)]


def _squeezed(form: str) -> list[str]:
    """`freeee` as `free` and `fre`: nobody knows how many letters the writer would have kept."""
    if not _REPEATED.search(form) or form.isdigit():
        return []
    return [_REPEATED.sub(r"\1", form), _REPEATED.sub(r"\1\1", form)]


@lru_cache(maxsize=65_536)
def fold(written: str) -> Folded:
    """The forms of one written word, without surrounding punctuation."""
    visible = _INVISIBLE.sub("", written)
    accented = unicodedata.normalize("NFKC", visible).casefold()
    form = _MARKS.sub("", "".join(map(_letter, unicodedata.normalize("NFC", visible))))
    forms = [form]
    if not form.isascii() and any(character in _LOOK_ALIKE for character in form):
        mapped = "".join(_LOOK_ALIKE.get(character, character) for character in form)
        if mapped.isascii():
            forms.append(mapped)
    for each in tuple(forms):
        forms += _disguised(each)
    for each in tuple(forms):
        forms += _squeezed(each)
    return Folded(accented, tuple(dict.fromkeys(forms))[:VARIANTS])


def bare(text: str) -> str:
    """Lower case without accents, for words of a language pack."""
    return fold(text).forms[0]


class Offsets:
    """Where the characters of an unescaped text stand in the original."""

    __slots__ = ("_ends", "_shifts", "_starts")

    def __init__(self) -> None:
        self._starts: list[int] = [0]
        self._shifts: list[int] = [0]
        self._ends: dict[int, int] = {}

    def replaced(self, at: int, length: int, start: int, end: int) -> None:
        """The characters `at` to `at + length` stand for `start` to `end` of the original."""
        for position in range(at, at + length):
            self._starts.append(position)
            self._shifts.append(start - position)
            self._ends[position] = end
        self._starts.append(at + length)
        self._shifts.append(end - at - length)

    def start(self, position: int) -> int:
        """The original offset of the character at this position."""
        return position + self._shifts[bisect_right(self._starts, position) - 1]

    def end(self, position: int) -> int:
        """The original offset after the last character before this position."""
        last = position - 1
        return self._ends[last] if last in self._ends else self.start(last) + 1


def unescape(text: str) -> tuple[str, Offsets | None]:
    """The text with its HTML entities read, and the way back to its own offsets where there were any."""
    if "&" not in text:
        return text, None
    parts: list[str] = []
    offsets = Offsets()
    length = cursor = 0
    for match in _ENTITY.finditer(text):
        meant = html.unescape(match[0])
        if meant == match[0] or not meant:
            continue
        before = text[cursor : match.start()]
        length += len(before)
        offsets.replaced(length, len(meant), match.start(), match.end())
        length += len(meant)
        cursor = match.end()
        parts += (before, meant)
    if not parts:
        return text, None
    return "".join((*parts, text[cursor:])), offsets
