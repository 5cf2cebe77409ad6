"""Manners of a reply: acknowledging, apologising, arguing, blaming, insulting, threatening, talking down, liability.

What each language says is in its pack's `tone.toml`; here is how the concepts combine.
"""

from __future__ import annotations

from collections.abc import Iterator

from gateway_reading.lexicon import Span
from gateway_reading.prepared import Prepared
from gateway_reading.spans import covered, touches
from gateway_reading.tokens import Stretch
from gateway_schemas.reading import Mark

EXCUSES = ("staff", "supply", "weather", "demand", "system", "outside")
MANY_EXCUSES = 3
"""So many kinds of reasons in one text are a lecture, not an explanation."""
MANY_CAUSES = 4
"""So many reasons are one too, of whatever kind; half as many kinds are, where the text lectures in words."""


def marks(prepared: Prepared) -> list[Mark]:
    """The signals of tone in a reply; a customer's message has none of them."""
    if prepared.speaker != "brand":
        return []
    hostile = [*_insults(prepared), *_threats(prepared), *_blames(prepared), *_disputes(prepared)]
    talked_down = list(_condescension(prepared))
    apologies = list(_apologies(prepared))
    found = [prepared.mark("apologises", span) for span in apologies]
    found += _acknowledgements(prepared, apologies, hostile, talked_down)
    found += hostile
    found += [
        mark.model_copy(update={"signal": "argues", "detail": mark.signal})
        for mark in hostile
        if mark.signal in ("blames", "insults", "threatens")
    ]
    return found + talked_down + list(_liability(prepared))


def _said(prepared: Prepared, *concepts: str) -> Iterator[Span]:
    """The spans that the company says itself: neither in quotation marks nor as what the customer wrote."""
    for span in prepared.spans(*concepts):
        if not prepared.quoted(span):
            yield span


def _apologies(prepared: Prepared) -> Iterator[Span]:
    void = covered(prepared.spans("tone.apology_void"))
    for span in _said(prepared, "tone.apology"):
        if not touches(span, void) and not prepared.reported(span):
            yield span


def _acknowledgements(
    prepared: Prepared, apologies: list[Span], hostile: list[Mark], talked_down: list[Mark]
) -> list[Mark]:
    """What recognises the problem: set phrases, an apology for something, or a problem stated without a quarrel."""
    spans = [
        span
        for span in _said(prepared, "tone.acknowledge")
        if not _has(prepared, prepared.clause(span), "promise.if") and not prepared.sentence(span).question
    ]
    for apology in apologies:
        sentence = prepared.sentence(apology)
        if sentence.last - apology.last >= 2 or apology.first - sentence.first >= 4:
            spans.append(Span("tone.apology", apology.first, min(sentence.last, apology.last + 6)))
    conceded = {span.first for span in _said(prepared, "tone.concede")}
    if not prepared.has("tone.warning"):
        for span in _said(prepared, "tone.problem"):
            sentence = prepared.sentence(span)
            if hostile and not any(first in conceded for first in range(sentence.first, span.first)):
                continue  # in a quarrel, only what is conceded is recognised
            if not (
                prepared.question(span)
                or prepared.conditional(sentence)
                or prepared.reported(span)
                or _has(prepared, sentence, "tone.problem_pass")
            ):
                spans.append(span)
    starts = {mark.start for mark in (*hostile, *talked_down)}
    scolding = {token.sentence for token in prepared.tokens if token.start in starts}
    return [
        prepared.mark("acknowledges", span) for span in spans if prepared.tokens[span.first].sentence not in scolding
    ]


def _has(prepared: Prepared, stretch: Stretch, *concepts: str) -> bool:
    return next(prepared.inside(stretch, *concepts), None) is not None


def _disputes(prepared: Prepared) -> Iterator[Mark]:
    """Denying, doubting or disbelieving what the customer says. A rumour, a fraud or a fake page may be denied."""
    passes = covered(prepared.spans("tone.dispute_pass"))
    for span in _said(prepared, "tone.dispute"):
        sentence = prepared.sentence(span)
        if touches(span, passes) or _has(prepared, sentence, "tone.warning") or prepared.reported(span):
            continue
        yield prepared.mark("argues", span, "dispute")


def _blames(prepared: Prepared) -> Iterator[Mark]:
    passes = covered(prepared.spans("tone.blame_pass"))
    for span in _said(prepared, "tone.blame"):
        if not touches(span, passes) and not prepared.reported(span) and not prepared.sentence(span).question:
            yield prepared.mark("blames", span)


def _insults(prepared: Prepared) -> Iterator[Mark]:
    """Slurs and mockery, unless the company makes fun of itself."""
    passes = covered(prepared.spans("tone.insult_pass"))
    irony = covered(prepared.spans("tone.self_irony"))
    for span in _said(prepared, "tone.insult"):
        if not (touches(span, passes) or touches(span, irony) or prepared.reported(span) or prepared.negated(span, 3)):
            yield prepared.mark("insults", span)


def _threats(prepared: Prepared) -> Iterator[Mark]:
    passes = {prepared.tokens[index].sentence for index in covered(prepared.spans("tone.threat_pass"))}
    for span in _said(prepared, "tone.threat"):
        if prepared.tokens[span.first].sentence not in passes:
            yield prepared.mark("threatens", span)


def _condescension(prepared: Prepared) -> Iterator[Mark]:
    passes = covered(prepared.spans("tone.condescend_pass"))
    for span in _said(prepared, "tone.condescend"):
        if not (touches(span, passes) or prepared.reported(span) or prepared.negated(span, 2)):
            yield prepared.mark("condescends_or_excuses", span, "condescension")
    first = (next(_said(prepared, f"tone.excuse_{kind}"), None) for kind in EXCUSES)
    kinds = [reason for reason in first if reason is not None]
    causes = [span for kind in EXCUSES for span in _said(prepared, f"tone.excuse_{kind}")]
    apart = {span.first for span in causes}
    many = len(kinds) >= MANY_EXCUSES and prepared.has("tone.excuse_link")
    lectured = prepared.has("tone.lecture")
    if (
        many
        or (lectured and (len(kinds) >= MANY_EXCUSES - 1 or len(apart) >= MANY_CAUSES - 1))
        or (len(apart) >= MANY_CAUSES and len(kinds) > 1)
    ):
        yield prepared.mark("condescends_or_excuses", causes, "excuses")


def _liability(prepared: Prepared) -> Iterator[Mark]:
    """Accepting fault in law: in its words, or by owning up to harm, damage or a breach."""
    passes = covered(prepared.spans("tone.liability_pass"))
    for span in _said(prepared, "tone.liability", "tone.responsibility"):
        sentence = prepared.sentence(span)
        if (
            touches(span, passes)
            or prepared.negated(span)
            or prepared.reported(span)
            or prepared.conditional(prepared.clause(span))
        ):
            continue
        if span.concept == "tone.liability":
            if _has(prepared, sentence, "tone.own"):
                yield prepared.mark("admits_liability", span)
        elif _has(prepared, sentence, "tone.harm") or _has(prepared, sentence, "tone.whole"):
            yield prepared.mark("admits_liability", span)
