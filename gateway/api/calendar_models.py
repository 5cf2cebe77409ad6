"""Calendars as the REST API takes and gives them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from gateway.api.models import Answer, Input

CalendarName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
"""Stands in addresses and in policies."""


class RegionModel(Input):
    """Where public holidays are kept."""

    country: Annotated[str, StringConstraints(to_upper=True, min_length=2, max_length=3)]
    """ISO 3166-1, two letters: `DE`."""
    subdivision: Annotated[str, StringConstraints(min_length=1, max_length=40)] | None = None
    """ISO 3166-2 without the country: `BY`. Null: the holidays of the whole country."""


Hours = dict[str, Annotated[list[list[str]], Field(max_length=48)]]


class CalendarChange(Input):
    """A change of a calendar. What is left out stays as it is; null takes it away."""

    timezone: str | None = Field(default=None, max_length=100)
    hours: Hours | None = None
    holidays: list[date] | None = Field(default=None, max_length=5000)
    holiday_region: RegionModel | None = None
    feed: str | None = Field(default=None, max_length=2000)
    allow_private: list[str] | None = Field(default=None, max_length=50)


class CalendarContent(CalendarChange):
    """A whole calendar."""

    timezone: str = Field(max_length=100)
    """A zone of the IANA database: `Europe/Berlin`."""
    hours: Hours
    """For each day the periods in which time passes, by the wall clock, until `24:00` at the latest:
    `{"monday": [["09:00", "12:00"], ["13:00", "24:00"]]}`. A day left out is closed. A period over midnight is two."""
    holidays: list[date] = Field(default=[], max_length=5000)
    """Dates that are closed all day."""
    feed: str | None = Field(default=None, max_length=2000)
    """The URL of an iCalendar feed whose all-day events are closed days. Fetched now and once a day; as it may hold a
    key, only its origin is shown."""
    allow_private: list[str] = Field(default=[], max_length=50)
    """Private addresses that the feed may be fetched from: `10.1.0.0/16`, `intranet.internal:8443`."""


class NewCalendar(CalendarContent):
    """A calendar to be made."""

    name: CalendarName
    """Unique; letters, digits, dots, dashes and underscores."""


class FeedView(Answer):
    """An iCalendar feed and how it fares."""

    origin: str
    days: int
    """Closed days it gave, from last year to five years ahead."""
    version: str | None
    """Changes with what was fetched."""
    fetched_at: datetime | None
    next_fetch_at: datetime | None
    problem: str | None
    """Why the newest fetch failed; the days of the last good one stay in force."""


class CalendarView(Answer):
    """A calendar as it is in force."""

    id: UUID
    name: str
    version: int
    """Goes up with every change; clocks name the version they were planned by."""
    built_in: bool
    timezone: str
    hours: dict[str, list[list[str]]]
    holidays: list[date]
    holiday_region: dict[str, str | None] | None
    feed: FeedView | None
    allow_private: list[str]
    tzdata: str
    """The release of the IANA time zone database in use."""
    holiday_data: str
    """The release of the holiday data in use."""
    created_at: datetime
    updated_at: datetime


class DueView(Answer):
    """When a target is due."""

    calendar: str
    version: int
    start: datetime
    minutes: float
    due: datetime
    """In the calendar's zone. A target used up exactly at closing time is due then, not at the next opening."""


class ElapsedView(Answer):
    """How much open time passes."""

    calendar: str
    version: int
    start: datetime
    end: datetime
    minutes: float
    """Open minutes with fractions, exact to the microsecond: 90 seconds are 1.5."""


class ChangedClock(Answer):
    """An open clock that a change of its calendar would move."""

    clock: UUID
    ticket: UUID
    kind: str
    due_at: datetime | None
    would_be: datetime | None
    breach: Literal["none", "new", "voided"]
    """Whether it would be breached at once, or be breached no longer."""


class PreviewView(Answer):
    """What a change of a calendar would do to open clocks."""

    open_clocks: int
    """How many count by this calendar."""
    examined: int
    """How many of them were looked at, the earliest due first: 20,000 at most."""
    changed: int
    would_breach: int
    would_be_voided: int
    clocks: list[ChangedClock]
    """The first 200 of those that would change."""
