"""How connections fare: what was proven last, what is wrong, and what their traffic taught."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index
from sqlalchemy import text as sql
from sqlmodel import Field, SQLModel

from gateway.db.tables.columns import (
    UUID,
    Json,
    datetime,
    document,
    maybe_document,
    maybe_string,
    maybe_timestamp,
    string,
    timestamp,
)


class ChannelHealth(SQLModel, table=True):
    """The health of one connection, as last observed. Written by whoever holds the lease of its probe."""

    __tablename__ = "channel_health"

    __table_args__ = (
        Index("channel_health_due", "next_at"),
        Index("channel_health_unwell", "connection_id", postgresql_where=sql("state = 'unhealthy'")),
    )

    connection_id: UUID = Field(foreign_key="connection.id", primary_key=True, ondelete="CASCADE")
    state: str = string("unproven")
    """`unproven`, `proven`, `suspect` or `unhealthy`."""
    since: datetime = timestamp()
    code: str | None = maybe_string()
    concern: str | None = maybe_string()
    weight: str | None = maybe_string()
    message: str | None = maybe_string()
    mend: str | None = maybe_string()
    """Of the strongest of what is wrong."""
    suspected_at: datetime | None = maybe_timestamp()
    bad: int = 0
    good: int = 0
    """Observations in a row."""
    findings: Json = document()
    """Under `items` everything that is wrong or will be, as last observed."""
    proven_at: datetime | None = maybe_timestamp()
    proven_by: str | None = maybe_string()
    """`push`, `stream`, `poll` or `probe`."""
    looked_at: datetime | None = maybe_timestamp()
    probed_at: datetime | None = maybe_timestamp()
    """When the provider was asked last."""
    next_at: datetime = timestamp()
    again_at: datetime | None = maybe_timestamp()
    """Something was seen that may be a symptom: the first look after then sees it for certain."""
    door: str | None = maybe_string()
    """The address that was registered at the provider; empty where nothing was installed."""
    pushed_at: datetime | None = maybe_timestamp()
    """When something came in last that was pushed to us."""
    missed: int = 0
    """What polling found since then that had not been pushed."""
    counts_from: datetime | None = maybe_timestamp()
    """A person changed something then: what was missed or refused before speaks of how it was before."""
    refused: int = Field(default=0, sa_type=BigInteger)
    """What the door had turned away in all, when it was looked at last and was in order."""
    repaired_at: datetime | None = maybe_timestamp()
    """When polling was ordered to fill a gap."""
    expires_at: datetime | None = maybe_timestamp()
    """When the access ends, as far as the provider tells."""
    expiry_told_at: datetime | None = maybe_timestamp()
    incident_id: UUID | None = None
    """Of the unhealth that lasts; its ticket at the helpdesk has the same id."""
    quiet: bool = False
    """Whether it is unusually silent."""
    expectation: Json | None = maybe_document()
