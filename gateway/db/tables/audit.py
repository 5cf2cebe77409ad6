"""The audit log: who changed what, in a chain of keyed digests."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Identity, Index
from sqlalchemy.dialects.postgresql import JSON
from sqlmodel import Field, SQLModel

from gateway.db.tables.columns import datetime, maybe_document, maybe_string, raw, string, strings, timestamp


class AuditEntry(SQLModel, table=True):
    """One administrative change or override. Written in the change's own transaction, and never changed.

    `digest` is a keyed hash over everything but itself, `previous` included, and stands in the next entry: see
    `gateway.security.audit`. A trigger refuses UPDATE, DELETE and TRUNCATE, but for taking `changes` and `salt` away.
    """

    __tablename__ = "audit_entry"

    __table_args__ = (
        Index("audit_of_thing", "things", postgresql_using="gin"),
        Index("audit_by_actor", "actor_id", "seq"),
        Index("audit_by_action", "action", "seq"),
        Index("audit_by_time", "at"),
    )

    seq: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    """From 1, without gaps."""
    at: datetime = timestamp()
    actor_kind: str = string()
    """`key`, `agent`, `command_line` or `gateway`."""
    actor_id: str | None = maybe_string()
    actor_name: str = string()
    key_prefix: str | None = maybe_string()
    address: str | None = maybe_string()
    """Where the request came from."""
    trace_id: str | None = maybe_string()
    """Of the request, as its log lines have it."""
    action: str = string()
    """The route's `operationId`, or what was done elsewhere."""
    things: list[str] = strings()
    """What was changed, as `kind:id`; the first is what it was about."""
    rows: int = 0
    """How many things were changed."""
    changes: Any = Field(default=None, sa_type=JSON, nullable=True)
    """For each thing its `before` and `after`; the text exactly as it was hashed. None: taken away."""
    salt: str | None = maybe_string()
    """Makes `content_digest` tell nothing of changes that were taken away. Goes with them."""
    content_digest: bytes = raw()
    key_version: int
    previous: bytes = raw()
    """The digest of the entry before."""
    digest: bytes = raw()


class AuditPending(SQLModel, table=True):
    """Changes of a transaction that is under way, until its entry is written at its end. Empty for everybody else."""

    __tablename__ = "audit_pending"

    __table_args__ = ({"prefixes": ["UNLOGGED"]},)

    number: int = Field(default=None, primary_key=True, sa_type=BigInteger, sa_column_args=[Identity()])
    transaction: int = Field(sa_type=BigInteger)
    origin: str = string()
    kind: str = string()
    thing: str = string()
    before: dict[str, Any] | None = maybe_document()
    after: dict[str, Any] | None = maybe_document()
