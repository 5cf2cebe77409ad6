"""What policies say: findings on what goes out, effects on what is done."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, ConfigDict, Field

from gateway_schemas.base import Model
from gateway_schemas.interaction import Interaction, Visibility
from gateway_schemas.reading import Coverage
from gateway_schemas.ticket import Priority, TicketStatus

Point = Literal["on_interaction", "review_reply", "on_own_post", "on_ticket", "on_clock"]
ClockKind = Literal["first_response", "next_response", "resolution", "acknowledged", "substantive_answer", "promise"]


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
    """Which of the case's timeline, where it is an earlier message."""


class Finding(Model):
    """One thing a policy noticed about a reply or a post."""

    severity: Severity
    code: str
    message: str
    evidence: tuple[Evidence, ...] = ()
    suggestion: str | None = None
    rule: str | None = None
    """The outside rule that it would break, named (a platform's terms, a law)."""
    second_person: bool = False
    """Whether only somebody other than the author may approve past it: four eyes."""
    coverage: Coverage = "full"
    """Whether the text's language was understood; a finding about that itself says `partial` or `none`."""


class SetPriority(Model):
    """Ask for at least this priority; the highest of all wins."""

    effect: Literal["set_priority"] = "set_priority"
    priority: Priority


class AddTags(Model):
    """Tag the ticket; tags of all policies are united."""

    effect: Literal["add_tags"] = "add_tags"
    tags: tuple[str, ...]


class SetFields(Model):
    """Write values to the ticket's fields by our own names (`cause`, `cause_owner`, `broken_promise`). Of two values
    for one field the first in the explicit order of the policies wins."""

    effect: Literal["set_fields"] = "set_fields"
    fields: dict[str, str | int | float | bool | None]


class Ignore(Model):
    """No ticket for this. Loses to any other effect that wants one."""

    effect: Literal["ignore"] = "ignore"
    reason: str


class Note(Model):
    """Write a private note on the ticket. Notes of one decision travel in one comment."""

    effect: Literal["note"] = "note"
    text: str


class Route(Model):
    """Put the ticket with a helpdesk connection, or a group or agent within one. Of several the first in the explicit
    order of the policies wins."""

    effect: Literal["route"] = "route"
    helpdesk: str | None = None
    """A helpdesk connection's name."""
    group: str | None = None
    assignee: str | None = None


class ClockStep(Model):
    """What is due when a share of a target has passed: below 1 a warning, at 1 the breach, above an escalation."""

    at: float = Field(gt=0)
    name: str
    notify: tuple[str, ...] = ()
    """Whom to tell: names of subscriptions, addresses the company's admins chose."""


class StartClock(Model):
    """Start a time target on the ticket, from the event that the policy is asked about. A running one of the same kind
    and policy is left alone; with another target it is re-targeted from its own start."""

    effect: Literal["start_clock"] = "start_clock"
    kind: ClockKind
    target: timedelta
    calendar: str = "always"
    pause_while_waiting: bool = True
    """Whether it stands still while the ticket waits for the customer."""
    steps: tuple[ClockStep, ...] = (ClockStep(at=0.75, name="warning"), ClockStep(at=1.0, name="breach"))
    label: str = ""


class StopClock(Model):
    """The targets of these kinds are met (`met`), or void because nothing is owed any more."""

    effect: Literal["stop_clock"] = "stop_clock"
    kinds: tuple[ClockKind, ...]
    outcome: Literal["met", "void"] = "met"


class MakePromise(Model):
    """Somebody in the company's name committed to something. `due` None asks for a review on `review_at`."""

    effect: Literal["make_promise"] = "make_promise"
    quote: str
    due: AwareDatetime | None = None
    review_at: AwareDatetime | None = None
    detail: str = ""
    standing: str | None = None
    """The name of a standing promise of the company that it rests on."""
    calendar: str = "always"
    steps: tuple[ClockStep, ...] = (ClockStep(at=0.75, name="warning"), ClockStep(at=1.0, name="breach"))
    """Of the promise's own clock, which runs from when it was made until it is due or to be reviewed."""


class SettlePromise(Model):
    """A promise was kept or broken."""

    effect: Literal["settle_promise"] = "settle_promise"
    promise: str
    """Its id."""
    outcome: Literal["kept", "broken", "withdrawn"]
    evidence: str = ""


class OpenIncident(Model):
    """Something unusual is going on: tighten the named policies and group near-duplicates until it is closed."""

    effect: Literal["open_incident"] = "open_incident"
    key: str
    """One open incident per key; opening it again adds to it. Its ticket gets the tag `incident:<key>`: no spaces, no
    capitals."""
    title: str
    tighten: dict[str, Severity] = Field(default_factory=dict)
    """Policies by name, and the least severity their findings have meanwhile."""
    group: bool = True


class JoinIncident(Model):
    """Count this message under an open incident's one ticket instead of opening one of its own."""

    effect: Literal["join_incident"] = "join_incident"
    key: str


class Alarm(Model):
    """Tell people now, through the company's subscriptions: `critical` pages."""

    effect: Literal["alarm"] = "alarm"
    severity: Literal["info", "warning", "critical"]
    code: str
    message: str
    owner: str | None = None


class AskCustomer(Model):
    """Propose a message to the customer in the private leg. It passes through every outbound policy like any other."""

    effect: Literal["ask_customer"] = "ask_customer"
    text: str
    after: timedelta = timedelta()


Effect = Annotated[
    SetPriority
    | AddTags
    | SetFields
    | Ignore
    | Note
    | Route
    | StartClock
    | StopClock
    | MakePromise
    | SettlePromise
    | OpenIncident
    | JoinIncident
    | Alarm
    | AskCustomer,
    Field(discriminator="effect"),
]


class TimelineEntry(Model):
    """One message of the matter before the one that is asked about, inbound or outbound, as the policies see it."""

    at: AwareDatetime
    who: Literal["customer", "agent", "bystander"]
    visibility: Visibility
    text: str
    language: str | None = None
    interaction: Interaction | None = None
    ref: str | None = None
    """Names the stored text, where the host keeps it by name instead of copying it into every decision."""
    seen: bool = True
    """Whether it was known to the agents by then; False for a message that has just come in."""


class TicketFacts(Model):
    """What a policy may know of the ticket."""

    id: str
    status: TicketStatus = "new"
    priority: Priority = "normal"
    tags: tuple[str, ...] = ()
    opened_at: AwareDatetime | None = None
    fields: dict[str, Any] = Field(default_factory=dict)
    assignee: str | None = None


class CustomerFacts(Model):
    """What the company's history with this customer is, as far as the gateway has seen it."""

    id: str
    tickets: int = 0
    """Earlier matters, this one not counted."""
    open_tickets: int = 0
    private_unanswered: int = 0
    """Private messages still without an answer when this one came in."""
    promises_broken: int = 0
    causes: tuple[str, ...] = ()
    """The causes of their earlier matters, newest first."""
    accounts: int = 1


class ClockFacts(Model):
    """One time target of the ticket."""

    id: str
    kind: ClockKind
    policy: str
    state: Literal["running", "paused", "met", "breached", "void"]
    """`breached` goes on: nothing has fulfilled it yet."""
    started_at: AwareDatetime
    due_at: AwareDatetime | None = None
    target: timedelta | None = None
    """The span of the calendar's time it was given; None where a due time was named instead."""
    step: str = ""
    """For `on_clock`: the step that is due now."""
    share: float = 0.0
    """How much of the target has passed by its calendar; 1 is the breach."""
    label: str = ""
    promise: str | None = None
    """The promise's id, where it is a promise's clock."""


class PromiseFacts(Model):
    """One commitment made on the ticket."""

    id: str
    quote: str
    made_at: AwareDatetime
    due: AwareDatetime | None = None
    state: Literal["open", "kept", "broken", "withdrawn"] = "open"
    detail: str = ""


class IncidentFacts(Model):
    """An open incident that this may belong to."""

    key: str
    title: str
    opened_at: AwareDatetime
    count: int = 0
    members: tuple[str, ...] = ()
    """A few of the texts that make it up."""


class WindowFacts(Model):
    """How many of something came in lately, against what is usual at this hour of the week."""

    count: int
    expected: float
    span: timedelta
    texts: tuple[str, ...] = ()
    """A few of the newest."""


class AgentFacts(Model):
    """The person who wrote the reply."""

    id: str
    name: str | None = None
    replies_with_same_text: int = 0
    """How many near-identical replies went out or wait, to other customers, within the window the policy needs."""


class Case(Model):
    """All that a policy may know. It is stored with the decision, so that the decision can be reproduced."""

    now: AwareDatetime
    brand: str | None = None
    source: str
    """The source plugin's name."""
    connection: str | None = None
    timezone: str = "UTC"
    """Where the brand counts its days."""
    ticket: TicketFacts | None = None
    interaction: Interaction | None = None
    """For a reply: what it answers."""
    timeline: tuple[TimelineEntry, ...] = ()
    """Oldest first; for a reply it ends with what was said last."""
    customer: CustomerFacts | None = None
    clocks: tuple[ClockFacts, ...] = ()
    promises: tuple[PromiseFacts, ...] = ()
    incidents: tuple[IncidentFacts, ...] = ()
    window: WindowFacts | None = None
    agent: AgentFacts | None = None
    lists: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """The company's lists (phrases, names, handles, causes), by name, as far as the policy needs them."""
    facts: dict[str, Any] = Field(default_factory=dict)
    """What enrichers found, by enricher."""
