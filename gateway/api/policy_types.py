"""The installed types of policies."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from gateway.api.deps import ReadsPolicies, RuntimeDep
from gateway.api.models import Answer, Page
from gateway.api.problems import not_found
from gateway.api.routes import ApiRoute
from gateway.runtime import Runtime

router = APIRouter(prefix="/policy-types", tags=["policies"], route_class=ApiRoute)


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


@router.get("")
async def list_policy_types(runtime: RuntimeDep, _: ReadsPolicies) -> Page[PolicyType]:
    """The installed types of policies, with the JSON Schema of their parameters. Always one page."""
    return Page(items=[_type(runtime, name) for name in sorted(runtime.registry.policies)], next=None)


@router.get("/{type}")
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
