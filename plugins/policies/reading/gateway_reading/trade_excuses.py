"""What makes a text no trade, whatever else it says: a refusal, an untying, words that no trade would use.

The packs name the ideas:

- `plain`: words that no trade would use ("just as it is"): then no single idea counts
- `disown`: what a refusal says ("that's not how we work"): then whole phrases do not count either
- `decline`, `withdraw`, `untied`, `no_strings`, `not_wanted`: what says no, takes back, or sets free; no excuse where
  they are part of what sets the price (`exclusive`) or of a change itself (`whole`)
"""

from __future__ import annotations

from gateway_reading.lexicon import Span
from gateway_reading.prepared import Prepared
from gateway_reading.trade_changes import overlap, refuses
from gateway_reading.trade_ideas import exclusive

EXCUSES = (
    "trade.plain",
    "trade.disown",
    "trade.decline",
    "trade.withdraw",
    "trade.untied",
    "trade.no_strings",
    "trade.not_wanted",
)


def disowned(text: Prepared) -> bool:
    """Whether the brand says that reviews are not traded, or takes back that they were."""
    return any(not text.quoted(span) and not exclusive(text, span) for span in text.spans("trade.disown"))


def excused(text: Prepared) -> bool:
    """Whether the text says that it trades nothing. `No voucher unless…` sets a price instead."""
    return excuse(text) is not None


def excuse(text: Prepared) -> Span | None:
    """The words that say so."""
    return next(
        (
            span
            for span in text.spans(*EXCUSES)
            if not text.quoted(span)
            and (span.concept != "trade.decline" or refuses(text, span))
            and (span.concept == "trade.plain" or not exclusive(text, span))
            and (
                span.concept in ("trade.plain", "trade.untied")
                or not any(overlap(span, each) for each in text.inside(text.sentence(span), "trade.whole"))
            )
            and not (span.concept == "trade.decline" and _beforehand(text, span))
        ),
        None,
    )


def _beforehand(text: Prepared, decline: Span) -> bool:
    """Whether something else is declined before the first word of a review: `We can't waive that. But your post…`."""
    end = text.sentence(decline).last
    return text.has("trade.word") and all(word.first >= end for word in text.spans("trade.word"))
