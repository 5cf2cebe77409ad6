"""The inbox: what was received, byte for byte, and how it ended."""

from __future__ import annotations

from datetime import date

from sqlalchemy import BigInteger, Identity, Index, PrimaryKeyConstraint, UniqueConstraint
from sqlalchemy import text as sql
from sqlmodel import Field, SQLModel

from gateway.db.tables.columns import (
    TIMESTAMP,
    UUID,
    Json,
    datetime,
    document,
    maybe_string,
    maybe_timestamp,
    raw,
    serial,
    small,
    string,
    timestamp,
)


class Delivery(SQLModel, table=True):
    """One raw thing received. Partitioned by time, so that retention drops a partition instead of deleting rows."""

    __table_args__ = (
        PrimaryKeyConstraint("id", "received_at"),
        Index("delivery_pending", "shard", "id", postgresql_where=sql("state = 'pending'")),
        Index("delivery_recent", "connection_id", "received_at"),
        Index("delivery_failed", "connection_id", "id", postgresql_where=sql("state = 'failed'")),
        {"postgresql_partition_by": "RANGE (received_at)"},
    )

    id: int = Field(default=None, sa_type=BigInteger, sa_column_args=[Identity()])
    received_at: datetime = Field(sa_type=TIMESTAMP)
    app_id: UUID | None = None
    connection_id: UUID | None = None
    role: str = string("source")
    origin: str = string("webhook")
    stream: str = string("")
    method: str = string("")
    query: bytes = raw()
    headers: bytes = raw()
    body: bytes = raw()
    note: Json = document()
    shard: int = small()
    state: str = string("pending")
    """`pending`, `processed`, `ignored` or `failed`."""
    reason: str | None = maybe_string()
    attempts: int = small()
    processed_at: datetime | None = maybe_timestamp()


class Wanted(SQLModel, table=True):
    """Something named by a delivery and not carried by it. Fetched once for all who want it.

    `generation` counts the wishes: a fetch settles the row only if nobody has wished again since it began.
    """

    __table_args__ = (
        UniqueConstraint("connection_id", "kind", "ref"),
        Index("wanted_named", "connection_id", "ref"),
        Index("wanted_due", "connection_id", "due_at", postgresql_where=sql("state = 'pending'")),
    )

    id: int = serial()
    connection_id: UUID = Field(foreign_key="connection.id", ondelete="CASCADE")
    kind: str = string()
    ref: str = string()
    reason: str = string()
    depth: int = small()
    """How many ancestors of the same conversation were fetched before it, on the way up."""
    state: str = string("pending")
    """`pending`, `done`, `gone` or `failed`."""
    generation: int = 1
    fetched_at: datetime | None = maybe_timestamp()
    due_at: datetime = timestamp()
    attempts: int = 0
    error: str | None = maybe_string()
    created_at: datetime = timestamp()


class Refusal(SQLModel, table=True):
    """What the door turned away, counted by day: a body with a wrong signature is not stored."""

    endpoint_id: UUID = Field(primary_key=True)
    day: date = Field(primary_key=True)
    code: str = string(primary_key=True)
    count: int = Field(default=0, sa_type=BigInteger)
    last_at: datetime = timestamp()
