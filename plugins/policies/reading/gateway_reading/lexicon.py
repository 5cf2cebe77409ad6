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
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import NamedTuple

from gateway_reading.fold import bare
from gateway_reading.tokens import Token

_CHOICE = re.compile(r"\(([^()]*)\)")
_PIECE = re.compile(r":\w+:|\.\.\d|[^\s'’-]+")
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})
WAYS = 64
"""Into so many rows a pattern may fall, by its words that are written in pieces."""
_SPLIT_GLUE = frozenset("-'’‘.·_•/‐‑*+~|")
Elements = frozenset[int]
NONE: Elements = frozenset()
Lattice = list[list[tuple[Elements, int]]]
"""For each token the ways to go on: the elements that it is, and the number of the token after them."""
SHORTEST_TYPO = 6
LONGEST_WORD = 40


class PackError(ValueError):
    """A language pack says something that cannot be compiled; names the file, the entry and the reason."""


Ways = dict[int, "Node"]


@dataclass(slots=True)
class Node:
    """A place in the trie: where each next element leads, and the concepts that are complete here."""

    edges: Ways | None = None
    any: Node | None = None
    gaps: Ways | None = None
    ends: tuple[str, ...] = ()
    known: Known | None = None
    """What a search looks at, made by the first one that comes here (`look`)."""

    @property
    def last(self) -> bool:
        """Whether nothing goes on from here."""
        return not (self.edges or self.gaps) and self.any is None

    def look(self) -> Known:
        """What a search wants to know of this place."""
        if self.known is None:
            behind = [(size + 1, node) for size, node in (self.gaps or {}).items()]
            self.known = Known(
                self.ends,
                self.any,
                frozenset(self.edges or ()),
                self.edges or {},
                tuple((reach, node) for reach, node in behind if node.open),
                tuple(
                    Gap(reach, frozenset(node.edges or ()), node.edges or {}) for reach, node in behind if not node.open
                ),
            )
        return self.known

    @property
    def open(self) -> bool:
        """Whether something ends here, or goes on with whatever comes next."""
        return bool(self.ends or self.gaps or self.any is not None)


class Gap(NamedTuple):
    """A gap behind which one of certain words must follow."""

    reach: int
    """How far behind the place of the gap its first word may stand, at most, not included."""
    words: Elements
    edges: Ways


class Known(NamedTuple):
    """A node as a search looks at it."""

    ends: tuple[str, ...]
    any: Node | None
    words: Elements
    edges: Ways
    opens: tuple[tuple[int, Node], ...]
    """Gaps behind which anything may follow, each with its reach."""
    gaps: tuple[Gap, ...]


class Opening(NamedTuple):
    """A node that a pattern's first word leads to, and what tells at a glance whether anything can come of it."""

    node: Node
    sure: bool
    """Whether it must be looked at in any case: anything may follow."""
    next: Elements
    """What may follow at once."""
    behind: Elements
    """What may follow behind a gap."""


class Openings(NamedTuple):
    """What begins with a word."""

    ends: tuple[str, ...]
    """The concepts that the word is by itself."""
    further: tuple[Opening, ...]
    """Where patterns go on."""


class Span(NamedTuple):
    """A concept found: tokens `first` up to, not including, `last`."""

    concept: str
    first: int
    last: int


def _deletions(word: str) -> set[str]:
    return {word[:index] + word[index + 1 :] for index in range(1, len(word) - 1)}


def _next(ways: Ways, key: int) -> Node:
    found = ways.get(key)
    if found is None:
        found = ways[key] = Node()
    return found


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


class Lexicon:
    """The compiled patterns of one language, all families together."""

    def __init__(self, language: str, stop_words: Iterable[str] = ()) -> None:
        self.language = language
        self.stop_words = frozenset(map(bare, stop_words))
        self.not_typos: frozenset[str] = frozenset()
        """Words that are none of the lexicon's, and no typing errors of one either."""
        self.root = Node()
        self.steps = 0
        """How many steps the last search took."""
        self._ids: dict[str, int] = {}
        self._literals: dict[str, list[int]] = {}
        self._prefixes: dict[str, list[int]] = {}
        self._suffixes: dict[str, list[int]] = {}
        self._infixes: dict[str, list[int]] = {}
        self._accents: dict[str, list[int]] = {}
        self._accented_endings: dict[str, list[int]] = {}
        self._typos: dict[str, set[str]] = {}
        self._member: dict[int, set[int]] = {}
        self._aliases: dict[str, str] = {}
        self._endings: dict[str, tuple[str, ...]] = {}
        self._choices: dict[tuple[str, str], int] = {}
        self.elements = lru_cache(maxsize=65_536)(self._elements)
        self.joined = lru_cache(maxsize=65_536)(self._joined)
        self.openings = lru_cache(maxsize=65_536)(self._openings)
        self.opening = lru_cache(maxsize=None)(self._opening)

    # compiling

    def endings(self, name: str, endings: Sequence[str]) -> None:
        """Define what `stem+name` spells out to."""
        self._endings[name] = tuple(endings)

    def define(self, name: str, words: Iterable[str]) -> None:
        """Define the class `<name>` of single words."""
        own = self._id(f"<{name}>")
        for word in words:
            if " " in word:
                raise PackError(f"{name}: {word!r} is more than one word; make it a pattern of a concept")
            for spelt in self._spelt(word, name):
                self._member.setdefault(self._element(spelt, name), set()).add(own)

    def alias(self, word: str, meant: str) -> None:
        """Read a word also as another one: `u` as `you`."""
        if bare(word) != bare(meant):
            self._aliases[bare(word)] = bare(meant)

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
                node = _next(node.gaps, int(piece[2:]))
            elif piece == "_":
                node.any = node.any or Node()
                node = node.any
            else:
                choice = self._choices.get((piece, scope))
                if choice is None:
                    choice = self._choices[piece, scope] = self._choice(piece, concept, scope)
                if node.edges is None:
                    node.edges = {}
                node = _next(node.edges, choice)
        if concept not in node.ends:
            node.ends += (concept,)

    def _choice(self, piece: str, concept: str, scope: str) -> int:
        """One element for all the words that a piece allows: the word itself, or a class without a name."""
        spelt = [each for word in piece.split("|") for each in self._spelt(word, concept)]
        elements = [self._element(each, scope) for each in spelt]
        if len(elements) == 1:
            return elements[0]
        choice = self._id("|".join(sorted({str(element) for element in elements})))
        for element in elements:
            self._member.setdefault(element, set()).add(choice)
        return choice

    def _spelt(self, word: str, where: str) -> list[str]:
        """A written word of a pattern as its literal words: endings spelt out, umlauts also as `ae`."""
        if "+" in word[1:]:
            stem, _, name = word.partition("+")
            if name not in self._endings:
                raise PackError(f"{where}: {word!r} names endings that the pack does not have")
            return [each for ending in self._endings[name] for each in self._spelt(stem + ending, where)]
        if self.language == "de" and not word.startswith(("<", ":")) and word.translate(_UMLAUTS) != word:
            return [word, word.translate(_UMLAUTS)]
        return [word]

    def _id(self, element: str) -> int:
        return self._ids.setdefault(element, len(self._ids))

    def _element(self, word: str, scope: str) -> int:
        if word.startswith("<") and word.endswith(">"):
            for name in (f"<{scope}.{word[1:-1]}>", f"<common.{word[1:-1]}>"):
                if name in self._ids:
                    return self._ids[name]
            raise PackError(f"{scope}: there is no class {word}")
        if word.startswith("=*"):
            return self._file(self._accented_endings, word[2:], word)
        if word.startswith("=") and len(word) > 1:
            return self._file(self._accents, word[1:], f"={word[1:]}")
        if word.startswith(":") or word in "#¤%€$£¥₹+=&/→":
            return self._file(self._literals, word, word)
        plain = bare(word.strip("*"))
        if not plain:
            raise PackError(f"{scope}: {word!r} is no word")
        if word.startswith("*") and word.endswith("*"):
            return self._file(self._infixes, plain, f"*{plain}*")
        if word.startswith("*"):
            return self._file(self._suffixes, plain, f"*{plain}")
        if word.endswith("*"):
            return self._file(self._prefixes, plain, f"{plain}*")
        if len(plain) >= SHORTEST_TYPO:
            for deletion in _deletions(plain):
                self._typos.setdefault(deletion, set()).add(plain)
        return self._file(self._literals, plain, plain)

    def _file(self, table: dict[str, list[int]], key: str, element: str) -> int:
        number = self._id(element)
        filed = table.setdefault(key, [])
        if number not in filed:
            filed.append(number)
        return number

    # finding

    def _elements(self, accented: str, forms: tuple[str, ...]) -> Elements:
        """The elements that a word is, by any of its forms; by a likely typing error where it is none."""
        found = set(self._accents.get(accented, ()))
        if self._accented_endings and not accented.isascii():
            for size in range(1, min(len(accented), LONGEST_WORD)):
                found.update(self._accented_endings.get(accented[-size:], ()))
        for form in forms:
            found.update(self._plain(form))
        if (
            not found
            and len(forms[0]) >= SHORTEST_TYPO - 1
            and forms[0] not in self.not_typos
            and forms[0].isalpha()
            and len(forms[0]) <= LONGEST_WORD
        ):
            found.update(self._mistyped(forms[0]))
        return self._with_classes(found)

    def _with_classes(self, found: set[int]) -> Elements:
        """The elements and every class that they belong to, directly or through another class."""
        waiting = list(found)
        while waiting:
            new = self._member.get(waiting.pop(), set()) - found
            found |= new
            waiting += new
        return frozenset(found)

    def _plain(self, form: str) -> Iterable[int]:
        if meant := self._aliases.get(form):
            yield from self._plain(meant)
        yield from self._literals.get(form, ())
        length = min(len(form), LONGEST_WORD)
        for size in range(2, length + 1):
            yield from self._prefixes.get(form[:size], ())
            yield from self._suffixes.get(form[-size:], ())
        if length > 4 and self._infixes:
            for infix, elements in self._infixes.items():
                if infix in form[: 2 * LONGEST_WORD]:
                    yield from elements

    def _mistyped(self, form: str) -> Iterable[int]:
        """A letter too many, too few or two exchanged; not a letter replaced, which is often another word."""
        candidates = set(self._typos.get(form, ()))
        for deletion in _deletions(form):
            if deletion in self._literals and len(deletion) >= SHORTEST_TYPO:
                candidates.add(deletion)
            for word in self._typos.get(deletion, ()):
                if len(word) == len(form) and sorted(word) == sorted(form):
                    candidates.add(word)
        for word in sorted(candidates):
            yield from self._literals[word]

    def _joined(self, form: str) -> Elements:
        """The elements of several pieces read as one word; no typing errors on top of that."""
        return self._with_classes(set(self._plain(form)))

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
        edges = [[(self.elements(token.accented, token.forms), index + 1)] for index, token in enumerate(tokens)]
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
                and (elements := self.joined(first.form + second.form))
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
                    if elements := self.joined(form):
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
