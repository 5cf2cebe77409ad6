"""`critical_first` and `triage`: what must never wait, and what needs no ticket."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from gateway_schemas.decision import AddTags, Alarm, Case, Effect, Ignore, Note, SetPriority
from gateway_schemas.interaction import Interaction
from gateway_schemas.policy import Needs, Policy
from gateway_schemas.reading import Reading

CRITICAL = ("self_harm", "safety", "minor", "legal")
"""Signals that page somebody, the gravest first."""
COMPLAINTS = (
    *("complains", "sarcastic", "vents", "asks", "says_unsolved", "mentions_private_contact", "proposes_trade"),
    *CRITICAL,
)
"""Whatever has one of these is not ignored, however friendly it sounds."""


class Params(BaseModel):
    """Base of parameters: strict about names it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CriticalFirst(Params):
    """What is critical here."""

    signals: tuple[str, ...] = Field(default=CRITICAL, title="Signals", description="Of the reader's.")
    list: str = Field(
        default="critical_words", title="List", description="A list of words and phrases of your own that are critical."
    )


class Critical(Policy[CriticalFirst]):
    """Danger, law, self-harm and minors: urgent at once, and somebody is told."""

    type: ClassVar[str] = "critical_first"
    title: ClassVar[str] = "Critical things first"
    description: ClassVar[str] = (
        "A message about danger, injury, a lawyer, self-harm or a minor becomes urgent, is tagged and pages "
        "somebody. It is never ignored and never grouped with others."
    )
    Params = CriticalFirst
    needs: ClassVar[Needs] = Needs(reader=True, lists=("critical_words",))

    @classmethod
    def needs_of(cls, params: CriticalFirst) -> Needs:
        """The list of the parameters."""
        return Needs(reader=True, lists=(params.list,))

    def on_interaction(self, case: Case, interaction: Interaction) -> Iterable[Effect]:
        """Raise it and say why."""
        reading = self.read_message(case, interaction)
        found = {mark.signal: mark.text for mark in reading.marks if mark.signal in self.params.signals}
        text = interaction.text.casefold()
        for phrase in case.lists.get(self.params.list, ()):
            if phrase.casefold() in text:
                found.setdefault("listed", phrase)
        if not found:
            return
        gravest = next((signal for signal in (*CRITICAL, "listed") if signal in found), next(iter(found)))
        yield SetPriority(priority="urgent")
        yield AddTags(tags=("critical", *(f"critical_{signal}" for signal in sorted(found))))
        yield Note(text=f'Critical ({gravest.replace("_", " ")}): "{found[gravest]}". A person should read this now.')
        yield Alarm(severity="critical", code=f"critical_{gravest}", message=f'"{found[gravest]}"')


class TriageParams(Params):
    """What needs no ticket."""

    praise: bool = Field(default=True, title="Praise", description="Praise and nothing else.")
    spam: bool = Field(default=True, title="Spam")
    best_ratings: bool = Field(
        default=True, title="Ratings without words", description="Four or five of five stars and no text."
    )


class Triage(Policy[TriageParams]):
    """Leaves out what nobody has to answer. Sarcasm, a question or any complaint keeps its ticket."""

    type: ClassVar[str] = "triage"
    title: ClassVar[str] = "Triage"
    description: ClassVar[str] = (
        "Praise and spam need no ticket. It starts in shadow: it says what it would ignore, and a sample of that "
        "is there for a person to judge, before it is switched on. What is not understood is never ignored."
    )
    default_mode: ClassVar[str] = "shadow"
    Params = TriageParams
    needs: ClassVar[Needs] = Needs(reader=True)

    def on_interaction(self, case: Case, interaction: Interaction) -> Iterable[Effect]:
        """Ignore it where nothing in it asks for a person."""
        if case.ticket is not None or interaction.attachments or interaction.recommendation == "negative":
            return
        rating = interaction.rating
        good = (
            rating is not None
            and rating.best > rating.worst
            and rating.value >= _four_of_five(rating.worst, rating.best)
        )
        if rating is not None and not good:
            return
        if not interaction.text.strip():
            if good and self.params.best_ratings:
                yield Ignore(reason="a good rating without words")
            return
        reading = self.read_message(case, interaction)
        if reading.coverage != "full" or _complaint(reading):
            return
        if reading.has("spam") and self.params.spam:
            yield Ignore(reason=f'spam: "{reading.of("spam")[0].text}"')
        elif reading.has("praises") and self.params.praise:
            yield Ignore(reason=f'praise: "{reading.of("praises")[0].text}"')


def _complaint(reading: Reading) -> bool:
    return any(reading.has(signal) for signal in COMPLAINTS)


def _four_of_five(worst: float, best: float) -> float:
    return worst + 0.75 * (best - worst)
