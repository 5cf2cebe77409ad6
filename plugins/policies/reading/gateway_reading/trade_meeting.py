"""Values and changes that meet without the words of a bargain: `that post vanishes, and so does your late fee`.

`trade_changes` and `trade_values` know a change and a value by whole phrases. Here single ideas are enough, and what a
text says besides decides. The packs name the ideas:

- `boon`: anything worth having, whatever its words; `waiver`: what is not charged, in words that deny; `sum`: money,
  and money back, which may be owed; `lure`: value that is only hinted at ("won't leave empty-handed")
- `word`: what somebody wrote, where it stands, and where else it could go (the press, a forum)
- `turn`: gone, hidden, rewritten, kinder, higher; as an act or as a state
- `whole`: a change complete in itself ("keep this between us", "five stars")
- `pact`: a condition or an exchange, and never a mere "when" or "after"
- `plain`: words that no trade would use ("just as it is"): then nothing here counts
- `disown`: what a refusal says ("that's not how we work"): then whole phrases do not count either
- `ours`: a turn that the brand makes ("it helped us change"), beside `third`
- `leave`: a word that is only asked for, whatever it says
- `elsewhere`: what else a turn may be about (an order, an address): then it is no turn of a word

A word and a turn near each other are a change. Value in reach of a change is a trade. A word alone is one only where a
pact sets it as the price, or where the value is a lure: goodwill says what it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from gateway_reading.lexicon import Span
from gateway_reading.prepared import Prepared
from gateway_reading.trade_changes import Change, about_person, broken, link_before, longest, overlap, refusals
from gateway_reading.trade_ideas import BROAD, exclusive, standing, values_near
from gateway_reading.trade_values import Value, settled
from gateway_schemas.reading import Mark

EXCUSES = (
    "trade.plain",
    "trade.disown",
    "trade.decline",
    "trade.withdraw",
    "trade.untied",
    "trade.no_strings",
    "trade.not_wanted",
)
NEAR = 8
"""Words between a word and its turn, at most."""
REACH = 2
"""Sentences between a change and its value, at most."""


@dataclass(slots=True)
class Meeting:
    """A change by its ideas, and the spans that made it: value may stand between them."""

    change: Change
    parts: tuple[Span, ...]
    asked: bool = False
    """Whether a word asks for it."""


def meetings(text: Prepared, known: list[Change]) -> list[Meeting]:
    """The changes of what was written that a text names, each idea at most once."""
    if excused(text):
        return []
    troubled = text.has("trade.trouble")  # `remove it and type it again`: the code, not the review
    found = [
        Meeting(change, (change.span,), change.requested)
        for change in known
        if not (troubled and change.kind == "pronoun")
    ]
    wholes = text.spans("trade.whole")
    unbroken = [each for each in wholes if not broken(text, each)]
    for span in longest(unbroken or (wholes if (text.language or "").startswith("de") else ())):
        praised = _thanked(text, span) and not any(
            span.first <= each.first < span.last for each in text.inside(text.sentence(span), "trade.turn")
        )
        if _meant(text, span) and not praised and not _about_else(text, span, span):
            found.append(Meeting(Change(span, "whole", False), (span,), _asked(text, span)))
    words = standing(text, "trade.word")
    turns = [span for span in standing(text, "trade.turn") if _meant(text, span)]
    for turn in turns:
        word = _nearest(text, turn, words)
        if word is None or _about_else(text, turn, word) or _after_thanks(text, turn):
            continue
        span = Span("trade.meeting", min(word.first, turn.first), max(word.last, turn.last))
        if about_person(text, span):
            continue
        found.append(Meeting(Change(span, "meeting", False), (word, turn), _asked(text, turn)))
    return found


def met(text: Prepared, changes: list[Meeting]) -> Iterable[tuple[Value, Change, str]]:
    """The trades that ideas make of a text in which whole phrases made none."""
    if not text.has(*BROAD) or excused(text):
        return
    values = values_near(text)
    for meeting in changes:
        if (value := _paid(text, meeting, values)) is not None:
            yield value, meeting.change, "together"
            return
    for word in standing(text, "trade.word"):
        if _thanked(text, word) or text.reported(word) or about_person(text, word):
            continue
        sentence = text.sentence(word)
        if any(text.inside(sentence, "trade.leave")):
            continue
        if any(overlap(each, word) and not broken(text, each) for each in text.inside(sentence, "trade.third")):
            continue
        if (value := _priced(text, word, values)) is not None:
            yield value, Change(word, "stake", False), "hinted"
            return


def hints(text: Prepared, changes: list[Meeting]) -> list[Mark]:
    """What a text says of either half, for a reader who knows the other from the conversation.

    `x_change_hinted` with the detail `asked`, `named`, or `alone` for a turn that does not say of what;
    `x_value_hinted` with the kind of value; `x_untied` where the text says that it trades nothing.
    """
    found = [text.mark("x_change_hinted", each.change.span, "asked" if each.asked else "named") for each in changes[:2]]
    if not found and not excused(text):
        turns = (span for span in standing(text, "trade.turn", "trade.pronoun") if _meant(text, span))
        found = [text.mark("x_change_hinted", span, "alone") for span in islice(turns, 1)]
    if untying := _excuse(text):
        found.append(text.mark("x_untied", untying))
    else:
        found += [text.mark("x_value_hinted", value.span, value.kind) for value in values_near(text)[:2]]
    return found


def disowned(text: Prepared) -> bool:
    """Whether the brand says that reviews are not traded, or takes back that they were."""
    return any(not text.quoted(span) and not exclusive(text, span) for span in text.spans("trade.disown"))


def excused(text: Prepared) -> bool:
    """Whether the text says that it trades nothing. `No voucher unless…` sets a price instead."""
    return _excuse(text) is not None


def _excuse(text: Prepared) -> Span | None:
    return next(
        (
            span
            for span in text.spans(*EXCUSES)
            if not text.quoted(span)
            and (span.concept != "trade.decline" or span in refusals(text))
            and (
                span.concept == "trade.plain"
                or not (
                    exclusive(text, span)
                    or any(overlap(span, each) for each in text.inside(text.sentence(span), "trade.whole"))
                )
            )
        ),
        None,
    )


def _meant(text: Prepared, span: Span) -> bool:
    """Whether the customer is to make the change: not the brand, not a third party, and not in a denial."""
    if text.quoted(span) or text.reported(span) or about_person(text, span):
        return False
    sentence = text.sentence(span)
    others = () if text.speaker == "customer" else text.inside(sentence, "trade.third", "trade.ours")
    if any(overlap(each, span) for each in others):
        return False
    unwanted = (each for each in text.inside(sentence, "trade.not_wanted") if not overlap(each, span))
    if next(unwanted, None) is not None and not exclusive(text, span):
        return False
    return span.concept == "trade.whole" or not text.negated(span, 3) or exclusive(text, span)


def _thanked(text: Prepared, span: Span) -> bool:
    return any(overlap(each, span) for each in text.inside(text.sentence(span), "trade.thanked"))


def _after_thanks(text: Prepared, turn: Span) -> bool:
    """Whether the turn follows thanks for what was written, and nobody asks for it: `thank you for the review, it made
    us change…`. Thanks for the turn itself are another matter."""
    sentence = text.sentence(turn)
    thanks = list(text.inside(sentence, "trade.thanked"))
    return (
        any(each.last <= turn.first for each in thanks)
        and not any(overlap(each, turn) for each in thanks)
        and not any(text.inside(sentence, "trade.request"))
    )


def _asked(text: Prepared, span: Span) -> bool:
    return any(text.inside(text.sentence(span), "trade.request")) and not _thanked(text, span)


def _gap(one: Span, other: Span) -> int:
    return max(one.first - other.last, other.first - one.last, 0)


def _nearest(text: Prepared, turn: Span, words: list[Span]) -> Span | None:
    """The word that a turn is about: near it in its sentence; in the next or the last one where a pronoun says so."""
    number = text.tokens[turn.first].sentence
    pronoun = any(overlap(each, turn) for each in text.inside(text.sentence(turn), "trade.pronoun"))
    best: tuple[int, Span] | None = None
    for word in words:
        if (word.first, word.last) == (turn.first, turn.last):
            continue
        apart, gap = abs(text.tokens[word.first].sentence - number), _gap(word, turn)
        if gap <= (NEAR if not apart else 2 * NEAR if pronoun and apart == 1 else -1) and (
            best is None or gap < best[0]
        ):
            best = gap, word
    return best[1] if best else None


def _about_else(text: Prepared, turn: Span, word: Span) -> bool:
    """Whether something else than the word is nearer to its turn: `thanks for the review, we changed the order`. What
    follows a verb is nearer than what stands before it: `your comment made us change the menu`."""
    for each in text.inside(text.sentence(turn), "trade.elsewhere"):
        if overlap(each, turn):
            return True
        nearer = _gap(each, turn) < _gap(word, turn) + (each.first > turn.first)
        if turn is not word and nearer and not overlap(each, word):
            return True
    return False


def _apart(text: Prepared, one: Span, other: Span) -> int:
    return abs(text.tokens[one.first].sentence - text.tokens[other.first].sentence)


def _paid(text: Prepared, meeting: Meeting, values: list[Value]) -> Value | None:
    """The value nearest to a change, if any is in reach."""
    near = [
        value
        for value in values
        if not any(part.first <= value.span.first and value.span.last <= part.last for part in meeting.parts)
        and (_apart(text, value.span, meeting.change.span) <= REACH if value.strong else _linked(text, value, meeting))
        and not (value.kind == "bestow" and not _chosen(text, value, meeting))
    ]
    return min(near, key=lambda value: _gap(value.span, meeting.change.span), default=None)


def _linked(text: Prepared, value: Value, meeting: Meeting) -> bool:
    """Whether money that may be owed belongs to a change: one sentence holds both, or the next one says so."""
    change = meeting.change.span
    apart = _apart(text, value.span, change)
    if apart == 0:
        first, last = min(value.span.last, change.last), max(value.span.first, change.first)
        return ";" not in text.text[text.tokens[first - 1].start : text.tokens[last].start]
    return apart == 1 and (
        (meeting.change.kind == "whole" and not any(text.inside(text.sentence(change), "trade.welcome")))
        or link_before(text, change) is not None
        or any(text.inside(text.sentence(change), "trade.sequel"))
    )


def _chosen(text: Prepared, value: Value, meeting: Meeting) -> bool:
    """Whether a giving verb counts, whatever it gives: in one sentence with the change and a pact; elsewhere with an
    exchange of its own, or after a change that is asked for and more than an edit. Joy and help are no price."""
    change = meeting.change
    given = text.sentence(value.span)
    if any(text.inside(given, "trade.welcome")):
        return False
    asked = change.kind in ("removal", "rating", "positive", "withhold", "whole") and (
        change.requested or meeting.asked
    )
    if given is text.sentence(change.span):
        return asked or any(text.inside(given, "trade.pact", "trade.consequence"))
    if any(text.inside(given, "trade.bound", "trade.sequel")):
        return True
    return asked and value.span.first > change.span.first


def _priced(text: Prepared, word: Span, values: list[Value]) -> Value | None:
    """The value whose price the word is: a lure beside it, or a pact right before it."""
    pact = any(
        0 <= word.first - each.last <= NEAR or overlap(each, word)
        for each in text.inside(text.sentence(word), "trade.pact")
    )
    for value in values:
        if overlap(value.span, word) or _apart(text, value.span, word) > 1 or settled(text, value):
            continue
        if value.kind == "lure" or (pact and value.strong and value.kind != "bestow"):
            return value
    return None
