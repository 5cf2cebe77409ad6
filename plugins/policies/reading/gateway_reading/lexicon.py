"""Lexicons: patterns of words compiled to a trie, and found in a text in linear time.

A pattern is a row of words, as a person would write it, with a few signs:

    gift card          these words, in any accents, capitals and disguise that `fold` sees through
    coupon*  *bon  *gutschein*     a word that begins, ends or goes on so
    remov+e            a stem and a set of endings from the pack's `[endings]`
    take|pull          either word
    (get rid of|pull)  either row of words
    the?               may be absent
    <object>           any word of the class of that name (`[classes]`, the pack's own or its `common.toml`)
    _  ..3             exactly one word, up to three words, within the sentence
    =sí  =*ará         exactly these accents, or a word that ends in exactly these
    #  ¤  :gift:       a number, a currency sign, an emoji by what it shows

A pattern costs at most a bounded number of steps at each word, so reading grows with the length of the text alone:
`Lexicon.steps` counts them, and a test holds the count against hostile texts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import product
from typing import NamedTuple

from gateway_reading.fold import bare
from gateway_reading.tokens import Token
from gateway_reading.trie import NONE, Elements, Node, Opening, Openings, Ways, follow
from gateway_reading.vocabulary import PackError, Vocabulary

_CHOICE = re.compile(r"\(([^()]*)\)")
_PIECE = re.compile(r":\w+:|\.\.\d|[^\s'’-]+")
WAYS = 64
"""Into so many rows a pattern may fall, by its words that are written in pieces."""
_SPLIT_GLUE = frozenset("-'’‘.·_•/‐‑*+~|")
Lattice = list[list[tuple[Elements, int]]]
"""For each token the ways to go on: the elements that it is, and the number of the token after them."""


class Span(NamedTuple):
    """A concept found: tokens `first` up to, not including, `last`."""

    concept: str
    first: int
    last: int


class Lexicon:
    """The compiled patterns of one language, all families together."""

    def __init__(self, language: str, stop_words: Iterable[str] = ()) -> None:
        self.vocabulary = Vocabulary(language)
        self.stop_words = frozenset(map(bare, stop_words))
        self.root = Node()
        self.steps = 0
        """How many steps the last search took."""
        self.openings = lru_cache(maxsize=65_536)(self._openings)
        self.opening = lru_cache(maxsize=None)(self._opening)

    def add(self, concept: str, pattern: str, scope: str) -> None:
        """Let a pattern stand for a concept. Classes are looked up as `scope.name`, then as `common.name`."""
        for spelt in _spelt_out(pattern):
            ways = [_ways(word) for word in spelt.split()]
            if not ways or not all(ways):
                raise PackError(f"{concept}: an empty pattern")
            if math.prod(map(len, ways)) > WAYS:
                raise PackError(f"{concept}: {spelt!r} spells out to too many rows; write several patterns")
            for row in product(*ways):
                self._row(concept, [piece for way in row for piece in way], scope, spelt)

    def _row(self, concept: str, pieces: list[str], scope: str, pattern: str) -> None:
        optional = [index for index, piece in enumerate(pieces) if piece[-1] == "?"]
        if not optional:
            self._insert(concept, pieces, scope)
            return
        if len(optional) > 6 or len(optional) == len(pieces):
            raise PackError(f"{concept}: {pattern!r} has too many words that may be absent")
        for chosen in product((True, False), repeat=len(optional)):
            dropped = {index for index, keep in zip(optional, chosen, strict=True) if not keep}
            kept = [
                piece if piece == "?" else piece.removesuffix("?")
                for index, piece in enumerate(pieces)
                if index not in dropped
            ]
            self._insert(concept, kept, scope)

    def _insert(self, concept: str, pieces: list[str], scope: str) -> None:
        node = self.root
        while pieces[0].startswith("..") and len(pieces) > 1:  # what may be absent was, and a gap before all is none
            pieces = pieces[1:]
        for piece in pieces:
            if piece[:2] == ".." and piece[2:].isdigit():
                if node.gaps is None:
                    node.gaps = {}
                node = follow(node.gaps, int(piece[2:]))
            elif piece == "_":
                node.any = node.any or Node()
                node = node.any
            else:
                if node.edges is None:
                    node.edges = {}
                node = follow(node.edges, self.vocabulary.choice(piece, concept, scope))
        if concept not in node.ends:
            node.ends += (concept,)

    def _openings(self, elements: Elements) -> Openings:
        """What the patterns come to, or where they go on, that may begin with a word."""
        known = self.root.edges or {}
        first = sorted(known.keys() & elements)
        ends = dict.fromkeys(concept for element in first for concept in known[element].ends)
        return Openings(tuple(ends), tuple(self.opening(element) for element in first if not known[element].last))

    def _opening(self, element: int) -> Opening:
        node = (self.root.edges or {})[element]
        known = node.look()
        return Opening(
            node,
            known.any is not None or bool(known.opens),
            known.words,
            NONE.union(*(gap.words for gap in known.gaps)),
        )

    def lattice(self, tokens: Sequence[Token]) -> Lattice:
        """The ways to go on from each token; several pieces may be one word (`c.o.u.p.o.n`, `re-move`, `cou pon`)."""
        elements_of, joined = self.vocabulary.elements, self.vocabulary.joined
        edges = [[(elements_of(token.accented, token.forms), index + 1)] for index, token in enumerate(tokens)]
        index, count = 0, len(tokens)
        while index < count - 1:
            stop = index + 1
            while stop < count and tokens[stop].glue in _SPLIT_GLUE and tokens[stop].glue != "":
                stop += 1
            if stop - index > 1:
                self._join(tokens, edges, index, stop, 12 if len(tokens[index].form) == 1 else 4)
                index = stop - 1 if stop - index > 1 else index + 1
                continue
            letters = index
            while (
                letters < count
                and len(tokens[letters].form) == 1
                and tokens[letters].kind in ("word", "number")
                and (letters == index or tokens[letters].glue == " ")
                and not (letters > index and tokens[letters].wide)
            ):
                letters += 1
            if letters - index >= 3:
                self._join(tokens, edges, index, letters, 14)
                index = letters
                continue
            first, second = tokens[index], tokens[index + 1]
            if (
                second.glue == " "
                and len(first.form) > 1
                and len(second.form) > 1
                and first.clause == second.clause
                and not edges[index][0][0]
                and first.kind == second.kind == "word"
                and first.form not in self.stop_words
                and (elements := joined(first.form + second.form))
            ):
                edges[index].append((elements, index + 2))
            index += 1
        return edges

    def _join(
        self,
        tokens: Sequence[Token],
        edges: Lattice,
        start: int,
        stop: int,
        pieces: int,
    ) -> None:
        for first in range(start, stop):
            forms = tokens[first].forms[:2]
            joined = list(forms)
            for last in range(first + 1, min(stop, first + pieces)):
                joined = [left + right for left in joined for right in tokens[last].forms[:2] if right != "#"][:4]
                for form in joined:
                    if elements := self.vocabulary.joined(form):
                        edges[first].append((elements, last + 1))

    def find(self, tokens: Sequence[Token], ends: Sequence[int]) -> list[Span]:
        """The concepts of a text in the order of their first token; the longest of each at each place.

        `ends` says for each token where its sentence ends: no pattern reaches beyond.
        """
        edges = self.lattice(tokens)
        here = [ways[0][0] if len(ways) == 1 else NONE.union(*(way[0] for way in ways)) for ways in edges]
        spans: list[Span] = []
        steps = sentence = 0
        present = NONE
        """The elements of the sentence."""
        for start, end in enumerate(ends):
            if end != sentence:
                sentence, present = end, NONE.union(*here[start:end])
            waiting: list[tuple[Node, int]] = []
            longest: dict[str, int] = {}
            for elements, following in edges[start]:
                if following > end:
                    continue
                ends_here, further = self.openings(elements)
                steps += len(further)
                for concept in ends_here:
                    if longest.get(concept, -1) < following:
                        longest[concept] = following
                after = here[following] if following < end else NONE
                waiting += [
                    (node, following)
                    for node, sure, at_once, behind_gap in further
                    if sure or not after.isdisjoint(at_once) or not present.isdisjoint(behind_gap)
                ]
            if self.root.any is not None:
                waiting.append((self.root.any, start + 1))
            seen: set[tuple[int, int]] = set()
            while waiting:
                node, at = waiting.pop()
                node_ends, any_word, words, known, opens, gaps = node.known or node.look()
                for concept in node_ends:
                    if longest.get(concept, -1) < at:
                        longest[concept] = at
                for reach, behind in opens:
                    for place in range(at, min(at + reach, end + 1)):
                        if (key := (id(behind), place)) not in seen:
                            seen.add(key)
                            waiting.append((behind, place))
                if at == end:
                    continue
                if any_word is not None and (key := (id(any_word), at + 1)) not in seen:
                    seen.add(key)
                    waiting.append((any_word, at + 1))
                if known:
                    steps += 1
                    if not words.isdisjoint(here[at]):
                        _go_on(known, words, edges[at], end, seen, waiting, longest)
                for reach, words, known in gaps:
                    if not present.isdisjoint(words):
                        last = min(at + reach, end)
                        steps += last - at
                        for place in range(at, last):
                            if not words.isdisjoint(here[place]):
                                _go_on(known, words, edges[place], end, seen, waiting, longest)
            spans += [Span(concept, start, last) for concept, last in longest.items()]
        self.steps = steps
        return spans


def _go_on(
    known: Ways,
    words: Elements,
    ways: list[tuple[Elements, int]],
    end: int,
    seen: set[tuple[int, int]],
    waiting: list[tuple[Node, int]],
    longest: dict[str, int],
) -> None:
    """Wait at the nodes that the words at one place of a text lead to, and note what ends at those that are last."""
    for elements, following in ways:
        if following <= end:
            for element in words & elements:
                child = known[element]
                if (key := (id(child), following)) not in seen:
                    seen.add(key)
                    if not child.last:
                        waiting.append((child, following))
                        continue
                    for concept in child.ends:
                        if longest.get(concept, -1) < following:
                            longest[concept] = following


def _spelt_out(pattern: str) -> list[str]:
    """The patterns without brackets that a pattern with brackets stands for, each once."""
    done: dict[str, None] = {}
    waiting = [pattern]
    while waiting:
        one = waiting.pop()
        if choice := _CHOICE.search(one):
            before, after = one[: choice.start()], one[choice.end() :]
            waiting += [f"{before}{row}{after}" for row in reversed(choice[1].split("|"))]
        else:
            done[one] = None
    return list(done)


@lru_cache(maxsize=16_384)
def _ways(word: str) -> tuple[tuple[str, ...], ...]:
    """The rows of pieces that one word of a pattern may be: `not|isn't` is `not`, `isn t` or `isnt`."""
    heads: dict[tuple[str, ...], list[str]] = {}
    for alternative in word.split("|"):
        pieces = _PIECE.findall(alternative)
        if pieces:
            heads.setdefault(tuple(pieces[1:]), []).append(pieces[0])
        if re.fullmatch(r"\w+n['’]t", alternative):  # "don't" is written "dont" as often
            heads.setdefault((), []).append("".join(pieces))
    return tuple(("|".join(first), *rest) for rest, first in heads.items())
