"""What policies say: findings on what goes out, effects on what comes in."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, ConfigDict, Field

from gateway_schemas.base import Model
from gateway_schemas.interaction import Interaction
from gateway_schemas.ticket import Priority, TicketStatus

Point = Literal["on_interaction", "review_reply", "on_own_post", "on_ticket", "on_clock"]


class Severity(StrEnum):
    """How strict a finding is; the strictest one is the verdict."""

    allow = "allow"
    warn = "warn"
    hold = "hold"
    block = "block"

    @property
    def rank(self) -> int:
        """Position in allow < warn < hold < block."""
        return list(Severity).index(self)


class Evidence(Model):
    """The words a finding rests on. Offsets are code points into the named text."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)

    where: Literal["reply", "interaction", "earlier"] = Field(alias="in", default="reply")
    start: int = Field(ge=0)
    end: int = Field(ge=0)
    text: str
    index: int | None = None
    """Which of the earlier messages, where it is one."""


class Finding(Model):
    """One thing a policy noticed about a reply or a post."""

    severity: Severity
    code: str
    message: str
    evidence: tuple[Evidence, ...] = ()
    suggestion: str | None = None


class SetPriority(Model):
    """Ask for at least this priority; the highest of all wins."""

    effect: Literal["set_priority"] = "set_priority"
    priority: Priority


class AddTags(Model):
    """Tag the ticket; tags of all policies are united."""

    effect: Literal["add_tags"] = "add_tags"
    tags: tuple[str, ...]


class Ignore(Model):
    """No ticket for this. Loses to any other effect."""

    effect: Literal["ignore"] = "ignore"
    reason: str


class Note(Model):
    """Write a private note on the ticket."""

    effect: Literal["note"] = "note"
    text: str


Effect = Annotated[SetPriority | AddTags | Ignore | Note, Field(discriminator="effect")]


class TimelineEntry(Model):
    """One earlier message of the matter, inbound or outbound, as the policies see it."""

    at: AwareDatetime
    who: Literal["customer", "agent", "bystander"]
    visibility: Literal["public", "private"]
    text: str
    interaction: Interaction | None = None


class TicketFacts(Model):
    """What a policy may know of the ticket."""

    id: str
    status: TicketStatus = "new"
    priority: Priority = "normal"
    tags: tuple[str, ...] = ()
    opened_at: AwareDatetime | None = None


class Case(Model):
    """All that a policy may know. It is stored with the decision, so that the decision can be reproduced."""

    now: AwareDatetime
    brand: str | None = None
    source: str
    """The source plugin's name."""
    connection: str | None = None
    ticket: TicketFacts | None = None
    timeline: tuple[TimelineEntry, ...] = ()
    facts: dict[str, Any] = Field(default_factory=dict)
    """What enrichers found, by enricher."""
