"""What the conversation before a reply still holds open: an offer, a request, a customer's proposal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gateway_schemas.decision import Case, Evidence, TimelineEntry
from gateway_schemas.policy import Policy
from gateway_schemas.reading import Mark, Reading

BEYOND = ("boon", "waiver", "lure", "benefit", "offer")
"""Kinds of hinted value that are beyond what may be owed."""
WORTH = (*BEYOND, "sum", "amount")
"""Kinds of hinted value that stand for an offer where the same message hints at a change."""


@dataclass(frozen=True, slots=True)
class Half:
    """One half of a trade in an earlier message."""

    evidence: tuple[Evidence, ...]
    place: str
    """Where it stands, as the end of a sentence: ` in private, two messages ago`."""


@dataclass(slots=True)
class Conversation:
    """Folded from the oldest message to the newest: whatever a later one takes back is gone."""

    offer: Half | None = None
    """Something of value that the brand offered or gave, and did not untie."""
    value: Half | None = None
    """Something of value that the brand named, without the words of an offer."""
    request: Half | None = None
    """A change that the brand asked for."""
    named: Half | None = None
    """A change that the brand named, asked for or not."""
    proposal: Half | None = None
    """A trade that the customer proposed, and nobody declined."""
    haggling: bool = False
    """Whether the customer's last word, after a request, was what there is in it for them."""

    @classmethod
    def around_reply(cls, policy: Policy[Any], case: Case, look_back: int) -> Conversation:
        """The conversation that a reply answers: the newest `look_back` entries of the timeline, and the message itself
        where the timeline does not have it."""
        conversation = cls()
        first = max(0, len(case.timeline) - look_back)
        answered = case.interaction
        present = False
        readings = policy.read_timeline(case) if look_back else ()
        for index in range(first, len(case.timeline) if look_back else first):
            entry = case.timeline[index]
            same = answered is not None and (
                entry.interaction.external_id == answered.external_id
                if entry.interaction is not None
                else entry.text == answered.text
            )
            present = present or same
            conversation._add(entry.who, readings[index], _Place(case, entry, index))
        if answered is not None and not present:
            who = "customer" if answered.direction == "inbound" else "agent"
            conversation._add(who, policy.read_message(case, answered), None)
        return conversation

    def _add(self, who: str, reading: Reading, place: _Place | None) -> None:
        if who == "customer":
            if proposals := reading.of("proposes_trade"):
                self.proposal = _half(proposals[0], place)
            if reading.has("x_asks_price"):
                self.request = self.request or self.named
                self.haggling = self.request is not None
            else:
                self.haggling = False
            return
        if who != "agent":
            return
        self.haggling = False
        if reading.of("withdraws_offer", "x_untied"):
            self.offer = self.value = self.request = self.named = self.proposal = None
            return
        if reading.has("declines"):
            self.proposal = None
        changed = reading.of("x_change_hinted")
        valued = tuple(mark for mark in reading.of("x_value_hinted") if mark.detail in WORTH)
        if valued:
            self.value = _half(valued[0], place)
        if offers := reading.of("incentive_offered") or (valued if changed else ()):
            self.offer = _half(offers[0], place)
        if named := tuple(mark for mark in changed if mark.detail != "alone"):
            self.named = _half(named[0], place)
        asked = tuple(mark for mark in changed if mark.detail == "asked" or (valued and mark.detail == "named"))
        if requests := reading.of("retraction_requested") or asked:
            self.request = _half(requests[0], place)


@dataclass(frozen=True, slots=True)
class _Place:
    case: Case
    entry: TimelineEntry
    index: int

    @property
    def words(self) -> str:
        ago = len(self.case.timeline) - self.index
        leg = "private" if self.entry.visibility == "private" else "public"
        return f" in {leg}, {ago} message{'s' if ago > 1 else ''} ago"


def _half(mark: Mark, place: _Place | None) -> Half:
    found = Evidence(start=mark.start, end=mark.end, text=mark.text)
    if place is None:
        return Half((found.model_copy(update={"where": "interaction"}),), "")
    return Half((found.model_copy(update={"where": "earlier", "index": place.index}),), place.words)
