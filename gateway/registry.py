"""Finds plugins by entry point, checks that they keep the contract, and isolates a broken one."""

from __future__ import annotations

import inspect
import traceback
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

import pluggy
from pydantic import BaseModel

from gateway_schemas import hookspecs
from gateway_schemas.capabilities import HelpdeskCapabilities, SourceCapabilities
from gateway_schemas.enricher import Enricher
from gateway_schemas.helpdesk import Helpdesk
from gateway_schemas.plugin import CONTRACT
from gateway_schemas.policy import Policy
from gateway_schemas.reading import Reader
from gateway_schemas.source import Source

Connected = Source[Any] | Helpdesk[Any] | Enricher[Any]
"""What a connection is an instance of."""
Role = Literal["source", "helpdesk", "policy", "enricher", "reader"]


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
    readers: dict[str, type[Reader]] = field(default_factory=dict)
    listed: list[Listed] = field(default_factory=list)

    def plugin(self, role: str, name: str) -> type[Connected] | None:
        """The class of that name that connections of this role are made with."""
        return self.connectable()[role].get(name)

    def streams(self, role: str, name: str) -> tuple[str, ...]:
        """What connections of this plugin poll."""
        plugin = self.plugin(role, name)
        if plugin is None or issubclass(plugin, Enricher) or not plugin.capabilities.poll:
            return ()
        return plugin.capabilities.streams

    def connectable(self) -> Mapping[str, Mapping[str, type[Connected]]]:
        """The classes that connections are made with, by role and name."""
        return {"source": self.sources, "helpdesk": self.helpdesks, "enricher": self.enrichers}

    def policy_types(self) -> tuple[tuple[str, type[Policy[Any]]], ...]:
        """The installed types of policies, by name."""
        return tuple(sorted(self.policies.items()))

    @classmethod
    def load(cls, found: Iterable[EntryPoint] | None = None, *, modules: Sequence[str] = ()) -> Registry:
        """Import every plugin named in the entry point group, once. Never raises: what is broken is listed.

        `modules` are loaded besides, for plugins under development that are not installed (GATEWAY_PLUGIN_MODULES).
        """
        registry = cls()
        entries = list(found if found is not None else entry_points(group=hookspecs.ENTRY_POINTS))
        entries += [EntryPoint(module, module, hookspecs.ENTRY_POINTS) for module in modules]
        classes: list[_Registered] = []
        for entry in sorted(entries, key=str):
            distribution = entry.dist.name if entry.dist else entry.value
            version = entry.dist.version if entry.dist else ""
            try:
                registered = _registered(entry)
            except (Exception, SystemExit) as error:  # in whatever way it fails: the list says so, the others start
                reason = "".join(traceback.format_exception_only(error)).strip()
                registry.listed.append(Listed("plugin", entry.name, distribution, version, False, reason))
                continue
            if not registered:
                reason = f"registers nothing: implement {', '.join(_HOOKS.values())}"
                registry.listed.append(Listed("plugin", entry.name, distribution, version, False, reason))
            classes += [_Registered(role, plugin, distribution, version) for role, plugin in registered]
        registry._shelve(classes)
        return registry

    def _shelve(self, classes: Sequence[_Registered]) -> None:
        shelves: dict[Role, dict[str, Any]] = {
            "source": self.sources,
            "helpdesk": self.helpdesks,
            "policy": self.policies,
            "enricher": self.enrichers,
            "reader": self.readers,
        }
        unique = list({(one.role, id(one.plugin)): one for one in classes}.values())  # one module, named twice
        errors = {id(one): _contract_error(one.role, one.plugin) for one in unique}
        claims: dict[tuple[Role, str], list[str]] = defaultdict(list)
        for one in unique:
            if not errors[id(one)]:
                claims[one.role, one.name].append(f"{one.plugin.__module__}.{one.plugin.__qualname__}")
        for one in unique:
            error, rivals = errors[id(one)], claims[one.role, one.name]
            if not error and len(rivals) > 1:
                error = f"the name {one.name!r} is taken by {' and '.join(rivals)}; all are refused until one is left"
            if not error:
                shelves[one.role][one.name] = one.plugin
            self.listed.append(Listed(one.role, one.name, one.distribution, one.version, not error, error))


@dataclass(frozen=True)
class _Registered:
    """What a hook gave: supposedly a plugin class."""

    role: Role
    plugin: Any
    distribution: str
    version: str

    @property
    def name(self) -> str:
        attribute = "type" if self.role == "policy" else "name"
        return str(getattr(self.plugin, attribute, "") or getattr(self.plugin, "__name__", self.plugin))


_HOOKS: dict[Role, str] = {
    "source": "register_sources",
    "helpdesk": "register_helpdesks",
    "policy": "register_policies",
    "enricher": "register_enrichers",
    "reader": "register_readers",
}


def _registered(entry: EntryPoint) -> list[tuple[Role, Any]]:
    """Import a plugin and ask it for its classes. A manager of its own: no plugin can break another's hooks."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(entry.load(), name=entry.name)
    manager.check_pending()
    return [
        (role, plugin)
        for role, hook in _HOOKS.items()
        for classes in getattr(manager.hook, hook)()
        for plugin in (classes or ())
    ]


_BASES: dict[str, type] = {
    **{"source": Source, "helpdesk": Helpdesk, "policy": Policy, "enricher": Enricher, "reader": Reader},
}
_NEEDED: dict[str, tuple[str, ...]] = {
    "policy": ("type", "Params"),
    "enricher": ("name", "Config"),
    "reader": ("name", "version", "languages"),
}
_CAPABILITIES: dict[str, type] = {"source": SourceCapabilities, "helpdesk": HelpdeskCapabilities}


def _contract_error(role: Role, plugin: Any) -> str:
    if not inspect.isclass(plugin) or not issubclass(plugin, _BASES[role]):
        return f"{plugin!r} is not a subclass of {_BASES[role].__name__}"
    if inspect.isabstract(plugin):
        return f"{plugin.__name__} lacks {', '.join(sorted(getattr(plugin, '__abstractmethods__', ())))}"
    if getattr(plugin, "contract", None) != CONTRACT:
        return f"written for contract {getattr(plugin, 'contract', None)}, this gateway speaks {CONTRACT}"
    needed = _NEEDED.get(role, ("name", "Config", "capabilities"))
    for attribute in needed:
        if not hasattr(plugin, attribute):
            return f"{plugin.__name__} does not set {attribute}"
    if not (isinstance(getattr(plugin, needed[0]), str) and getattr(plugin, needed[0])):
        return f"{plugin.__name__}.{needed[0]} is not a word"
    for attribute in {"policy": ("Params",), "reader": ()}.get(role, ("Config", "AppConfig")):
        model = getattr(plugin, attribute)
        if not (inspect.isclass(model) and issubclass(model, BaseModel)):
            return f"{plugin.__name__}.{attribute} is not a Pydantic model"
    expected = _CAPABILITIES.get(role)
    if expected is not None and not isinstance(getattr(plugin, "capabilities", None), expected):
        return f"{plugin.__name__}.capabilities is not {expected.__name__}"
    return ""
