"""Values and changes that meet without the words of a bargain: `that post vanishes, and so does your late fee`.

`trade_changes` and `trade_values` know a change and a value by whole phrases. Here single ideas are enough, and what a
text says besides decides. The packs name the ideas:

- `boon`: anything worth having, whatever its words; `waiver`: what is not charged, in words that deny; `sum`: money,
  and money back, which may be owed; `lure`: value that is only hinted at ("won't leave empty-handed")
- `word`: what somebody wrote, where it stands, and where else it could go (the press, a forum)
- `turn`: gone, hidden, rewritten, kinder, higher; as an act or as a state
- `whole`: a change complete in itself ("keep this between us", "five stars")
- `pact`: a condition or an exchange, and never a mere "when" or "after"
- `ours`: a turn that the brand makes ("it helped us change"), also a `whole` one; `third`: one that others may make
- `bargain`: what invites to a deal, wherever it stands ("what do you say?"); `hush`: silence, which is never free
- `leave`: a word that is only asked for, whatever it says
- `elsewhere`: what else a turn may be about (an order, an address): then it is no turn of a word
- `gone`: a turn by which a word is no longer there; `scene`: what is a word only beside that (a photo, the public)
- `it`: a pronoun, by which a turn is about the word of the last sentence
- `welcome`: joy, thanks and help, which are no price whatever gives them
- `general`: what an offer to everybody says ("all guests", "in December"): it pays no change of another sentence

A word and a turn near each other are a change. Value in reach of a change is a trade. A word alone is one only where a
pact sets it as the price, or where the value is a lure: goodwill says what it is. `trade_excuses` says when none of
this counts, and `trade_open` reads trades of which one half has no words of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from gateway_reading.lexicon import Span
from gateway_reading.prepared import Prepared
from gateway_reading.trade_changes import Change, about_person, as_it_is, broken, link_before, longest, overlap, told
from gateway_reading.trade_excuses import excuse, excused
from gateway_reading.trade_ideas import BROAD, exclusive, standing, values_near
from gateway_reading.trade_values import Value, settled
from gateway_schemas.reading import Mark

NEAR = 8
"""Words between a word and its turn, at most."""
FAR = 24
"""Words between a word and a pronoun for it in a later sentence, or a change and its value in short ones, at most."""
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
    # `remove it and type it again`: the code, not the review; and with no review in sight, it may be anything
    about = text.has("trade.word") and not text.has("trade.trouble")
    found = [Meeting(change, (change.span,), change.requested) for change in known if about or change.kind != "pronoun"]
    for span in _wholes(text):
        praised = _thanked(text, span) and not any(
            span.first <= each.first < span.last for each in text.inside(text.sentence(span), "trade.turn")
        )
        if _meant(text, span) and not praised and not _within_else(text, span):
            found.append(Meeting(Change(span, "whole", False), (span,), _asked(text, span)))
    words = standing(text, "trade.word")
    scenes = standing(text, "trade.word", "trade.scene")
    turns = [span for span in standing(text, "trade.turn", "trade.gone") if _meant(text, span)]
    for turn in turns:
        word = _nearest(text, turn, scenes if turn.concept == "trade.gone" else words)
        if word is None:  # `swap the video`, right beside it
            word = next((each for each in scenes if 0 <= each.first - turn.last <= 1), None)
        if word is None or _about_else(text, turn, word) or _after_thanks(text, turn):
            continue
        span = Span("trade.meeting", min(word.first, turn.first), max(word.last, turn.last))
        if about_person(text, span):
            continue
        found.append(Meeting(Change(span, "meeting", False), (word, turn), _asked(text, turn)))
    return found


def _wholes(text: Prepared) -> list[Span]:
    """The changes complete in themselves; one with a comma within, where none is without: `no review, no fee`."""
    wholes = [span for span in text.spans("trade.whole") if not broken(text, span, ";:–—")]
    return longest([span for span in wholes if not broken(text, span)] or wholes)


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
        if _thanked(text, word) or told(text, word) or about_person(text, word):
            continue
        sentence = text.sentence(word)
        if any(text.inside(sentence, "trade.leave")):
            continue
        if any(
            overlap(each, word) and not broken(text, each)
            for each in text.inside(sentence, "trade.third", "trade.ours")
        ):
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
        turns = (span for span in standing(text, "trade.turn", "trade.gone", "trade.pronoun") if _meant(text, span))
        found = [text.mark("x_change_hinted", span, "alone") for span in islice(turns, 1)]
    if untying := excuse(text):
        found.append(text.mark("x_untied", untying))
    else:
        hinted = (each for each in values_near(text) if not any(text.inside(text.sentence(each.span), "trade.owed")))
        found += [text.mark("x_value_hinted", value.span, value.kind) for value in islice(hinted, 2)]
    return found


def to_everybody(text: Prepared, value: Span, change: Span) -> bool:
    """Whether the value is an offer to everybody that stands apart from the change: `20 % off in December`."""
    return _apart(text, value, change) > 0 and any(text.inside(text.sentence(value), "trade.general"))


def _meant(text: Prepared, span: Span) -> bool:
    """Whether the customer is to make the change: not the brand, not a third party, and not in a denial."""
    if text.quoted(span) or told(text, span) or about_person(text, span):
        return False
    sentence = text.sentence(span)
    others = ("trade.ours",) if span.concept == "trade.whole" else ("trade.third", "trade.ours")
    if text.speaker != "customer" and any(overlap(each, span) for each in text.inside(sentence, *others)):
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
    pronoun = any(
        turn.first - 2 <= each.last - 1 and each.first <= turn.last + 1
        for each in text.inside(text.sentence(turn), "trade.pronoun", "trade.it")
    )
    best: tuple[int, Span] | None = None
    for word in words:
        if (word.first, word.last) == (turn.first, turn.last):
            continue
        apart, gap = abs(text.tokens[word.first].sentence - number), _gap(word, turn)
        referred = pronoun and apart <= REACH and word.first < turn.first and word.concept == "trade.word"
        if gap <= (NEAR if not apart else FAR if referred else -1) and (best is None or gap < best[0]):
            best = gap, word
    return best[1] if best else None


def _about_else(text: Prepared, turn: Span, word: Span) -> bool:
    """Whether something else than the word is nearer to its turn: `thanks for the review, we changed the order`. What
    follows a verb is nearer than what stands before it: `your comment made us change the menu`."""
    return any(
        overlap(each, turn)
        or (_gap(each, turn) < _gap(word, turn) + (each.first > turn.first) and not overlap(each, word))
        for each in text.inside(text.sentence(turn), "trade.elsewhere")
    )


def _within_else(text: Prepared, span: Span) -> bool:
    """Whether the span is part of words for something else: `our five-star guarantee`."""
    return any(
        overlap(each, span) and (each.first < span.first or span.last < each.last or each.last - each.first > 1)
        for each in text.inside(text.sentence(span), "trade.elsewhere")
    )


def _apart(text: Prepared, one: Span, other: Span) -> int:
    return abs(text.tokens[one.first].sentence - text.tokens[other.first].sentence)


def _in_reach(text: Prepared, one: Span, other: Span) -> bool:
    return _apart(text, one, other) <= REACH or _gap(one, other) <= FAR


def _paid(text: Prepared, meeting: Meeting, values: list[Value]) -> Value | None:
    """The value nearest to a change, if any is in reach."""
    near = [
        value
        for value in values
        if not any(part.first <= value.span.first and value.span.last <= part.last for part in meeting.parts)
        and (_in_reach(text, value.span, meeting.change.span) if value.strong else _linked(text, value, meeting))
        and not all(to_everybody(text, value.span, part) for part in meeting.parts)
        and not (_apart(text, value.span, meeting.change.span) and as_it_is(text, meeting.change))
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
    """The value whose price the word is: a lure beside it, a pact right before it, or an invitation to a deal."""
    pact = any(
        0 <= word.first - each.last <= NEAR or overlap(each, word)
        for each in text.inside(text.sentence(word), "trade.pact")
    )
    bargain = text.has("trade.bargain")
    for value in values:
        if overlap(value.span, word) or _apart(text, value.span, word) > REACH or settled(text, value):
            continue
        if value.kind != "bestow" and bargain:
            return value
        if _apart(text, value.span, word) <= 1 and (
            value.kind == "lure" or (pact and value.strong and value.kind != "bestow")
        ):
            return value
    return None
