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
SCARE = 6
"""So many words in quotation marks at most are held up, not quoted."""
ENOUGH_BESIDE = 5
"""Words beside a bare `Sorry!` from which on it is for something."""
MANY_CAUSES = 4
"""So many reasons are one too, of whatever kind; half as many kinds are, where the text lectures in words."""


def marks(prepared: Prepared) -> list[Mark]:
    """The signals of tone in a reply; a customer's message has none of them."""
    if prepared.speaker != "brand":
        return []
    apologies = list(_apologies(prepared))
    hostile = [*_insults(prepared), *_threats(prepared), *_blames(prepared), *_disputes(prepared)]
    hostile += _contradictions(prepared, apologies)
    talked_down = list(_condescension(prepared))
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
    """What recognises the problem: set phrases, an apology for something, or a problem stated without a quarrel.

    In a sentence that scolds, and anywhere beside a quarrel or excuses, a problem counts where it is conceded (`Yes, it
    was late, but…`).
    """
    starts = {mark.start for mark in (*hostile, *talked_down)}
    scolding = {token.sentence for token in prepared.tokens if token.start in starts}
    passes = covered(prepared.spans("tone.acknowledge_pass"))
    spans = [
        span
        for span in _said(prepared, "tone.acknowledge")
        if not (
            touches(span, passes)
            or prepared.tokens[span.first].sentence in scolding
            or _has(prepared, prepared.clause(span), "promise.if")
            or prepared.sentence(span).question
        )
    ]
    for apology in apologies:
        sentence = prepared.sentence(apology)
        beside = len(prepared.tokens) - (sentence.last - sentence.first)
        if prepared.tokens[apology.first].sentence not in scolding and (
            sentence.last - apology.last >= 2
            or apology.first - sentence.first >= 4
            or (beside >= ENOUGH_BESIDE and not hostile and not talked_down)
        ):
            spans.append(Span("tone.apology", apology.first, min(sentence.last, apology.last + 6)))
    quarrel = bool(hostile) or any(mark.detail == "excuses" for mark in talked_down)
    spans += _problems(prepared, quarrel, scolding)
    return [prepared.mark("acknowledges", span) for span in spans]


def _problems(prepared: Prepared, quarrel: bool, scolding: set[int]) -> Iterator[Span]:
    """What went wrong, stated as a fact; in a quarrel, and in a sentence that scolds, what is conceded before."""
    if prepared.has("tone.warning"):
        return
    conceded = {span.first for span in _said(prepared, "tone.concede")}
    for span in _said(prepared, "tone.problem"):
        sentence = prepared.sentence(span)
        if (quarrel or prepared.tokens[span.first].sentence in scolding) and not any(
            first in conceded for first in range(sentence.first, span.first)
        ):
            continue
        if not (
            prepared.question(span)
            or prepared.conditional(sentence)
            or prepared.reported(span)
            or _has(prepared, sentence, "tone.problem_pass")
        ):
            yield span


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


def _contradictions(prepared: Prepared, apologies: list[Span]) -> Iterator[Mark]:
    """A sentence that sets something against what the customer says.

    Their account beside a denial, a record beside what they did or beside a denial, what they did beside their own
    words in quotation marks or a mocking turn, or, in a reply without a kind word, beside what it cost them.
    """
    cold = not apologies and not prepared.has("tone.thanks", "contact.invite", "tone.acknowledge")
    sorry = {prepared.tokens[span.first].sentence for span in apologies}
    for number, sentence in enumerate(prepared.sentences):
        account = _first(prepared, sentence, "tone.account")
        evidence = _first(prepared, sentence, "tone.evidence")
        charge = _first(prepared, sentence, "tone.charge")
        if account is None and evidence is None and charge is None:
            continue
        contrary = _first(prepared, sentence, "tone.contrary")
        pairs = (
            (account, contrary),
            (evidence, contrary),
            (evidence, charge),
            (charge, _first(prepared, sentence, "tone.mocking_turn") or _scare_quotes(prepared, sentence)),
            (charge if cold else None, _first(prepared, sentence, "tone.adverse")),
        )
        pair = next((pair for pair in pairs if pair[0] is not None and pair[1] is not None), None)
        if pair is None or number in sorry or _has(prepared, sentence, "tone.warning", "tone.contradiction_pass"):
            continue
        yield prepared.mark("argues", [span for span in pair if span is not None], "contradiction")


def _first(prepared: Prepared, stretch: Stretch, concept: str) -> Span | None:
    """The first span of a stretch that the company says itself."""
    return next(
        (
            span
            for span in prepared.inside(stretch, concept)
            if not prepared.quoted(span) and not prepared.reported(span)
        ),
        None,
    )


def _scare_quotes(prepared: Prepared, sentence: Stretch) -> Span | None:
    """A few of the customer's words in quotation marks within a sentence of one's own."""
    quoted = [index for index in range(sentence.first, sentence.last) if prepared.tokens[index].quoted]
    if not quoted or len(quoted) > SCARE or len(quoted) == sentence.last - sentence.first:
        return None
    return Span("tone.scare_quotes", quoted[0], quoted[-1] + 1)


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
    many = len(kinds) >= MANY_EXCUSES and (
        prepared.has("tone.excuse_link") or len({prepared.tokens[span.first].sentence for span in kinds}) == 1
    )
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
