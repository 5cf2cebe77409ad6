"""Tickets: one matter with one customer, its legs, and what agents note on it."""

from __future__ import annotations

from sqlalchemy import ARRAY, Index, PrimaryKeyConstraint, UniqueConstraint, Uuid
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
    strings,
    timestamp,
)


class Ticket(SQLModel, table=True):
    """One matter with one customer. Its key is in `leg`: thread and account, never the thread alone."""

    __table_args__ = (
        Index(
            "ticket_at_helpdesk",
            "helpdesk_id",
            "external_id",
            unique=True,
            postgresql_where=sql("external_id IS NOT NULL AND merged_into IS NULL"),
        ),
        Index("ticket_numbered", "helpdesk_id", "external_id", postgresql_where=sql("external_id IS NOT NULL")),
        Index("ticket_of_account", "account_id", "opened_at"),
        Index("ticket_followed", "followup_of", postgresql_where=sql("followup_of IS NOT NULL")),
        Index("ticket_merged", "merged_into", postgresql_where=sql("merged_into IS NOT NULL")),
    )

    id: UUID = identifier()
    brand_id: UUID | None = Field(default=None, foreign_key="brand.id")
    connection_id: UUID = Field(foreign_key="connection.id", index=True)
    """The source connection it came through."""
    helpdesk_id: UUID | None = Field(default=None, foreign_key="connection.id", index=True)
    account_id: UUID = Field(foreign_key="account.id")
    customer_id: UUID = Field(foreign_key="customer.id", index=True)
    subject: str = string("")
    status: str = string("new")
    priority: str = string("normal")
    tags: list[str] = strings()
    fields: Json = document(default="{}")
    """Values that policies wrote, by our own names: `cause`, `cause_owner`, …"""
    mark: str | None = maybe_string()
    """What the helpdesk keeps as its external id. It follows from the matter, so that an installation restored from a
    backup finds a ticket that was made after it; None: from the id."""
    external_id: str | None = maybe_string()
    external_url: str | None = maybe_string()
    followup_of: UUID | None = Field(default=None, foreign_key="ticket.id")
    linked_to: UUID | None = Field(default=None, foreign_key="ticket.id")
    """The ticket in whose thread this customer joined in."""
    merged_into: UUID | None = Field(default=None, foreign_key="ticket.id")
    merged_at: datetime | None = maybe_timestamp()
    """When it became known that a person had merged it."""
    moved_to: UUID | None = Field(default=None, foreign_key="ticket.id")
    """The ticket at another helpdesk, or for a part of it at the same, that goes on with this matter."""
    ended: str | None = maybe_string()
    """`closed`, `deleted` or `merged` at the helpdesk, or `moved` to another: nothing customers say goes to it."""
    assignee: str | None = maybe_string()
    problem: str | None = maybe_string()
    """Why the helpdesk does not have the newest state, in words for an admin; empty when it has."""
    helpdesk_updated_at: datetime | None = maybe_timestamp()
    solved_at: datetime | None = maybe_timestamp()
    """When it was solved last; empty while it is open."""
    reopened: int = Field(default=0, sa_column_kwargs={"server_default": sql("0")})
    """How often it was opened again after that."""
    opened_at: datetime = timestamp()
    last_inbound_at: datetime = timestamp()
    created_at: datetime = timestamp()
    updated_at: datetime = timestamp()


def solving(status: str, at: str) -> str:
    """SQL that keeps `solved_at` and `reopened` of a ticket in step with the status that is being set; null: none."""
    return f"""solved_at = CASE WHEN {status} IN ('solved', 'closed') THEN COALESCE(solved_at, {at})
                   WHEN {status} IS NULL THEN solved_at END,
               reopened = reopened + CASE WHEN solved_at IS NOT NULL AND {status} NOT IN ('solved', 'closed')
                   THEN 1 ELSE 0 END"""


class Leg(SQLModel, table=True):
    """Which ticket a customer's messages in a thread belong to. The unique key that keeps one matter one ticket."""

    __table_args__ = (
        PrimaryKeyConstraint("thread_id", "account_id"),
        Index("leg_first", "thread_id", "created_at", "ticket_id"),
    )

    thread_id: UUID = Field(foreign_key="thread.id")
    account_id: UUID = Field(foreign_key="account.id")
    ticket_id: UUID = Field(foreign_key="ticket.id", index=True)
    visibility: str = string()
    created_at: datetime = timestamp()


class Invitation(SQLModel, table=True):
    """A one-time code by which a private message joins a ticket. The first account that uses it is the customer's."""

    __table_args__ = (
        Index(
            "invitation_open",
            "ticket_id",
            "connection_id",
            unique=True,
            postgresql_where=sql("account_id IS NULL"),
        ),
    )

    id: UUID = identifier()
    ticket_id: UUID = Field(foreign_key="ticket.id", index=True)
    connection_id: UUID = Field(foreign_key="connection.id")
    """The source connection that the message comes to; any other of its brand will do."""
    code: str = string(unique=True)
    made_by: str = string()
    created_at: datetime = timestamp()
    expires_at: datetime = timestamp()
    """After this nobody can use it who has not before."""
    account_id: UUID | None = Field(default=None, foreign_key="account.id", index=True)
    """Who used it; empty as long as nobody has."""
    claimed_at: datetime | None = maybe_timestamp()
    joined: list[UUID] | None = Field(default=None, sa_type=ARRAY(Uuid), nullable=True)
    """The accounts that became the customer's by it."""
    former_customer_id: UUID | None = None
    """Whose these were: they return there when it is taken back."""


class Note(SQLModel, table=True):
    """A private note that an agent wrote at the helpdesk."""

    __table_args__ = (UniqueConstraint("helpdesk_id", "comment_id"),)

    id: UUID = identifier()
    ticket_id: UUID = Field(foreign_key="ticket.id", index=True)
    helpdesk_id: UUID = Field(foreign_key="connection.id")
    comment_id: str = string()
    author_id: str = string()
    author_name: str | None = maybe_string()
    text: str = string("")
    at: datetime = timestamp()
    edited_at: datetime | None = maybe_timestamp()
