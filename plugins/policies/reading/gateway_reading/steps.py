"""What a reply leads to: whether it says what happens next, and whether it says anything of this matter at all."""

from __future__ import annotations

from datetime import UTC, datetime

from gateway_reading.lexicon import Span
from gateway_reading.pack import LANGUAGES, load
from gateway_reading.prepared import Prepared
from gateway_reading.promises import commitments
from gateway_reading.spans import covered, touches
from gateway_schemas.reading import Mark

ANY_DAY = datetime(2026, 1, 1, 12, tzinfo=UTC)
"""Whether something is promised does not hang on the day it is said."""
OWN_WORDS = 1
"""A template has at most so many words that belong to one customer's matter, or one in fifteen."""
SHORTEST = 4
"""Fewer words are a courtesy, not a template."""


def marks(prepared: Prepared) -> list[Mark]:
    """The signals of what a reply leads to; a customer's message has none of them."""
    if prepared.speaker != "brand" or not prepared.tokens:
        return []
    return [*_next_step(prepared), *_canned(prepared)]


def _next_step(prepared: Prepared) -> list[Mark]:
    """The first thing the company does, will do, offers or advises. Scolding and warning lead nowhere."""
    hostile = {
        prepared.tokens[span.first].sentence
        for span in prepared.spans("tone.blame", "tone.insult", "tone.threat", "tone.warning")
        if not prepared.quoted(span)
    }
    apart = covered(prepared.spans("tone.step_pass"))
    for span in prepared.spans("tone.action", "tone.alternative", "tone.instruct", "contact.invite", "promise.commit"):
        if (
            prepared.tokens[span.first].sentence in hostile
            or prepared.quoted(span)
            or prepared.negated(span, 3)
            or (
                next(prepared.inside(prepared.clause(span), "promise.maybe"), None) is not None
                and span.concept in ("tone.action", "promise.commit")
            )
            or touches(span, apart)
        ):
            continue
        return [prepared.mark("next_step", span)]
    for span, _ in commitments(prepared, ANY_DAY, "UTC"):
        if prepared.tokens[span.first].sentence not in hostile:
            return [prepared.mark("next_step", span)]
    return []


def _canned(prepared: Prepared) -> list[Mark]:
    """The whole text, where hardly a word of it is about this customer's matter."""
    tokens = prepared.tokens
    generic: set[int] = set()
    for span in prepared.spans("tone.generic", "tone.greeting", "tone.thanks", "tone.apology", "promise.by"):
        generic.update(range(span.first, span.last))
    greeted = {span.last for span in prepared.spans("tone.greeting") if span.first <= 2}
    language = (prepared.language or "").split("-")[0].lower()
    if language not in LANGUAGES:
        return []
    stop_words = load(language).lexicon.stop_words
    words = own = 0
    for index, token in enumerate(tokens):
        if token.kind == "number" and len(token.form) < 4 and token.glue == " ":
            own += _counts(prepared, index)
        if token.kind != "word":
            continue
        words += 1
        if index in generic or token.form in stop_words or len(token.form) == 1 or index in greeted:
            continue
        if index == len(tokens) - 1 or (index and tokens[index - 1].form == "^"):
            continue  # the agent's name or initials
        own += 1
    if words < SHORTEST or own > max(OWN_WORDS, words // 15) or not prepared.has("tone.template"):
        return []
    if prepared.has(
        "tone.blame", "tone.insult", "tone.threat", "tone.dispute", "contact.data", "tone.warning", "tone.refusal"
    ):
        return []
    if any(due is not None for _, due in commitments(prepared, ANY_DAY, "UTC")):
        return []
    return [prepared.mark("canned", Span("canned", 0, len(tokens)))]


def _counts(prepared: Prepared, index: int) -> bool:
    """Whether a number tells of the matter: not a telephone number, a link or a part `1/2`."""
    tokens = prepared.tokens
    neighbours = tokens[max(0, index - 1) : index] + tokens[index + 1 : index + 2]
    return all(other.kind == "word" for other in neighbours)
