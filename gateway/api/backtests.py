"""Trying policies before they decide, on stored history: a job that says how many decisions change, which, and why."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import Field

from gateway.api.deps import DraftsPolicies, ReadsPolicies, RuntimeDep
from gateway.api.models import Answer, Input, Instant, Page, Reference
from gateway.api.paging import Filters, PagingDep, list_page
from gateway.api.policy_trials import active_policy
from gateway.api.problems import Problem, conflict, invalid, not_found
from gateway.api.routes import ApiRoute
from gateway.db.database import Row, execute, fetch_one
from gateway.db.tables.columns import new_id
from gateway.policy import backtest
from gateway.runtime import Runtime

router = APIRouter(prefix="/backtests", tags=["policies"], route_class=ApiRoute)

HISTORY = timedelta(days=30)
"""How far back a backtest looks unless told."""


class Draft(Input):
    """A policy whose draft or revision is put in the place of the one that decided."""

    policy: Reference
    revision: int | None = Field(default=None, ge=1)
    """Left out: the draft."""


class StartBacktest(Input):
    """Run drafts over stored decisions. Without any, the policies that decided are run again as they were."""

    policies: list[Draft] = Field(default_factory=list, max_length=50)
    since: Instant | None = None
    """Left out: thirty days ago."""
    until: Instant | None = None
    """Left out: now."""


class BacktestView(Answer):
    """A backtest: how far it has come, and what it has found."""

    id: UUID
    state: str
    """`pending`, `running`, `done`, `cancelled` or `failed`."""
    since: datetime
    until: datetime
    total: int
    """Decisions in that time."""
    decisions: int
    """Decisions made again so far."""
    identical: int
    changed_by_revision: int
    """Decided otherwise because of the drafts."""
    changed_by_code: int
    """Decided otherwise by the very same revisions: code, readers or data have changed since."""
    not_reproducible: dict[str, int]
    """By reason: `erased`, `expired`, `superseded`, `unreadable`."""
    verdicts: dict[str, int]
    """From which verdict to which, of those that changed."""
    policies: dict[str, int]
    """In how many of them each policy says something else."""
    clocks: list[dict[str, Any]]
    """Tickets whose clocks would have other targets; what that does to breaches is in `breaches`."""
    breaches: dict[str, list[str]]
    """Tickets by what becomes of them: `new` would have been breached, `averted` would not."""
    samples: list[dict[str, Any]]
    """Some of the decisions that changed, with what each policy said and would say."""
    author: str
    created_at: datetime
    finished_at: datetime | None


@router.post("", status_code=202)
async def start_backtest(
    runtime: RuntimeDep, caller: DraftsPolicies, given: StartBacktest, response: Response
) -> BacktestView:
    """Run drafts over stored decisions, in the background: how many change, which, and why."""
    until = given.until or runtime.now()
    since = given.since or until - HISTORY
    if since >= until:
        raise invalid("since", "is not before until")
    async with runtime.database.read() as database:
        drafts = []
        for at, one in enumerate(given.policies):
            try:
                drafts.append(await active_policy(database, runtime, one.policy, one.revision))
            except Problem as error:
                if error.status_code != 404:
                    raise
                raise invalid(f"policies.{at}.policy", f"there is no policy {one.policy}") from error
    id = new_id()
    members = [one.member for one in drafts]
    await backtest.start(runtime, members=members, since=since, until=until, author=caller.name, id=id)
    response.headers["Location"] = f"/v1/backtests/{id}"
    return await _backtest(runtime, id)


@router.get("")
async def list_backtests(runtime: RuntimeDep, _: ReadsPolicies, paging: PagingDep) -> Page[BacktestView]:
    """Backtests, newest first."""
    async with runtime.database.read() as database:
        rows, following = await list_page(database, "SELECT b.* FROM backtest b", Filters(), paging, id="b.id")
    return Page(items=[await _view(runtime, row) for row in rows], next=following)


@router.get("/{backtest_id}")
async def read_backtest(runtime: RuntimeDep, _: ReadsPolicies, backtest_id: UUID) -> BacktestView:
    """How far a backtest has come, and what it has found."""
    return await _backtest(runtime, backtest_id)


@router.post("/{backtest_id}/cancel")
async def cancel_backtest(runtime: RuntimeDep, _: DraftsPolicies, backtest_id: UUID) -> BacktestView:
    """Stop a backtest; what it has found stays."""
    async with runtime.database.write() as database:
        touched = await execute(
            database,
            """UPDATE backtest SET state = 'cancelled', finished_at = :now
               WHERE id = :id AND state IN ('pending', 'running')""",
            id=backtest_id,
            now=runtime.now(),
        )
    view = await _backtest(runtime, backtest_id)
    if not touched:
        raise conflict(f"the backtest is {view.state} already")
    return view


async def _backtest(runtime: Runtime, id: UUID) -> BacktestView:
    async with runtime.database.read() as database:
        row = await fetch_one(database, "SELECT * FROM backtest WHERE id = :id", id=id)
    if row is None:
        raise not_found("backtest", id)
    return await _view(runtime, row)


async def _view(runtime: Runtime, row: Row) -> BacktestView:
    report = backtest.Report.of(row["result"])
    async with runtime.database.read() as database:
        breaches = await backtest.breaches(database, runtime, report.clocks)
    return BacktestView(
        **{
            name: row[name]
            for name in ("id", "state", "since", "until", "total", "author", "created_at", "finished_at")
        },
        decisions=report.decisions,
        identical=report.identical,
        changed_by_revision=report.by_revision,
        changed_by_code=report.by_code,
        not_reproducible=dict(report.not_reproducible),
        verdicts=dict(report.verdicts),
        policies=dict(report.policies),
        clocks=report.clocks,
        breaches=breaches,
        samples=report.samples,
    )
