"""All tables, one aggregate a file."""

from gateway.db.tables.access import ApiKey, DataKey, Fact, IdempotentAnswer
from gateway.db.tables.audit import AuditEntry, AuditPending
from gateway.db.tables.authorisation import Authorisation, AuthorisationRequest
from gateway.db.tables.budget import Budget, BudgetCost
from gateway.db.tables.calendar import Calendar, CalendarVersion
from gateway.db.tables.clock import Clock, ClockEvent, Fulfilment
from gateway.db.tables.commitment import Alarm, Incident, IncidentMember, Promise
from gateway.db.tables.connection import App, Brand, Connection, Cursor, Listener, RetiredSecret
from gateway.db.tables.decision import (
    Backtest,
    Decision,
    Enrichment,
    Feedback,
    Policy,
    PolicyActivation,
    PolicyCase,
    PolicyRevision,
    PolicySet,
    ToneBreaker,
    Waiver,
    WordList,
)
from gateway.db.tables.delivery import Delivery, Refusal, Wanted
from gateway.db.tables.engine import Lease
from gateway.db.tables.erasure import Erased, Erasure
from gateway.db.tables.file import Attachment
from gateway.db.tables.foreign_ticket import ForeignTicket
from gateway.db.tables.health import ChannelHealth
from gateway.db.tables.interaction import (
    Account,
    Customer,
    Interaction,
    InteractionAlias,
    Revision,
    Thread,
    Tombstone,
)
from gateway.db.tables.person import Person, PersonIdentity
from gateway.db.tables.push import Attempt, Push
from gateway.db.tables.reply import OutboundPause, Reply, ReplyGroup
from gateway.db.tables.subscription import Event, EventAttempt, EventDelivery, Subscription
from gateway.db.tables.ticket import Invitation, Leg, Note, Ticket

__all__ = [
    "Account",
    "Alarm",
    "ApiKey",
    "App",
    "Attachment",
    "Attempt",
    "AuditEntry",
    "AuditPending",
    "Authorisation",
    "AuthorisationRequest",
    "Backtest",
    "Brand",
    "Budget",
    "BudgetCost",
    "Calendar",
    "CalendarVersion",
    "ChannelHealth",
    "Clock",
    "ClockEvent",
    "Connection",
    "Cursor",
    "Customer",
    "DataKey",
    "Decision",
    "Delivery",
    "Enrichment",
    "Erased",
    "Erasure",
    "Event",
    "EventAttempt",
    "EventDelivery",
    "Fact",
    "Feedback",
    "ForeignTicket",
    "Fulfilment",
    "IdempotentAnswer",
    "Incident",
    "IncidentMember",
    "Interaction",
    "InteractionAlias",
    "Invitation",
    "Lease",
    "Leg",
    "Listener",
    "Note",
    "OutboundPause",
    "Person",
    "PersonIdentity",
    "Policy",
    "PolicyActivation",
    "PolicyCase",
    "PolicyRevision",
    "PolicySet",
    "Promise",
    "Push",
    "Refusal",
    "Reply",
    "ReplyGroup",
    "RetiredSecret",
    "Revision",
    "Subscription",
    "Thread",
    "Ticket",
    "Tombstone",
    "ToneBreaker",
    "Waiver",
    "Wanted",
    "WordList",
]
