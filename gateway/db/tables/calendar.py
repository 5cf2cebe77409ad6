"""Calendars: the hours that time targets count, and every version of them."""

from __future__ import annotations

from sqlalchemy import Index, PrimaryKeyConstraint
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
    sealed,
    string,
    strings,
    timestamp,
)

ALWAYS_ID = UUID("00000000-0000-7000-8000-000000000001")
"""The built-in calendar `always`, in which all time counts."""


class Calendar(SQLModel, table=True):
    """A calendar by its name; what it says is in its versions, which never change.

    One that was deleted keeps its row and its versions: decisions name them.
    """

    __table_args__ = (
        Index("calendar_by_name", "name", unique=True, postgresql_where=sql("deleted_at IS NULL")),
        Index("calendar_feed_due", "feed_due_at", postgresql_where=sql("feed_due_at IS NOT NULL")),
    )

    id: UUID = identifier()
    name: str = string()
    version: int = 1
    feed: bytes | None = sealed("calendar:{id}")
    """The iCalendar feed's URL: private feeds carry their key in it."""
    allow_private: list[str] = strings()
    feed_due_at: datetime | None = maybe_timestamp()
    """When the feed is to be fetched again."""
    feed_fetched_at: datetime | None = maybe_timestamp()
    feed_problem: str | None = maybe_string()
    """Why the newest fetch failed; the days of the last good one stay in force."""
    created_at: datetime = timestamp()
    updated_at: datetime = timestamp()
    deleted_at: datetime | None = maybe_timestamp()


class CalendarVersion(SQLModel, table=True):
    """What a calendar said from one change to the next."""

    __tablename__ = "calendar_version"

    __table_args__ = (PrimaryKeyConstraint("calendar_id", "version"),)

    calendar_id: UUID = Field(foreign_key="calendar.id")
    version: int = Field(sa_column_kwargs={"autoincrement": False})
    definition: Json = document()
    """`timezone`, `hours`, `holidays`, `holiday_region`, and `feed_days` with the feed's digest as `feed_version`."""
    author: str = string()
    """Who made it: an API key, or `feed`."""
    created_at: datetime = timestamp()
