"""Who the company is at the providers: brands, Apps, connections and what a connection remembers."""

from __future__ import annotations

from sqlalchemy import Index, UniqueConstraint
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
    sealed,
    string,
    strings,
    timestamp,
)


class Brand(SQLModel, table=True):
    """A name the company goes by."""

    id: UUID = identifier()
    name: str = string(unique=True)
    timezone: str = string("UTC")
    """Where it counts its days."""
    created_at: datetime = timestamp()


class App(SQLModel, table=True):
    """One registration at a provider: client id and secret, webhook secret, rate limits, cost."""

    id: UUID = identifier()
    plugin: str = string()
    name: str = string(unique=True)
    brand_id: UUID | None = Field(default=None, foreign_key="brand.id")
    config: Json = document()
    secrets: bytes | None = sealed("app:{id}")
    allow_private: list[str] = strings()
    installed: list[str] = strings(default="{}")
    """Fields of `config` that install has filled in, and nobody since."""
    version: int = Field(default=1)
    created_at: datetime = timestamp()
    updated_at: datetime = timestamp()


class Connection(SQLModel, table=True):
    """One account at a provider, source or helpdesk."""

    __table_args__ = (
        UniqueConstraint("role", "name"),
        # a shared callback is routed by the App and the account it names
        Index("connection_route", "app_id", "account", unique=True, postgresql_where=sql("app_id IS NOT NULL")),
    )

    id: UUID = identifier()
    role: str = string()
    """`source` or `helpdesk`."""
    plugin: str = string()
    name: str = string()
    brand_id: UUID | None = Field(default=None, foreign_key="brand.id")
    app_id: UUID | None = Field(default=None, foreign_key="app.id")
    account: str | None = maybe_string()
    config: Json = document()
    secrets: bytes | None = sealed("connection:{id}")
    allow_private: list[str] = strings()
    """Private address ranges or host:port pairs that requests of this connection may go to."""
    installed: list[str] = strings(default="{}")
    """Fields of `config` that install has filled in, and nobody since."""
    helpdesk_id: UUID | None = Field(default=None, foreign_key="connection.id")
    """For a source: the helpdesk that owns tickets from here."""
    history: str = string("record")
    history_days: int = 90
    sla_owner: str = string("gateway")
    status: str = string("active")
    """`active`, `needs_authorisation` or `broken`; pausing is apart, because a person does it."""
    status_reason: str | None = maybe_string()
    health_ticket: bool = Field(default=False, sa_column_kwargs={"server_default": sql("false")})
    """Whether a ticket at the helpdesk tells of it while news of this source does not reach us."""
    paused_in: bool = False
    paused_out: bool = False
    blocked_until: datetime | None = maybe_timestamp()
    """No call before this: the provider asked for a pause, or it has been failing."""
    blocked_reason: str | None = maybe_string()
    failures: int = 0
    last_ok_at: datetime | None = maybe_timestamp()
    state: bytes | None = sealed("state:{id}")
    """The plugin's own small document."""
    version: int = Field(default=1)
    created_at: datetime = timestamp()
    updated_at: datetime = timestamp()


class RetiredSecret(SQLModel, table=True):
    """Secrets that were replaced, with which the provider may sign for a while yet."""

    __tablename__ = "retired_secret"

    id: UUID = identifier()
    endpoint_id: UUID = Field(index=True)
    """The App or the connection."""
    fields: list[str] = strings()
    """The names of the secrets."""
    secrets: bytes | None = sealed("retired:{id}", nullable=False)
    created_at: datetime = timestamp()
    valid_until: datetime = timestamp()
    last_used_at: datetime | None = maybe_timestamp()
    """When a request was last signed with one of them, to the minute."""


class Cursor(SQLModel, table=True):
    """How far one stream of a connection has been polled. Moved in the transaction that stores what was polled."""

    connection_id: UUID = Field(foreign_key="connection.id", primary_key=True, ondelete="CASCADE")
    stream: str = string(primary_key=True)
    cursor: Json | None = maybe_document()
    polled_at: datetime | None = maybe_timestamp()
    next_at: datetime = timestamp(index=True)
    failures: int = 0
    reason: str | None = maybe_string()


class Listener(SQLModel, table=True):
    """How a connection's stream was followed last. Whether anybody follows it now is in the lease of its name."""

    connection_id: UUID = Field(foreign_key="connection.id", primary_key=True, ondelete="CASCADE")
    since: datetime = timestamp()
    """When it was begun last."""
    hinted_at: datetime | None = maybe_timestamp()
    failures: int = 0
    """How often in a row it ended or broke without a hint."""
    reason: str | None = maybe_string()
    next_at: datetime = timestamp()
    """It is not begun again before this."""
