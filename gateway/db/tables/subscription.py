"""Outgoing subscriptions: who is told of what happens, what happened, and how telling them went."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Index, UniqueConstraint
from sqlalchemy import text as sql
from sqlmodel import Field, SQLModel

from gateway.db.tables.columns import (
    UUID,
    Json,
    datetime,
    document,
    identifier,
    maybe_string,
    maybe_timestamp,
    sealed,
    serial,
    string,
    strings,
    timestamp,
)


class Subscription(SQLModel, table=True):
    """One receiver of events, after Standard Webhooks."""

    id: UUID = identifier()
    name: str = string(unique=True)
    url: str = string()
    description: str = string("")
    kinds: list[str] = strings()
    """Kinds of events, `reply.held`; of a family, `reply.*`; or all, `*`."""
    brands: list[str] = strings()
    """Ids of the only brands whose events it gets; empty: all events, also those of no brand."""
    connections: list[str] = strings()
    """The same for connections."""
    include_text: bool = Field(default=False, sa_type=Boolean)
    """Whether it is told what people wrote."""
    allow_private: list[str] = strings()
    """Private address ranges or host:port pairs that it may be at."""
    secrets: bytes | None = sealed("subscription:{id}")
    """Sealed: the secrets that requests are signed with, newest first, each with its end."""
    state: str = string("active")
    """`active`; `paused` by a person; or `disabled` by the gateway, because it was not to be reached."""
    reason: str | None = maybe_string()
    """Why it is paused or disabled."""
    failing_since: datetime | None = maybe_timestamp()
    """The first of the attempts in a row that failed."""
    failures: int = 0
    """How many attempts in a row failed."""
    wait_until: datetime | None = maybe_timestamp()
    """It asked for no requests before this (Retry-After)."""
    last_ok_at: datetime | None = maybe_timestamp()
    last_error: str | None = maybe_string()
    stopped_at: datetime | None = maybe_timestamp()
    """When it was paused or disabled."""
    version: int = Field(default=1)
    created_by: str = string()
    created_at: datetime = timestamp()
    updated_at: datetime = timestamp()


class Event(SQLModel, table=True):
    """Something that happened and that somebody wants to be told of. Written in the transaction that made it so.

    It holds what the gateway says and no words of customers; those are read when it is told.
    """

    __table_args__ = (Index("event_at", "at"),)

    id: UUID = identifier()
    """Its `webhook-id`, the same however often it is told."""
    kind: str = string()
    subject_kind: str = string()
    subject_id: UUID
    brand_id: UUID | None = None
    connection_id: UUID | None = None
    data: Json = document()
    at: datetime = timestamp()


class EventDelivery(SQLModel, table=True):
    """One event for one subscription."""

    __tablename__ = "event_delivery"

    __table_args__ = (
        UniqueConstraint("subscription_id", "event_id"),
        Index("event_delivery_turn", "subscription_id", "due_at", "id", postgresql_where=sql("state = 'pending'")),
        Index(
            "event_delivery_out",
            "subscription_id",
            "deadline_at",
            postgresql_where=sql("state = 'pending' AND deadline_at IS NOT NULL"),
        ),
        Index("event_delivery_of_event", "event_id"),
    )

    id: int = serial()
    subscription_id: UUID
    """No foreign key: one that is deleted at this moment must fail nobody's transaction that announces something."""
    event_id: UUID = Field(foreign_key="event.id", ondelete="CASCADE")
    state: str = string("pending")
    """`pending`, `delivered`, or `failed` when the last attempt had failed."""
    tries: int = 0
    due_at: datetime = timestamp()
    deadline_at: datetime | None = maybe_timestamp()
    """While an attempt is under way: when whoever makes it has surely given up."""
    replays: int = 0
    """How often somebody asked for it anew."""
    created_at: datetime = timestamp()
    done_at: datetime | None = maybe_timestamp()


class EventAttempt(SQLModel, table=True):
    """One request to a receiver, and how it ended."""

    __tablename__ = "event_attempt"

    __table_args__ = (Index("event_attempt_of_delivery", "delivery_id"),)

    id: int = serial()
    delivery_id: int = Field(sa_type=BigInteger, foreign_key="event_delivery.id", ondelete="CASCADE")
    at: datetime = timestamp()
    outcome: str = string()
    """`delivered`, `refused`, `redirected`, `gone`, `timeout`, `unreachable` or `not_allowed`."""
    status: int | None = None
    reason: str | None = maybe_string()
    body: str | None = maybe_string()
    """The beginning of the answer."""
    milliseconds: int = 0
