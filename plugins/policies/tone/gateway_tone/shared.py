"""What the policies on manners have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from gateway_schemas.decision import Evidence
from gateway_schemas.interaction import Interaction
from gateway_schemas.reading import Mark, Reading

TROUBLE = ("x_upset", "sarcastic", "mentions_private_contact", "safety")
"""Signals of a customer who is upset (`x_upset` is the shipped reader's). Whoever reports a fault in passing, or asks
how something works, needs an answer and no comfort."""


class Params(BaseModel):
    """Base of parameters: strict about names it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def evidence(*marks: Mark) -> tuple[Evidence, ...]:
    """The words of the reply that a finding rests on."""
    return tuple(Evidence(start=mark.start, end=mark.end, text=mark.text) for mark in marks)


def five_stars(message: Interaction) -> float | None:
    """A review's rating on a scale from one to five; None where there is none."""
    rating = message.rating
    if rating is None or rating.best == rating.worst:
        return None
    return 1 + 4 * (rating.value - rating.worst) / (rating.best - rating.worst)


def in_words(wordings: dict[str, str], reading: Reading) -> str:
    """The wording in the language of the reply; in English where there is none."""
    language = (reading.language or "en").replace("_", "-").split("-")[0].lower()
    return wordings.get(language, wordings["en"])
