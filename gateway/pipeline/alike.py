"""When two answers say nearly the same. Pure: words in, a measure out.

Names, numbers and links differ from customer to customer in one and the same macro, so they do not count. Longer texts
are compared by their runs of three words; those are hashed (MinHash) into a few bands, so that an index finds all
candidates and only these are compared in full.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

ALIKE = 0.7
"""From this share of common runs of words on, two texts are near-identical."""
RUN = 3
BANDS, ROWS = 8, 2
"""At a likeness of 0.7 one of 8 bands of 2 agrees in 995 of 1,000 pairs, at 0.8 in 9,997 of 10,000."""

_SKIPPED = re.compile(r"https?://\S+|@[\w.-]+|\S*\d\S*")
_WORD = re.compile(r"[^\W_]+")
_PRIME = (1 << 61) - 1
_SALTS = [
    tuple(int.from_bytes(hashlib.sha256(f"{side}{number}".encode()).digest()[:7], "big") | 1 for side in "ab")
    for number in range(BANDS * ROWS)
]


def words_of(text: str) -> tuple[str, ...]:
    """The words of a text that a macro has in common with itself: no mentions, links or numbers, no case or marks."""
    plain = unicodedata.normalize("NFKC", text)
    return tuple(word.casefold() for word in _WORD.findall(_SKIPPED.sub(" ", plain)))


def name_of(text: str) -> str:
    """One name for all texts with the same words."""
    return hashlib.sha256(" ".join(words_of(text)).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def bands_of(text: str) -> list[str]:
    """Hashes of which near-identical texts have one in common. Empty for a text without words."""
    runs = _runs(text)
    if not runs:
        return []
    hashes = [
        int.from_bytes(hashlib.blake2b(run.encode("utf-8", "surrogatepass"), digest_size=7).digest()) for run in runs
    ]
    least = [min((a * one + b) % _PRIME for one in hashes) for a, b in _SALTS]
    bands = []
    for number in range(BANDS):
        part = ",".join(map(str, (number, *least[number * ROWS : (number + 1) * ROWS])))
        bands.append(hashlib.sha256(part.encode()).hexdigest()[:16])
    return bands


def likeness(one: str, other: str) -> float:
    """How much of their runs of words two texts have in common: 0 to 1."""
    mine, theirs = _runs(one), _runs(other)
    if not mine or not theirs:
        return 0.0
    return len(mine & theirs) / len(mine | theirs)


def _runs(text: str) -> frozenset[str]:
    words = words_of(text)
    if len(words) <= RUN:
        return frozenset({" ".join(words)} - {""})
    return frozenset(" ".join(words[at : at + RUN]) for at in range(len(words) - RUN + 1))
