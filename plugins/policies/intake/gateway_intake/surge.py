"""`surge`: an unusual rise is an incident, and near-duplicates are counted in one ticket."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import timedelta
from typing import ClassVar

from pydantic import Field

from gateway_intake.triage import CRITICAL, Params
from gateway_schemas.decision import Case, Effect, IncidentFacts, JoinIncident, OpenIncident, Severity, WindowFacts
from gateway_schemas.interaction import Interaction
from gateway_schemas.policy import Needs, Policy

_WORD = re.compile(r"\w+")


class SurgeParams(Params):
    """What is unusual, and what happens then."""

    window_minutes: int = Field(default=30, gt=0, title="Window", description="In minutes.")
    at_least: int = Field(default=20, ge=2, title="At least", description="Messages in the window; fewer are no surge.")
    factor: float = Field(
        default=3, gt=1, title="Factor", description="Of what is usual at this hour of the week on the same channel."
    )
    similar: float = Field(
        default=0.6,
        gt=0,
        le=1,
        title="Similar",
        description="The share of words that two texts have in common, from which they count as the same.",
    )
    group: bool = Field(default=True, title="Group", description="Whether near-duplicates share the incident's ticket.")
    tighten: dict[str, Severity] = Field(
        default_factory=dict,
        title="Tighten",
        description="Policies by name, and the least severity of their findings while the incident is open.",
    )


class Surge(Policy[SurgeParams]):
    """Opens an incident when far more comes in than usual, and joins to it what says the same."""

    type: ClassVar[str] = "surge"
    title: ClassVar[str] = "Surge"
    description: ClassVar[str] = (
        "Slip-ups go round the world in minutes. A rise beyond what is usual at this hour of the week opens an "
        "incident, tightens the named policies and counts near-duplicates in one ticket, while customers with a "
        "case of their own keep theirs. It starts in shadow."
    )
    default_mode: ClassVar[str] = "shadow"
    Params = SurgeParams
    needs: ClassVar[Needs] = Needs(reader=True, incidents=True, window=timedelta(minutes=30))

    @classmethod
    def needs_of(cls, params: SurgeParams) -> Needs:
        """The window of the parameters."""
        return Needs(reader=True, incidents=True, window=timedelta(minutes=params.window_minutes))

    def on_interaction(self, case: Case, interaction: Interaction) -> Iterable[Effect]:
        """Open an incident, or join one."""
        # it becomes a tag of the ticket: helpdesks take no spaces and no capitals in one
        key = f"surge:{'-'.join((case.brand or 'all').casefold().split())}:{case.source}"
        mine = next((one for one in case.incidents if one.key == key), None)
        if mine is None:
            if case.window is not None and self._unusual(case.window):
                yield OpenIncident(
                    key=key,
                    title=f"{case.window.count} messages on {case.source} in {self.params.window_minutes} minutes, "
                    f"{case.window.expected:.0f} are usual",
                    tighten=self.params.tighten,
                    group=self.params.group,
                )
            return
        if self.params.group and self._joins(case, interaction, mine):
            yield JoinIncident(key=key)

    def _unusual(self, window: WindowFacts) -> bool:
        """More than the factor, and beyond what chance does to a small number (three standard deviations)."""
        expected = max(window.expected, 0.0)
        chance = expected + 3 * math.sqrt(max(expected, 1.0))
        return window.count >= self.params.at_least and window.count > max(expected * self.params.factor, chance)

    def _joins(self, case: Case, interaction: Interaction, incident: IncidentFacts) -> bool:
        """Only a message without a case of its own: nothing critical, no data of theirs, nobody we talk to already."""
        if case.ticket is not None or interaction.visibility != "public" or interaction.attachments:
            return False
        reading = self.read_message(case, interaction)
        if reading.has("personal_data") or any(reading.has(signal) for signal in CRITICAL):
            return False
        words = _words(interaction.text)
        return any(_alike(words, _words(text)) >= self.params.similar for text in incident.members)


def _words(text: str) -> frozenset[str]:
    return frozenset(word for word in _WORD.findall(text.casefold()) if not word.isdecimal())


def _alike(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other) if one and other else 0.0
