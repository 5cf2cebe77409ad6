"""Secrets never stand in files: a placeholder names where the value comes from when the files are applied.

    api_token: {from_env: HELPDESK_ZENDESK_API_TOKEN}
    private_key: {from_file: /run/secrets/app_store_key}

The values travel apart from the documents, by the name that the placeholder gives. One without a value leaves a stored
secret as it is.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretBytes, SecretStr, TypeAdapter

from gateway.configuration.documents import Place

WHERE = ("from_env", "from_file")
_MISSING = object()


@dataclass(frozen=True)
class Secret:
    """A secret in a document that is compared or shown: equal ones are equal, and it never leaves the process."""

    digest: bytes = field(repr=False)

    @classmethod
    def of(cls, value: str | bytes) -> Secret:
        """A secret of this value."""
        data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
        return cls(hashlib.sha256(data).digest())


UNREADABLE = Secret(b"")
"""One that this installation's key does not open."""


@dataclass(frozen=True)
class Placeholder:
    """Where a value comes from."""

    where: str
    """`from_env` or `from_file`."""
    name: str

    def __str__(self) -> str:
        return self.name if self.where == "from_env" else f"the file {self.name}"


def placeholder_of(value: Any) -> Placeholder | None:
    """The placeholder that a value of a document is, if it is one."""
    if isinstance(value, Mapping) and len(value) == 1:
        where, name = next(iter(value.items()))
        if where in WHERE and isinstance(name, str) and name:
            return Placeholder(where, name)
    return None


def placeholders(value: Any) -> Iterator[Placeholder]:
    """All placeholders of a document."""
    if (found := placeholder_of(value)) is not None:
        yield found
    elif isinstance(value, Mapping):
        for member in value.values():
            yield from placeholders(member)
    elif isinstance(value, list):
        for member in value:
            yield from placeholders(member)


def look_up(value: Any, folder: Path) -> dict[str, str]:
    """The values that this machine has for a document's placeholders: from the environment, and from files, whose last
    line break is no part of them. What is not there is left out. Raises OSError for a file that cannot be read."""
    found: dict[str, str] = {}
    for one in placeholders(value):
        if one.where == "from_env":
            if os.environ.get(one.name):
                found[one.name] = os.environ[one.name]
        elif (path := folder / one.name).exists():
            found[one.name] = path.read_text("utf-8").removesuffix("\n").removesuffix("\r")
    return found


@dataclass
class Filled:
    """A document with values in the place of its placeholders."""

    content: dict[str, Any] = field(repr=False)
    values: set[str] = field(default_factory=set, repr=False)
    """Values that came from placeholders."""
    kept: list[Placeholder] = field(default_factory=list)
    """Those without a value, whose stored secret stays."""
    missing: list[tuple[str, Placeholder]] = field(default_factory=list)
    """Those that have no value anywhere, by the path of the field; the field is left out."""


def fill(content: Mapping[str, Any], given: Mapping[str, str], stored: Mapping[str, Any] | None) -> Filled:
    """Put values into a document. `given` are values by the names of placeholders, `stored` the document with its
    secrets as it is kept, from which those without a value are taken."""
    filled = Filled({})
    for name, value in content.items():
        found = _fill(value, (name,), given, stored if stored is not None else {}, filled)
        if found is not _MISSING:
            filled.content[name] = found
    return filled


def _fill(value: Any, place: Place, given: Mapping[str, str], stored: Any, filled: Filled) -> Any:
    if (one := placeholder_of(value)) is not None:
        if one.name in given:
            filled.values.add(given[one.name])
            return given[one.name]
        kept = _at(stored, place)
        if isinstance(kept, str):
            filled.values.add(kept)
            filled.kept.append(one)
            return kept
        filled.missing.append((".".join(map(str, place)), one))
        return _MISSING
    if isinstance(value, Mapping):
        found = {name: _fill(member, (*place, name), given, stored, filled) for name, member in value.items()}
        return {name: member for name, member in found.items() if member is not _MISSING}
    if isinstance(value, list):
        items = [_fill(member, (*place, number), given, stored, filled) for number, member in enumerate(value)]
        return [member for member in items if member is not _MISSING]
    return value


def _at(document: Any, place: Place) -> Any:
    for part in place:
        if isinstance(document, list):
            document = document[part] if isinstance(part, int) and part < len(document) else None
        else:
            document = document.get(part) if isinstance(document, Mapping) else None
    return document


def masked(model: BaseModel) -> dict[str, Any]:
    """A configuration as a document whose secrets are `Secret`s."""
    plain = model.model_dump(mode="json")
    return {
        name: _mask(getattr(model, name)) if _holds_secret(getattr(model, name)) else plain[name]
        for name in type(model).model_fields
    }


def _holds_secret(value: Any) -> bool:
    return any(True for _ in literals(value))


def literals(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """The secrets of a configuration, by the paths of their fields."""
    if isinstance(value, SecretStr):
        yield path, value.get_secret_value()
    elif isinstance(value, SecretBytes):
        yield path, value.get_secret_value().decode("utf-8")
    elif isinstance(value, BaseModel | Mapping):
        for name, member in value if isinstance(value, BaseModel) else value.items():
            yield from literals(member, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list | tuple | set | frozenset):
        for number, member in enumerate(value):
            yield from literals(member, f"{path}.{number}")


def texts(value: Any) -> Iterator[str]:
    """All texts of a document."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for member in value.values():
            yield from texts(member)
    elif isinstance(value, list):
        for member in value:
            yield from texts(member)


def _mask(value: Any) -> Any:
    if isinstance(value, SecretStr | SecretBytes):
        return Secret.of(value.get_secret_value())
    if isinstance(value, BaseModel):
        return {name: _mask(member) for name, member in value}
    if isinstance(value, Mapping):
        return {str(name): _mask(member) for name, member in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_mask(member) for member in value]
    return TypeAdapter(Any).dump_python(value, mode="json")


def masked_rows(config: Mapping[str, Any], secrets: Mapping[str, Any] | None, names: frozenset[str]) -> dict[str, Any]:
    """A stored configuration that no plugin reads (any more) as a document: all that is sealed is secret. Where
    nothing opens it, only the names of the fields are known."""
    if secrets is None:
        return {**config, **dict.fromkeys(sorted(names - set(config)), UNREADABLE)}
    return {**config, **{name: _mask_all(value) for name, value in secrets.items()}}


def _mask_all(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _mask_all(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_mask_all(member) for member in value]
    return Secret.of(value) if isinstance(value, str) else value


class Namer:
    """Names for the placeholders of exported secrets: the same for the same configuration, and each only once."""

    def __init__(self, used: Iterable[str] = ()) -> None:
        self._used = set(used)

    def replaced(self, value: Any, prefix: str) -> Any:
        """A document with placeholders in the place of its secrets; `prefix` says whose they are."""
        if isinstance(value, Secret):
            return {"from_env": self._name(prefix)}
        if isinstance(value, Mapping):
            return {name: self.replaced(member, f"{prefix}_{name}") for name, member in value.items()}
        if isinstance(value, list):
            kind = type(value)
            return kind(self.replaced(member, f"{prefix}_{number}") for number, member in enumerate(value, 1))
        return value

    def _name(self, wish: str) -> str:
        name = re.sub(r"[^A-Z0-9]+", "_", wish.upper()).strip("_")
        while name in self._used:
            name += "_X"
        self._used.add(name)
        return name


def shown(value: Any) -> Any:
    """A document as a plan shows it."""
    if isinstance(value, Secret):
        return "(secret)"
    if isinstance(value, Mapping):
        return {name: shown(member) for name, member in value.items()}
    return [shown(member) for member in value] if isinstance(value, list) else value
