"""The outbox: durable intents to change something at a helpdesk, and every attempt at a provider."""

from __future__ import annotations

from sqlalchemy import BigInteger, Identity, Index, PrimaryKeyConstraint, Text, UniqueConstraint
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field, SQLModel

from gateway.db.tables.columns import (
    TIMESTAMP,
    UUID,
    Json,
    datetime,
    document,
    maybe_string,
    maybe_timestamp,
    serial,
    small,
    string,
    timestamp,
)


class Push(SQLModel, table=True):
    """One intent to change a ticket. Several pending ones of a ticket travel in one call, under one `change_key`.

    A row that is `in_flight` and whose deadline has passed was interrupted: its outcome is unknown, and `find` is asked
    before anything is repeated.
    """

    __table_args__ = (
        UniqueConstraint("key"),
        Index("push_open", "helpdesk_id", "lane", "id", postgresql_where=sql("state IN ('pending','in_flight','job')")),
        Index("push_failed", "id", postgresql_where=sql("state = 'failed'")),
        Index("push_redrive", "redrive_at", postgresql_where=sql("redrive_at IS NOT NULL")),
        Index("push_of_ticket", "ticket_id", "id"),
        Index("push_of_interaction", "interaction_id", postgresql_where=sql("interaction_id IS NOT NULL")),
        Index("push_change", "change_key", postgresql_where=sql("change_key IS NOT NULL")),
        Index("push_out", "helpdesk_id", "due_at", postgresql_where=sql("state IN ('in_flight','job')")),
    )

    id: int = serial()
    key: str = string()
    ticket_id: UUID = Field(foreign_key="ticket.id")
    helpdesk_id: UUID = Field(foreign_key="connection.id")
    kind: str = string()
    """`comment`, `note` or `update`. The first open push of a ticket that the helpdesk does not have creates it."""
    lane: int = small(1)
    """0 notes an agent waits for, 1 news, 2 backlog."""
    payload: Json = document()
    interaction_id: UUID | None = None
    reply_id: UUID | None = None
    thread_id: UUID | None = None
    source_id: UUID | None = None
    """The conversation and the connection that it comes from: a crowd in one takes turns with everybody else."""
    state: str = string("pending")
    """`pending`, `in_flight`, `job`, `done`, `failed` or `dropped`."""
    change_key: str | None = maybe_string()
    epoch: int = Field(default=0, sa_type=BigInteger)
    started_at: datetime | None = maybe_timestamp()
    deadline_at: datetime | None = maybe_timestamp()
    due_at: datetime = timestamp()
    tries: int = 0
    job: str | None = maybe_string()
    external_id: str | None = maybe_string()
    """The helpdesk's id of the comment this became."""
    code: str | None = maybe_string()
    reason: str | None = maybe_string()
    redrive_at: datetime | None = maybe_timestamp()
    """Of a failed one: when it is tried again."""
    doubt: str | None = maybe_string()
    """After a restore: `asking` whether it is there already, then `settled`. See `gateway.restored`."""
    at: datetime = timestamp()
    """The source's time of what is told."""
    created_at: datetime = timestamp()
    done_at: datetime | None = maybe_timestamp()


class Attempt(SQLModel, table=True):
    """One try at a provider and how it ended. Partitioned by time."""

    __table_args__ = (
        PrimaryKeyConstraint("id", "at"),
        Index("attempt_of_thing", "thing_id"),
        Index("attempt_recent", "connection_id", "at"),
        {"postgresql_partition_by": "RANGE (at)"},
    )

    id: int = Field(default=None, sa_type=BigInteger, sa_column_args=[Identity()])
    at: datetime = Field(sa_type=TIMESTAMP)
    connection_id: UUID
    kind: str = string()
    """`push`, `send`, `find`, `fetch` or `poll`."""
    thing_id: str = string()
    """The change's key or the reply's id."""
    also: list[str] | None = Field(default=None, sa_type=ARRAY(Text))
    """The keys of other changes that travelled in the same call."""
    outcome: str = string()
    code: str | None = maybe_string()
    reason: str | None = maybe_string()
    milliseconds: int = 0
