"""Commitments in a reply: what the company says it will do, and by when.

A clause with a moment ahead is a promise unless it asks, denies, supposes, tells of the past or of what the customer
shall do, advertises, or gives opening hours. Without a moment it takes a phrase that commits (`we'll look into it`).
"""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gateway_reading.dates import When, moments
from gateway_reading.lexicon import Span
from gateway_reading.prepared import Prepared
from gateway_reading.spans import covered, touches
from gateway_reading.tokens import Stretch
from gateway_schemas.reading import Mark, Promised

KINDS = ("refund", "delivery", "contact", "repair", "information")
TAIL = 3
"""Words of a clause behind its moment that still belong to the quote (`bis Freitag zurück`)."""


def promises(prepared: Prepared, at: datetime, timezone: str) -> list[Promised]:
    """The promises of a reply; a customer makes none that bind the company."""
    if prepared.speaker != "brand" or prepared.coverage == "none":
        return []
    return [_promised(prepared, span, due) for span, due in commitments(prepared, at, timezone)]


def marks(prepared: Prepared) -> list[Mark]:
    """`x_as_promised`: a reply that tells of something done as it was promised, not of what is still to come."""
    if prepared.speaker != "brand":
        return []
    said = prepared.spans("promise.as_promised")
    return [prepared.mark("x_as_promised", span) for span in said if _done(prepared, span)]


def _done(prepared: Prepared, span: Span) -> bool:
    sentence = prepared.sentence(span)
    if prepared.quoted(span) or sentence.question:
        return False
    to_come = ("promise.future", "promise.commit", "promise.maybe", "promise.under_way", "common.negator")
    said = covered([span])  # `promised` alone is a word of what is to come
    return all(touches(other, said) for other in prepared.inside(sentence, *to_come))


def commitments(prepared: Prepared, at: datetime, timezone: str) -> list[tuple[Span, datetime | None]]:
    """The tokens of each promise and when it is due: the dated ones, then the undated ones of other clauses."""
    try:
        zone: ZoneInfo | None = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        zone = None
    found: list[tuple[Span, datetime | None]] = []
    for moment in moments(prepared, at.astimezone(zone) if zone else at):
        if _binding(prepared, moment):
            quote = _quote(prepared, moment)
            if found and found[-1][0].first == quote.first:
                continue
            found.append((quote, moment.due))
    taken = {number for span, _ in found for number in _clauses(prepared, span)}
    empty = covered(prepared.spans("promise.commit_pass"))
    for span in prepared.spans("promise.commit"):
        clause = prepared.clause(span)
        if prepared.tokens[span.first].clause in taken:
            continue
        if _unsaid(prepared, span, clause) or _denied(prepared, Stretch(span.first - 4, clause.last), span.last):
            continue
        if touches(span, empty):
            continue
        if next(prepared.inside(prepared.sentence(span), "tone.threat", "tone.insult"), None) is not None:
            continue  # what is threatened is not owed
        if _suppositions(prepared, span.first, span.last):
            continue
        quote = Span("promise", span.first, max(span.last, clause.last if clause.last - span.last <= 6 else span.last))
        found.append((quote, None))
        taken.add(prepared.tokens[span.first].clause)
    return found


def _clauses(prepared: Prepared, span: Span) -> set[int]:
    return {prepared.tokens[index].clause for index in range(span.first, span.last)}


def _promised(prepared: Prepared, span: Span, due: datetime | None) -> Promised:
    start, end = prepared.tokens[span.first].start, prepared.tokens[span.last - 1].end
    stretch = Stretch(span.first, span.last)
    kind = next((kind for kind in KINDS if next(prepared.inside(stretch, f"promise.about_{kind}"), None)), "")
    return Promised(quote=prepared.text[start:end], start=start, end=end, due=due, detail=kind)


def _unsaid(prepared: Prepared, span: Span, clause: Stretch) -> bool:
    """Whether the words are a quotation, a question, a possibility, or what the customer said."""
    return (
        prepared.quoted(span)
        or prepared.question(span)
        or prepared.reported(span)
        or next(prepared.inside(clause, "promise.maybe"), None) is not None
    )


def _denied(prepared: Prepared, stretch: Stretch, before: int) -> bool:
    """Whether a negation stands in the stretch before a token; what only looks like one (`no later than`) is none."""
    apparent = prepared.spans("common.apparent_negation")
    return any(
        negator.first < before and not any(each.first <= negator.first < each.last for each in apparent)
        for negator in prepared.inside(stretch, "common.negator")
    )


def _suppositions(prepared: Prepared, first: int, last: int) -> bool:
    """Whether the sentence supposes something before, or asks the customer to act for it anywhere."""
    sentence = prepared.sentences[prepared.tokens[first].sentence]
    if any(span.first < last for span in prepared.inside(sentence, "promise.if")):
        return True
    return next(prepared.inside(sentence, "promise.if_you_act"), None) is not None


def _binding(prepared: Prepared, moment: When) -> bool:
    span = Span("promise.when", moment.first, moment.last)
    stretch = _clause(prepared, moment)
    start = stretch.first
    sentence = prepared.sentence(span)
    if _unsaid(prepared, span, stretch) or _suppositions(prepared, moment.first, moment.last):
        return False
    if any(
        moment.first - 2 <= past.last - 1 < moment.first or past.first == moment.last
        for past in prepared.spans("promise.past")
    ):
        return False
    if next(prepared.inside(sentence, "promise.pass"), None) is not None:
        return False
    if touches(span, covered(prepared.inside(sentence, "promise.when_pass"))):
        return False  # `the Friday crew`
    if _denied(prepared, stretch, stretch.last if (prepared.language or "").startswith("de") else moment.first):
        return False
    receives = next(prepared.inside(stretch, "promise.receive"), None) is not None
    if not receives and (
        any(True for _ in prepared.inside(stretch, "promise.customer_does")) or _orders(prepared, stretch)
    ):
        return False
    future = next(prepared.inside(stretch, "promise.future"), None) is not None
    if not (future or receives) and next(prepared.inside(stretch, "tone.evidence", "tone.charge"), None) is not None:
        return False  # `the delivery note has your signature at 14:02`
    past = next(prepared.inside(Stretch(start, moment.first), "promise.past_verb"), None) is not None
    if past and not future and moment.kind in ("weekday", "date", "clock"):
        return False
    told = Stretch(moment.last, min(moment.last + 3, sentence.last))
    if moment.kind == "weekday" and not future and next(prepared.inside(told, "promise.past_verb"), None) is not None:
        return False  # `the queue on Saturday was a mess`
    if moment.kind == "period" and not (future or receives or moment.led):
        return False  # `the third time this week`
    # A moment alone is no commitment: something must happen in its clause, before it or after it.
    return future or receives or stretch.last - start - (moment.last - moment.first) >= 2


def _clause(prepared: Prepared, moment: When) -> Stretch:
    """The clause a moment stands in; with the next one where the moment fills it (`Tomorrow, we will…`)."""
    number = prepared.tokens[moment.last - 1].clause
    clause = prepared.clauses[number]
    first, last = min(clause.first, moment.first), clause.last
    sentence = prepared.sentences[prepared.tokens[moment.first].sentence]
    if last - first - (moment.last - moment.first) < 2:
        if last < sentence.last:
            last = prepared.clauses[number + 1].last
        elif first == moment.first and first > sentence.first:
            first = prepared.clauses[number - 1].first  # `the credit is on your next bill, on 1 April`
    return Stretch(first, last)


def _orders(prepared: Prepared, clause: Stretch) -> bool:
    """Whether the clause begins by telling the customer to do something."""
    opening = clause.first
    for lead in prepared.inside(Stretch(clause.first, clause.first + 1), "promise.lead"):
        opening = max(opening, lead.last)
    return any(span.first in (clause.first, opening) for span in prepared.spans("promise.imperative"))


def _quote(prepared: Prepared, moment: When) -> Span:
    """The commitment with its moment: from the clause's subject on, without `you will receive`."""
    clause = _clause(prepared, moment)
    first = clause.first
    while first < moment.first and any(
        span.first == first and span.last <= moment.first for span in prepared.spans("promise.lead")
    ):
        first = max(span.last for span in prepared.spans("promise.lead") if span.first == first)
    for span in prepared.inside(Stretch(first, min(first + 3, moment.first)), "promise.receive_lead"):
        if span.last < moment.first:
            first = span.last
            break
    last = moment.last
    if moment.first - first < 2 or clause.last - last <= TAIL:
        last = max(last, clause.last)
    return Span("promise", first, last)
