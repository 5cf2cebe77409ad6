"""Values by single ideas: anything worth having, waived or hinted at, and money, whatever its words."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from gateway_reading.lexicon import Span
from gateway_reading.prepared import Prepared
from gateway_reading.trade_changes import longest, overlap, told
from gateway_reading.trade_values import VALUES, Value, settled

BROAD = ("trade.waiver", "trade.boon", "trade.lure", "trade.sum", *VALUES)
WEAK = ("sum", "refund", "amount")
"""Values that may be owed: money alone, and what is given back."""
MOST = 24
"""Spans of one idea that are looked at in one text."""


def standing(text: Prepared, *concepts: str) -> list[Span]:
    """The longest spans of some ideas, as far as they are not quoted."""
    return [span for span in islice(longest(text.spans(*concepts)), MOST) if not text.quoted(span)]


def exclusive(text: Prepared, span: Span) -> bool:
    """Whether its sentence denies with a way out: `no voucher unless…`."""
    return any(text.inside(text.sentence(span), "trade.exclusive"))


def values_by_idea(text: Prepared) -> list[Span]:
    """What of value a customer names."""
    return [
        span
        for span in standing(
            text,
            "trade.boon",
            "trade.lure",
            "trade.sum",
            "trade.benefit",
            "trade.offer",
            "trade.amount",
            "trade.refund",
        )
        if not text.negated(span, 4)
    ]


def values_near(text: Prepared) -> list[Value]:
    """The values that single ideas make, whole phrases among them."""
    return list(islice(_values(text), MOST))


def _values(text: Prepared) -> Iterable[Value]:
    seen: list[Span] = []
    for concept in BROAD:
        kind = concept.removeprefix("trade.")
        for span in longest(text.spans(concept)):
            if any(overlap(span, each) for each in seen) or not _valued(text, span, kind):
                continue
            seen.append(span)
            value = Value(span, kind not in WEAK, False, kind)
            if kind not in (*WEAK, "vague", "bestow") or text.has("trade.hush") or not settled(text, value):
                yield value


def _valued(text: Prepared, span: Span, kind: str) -> bool:
    if text.quoted(span) or told(text, span):
        return False
    sentence = text.sentence(span)
    if text.negated(span, 4) and not (exclusive(text, span) or _about_silence(text, span)):
        return False
    if kind not in ("boon", "waiver", "lure") and any(text.inside(sentence, "trade.trouble")):
        return False
    if kind == "bestow" and any(
        span.first <= each.first < span.last + 4 for each in text.inside(sentence, "trade.chore")
    ):
        return False
    return kind not in (*WEAK, "vague") or not any(text.inside(sentence, "trade.owed"))


def _about_silence(text: Prepared, span: Span) -> bool:
    """Whether the negation before a value is that of the change: `who posts nothing gets a ticket`."""
    negators = [each for each in text.inside(text.clause(span), "common.negator") if 0 < span.first - each.first <= 4]
    silences = list(text.inside(text.sentence(span), "trade.withhold", "trade.whole"))
    return bool(negators) and all(
        any(silence.first <= each.first < silence.last <= span.first for silence in silences) for each in negators
    )
