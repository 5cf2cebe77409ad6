"""Value for a change: what is offered, what change is asked for, and whether the one is tied to the other.

The packs say what counts as value (`benefit`, `offer`, `vague`, `refund`, `amount`), as a change of what somebody wrote
(`removal`, `edit`, `rating`, `positive`, `withhold`; weaker: `wish`, `pronoun`) and as a tie. How they combine is the
same for all languages and stands here:

- *Strong value and a change asked for in one text are a tie*, in whichever order and however far apart: that is how
  its reader will take it. Only an explicit untying that names the change ("whether or not you edit it") undoes it.
- *Weak value* (a refund, a sum, "something nice") needs a word that ties it to the change, in the same sentence or the
  next: a refund that has arrived and a polite request to update the review are not a trade.
- What is negated, quoted or told of the other side counts for nothing. A negation that sets a condition ("no voucher
  until the review is gone") is a tie all the same.
- *Value and change by single ideas* are a tie where whole phrases made none: see `trade_meeting`.
- *A change set as a condition of whatever* is a hint for a person to look at: see `trade_open`.
- "No strings attached" next to a request is a tie with the detail `untied_in_words`: the words and the deed disagree,
  and a person should look.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

from gateway_reading.prepared import Prepared
from gateway_reading.trade_answers import answers, customer
from gateway_reading.trade_changes import (
    CHANGES,
    PRAISE,
    Change,
    as_it_is,
    between,
    changes,
    link_before,
    overlap,
    refusals,
    thanked,
    told,
)
from gateway_reading.trade_excuses import disowned
from gateway_reading.trade_ideas import values_near
from gateway_reading.trade_meeting import Meeting, hints, meetings, met, to_everybody
from gateway_reading.trade_open import opened
from gateway_reading.trade_values import VALUES, Value, priced, settled, values
from gateway_schemas.reading import Mark

MOST = 40
"""Changes, and values, looked at in one text."""


@dataclass(slots=True)
class Trade:
    """What one text says of values and changes."""

    changes: list[Change] = field(default_factory=list)
    meetings: list[Meeting] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    ties: list[tuple[Value, Change, str]] = field(default_factory=list)


def marks(text: Prepared) -> list[Mark]:
    """The signals of this family: see `gateway_schemas.reading.SIGNALS` for what each means."""
    if text.speaker == "customer":
        return customer(text)
    trade = read(text)
    found = [
        text.mark("incentive_for_retraction", (value.span, change.span), detail) for value, change, detail in trade.ties
    ][:3]
    tied_values = {id(value) for value, _, _ in trade.ties}
    tied_changes = {id(change) for _, change, _ in trade.ties}
    for value in trade.values:
        if value.given or id(value) in tied_values:
            found.append(text.mark("incentive_offered", value.span, value.kind))
    for change in trade.changes:
        if change.requested or id(change) in tied_changes:
            found.append(text.mark("retraction_requested", change.span, change.kind))
    return found + hints(text, trade.meetings) + _gating(text) + answers(text)


def read(text: Prepared) -> Trade:
    """The values, the changes and their ties in what the brand says."""
    trade = Trade()
    if text.has(*VALUES, *CHANGES):
        trade.changes = list(islice(changes(text), MOST))
        trade.values = list(islice(values(text, trade.changes), MOST))
        if not disowned(text):
            trade.ties = list(_ties(text, trade))
    trade.meetings = meetings(text, trade.changes)
    if not trade.ties:
        found = list(met(text, trade.meetings)) or list(opened(text, trade.meetings, values_near(text)))
        for value, change, detail in found:
            trade.ties.append((value, change, detail))
            if not any(each is change for each in trade.changes):
                trade.changes.append(change)
            trade.values = [each for each in trade.values if not overlap(each.span, value.span)]
            trade.values.append(value)
    return trade


def _ties(text: Prepared, trade: Trade) -> Iterable[tuple[Value, Change, str]]:
    if not trade.changes or not trade.values:
        return
    no_strings = text.has("trade.no_strings")
    found: list[tuple[Value, Change, str]] = []
    for change in trade.changes:
        untied = any(text.inside(text.sentence(change.span), "trade.untied"))
        if untied or any(text.inside(text.sentence(change.span), "trade.plain")):
            continue
        if text.has("trade.untied") and not change.requested:
            continue
        for value in trade.values:
            if (detail := _tied(text, value, change)) is None:
                continue
            if no_strings or text.has("trade.untied"):
                detail = "untied_in_words"
            found.append((value, change, detail))
            break
    yield from (tie for tie in found if not _declined(text, tie[0], tie[1]))


def _declined(text: Prepared, value: Value, change: Change) -> bool:
    """Whether a later sentence declines it: `You would like 100 € to take it down. We can't do that.`"""
    last = max(text.tokens[value.span.first].sentence, text.tokens[change.span.first].sentence)
    return any(
        text.tokens[span.first].sentence > last
        and not text.quoted(span)
        and not any(text.inside(text.sentence(span), "trade.exclusive"))
        for span in refusals(text)
    )


def _tied(text: Prepared, value: Value, change: Change) -> str | None:
    """How a value is tied to a change: `condition`, `exchange` or `together` where only their meeting says so."""
    if change.kind == "pronoun" and (
        text.has("trade.trouble")
        or (not text.has("trade.word") and any(text.inside(text.sentence(change.span), "trade.elsewhere")))
    ):
        return None
    distance = abs(text.tokens[value.span.first].sentence - text.tokens[change.span.first].sentence)
    link = link_before(text, change.span)
    governs = link is not None and not (
        distance == 0
        and link.first < value.span.first < change.span.first
        and link.concept not in ("trade.bound", "trade.purpose")
    )
    if to_everybody(text, value.span, change.span):
        return None
    if distance and as_it_is(text, change):
        return None
    if value.strong and (value.given or distance == 0 or governs):
        if change.kind == "pronoun" and not governs and not text.has("trade.mention"):
            paid = distance == 0 and between(text, change.span, value.span, "trade.consequence")
            return "exchange" if paid else None
        if governs:
            return "condition"
        return _beside(text, value, change)
    if distance > 1:
        return None
    if governs and (distance == 0 or value.kind in ("vague", "bestow")) and not settled(text, value):
        return "condition"
    if (
        distance == 0
        and change.span.first < value.span.first
        and between(text, change.span, value.span, "trade.consequence")
    ):
        return "exchange"
    if value.kind == "refund" and change.requested and not settled(text, value) and _sequel(text, value, change):
        return "exchange"
    if value.kind == "amount" and distance == 0 and change.requested and not priced(text, value):
        return "together"
    if value.kind == "vague" and (change.requested or governs):
        return "exchange" if _eager(text, value) else None
    return None


def _beside(text: Prepared, value: Value, change: Change) -> str | None:
    """What a value beside a change makes of it. In a sentence with words that no trade would use, a hint at most, and
    that only where a change is asked for."""
    if text.has("trade.no_strings") or not any(text.inside(text.sentence(value.span), "trade.plain")):
        return "together"
    asked = any(text.inside(text.sentence(change.span), "trade.request"))
    return "hinted" if asked and change.kind not in PRAISE else None


def _sequel(text: Prepared, value: Value, change: Change) -> bool:
    """Whether a word puts the change before or after the money: `but first`, `afterwards`, `in return`."""
    sentence = text.sentence(change.span)
    first = min(value.span.first, change.span.first) if text.sentence(value.span) is sentence else sentence.first
    return any(first <= each.first < change.span.last + 4 for each in text.inside(sentence, "trade.sequel"))


def _eager(text: Prepared, value: Value) -> bool:
    """Whether a vague value stands in a sentence that gives: `we would show ourselves grateful`."""
    return any(text.inside(text.sentence(value.span), "trade.hint"))


def _gating(text: Prepared) -> list[Mark]:
    """Reviews asked of happy customers only: satisfaction as a condition, and an invitation, in one sentence."""
    for happy in text.spans("trade.happy"):
        if text.quoted(happy) or told(text, happy) or text.negated(happy):
            continue
        sentence = text.sentence(happy)
        for invitation in text.inside(sentence, "trade.invite"):
            if not (overlap(happy, invitation) or thanked(text, invitation) or text.negated(invitation)):
                return [text.mark("x_review_gating", (happy, invitation))]
    return []
