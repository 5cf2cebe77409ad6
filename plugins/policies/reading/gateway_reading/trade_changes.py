"""Changes of something written that a text asks for, expects or pays: removal, edit, rating, silence, praise."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gateway_reading.lexicon import Span
from gateway_reading.prepared import Prepared
from gateway_reading.tokens import Stretch

STRONG = tuple(f"trade.{kind}" for kind in ("removal", "edit", "rating", "positive", "withhold"))
_ANYWHERE = ("trade.withhold",)
"""Changes whose words may have punctuation between them. Elsewhere a verb would take the noun of the next clause:
`we cancel the fee, but the thread…`."""
WEAK = tuple(f"trade.{kind}" for kind in ("passive", "wish", "pronoun"))
PRAISE = ("rating", "positive", "wish", "passive", "whole")
"""Changes that may be what somebody wrote in the first place: thanks for five stars ask for none."""
CHANGES = STRONG + WEAK
LINKS = ("trade.bound", "trade.exclusive", "common.conditional")
REACH = 14
"""Words after a link within which a condition is looked for."""


@dataclass(slots=True)
class Change:
    """A change of something written that the text asks for, expects or pays."""

    span: Span
    kind: str
    requested: bool
    """Whether it asks on its own, without value in sight."""


def longest(spans: Iterable[Span]) -> list[Span]:
    """Spans that do not lie within an earlier, longer one."""
    kept: list[Span] = []
    for span in sorted(spans, key=lambda each: (each.first, -each.last)):
        if not kept or span.last > kept[-1].last:
            kept.append(span)
    return kept


def changes(text: Prepared) -> Iterable[Change]:
    """The changes that the customer is to make, as far as the words around them say."""
    strong: list[Span] = []
    whole = [span for span in text.spans(*STRONG) if span.concept in _ANYWHERE or not broken(text, span)]
    named = [span for span in text.spans(*WEAK) if span.concept != "trade.wish" or not broken(text, span)]
    for span in (*longest(whole), *longest(named)):
        kind = span.concept.removeprefix("trade.")
        weak = span.concept in WEAK
        if weak and any(overlap(each, span) for each in strong):
            continue
        if not _meant(text, span, kind):
            continue
        sentence = text.sentence(span)
        praised = thanked(text, span)
        asked = next(text.inside(sentence, "trade.request"), None) is not None
        linked = link_before(text, span) is not None
        if not weak:
            strong.append(span)
        if kind == "pronoun" and not text.has("trade.mention"):
            requested = False
        elif weak:
            requested = asked and not praised
        else:
            requested = not praised
        if any(text.inside(sentence, "trade.untied")):
            requested = False
        if weak and not (asked or linked or praised or exchanged(text, span) or _pays_off(text, span)):
            continue
        if any(overlap(each, span) for each in text.inside(sentence, "trade.optional")):
            requested = False
        yield Change(span, kind, requested)
    if not strong:
        yield from _conditions(text)


def as_it_is(text: Prepared, change: Change) -> bool:
    """Whether the text thanks for praise as it was written: what else it gives is no price of that. Thanks for a turn
    to the better are another matter."""
    turned = text.inside(text.sentence(change.span), "trade.turn")
    return change.kind in PRAISE and thanked(text, change.span) and next(turned, None) is None


def thanked(text: Prepared, span: Span) -> bool:
    """Whether the span is what the customer is thanked for, or was seen to have done."""
    return any(
        overlap(each, span) and not broken(text, each) for each in text.inside(text.sentence(span), "trade.thanked")
    )


def broken(text: Prepared, span: Span, marks: str = ",;:–—") -> bool:
    """Whether punctuation stands within the span."""
    tokens = text.tokens
    return any(
        not mark.isspace() and mark in marks
        for index in range(span.first + 1, span.last)
        for mark in text.text[tokens[index - 1].end : tokens[index].start]
    )


def _conditions(text: Prepared) -> Iterable[Change]:
    """Conditions about the review in any order of words: a link, and near after it the thing and its new state."""
    if text.has("trade.mention") and (stays := text.spans("trade.stays")):
        yield Change(stays[0], "condition", False)
        return
    for link in text.spans(*LINKS):
        sentence = text.sentence(link)
        region = Stretch(link.first, min(link.first + REACH, sentence.last))
        core = next(text.inside(region, "trade.core"), None)
        state = next((each for each in text.inside(region, "trade.state") if core and not overlap(each, core)), None)
        if core is None or state is None:
            continue
        span = Span("trade.condition", min(core.first, state.first), max(core.last, state.last))
        if not thanked(text, span) and _meant(text, span, "condition"):
            yield Change(span, "condition", False)
            return


def _meant(text: Prepared, span: Span, kind: str) -> bool:
    """Whether the customer is to make the change, as far as the words around it say."""
    if text.quoted(span) or told(text, span):
        return False
    sentence = text.sentence(span)
    if text.speaker != "customer" and any(
        overlap(each, span) and not between(text, each, span, *LINKS)
        for each in text.inside(sentence, "trade.third", "trade.ours")
    ):
        return False
    if kind in ("removal", "edit", "pronoun", "withhold") and any(text.inside(sentence, "trade.personal")):
        return False
    if (kind != "withhold" and _warned(text, span)) or _about_else(text, span, kind):
        return False
    if _refused(text, sentence):
        return False
    refusal = next((each for each in refusals(text, sentence) if each.first < span.first), None)
    if refusal is not None and not any(text.inside(sentence, "trade.exclusive")):
        return False
    unwanted = [each for each in text.inside(sentence, "trade.not_wanted") if each.first <= span.first]
    if unwanted and not between(text, unwanted[-1], span, "trade.exclusive"):
        return False
    if kind in ("edit", "rating") and any(
        span.first <= each.first < span.last for each in text.inside(sentence, "common.negator")
    ):
        return False  # `ändern Sie nichts an Ihrer Bewertung`
    return kind == "withhold" or not _denied(text, span)


def refusals(text: Prepared, sentence: Stretch | None = None) -> list[Span]:
    """What says no, in the whole text or in one sentence."""
    spans = text.spans("trade.decline") if sentence is None else text.inside(sentence, "trade.decline")
    return [span for span in spans if refuses(text, span)]


def refuses(text: Prepared, decline: Span) -> bool:
    """Whether words that decline do say no. A question refuses nothing (`could we agree that you don't post it?`), nor
    does a waiver, whose negation belongs to the value: `we won't charge the fee`."""
    sentence = text.sentence(decline)
    return not sentence.question and not any(overlap(each, decline) for each in text.inside(sentence, "trade.waiver"))


def about_person(text: Prepared, span: Span) -> bool:
    """Whether it is about personal data, which may go: its clause names some, or the sentence before warns of them."""
    return any(text.inside(text.clause(span), "trade.personal")) or _warned(text, span)


def _warned(text: Prepared, span: Span) -> bool:
    """Whether the sentence before names personal data, and this one is about a picture or follows a warning
    (`no account numbers in public, please`)."""
    number = text.tokens[span.first].sentence
    if number == 0 or not any(text.inside(text.sentences[number - 1], "trade.personal")):
        return False
    pictured = any(span.first <= each.first <= span.last for each in text.inside(text.sentence(span), "trade.picture"))
    return pictured or any(text.inside(text.sentences[number - 1], "common.negator"))


def _about_else(text: Prepared, span: Span, kind: str) -> bool:
    """Whether the words are part of words for something else (`our five-star guarantee`, `raise their response score`),
    or the object of the verb follows: `your comment made us change the menu`."""
    sentence = text.sentence(span)
    others = list(text.inside(sentence, "trade.elsewhere"))
    for each in others:
        if each.first <= span.first and span.last <= each.last:
            return True
        if overlap(each, span) and each.last - each.first > 1 and (span.last <= each.last or kind in PRAISE):
            return True
    words = [each for each in text.inside(sentence, "trade.word") if overlap(each, span)]
    after = bool(words) and words[-1].first == span.first and words[-1].last < span.last
    return after and any(0 <= each.first - span.last <= 1 for each in others)


def _refused(text: Prepared, sentence: Stretch) -> bool:
    """Whether the sentence denies something of value, without a way to it: `no gifts for stars here`."""
    if any(text.inside(sentence, "trade.exclusive")):
        return False
    return any(text.negated(each, 3) for each in text.inside(sentence, "trade.benefit"))


def told(text: Prepared, span: Span) -> bool:
    """Whether the sentence tells before the span what the other side said or wanted; not where that is a condition
    (`if your review says that it was solved, …`)."""
    sentence = text.sentence(span)
    return any(
        report.first <= span.first
        and not any(each.last <= report.first for each in text.inside(sentence, "common.conditional"))
        for report in text.inside(sentence, "common.reporting")
    )


def overlap(one: Span, other: Span) -> bool:
    """Whether two spans share a token."""
    return one.first < other.last and other.first < one.last


def between(text: Prepared, before: Span, after: Span, *concepts: str) -> bool:
    """Whether one of these concepts begins between two spans."""
    return any(before.first <= each.first <= after.first for each in text.inside(text.sentence(after), *concepts))


def _denied(text: Prepared, span: Span) -> bool:
    """Whether a negation governs the span. One before a condition governs the condition, not what follows it."""
    if not text.negated(span):
        return False
    clause = text.clause(span)
    negators = [each for each in text.inside(clause, "common.negator") if each.first <= span.first]
    if not negators:
        return span.concept not in ("trade.condition", "trade.passive")
    return not any(negators[-1].first < each.first <= span.first for each in text.inside(clause, *LINKS))


def link_before(text: Prepared, span: Span) -> Span | None:
    """The word that makes the span a condition or a price: one before it, with no punctuation between but right after
    the word itself (`in return, could you…`). `If all is well, please edit it` sets no price on the edit."""
    links = [each for each in text.inside(text.sentence(span), *LINKS, "trade.purpose") if each.first <= span.first + 1]
    for link in reversed(links):
        first = min(link.last, span.first)
        if text.language is not None and text.language[:2] == "de" and first < span.first:
            first = (
                span.first - 1
            )  # German sets commas inside a condition: `wenn Sie bereit sind, die Kritik zu löschen`
        if link.concept == "trade.purpose" or not broken(text, Span("", first, span.first + 1)):
            return link
    return None


def exchanged(text: Prepared, span: Span) -> bool:
    """Whether what comes before the span in its sentence is tied to it: `in return`."""
    return any(each.first <= span.first for each in text.inside(text.sentence(span), "trade.tie"))


def _pays_off(text: Prepared, span: Span) -> bool:
    """Whether a consequence for the customer follows in the sentence: `and we will…`."""
    return any(each.first >= span.last - 1 for each in text.inside(text.sentence(span), "trade.consequence"))
