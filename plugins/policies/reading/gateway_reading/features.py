"""What the learned part sees of a text: the letters of its words, the phrases they make, and the concepts found in it.

Each feature is a key of 32 bits. The letters catch what no list has (`reviewlet`, endings, typing errors), the phrases
what is said in set words, and the concepts, in the order they come in, what is said alike in all six languages.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple
from zlib import crc32

from gateway_reading.prepared import NEGATION_REACH, Prepared
from gateway_reading.tokens import Stretch, Token

SHORTEST, LONGEST = 2, 5
"""Letters in a run of them, with the ends of the word."""
IN_REACH = 5
"""With how many concepts before it in its sentence each is paired, at most."""
ACROSS = "tone"
"""The family whose concepts are paired with those of the next sentence. More families, and more in reach, were tried:
they find a little more, and take a text twice the time."""
FAMILIES = ("trade", "tone", "contact", "common")
KINDS = 3
LETTERS, PHRASES, CONCEPTS = range(KINDS)
_MASK = 0xFFFF_FFFF
_ROW, _BEFORE, _NEXT = 2_654_435_761, 40_503, 69_069
_ASKED = crc32(b"?")

Kinds = tuple[list[int], list[int], list[int]]
"""Keys by kind: letters, phrases, concepts. Each kind is weighed on its own."""


def features(text: Prepared) -> Kinds:
    """The features of a text, as the training sees them; linear in its length."""
    whole = Stretch(0, len(text.tokens))
    letters = [key for word in words(text, whole) for key in letters_of(word)]
    found = concepts(text)
    within = [key for sentence in found for key in within_a_sentence(sentence)]
    across = [key for two in pairwise(found) for key in across_sentences(*two)]
    return letters, phrases(text, whole), within + across


def words(text: Prepared, stretch: Stretch) -> list[str]:
    """The words of a stretch whose letters are looked at."""
    return [_word(token) for token in _spoken(text, stretch)]


def _spoken(text: Prepared, stretch: Stretch) -> list[Token]:
    return [token for token in text.tokens[stretch.first : stretch.last] if token.kind not in ("url", "handle")]


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


def phrases(text: Prepared, stretch: Stretch) -> list[int]:
    """The words, and each two and three in a row, over the ends of sentences too, which count as words."""
    tokens = _spoken(text, stretch)
    keys: list[int] = []
    sentence = tokens[0].sentence if tokens else 0
    row = []
    for token in tokens:
        if token.sentence != sentence:
            row.append(_key("?" if text.sentences[sentence].question else "."))
            sentence = token.sentence
        row.append(_key(_word(token)))
    if tokens:
        row.append(_key("?" if text.sentences[sentence].question else "."))
    keys += row
    before = last = 0
    for key in row:
        pair = (last * _ROW + key) & _MASK
        keys.append(pair)
        keys.append((before * _ROW + key) & _MASK)
        before, last = pair, key
    return keys


class Sentence(NamedTuple):
    """The concepts of a sentence as they are said: in quotation marks, under a negation, or plainly."""

    said: list[int]
    """In their order; those of a question begin with one for that."""
    manners: set[int]
    """Those of the family `ACROSS`, and that of a question."""


def concepts(text: Prepared, most: int | None = None) -> list[Sentence]:
    """The concepts of a text, sentence by sentence; of its first so many sentences where `most` is given."""
    last = text.sentences[:most][-1].last
    negated = _negated(text)
    spans = sorted(
        (span.first, -span.last, concept)
        for concept, found in text.found.items()
        if concept.startswith(FAMILIES)
        for span in found
        if span.first < last
    )
    tokens = text.tokens
    sentences = [Sentence([], set()) for _ in text.sentences[:most]]
    for first, _, concept in spans:
        token = tokens[first]
        said, manners = sentences[token.sentence]
        if not said and text.sentences[token.sentence].question:
            said.append(_ASKED)
            manners.add(_ASKED)
        key = _key(f"q:{concept}" if token.quoted else f"n:{concept}" if first in negated else concept)
        said.append(key)
        if concept.startswith(ACROSS):
            manners.add(key)
    return sentences


def within_a_sentence(sentence: Sentence) -> set[int]:
    """The concepts of a sentence, and each together with those shortly before it."""
    said = sentence.said
    turned = [one * _BEFORE for one in said]
    pairs = {(one + other) & _MASK for at, one in enumerate(turned, 1) for other in said[at : at + IN_REACH]}
    return pairs.union(said)


def across_sentences(sentence: Sentence, after: Sentence) -> set[int]:
    """The manners of a sentence, beside those of the next one."""
    turned = [one * _NEXT + 1 for one in sentence.manners]
    return {(one + other) & _MASK for one in turned for other in after.manners}


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
