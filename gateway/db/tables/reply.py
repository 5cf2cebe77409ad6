"""Replies: answers agents want published, from the helpdesk's comment to the post at the source."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index, UniqueConstraint
from sqlalchemy import text as sql
from sqlmodel import Field, SQLModel

from gateway.db.tables.columns import (
    UUID,
    Json,
    datetime,
    document,
    identifier,
    maybe_document,
    maybe_string,
    maybe_timestamp,
    string,
    timestamp,
)

OPEN_STATES = ("received", "queued", "sending", "unknown")


class Reply(SQLModel, table=True):
    """An answer with its target, its rendered form, its verdict and the truth about its sending.

    `received` → decided: `queued`, `held` or `blocked` → `sending` → `sent`, `failed` or `unknown`; a person or a newer
    state of things makes it `cancelled`, and a published one that was taken back is `retracted`. `sending` is committed
    with a deadline before the call; after the deadline only `find` may say what became of it.
    """

    __table_args__ = (
        UniqueConstraint("helpdesk_id", "comment_id"),
        Index("reply_open", "connection_id", "due_at", postgresql_where=sql(f"state IN {OPEN_STATES}")),
        Index("reply_of_ticket", "ticket_id", "created_at"),
        Index("reply_held", "connection_id", "id", postgresql_where=sql("state = 'held'")),
        Index("reply_hold_ends", "hold_until", postgresql_where=sql("state = 'held' AND hold_until IS NOT NULL")),
        Index("reply_sent_as", "connection_id", "external_id", postgresql_where=sql("external_id IS NOT NULL")),
    )

    id: UUID = identifier()
    ticket_id: UUID = Field(foreign_key="ticket.id")
    connection_id: UUID = Field(foreign_key="connection.id")
    """The source connection that sends."""
    helpdesk_id: UUID | None = Field(default=None, foreign_key="connection.id")
    comment_id: str | None = maybe_string()
    """The helpdesk's comment; None for a reply made over REST."""
    comment_revision: str | None = maybe_string()
    author_id: str = string()
    author_name: str | None = maybe_string()
    text: str = string()
    html: str | None = maybe_string()
    attachments: Json = document()
    leg: str | None = maybe_string()
    """The agent's explicit choice; None: the default rule chose."""
    visibility: str | None = maybe_string()
    interaction_id: UUID | None = Field(default=None, foreign_key="interaction.id")
    """What is answered."""
    rendered: Json | None = maybe_document()
    digest: str | None = maybe_string()
    state: str = string("received")
    code: str | None = maybe_string()
    reason: str | None = maybe_string()
    decided_on: Json | None = maybe_document()
    """What the verdict rests on: policy set, revision of the target, newest message of the customer. Anything newer
    means deciding again."""
    approved_digest: str | None = maybe_string()
    approved_by: str | None = maybe_string()
    hold_until: datetime | None = maybe_timestamp()
    """When a held reply that nobody looked at meets `on_timeout`."""
    on_timeout: str | None = maybe_string()
    """`escalate`, `reject` or `allow`."""
    effects_at: datetime | None = maybe_timestamp()
    """When what the policies wanted done on its publication was done."""
    key: str = string(unique=True)
    epoch: int = Field(default=0, sa_type=BigInteger)
    deadline_at: datetime | None = maybe_timestamp()
    started_at: datetime | None = maybe_timestamp()
    tries: int = 0
    due_at: datetime = timestamp()
    not_after: datetime = timestamp()
    external_id: str | None = maybe_string()
    url: str | None = maybe_string()
    sent_at: datetime | None = maybe_timestamp()
    written_at: datetime = timestamp()
    """When the agent wrote it, by the helpdesk's clock."""
    created_at: datetime = timestamp()
    updated_at: datetime = timestamp()


class OutboundPause(SQLModel, table=True):
    """A stop for everything outbound in a scope, until lifted."""

    __tablename__ = "outbound_pause"

    __table_args__ = (
        Index("pause_in_force", "scope", "scope_id", unique=True, postgresql_where=sql("lifted_at IS NULL")),
    )

    id: UUID = identifier()
    scope: str = string()
    """`all`, `brand`, `source` or `connection`."""
    scope_id: str = string("")
    reason: str | None = maybe_string()
    paused_by: str = string()
    since: datetime = timestamp()
    lifted_at: datetime | None = maybe_timestamp()
    lifted_by: str | None = maybe_string()
