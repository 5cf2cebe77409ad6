"""Policies: their drafts, and the revisions made of them, which never change."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.api.deps import DraftsPolicies, ReadsPolicies, RuntimeDep
from gateway.api.etags import IfMatch, check_match, etag
from gateway.api.lookup import brand_of
from gateway.api.models import Answer, Input, Name, Page, Reason, Reference
from gateway.api.paging import Filters, PagingDep, list_page
from gateway.api.problems import conflict, field_errors, invalid, invalid_fields, not_found, responses
from gateway.api.routes import ApiRoute
from gateway.db.database import Row, fetch_one
from gateway.policy import library
from gateway.policy.content import Content, Mode, OnTimeout, Scope
from gateway.policy.library import NotPossible, ParamsInvalid, UnknownType
from gateway.runtime import Runtime
from gateway_schemas.decision import Severity

router = APIRouter(prefix="/policies", tags=["policies"], route_class=ApiRoute)


class NewPolicy(Input):
    """A policy to be made: its draft. Nothing is in force until a revision of it is activated."""

    name: Name
    type: Name
    brand: Reference | None = None
    """Whose it is; left out: the company's, for all brands."""
    locked: bool = False
    """Whether brands' own policies of the type stand beside it, so that they can only be stricter."""
    mode: Mode = "on"
    params: dict[str, Any] = Field(default_factory=dict)
    scope: Scope = Scope()
    order: int = Field(default=100, ge=0, le=10_000)
    on_error: Severity = Severity.hold
    on_uncovered: Severity = Severity.warn
    on_timeout: OnTimeout = OnTimeout()


class PolicyChange(Input):
    """What to change of a draft. What is left out stays; `params` is replaced as a whole."""

    locked: bool | None = None
    mode: Mode | None = None
    params: dict[str, Any] | None = None
    scope: Scope | None = None
    order: int | None = Field(default=None, ge=0, le=10_000)
    on_error: Severity | None = None
    on_uncovered: Severity | None = None
    on_timeout: OnTimeout | None = None


class Revise(Input):
    """Make the draft the next revision."""

    reason: Reason
    """Why; everybody who meets the policy reads it."""


class ContentView(Answer):
    """What a draft or a revision says."""

    mode: Mode
    params: dict[str, Any]
    scope: Scope
    order: int
    on_error: Severity
    on_uncovered: Severity
    on_timeout: OnTimeout


class PolicyView(Answer):
    """A policy and what of it is in force."""

    id: UUID
    name: str
    type: str
    brand: str | None
    locked: bool
    draft: ContentView
    revision_in_force: int | None
    newest_revision: int | None
    created_at: datetime
    archived_at: datetime | None


class Difference(Answer):
    """One field that differs between two revisions."""

    field: str
    before: Any = Field(alias="from")
    after: Any = Field(alias="to")


class RevisionView(ContentView):
    """What somebody wrote, for a reason. It never changes."""

    number: int
    reason: str
    author: str
    created_at: datetime
    differences: list[Difference]
    """From the revision before."""


@router.get("")
async def list_policies(
    runtime: RuntimeDep,
    _: ReadsPolicies,
    paging: PagingDep,
    type: str | None = None,
    archived: Annotated[bool, Query(description="Also those that were put away.")] = False,
) -> Page[PolicyView]:
    """All policies, oldest first."""
    filters = Filters()
    filters.add("p.type = :type", type=type)
    if not archived:
        filters.conditions.append("p.archived_at IS NULL")
    async with runtime.database.read() as database:
        rows, following = await list_page(database, SELECT, filters, paging, id="p.id", newest_first=False)
        current = await library.effective(database, runtime.now())
    return Page(items=[_view(row, current) for row in rows], next=following)


SELECT = f"""
SELECT {library.COLUMNS}, (SELECT max(number) FROM policy_revision r WHERE r.policy_id = p.id) AS newest {library.FROM}
"""


@router.post("", status_code=201)
async def create_policy(runtime: RuntimeDep, _: DraftsPolicies, given: NewPolicy, response: Response) -> PolicyView:
    """Make a policy with a draft. Parameters and conditions are checked; nothing is in force yet."""
    content = checked_content(
        runtime, given.type, Content(**{name: getattr(given, name) for name in Content.model_fields})
    )
    async with runtime.database.write() as database:
        brand_id = await brand_of(database, given.brand)
        try:
            id = await library.create(
                database,
                name=given.name,
                type=given.type,
                content=content,
                now=runtime.now(),
                brand_id=brand_id,
                locked=given.locked,
            )
        except NotPossible as error:
            raise conflict(str(error), field="locked" if given.locked and brand_id is not None else "name") from error
        view, version = await _one(database, id, runtime)
    response.headers["Location"] = f"/v1/policies/{id}"
    response.headers["ETag"] = etag(version)
    return view


@router.get("/{policy_id}")
async def read_policy(runtime: RuntimeDep, _: ReadsPolicies, policy_id: UUID, response: Response) -> PolicyView:
    """One policy with its draft."""
    async with runtime.database.read() as database:
        view, version = await _one(database, policy_id, runtime)
    response.headers["ETag"] = etag(version)
    return view


@router.patch("/{policy_id}", responses=responses(409, 412))
async def change_policy(
    runtime: RuntimeDep,
    _: DraftsPolicies,
    policy_id: UUID,
    given: PolicyChange,
    response: Response,
    if_match: IfMatch = None,
) -> PolicyView:
    """Change a policy's draft. What is in force stays as it is until another revision is activated."""
    async with runtime.database.write() as database:
        row = await _locked(database, policy_id, if_match)
        changes = {name: getattr(given, name) for name in given.model_fields_set if name in Content.model_fields}
        draft = Content.model_validate({**row["draft"], **{k: v for k, v in changes.items() if v is not None}})
        if given.locked and row["brand_id"] is not None:
            raise invalid("locked", "only a policy for all brands can be locked")
        await library.change(
            database, policy_id, draft=checked_content(runtime, row["type"], draft), locked=given.locked
        )
        view, version = await _one(database, policy_id, runtime)
    response.headers["ETag"] = etag(version)
    return view


@router.delete("/{policy_id}", responses=responses(409, 412))
async def archive_policy(
    runtime: RuntimeDep, _: DraftsPolicies, policy_id: UUID, response: Response, if_match: IfMatch = None
) -> PolicyView:
    """Put a policy away. Its revisions stay, for the decisions that name them; one in force is refused."""
    now = runtime.now()
    async with runtime.database.write() as database:
        await _locked(database, policy_id, if_match)
        ahead = await fetch_one(
            database,
            """SELECT 1 FROM policy_activation WHERE policy_id = :id AND revision IS NOT NULL AND withdrawn_at IS NULL
                   AND effective_from > :now""",
            id=policy_id,
            now=now,
        )
        if policy_id in await library.effective(database, now) or ahead is not None:
            raise conflict("It is in force, or will be.", field="policy", fix="POST /v1/policies/deactivate first")
        await library.change(database, policy_id, archived=now)
        view, version = await _one(database, policy_id, runtime)
    response.headers["ETag"] = etag(version)
    return view


@router.get("/{policy_id}/revisions")
async def list_revisions(runtime: RuntimeDep, _: ReadsPolicies, policy_id: UUID) -> Page[RevisionView]:
    """All revisions of a policy with what changed from one to the next, newest first. Always one page."""
    async with runtime.database.read() as database:
        await _one(database, policy_id, runtime)
        rows = await library.revisions(database, policy_id)
    views = [_revision(row, rows[place - 1] if place else None) for place, row in enumerate(rows)]
    return Page(items=list(reversed(views)), next=None)


@router.post("/{policy_id}/revisions", status_code=201, responses=responses(412))
async def make_revision(
    runtime: RuntimeDep, caller: DraftsPolicies, policy_id: UUID, given: Revise, if_match: IfMatch = None
) -> RevisionView:
    """Make the draft the next revision, which never changes again. An unchanged draft is the revision there is."""
    async with runtime.database.write() as database:
        row = await _locked(database, policy_id, if_match)
        checked_content(runtime, row["type"], Content.model_validate(row["draft"]))
        number = await library.revise(database, policy_id, reason=given.reason, author=caller.name, now=runtime.now())
        rows = await library.revisions(database, policy_id)
    return _revision(rows[number - 1], rows[number - 2] if number > 1 else None)


@router.get("/{policy_id}/revisions/{number}")
async def read_revision(
    runtime: RuntimeDep,
    _: ReadsPolicies,
    policy_id: UUID,
    number: int,
    against: Annotated[
        int | None, Query(description="The revision to compare with; the one before, if left out.")
    ] = None,
) -> RevisionView:
    """One revision, with what differs from another."""
    async with runtime.database.read() as database:
        await _one(database, policy_id, runtime)
        rows = {row["number"]: row for row in await library.revisions(database, policy_id)}
    if number not in rows:
        raise not_found("revision", number)
    if against is not None and against not in rows:
        raise invalid("against", f"there is no revision {against}", f"there are {', '.join(map(str, rows))}")
    return _revision(rows[number], rows.get(against if against is not None else number - 1))


def _revision(row: Row, before: Row | None) -> RevisionView:
    found = library.differences(before["content"], row["content"]) if before is not None else []
    return RevisionView(
        **row["content"],
        **{name: row[name] for name in ("number", "reason", "author", "created_at")},
        differences=[Difference(**one) for one in found],
    )


async def _one(database: AsyncConnection, policy_id: UUID, runtime: Runtime) -> tuple[PolicyView, int]:
    row = await fetch_one(database, SELECT + " WHERE p.id = :id", id=policy_id)
    if row is None:
        raise not_found("policy", policy_id)
    return _view(row, await library.effective(database, runtime.now())), row["version"]


async def _locked(database: AsyncConnection, policy_id: UUID, if_match: str | None) -> Row:
    row = await library.read(database, policy_id, lock=True)
    if row is None:
        raise not_found("policy", policy_id)
    check_match(if_match, row["version"])
    if row["archived_at"] is not None:
        raise conflict("The policy was put away.")
    return row


def _view(row: Row, current: dict[UUID, int]) -> PolicyView:
    return PolicyView(
        **{name: row[name] for name in ("id", "name", "type", "brand", "locked", "created_at", "archived_at")},
        draft=ContentView(**row["draft"]),
        revision_in_force=current.get(row["id"]),
        newest_revision=row["newest"],
    )


def content_of(given: NewPolicy) -> Content:
    """What a policy that is to be made says."""
    return Content(**{name: getattr(given, name) for name in Content.model_fields})


def checked_content(runtime: Runtime, type: str, content: Content) -> Content:
    """The content with its parameters as the type reads them. Raises Problem 422."""
    try:
        return library.checked(runtime.registry, type, content)
    except UnknownType:
        known = ", ".join(sorted(runtime.registry.policies)) or "none"
        raise invalid("type", f"there is no policy type {type}", f"known are {known}") from None
    except ParamsInvalid as error:
        found = error.error.errors(include_url=False, include_input=False)
        raise invalid_fields(field_errors(found, within=("params",), model=error.model)) from None
