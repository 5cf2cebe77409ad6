"""Ready policy sets for kinds of companies: read, and made into revisions that an admin puts into force."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field

from gateway.api.deps import DraftsPolicies, ReadsPolicies, RuntimeDep
from gateway.api.lookup import brand_of
from gateway.api.models import Answer, Input, Page, Reason, Reference
from gateway.api.policies import Difference
from gateway.api.problems import conflict, not_found
from gateway.api.routes import ApiRoute
from gateway.db.database import fetch_one
from gateway.policy import profiles
from gateway.policy.content import Mode
from gateway.policy.library import NotPossible
from gateway.policy.profiles import Profile
from gateway.runtime import Runtime

router = APIRouter(prefix="/policy-profiles", tags=["policies"], route_class=ApiRoute)


class ReadyView(Answer):
    """One policy of a profile."""

    type: str
    mode: Mode
    params: dict[str, Any]
    """What differs from the type's defaults."""
    why: str


class ProfileView(Answer):
    """A set of policies for a kind of company. What it does not name stays as it is."""

    name: str
    title: str
    description: str
    policies: list[ReadyView]
    missing: list[str]
    """Types of it that are not installed here."""


class UseProfile(Input):
    """Make revisions that say what the profile says."""

    reason: Reason
    """Why; everybody who meets the policies reads it."""
    brand: Reference | None = None
    """For this brand beside the company's policies; left out: the company's own."""


class MadeView(Answer):
    """One revision that was made."""

    policy: UUID
    name: str
    type: str
    why: str
    revision: int
    differences: list[Difference]
    """From the revision in force; empty: there is nothing to change."""


class UsedView(Answer):
    """What was made. Nothing of it is in force: give `policies` to `POST /v1/policies/activate`, or try it first with
    `/v1/policies/{id}/backtest`."""

    policies: list[MadeView]
    missing: list[str] = Field(description="Types of the profile that are not installed here.")


@router.get("")
async def list_policy_profiles(runtime: RuntimeDep, _: ReadsPolicies) -> Page[ProfileView]:
    """Ready sets for kinds of companies. Always one page."""
    return Page(items=[_view(runtime, name, one) for name, one in profiles.profiles().items()], next=None)


@router.get("/{name}")
async def read_policy_profile(runtime: RuntimeDep, _: ReadsPolicies, name: str) -> ProfileView:
    """One profile."""
    return _view(runtime, name, _known(name))


@router.post("/{name}/revisions", status_code=201)
async def use_policy_profile(runtime: RuntimeDep, caller: DraftsPolicies, name: str, given: UseProfile) -> UsedView:
    """Make a revision of each policy of the profile, with what would change. Nothing comes into force."""
    profile = _known(name)
    async with runtime.database.write() as database:
        brand = None
        if (brand_id := await brand_of(database, given.brand)) is not None:
            row = await fetch_one(database, "SELECT name FROM brand WHERE id = :id", id=brand_id)
            assert row is not None
            brand = (brand_id, row["name"])
        try:
            made = await profiles.revise_to(
                database,
                runtime.registry,
                profile,
                brand=brand,
                reason=given.reason,
                author=caller.name,
                now=runtime.now(),
            )
        except NotPossible as error:
            raise conflict(str(error)) from error
    views = [
        MadeView(
            policy=one.id,
            **{field: getattr(one, field) for field in ("name", "type", "why", "revision")},
            differences=[Difference(**each) for each in one.differences],
        )
        for one in made
    ]
    return UsedView(policies=views, missing=profiles.missing(profile, runtime.registry))


def _known(name: str) -> Profile:
    found = profiles.profiles().get(name)
    if found is None:
        raise not_found("policy profile", name)
    return found


def _view(runtime: Runtime, name: str, profile: Profile) -> ProfileView:
    return ProfileView(
        name=name,
        title=profile.title,
        description=profile.description.strip().replace("\n", " "),
        policies=[ReadyView(**one.model_dump()) for one in profile.policies],
        missing=profiles.missing(profile, runtime.registry),
    )
