"""Tickets of the helpdesks' own channels: their times alone, for the parity report."""

from __future__ import annotations

from sqlalchemy import Index, PrimaryKeyConstraint
from sqlmodel import Field, SQLModel

from gateway.db.tables.columns import UUID, datetime, maybe_timestamp, string, timestamp


class ForeignTicket(SQLModel, table=True):
    """A ticket that did not come from the gateway, as its helpdesk's poll showed it last."""

    __tablename__ = "foreign_ticket"

    __table_args__ = (
        PrimaryKeyConstraint("helpdesk_id", "external_id"),
        Index("foreign_ticket_began", "began_at"),
    )

    helpdesk_id: UUID = Field(foreign_key="connection.id")
    external_id: str = string()
    channel: str = string()
    """`email`, `phone` or `form`."""
    began_at: datetime = timestamp()
    answered_at: datetime | None = maybe_timestamp()
    solved_at: datetime | None = maybe_timestamp()
    reopened: int = 0
    deleted: bool = False
    changed_at: datetime = timestamp()
    """The helpdesk's time of what is stored here: an older state that arrives later is no news."""
