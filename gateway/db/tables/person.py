"""People of the company: who is the same person at several helpdesks and over the API."""

from __future__ import annotations

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from gateway.db.tables.columns import UUID, datetime, identifier, maybe_timestamp, string, timestamp


class Person(SQLModel, table=True):
    """Somebody who writes or approves answers. Where four eyes are demanded, two of them must be different people."""

    id: UUID = identifier()
    name: str = string()
    created_at: datetime = timestamp()
    archived_at: datetime | None = maybe_timestamp()


class PersonIdentity(SQLModel, table=True):
    """One name a person goes by: an agent's id at a helpdesk, an e-mail address, an API key they own, or who
    they are at an OpenID Connect provider."""

    __tablename__ = "person_identity"

    __table_args__ = (
        # one identity is one person's: else two people could be one
        UniqueConstraint("kind", "scope", "value"),
        Index("person_identities", "person_id"),
    )

    id: UUID = identifier()
    person_id: UUID = Field(foreign_key="person.id", ondelete="CASCADE")
    kind: str = string()
    """`agent`, `email`, `key` or `subject`."""
    scope: str = string("")
    """For an agent: the helpdesk connection's id. For a subject: the issuer."""
    value: str = string()
    """The agent's id at the helpdesk, the address in lower case, the key's id, or the subject."""
