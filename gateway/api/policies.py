"""Policies: drafts, immutable revisions, and what of them is in force when."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.api.deps import ActivatesPolicies, DraftsPolicies, ReadsPolicies, RuntimeDep
from gateway.api.etags import IfMatch, check_match, etag
from gateway.api.lookup import as_id, brand_of
from gateway.api.models import Answer, Input, Instant, Name, Page, Reason, Reference, Since
from gateway.api.paging import Filters, PagingDep, list_page
from gateway.api.problems import conflict, field_errors, invalid, invalid_fields, not_found, responses
from gateway.api.routes import ApiRoute
from gateway.db.database import Row, fetch_all, fetch_one
from gateway.policy import library, trial
from gateway.policy.content import Content, Mode, OnTimeout, Scope
from gateway.policy.library import Activation, NotPossible, ParamsInvalid, UnknownType
from gateway.policy.sets import PolicySets
from gateway.runtime import Runtime
from gateway_schemas.decision import Severity

types = APIRouter(prefix="/policy-types", tags=["policies"], route_class=ApiRoute)
router = APIRouter(prefix="/policies", tags=["policies"], route_class=ApiRoute)


class PolicyType(Answer):
    """An installed type of policy."""

    type: str
    title: str
    description: str
    version: str
    tone: bool
    """Whether it judges manners: such policies only warn while too large a share of replies is being held."""
    many: bool
    """Whether several of the type stand beside each other."""
    default_mode: str
    points: list[str]
    """Where it acts: `on_interaction`, `review_reply`, `on_own_post`, `on_ticket`, `on_clock`."""
    params_schema: dict[str, Any]
    """JSON Schema of its parameters."""


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


class Item(Input):
    """One policy to put into force."""

    policy: Reference
    """By id or name."""
    revision: int | None = None
    """Left out: the newest."""


class Activate(Input):
    """Policies to put into force together."""

    policies: list[Item] = Field(min_length=1, max_length=200)
    reason: Reason
    effective_from: Instant | None = None
    """Left out: now."""
    effective_until: Instant | None = None
    """Then what was in force before is in force again. Left out: for good."""


class Deactivate(Input):
    """Policies to take out of force together."""

    policies: list[Reference] = Field(min_length=1, max_length=200)
    reason: Reason
    effective_from: Instant | None = None
    effective_until: Instant | None = None


class RollBack(Input):
    """Go back to what was in force at a time."""

    to: Instant
    reason: Reason


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


class ActivationView(Answer):
    """One revision in force for a span of time, or a policy out of force."""

    id: int
    policy: str
    revision: int | None
    """Null: from then on the policy is not in force."""
    effective_from: datetime
    effective_until: datetime | None
    reason: str
    author: str
    created_at: datetime
    withdrawn_at: datetime | None


class MemberView(Answer):
    """One policy of a set."""

    policy: str
    type: str
    type_version: str
    revision: int
    brand: str | None
    locked: bool
    mode: Mode
    params: dict[str, Any]
    scope: dict[str, Any]
    order: int


class SetView(Answer):
    """The policies in force together, in their explicit order."""

    id: UUID
    policies: list[MemberView]
    tightened: dict[str, dict[str, str]]
    """Least severities of findings by policy, for each open incident."""
    softened: bool
    """Whether policies of manners only warn, because they were holding too much."""


@types.get("")
async def list_policy_types(runtime: RuntimeDep, _: ReadsPolicies) -> Page[PolicyType]:
    """The installed types of policies, with the JSON Schema of their parameters. Always one page."""
    return Page(items=[_type(runtime, name) for name in sorted(runtime.registry.policies)], next=None)


@types.get("/{type}")
async def read_policy_type(runtime: RuntimeDep, _: ReadsPolicies, type: str) -> PolicyType:
    """One type."""
    if type not in runtime.registry.policies:
        raise not_found("policy type", type)
    return _type(runtime, type)


def _type(runtime: Runtime, name: str) -> PolicyType:
    plugin = runtime.registry.policies[name]
    own = {attribute for base in plugin.__mro__ if base.__name__ != "Policy" for attribute in vars(base)}
    return PolicyType(
        type=name,
        title=plugin.title or name,
        description=plugin.description,
        version=plugin.version,
        tone=plugin.tone,
        many=plugin.many,
        default_mode=plugin.default_mode,
        points=[point for point in POINTS if point in own],
        params_schema=plugin.Params.model_json_schema(),
    )


POINTS = ("on_interaction", "review_reply", "on_own_post", "on_ticket", "on_clock")


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


@router.get("/in-force")
async def read_policies_in_force(runtime: RuntimeDep, _: ReadsPolicies, at: Since | None = None) -> SetView:
    """The set of policies in force now, or at another time; a time to come shows what is scheduled."""
    found = await PolicySets(runtime.database, runtime.registry).at(at or runtime.now())
    return SetView(
        id=found.id,
        policies=[
            MemberView(**{name: getattr(one, name) for name in MemberView.model_fields}) for one in found.members
        ],
        tightened={key: dict(by) for key, by in found.tightened.items()},
        softened=found.softened,
    )


@router.get("/activations")
async def list_activations(
    runtime: RuntimeDep, _: ReadsPolicies, paging: PagingDep, policy: Reference | None = None
) -> Page[ActivationView]:
    """What was put into force and taken out of it, by whom and why, newest first; also what is still to come."""
    filters = Filters()
    async with runtime.database.read() as database:
        if policy is not None:
            filters.add("a.policy_id = :policy", policy=await _policy_of(database, policy, "policy"))
        rows, following = await list_page(database, ACTIVATIONS, filters, paging, id="a.id", kind=int)
    return Page(items=[ActivationView(**row) for row in rows], next=following)


ACTIVATIONS = """
SELECT a.id, p.name AS policy, a.revision, a.effective_from, a.effective_until, a.reason, a.author, a.created_at,
       a.withdrawn_at
FROM policy_activation a JOIN policy p ON p.id = a.policy_id
"""


@router.post("/activations/{activation_id}/withdraw")
async def withdraw_activation(runtime: RuntimeDep, caller: ActivatesPolicies, activation_id: int) -> ActivationView:
    """Take back what has not come into force yet."""
    async with runtime.database.write() as database:
        if await fetch_one(database, ACTIVATIONS + " WHERE a.id = :id", id=activation_id) is None:
            raise not_found("activation", activation_id)
        try:
            await library.withdraw(database, activation_id, author=caller.name, now=runtime.now())
        except NotPossible as error:
            raise conflict(str(error)) from error
        row = await fetch_one(database, ACTIVATIONS + " WHERE a.id = :id", id=activation_id)
    assert row is not None
    return ActivationView(**row)


@router.post("/activate")
async def activate_policies(runtime: RuntimeDep, caller: ActivatesPolicies, given: Activate) -> list[ActivationView]:
    """Put revisions of several policies into force together, now or for a span of time to come.

    Answers that wait to go out are decided on again, should the set be another one by then.
    """
    async with runtime.database.write() as database:
        items = []
        for number, item in enumerate(given.policies):
            id = await _policy_of(database, item.policy, f"policies.{number}.policy")
            revision = item.revision
            if revision is None:
                row = await fetch_one(
                    database, "SELECT max(number) AS newest FROM policy_revision WHERE policy_id = :id", id=id
                )
                revision = row["newest"] if row is not None else None
            if revision is None:
                fix = f"POST /v1/policies/{id}/revisions makes one of its draft"
                raise invalid(f"policies.{number}.policy", "it has no revision", fix)
            items.append(Activation(id, revision))
        await refuse_failing(database, runtime, items)
        return await _activated(database, runtime, items, given, caller.name)


async def refuse_failing(database: AsyncConnection, runtime: Runtime, items: list[Activation]) -> None:
    """A revision that fails a case kept with its policy does not come into force. Raises Problem 409."""
    for number, item in enumerate(items):
        cases = await trial.cases_of(database, item.policy_id)
        policy = await library.read(database, item.policy_id)
        if not cases or policy is None or item.revision is None:
            continue
        content = {row["number"]: row["content"] for row in await library.revisions(database, item.policy_id)}
        active = trial.active_of(
            runtime.registry,
            policy["name"],
            policy["type"],
            item.revision,
            Content.model_validate(content.get(item.revision, policy["draft"])),
            policy["brand"],
        )
        failing = await trial.failing(runtime.sandbox, active, cases)
        if failing:
            told = "; ".join(f"{one.name}: {', '.join(one.misses)}" for one in failing[:5])
            message = f"{policy['name']} fails {len(failing)} of the {len(cases)} cases kept with it ({told})"
            fix = "mend the draft and make a revision of it, or change the cases"
            raise conflict(message, field=f"policies.{number}.policy", fix=fix)


@router.post("/deactivate")
async def deactivate_policies(
    runtime: RuntimeDep, caller: ActivatesPolicies, given: Deactivate
) -> list[ActivationView]:
    """Take policies out of force together, now, later, or for a span of time."""
    async with runtime.database.write() as database:
        ids = [await _policy_of(database, one, f"policies.{number}") for number, one in enumerate(given.policies)]
        return await _activated(database, runtime, [Activation(id, None) for id in ids], given, caller.name)


@router.post("/rollback")
async def roll_back_policies(runtime: RuntimeDep, caller: ActivatesPolicies, given: RollBack) -> list[ActivationView]:
    """Put into force again what was in force at a time: of all policies that differ. Answers what was changed."""
    now = runtime.now()
    if given.to > now:
        raise invalid("to", "lies in the future", "name a time that has been")
    async with runtime.database.write() as database:
        items = await library.roll_back(database, given.to, reason=given.reason, author=caller.name, now=now)
        rows = await fetch_all(
            database,
            ACTIVATIONS
            + " WHERE a.created_at = :now AND a.policy_id = ANY(:ids) AND a.effective_from = :now ORDER BY a.id",
            now=now,
            ids=[item.policy_id for item in items],
        )
    return [ActivationView(**row) for row in rows]


async def _activated(
    database: AsyncConnection, runtime: Runtime, items: list[Activation], given: Activate | Deactivate, author: str
) -> list[ActivationView]:
    try:
        ids = await library.activate(
            database,
            items,
            reason=given.reason,
            author=author,
            now=runtime.now(),
            effective_from=given.effective_from,
            effective_until=given.effective_until,
        )
    except NotPossible as error:
        raise conflict(str(error)) from error
    runtime.policies.forget(runtime.now())
    rows = await fetch_all(database, ACTIVATIONS + " WHERE a.id = ANY(:ids) ORDER BY a.id", ids=ids)
    return [ActivationView(**row) for row in rows]


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


async def _policy_of(database: AsyncConnection, reference: str, field: str) -> UUID:
    row = await fetch_one(
        database, "SELECT id FROM policy WHERE id = :id OR name = :name", id=as_id(reference), name=reference
    )
    if row is None:
        raise invalid(field, f"there is no policy {reference}", "GET /v1/policies lists them")
    id: UUID = row["id"]
    return id
