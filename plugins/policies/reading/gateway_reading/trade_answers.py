"""Answers to a proposed trade (agrees, gives, declines, takes back), and the proposal on the customer's side."""

from __future__ import annotations

from gateway_reading.lexicon import Span
from gateway_reading.prepared import Prepared
from gateway_reading.trade_changes import CHANGES, longest, overlap, refusals, told
from gateway_reading.trade_ideas import values_by_idea, values_near
from gateway_reading.trade_meeting import meetings
from gateway_reading.trade_open import bare
from gateway_schemas.reading import Mark


def answers(text: Prepared) -> list[Mark]:
    """How the brand answers a proposal; called for each of its texts."""
    found: list[Mark] = []
    declines = [
        span
        for span in refusals(text)
        if not text.quoted(span) and not any(text.inside(text.sentence(span), "trade.exclusive"))
    ]
    found += [text.mark("declines", span) for span in declines[:2]]
    withdraws = [span for span in longest(text.spans("trade.withdraw", "trade.untied")) if not text.quoted(span)]
    found += [text.mark("withdraws_offer", span) for span in withdraws[:2]]
    if not declines and not withdraws:
        for span in text.spans("trade.agree"):
            if not text.negated(span) and not text.quoted(span) and _opens(text, span):
                found.append(text.mark("agrees", span))
                break
    for span in text.spans("trade.granted"):
        sentence = text.sentence(span)
        values = [*text.inside(sentence, "trade.benefit", "trade.amount", "trade.refund", "trade.offer")]
        if (
            values
            and not text.quoted(span)
            and not told(text, span)
            and not text.negated(span)
            and all(overlap(each, span) for each in text.inside(text.clause(span), "common.conditional"))
            and not any(text.inside(sentence, "trade.trouble"))
            and all(overlap(each, span) for each in text.inside(text.clause(span), "trade.future"))
        ):
            found.append(text.mark("grants_value", (span, values[0])))
            break
    # that it is on its way, whatever it is: enough for a reader who knows both halves from the conversation
    found += [text.mark("x_given", span) for span in text.spans("trade.granted")[:1] if not text.negated(span)]
    return found


def _opens(text: Prepared, span: Span) -> bool:
    """Whether the span is a clause of its own, or nearly: `done, 50 € sent`, not `we are done with it`."""
    clause = text.clause(span)
    return span.first == clause.first and clause.last - span.last <= 3


def customer(text: Prepared) -> list[Mark]:
    """What a customer says of a trade: proposes one, or asks for the price (`x_asks_price`)."""
    prices = [span for span in text.spans("trade.price", "trade.haggle") if not text.quoted(span)]
    found = [text.mark("x_asks_price", span) for span in prices[:1]]
    return found + (_proposal(text) or _proposed_by_ideas(text))


def _proposed_by_ideas(text: Prepared) -> list[Mark]:
    """A proposal without its phrases (`80 quid and the video never goes online`), where nothing says that it happened
    before or to somebody else."""
    for meeting in meetings(text, []):
        for value in values_by_idea(text):
            if abs(text.tokens[value.first].sentence - text.tokens[meeting.change.span.first].sentence) <= 1 and not (
                any(overlap(value, part) for part in meeting.parts)
                or any(text.inside(text.sentence(value), "trade.past"))
            ):
                return [text.mark("proposes_trade", (meeting.change.span, value), meeting.change.kind)]
    for price, act, _ in bare(text, values_near(text)):
        if not any(text.inside(text.sentence(price.span), "trade.past")):
            return [text.mark("proposes_trade", (act.span, price.span), act.kind)]
    return []


def _proposal(text: Prepared) -> list[Mark]:
    """A change of their own against something of value, in whole phrases."""
    changes = [span for span in longest(text.spans(*CHANGES)) if not text.quoted(span)]
    if not changes:
        return []
    for change in changes:
        if told(text, change) or (text.negated(change) and change.concept != "trade.withhold"):
            continue
        number = text.tokens[change.first].sentence
        near = [
            span
            for span in text.spans(
                "trade.benefit", "trade.refund", "trade.amount", "trade.offer", "trade.price", "trade.haggle"
            )
            if abs(text.tokens[span.first].sentence - number) <= 1 and not (change.first <= span.first < change.last)
        ]
        for value in near:
            demanded = any(
                abs(text.tokens[span.first].sentence - number) <= 1
                for span in text.spans("trade.demand", "trade.price", "trade.haggle")
            )
            linked = any(text.inside(text.sentence(change), "trade.tie", "common.conditional")) or any(
                text.inside(text.sentence(value), "trade.tie", "common.conditional")
            )
            own = any(abs(text.tokens[span.first].sentence - number) <= 1 for span in text.spans("trade.own"))
            if (demanded or linked) and (own or value.concept in ("trade.price", "trade.haggle")):
                return [text.mark("proposes_trade", (change, value), change.concept.removeprefix("trade."))]
    return []
