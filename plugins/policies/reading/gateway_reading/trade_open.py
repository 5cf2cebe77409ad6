"""Trades of which one half has no words of its own.

- *A change as a condition of whatever*: `if you take the thread down, the boat trip stays on our list`. What is worth
  having is an open class, so here the rest of the sentence counts: any `outcome`, which is whatever somebody does, gets
  or becomes, unless the sentence only rejoices or thanks (`welcome`) or explains (`harmless`: `if you edit your review,
  it appears after a day`).
- *A deed of the brand beside a change*: `as you changed it, we raised your speed`. A `deed` is anything that the brand
  does, beside `chore` for what has no value; `since` names a change that was made ("as you"). It may itself be the
  condition (`supposed`: "if we sent you…"), beside `mending` for a repair that is owed.
- *A change of nothing named*: `deleted by Friday = 30 € by PayPal`. What else there is to delete is an open class too,
  so an act on a text by its verb alone (`bare`) counts only in a text that names nothing else, right beside the value.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gateway_reading.lexicon import Span
from gateway_reading.prepared import Prepared
from gateway_reading.trade_changes import Change, broken, link_before, overlap, thanked, told
from gateway_reading.trade_excuses import excused
from gateway_reading.trade_meeting import Meeting
from gateway_reading.trade_values import Value

SHORTEST = 3
"""Words beside the condition that make a promise of their own."""
TERSE = 12
"""Words of a text that says hardly more than a bargain, at most."""
GOVERNED = ("removal", "edit", "rating", "positive", "withhold", "whole", "condition", "passive", "meeting")


def opened(text: Prepared, changes: list[Meeting], values: Sequence[Value]) -> Iterable[tuple[Value, Change, str]]:
    """The trades that a person should look at, where neither phrases nor ideas made one."""
    if excused(text):
        return
    for meeting in changes:
        change = meeting.change
        stake = (_outcome(text, change) if change.kind in GOVERNED else None) or _deed(text, change)
        if stake is not None:
            yield Value(stake, True, True, "deed"), change, "hinted"
            return
    yield from bare(text, values)


def _outcome(text: Prepared, change: Change) -> Span | None:
    """What depends on a change: any outcome in the rest of its sentence; in the one before, where that is all it
    says."""
    link = link_before(text, change.span)
    if link is None or link.concept == "trade.purpose" or thanked(text, change.span):
        return None
    sentence = text.sentence(change.span)
    if sentence.question:
        return None
    number = text.tokens[change.span.first].sentence
    taken = Span("", min(link.first, change.span.first), max(link.last, change.span.last))
    stretches = [sentence]
    if sentence.last - sentence.first - (taken.last - taken.first) < SHORTEST and number > 0:
        stretches.insert(0, text.sentences[number - 1])
    silent = change.kind in ("withhold", "whole") and len(stretches) == 1  # its own negation is no harmless word
    for stretch in stretches:
        harmless = text.inside(stretch, "trade.welcome", "trade.harmless")
        if any(not (silent and overlap(each, change.span)) for each in harmless):
            return None
    for stretch in stretches:
        for outcome in text.inside(stretch, "trade.outcome"):
            if not overlap(outcome, taken) and not text.negated(outcome) and not told(text, outcome):
                return outcome
    return None


def _deed(text: Prepared, change: Change) -> Span | None:
    """What the brand does, whatever it is, where a pact or a change that was made stands beside it, or where it follows
    from the change; or supposes to do before it asks for the change."""
    sentence = text.sentence(change.span)
    supposed = next(text.inside(sentence, "trade.supposed"), None)
    if supposed is not None and supposed.last <= change.span.first:  # `if we sent you the new one, could you revise…`
        owed = text.inside(sentence, "trade.chore", "trade.mending")
        if not any(supposed.first <= each.first < supposed.last + 4 for each in owed):
            return supposed
    bound = any(text.inside(sentence, "trade.pact", "trade.since"))
    for deed in text.inside(sentence, "trade.deed"):
        if overlap(deed, change.span) or text.negated(deed, 3):
            continue
        follows = deed.first > change.span.first and any(
            overlap(each, deed) for each in text.inside(sentence, "trade.consequence")
        )
        chores = (each for each in text.inside(sentence, "trade.chore") if deed.first <= each.first < deed.last + 4)
        if (bound or follows) and next(chores, None) is None:
            return deed
    return None


def bare(text: Prepared, values: Sequence[Value]) -> Iterable[tuple[Value, Change, str]]:
    """An act on a text beside a value, in a text that names nothing that the act could be about."""
    if text.has("trade.elsewhere", "trade.trouble", "trade.owed", "trade.personal"):
        return
    for act in text.spans("trade.bare"):
        if text.quoted(act) or told(text, act) or text.negated(act) or thanked(text, act):
            continue
        others = () if text.speaker == "customer" else text.inside(text.sentence(act), "trade.third", "trade.ours")
        if any(overlap(each, act) and not broken(text, each) for each in others):
            continue
        for value in values:
            near = text.tokens[value.span.first].sentence - text.tokens[act.first].sentence
            if 0 <= near <= 1 and not overlap(value.span, act) and _dealt(text, act, value):
                yield value, Change(act, "bare", False), "hinted"
                return


def _dealt(text: Prepared, act: Span, value: Value) -> bool:
    """Whether the two are one bargain: by a word for it, or because the text says hardly more than that."""
    if len(text.tokens) <= TERSE:
        return True
    sentences = (text.sentence(act), text.sentence(value.span))
    return any(True for each in sentences for _ in text.inside(each, "trade.pact", "trade.consequence", "trade.agree"))
