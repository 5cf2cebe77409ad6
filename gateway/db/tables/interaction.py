"""Who said what: accounts, customers, threads, interactions and their revisions."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index, PrimaryKeyConstraint, UniqueConstraint
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
    serial,
    small,
    string,
    timestamp,
)


class Customer(SQLModel, table=True):
    """The person behind one or more accounts. Joined by proof only, and splittable again."""

    id: UUID = identifier()
    name: str | None = maybe_string()
    created_at: datetime = timestamp()


class Account(SQLModel, table=True):
    """A handle at one source. `scope` is the provider, or the connection where the provider's ids are per account."""

    __table_args__ = (UniqueConstraint("scope", "external_id"),)

    id: UUID = identifier()
    scope: str = string()
    external_id: str = string()
    customer_id: UUID = Field(foreign_key="customer.id", index=True)
    provider: str = string()
    handle: str | None = maybe_string()
    name: str | None = maybe_string()
    url: str | None = maybe_string()
    avatar_url: str | None = maybe_string()
    followers: int | None = Field(default=None, sa_type=BigInteger)
    verified: bool | None = None
    created_at: datetime = timestamp()
    updated_at: datetime = timestamp()


class Thread(SQLModel, table=True):
    """One conversation at a source, named by its root."""

    __table_args__ = (UniqueConstraint("scope", "root"),)

    id: UUID = identifier()
    scope: str = string()
    root: str = string()
    root_owner: str | None = maybe_string()
    created_at: datetime = timestamp()


class Interaction(SQLModel, table=True):
    """A normalised post, comment, review or message at its newest revision. One row per thing, however it arrives."""

    __table_args__ = (
        UniqueConstraint("scope", "external_id"),
        Index("interaction_timeline", "ticket_id", "published_at"),
        Index("interaction_thread", "thread_id", "published_at"),
        Index("interaction_by_account", "account_id", "published_at"),
        Index("interaction_window", "connection_id", "published_at"),
        Index(
            "interaction_loose_own",
            "thread_id",
            postgresql_where=sql(
                "ticket_id IS NULL AND deleted_at IS NULL AND direction = 'outbound' AND visibility = 'private'"
            ),
        ),
        Index(
            "interaction_loose",
            "thread_id",
            "account_id",
            postgresql_where=sql("ticket_id IS NULL AND deleted_at IS NULL"),
        ),
        Index("interaction_answers", "scope", "in_reply_to", postgresql_where=sql("direction = 'outbound'")),
        Index(
            "interaction_of_subject",
            "scope",
            sql("((data -> 'subject'::text) ->> 'external_id'::text)"),
            "version_at",
            postgresql_where=sql("kind = 'review' AND direction = 'inbound' AND deleted_at IS NULL"),
        ),
    )

    id: UUID = identifier()
    scope: str = string()
    external_id: str = string()
    connection_id: UUID = Field(foreign_key="connection.id")
    account_id: UUID = Field(foreign_key="account.id")
    thread_id: UUID | None = Field(default=None, foreign_key="thread.id")
    ticket_id: UUID | None = Field(default=None, foreign_key="ticket.id")
    reply_id: UUID | None = Field(default=None, index=True)
    """The reply of ours that this is the published form of."""
    kind: str = string()
    visibility: str = string()
    direction: str = string()
    addressed: bool = True
    text: str = string("")
    in_reply_to: str | None = maybe_string()
    url: str | None = maybe_string()
    revision: str = string()
    revisions: int = 1
    data: Json = document()
    origin: str = string()
    published_at: datetime = timestamp()
    version_at: datetime = timestamp()
    """The source's time of the newest revision: an older one that arrives later is history, not news."""
    deleted_at: datetime | None = maybe_timestamp()
    deleted_by: str | None = maybe_string()
    created_at: datetime = timestamp()


class InteractionAlias(SQLModel, table=True):
    """Every other id one interaction goes by: a provider may give an edited post a new id."""

    __tablename__ = "interaction_alias"

    __table_args__ = (PrimaryKeyConstraint("scope", "alias"),)

    scope: str = string()
    alias: str = string()
    interaction_id: UUID = Field(foreign_key="interaction.id", ondelete="CASCADE", index=True)


class Tombstone(SQLModel, table=True):
    """A deletion that was told of something not (yet) recorded: when the thing arrives after all,
    it is dead on arrival."""

    __table_args__ = (PrimaryKeyConstraint("scope", "external_id"),)

    scope: str = string()
    external_id: str = string()
    deleted_at: datetime = timestamp()
    deleted_by: str = string("unknown")


class Revision(SQLModel, table=True):
    """One change of one interaction as the source told it, and its way through threading and deciding."""

    __table_args__ = (
        UniqueConstraint("interaction_id", "revision"),
        Index("revision_pending", "shard", "id", postgresql_where=sql("state = 'pending'")),
        Index("revision_waiting", "scope", "waits_for", postgresql_where=sql("state = 'waiting'")),
        Index("revision_wait_until", "wait_until", postgresql_where=sql("state = 'waiting'")),
    )

    id: int = serial()
    interaction_id: UUID = Field(foreign_key="interaction.id", ondelete="CASCADE")
    scope: str = string()
    revision: str = string()
    change: str = string()
    """`created`, `edited` or `deleted`."""
    data: Json = document()
    at: datetime = timestamp()
    """The source's time of this change."""
    shard: int = small()
    state: str = string("pending")
    """`waiting` (for an ancestor), `pending`, `done` or `failed`."""
    waits_for: str | None = maybe_string()
    wait_until: datetime | None = maybe_timestamp()
    reason: str | None = maybe_string()
    delivery_id: int | None = Field(default=None, sa_type=BigInteger)
    seen_at: datetime = timestamp()
