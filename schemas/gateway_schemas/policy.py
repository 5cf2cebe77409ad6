"""The class a policy plugin subclasses: the company's rules, as pure functions of a stored case."""

from __future__ import annotations

import builtins
from abc import ABC
from collections.abc import Iterable
from datetime import timedelta
from typing import ClassVar, Generic, TypeVar

from pydantic import BaseModel

from gateway_schemas.base import Model
from gateway_schemas.decision import Case, ClockFacts, Effect, Finding
from gateway_schemas.interaction import Interaction
from gateway_schemas.plugin import CONTRACT
from gateway_schemas.reading import NOTHING_READ, Reader, Reading
from gateway_schemas.reply import Rendered
from gateway_schemas.ticket import TicketChanged

P = TypeVar("P", bound=BaseModel)


class Needs(Model):
    """What of a case a policy reads; the host loads no more."""

    timeline: int = 0
    """How many earlier messages of the matter, newest first, over both of its legs."""
    reader: bool = False
    """Whether it asks what texts say."""
    customer: bool = False
    clocks: bool = False
    promises: bool = False
    incidents: bool = False
    window: timedelta | None = None
    """How far back to count what came in on the same brand and source."""
    same_text: timedelta | None = None
    """How far back to look for near-identical replies to others."""
    lists: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()

    def union(self, other: Needs) -> Needs:
        """What both read together: the deeper timeline, the longer windows."""

        def longer(one: timedelta | None, another: timedelta | None) -> timedelta | None:
            return max((span for span in (one, another) if span is not None), default=None)

        return Needs(
            timeline=max(self.timeline, other.timeline),
            reader=self.reader or other.reader,
            customer=self.customer or other.customer,
            clocks=self.clocks or other.clocks,
            promises=self.promises or other.promises,
            incidents=self.incidents or other.incidents,
            window=longer(self.window, other.window),
            same_text=longer(self.same_text, other.same_text),
            lists=tuple(sorted({*self.lists, *other.lists})),
            facts=tuple(sorted({*self.facts, *other.facts})),
        )


class Policy(ABC, Generic[P]):
    """One rule with its parameters. All it may know is in the case; it runs in a process that can be killed.

    A policy type says its defaults for a new installation: `default_mode`, and `Params` with titles, units and
    defaults. Modes are the host's business: in `shadow` everything is recorded and nothing is done.
    """

    type: ClassVar[str]
    version: ClassVar[str] = "1"
    """Changes when the code decides differently; every decision names it."""
    contract: ClassVar[int] = CONTRACT
    title: ClassVar[str] = ""
    description: ClassVar[str] = ""
    """What it does and why, in a few sentences an admin reads."""
    tone: ClassVar[bool] = False
    """Whether it judges manners: such policies only warn while too large a share of replies is being held."""
    default_mode: ClassVar[str] = "on"
    """`on`, `shadow` or `off` on a new installation."""
    many: ClassVar[bool] = False
    """Whether several of this type stand beside each other, as rules do. Of any other type a brand's own policy takes
    the place of the one for all brands, unless that is locked."""
    Params: ClassVar[builtins.type[BaseModel]]
    needs: ClassVar[Needs] = Needs()

    def __init__(self, params: P, reader: Reader | None = None) -> None:
        self.params = params
        self.reader = reader

    @classmethod
    def needs_of(cls, params: P) -> Needs:
        """Called when a set comes into force: what an instance with these parameters reads; by default `needs`."""
        return cls.needs

    def on_interaction(self, case: Case, interaction: Interaction) -> Iterable[Effect]:
        """Called for each inbound interaction and each of its edits."""
        return ()

    def review_reply(self, case: Case, rendered: Rendered) -> Iterable[Finding | Effect]:
        """Called for each reply, on exactly what would be sent; also again right before sending.

        Effects take place when the reply is published, and only then.
        """
        return ()

    def on_own_post(self, case: Case, post: Interaction) -> Iterable[Finding | Effect]:
        """Called for the brand's own posts that did not come through the gateway. They are out: findings alarm."""
        return ()

    def on_ticket(self, case: Case, change: TicketChanged) -> Iterable[Effect]:
        """Called when a person changed the ticket at the helpdesk. `case.ticket` is as it was before."""
        return ()

    def on_clock(self, case: Case, clock: ClockFacts) -> Iterable[Effect]:
        """Called once for each step of a clock that this policy started, when it is due."""
        return ()

    def read_reply(self, case: Case, rendered: Rendered) -> Reading:
        """The reading of the reply under review; coverage none without a reader."""
        if self.reader is None:
            return NOTHING_READ
        language = case.interaction.language if case.interaction else None
        return self.reader.read(
            rendered.text,
            speaker="brand",
            at=case.now,
            language=language,
            visibility=rendered.visibility,
            timezone=case.timezone,
        )

    def read_message(self, case: Case, message: Interaction) -> Reading:
        """The reading of a customer's message, or of the brand's own post."""
        if self.reader is None:
            return NOTHING_READ
        return self.reader.read(
            message.text,
            speaker="customer" if message.direction == "inbound" else "brand",
            at=message.published_at,
            language=message.language,
            visibility=message.visibility,
            timezone=case.timezone,
        )

    def read_timeline(self, case: Case) -> tuple[Reading, ...]:
        """The readings of `case.timeline`, entry by entry."""
        if self.reader is None:
            return tuple(NOTHING_READ for _ in case.timeline)
        return tuple(
            self.reader.read(
                entry.text,
                speaker="brand" if entry.who == "agent" else "customer",
                at=entry.at,
                language=entry.language,
                visibility=entry.visibility,
                timezone=case.timezone,
            )
            for entry in case.timeline
        )
