"""Finds plugins by entry point, checks that they keep the contract, and isolates a broken one."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

import pluggy
from pydantic import BaseModel

from gateway_schemas import hookspecs
from gateway_schemas.enricher import Enricher
from gateway_schemas.helpdesk import Helpdesk
from gateway_schemas.plugin import CONTRACT
from gateway_schemas.policy import Policy
from gateway_schemas.source import Source

Role = Literal["source", "helpdesk", "policy", "enricher"]


@dataclass(frozen=True)
class Listed:
    """One line of the plugin list: a loaded class, or what is wrong with it."""

    role: str
    name: str
    distribution: str
    version: str
    ok: bool
    error: str = ""


@dataclass
class Registry:
    """The plugin classes of this installation, by role and name."""

    sources: dict[str, type[Source[Any]]] = field(default_factory=dict)
    helpdesks: dict[str, type[Helpdesk[Any]]] = field(default_factory=dict)
    policies: dict[str, type[Policy[Any]]] = field(default_factory=dict)
    enrichers: dict[str, type[Enricher[Any]]] = field(default_factory=dict)
    listed: list[Listed] = field(default_factory=list)

    def plugin(self, role: str, name: str) -> type[Source[Any]] | type[Helpdesk[Any]] | None:
        """The source or helpdesk class of that name."""
        return (self.sources if role == "source" else self.helpdesks).get(name)

    @classmethod
    def load(cls, found: Iterable[EntryPoint] | None = None) -> Registry:
        """Import every plugin named in the entry point group, once. Never raises: what is broken is listed."""
        registry = cls()
        for entry in sorted(found if found is not None else entry_points(group=hookspecs.ENTRY_POINTS), key=str):
            distribution = entry.dist.name if entry.dist else entry.value
            version = entry.dist.version if entry.dist else ""
            manager = pluggy.PluginManager(hookspecs.PROJECT)
            manager.add_hookspecs(hookspecs)
            try:
                module = entry.load()
                manager.register(module, name=entry.name)
                manager.check_pending()
                hooks: list[tuple[Role, Callable[[], list[Any]]]] = [
                    ("source", manager.hook.register_sources),
                    ("helpdesk", manager.hook.register_helpdesks),
                    ("policy", manager.hook.register_policies),
                    ("enricher", manager.hook.register_enrichers),
                ]
                classes = [(role, cls_) for role, hook in hooks for classes in hook() for cls_ in (classes or ())]
            except Exception as error:  # a plugin may fail in any way; the list records it and the others start
                reason = "".join(traceback.format_exception_only(error)).strip()
                registry.listed.append(Listed("plugin", entry.name, distribution, version, False, reason))
                continue
            if not classes:
                reason = "registers nothing: implement register_sources, register_helpdesks or register_policies"
                registry.listed.append(Listed("plugin", entry.name, distribution, version, False, reason))
            for role, plugin in classes:
                registry._add(role, plugin, distribution, version)
        return registry

    def _add(self, role: Role, plugin: Any, distribution: str, version: str) -> None:
        name = str(getattr(plugin, "type" if role == "policy" else "name", getattr(plugin, "__name__", plugin)))
        shelves: dict[str, dict[str, Any]] = {
            "source": self.sources,
            "helpdesk": self.helpdesks,
            "policy": self.policies,
            "enricher": self.enrichers,
        }
        shelf = shelves[role]
        error = _contract_error(role, plugin)
        if not error and name in shelf:
            error = f"the name {name!r} is taken by {shelf.pop(name).__module__}; both are refused until one is removed"
            self.listed = [
                Listed(one.role, one.name, one.distribution, one.version, False, error)
                if (one.role, one.name) == (role, name)
                else one
                for one in self.listed
            ]
        if not error:
            shelf[name] = plugin
        self.listed.append(Listed(role, name, distribution, version, not error, error))


_BASES: dict[str, type] = {"source": Source, "helpdesk": Helpdesk, "policy": Policy, "enricher": Enricher}


def _contract_error(role: Role, plugin: Any) -> str:
    if not inspect.isclass(plugin) or not issubclass(plugin, _BASES[role]):
        return f"{plugin!r} is not a subclass of {_BASES[role].__name__}"
    if inspect.isabstract(plugin):
        return f"{plugin.__name__} lacks {', '.join(sorted(getattr(plugin, '__abstractmethods__', ())))}"
    if getattr(plugin, "contract", None) != CONTRACT:
        return f"written for contract {getattr(plugin, 'contract', None)}, this gateway speaks {CONTRACT}"
    needed = {"policy": ("type", "Params"), "enricher": ("name", "Config")}.get(
        role, ("name", "Config", "capabilities")
    )
    for attribute in needed:
        if not hasattr(plugin, attribute):
            return f"{plugin.__name__} does not set {attribute}"
    model = getattr(plugin, "Params" if role == "policy" else "Config")
    if not (inspect.isclass(model) and issubclass(model, BaseModel)):
        return f"{plugin.__name__}'s configuration is not a Pydantic model"
    return ""
