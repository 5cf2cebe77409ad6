"""Trying policies before they decide: on one case, and on the cases kept with them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import Field, TypeAdapter, ValidationError, model_validator
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.api.deps import DraftsPolicies, ReadsPolicies, RuntimeDep
from gateway.api.etags import IfMatch, check_match, etag, fingerprint
from gateway.api.lookup import as_id
from gateway.api.models import Answer, Input, Name, Page
from gateway.api.problems import conflict, field_errors, invalid, invalid_fields, not_found, responses
from gateway.api.routes import ApiRoute
from gateway.db.database import fetch_one
from gateway.policy import library, trial
from gateway.policy.content import Content
from gateway.policy.engine import Verdict
from gateway.policy.sets import Active
from gateway.policy.stored import SUBJECT_MODELS, load
from gateway.runtime import Runtime
from gateway_schemas.decision import Case, Point

router = APIRouter(prefix="/policies", tags=["policies"], route_class=ApiRoute)


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


@router.post("/{policy_id}/evaluate")
async def evaluate_policy(runtime: RuntimeDep, _: DraftsPolicies, policy_id: str, given: Evaluate) -> Outcome:
    """What a draft, or a revision, says of one case. Its scope is not looked at, and nothing is stored."""
    async with runtime.database.read() as database:
        active = await active_policy(database, runtime, policy_id, given.revision)
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
        active = await active_policy(database, runtime, policy_id, revision)
        rows = await trial.cases_of(database, await _id(database, policy_id))
    missed = {one.name: one.misses for one in await trial.failing(runtime.sandbox, active, rows)}
    cases = [
        CaseResult(name=row["name"], passed=row["name"] not in missed, misses=list(missed.get(row["name"], ())))
        for row in rows
    ]
    return CaseRun(passed=not missed, cases=cases)


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


async def active_policy(database: AsyncConnection, runtime: Runtime, named: str, revision: int | None) -> Active:
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
