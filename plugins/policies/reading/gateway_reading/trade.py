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
- "No strings attached" next to a request is a tie with the detail `untied_in_words`: the words and the deed disagree,
  and a person should look.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway_reading.lexicon import Span
from gateway_reading.prepared import Prepared
from gateway_reading.tokens import Stretch
from gateway_schemas.reading import Mark

_STRONG = tuple(f"trade.{kind}" for kind in ("removal", "edit", "rating", "positive", "withhold"))
_ANYWHERE = ("trade.positive", "trade.withhold")
"""Changes whose words may have punctuation between them. Elsewhere a verb would take the noun of the next clause:
`we cancel the fee, but the thread…`."""
_WEAK = tuple(f"trade.{kind}" for kind in ("passive", "wish", "pronoun"))
_NAMES = _STRONG + _WEAK
_VALUES = tuple(f"trade.{kind}" for kind in ("offer", "benefit", "vague", "refund", "amount", "bestow"))
_LINKS = ("trade.bound", "trade.exclusive", "common.conditional")
REACH = 14
"""Words after a link within which a condition is looked for."""
NEAR = 14
"""Words between a giving verb and what is given, at most."""


@dataclass(slots=True)
class Change:
    """A change of something written that the text asks for, expects or pays."""

    span: Span
    kind: str
    requested: bool
    """Whether it asks on its own, without value in sight."""


@dataclass(slots=True)
class Value:
    """Something of value in the text."""

    span: Span
    strong: bool
    """Whether it is beyond what is owed by its own words."""
    given: bool
    """Whether the text offers or grants it, rather than naming it."""
    kind: str


@dataclass(slots=True)
class Trade:
    """What one text says of values and changes."""

    changes: list[Change] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    ties: list[tuple[Value, Change, str]] = field(default_factory=list)


def marks(text: Prepared) -> list[Mark]:
    """The signals of this family: see `gateway_schemas.reading.SIGNALS` for what each means."""
    if text.speaker == "customer":
        return _customer(text)
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
    return found + _gating(text) + _answers(text, trade)


def read(text: Prepared) -> Trade:
    """The values, the changes and their ties in what the brand says."""
    trade = Trade()
    if not text.has(*_VALUES, *_NAMES):
        return trade
    trade.changes = list(_changes(text))
    trade.values = list(_values(text, trade.changes))
    trade.ties = list(_ties(text, trade))
    return trade


# changes


def _longest(spans: Iterable[Span]) -> list[Span]:
    """Spans that do not lie within an earlier, longer one."""
    kept: list[Span] = []
    for span in sorted(spans, key=lambda each: (each.first, -each.last)):
        if not kept or span.last > kept[-1].last:
            kept.append(span)
    return kept


def _changes(text: Prepared) -> Iterable[Change]:
    strong: list[Span] = []
    whole = [span for span in text.spans(*_STRONG) if span.concept in _ANYWHERE or not _broken(text, span)]
    for span in (*_longest(whole), *_longest(text.spans(*_WEAK))):
        kind = span.concept.removeprefix("trade.")
        weak = span.concept in _WEAK
        if weak and any(_overlap(each, span) for each in strong):
            continue
        if not _meant(text, span, kind):
            continue
        sentence = text.sentence(span)
        thanked = _thanked(text, span)
        asked = next(text.inside(sentence, "trade.request"), None) is not None
        linked = _link_before(text, span) is not None
        if not weak:
            strong.append(span)
        if kind == "pronoun" and not text.has("trade.mention"):
            requested = False
        elif weak:
            requested = asked and not thanked
        else:
            requested = not thanked
        if any(text.inside(sentence, "trade.untied")):
            requested = False
        if weak and not (asked or linked or thanked or _exchanged(text, span) or _pays_off(text, span)):
            continue
        if any(_overlap(each, span) for each in text.inside(sentence, "trade.optional")):
            requested = False
        yield Change(span, kind, requested)
    if not strong:
        yield from _conditions(text)


def _thanked(text: Prepared, span: Span) -> bool:
    """Whether the span is what the customer is thanked for, or was seen to have done."""
    return any(
        _overlap(each, span) and not _broken(text, each) for each in text.inside(text.sentence(span), "trade.thanked")
    )


def _broken(text: Prepared, span: Span) -> bool:
    """Whether punctuation stands within the span."""
    tokens = text.tokens
    return any(
        not mark.isspace() and mark in ",;:–—"
        for index in range(span.first + 1, span.last)
        for mark in text.text[tokens[index - 1].end : tokens[index].start]
    )


def _conditions(text: Prepared) -> Iterable[Change]:
    """Conditions about the review in any order of words: a link, and near after it the thing and its new state."""
    if text.has("trade.mention") and (stays := text.spans("trade.stays")):
        yield Change(stays[0], "condition", False)
        return
    for link in text.spans(*_LINKS):
        sentence = text.sentence(link)
        region = Stretch(link.first, min(link.first + REACH, sentence.last))
        core = next(text.inside(region, "trade.core"), None)
        state = next((each for each in text.inside(region, "trade.state") if core and not _overlap(each, core)), None)
        if core is None or state is None:
            continue
        span = Span("trade.condition", min(core.first, state.first), max(core.last, state.last))
        if not _thanked(text, span) and _meant(text, span, "condition"):
            yield Change(span, "condition", False)
            return


def _meant(text: Prepared, span: Span, kind: str) -> bool:
    """Whether the customer is to make the change, as far as the words around it say."""
    if text.quoted(span) or text.reported(span):
        return False
    sentence = text.sentence(span)
    if any(
        _overlap(each, span) and not _between(text, each, span, *_LINKS)
        for each in text.inside(sentence, "trade.third")
    ):
        return False
    if kind in ("removal", "edit", "pronoun") and next(text.inside(sentence, "trade.personal"), None) is not None:
        return False
    if _refused(text, sentence):
        return False
    refusal = next((each for each in text.inside(sentence, "trade.decline") if each.first < span.first), None)
    if refusal is not None and not any(text.inside(sentence, "trade.exclusive")):
        return False
    unwanted = [each for each in text.inside(sentence, "trade.not_wanted") if each.first <= span.first]
    if unwanted and not _between(text, unwanted[-1], span, "trade.exclusive"):
        return False
    return kind == "withhold" or not _denied(text, span)


def _refused(text: Prepared, sentence: Stretch) -> bool:
    """Whether the sentence denies something of value, without a way to it: `no gifts for stars here`."""
    if any(text.inside(sentence, "trade.exclusive")):
        return False
    return any(text.negated(each, 3) for each in text.inside(sentence, "trade.benefit"))


def _overlap(one: Span, other: Span) -> bool:
    return one.first < other.last and other.first < one.last


def _between(text: Prepared, before: Span, after: Span, *concepts: str) -> bool:
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
    return not any(negators[-1].first < each.first <= span.first for each in text.inside(clause, *_LINKS))


def _link_before(text: Prepared, span: Span) -> Span | None:
    """The word that makes the span a condition or a price: one before it, with no punctuation between but right after
    the word itself (`in return, could you…`). `If all is well, please edit it` sets no price on the edit."""
    links = [
        each for each in text.inside(text.sentence(span), *_LINKS, "trade.purpose") if each.first <= span.first + 1
    ]
    for link in reversed(links):
        first = min(link.last, span.first)
        if text.language is not None and text.language[:2] == "de" and first < span.first:
            first = (
                span.first - 1
            )  # German sets commas inside a condition: `wenn Sie bereit sind, die Kritik zu löschen`
        if link.concept == "trade.purpose" or not _broken(text, Span("", first, span.first + 1)):
            return link
    return None


def _exchanged(text: Prepared, span: Span) -> bool:
    return any(each.first <= span.first for each in text.inside(text.sentence(span), "trade.tie"))


def _pays_off(text: Prepared, span: Span) -> bool:
    """Whether a consequence for the customer follows in the sentence: `and we will…`."""
    return any(each.first >= span.last - 1 for each in text.inside(text.sentence(span), "trade.consequence"))


# values


def _values(text: Prepared, changes: list[Change]) -> Iterable[Value]:
    seen: list[Span] = []
    for concept in _VALUES:
        name = concept.removeprefix("trade.")
        for span in _longest(text.spans(concept)):
            if any(_overlap(span, each) for each in seen) or any(
                change.span.first <= span.first and span.last <= change.span.last for change in changes
            ):
                continue
            value = _value(text, span, name)
            if value is not None:
                seen.append(span)
                yield value


def _value(text: Prepared, span: Span, name: str) -> Value | None:
    if text.quoted(span) or text.reported(span):
        return None
    sentence = text.sentence(span)
    exclusive = next(text.inside(sentence, "trade.exclusive"), None) is not None
    if not exclusive and (text.negated(span) or any(text.inside(sentence, "trade.decline", "trade.withdraw"))):
        return None
    clause = text.clause(span)
    if name == "bestow" and any(each.first < span.last + 4 for each in _after(text, span, "trade.chore")):
        return None
    troubled = any(text.inside(sentence, "trade.trouble"))
    owed = name in ("benefit", "amount", "vague") and any(text.inside(sentence, "trade.owed", "trade.refund"))
    strong = name == "offer" or (name == "benefit" and not troubled)
    giving = [
        each
        for each in text.inside(sentence, "trade.give")
        if not _overlap(each, span)
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


# ties


def _ties(text: Prepared, trade: Trade) -> Iterable[tuple[Value, Change, str]]:
    if not trade.changes or not trade.values:
        return
    no_strings = text.has("trade.no_strings")
    found: list[tuple[Value, Change, str]] = []
    for change in trade.changes:
        untied = any(text.inside(text.sentence(change.span), "trade.untied"))
        if untied:
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
    yield from found


def _tied(text: Prepared, value: Value, change: Change) -> str | None:
    """How a value is tied to a change: `condition`, `exchange` or `together` where only their meeting says so."""
    if change.kind == "pronoun" and text.has("trade.trouble"):
        return None
    distance = abs(text.tokens[value.span.first].sentence - text.tokens[change.span.first].sentence)
    link = _link_before(text, change.span)
    governs = link is not None and not (
        distance == 0
        and link.first < value.span.first < change.span.first
        and link.concept not in ("trade.bound", "trade.purpose")
    )
    if value.strong and (value.given or distance == 0 or governs):
        if change.kind == "pronoun" and not governs and not text.has("trade.mention"):
            return "exchange" if distance == 0 and _exchanged(text, change.span) else None
        return "condition" if governs else "together"
    if distance > 1:
        return None
    if governs and (distance == 0 or value.kind in ("vague", "bestow")) and not _settled(text, value):
        return "condition"
    if (
        distance == 0
        and change.span.first < value.span.first
        and _between(text, change.span, value.span, "trade.consequence")
    ):
        return "exchange"
    if value.kind == "refund" and change.requested and not _settled(text, value) and _sequel(text, value, change):
        return "exchange"
    if value.kind == "amount" and distance == 0 and change.requested and not _priced(text, value):
        return "together"
    if value.kind == "vague" and (change.requested or governs):
        return "exchange" if _eager(text, value, change) else None
    return None


def _sequel(text: Prepared, value: Value, change: Change) -> bool:
    """Whether a word puts the change before or after the money: `but first`, `afterwards`, `in return`."""
    sentence = text.sentence(change.span)
    first = min(value.span.first, change.span.first) if text.sentence(value.span) is sentence else sentence.first
    return any(first <= each.first < change.span.last + 4 for each in text.inside(sentence, "trade.sequel"))


def _priced(text: Prepared, value: Value) -> bool:
    """Whether a sum is what something costs or was paid, not what is offered."""
    return any(text.inside(text.sentence(value.span), "trade.priced", "trade.owed", "trade.trouble"))


def _after(text: Prepared, span: Span, concept: str) -> list[Span]:
    return [each for each in text.inside(text.sentence(span), concept) if each.first >= span.first]


def _settled(text: Prepared, value: Value) -> bool:
    """Whether the value is already with the customer: then nothing is left to trade."""
    clause = text.clause(value.span)
    return any(text.inside(clause, "trade.granted")) and not any(text.inside(clause, "trade.future"))


def _eager(text: Prepared, value: Value, change: Change) -> bool:
    """Whether a vague value stands in a sentence that gives: `we would show ourselves grateful`."""
    return any(text.inside(text.sentence(value.span), "trade.hint"))


def _gating(text: Prepared) -> list[Mark]:
    """Reviews asked of happy customers only: satisfaction as a condition, and an invitation, in one sentence."""
    for happy in text.spans("trade.happy"):
        if text.quoted(happy) or text.reported(happy) or text.negated(happy):
            continue
        sentence = text.sentence(happy)
        for invitation in text.inside(sentence, "trade.invite"):
            if not (_overlap(happy, invitation) or _thanked(text, invitation) or text.negated(invitation)):
                return [text.mark("x_review_gating", (happy, invitation))]
    return []


# answers to a proposal, and the customer's side


def _answers(text: Prepared, trade: Trade) -> list[Mark]:
    found: list[Mark] = []
    declines = [
        span
        for span in text.spans("trade.decline")
        if not text.quoted(span) and not any(text.inside(text.sentence(span), "trade.exclusive"))
    ]
    found += [text.mark("declines", span) for span in declines[:2]]
    withdraws = [span for span in _longest(text.spans("trade.withdraw", "trade.untied")) if not text.quoted(span)]
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
            and not text.reported(span)
            and not text.negated(span)
            and all(_overlap(each, span) for each in text.inside(text.clause(span), "common.conditional"))
            and not any(text.inside(sentence, "trade.trouble"))
            and all(_overlap(each, span) for each in text.inside(text.clause(span), "trade.future"))
        ):
            found.append(text.mark("grants_value", (span, values[0])))
            break
    return found


def _opens(text: Prepared, span: Span) -> bool:
    """Whether the span is a clause of its own, or nearly: `done, 50 € sent`, not `we are done with it`."""
    clause = text.clause(span)
    return span.first == clause.first and clause.last - span.last <= 3


def _customer(text: Prepared) -> list[Mark]:
    changes = [span for span in _longest(text.spans(*_NAMES)) if not text.quoted(span)]
    if not changes:
        return []
    for change in changes:
        if text.reported(change) or (text.negated(change) and change.concept != "trade.withhold"):
            continue
        number = text.tokens[change.first].sentence
        near = [
            span
            for span in text.spans("trade.benefit", "trade.refund", "trade.amount", "trade.offer", "trade.price")
            if abs(text.tokens[span.first].sentence - number) <= 1 and not (change.first <= span.first < change.last)
        ]
        for value in near:
            demanded = any(
                abs(text.tokens[span.first].sentence - number) <= 1
                for span in text.spans("trade.demand", "trade.price")
            )
            linked = any(text.inside(text.sentence(change), "trade.tie", "common.conditional")) or any(
                text.inside(text.sentence(value), "trade.tie", "common.conditional")
            )
            own = any(abs(text.tokens[span.first].sentence - number) <= 1 for span in text.spans("trade.own"))
            if (demanded or linked) and (own or value.concept == "trade.price"):
                return [text.mark("proposes_trade", (change, value), change.concept.removeprefix("trade."))]
    return []
