"""Attachments: what was said to be attached, and the gateway's copy of it."""

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
    maybe_string,
    maybe_timestamp,
    string,
    timestamp,
)


class Attachment(SQLModel, table=True):
    """One file of a message or of a reply. It is fetched once, soon after it was heard of: signed links expire.

    `pending` → `stored`; or `refused` (too large, a host that is not allowed, no picture where only those go out) or
    `failed` (gone, or the provider does not give it), with the reason.
    """

    __table_args__ = (
        UniqueConstraint("owner_id", "ref"),
        Index("attachment_due", "connection_id", "due_at", postgresql_where=sql("state = 'pending'")),
        Index("attachment_by_file", "sha256", postgresql_where=sql("sha256 IS NOT NULL")),
    )

    id: UUID = identifier()
    owner: str = string()
    """`interaction` or `reply`."""
    owner_id: UUID
    ref: str = string()
    """The provider's id, else the link: the same file of the same message is one row."""
    position: int = 0
    connection_id: UUID = Field(foreign_key="connection.id")
    """Whose plugin fetches it."""
    data: Json = document()
    """As the plugin named it (`gateway_schemas.interaction.Attachment`)."""
    state: str = string("pending")
    sha256: str | None = maybe_string()
    size: int | None = None
    media_type: str | None = maybe_string()
    name: str | None = maybe_string()
    reason: str | None = maybe_string()
    tries: int = 0
    due_at: datetime = timestamp()
    created_at: datetime = timestamp()
    settled_at: datetime | None = maybe_timestamp()
