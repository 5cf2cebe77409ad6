"""What the learned part sees of a text: the letters of its words, the phrases they make, and the concepts found in it.

Each feature is a key of 32 bits. The letters catch what no list has (`reviewlet`, endings, typing errors), the phrases
what is said in set words, and the concepts, in the order they come in, what is said alike in all six languages.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache
from zlib import crc32

from gateway_reading.prepared import NEGATION_REACH, Prepared
from gateway_reading.tokens import Stretch, Token

SHORTEST, LONGEST = 2, 5
"""Letters in a run of them, with the ends of the word."""
IN_REACH = 11
"""Concepts of a sentence that the ones after are paired with, at most."""
FAMILIES = ("trade", "tone", "contact", "common")
KINDS = 3
"""Letters, phrases, concepts."""
_MASK = 0xFFFF_FFFF
_BESIDE, _BEFORE, _NEXT = 2_654_435_761, 40_503, 69_069
_ASKED = crc32(b"?")


@dataclass(frozen=True, slots=True)
class Features:
    """What one text or a stretch of it is weighed by: keys by kind, each of which is weighed on its own."""

    words: list[str]
    """The words whose letters are one kind; what a word's weigh is remembered."""
    phrases: list[int]
    concepts: list[int]

    @property
    def letters(self) -> list[int]:
        """The runs of letters of all words."""
        return [key for word in self.words for key in letters_of(word)]

    def kinds(self) -> tuple[list[int], list[int], list[int]]:
        """The kinds, in the order of the weights."""
        return self.letters, self.phrases, self.concepts


Concepts = list[tuple[int, int]]
"""The concepts found in a text in the order they come in: the token where each begins, and its key."""


def features(text: Prepared, stretch: Stretch | None = None, found: Concepts | None = None) -> Features:
    """The features of a text, or of a stretch of it; linear in its length. Who asks about several stretches hands over
    the `concepts` of the text."""
    whole = stretch or Stretch(0, len(text.tokens))
    words = [token for token in text.tokens[whole.first : whole.last] if token.kind not in ("url", "handle")]
    return Features([_word(token) for token in words], _phrases(text, words), _pairs(text, whole, found))


def _word(token: Token) -> str:
    """The word of a token as the learned part reads it: one for all numbers, and one for all currencies."""
    if token.kind == "number":
        return "#"
    return token.forms[-1] if token.kind == "symbol" else token.form


def letters_of(word: str) -> tuple[int, ...]:
    """The runs of letters in a word between its ends."""
    written = f"<{word}>".encode("utf-8", "surrogatepass")
    size = len(written)
    return tuple(
        crc32(written[at : at + length]) for length in range(SHORTEST, LONGEST + 1) for at in range(size - length + 1)
    )


@lru_cache(maxsize=65_536)
def _key(word: str) -> int:
    return crc32(word.encode("utf-8", "surrogatepass"), 1)


def _phrases(text: Prepared, words: list[Token]) -> list[int]:
    """The words, and each two and three in a row, over the ends of sentences too, which count as words."""
    keys: list[int] = []
    sentence = words[0].sentence if words else 0
    row = []
    for token in words:
        if token.sentence != sentence:
            row.append(_key("?" if text.sentences[sentence].question else "."))
            sentence = token.sentence
        row.append(_key(_word(token)))
    if words:
        row.append(_key("?" if text.sentences[sentence].question else "."))
    keys += row
    before = last = 0
    for key in row:
        pair = (last * _BESIDE + key) & _MASK
        keys.append(pair)
        keys.append((before * _BESIDE + key) & _MASK)
        before, last = pair, key
    return keys


def concepts(text: Prepared) -> Concepts:
    """The concepts of a text, as they are said: in quotation marks, under a negation, or plainly."""
    negated = _negated(text)
    spans = sorted(
        (span.first, -span.last, concept)
        for concept, found in text.found.items()
        if concept.startswith(FAMILIES)
        for span in found
    )
    tokens = text.tokens
    return [
        (
            first,
            _key(f"q:{concept}" if tokens[first].quoted else f"n:{concept}" if first in negated else concept),
        )
        for first, _, concept in spans
    ]


def _pairs(text: Prepared, whole: Stretch, found: Concepts | None) -> list[int]:
    """The concepts of a stretch, each after each other one of its sentence, and beside those of the next sentence."""
    if found is None:
        found = concepts(text)
    sentences: dict[int, list[int]] = {}
    for first, key in found[bisect_left(found, (whole.first,)) : bisect_left(found, (whole.last,))]:
        number = text.tokens[first].sentence
        if (sentence := sentences.get(number)) is None:
            sentence = sentences[number] = [_ASKED] if text.sentences[number].question else []
        sentence.append(key)
    keys: list[int] = []
    for number, sentence in sentences.items():
        keys += sentence
        turned = [one * _BEFORE for one in sentence]
        keys += [(one + other) & _MASK for at, one in enumerate(turned, 1) for other in sentence[at : at + IN_REACH]]
        after = set(sentences.get(number + 1, ()))
        turned = [one * _NEXT + 1 for one in set(sentence)] if after else []
        keys += [(one + other) & _MASK for one in turned for other in after]
    return list(set(keys))


def _negated(text: Prepared) -> set[int]:
    """The tokens that a negation governs: see `Prepared.negated`."""
    found: set[int] = set()
    behind = 3 if (text.language or "").startswith("de") else 0
    for negator in text.found.get("common.negator", ()):
        clause = text.clause(negator)
        apparent = text.inside(text.sentence(negator), "common.apparent_negation")
        if any(each.first <= negator.first < each.last for each in apparent):
            continue
        found.update(range(negator.first + 1, min(negator.first + NEGATION_REACH + 1, clause.last)))
        found.update(range(max(clause.first, negator.first - behind), negator.first))
    return found
