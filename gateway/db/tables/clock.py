"""Clocks: running time targets of tickets, and what happened to them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import ForeignKeyConstraint, Index, Interval, PrimaryKeyConstraint, UniqueConstraint
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from gateway.db.tables.columns import (
    TIMESTAMP,
    UUID,
    Json,
    datetime,
    document,
    identifier,
    maybe_string,
    maybe_timestamp,
    serial,
    small,
    string,
    strings,
    timestamp,
)

OPEN = ("running", "paused")


class Clock(SQLModel, table=True):
    """One time target of a ticket, on the source's event time.

    `running` and `paused` go on; `met` was fulfilled in time, `missed` too late, `cancelled` counts for nothing. A
    running clock may have been breached already. The plan (`due_at`, `next_at`) follows from the rest of the row and
    from the calendar's version, and is written anew whenever one of them changes.
    """

    __table_args__ = (
        UniqueConstraint("ticket_id", "kind", "policy", "slot"),
        ForeignKeyConstraint(
            ["calendar_id", "calendar_version"], ["calendar_version.calendar_id", "calendar_version.version"]
        ),
        # what the sweep looks at: only running clocks, the next step first
        Index("clock_next", "next_at", postgresql_where=sql("state = 'running'")),
        Index(
            "clock_of_calendar",
            "calendar_id",
            "calendar_version",
            postgresql_where=sql("state IN ('running', 'paused')"),
        ),
        Index(
            "clock_open_breached",
            "kind",
            postgresql_where=sql("state IN ('running', 'paused') AND breached_at IS NOT NULL"),
        ),
        Index("clock_breached", "id", postgresql_where=sql("breached_at IS NOT NULL")),
    )

    id: UUID = identifier()
    ticket_id: UUID = Field(foreign_key="ticket.id")
    kind: str = string()
    """`first_response`, `next_response`, `resolution`, `acknowledged`, `substantive_answer` or `promise`."""
    policy: str = string("")
    """The policy that asked for it; empty: none did."""
    revision: int | None = None
    slot: str = string("")
    """Tells the clocks of a kind apart that a ticket may have several of; empty for the others."""
    label: str = string("")
    """For people: for a promise, the words that made it."""
    calendar_id: UUID
    calendar_version: int
    target: timedelta | None = Field(default=None, sa_type=Interval)
    """A span of the calendar's time."""
    fixed_due: datetime | None = maybe_timestamp()
    """A due time that was named instead of a span: pauses and hours do not move it."""
    steps: list[Any] = Field(default_factory=list, sa_type=JSONB, nullable=False)
    """For each: the share of the target `at` which it is due, its `name`, whom to `notify`; 1 is the breach."""
    stops_on: str = string("answer")
    """What fulfils it without being told: `answer`, `solved`, or `effect` for nothing but a policy's word."""
    pauses: bool = True
    """Whether it stands still while the ticket waits for the customer."""
    credit: timedelta = Field(default=timedelta(), sa_type=Interval)
    """Time added to the target when it was reopened with next to nothing left."""
    started_at: datetime = timestamp()
    running_since: datetime | None = maybe_timestamp()
    stretches: list[Any] = Field(default_factory=list, sa_type=JSONB, nullable=False)
    """When it ran before that: pairs of begin and end."""
    asked: list[Any] = Field(default_factory=list, sa_type=JSONB, nullable=False)
    """Later messages that the same answer will be for: should the answer turn out older, they need a clock."""
    state: str = string("running")
    due_at: datetime | None = maybe_timestamp()
    next_at: datetime | None = maybe_timestamp()
    """When the next step is due: warnings, breach, escalations."""
    step: int = small()
    """How many steps were told of."""
    round: int = 0
    """Goes up when steps that were told of turned out not to be due: they may be told of again."""
    breached_at: datetime | None = maybe_timestamp()
    stopped_at: datetime | None = maybe_timestamp()
    stopped_by: str | None = maybe_string()
    """`reply:<id>`, `interaction:<id>`, `ticket:<status>` or `policy:<name>`."""
    reason: str | None = maybe_string()
    """Why it is paused or cancelled."""
    remark: str | None = maybe_string()
    """What was not taken as it was given: a time far from the clock's, a calendar that is gone."""
    created_at: datetime = timestamp()
    updated_at: datetime = timestamp()


class Fulfilment(SQLModel, table=True):
    """Something that fulfils time targets of a ticket. Kept, because what it is for may be told later than it."""

    __table_args__ = (PrimaryKeyConstraint("ticket_id", "at", "by", "on"),)

    ticket_id: UUID = Field(foreign_key="ticket.id")
    at: datetime = Field(sa_type=TIMESTAMP)
    by: str = string()
    on: str = string()
    """As `stops_on` of the clocks it stops: `answer` or `effect`."""
    kinds: list[str] = strings()
    """The kinds it fulfils; empty: all that stop on it."""


class ClockEvent(SQLModel, table=True):
    """A step of a clock, told once, for others to act on."""

    __tablename__ = "clock_event"

    __table_args__ = (
        # two workers that see the same step tell of it once
        UniqueConstraint("clock_id", "round", "kind", "step"),
        Index("clock_event_open", "id", postgresql_where=sql("handled_at IS NULL")),
        Index("clock_event_of_ticket", "ticket_id", "id"),
    )

    id: int = serial()
    clock_id: UUID = Field(foreign_key="clock.id", ondelete="CASCADE")
    ticket_id: UUID
    kind: str = string()
    """`warned`, `breached`, `escalated`, `voided` or `met`."""
    step: int = small()
    """The step's number within the clock's `steps`, from 1; 0 for what is no step."""
    round: int = 0
    at: datetime = timestamp()
    """When it was so, in the clock's time; `created_at` is when it was noticed."""
    data: Json = document()
    """`due_at`; of a step its `name`, `share` and `notify`, and as `skipped` the names of weaker steps that nobody was
    told of because this one was due as well."""
    created_at: datetime = timestamp()
    handled_at: datetime | None = maybe_timestamp()
