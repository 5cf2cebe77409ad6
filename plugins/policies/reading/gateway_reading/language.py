"""Which language a text is in: counted stop words and telling letters, nothing learnt and nothing random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from gateway_reading.pack import recognition
from gateway_reading.tokens import Token

ENOUGH = 2.0
"""Stop words, or their worth, without which nothing is said."""
SHARE = 0.12
"""Of all words, how many must speak for the language."""
LEAD = 1.3
"""How far the first must be ahead of the second."""
MIXED = 0.45
"""From this share of the first language's worth a second one counts as mixed in."""
SAMPLE = 400
"""Words looked at."""


@dataclass(frozen=True, slots=True)
class Recognised:
    """What a text's own words say of its language."""

    language: str | None
    """The most likely one; None where the words do not tell."""
    second: str | None = None
    """Another language that has its own part of the text."""
    likely: tuple[str, ...] = ()
    """Where the words do not tell: the two that they speak for most."""
    sure: bool = False
    """Whether this may overrule what the source says."""
    foreign: bool = False
    """Whether it is written in letters that no pack knows."""
    worth: tuple[tuple[str, float], ...] = ()
    """How much the words speak for each language."""


@lru_cache(maxsize=65_536)
def _speaks_for(form: str, accented: str) -> tuple[tuple[str, ...], float]:
    """The languages a word speaks for, and how much: the fewer they are, the more."""
    words, endings, letters = recognition()
    found = dict.fromkeys(words.get(form, ()))
    for size in (3, 4):
        if len(form) > size + 1:
            found |= dict.fromkeys(endings.get(form[-size:], ()))
    for letter in accented if not accented.isascii() else "":
        found |= dict.fromkeys(letters.get(letter, ()))
    return tuple(found), 1.0 / max(1, len(found)) ** 0.5


def recognise(tokens: Sequence[Token]) -> Recognised:
    """Called for each text; linear, and bounded by a sample of its first words."""
    score: dict[str, float] = {}
    unique: dict[str, set[str]] = {}
    counted = foreign = 0
    for index, token in enumerate(tokens):
        if token.kind != "word" or token.quoted:
            continue
        if len(token.form) == 1 and index and len(tokens[index - 1].form) == 1:
            continue  # spaced letters are no words
        counted += 1
        if counted > SAMPLE:
            break
        if token.accented[:1] > "\u036f" and not token.form.isascii() and len(token.forms) == 1:
            foreign += 1
            continue
        languages, weight = _speaks_for(token.form, token.accented)
        for language in languages:
            score[language] = score.get(language, 0.0) + weight
        if len(languages) == 1:
            unique.setdefault(languages[0], set()).add(token.form)
    if not counted or foreign * 2 > counted:
        return Recognised(None, sure=foreign > 0, foreign=foreign > 0)
    ranked = sorted(score.items(), key=lambda pair: (-pair[1], pair[0]))
    if not ranked:
        return Recognised(None)
    language, worth = ranked[0]
    likely = tuple(name for name, _ in ranked[:2])
    if worth < ENOUGH * min(1.0, max(0.35, counted / 12)) or worth < SHARE * counted:
        return Recognised(None, likely=likely)
    second, next_worth = ranked[1] if len(ranked) > 1 else (None, 0.0)
    mixed = second is not None and len(unique.get(second, ())) >= 3 and next_worth >= MIXED * worth
    if next_worth * LEAD > worth and not mixed:
        return Recognised(None, likely=likely)
    sure = bool(unique.get(language)) and worth >= 2.0 and not mixed
    return Recognised(language, second if mixed else None, likely, sure, worth=tuple(ranked))
