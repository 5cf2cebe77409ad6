"""Plugins: what is installed, and what each wants to know."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel
from pydantic.errors import PydanticUserError

from gateway.api.configs import has_app
from gateway.api.deps import ReadsConnections, RuntimeDep
from gateway.api.models import Answer, Page
from gateway.api.problems import not_found
from gateway.api.routes import ApiRoute
from gateway.registry import Listed, Registry

router = APIRouter(prefix="/plugins", tags=["connections"], route_class=ApiRoute)


class PluginView(Answer):
    """One installed plugin."""

    role: str
    """`source`, `helpdesk`, `policy`, `enricher` or `reader`; `plugin` where it broke before it said."""
    name: str
    title: str
    distribution: str
    version: str
    ok: bool
    error: str | None
    """What is wrong with a broken one; the others work regardless."""
    capabilities: dict[str, Any] | None
    """What its provider can do, as the plugin declares it."""
    config_schema: dict[str, Any] | None
    """JSON Schema of a connection's `config` (of a policy's parameters)."""
    app_config_schema: dict[str, Any] | None
    """JSON Schema of an App's `config`; null where the provider registers no Apps."""


@router.get("")
async def list_plugins(runtime: RuntimeDep, _: ReadsConnections) -> Page[PluginView]:
    """All plugins of this installation, broken ones with their error. Always one page."""
    return Page(items=[_view(runtime.registry, one) for one in _listed(runtime.registry)], next=None)


@router.get("/{role}/{name}")
async def read_plugin(runtime: RuntimeDep, _: ReadsConnections, role: str, name: str) -> PluginView:
    """One plugin."""
    for one in _listed(runtime.registry):
        if (one.role, one.name) == (role, name):
            return _view(runtime.registry, one)
    raise not_found(f"{role} plugin", name)


def _listed(registry: Registry) -> list[Listed]:
    named = {(one.role, one.name) for one in registry.listed}
    shelves: dict[str, dict[str, Any]] = {"source": registry.sources, "helpdesk": registry.helpdesks}
    unlisted = [
        Listed(role, name, "", "", True)
        for role, shelf in shelves.items()
        for name in shelf
        if (role, name) not in named
    ]
    return sorted([*registry.listed, *unlisted], key=lambda one: (one.role, one.name))


def _view(registry: Registry, one: Listed) -> PluginView:
    shelves: dict[str, Any] = {
        "source": registry.sources,
        "helpdesk": registry.helpdesks,
        "policy": registry.policies,
        "enricher": registry.enrichers,
        "reader": registry.readers,
    }
    plugin = shelves.get(one.role, {}).get(one.name) if one.ok else None
    config: type[BaseModel] | None = getattr(plugin, "Params" if one.role == "policy" else "Config", None)
    capabilities = getattr(plugin, "capabilities", None)
    apps = one.role in ("source", "helpdesk") and plugin is not None and has_app(plugin)
    config_schema, problem = _schema(config)
    app_schema, app_problem = _schema(plugin.AppConfig if apps and plugin is not None else None)
    return PluginView(
        role=one.role,
        name=one.name,
        title=getattr(plugin, "title", "") or one.name,
        distribution=one.distribution,
        version=one.version,
        ok=one.ok,
        error=one.error or problem or app_problem,
        capabilities=capabilities.model_dump(mode="json") if capabilities is not None else None,
        config_schema=config_schema,
        app_config_schema=app_schema,
    )


def _schema(model: type[BaseModel] | None) -> tuple[dict[str, Any] | None, str | None]:
    if model is None:
        return None, None
    try:
        return model.model_json_schema(), None
    except PydanticUserError as error:  # a type of the plugin's own that says nothing of JSON
        return None, f"{model.__name__} has no JSON Schema: {error.message}"
