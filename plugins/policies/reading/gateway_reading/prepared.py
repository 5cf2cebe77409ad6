"""A text made ready to be read: tokens, sentences, clauses, and the concepts of its language found in it.

Every family of signals is handed one of these, so that a text is cut and searched once for all of them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from gateway_reading.language import Recognised, recognise
from gateway_reading.lexicon import Span
from gateway_reading.pack import LANGUAGES, load
from gateway_reading.tokens import Stretch, Token, scan
from gateway_schemas.reading import Coverage, Mark

Speaker = Literal["brand", "customer"]
Visibility = Literal["public", "private"]
CLEARLY = 1.8
"""How far another language must be ahead of the one that the source names, to overrule it."""
NEGATION_REACH = 6
"""Words after a negation that it still governs, within its clause."""


@dataclass(slots=True)
class Prepared:
    """One text, ready for the families. Token numbers run over the whole text; a span's `last` is not part of it."""

    text: str
    speaker: Speaker
    visibility: Visibility
    language: str | None
    coverage: Coverage
    tokens: list[Token]
    sentences: list[Stretch]
    clauses: list[Stretch]
    found: dict[str, list[Span]] = field(default_factory=dict)
    """Spans by concept (`family.name`), in the order of the text."""

    def spans(self, *concepts: str) -> list[Span]:
        """The spans of these concepts, in the order of the text."""
        if len(concepts) == 1:
            return self.found.get(concepts[0], [])
        return sorted(
            (span for concept in concepts for span in self.found.get(concept, ())),
            key=lambda span: (span.first, span.last),
        )

    def has(self, *concepts: str) -> bool:
        """Whether any of these concepts was found."""
        return any(self.found.get(concept) for concept in concepts)

    def sentence(self, span: Span) -> Stretch:
        """The sentence a span stands in."""
        return self.sentences[self.tokens[span.first].sentence]

    def clause(self, span: Span) -> Stretch:
        """The clause a span begins in."""
        return self.clauses[self.tokens[span.first].clause]

    def inside(self, stretch: Stretch, *concepts: str) -> Iterator[Span]:
        """The spans of these concepts that begin within a sentence or a clause."""
        for concept in concepts:
            spans = self.found.get(concept, ())
            index = bisect_left(spans, stretch.first, key=lambda span: span.first)
            while index < len(spans) and spans[index].first < stretch.last:
                yield spans[index]
                index += 1

    def negated(self, span: Span, reach: int = NEGATION_REACH) -> bool:
        """Whether a negation of its clause governs the span: before it within reach; in German also up to three words
        after it (`ich lösche das nicht`). What only looks like one (`not only`, `don't hesitate`) is none, nor is one
        within the span: `costs you nothing` is an offer."""
        clause = self.clause(span)
        behind = 3 if (self.language or "").startswith("de") else 0
        for negator in self.inside(clause, "common.negator"):
            before = span.first - reach <= negator.first < span.first
            near = before or span.last <= negator.first < span.last + behind
            if near and not any(
                apparent.first <= negator.first < apparent.last
                for apparent in self.inside(self.sentence(span), "common.apparent_negation")
            ):
                return True
        return False

    def quoted(self, span: Span) -> bool:
        """Whether the span stands in quotation marks."""
        return self.tokens[span.first].quoted

    def reported(self, span: Span) -> bool:
        """Whether its sentence tells before the span what the other side said or wanted (`you asked us to…`)."""
        return any(report.first <= span.first for report in self.inside(self.sentence(span), "common.reporting"))

    def conditional(self, stretch: Stretch) -> bool:
        """Whether a sentence or a clause sets a condition (`if`, `once`, `should you`)."""
        return next(self.inside(stretch, "common.conditional"), None) is not None

    def question(self, span: Span) -> bool:
        """Whether the span's sentence asks: by its mark, or by how it begins."""
        sentence = self.sentence(span)
        if sentence.question:
            return True
        return any(start.first == sentence.first for start in self.inside(sentence, "common.question_start"))

    def mark(self, signal: str, spans: Span | Iterable[Span], detail: str = "") -> Mark:
        """A signal at one span, or from the first to the last of several, in code points of the text as given."""
        several = [spans] if isinstance(spans, Span) else list(spans)
        first = min(span.first for span in several)
        last = max(span.last for span in several)
        start, end = self.tokens[first].start, self.tokens[last - 1].end
        return Mark(signal=signal, start=start, end=end, text=self.text[start:end], detail=detail)


def _languages(given: str | None, recognised: Recognised) -> tuple[str | None, Coverage, list[str]]:
    """The language to report, the coverage, and the packs to read with.

    The source's word counts unless the text is plainly in another language: people answer a Spanish review in English.
    """
    hint = (given or "").replace("_", "-").split("-")[0].lower() or None
    if hint in ("und", "mul", "zxx"):
        hint = None
    own = recognised.language
    plain = recognised.sure
    if own is not None and hint in LANGUAGES and own != hint:
        worth = dict(recognised.worth)
        plain = plain and worth[own] >= CLEARLY * worth.get(hint, 0.0)
    if hint is None or (plain and own != hint and (own is not None or hint in LANGUAGES)):
        language, primary = own, own
    else:
        language, primary = given, hint
    names = [name for name in dict.fromkeys((primary, own, recognised.second)) if name is not None]
    if hint is None and not recognised.sure:  # too short to tell: look in every language that it may be in
        names += LANGUAGES if own is None else recognised.likely
    packs = [name for name in dict.fromkeys(names) if name in LANGUAGES]
    if not packs or recognised.foreign:
        return language, "none", []
    if primary not in LANGUAGES or recognised.second is not None:
        return language, "partial", packs
    return language, "full", packs


def prepare(text: str, speaker: Speaker, visibility: Visibility = "public", language: str | None = None) -> Prepared:
    """Make a text ready. Called once for each text; linear in its length, and never raises for any text."""
    tokens, sentences, clauses = scan(text)
    name, coverage, packs = _languages(language, recognise(tokens))
    prepared = Prepared(text, speaker, visibility, name, coverage, tokens, sentences, clauses)
    if not packs or not tokens:
        return prepared
    ends = [sentences[token.sentence].last for token in tokens]
    for pack in packs:
        for span in load(pack).lexicon.find(tokens, ends):
            prepared.found.setdefault(span.concept, []).append(span)
    if len(packs) > 1:
        for spans in prepared.found.values():
            spans.sort(key=lambda span: (span.first, span.last))
    _split_clauses(prepared)
    return prepared


def _split_clauses(prepared: Prepared) -> None:
    """Let a clause also begin at each conjunction."""
    starts = {span.first for span in prepared.spans("common.conjunction")}
    if not starts:
        return
    clauses: list[Stretch] = []
    for clause in prepared.clauses:
        cuts = [clause.first, *(at for at in range(clause.first + 1, clause.last) if at in starts), clause.last]
        clauses += [Stretch(first, last) for first, last in pairwise(cuts)]
    prepared.clauses = clauses
    for number, clause in enumerate(clauses):
        for index in range(clause.first, clause.last):
            prepared.tokens[index].clause = number
