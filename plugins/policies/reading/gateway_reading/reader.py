"""The reader the host makes: prepares a text, asks every family, and remembers what it read lately."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import ClassVar, Literal

from gateway_reading import learned
from gateway_reading.families import MARKS, PROMISES
from gateway_reading.pack import LANGUAGES, digest
from gateway_reading.prepared import Prepared, prepare
from gateway_schemas.reading import Coverage, Mark, Reader, Reading

REMEMBERED = 128
"""Texts, of at most `LONGEST_REMEMBERED` code points. Who asks about one for another time does so soon, and whatever is
kept is looked through for garbage while somebody waits for an answer."""
LONGEST_REMEMBERED = 4000


class PackReader(Reader):
    """Reads English, Spanish, French, German, Portuguese and Italian, offline, by concepts from its language packs and
    by what was learned from examples."""

    name: ClassVar[str] = "packs"
    version: ClassVar[str] = f"1+{digest()}"
    languages: ClassVar[dict[str, Coverage]] = dict.fromkeys(LANGUAGES, "full")

    def __init__(self) -> None:
        self._remembered = lru_cache(maxsize=REMEMBERED)(_read)

    def read(
        self,
        text: str,
        *,
        speaker: Literal["brand", "customer"],
        at: datetime,
        language: str | None = None,
        visibility: Literal["public", "private"] = "public",
        timezone: str = "UTC",
    ) -> Reading:
        """What is noticed in one text; see `Reader.read`."""
        read = self._remembered if len(text) <= LONGEST_REMEMBERED else _read
        prepared, marks = read(text, speaker, visibility, language)
        promises = [promise for find in PROMISES for promise in find(prepared, at, timezone)]
        promises.sort(key=lambda promise: (promise.start, promise.end))
        return Reading(language=prepared.language, coverage=prepared.coverage, marks=marks, promises=tuple(promises))


def rules(text: Prepared) -> list[Mark]:
    """What the packs and the families notice in a text, without the learned part."""
    return [mark for find in MARKS for mark in find(text)] if text.coverage != "none" else []


def _read(
    text: str, speaker: Literal["brand", "customer"], visibility: Literal["public", "private"], language: str | None
) -> tuple[Prepared, tuple[Mark, ...]]:
    prepared = prepare(text, speaker, visibility, language)
    marks = learned.judge(prepared, rules(prepared))
    marks.sort(key=lambda mark: (mark.start, mark.end, mark.signal))
    return prepared, tuple(marks)
