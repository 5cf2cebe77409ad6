"""Policies in force: put into it together, taken out of it, gone back to, and which they are at a time."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.api.deps import ActivatesPolicies, ReadsPolicies, RuntimeDep
from gateway.api.lookup import as_id
from gateway.api.models import Answer, Input, Instant, Page, Reason, Reference, Since
from gateway.api.paging import Filters, PagingDep, list_page
from gateway.api.problems import conflict, invalid, not_found
from gateway.api.routes import ApiRoute
from gateway.db.database import fetch_all, fetch_one
from gateway.policy import library, trial
from gateway.policy.content import Content, Mode
from gateway.policy.library import Activation, NotPossible
from gateway.policy.sets import PolicySets
from gateway.runtime import Runtime

router = APIRouter(prefix="/policies", tags=["policies"], route_class=ApiRoute)


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


async def _policy_of(database: AsyncConnection, reference: str, field: str) -> UUID:
    row = await fetch_one(
        database, "SELECT id FROM policy WHERE id = :id OR name = :name", id=as_id(reference), name=reference
    )
    if row is None:
        raise invalid(field, f"there is no policy {reference}", "GET /v1/policies lists them")
    id: UUID = row["id"]
    return id
