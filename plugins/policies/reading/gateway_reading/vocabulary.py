"""What words are to the patterns: the words and parts of words that they name, and the classes of those.

`Vocabulary.elements` tells of a word of a text all that it is, by any of its forms, and by a likely typing error where
it is nothing else. A pattern only names elements, so that a word is looked up once for all patterns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from gateway_reading.fold import bare
from gateway_reading.trie import Elements

_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})
SHORTEST_TYPO = 6
LONGEST_WORD = 40


class PackError(ValueError):
    """A language pack says something that cannot be compiled; names the file, the entry and the reason."""


class Vocabulary:
    """The words of one language's patterns."""

    def __init__(self, language: str) -> None:
        self.language = language
        self.not_typos: frozenset[str] = frozenset()
        """Words that are none of the vocabulary's, and no typing errors of one either."""
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

    # what patterns name

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

    def choice(self, piece: str, concept: str, scope: str) -> int:
        """One element for all the words that a piece of a pattern allows: the word itself, or a class without a name.
        Raises PackError."""
        found = self._choices.get((piece, scope))
        if found is None:
            found = self._choices[piece, scope] = self._choice(piece, concept, scope)
        return found

    def _choice(self, piece: str, concept: str, scope: str) -> int:
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

    # what a text has

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


def _deletions(word: str) -> set[str]:
    return {word[:index] + word[index + 1 :] for index in range(1, len(word) - 1)}
