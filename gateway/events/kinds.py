"""The kinds of events that subscribers are told of, and the shape of what each says.

What an event says has two parts. Its *facts* are read from the database when it is announced: ids, links, states and
times of what it is about. Its *news* is what only the place that announces it knows. Neither holds what customers or
agents wrote: `texts` is put in when it is told, for subscriptions that ask for it, as the texts are then.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue, create_model


class Part(BaseModel):
    """A part of what an event says."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Texts(Part):
    """What people wrote, as it stands when the event is told; what was erased or deleted meanwhile is not in it."""

    author: str | None = None
    """Who wrote the message: handle or name."""
    message: str | None = None
    """The customer's message: the one that is answered; else the first of a new ticket, the newest of another."""
    reply: str | None = None
    """The reply's text."""
    reason: str | None = None
    """Why, in words that may quote the reply or the customer."""
    quote: str | None = None
    """What was promised."""


class TicketFacts(Part):
    """The ticket that an event is about."""

    ticket_id: UUID
    brand: str | None
    connection: str
    """The source connection that it came through."""
    connection_id: UUID
    source: str
    """The connection's plugin."""
    helpdesk: str | None
    helpdesk_ticket_id: str | None
    """The helpdesk's own id; null while it does not have the ticket yet."""
    ticket_url: str | None
    """Where agents see it."""
    status: str
    priority: str
    tags: list[str]
    customer_id: UUID
    opened_at: datetime


class ClockFacts(TicketFacts):
    """A time target of a ticket."""

    clock_id: UUID
    clock: str
    """`first_response`, `next_response`, `resolution`, …"""
    policy: str
    """The policy that asked for it; empty: none did."""
    due_at: datetime | None
    breached_at: datetime | None


class ReplyFacts(Part):
    """The reply that an event is about."""

    reply_id: UUID
    ticket_id: UUID
    interaction_id: UUID | None
    """What it answers."""
    brand: str | None
    connection: str
    connection_id: UUID
    source: str
    helpdesk: str | None
    helpdesk_ticket_id: str | None
    ticket_url: str | None
    comment_id: str | None
    """The helpdesk's comment that it was written as."""
    visibility: str | None
    origin: str
    state: str
    code: str | None
    digest: str | None
    """Names exactly what would be or was sent; an approval gives it back."""
    amends: UUID | None
    """The published reply whose text it changes."""
    group_id: UUID | None
    external_id: str | None
    """The source's id, once it is out."""
    url: str | None
    written_at: datetime
    sent_at: datetime | None


class PromiseFacts(TicketFacts):
    """Something that was promised to a customer."""

    promise_id: UUID
    policy: str
    standing: str | None
    due: datetime | None
    state: str
    settled_by: str | None
    made_at: datetime


class IncidentFacts(Part):
    """Something unusual that is going on."""

    incident_id: UUID
    key: str
    title: str
    brand: str | None
    policy: str
    ticket_id: UUID | None
    opened_at: datetime
    closed_at: datetime | None
    closed_by: str | None


class AlarmFacts(Part):
    """Something people must know of now."""

    alarm_id: UUID
    severity: str
    """`info`, `warning` or `critical`."""
    code: str
    policy: str | None
    owner: str | None
    brand: str | None
    ticket_id: UUID | None
    reply_id: UUID | None


class ConnectionFacts(Part):
    """A connection."""

    connection_id: UUID
    connection: str
    role: str
    plugin: str
    brand: str | None
    status: str


class PolicyFacts(Part):
    """A policy."""

    policy_id: UUID
    policy: str
    policy_type: str
    brand: str | None


class PauseFacts(Part):
    """A stop for everything outbound in a scope."""

    scope: str
    scope_id: str
    reason: str | None
    paused_by: str
    since: datetime
    lifted_by: str | None
    released: str | None


class SubscriptionFacts(Part):
    """A subscription."""

    subscription_id: UUID
    subscription: str
    host: str
    """Where it is; its whole address may hold a secret."""
    state: str


class Nothing(Part):
    """No more than that."""


class Origin(Part):
    """Where a ticket comes from."""

    followup_of: UUID | None = None
    """The closed or deleted ticket that it goes on with."""
    moved_from: UUID | None = None
    """The ticket that it took over from, or was split off."""


class Into(Part):
    """Where a ticket went."""

    into: UUID | None
    """Our ticket that it is a part of now; null where it is one that was not ours."""


class Ended(Part):
    """How a ticket ended."""

    ended: str
    """`closed` or `deleted`."""


class Step(Part):
    """A step of a clock."""

    at: datetime
    """When it was so; the event's own time is when it was noticed."""
    step: str | None
    """The step's name."""
    notify: list[str] = []


class Findings(Part):
    """What keeps a reply from going out."""

    findings: list[str] = []
    """`policy@revision:code` each, the strictest first."""


class By(Part):
    """Whose word it was."""

    by: str


class DeadLetter(Part):
    """What nobody tries any more."""

    dead_letters: list[int]
    """Ids of pushes under `/v1/dead-letters`."""
    code: str


class Health(Part):
    """How a channel stands, and what mends it."""

    code: str | None = None
    reason: str | None = None
    mend: str | None = None
    """What to do."""
    since: datetime | None = None
    details: dict[str, JsonValue] = Field(default_factory=dict)


class InForce(Part):
    """What was put into force."""

    revision: int | None
    """Null: the policy is out of force from then on."""
    effective_from: datetime
    effective_until: datetime | None
    reason: str
    by: str


class Erased(Part):
    """An erasure; it names nobody."""

    customer_id: UUID | None = None
    by: str | None = None
    details: dict[str, JsonValue] = Field(default_factory=dict)


class Why(Part):
    """Why."""

    reason: str


@dataclass(frozen=True)
class Kind:
    """One kind of event."""

    name: str
    meaning: str
    subject: str
    """What `subject_id` is the id of."""
    facts: type[Part]
    news: type[Part] = Nothing
    texts: tuple[str, ...] = ()
    """Which of `Texts` it can have."""

    @property
    def family(self) -> str:
        """The pattern that this kind and its likes fall under."""
        return self.name.partition(".")[0] + ".*"


_TICKET = ("author", "message")
_REPLY = (*_TICKET, "reply", "reason")
_PROMISE = (*_TICKET, "quote")


def _kinds() -> Iterator[Kind]:
    ticket, clock, reply = TicketFacts, ClockFacts, ReplyFacts
    yield Kind("ticket.created", "A matter has a ticket.", "ticket", ticket, Origin, _TICKET)
    yield Kind("ticket.merged", "A person merged it into another at the helpdesk.", "ticket", ticket, Into, _TICKET)
    yield Kind("ticket.closed", "It was closed or deleted at the helpdesk for good.", "ticket", ticket, Ended, _TICKET)
    yield Kind("clock.warned", "A time target is about to be missed.", "clock", clock, Step, _TICKET)
    yield Kind("clock.breached", "A time target was missed.", "clock", clock, Step, _TICKET)
    yield Kind("clock.escalated", "A time target was missed some time ago.", "clock", clock, Step, _TICKET)
    yield Kind("clock.voided", "A step that was told of turned out not to be due.", "clock", clock, Step, _TICKET)
    yield Kind("clock.met", "A time target was met.", "clock", clock, Step, _TICKET)
    yield Kind("reply.held", "An answer waits for a person's word.", "reply", reply, Findings, _REPLY)
    yield Kind("reply.blocked", "An answer may not go out as it is.", "reply", reply, Findings, _REPLY)
    yield Kind("reply.approved", "A person let a held answer go.", "reply", reply, By, _REPLY)
    yield Kind("reply.rejected", "A held or blocked answer does not go out.", "reply", reply, texts=_REPLY)
    yield Kind("reply.published", "An answer is out.", "reply", reply, texts=_REPLY)
    yield Kind("reply.failed", "An answer could not be published, or was taken down.", "reply", reply, texts=_REPLY)
    yield Kind("reply.cancelled", "It was taken back before it went out.", "reply", reply, texts=_REPLY)
    yield Kind("reply.retracted", "What was published was taken back.", "reply", reply, texts=_REPLY)
    yield Kind("reply.unknown", "Only a person can tell whether it is out.", "reply", reply, texts=_REPLY)
    yield Kind("promise.broken", "A promise was not kept.", "promise", PromiseFacts, texts=_PROMISE)
    yield Kind("incident.opened", "Something unusual began.", "incident", IncidentFacts)
    yield Kind("incident.closed", "It is over.", "incident", IncidentFacts)
    yield Kind("alarm.raised", "Something people must know of now.", "alarm", AlarmFacts, texts=("reason",))
    yield Kind(
        "dead_letter.added",
        "The helpdesk refused a change for good. An answer that a source refused is `reply.failed`.",
        "ticket",
        ticket,
        DeadLetter,
        _TICKET,
    )
    yield Kind("connection.unhealthy", "A channel does not work as it should.", "connection", ConnectionFacts, Health)
    yield Kind(
        "connection.expiring", "Its access ends soon, by what the provider says.", "connection", ConnectionFacts, Health
    )
    yield Kind("connection.recovered", "A channel works again.", "connection", ConnectionFacts, Health)
    yield Kind(
        "connection.needs_authorisation",
        "The provider refuses the account's credentials; its work stands still.",
        "connection",
        ConnectionFacts,
        Health,
    )
    yield Kind("policy.activated", "A policy was put into or out of force.", "policy", PolicyFacts, InForce)
    yield Kind("outbound.paused", "Everything outbound was stopped in a scope.", "outbound_pause", PauseFacts)
    yield Kind("outbound.resumed", "A stop was lifted.", "outbound_pause", PauseFacts)
    yield Kind("erasure.completed", "A person's data was erased.", "erasure", Nothing, Erased)
    yield Kind(
        "subscription.disabled",
        "A receiver was not to be reached for long and gets nothing any more.",
        "subscription",
        SubscriptionFacts,
        Why,
    )
    yield Kind("subscription.test", "Somebody tries a subscription out.", "subscription", SubscriptionFacts, By)


KINDS: dict[str, Kind] = {kind.name: kind for kind in _kinds()}
"""All kinds, by name, in the order of the documentation."""
TEST = "subscription.test"
"""Told to the one subscription that is tried out, whatever it asks for."""


@cache
def data_model(name: str) -> type[Part]:
    """The shape of `data` of a kind's events."""
    kind = KINDS[name]
    texts: dict[str, Any] = {"texts": (Texts | None, None)} if kind.texts else {}
    title = "".join(part.capitalize() for part in name.replace("_", ".").split("."))
    model: type[Part] = create_model(f"{title}Data", __base__=(kind.news, kind.facts), __doc__=kind.meaning, **texts)
    return model


@cache
def schema_of(name: str) -> dict[str, Any]:
    """The JSON Schema of a kind's whole body."""
    envelope = create_model(
        data_model(name).__name__.removesuffix("Data"),
        __doc__=KINDS[name].meaning,
        type=(str, Field(description="The kind.", json_schema_extra={"const": name})),
        timestamp=(datetime, Field(description="When it happened.")),
        data=(data_model(name), ...),
    )
    return envelope.model_json_schema(mode="serialization")
