"""What a customer's message does: complain, praise, ask, mock, report that a matter is solved or not; and what must
never be overlooked in it.

What each language says is in its pack's `customer.toml`; here is how the concepts combine. Where praise and a complaint
meet, the complaint counts: overlooking one is the dangerous direction.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator

from gateway_reading.lexicon import Span
from gateway_reading.prepared import Prepared
from gateway_reading.spans import covered, touches
from gateway_reading.tokens import Stretch
from gateway_schemas.reading import Mark

CUES_OF_SPAM = 2
_NUMBERS = re.compile(
    r"(?P<telephone>(?<![\w.,/])(?:\+|00)?\(?\d{2,4}\)?(?:[ .\-]?\d){6,11}(?!\w))"
    r"|(?P<iban>\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}\b)"
    r"|(?P<birth_date>(?<!\d)\d{1,2}[./-]\d{1,2}[./-](?:19|20)\d{2}(?!\d))"
    r"|(?P<code>\b(?=[A-Z0-9-]{6,24}\b)[A-Z]{1,6}-?\d{1,6}-?\d{2,12}\b|(?<![\w.,€$£/])\d{4,12}-\d{3,12}\b|(?<![\w.,€$£/])\d{7,16}\b)"
)


def marks(prepared: Prepared) -> list[Mark]:
    """The signals of a customer's message; a reply has none of them.

    `x_upset` tells of strong words, lost money and long waits, as against the report of a fault.
    """
    if prepared.speaker != "customer":
        return []
    found = [*_alarms(prepared), *_personal_data(prepared)]
    spam = _spam(prepared)
    if spam:
        return [*found, *spam]
    unsolved = list(_clear(prepared, "unsolved"))
    solved = [] if unsolved else list(_clear(prepared, "solved"))
    mockery = list(_mockery(prepared))
    reached = _private_contact(prepared)
    complaints = [*_complaints(prepared), *mockery, *unsolved]
    if reached is not None:
        complaints.append(reached)
    complaints += [
        span for signal in ("safety", "legal") for span in _clear(prepared, signal) if not prepared.negated(span, 2)
    ]
    requests = list(_requests(prepared))
    found += [prepared.mark("says_unsolved", span) for span in unsolved]
    found += [prepared.mark("says_solved", span) for span in solved]
    found += [prepared.mark("sarcastic", span) for span in mockery]
    if reached is not None:
        found.append(prepared.mark("mentions_private_contact", reached))
    found += [prepared.mark("asks", span) for span in requests]
    found += [prepared.mark("complains", span) for span in complaints]
    if complaints:
        found += [prepared.mark("x_upset", span) for span in prepared.spans("customer.upset")]
    if complaints and not requests:
        found.append(prepared.mark("vents", complaints[0]))
    if not complaints and not requests:
        found += [prepared.mark("praises", span) for span in _clear(prepared, "praise")]
    return found


def _clear(prepared: Prepared, signal: str) -> Iterator[Span]:
    """The spans of a concept but where its `_pass` says that something else is meant."""
    passes = covered(prepared.spans(f"customer.{signal}_pass"))
    for span in prepared.spans(f"customer.{signal}"):
        if not touches(span, passes):
            yield span


def _complaints(prepared: Prepared) -> Iterator[Span]:
    for span in _clear(prepared, "negative"):
        within = next(prepared.inside(Stretch(span.first, span.last), "common.negator"), None)
        if within is not None or not prepared.negated(span, 2):
            yield span


def _requests(prepared: Prepared) -> Iterator[Span]:
    """Questions that want an answer, and what the brand is told to do."""
    for sentence in prepared.sentences:
        if sentence.question and next(prepared.inside(sentence, "customer.rhetorical"), None) is None:
            yield Span("customer.question", sentence.first, sentence.last)
    for span in _clear(prepared, "request"):
        if (
            not prepared.quoted(span)
            and next(prepared.inside(prepared.sentence(span), "customer.rhetorical"), None) is None
        ):
            yield span


def _mockery(prepared: Prepared) -> Iterator[Span]:
    """Praise where something went wrong: a set phrase, or delight and failure in one breath, without a `but`."""
    negative = sorted(span.first for span in _complaints(prepared))
    for span in _clear(prepared, "sarcasm"):
        if span.last - span.first > 1 or negative:
            yield span
    for span in prepared.spans("customer.glee"):
        sentence = prepared.sentence(span)
        if span.first - sentence.first > 3 or prepared.negated(span, 3):
            continue
        failure = bisect_left(negative, span.last)
        if failure == len(negative) or negative[failure] >= sentence.last:
            continue
        turn = next(prepared.inside(Stretch(span.last, negative[failure] + 1), "customer.contrast"), None)
        if turn is None:
            yield span


def _private_contact(prepared: Prepared) -> Span | None:
    """That they wrote or called, in a text that tells that nobody answered."""
    contacted = next(iter(prepared.spans("customer.contacted")), None)
    unanswered = next(iter(prepared.spans("customer.unanswered")), None)
    if contacted is None or unanswered is None:
        return None
    return Span("customer.contacted", min(contacted.first, unanswered.first), max(contacted.last, unanswered.last))


def _spam(prepared: Prepared) -> list[Mark]:
    cues = prepared.spans("customer.spam")
    linked = any(token.kind == "url" for token in prepared.tokens) or _bare_link(prepared.text)
    if len(cues) >= CUES_OF_SPAM or (cues and linked and not any(True for _ in _complaints(prepared))):
        return [prepared.mark("spam", span) for span in cues]
    return []


def _bare_link(text: str) -> bool:
    return re.search(r"\b[a-z0-9-]{2,20}\.[a-z]{2,8}/\w", text) is not None


def _alarms(prepared: Prepared) -> Iterator[Mark]:
    for signal in ("safety", "legal", "self_harm", "minor"):
        for span in _clear(prepared, signal):
            if signal == "minor" and not _under_age(prepared, span):
                continue
            if signal != "self_harm" and prepared.negated(span, 2):
                continue
            yield prepared.mark(signal, span)


def _under_age(prepared: Prepared, span: Span) -> bool:
    """A span that names an age counts below 18 only."""
    ages = [token.form for token in prepared.tokens[span.first : span.last] if token.kind == "number"]
    return not ages or any(age.isdigit() and int(age) < 18 for age in ages)


def _personal_data(prepared: Prepared) -> Iterator[Mark]:
    text = prepared.text
    for token in prepared.tokens:
        if token.form == ":email:":
            yield Mark(
                signal="personal_data",
                start=token.start,
                end=token.end,
                text=text[token.start : token.end],
                detail="email",
            )
    links = [(token.start, token.end) for token in prepared.tokens if token.kind == "url"]
    for match in _NUMBERS.finditer(text):
        start, end = match.span()
        if any(first <= start < last for first, last in links):
            continue
        if match.lastgroup == "code" and not prepared.has("customer.data_word"):
            continue  # an error code, a model, a price list
        yield Mark(signal="personal_data", start=start, end=end, text=match[0], detail=match.lastgroup or "code")
    numbers = {index for index, token in enumerate(prepared.tokens) if token.kind == "number" and len(token.form) < 5}
    for span in prepared.spans("customer.street"):
        near = {span.first - 3, span.first - 2, span.first - 1, *range(span.last, span.last + 4)}
        if numbers & near and _named_street(prepared, span):
            yield prepared.mark("personal_data", span, "address")


def _named_street(prepared: Prepared, span: Span) -> bool:
    """Whether the words have capitals as an address has: `Mill Lane`, `rue du Moulin`, `Mühlweg`; not `any way`."""

    def capital(index: int) -> bool:
        token = prepared.tokens[index] if 0 <= index < len(prepared.tokens) else None
        return token is not None and token.kind == "word" and prepared.text[token.start].isupper()

    if any(capital(index) for index in range(span.last, span.last + 3)):
        return not capital(span.first) or prepared.language != "en"
    return capital(span.first) and (capital(span.first - 1) or (prepared.language or "").startswith("de"))
