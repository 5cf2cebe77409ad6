"""Configurations of plugins as documents: those of Apps and those of connections."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ValidationError

from gateway.api.configs import opened, secret_fields, validated
from gateway.api.problems import Problem
from gateway.configuration.kinds import Faults, Ground, Stored
from gateway.configuration.secrets import Filled, Placeholder, fill, literals, masked, masked_rows, texts
from gateway.db.database import Row
from gateway.runtime import Runtime

EMPTY: tuple[Any, ...] = (None, [], {})


def stored_plain(runtime: Runtime, row: Row, context: str) -> dict[str, Any]:
    """A stored configuration with its secrets, as far as they can be opened."""
    return {**row["config"], **(opened(runtime.vault, row["secrets"], context) or {})}


def stored_document(
    runtime: Runtime,
    row: Row,
    context: str,
    model: type[BaseModel] | None,
    brought: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """A stored configuration as a document with all defaults; as it is stored, where the plugin does not take it.

    `brought` are stand-ins for what OAuth brings, which are in no document.
    """
    secrets = opened(runtime.vault, row["secrets"], context)
    if model is not None and secrets is not None:
        stored = {**row["config"], **secrets}
        try:
            return _without_stand_ins(masked(model.model_validate({**brought, **stored})), brought, stored)
        except ValidationError:
            pass
    return masked_rows(row["config"], secrets, secret_fields(model) if model is not None else frozenset())


def _without_stand_ins(
    document: dict[str, Any], brought: Mapping[str, Any], known: Mapping[str, Any]
) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in brought or name in known}


@dataclass(frozen=True)
class Checked:
    """A configuration that a plugin takes."""

    plain: dict[str, Any] = field(repr=False)
    """With its secrets."""
    document: dict[str, Any]
    """To be compared with what is stored."""
    left_out: tuple[tuple[str, Placeholder], ...]
    named: tuple[str, ...]
    """The fields that the file names."""


def checked(
    config: Mapping[str, Any],
    model: type[BaseModel],
    file: str,
    stored: Mapping[str, Any] | None,
    installed: Collection[str],
    ground: Ground,
    faults: Faults,
    brought: Mapping[str, Any] = MappingProxyType({}),
) -> Checked | None:
    """A file's configuration with values in the place of its placeholders. `stored` is the one that is kept, with its
    secrets; what install has filled in of it stays, unless the file names it.

    For what OAuth brings, `brought` has stand-ins. An optional secret that has no value anywhere is left out, a needed
    one is a fault; so is one that stands in the file itself.
    """
    filled = fill(config, ground.secrets, stored)
    for name in installed:
        if stored is not None and name in stored and name not in config:
            filled.content[name] = stored[name]
            filled.values |= set(texts(stored[name]))
    ground.kept |= {one.name for one in filled.kept}
    needed = {name for name, info in model.model_fields.items() if info.is_required()}
    lacking = [(path, one) for path, one in filled.missing if path.split(".")[0] in needed]
    for path, one in lacking:
        faults.add(file, f"config.{path}", f"there is no value for {one}, and none is stored", _mend(one))
    document = {name: value for name, value in filled.content.items() if not _is_partial(name, filled)}
    told = [path.split(".")[0] for path, _ in lacking]
    try:
        found = validated(model, {**brought, **document})
    except Problem as problem:
        rest = [one for one in problem.errors if one.field.split(".")[1:2] not in [[name] for name in told]]
        if rest:
            faults.absorb(file, Problem(422, "invalid", str(problem.detail), errors=rest))
            for path, one in filled.missing:
                if path.split(".")[0] not in needed:
                    faults.add(file, f"config.{path}", f"there is no value for {one}", _mend(one))
        return None
    for path, value in literals(found):
        if value and value not in filled.values and path not in brought and not _is_default(model, path):
            message, fix = "a secret does not belong in a file", "write {from_env: NAME} or {from_file: PATH}"
            faults.add(file, f"config.{path}", message, fix)
    left_out = tuple((f"config.{path}", one) for path, one in filled.missing)
    return Checked(document, _without_stand_ins(masked(found), brought, document), left_out, tuple(config))


def _is_partial(name: str, filled: Filled) -> bool:
    """Whether a field lacks a secret deep inside: the rest of it says nothing alone."""
    return any(path.split(".")[0] == name and path.count(".") > 1 for path, _ in filled.missing)


def _is_default(model: type[BaseModel], path: str) -> bool:
    """Whether a secret can come from the model alone."""
    info = model.model_fields.get(path.split(".")[0])
    if info is None or info.is_required():
        return False
    return any(True for _ in literals(info.get_default(call_default_factory=True, validated_data={})))


def _mend(one: Placeholder) -> str:
    if one.where == "from_file":
        return f"put it into {one.name}"
    return f"set {one.name} in the environment; over REST, give it in `secrets`"


def written_config(
    config: Mapping[str, Any], model: type[BaseModel] | None, installed: Collection[str]
) -> dict[str, Any]:
    """A configuration as a file has it: without what is empty by default, and without what install fills in."""
    if model is None:
        return {name: value for name, value in config.items() if value is not None and name not in installed}
    found = {}
    for name, value in config.items():
        info = model.model_fields.get(name)
        left_out = info is not None and not info.is_required()
        if left_out and (name in installed or (value in EMPTY and _plain_default(info) == value)):
            continue
        found[name] = value
    return found


def _plain_default(info: Any) -> Any:
    default = info.get_default(call_default_factory=True, validated_data={})
    return list(default) if isinstance(default, tuple | set | frozenset) else default


def unchangeable(stored: Stored | None, file: str, given: Mapping[str, Any], faults: Faults) -> None:
    """What nobody can change of a thing that there is."""
    for name, value in given.items():
        if stored is not None and stored.content[name] != value:
            message = f"cannot be changed: {stored.key} has {stored.content[name] or 'none'}"
            faults.add(file, name, message, "give the new one a name of its own")
