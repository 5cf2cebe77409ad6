"""Who may call the REST API, and answers kept for repeated requests."""

from __future__ import annotations

from sqlalchemy import LargeBinary, PrimaryKeyConstraint
from sqlmodel import Field, SQLModel

from gateway.db.tables.columns import (
    UUID,
    Json,
    datetime,
    document,
    identifier,
    maybe_timestamp,
    sealed,
    string,
    strings,
    timestamp,
)


class ApiKey(SQLModel, table=True):
    """A key with scopes. Only its hash is stored; `prefix` names it in lists and logs."""

    __tablename__ = "api_key"

    id: UUID = identifier()
    name: str = string()
    prefix: str = string(unique=True)
    hash: bytes = Field(sa_type=LargeBinary)
    scopes: list[str] = strings()
    created_at: datetime = timestamp()
    expires_at: datetime | None = maybe_timestamp()
    last_used_at: datetime | None = maybe_timestamp()
    revoked_at: datetime | None = maybe_timestamp()
    rate_limit: int | None = None
    """Requests a minute, where it is not the usual limit."""
    origin_id: UUID | None = None
    """The first of the keys that this one succeeds."""
    successor_id: UUID | None = None
    """The key that it was rotated to."""


class IdempotentAnswer(SQLModel, table=True):
    """The first answer to a POST with an Idempotency-Key, given again to the same request."""

    __tablename__ = "idempotent_answer"

    __table_args__ = (PrimaryKeyConstraint("api_key_id", "key"),)

    api_key_id: UUID
    """Who asked: a key, the first of the keys that it succeeds, or somebody with a token."""
    key: str = string()
    request: str = string()
    """Hash of method, path and body."""
    status: int = 0
    headers: Json = document()
    body: bytes | None = sealed("answer:{api_key_id}:{key}")
    created_at: datetime = timestamp()


class DataKey(SQLModel, table=True):
    """A root key, of which keys for keyed hashes are derived. A version stays for good: hashes made with it do too."""

    __tablename__ = "data_key"

    version: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    sealed: bytes | None = sealed("data_key:{version}", nullable=False)
    created_at: datetime = timestamp()


class Fact(SQLModel, table=True):
    """A small thing this installation knows of itself (was the first key printed, …)."""

    name: str = string(primary_key=True)
    value: Json = document()
