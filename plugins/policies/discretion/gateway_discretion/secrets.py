"""What is known of a customer only because they said it in private: names, numbers, addresses, amounts."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from gateway_schemas.decision import Case, Evidence

Kind = Literal["email", "reference", "amount", "name", "address"]

_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+")
_AMOUNT = re.compile(
    r"(?P<before>[$€£])\s?(?P<a>\d{1,3}(?:[.,\s]\d{3})*(?:[.,]\d{1,2})?|\d+(?:[.,]\d{1,2})?)(?!\d)"
    r"|(?<![\w.,])(?P<b>\d{1,3}(?:[.,]\d{3})*(?:[.,]\d{1,2})?|\d+(?:[.,]\d{1,2})?)\s?(?:€|\$|£|euros?\b|eur\b|usd\b|gbp\b"
    r"|dollars?\b|pounds?\b|reais\b|dólares\b|libras\b|chf\b)",
    re.IGNORECASE,
)
_REFERENCE = re.compile(
    r"(?<![\w@/.#])\+?\d[\d ()/.-]{5,24}\d(?!\w)"
    r"|(?<![\w@/.])[A-Z0-9]{1,24}(?:[-/][A-Z0-9]{1,24}){0,4}(?![\w@])"
)
_STREET = re.compile(
    r"\b\d{1,4}[a-z]?,? (?:[A-ZÀ-Ý][\w'’-]+ ){1,3}(?:Street|St|Road|Rd|Lane|Avenue|Ave|Drive|Close|Way|Court|Square)\b"
    r"|\b[A-ZÀ-Ý][\w'’-]*(?:straße|strasse|str\.|weg|platz|allee|gasse) ?\d{1,4}[a-z]?\b"
    r"|\b(?:[Rr]ue|[Aa]venue|[Cc]alle|[Aa]venida|[Rr]ua|[Vv]ia|[Vv]iale|[Pp]iazza|[Pp]laza|[Bb]oulevard|[Cc]hemin)"
    r"(?: (?:de|del|della|du|des|da|do|la|le|los|las))*(?: [A-ZÀ-Ý][\w'’-]+){1,3},? (?:n[º°.]? ?)?\d{1,4}\b"
)
_NAME = re.compile(
    r"(?:\b[Mm]y name is|\b[Tt]his is|\bI am|\bI'm|\b[Nn]ame:|\b[Mm]e llamo|\b[Ss]oy|\b[Mm]i nombre es|\b[Nn]ombre:"
    r"|\b[Jj]e m'appelle|\b[Jj]e suis|\b[Nn]om ?:|\b[Ii]ch heiße|\b[Ii]ch bin|\b[Mm]ein Name ist|\b[Nn]ame ist"
    r"|\b[Mm]eu nome é|\b[Cc]hamo-me|\b[Mm]e chamo|\b[Ss]ou (?:o|a)|\b[Nn]ome:|\b[Mm]i chiamo|\b[Ss]ono"
    r"|\b(?:Herr|Frau|Mr|Mrs|Ms|Sr|Sra|Sig|Mme|M)\.?)\s+((?:[A-ZÀ-Ý][\w'’-]+ ?){1,3})"
)
_SIGNED = re.compile(r"(?:\n|[.!?] |- ?|– ?|^)((?:[A-ZÀ-Ý][a-zà-ÿ'’-]+ ){1,2}[A-ZÀ-Ý][a-zà-ÿ'’-]+)$")
_SEPARATORS = re.compile(r"[\s()/.\-]")
SHORTEST_REFERENCE = 5
"""Characters below which a number or a code identifies nothing."""


@dataclass(frozen=True, slots=True)
class Found:
    """One such thing in a text. `key` is equal for equal things, however they are written."""

    kind: Kind
    key: str
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Leak:
    """Something of the reply that was only ever said in private, and where."""

    found: Found
    evidence: tuple[Evidence, ...]


def leaks(case: Case, text: str) -> list[Leak]:
    """What a public text would tell that the case knows from private messages alone, each thing once."""
    private = _private(case)
    if not private:
        return []
    public = [entry.text for entry in case.timeline if entry.visibility == "public"]
    if case.interaction is not None and case.interaction.visibility == "public":
        public.append(case.interaction.text)
    known = {(one.kind, one.key) for said in public for one in identifying(said)}
    known |= {("name", part) for name in _public_names(case) for part in _parts(name)}
    spoken = {word.casefold() for said in public for word in re.findall(r"\w+", said)}
    found: list[Leak] = []
    for one in _in_reply(text, private):
        if (one.kind, one.key) in known or (one.kind == "name" and one.key in spoken):
            continue
        index, source = private[one.kind, one.key]
        if any(leak.found.key == one.key for leak in found):
            continue
        evidence = [Evidence(start=one.start, end=one.end, text=one.text)]
        if index is not None:
            there = Evidence(start=source.start, end=source.end, text=source.text, index=index)
            evidence.append(there.model_copy(update={"where": "earlier"}))
        found.append(Leak(one, tuple(evidence)))
    return found


def _private(case: Case) -> dict[tuple[Kind, str], tuple[int | None, Found]]:
    """Everything that identifies, by where it was said in private first."""
    private: dict[tuple[Kind, str], tuple[int | None, Found]] = {}
    for index, entry in enumerate(case.timeline):
        if entry.visibility != "private":
            continue
        for one in identifying(entry.text):
            private.setdefault((one.kind, one.key), (index, one))
        if entry.who != "customer":
            continue
        for one in _names(entry.text):
            private.setdefault((one.kind, one.key), (index, one))
        author = entry.interaction.author.name if entry.interaction is not None else None
        for part in _parts(author or ""):
            private.setdefault(("name", part), (None, Found("name", part, 0, 0, author or "")))
    return private


def _in_reply(text: str, private: dict[tuple[Kind, str], tuple[int | None, Found]]) -> Iterator[Found]:
    for one in identifying(text):
        if (one.kind, one.key) in private:
            yield one
    addresses = {position for match in _EMAIL.finditer(text) for position in range(*match.span())}
    for match in re.finditer(r"[A-ZÀ-Ý][\w'’-]+", text):
        if ("name", match[0].casefold()) in private and match.start() not in addresses:
            yield Found("name", match[0].casefold(), match.start(), match.end(), match[0])


def identifying(text: str) -> Iterator[Found]:
    """The addresses, references and amounts of a text."""
    for match in _EMAIL.finditer(text):
        yield Found("email", match[0].casefold(), match.start(), match.end(), match[0])
    for match in _STREET.finditer(text):
        yield Found("address", _SEPARATORS.sub("", match[0]).casefold(), match.start(), match.end(), match[0])
    amounts: deque[int] = deque()
    """Where amounts end, in order."""
    for match in _AMOUNT.finditer(text):
        amounts.append(match.end())
        yield Found("amount", _number(match["a"] or match["b"]), match.start(), match.end(), match[0])
    for match in _REFERENCE.finditer(text):
        while amounts and amounts[0] <= match.start():
            amounts.popleft()
        if amounts and match.start() <= amounts[0] <= match.end():
            continue
        key = _SEPARATORS.sub("", match[0]).upper().lstrip("+")
        digits = sum(character.isdigit() for character in key)
        if len(key) >= SHORTEST_REFERENCE and digits >= 2 and not _a_date(match[0]):
            yield Found("reference", key, match.start(), match.end(), match[0])


def _names(text: str) -> Iterator[Found]:
    """Names that a person gives as their own: after words that introduce one, or as a signature."""
    for pattern in (_NAME, _SIGNED):
        for match in pattern.finditer(text.rstrip()):
            for word in re.finditer(r"[A-ZÀ-Ý][\w'’-]+", match[1]):
                start = match.start(1) + word.start()
                yield Found("name", word[0].casefold(), start, start + len(word[0]), word[0])


def _public_names(case: Case) -> Iterator[str]:
    authors = [
        entry.interaction.author
        for entry in case.timeline
        if entry.interaction is not None and entry.visibility == "public"
    ]
    if case.interaction is not None and case.interaction.visibility == "public":
        authors.append(case.interaction.author)
    for author in authors:
        yield from (name for name in (author.name, author.handle) if name)


def _parts(name: str) -> list[str]:
    return [part.casefold() for part in re.findall(r"[^\W\d_]{2,}", name)]


def _number(written: str) -> str:
    """An amount without separators: `1.234,50` and `1,234.50` are one."""
    written = written.replace(" ", "").replace("\u00a0", "")
    whole, point, cents = written, "", ""
    if match := re.search(r"[.,](\d{1,2})$", written):
        whole, point, cents = written[: match.start()], ".", match[1].ljust(2, "0")
    whole = re.sub(r"[.,]", "", whole).lstrip("0") or "0"
    return whole if not point or cents == "00" else f"{whole}.{cents}"


def _a_date(written: str) -> bool:
    return re.fullmatch(r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}", written.strip()) is not None
