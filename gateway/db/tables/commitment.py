"""What policies set going: promises, incidents and alarms."""

from __future__ import annotations

from sqlalchemy import Index, PrimaryKeyConstraint
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
    string,
    timestamp,
)


class Promise(SQLModel, table=True):
    """Something that was promised to a customer in the company's name, and what became of it."""

    __table_args__ = (
        Index("promise_of_ticket", "ticket_id", "made_at"),
        Index("promise_open", "due", postgresql_where=sql("state = 'open'")),
    )

    id: UUID = identifier()
    key: str = string(unique=True)
    """The decision it came of: told twice, it is one promise."""
    ticket_id: UUID = Field(foreign_key="ticket.id")
    policy: str = string()
    quote: str = string()
    detail: str = string("")
    standing: str | None = maybe_string()
    due: datetime | None = maybe_timestamp()
    review_at: datetime | None = maybe_timestamp()
    reply_id: UUID | None = Field(default=None, foreign_key="reply.id")
    """The answer that made it."""
    state: str = string("open")
    """`open`, `kept`, `broken` or `withdrawn`."""
    evidence: str = string("")
    settled_by: str | None = maybe_string()
    made_at: datetime = timestamp()
    settled_at: datetime | None = maybe_timestamp()


class Incident(SQLModel, table=True):
    """Something unusual that is going on. One open incident for each key."""

    __table_args__ = (
        Index("incident_open", "key", unique=True, postgresql_where=sql("closed_at IS NULL")),
        Index("incident_ticket", "ticket_id", postgresql_where=sql("ticket_id IS NOT NULL")),
    )

    id: UUID = identifier()
    key: str = string()
    title: str = string()
    brand_id: UUID | None = Field(default=None, foreign_key="brand.id")
    policy: str = string()
    tighten: Json = document()
    """Policies by name, and the least severity of their findings meanwhile."""
    grouping: bool = True
    ticket_id: UUID | None = Field(default=None, foreign_key="ticket.id")
    """The one ticket that near-duplicates are counted under."""
    tell_at: int = Field(default=1, sa_column_kwargs={"server_default": sql("1")})
    """How many messages it must have for its ticket to be told of the number again."""
    opened_at: datetime = timestamp()
    closed_at: datetime | None = maybe_timestamp()
    closed_by: str | None = maybe_string()
    reason: str | None = maybe_string()


class IncidentMember(SQLModel, table=True):
    """One message that belongs to an incident."""

    __tablename__ = "incident_member"

    __table_args__ = (
        PrimaryKeyConstraint("incident_id", "interaction_id"),
        Index("incident_member_newest", "incident_id", "at", "interaction_id"),
    )

    incident_id: UUID = Field(foreign_key="incident.id", ondelete="CASCADE")
    interaction_id: UUID = Field(foreign_key="interaction.id", ondelete="CASCADE", index=True)
    grouped: bool = False
    """Whether it has no ticket of its own."""
    at: datetime = timestamp()


class Alarm(SQLModel, table=True):
    """Something people must know of now."""

    id: UUID = identifier()
    key: str = string(unique=True)
    severity: str = string()
    """`info`, `warning` or `critical`."""
    code: str = string()
    message: str = string()
    policy: str | None = maybe_string()
    owner: str | None = maybe_string()
    brand_id: UUID | None = Field(default=None, foreign_key="brand.id")
    ticket_id: UUID | None = Field(default=None, foreign_key="ticket.id", index=True)
    interaction_id: UUID | None = None
    reply_id: UUID | None = None
    at: datetime = timestamp()
    acknowledged_at: datetime | None = maybe_timestamp()
    acknowledged_by: str | None = maybe_string()
