"""Clocks: running time targets and what became of them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query

from gateway.api.deps import ReadsTickets, RuntimeDep
from gateway.api.models import Answer, Page, Since
from gateway.api.paging import Filters, PagingDep, list_page
from gateway.api.problems import not_found
from gateway.api.routes import ApiRoute
from gateway.db.database import Row, fetch_all, fetch_one
from gateway.sla.clock import Kind, State

router = APIRouter(prefix="/clocks", tags=["clocks"], route_class=ApiRoute)

SELECT = """
SELECT c.id, c.ticket_id, c.kind, c.policy, c.label, c.state, c.started_at, c.due_at, c.next_at,
       EXTRACT(epoch FROM c.target + c.credit) / 60 AS minutes, k.name AS calendar, c.calendar_version, c.steps,
       c.breached_at, c.stopped_at, c.stopped_by, c.reason, c.remark, c.created_at, c.updated_at
FROM clock c JOIN calendar k ON k.id = c.calendar_id
"""

EVENTS = """
SELECT kind, step, at, created_at AS noticed_at, data FROM clock_event WHERE clock_id = :id ORDER BY id
"""


class ClockStepView(Answer):
    """What is due when a share of the target has passed."""

    at: float
    """Below 1 a warning, at 1 the breach, above an escalation."""
    name: str
    notify: list[str]


class ClockView(Answer):
    """One time target of a ticket."""

    id: UUID
    ticket_id: UUID
    kind: Kind
    policy: str
    """The policy that asked for it; empty: none did."""
    label: str
    state: State
    """`running` and `paused` go on; `met` was fulfilled in time, `missed` too late, `cancelled` counts for nothing."""
    started_at: datetime
    """In the source's time."""
    due_at: datetime | None
    """Null while it is paused. For one that is over, when it would have been due."""
    next_at: datetime | None
    """When the next step is due."""
    minutes: float | None
    """The target in minutes of the calendar; null where a due time was named instead."""
    calendar: str
    calendar_version: int
    steps: list[ClockStepView]
    breached_at: datetime | None
    """Null when it was not breached, or the breach was voided."""
    stopped_at: datetime | None
    stopped_by: str | None
    """`reply:<id>`, `interaction:<id>`, `ticket:<status>`, `policy:<name>` or `person:<name>`."""
    reason: str | None
    """Why it is paused or cancelled."""
    remark: str | None
    """What was not taken as it was given: a time far from the clock's, a calendar that is gone."""
    created_at: datetime
    updated_at: datetime


class ClockEventView(Answer):
    """A step of a clock, or its end."""

    kind: Literal["warned", "breached", "escalated", "voided", "met"]
    step: int
    """Its number within `steps`, from 1; 0 for what is no step."""
    at: datetime
    """When it was so."""
    noticed_at: datetime
    data: dict[str, Any]


class ClockDetail(ClockView):
    """A clock with everything that was told of it."""

    events: list[ClockEventView]


@router.get("")
async def list_clocks(
    runtime: RuntimeDep,
    _: ReadsTickets,
    paging: PagingDep,
    state: State | None = None,
    kind: Kind | None = None,
    ticket: UUID | None = None,
    due_before: Annotated[Since | None, Query(description="Those due before this, in whatever state.")] = None,
    breached: Annotated[bool | None, Query(description="Breached ones, open or not; or the others.")] = None,
) -> Page[ClockView]:
    """Clocks, newest first."""
    filters = Filters()
    filters.add("c.state = :state", state=state)
    filters.add("c.kind = :kind", kind=kind)
    filters.add("c.ticket_id = :ticket", ticket=ticket)
    filters.add("c.due_at < :due_before", due_before=due_before)
    if breached is not None:
        filters.add(f"c.breached_at IS {'NOT NULL' if breached else 'NULL'}")
    async with runtime.database.read() as database:
        rows, following = await list_page(database, SELECT, filters, paging, id="c.id")
    return Page(items=[ClockView(**row) for row in rows], next=following)


@router.get("/{clock_id}")
async def read_clock(runtime: RuntimeDep, _: ReadsTickets, clock_id: UUID) -> ClockDetail:
    """One clock with everything that was told of it, oldest first."""
    async with runtime.database.read() as database:
        row = await fetch_one(database, f"{SELECT} WHERE c.id = :id", id=clock_id)
        events: list[Row] = await fetch_all(database, EVENTS, id=clock_id) if row is not None else []
    if row is None:
        raise not_found("clock", clock_id)
    return ClockDetail(**row, events=[ClockEventView(**one) for one in events])
