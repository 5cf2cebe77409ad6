"""What the policies in force said, and which policies those were."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Index, PrimaryKeyConstraint, UniqueConstraint
from sqlalchemy import text as sql
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
    strings,
    timestamp,
)


class Policy(SQLModel, table=True):
    """An instance of a policy type. What it does is in its revisions, which never change, and its draft, which may."""

    id: UUID = identifier()
    name: str = string(unique=True)
    type: str = string()
    brand_id: UUID | None = Field(default=None, foreign_key="brand.id")
    """Whose it is; None: the company's, for all brands."""
    locked: bool = False
    """Whether a brand's own policy of the type stands beside it instead of taking its place."""
    draft: Json = document()
    """What the next revision will say."""
    version: int = 1
    """Counts changes, for `If-Match`."""
    created_at: datetime = timestamp()
    archived_at: datetime | None = maybe_timestamp()


class PolicyRevision(SQLModel, table=True):
    """Parameters, scope and mode of a policy as somebody wrote them, for a reason."""

    __tablename__ = "policy_revision"

    __table_args__ = (UniqueConstraint("policy_id", "number"),)

    id: UUID = identifier()
    policy_id: UUID = Field(foreign_key="policy.id")
    number: int
    content: Json = document()
    """Mode, parameters, scope, order, and what happens on error, on a time-out and on a language not covered."""
    reason: str = string()
    author: str = string()
    created_at: datetime = timestamp()


class PolicyActivation(SQLModel, table=True):
    """One revision put into force for a span of time, or a policy taken out of it. Which set is in force at a time
    follows from these rows alone."""

    __tablename__ = "policy_activation"

    __table_args__ = (Index("activation_of_policy", "policy_id", "effective_from", "id"),)

    id: int = serial()
    policy_id: UUID = Field(foreign_key="policy.id")
    revision: int | None = None
    """None: from then on the policy is not in force."""
    effective_from: datetime = timestamp()
    effective_until: datetime | None = maybe_timestamp()
    reason: str = string()
    author: str = string()
    created_at: datetime = timestamp()
    withdrawn_at: datetime | None = maybe_timestamp()
    """Somebody thought better of it before it came into force."""


class PolicySet(SQLModel, table=True):
    """The revisions in force together, immutable. `digest` names the content, so equal sets are one row."""

    __tablename__ = "policy_set"

    id: UUID = identifier()
    digest: str = string(unique=True)
    members: list[Any] = Field(default_factory=list, sa_type=JSONB)
    """For each: policy, type, version of the type, revision, and all that the revision says."""
    versions: Json = document(default="{}")
    """What else a decision depends on: gateway, readers, time zone data, the company's lists."""
    created_at: datetime = timestamp()


class WordList(SQLModel, table=True):
    """One version of a list of the company: phrases, names, handles, causes."""

    __tablename__ = "word_list"

    __table_args__ = (PrimaryKeyConstraint("name", "version"),)

    name: str = string()
    version: int
    entries: list[str] = strings()
    reason: str = string()
    author: str = string()
    created_at: datetime = timestamp()


class Waiver(SQLModel, table=True):
    """One policy kept silent on one ticket for a while, on somebody's word."""

    id: UUID = identifier()
    policy_id: UUID = Field(foreign_key="policy.id")
    ticket_id: UUID = Field(foreign_key="ticket.id", index=True)
    until: datetime = timestamp()
    reason: str = string()
    author: str = string()
    created_at: datetime = timestamp()
    ended_at: datetime | None = maybe_timestamp()


class ToneBreaker(SQLModel, table=True):
    """A time in which policies of manners only warn, because they were holding too much."""

    __tablename__ = "tone_breaker"

    __table_args__ = (
        Index("tone_breaker_open", sql("(reset_at IS NULL)"), unique=True, postgresql_where=sql("reset_at IS NULL")),
    )

    id: UUID = identifier()
    tripped_at: datetime = timestamp()
    held: int
    total: int
    reset_at: datetime | None = maybe_timestamp()


class Enrichment(SQLModel, table=True):
    """What an enricher said of a customer's account, and until when that holds or messages wait to hear it."""

    __table_args__ = (
        PrimaryKeyConstraint("connection_id", "account_id"),
        Index("enrichment_asked", "connection_id", "asked_at", postgresql_where=sql("asked_at IS NOT NULL")),
    )

    connection_id: UUID = Field(foreign_key="connection.id", ondelete="CASCADE")
    account_id: UUID = Field(foreign_key="account.id", ondelete="CASCADE")
    interaction_id: UUID = Field(foreign_key="interaction.id", ondelete="CASCADE", index=True)
    """The message that it is or was asked with."""
    facts: Json = document()
    """What it said last; its default where it has said nothing yet."""
    failed: str | None = maybe_string()
    """Why it did not say anything newer when it was asked last."""
    asked_at: datetime | None = maybe_timestamp()
    """Since when it is being asked; null when it has answered, or failed."""
    answer_by: datetime | None = maybe_timestamp()
    """Until when messages wait for the answer."""
    expires_at: datetime = timestamp()
    """When it is asked anew if the account writes."""


class Decision(SQLModel, table=True):
    """What one policy set said about one thing at one point. Append-only."""

    __table_args__ = (
        Index("decision_of_thing", "thing_id", "id"),
        Index("decision_of_replies", "at", postgresql_where=sql("point = 'review_reply'")),
    )

    id: int = serial()
    point: str = string()
    thing_id: UUID
    """The interaction, reply, ticket or clock decided on."""
    revision: str | None = maybe_string()
    """The interaction's revision, or the rendered reply's digest."""
    ticket_id: UUID | None = Field(default=None, index=True)
    policy_set_id: UUID = Field(foreign_key="policy_set.id")
    verdict: str = string()
    coverage: str | None = maybe_string()
    """How far the language was understood; None where no policy asked what the text says."""
    for_tone: bool = Field(default=False, sa_column_kwargs={"server_default": sql("false")})
    """Whether policies of manners, and they alone, would hold it: what the breaker counts."""
    findings: list[Any] | None = Field(default=None, sa_type=JSONB)
    effects: list[Any] | None = Field(default=None, sa_type=JSONB)
    case: Json | None = Field(default=None, sa_type=JSONB)
    """The case, with the texts of its timeline by name: `gateway.policy.stored` puts them back. None where no policy
    was asked."""
    at: datetime = timestamp()


class PolicyCase(SQLModel, table=True):
    """A case that is kept with a policy, and what it must come to: no revision that fails it comes into force."""

    __tablename__ = "policy_case"

    __table_args__ = (UniqueConstraint("policy_id", "name"),)

    id: UUID = identifier()
    policy_id: UUID = Field(foreign_key="policy.id")
    name: str = string()
    point: str = string()
    case: Json = document()
    subject: Json = document()
    expect: Json = document()
    """`verdict`, `codes`, `not_codes`, `effects`; what is left out may be anything."""
    author: str = string()
    created_at: datetime = timestamp()


class Feedback(SQLModel, table=True):
    """Somebody's word on a decision: whether one policy was right."""

    __tablename__ = "decision_feedback"

    __table_args__ = (UniqueConstraint("decision_id", "policy", "author"),)

    id: UUID = identifier()
    decision_id: int = Field(sa_type=BigInteger, foreign_key="decision.id", ondelete="CASCADE")
    policy: str = string()
    right: bool
    note: str = string("")
    author: str = string()
    at: datetime = timestamp(index=True)


class Backtest(SQLModel, table=True):
    """A run of drafts over stored decisions, in the background."""

    __table_args__ = (Index("backtest_open", "id", postgresql_where=sql("state IN ('pending', 'running')")),)

    id: UUID = identifier()
    members: list[Any] = Field(default_factory=list, sa_type=JSONB)
    """What is put in the place of the policies of the same name."""
    since: datetime = timestamp()
    until: datetime = timestamp()
    state: str = string("pending")
    """`pending`, `running`, `done`, `cancelled` or `failed`."""
    total: int = 0
    position: int = Field(default=0, sa_type=BigInteger)
    """The last decision that was looked at."""
    result: Json = document()
    reason: str | None = maybe_string()
    author: str = string()
    created_at: datetime = timestamp()
    finished_at: datetime | None = maybe_timestamp()
