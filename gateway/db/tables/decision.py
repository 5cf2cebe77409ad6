"""What the policies in force said, and which policies those were."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Index, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
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
    string,
    timestamp,
)


class Policy(SQLModel, table=True):
    """An instance of a policy type. What it does is in its revisions, which never change."""

    id: UUID = identifier()
    name: str = string(unique=True)
    type: str = string()
    brand_id: UUID | None = Field(default=None, foreign_key="brand.id")
    locked: bool = False
    created_at: datetime = timestamp()
    archived_at: datetime | None = maybe_timestamp()


class PolicyRevision(SQLModel, table=True):
    """Parameters, scope and mode of a policy as somebody wrote them, for a reason."""

    __tablename__ = "policy_revision"

    __table_args__ = (UniqueConstraint("policy_id", "number"),)

    id: UUID = identifier()
    policy_id: UUID = Field(foreign_key="policy.id")
    number: int
    mode: str = string()
    params: Json = document()
    scope: Json = document()
    on_error: str = string("hold")
    reason: str = string()
    author: str = string()
    created_at: datetime = timestamp()


class PolicySet(SQLModel, table=True):
    """The revisions in force together, immutable. `digest` names the content, so equal sets are one row."""

    __tablename__ = "policy_set"

    id: UUID = identifier()
    digest: str = string(unique=True)
    members: list[Any] = Field(default_factory=list, sa_type=JSONB)
    """For each: policy, type, version of the type, revision, parameters, scope, mode."""
    created_at: datetime = timestamp()
    in_force_since: datetime | None = maybe_timestamp()


class Decision(SQLModel, table=True):
    """What one policy set said about one thing at one point. Append-only."""

    __table_args__ = (Index("decision_of_thing", "thing_id", "id"),)

    id: int = serial()
    point: str = string()
    thing_id: UUID
    """The interaction or reply decided on."""
    revision: str | None = maybe_string()
    """The interaction's revision, or the rendered reply's digest."""
    ticket_id: UUID | None = Field(default=None, index=True)
    policy_set_id: UUID = Field(foreign_key="policy_set.id")
    verdict: str = string()
    findings: list[Any] | None = Field(default=None, sa_type=JSONB)
    effects: list[Any] | None = Field(default=None, sa_type=JSONB)
    case: Json | None = Field(default=None, sa_type=JSONB)
    """The stored case, where anything was found; else it can be built again from the timeline."""
    at: datetime = timestamp()
