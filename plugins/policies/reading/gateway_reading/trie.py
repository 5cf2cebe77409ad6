"""The trie that patterns are compiled to: its places, and what a search wants to know of each at a glance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

Elements = frozenset[int]
"""What a word is: itself, the classes it belongs to, and the parts of words that it has."""
NONE: Elements = frozenset()
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


def follow(ways: Ways, key: int) -> Node:
    """The node that an element leads to; made where there is none."""
    found = ways.get(key)
    if found is None:
        found = ways[key] = Node()
    return found
