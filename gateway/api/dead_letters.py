"""Dead letters: what a helpdesk or a source refused for good, and another try. Deliveries are replayed instead."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import Field

from gateway.api.deps import Operates, ReadsOperations, RuntimeDep
from gateway.api.models import Answer, Input, Page, Since
from gateway.api.paging import Filters, PagingDep, list_page
from gateway.api.problems import invalid
from gateway.api.routes import ApiRoute
from gateway.db.database import fetch_all
from gateway.pipeline.redrive import SELECT, Kind, proving, schedule, told
from gateway.security.audit import note_all

router = APIRouter(prefix="/dead-letters", tags=["deliveries"], route_class=ApiRoute)

COLUMNS: dict[Kind, tuple[str, str, str]] = {
    "push": ("p", "helpdesk_id", "COALESCE(p.done_at, p.created_at)"),
    "reply": ("r", "connection_id", "r.updated_at"),
}
"""By kind: the alias, the connection's column, and when it failed."""

KindQuery = Annotated[Kind, Query(description="`push`: a change for a helpdesk; `reply`: an answer for a source.")]


class DeadLetter(Answer):
    """One thing that a provider refused for good."""

    id: str
    """A number for a push, a UUID for a reply."""
    ticket_id: UUID
    connection_id: UUID
    """The connection that refused it: a helpdesk's for a push, a source's for a reply."""
    action: str
    """`comment`, `note`, `mark` or `update` of a push; `send` of a reply."""
    code: str | None
    reason: str | None
    tries: int
    failed_at: datetime
    redrive_at: datetime | None
    """When it is tried again, if that was asked for."""
    obstacle: Literal["superseded", "deleted", "cannot_ask", "was_published", "may_be_out", "answered_since"] | None
    """Why it would not be tried again: newer changes would be undone; the customer deleted it; the helpdesk cannot
    prove that it does not have it; it was, or may be, published; the message has another answer since."""


class RedriveFilter(Input):
    """Which dead letters to try again."""

    kind: Kind
    ids: list[str] | None = Field(default=None, min_length=1, max_length=1000)
    """Only these."""
    connection: UUID | None = None
    code: str | None = None
    since: Since | None = None
    """Only those that failed since."""
    limit: int = Field(default=1000, ge=1, le=10_000)
    """At most this many, oldest first."""
    per_minute: int | None = Field(default=60, ge=1, le=6000)
    """How many a minute, those asked for before included; null: all at once. The provider's limits hold anyway."""


class Redriven(Answer):
    """What is tried again. Each is looked at once more when its turn comes."""

    scheduled: int
    last_at: datetime | None
    """The last one's turn."""
    obstacles: dict[str, int]
    """How many were left where they are, by reason."""


@router.get("")
async def list_dead_letters(
    runtime: RuntimeDep,
    _: ReadsOperations,
    paging: PagingDep,
    kind: KindQuery,
    connection: UUID | None = None,
    code: str | None = None,
    since: Since | None = None,
) -> Page[DeadLetter]:
    """Pushes or replies that ended failed, newest first, without what they say."""
    filters = _filters(kind, connection, code, since)
    if kind == "push":
        filters.add("true", proving=proving(runtime.registry))
    type: Any = int if kind == "push" else UUID
    async with runtime.database.read() as database:
        rows, following = await list_page(
            database, SELECT[kind], filters, paging, id=f"{COLUMNS[kind][0]}.id", kind=type
        )
    return Page(items=[DeadLetter(**told(row)) for row in rows], next=following)


@router.post("/redrive", status_code=202)
async def redrive_dead_letters(runtime: RuntimeDep, _: Operates, given: RedriveFilter) -> Redriven:
    """Try one or many again, under the keys they have, so that nothing doubles.

    A helpdesk is asked for a push first. A reply is decided on anew, and waits for a person's word where it is too old.
    """
    now = runtime.now()
    alias = COLUMNS[given.kind][0]
    filters = _filters(given.kind, given.connection, given.code, given.since)
    filters.conditions.append(f"{alias}.redrive_at IS NULL")
    if given.kind == "push":
        filters.values["proving"] = proving(runtime.registry)
    if given.ids is not None:
        filters.add(f"{alias}.id = ANY(:ids)", ids=_ids(given.kind, given.ids))
    async with runtime.database.write() as database:
        rows = await fetch_all(
            database,
            f"""{SELECT[given.kind]} WHERE {" AND ".join(filters.conditions)}
                ORDER BY {alias}.id LIMIT :limit FOR UPDATE OF {alias} SKIP LOCKED""",
            **filters.values,
            limit=given.limit,
        )
        going = [row for row in rows if row["obstacle"] is None]
        last = await schedule(database, given.kind, going, given.per_minute, now)
        if given.kind == "push":
            await note_all(database, "push", [row["id"] for row in going], {"state": "failed"}, {"redrive": last})
    obstacles = Counter(row["obstacle"] for row in rows if row["obstacle"] is not None)
    return Redriven(scheduled=len(going), last_at=last, obstacles=dict(obstacles))


def _filters(kind: Kind, connection: UUID | None, code: str | None, since: datetime | None) -> Filters:
    alias, column, failed_at = COLUMNS[kind]
    filters = Filters([f"{alias}.state = 'failed'"])
    filters.add(f"{alias}.{column} = :connection", connection=connection)
    filters.add(f"{alias}.code = :code", code=code)
    filters.add(f"{failed_at} >= :since", since=since)
    return filters


def _ids(kind: Kind, given: list[str]) -> list[int] | list[UUID]:
    try:
        if kind == "reply":
            return [UUID(one) for one in given]
        numbers = [int(one) for one in given]
    except ValueError as error:
        raise invalid("ids", "holds one that is no dead letter's", "take them from GET /v1/dead-letters") from error
    return [one for one in numbers if 0 <= one < 2**63]
