"""Where a reply goes on: the invitation to a private channel, and personal data asked for where others read.

What each language says is in its pack's `contact.toml`; here is how the concepts combine.
"""

from __future__ import annotations

from collections.abc import Iterator

from gateway_reading.lexicon import Span
from gateway_reading.prepared import Prepared
from gateway_reading.spans import covered, touches
from gateway_reading.tokens import Stretch
from gateway_schemas.reading import Mark

REACH = 10
"""Words between what asks and the data asked for, in a list of several too."""
BARE = 6
"""Words at the start of a sentence that must tell nothing of the data, for it to ask by naming them alone."""


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
        if _bare(prepared, number):
            asking.append(Span("contact.give", sentence.first, sentence.first + 1))
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


def _bare(prepared: Prepared, number: int) -> bool:
    """Whether a sentence asks by naming the data alone: `Full name + date of birth?`, `Username and e-mail, please`."""
    sentence = prepared.sentences[number]
    opening = sentence.first
    for lead in prepared.inside(Stretch(opening, opening + 1), "contact.bare_lead"):
        opening = max(opening, lead.last)
    begins = any(span.first <= opening + 1 for span in prepared.inside(sentence, "contact.data"))
    asks = sentence.question or next(prepared.inside(sentence, "contact.bare"), None) is not None
    start = Stretch(sentence.first, min(sentence.last, sentence.first + BARE))
    return begins and asks and next(prepared.inside(start, "contact.bare_pass"), None) is None


def _leads_to_a_form(prepared: Prepared, number: int) -> bool:
    """Whether a link in the sentence, or right behind it, says where the data goes."""
    sentence = prepared.sentences[number]
    return any(token.kind == "url" for token in prepared.tokens[sentence.first : sentence.last + 1])
