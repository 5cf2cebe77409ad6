"""What an answer would tell the public that only the private leg knows: numbers, references, addresses, amounts, names.

Language-free and deterministic: it knows the shapes of what identifies people and orders, and no words. It misses what
has no such shape; policies with a language look further. Each pattern reads a text in linear time.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Literal

Shape = Literal["e-mail address", "number", "reference", "amount", "name"]

CODES = frozenset(
    {
        *("AED", "ARS", "AUD", "BGN", "BRL", "CAD", "CHF", "CLP", "CNY", "COP", "CZK", "DKK", "EGP", "EUR", "GBP"),
        *("HKD", "HUF", "IDR", "ILS", "INR", "JPY", "KRW", "MAD", "MXN", "MYR", "NGN", "NOK", "NZD", "PEN", "PHP"),
        *("PKR", "PLN", "RON", "RSD", "RUB", "SAR", "SEK", "SGD", "THB", "TRY", "TWD", "UAH", "USD", "VND", "ZAR"),
    }
)
"""Codes of ISO 4217 by which amounts are written; symbols are known by their Unicode category."""
TAIL = 7
"""Long numbers are compared by so many last digits: country codes and leading zeros come and go."""

_EMAIL = re.compile(r"[\w.+-]{1,64}@(?:[\w-]{1,63}\.)+[\w-]{2,63}")
_RUN = re.compile(r"\+?\d(?:[ .()/\-]{0,2}\d)*")
_DIGITS = re.compile(r"\d+")
_REFERENCE = re.compile(r"[^\W_]+(?:[-/_.#][^\W_]+)*")
_NUMBER = re.compile(r"\d+(?:[.,'’ ]\d+)*")
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


@dataclass(frozen=True)
class Leak:
    """Words of an answer that stand nowhere in public. Offsets are code points into the answer."""

    shape: Shape
    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Known:
    """What one side of a matter has said: texts, and the names people go by there."""

    texts: Sequence[str] = ()
    names: Sequence[str] = ()


def private_only(answer: str, public: Known, private: Known) -> list[Leak]:
    """What of the private side an answer repeats that the public side has not, in order of appearance."""
    said = list(_tokens(answer, strictly=False))
    mine = {key for key, _, _ in said}
    words = [match for match in _WORD.finditer(answer) if not match[0][0].islower()]
    secret = {f"name:{word}" for word in _names(private)} & {f"name:{match[0].casefold()}" for match in words}
    if mine:  # only what the answer has can be found in it, and most answers have nothing of the kind
        secret |= {key for text in private.texts for key, _, _ in _tokens(text, strictly=True)} & mine
    if not secret:
        return []
    told = {key for text in (*public.texts, *public.names) for key, _, _ in _tokens(text, strictly=False)}
    told |= {f"name:{word}" for text in (*public.texts, *public.names) for word in _words(text)}
    secret -= told
    found: dict[tuple[int, int], Leak] = {}
    for key, start, end in said:
        if key in secret:
            found[(start, end)] = Leak(_shape(key), start, end, answer[start:end])
    for match in words:
        if f"name:{match[0].casefold()}" in secret:
            found.setdefault(match.span(), Leak("name", *match.span(), match[0]))
    # the longest of overlapping spans says it all
    leaks: list[Leak] = []
    for one in sorted(found.values(), key=lambda leak: (leak.start, -leak.end)):
        if not leaks or one.end > leaks[-1].end:
            leaks.append(one)
    return leaks


def _shape(key: str) -> Shape:
    shapes: dict[str, Shape] = {"mail": "e-mail address", "ref": "reference", "sum": "amount", "digits": "number"}
    return shapes[key.partition(":")[0]]


def _tokens(text: str, *, strictly: bool) -> Iterator[tuple[str, int, int]]:
    """Keys of what identifies, with where it stands. Not `strictly`: also what only looks the same as such a thing."""
    plain, at = _plain(text)

    def place(key: str, start: int, end: int) -> tuple[str, int, int]:
        return key, at[start], at[end - 1] + 1

    for match in _EMAIL.finditer(plain):
        yield place(f"mail:{match[0].casefold()}", *match.span())
    for run in _RUN.finditer(plain):
        joined = "".join(_DIGITS.findall(run[0]))
        if len(joined) >= TAIL:
            yield place(f"digits:{joined[-TAIL:]}", *run.span())
    for match in _DIGITS.finditer(plain):
        if len(match[0]) >= 4:
            yield place(f"digits:{match[0][-TAIL:]}", *match.span())
    for match in _REFERENCE.finditer(plain):
        letters = "".join(filter(str.isalnum, match[0])).upper()
        digits = sum(one.isdigit() for one in letters)
        if digits >= 2 and len(letters) > digits and len(letters) >= 5:
            yield place(f"ref:{letters}", *match.span())
            if digits >= TAIL:
                yield place(f"digits:{''.join(filter(str.isdigit, letters))[-TAIL:]}", *match.span())
    for match in _NUMBER.finditer(plain):
        value = _value(match[0])
        money = _is_money(plain, *match.span())
        if money or (not strictly and (value != value.to_integral_value() or value >= 100)):
            yield place(f"sum:{value.normalize():f}", *match.span())


def _value(number: str) -> Decimal:
    """`1.234,5`, `1,234.50` and `1'234` as numbers: one or two digits after the last mark are decimals."""
    digits = [part for part in re.split(r"[.,'’ ]", number) if part]
    marks = re.findall(r"[.,'’ ]", number)
    if marks and marks[-1] in ".," and len(digits[-1]) <= 2:
        return Decimal(f"{''.join(digits[:-1])}.{digits[-1]}")
    return Decimal("".join(digits))


def _is_money(plain: str, start: int, end: int) -> bool:
    before, after = plain[max(0, start - 4) : start].rstrip(), plain[end : end + 5].lstrip(" ,-")
    if (before and unicodedata.category(before[-1]) == "Sc") or (after and unicodedata.category(after[0]) == "Sc"):
        return True
    return before[-3:].upper() in CODES or after[:3].upper() in CODES


def _names(side: Known) -> set[str]:
    """Words of people's names: those they go by, and those they sign with below a closing that ends in a comma."""
    words = {word for name in side.names for word in _words(name)}
    for text in side.texts:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        for above, line in pairwise(lines[-2:]):
            parts = line.split()
            if above.endswith(",") and len(parts) <= 4 and all(_is_name(part) for part in parts):
                words |= _words(line)
    return words


def _is_name(word: str) -> bool:
    return word[0].isalpha() and not word[0].islower() and not any(one.isdigit() for one in word)


def _words(text: str) -> set[str]:
    return {match[0].casefold() for match in _WORD.finditer(text) if len(match[0]) >= 3}


def _plain(text: str) -> tuple[str, list[int]]:
    """The text without look-alike digits, wide letters and invisible characters, and where each character was."""
    plain: list[str] = []
    at: list[int] = []
    for index, one in enumerate(text):
        if unicodedata.category(one) == "Cf":
            continue
        decimal = unicodedata.decimal(one, None)
        for part in str(decimal) if decimal is not None else unicodedata.normalize("NFKC", one):
            plain.append(part)
            at.append(index)
    return "".join(plain), at
