"""Values in a text: what is offered, granted or hinted at, and what is merely owed, broken or named."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gateway_reading.lexicon import Span
from gateway_reading.prepared import Prepared
from gateway_reading.trade_changes import Change, longest, overlap, told

VALUES = tuple(f"trade.{kind}" for kind in ("offer", "benefit", "vague", "refund", "amount", "bestow"))
NEAR = 14
"""Words between a giving verb and what is given, at most."""


@dataclass(slots=True)
class Value:
    """Something of value in the text."""

    span: Span
    strong: bool
    """Whether it is beyond what is owed by its own words."""
    given: bool
    """Whether the text offers or grants it, rather than naming it."""
    kind: str


def values(text: Prepared, changes: list[Change]) -> Iterable[Value]:
    """The values of a text that count, strongest words first."""
    seen: list[Span] = []
    for concept in VALUES:
        name = concept.removeprefix("trade.")
        for span in longest(text.spans(concept)):
            if any(overlap(span, each) for each in seen) or any(
                change.span.first <= span.first and span.last <= change.span.last for change in changes
            ):
                continue
            value = _value(text, span, name)
            if value is not None:
                seen.append(span)
                yield value


def _value(text: Prepared, span: Span, name: str) -> Value | None:
    if text.quoted(span) or told(text, span):
        return None
    sentence = text.sentence(span)
    exclusive = next(text.inside(sentence, "trade.exclusive"), None) is not None
    if not exclusive and (text.negated(span) or any(text.inside(sentence, "trade.decline", "trade.withdraw"))):
        return None
    clause = text.clause(span)
    if name == "bestow" and (
        any(each.first < span.last + 4 for each in _after(text, span, "trade.chore"))
        or any(text.inside(sentence, "trade.welcome"))
    ):
        return None
    troubled = any(text.inside(sentence, "trade.trouble"))
    owed = name in ("benefit", "amount", "vague") and any(text.inside(sentence, "trade.owed", "trade.refund"))
    strong = name == "offer" or (name == "benefit" and not troubled)
    giving = [
        each
        for each in text.inside(sentence, "trade.give")
        if not overlap(each, span)
        and (
            (each.last <= span.first + 1 and span.first - each.last <= NEAR) or 0 <= each.first - span.last <= NEAR // 2
        )
        and not text.negated(each)
    ]
    granted = any(True for _ in text.inside(clause, "trade.granted"))
    given = name == "offer" or bool(giving) or granted
    if name in ("vague", "refund", "bestow") or (name != "offer" and (troubled or owed)):
        given = False
    if name == "amount":
        given = given and not owed
        strong = given
    return Value(span, strong and not (owed and name != "offer"), given, name)


def settled(text: Prepared, value: Value) -> bool:
    """Whether the value is already with the customer: then nothing is left to trade."""
    clause = text.clause(value.span)
    return any(text.inside(clause, "trade.granted")) and not any(text.inside(clause, "trade.future"))


def priced(text: Prepared, value: Value) -> bool:
    """Whether a sum is what something costs or was paid, not what is offered."""
    return any(text.inside(text.sentence(value.span), "trade.priced", "trade.owed", "trade.trouble"))


def _after(text: Prepared, span: Span, concept: str) -> list[Span]:
    return [each for each in text.inside(text.sentence(span), concept) if each.first >= span.first]
