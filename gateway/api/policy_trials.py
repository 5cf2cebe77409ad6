"""Trying policies before they decide: on one case, on the cases kept with them, and on stored history."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import Field, TypeAdapter, ValidationError, model_validator
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.api.deps import DraftsPolicies, ReadsPolicies, RuntimeDep
from gateway.api.etags import IfMatch, check_match, etag, fingerprint
from gateway.api.lookup import as_id
from gateway.api.models import Answer, Input, Instant, Name, Page, Reference
from gateway.api.paging import Filters, PagingDep, list_page
from gateway.api.problems import Problem, conflict, field_errors, invalid, invalid_fields, not_found, responses
from gateway.api.routes import ApiRoute
from gateway.db.database import Row, execute, fetch_one
from gateway.db.tables.columns import new_id
from gateway.policy import backtest, library, trial
from gateway.policy.content import Content
from gateway.policy.engine import Verdict
from gateway.policy.sets import Active
from gateway.policy.stored import SUBJECT_MODELS, load
from gateway.runtime import Runtime
from gateway_schemas.decision import Case, Point

router = APIRouter(prefix="/policies", tags=["policies"], route_class=ApiRoute)
backtests = APIRouter(prefix="/backtests", tags=["policies"], route_class=ApiRoute)

HISTORY = timedelta(days=30)
"""How far back a backtest looks unless told."""


class Situation(Input):
    """What to ask a policy about: a stored decision's case, or one that is given whole."""

    decision: int | None = None
    """The id of a decision."""
    point: Point | None = None
    case: dict[str, Any] | None = None
    """As in `schemas/json/v1/case.schema.json`."""
    subject: dict[str, Any] | None = None
    """What is decided on: an interaction, a rendered reply, a ticket's change or a clock, by the point."""

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Situation:
        whole = (self.point, self.case, self.subject)
        if (self.decision is None) == any(part is None for part in whole):
            raise ValueError("give either decision, or point, case and subject")
        return self


class Evaluate(Situation):
    """Try a policy on one case."""

    revision: int | None = Field(default=None, ge=1)
    """Left out: the draft."""


class Outcome(Answer):
    """What a policy says of one case."""

    verdict: str
    findings: list[dict[str, Any]]
    effects: list[dict[str, Any]]
    """Effects, and errors of the policy."""
    coverage: str | None


class Expectation(Input):
    """What a case must come to. What is left out may be anything."""

    verdict: str | None = Field(default=None, pattern="^(allow|warn|hold|block)$")
    codes: list[str] = Field(default_factory=list, max_length=50)
    """Codes of findings that must be there."""
    not_codes: list[str] = Field(default_factory=list, max_length=50)
    """Codes that must not be there."""
    effects: list[str] = Field(default_factory=list, max_length=50)
    """Kinds of effects that must be there: `start_clock`, `ignore`, …"""


class KeepCase(Situation):
    """A case to be kept with a policy. No revision that fails it comes into force."""

    expect: Expectation


class CaseView(Answer):
    """A case that is kept with a policy."""

    id: UUID
    name: str
    point: str
    case: dict[str, Any]
    subject: dict[str, Any]
    expect: dict[str, Any]
    author: str
    created_at: datetime


class CaseResult(Answer):
    """How a kept case ended."""

    name: str
    passed: bool
    misses: list[str]
    """What is otherwise than it must be."""


class CaseRun(Answer):
    """How all kept cases ended."""

    passed: bool
    cases: list[CaseResult]


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


@router.post("/{policy_id}/evaluate")
async def evaluate_policy(runtime: RuntimeDep, _: DraftsPolicies, policy_id: str, given: Evaluate) -> Outcome:
    """What a draft, or a revision, says of one case. Its scope is not looked at, and nothing is stored."""
    async with runtime.database.read() as database:
        active = await _active(database, runtime, policy_id, given.revision)
        point, case, subject = await _situation(database, given)
    if point not in active.points:
        raise invalid("point", f"the type {active.member.type} has nothing to say at {point}")
    return _outcome(await trial.try_out(runtime.sandbox, active, point, case, subject))


@router.get("/{policy_id}/cases")
async def list_policy_cases(runtime: RuntimeDep, _: ReadsPolicies, policy_id: str) -> Page[CaseView]:
    """The cases that are kept with a policy, by name. Always one page."""
    async with runtime.database.read() as database:
        id = await _id(database, policy_id)
        rows = await trial.cases_of(database, id)
    return Page(items=[CaseView(**row) for row in rows], next=None)


@router.get("/{policy_id}/cases/{name}")
async def read_policy_case(
    runtime: RuntimeDep, _: ReadsPolicies, policy_id: str, name: Name, response: Response
) -> CaseView:
    """One case that is kept with a policy."""
    async with runtime.database.read() as database:
        view = await _case(database, await _id(database, policy_id), name)
    if view is None:
        raise not_found("case", name)
    response.headers["ETag"] = etag(fingerprint(view))
    return view


@router.put("/{policy_id}/cases/{name}", responses=responses(409, 412))
async def keep_policy_case(
    runtime: RuntimeDep,
    caller: DraftsPolicies,
    policy_id: str,
    name: Name,
    given: KeepCase,
    response: Response,
    if_match: IfMatch = None,
) -> CaseView:
    """Keep a case with a policy; one of the same name is replaced."""
    async with runtime.database.write() as database:
        id = await _id(database, policy_id, lock=True)
        before = await _case(database, id, name)
        check_match(if_match, fingerprint(before) if before is not None else None)
        point, case, subject = await _situation(database, given)
        await trial.keep(
            database,
            id,
            name=name,
            point=point,
            case=case,
            subject=subject,
            expect=given.expect.model_dump(mode="json", exclude_defaults=True),
            author=caller.name,
            now=runtime.now(),
        )
        view = await _case(database, id, name)
    assert view is not None
    response.headers["ETag"] = etag(fingerprint(view))
    return view


@router.delete("/{policy_id}/cases/{name}", status_code=204, responses=responses(412))
async def drop_policy_case(
    runtime: RuntimeDep, _: DraftsPolicies, policy_id: str, name: Name, if_match: IfMatch = None
) -> Response:
    """Forget a case."""
    async with runtime.database.write() as database:
        id = await _id(database, policy_id, lock=True)
        before = await _case(database, id, name)
        if before is None:
            raise not_found("case", name)
        check_match(if_match, fingerprint(before))
        await trial.drop(database, id, name)
    return Response(status_code=204)


@router.post("/{policy_id}/cases/run")
async def run_policy_cases(
    runtime: RuntimeDep, _: DraftsPolicies, policy_id: str, revision: int | None = None
) -> CaseRun:
    """Try the draft, or a revision, on all cases that are kept with the policy."""
    async with runtime.database.read() as database:
        active = await _active(database, runtime, policy_id, revision)
        rows = await trial.cases_of(database, await _id(database, policy_id))
    missed = {one.name: one.misses for one in await trial.failing(runtime.sandbox, active, rows)}
    cases = [
        CaseResult(name=row["name"], passed=row["name"] not in missed, misses=list(missed.get(row["name"], ())))
        for row in rows
    ]
    return CaseRun(passed=not missed, cases=cases)


@backtests.post("", status_code=202)
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
                drafts.append(await _active(database, runtime, one.policy, one.revision))
            except Problem as error:
                if error.status_code != 404:
                    raise
                raise invalid(f"policies.{at}.policy", f"there is no policy {one.policy}") from error
    id = new_id()
    members = [one.member for one in drafts]
    await backtest.start(runtime, members=members, since=since, until=until, author=caller.name, id=id)
    response.headers["Location"] = f"/v1/backtests/{id}"
    return await _backtest(runtime, id)


@backtests.get("")
async def list_backtests(runtime: RuntimeDep, _: ReadsPolicies, paging: PagingDep) -> Page[BacktestView]:
    """Backtests, newest first."""
    async with runtime.database.read() as database:
        rows, following = await list_page(database, "SELECT b.* FROM backtest b", Filters(), paging, id="b.id")
    return Page(items=[await _view(runtime, row) for row in rows], next=following)


@backtests.get("/{backtest_id}")
async def read_backtest(runtime: RuntimeDep, _: ReadsPolicies, backtest_id: UUID) -> BacktestView:
    """How far a backtest has come, and what it has found."""
    return await _backtest(runtime, backtest_id)


@backtests.post("/{backtest_id}/cancel")
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


async def _case(database: AsyncConnection, policy_id: UUID, name: str) -> CaseView | None:
    return next((CaseView(**row) for row in await trial.cases_of(database, policy_id) if row["name"] == name), None)


async def _id(database: AsyncConnection, named: str, *, lock: bool = False) -> UUID:
    tail = " FOR UPDATE" if lock else ""
    row = await fetch_one(
        database, f"SELECT id FROM policy WHERE id = :id OR name = :name{tail}", id=as_id(named), name=named
    )
    if row is None:
        raise not_found("policy", named)
    id: UUID = row["id"]
    return id


async def _active(database: AsyncConnection, runtime: Runtime, named: str, revision: int | None) -> Active:
    """A policy's draft, or one of its revisions, ready to be asked."""
    policy = await library.read(database, await _id(database, named))
    assert policy is not None
    content = policy["draft"]
    if revision is not None:
        found = {row["number"]: row["content"] for row in await library.revisions(database, policy["id"])}
        if revision not in found:
            raise invalid("revision", f"the policy {policy['name']} has no revision {revision}")
        content = found[revision]
    whole = Content.model_validate(content)
    return trial.active_of(runtime.registry, policy["name"], policy["type"], revision or 0, whole, policy["brand"])


async def _situation(database: AsyncConnection, given: Situation) -> tuple[Point, Case, Any]:
    if given.decision is not None:
        pasts = await load(database, "d.id = :id", id=given.decision)
        if not pasts:
            raise invalid("decision", f"there is no decision {given.decision}")
        past = pasts[0]
        if past.case is None:
            raise conflict(f"the decision {past.id} cannot be made again: {past.missing}", field="decision")
        return past.row["point"], past.case, past.subject
    assert given.point is not None
    try:
        case = Case.model_validate(given.case)
    except ValidationError as error:
        raise invalid_fields(field_errors(error.errors(), within=("case",), model=Case)) from error
    model = SUBJECT_MODELS[given.point]
    try:
        return given.point, case, TypeAdapter(model).validate_python(given.subject)
    except ValidationError as error:
        raise invalid_fields(field_errors(error.errors(), within=("subject",), model=model)) from error


def _outcome(verdict: Verdict) -> Outcome:
    return Outcome(
        verdict=verdict.severity.value,
        findings=list(verdict.findings),
        effects=verdict.effects() or [],
        coverage=verdict.coverage,
    )
