"""Consent of accounts: the tokens that OAuth brought, and who is on the way to give it."""

from __future__ import annotations

from sqlalchemy import Index, LargeBinary
from sqlalchemy import text as sql
from sqlmodel import Field, SQLModel

from gateway.db.tables.columns import (
    UUID,
    datetime,
    identifier,
    maybe_string,
    maybe_timestamp,
    sealed,
    string,
    strings,
    timestamp,
)


class Authorisation(SQLModel, table=True):
    """The consent by which a connection acts for its account. Connections with credentials entered by hand have none.

    Tokens stand apart from the configuration: they are renewed without its version changing. They are sealed for this
    row, and every change of them names the generation that it follows, so that of two who renew only one is kept.
    """

    __table_args__ = (
        Index("authorisation_renew", "renew_at", postgresql_where=sql("state = 'granted' AND renew_at IS NOT NULL")),
    )

    connection_id: UUID = Field(foreign_key="connection.id", primary_key=True, ondelete="CASCADE")
    state: str = string("wanted")
    """`wanted`: nobody has consented yet; `granted`; `refused`: the provider takes the tokens no more."""
    generation: int = 0
    """Counts the tokens this connection has had."""
    tokens: bytes | None = sealed("authorisation:{connection_id}")
    """Access and refresh token."""
    client: bytes | None = sealed("authorisation:{connection_id}")
    """The client that the provider registered for this connection and redirect URI, where it does that."""
    scopes: list[str] = strings()
    granted_at: datetime | None = maybe_timestamp()
    granted_by: str | None = maybe_string()
    """Who began it: the name of the key."""
    renewed_at: datetime | None = maybe_timestamp()
    """When the tokens in force came."""
    access_expires_at: datetime | None = maybe_timestamp()
    refresh_expires_at: datetime | None = maybe_timestamp()
    renew_at: datetime | None = maybe_timestamp()
    """When the tokens are renewed, or that is tried again; null: never."""
    begun_until: datetime | None = maybe_timestamp()
    """A renewal with this generation's token has begun, and until this moment of the database's time it may still be
    under way: nobody else begins one."""
    hastened: int | None = None
    """The last generation that was due early, because the provider had refused its token."""
    failures: int = 0
    """Renewals that failed in a row."""
    reason: str | None = maybe_string()
    """Why the last renewal failed."""


class AuthorisationRequest(SQLModel, table=True):
    """One person sent to a provider, not back yet. It is taken once, by its `state`, which only they know."""

    __tablename__ = "authorisation_request"

    id: UUID = identifier()
    state_hash: bytes = Field(sa_type=LargeBinary, unique=True)
    connection_id: UUID = Field(foreign_key="connection.id", ondelete="CASCADE")
    caller_id: UUID
    caller: str = string()
    caller_subject: str | None = maybe_string()
    """`<issuer> <subject>` of a token; None for an API key, whose id `caller_id` is."""
    redirect_uri: str = string()
    verifier: bytes | None = sealed("authorisation_request:{id}")
    """The PKCE verifier."""
    created_at: datetime = timestamp()
    expires_at: datetime = timestamp(index=True)
