"""Where a reply goes on: the invitation to a private channel, and personal data asked for where others read.

What each language says is in its pack's `contact.toml`; here is how the concepts combine.
"""

from __future__ import annotations

from collections.abc import Iterator

from gateway_reading.lexicon import Span
from gateway_reading.prepared import Prepared
from gateway_reading.spans import covered, touches
from gateway_schemas.reading import Mark

REACH = 10
"""Words between what asks and the data asked for, in a list of several too."""


def marks(prepared: Prepared) -> list[Mark]:
    """The signals of contact in a reply; a customer's message has none of them.

    `x_confirms_customer` tells of words that only fit somebody who is a customer or a patient already.
    """
    if prepared.speaker != "brand":
        return []
    invitations = list(_invitations(prepared))
    found = [prepared.mark("invites_private", span) for span in invitations]
    if prepared.visibility == "public":
        found += _asks_for_data(prepared, invitations)
        found += [
            prepared.mark("x_confirms_customer", span)
            for span in prepared.spans("contact.confirms")
            if not (prepared.quoted(span) or prepared.conditional(prepared.clause(span)) or prepared.negated(span))
        ]
    return found


def _invitations(prepared: Prepared) -> Iterator[Span]:
    passes = covered(prepared.spans("contact.invite_pass"))
    for span in prepared.spans("contact.invite"):
        if not (
            prepared.quoted(span)
            or prepared.reported(span)
            or touches(span, passes)
            or (prepared.has("tone.warning") and prepared.negated(span))
        ):
            yield span


def _asks_for_data(prepared: Prepared, invitations: list[Span]) -> Iterator[Mark]:
    """Data asked for in a sentence that names no private channel, nor goes on from one that did (`Please include…`)."""
    private = {prepared.tokens[span.first].sentence for span in invitations}
    passes = covered(prepared.spans("contact.give_pass"))
    for number, sentence in enumerate(prepared.sentences):
        asking = [
            span
            for span in prepared.inside(sentence, "contact.give")
            if not (touches(span, passes) or prepared.quoted(span) or prepared.negated(span))
        ]
        if not asking or number in private or next(prepared.inside(sentence, "contact.private"), None) is not None:
            continue
        if number - 1 in private and next(prepared.inside(sentence, "contact.continues"), None) is not None:
            continue
        if _leads_to_a_form(prepared, number):
            continue
        for data in prepared.inside(sentence, "contact.data"):
            near = any(
                -REACH <= span.first - data.first <= 2 or span.first <= data.first < span.last for span in asking
            )
            if near and not (prepared.quoted(data) or prepared.conditional(prepared.clause(data))):
                yield prepared.mark("asks_personal_data_publicly", data)
                break


def _leads_to_a_form(prepared: Prepared, number: int) -> bool:
    """Whether a link in the sentence, or right behind it, says where the data goes."""
    sentence = prepared.sentences[number]
    return any(token.kind == "url" for token in prepared.tokens[sentence.first : sentence.last + 1])
