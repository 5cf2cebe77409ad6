"""What applying files would do: found by checking all of them against what is kept, and changing nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.api.problems import FieldError, Problem, field_errors
from gateway.configuration.documents import Document
from gateway.configuration.kinds import Faults, Ground, Kind, Removal, Stored, Wanted
from gateway.configuration.registry import all_kinds
from gateway.configuration.secrets import shown
from gateway.db.database import as_json
from gateway.policy.library import differences
from gateway.runtime import Runtime

Action = Literal["create", "change"] | Removal


@dataclass(frozen=True)
class Bundle:
    """Documents to be applied, and all that decides what that comes to."""

    documents: Sequence[Document]
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Values by the names of placeholders."""
    prune: bool = False
    """Whether what no document names is removed."""


@dataclass(frozen=True)
class Difference:
    """One field that would change."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Change:
    """One thing that would change."""

    kind: Kind[Any]
    action: Action
    key: str
    file: str
    """Empty where no file names it."""
    differences: tuple[Difference, ...]
    stored: Stored | None
    wanted: Wanted[Any] | None


@dataclass(frozen=True)
class Plan:
    """What applying would do."""

    changes: tuple[Change, ...]
    unchanged: int
    unnamed: tuple[str, ...]
    """What no document names, and stays."""
    kept: tuple[str, ...]
    """Placeholders without a value, whose stored secret stays."""
    notes: tuple[str, ...]
    digest: str
    """Names the documents and what they were checked against: another digest, another plan."""

    @property
    def needs_reason(self) -> bool:
        """Whether something changes that needs a reason."""
        return any(change.kind.reasoned for change in self.changes)


class ConfigurationInvalid(Problem):
    """Documents that cannot be applied, with everything that is wrong with them."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        told = [": ".join(filter(None, (one.file, one.field, one.message))) for one in errors[:5]]
        more = f"; and {len(errors) - 5} more" if len(errors) > 5 else ""
        super().__init__(422, "invalid", "; ".join(told) + more, errors=errors)


@dataclass(frozen=True)
class Examined:
    """What documents come to, as far as they can be read."""

    plan: Plan
    files: Mapping[tuple[str, str], str]
    """The files by kind and key."""
    errors: tuple[FieldError, ...]


async def make_plan(
    connection: AsyncConnection, runtime: Runtime, bundle: Bundle, errors: Sequence[FieldError] = ()
) -> Plan:
    """Check all documents against what is kept. Raises ConfigurationInvalid with all that is wrong; `errors` are what
    was wrong with the files before."""
    examined = await examine(connection, runtime, bundle, errors)
    if examined.errors:
        raise ConfigurationInvalid(examined.errors)
    return examined.plan


async def examine(
    connection: AsyncConnection, runtime: Runtime, bundle: Bundle, errors: Sequence[FieldError] = ()
) -> Examined:
    """The same, with whatever is wrong beside it."""
    ground = Ground(runtime, connection, bundle.secrets, bundle.prune)
    kinds = {kind.folder: kind for kind in all_kinds()}
    for kind in kinds.values():
        ground.stored[kind.folder] = {one.key: one for one in await kind.stored(connection, runtime)}
    faults = Faults(list(errors))
    ground.broken = {one.file.split("/", 1)[0] for one in errors if one.file}
    read = _read(bundle.documents, kinds, ground, faults)
    changes: list[Change] = []
    unchanged = 0
    for kind, document, key, given in read:
        stored = ground.stored[kind.folder].get(key)
        try:
            wanted = await kind.want(given, document.file, stored, ground, faults)
        except Problem as problem:
            faults.absorb(document.file, problem)
            continue
        if wanted is None:
            continue
        ground.notes += [
            f"{document.file}: {path} is left out: there is no value for {one}" for path, one in wanted.left_out
        ]
        if stored is None:
            changes.append(Change(kind, "create", key, document.file, _told({}, wanted.content), None, wanted))
        elif stored.away or stored.content != wanted.content:
            before = {} if stored.away else stored.content
            told = _told(before, wanted.content)
            action: Action = "create" if stored.away else "change"
            changes.append(Change(kind, action, key, document.file, told, stored, wanted))
        else:
            unchanged += 1
    unnamed, removed = await _unnamed(kinds, ground, faults, bundle.prune)
    plan = Plan(
        changes=(*changes, *removed),
        unchanged=unchanged,
        unnamed=tuple(unnamed),
        kept=tuple(sorted(ground.kept)),
        notes=tuple(ground.notes),
        digest=_digest(ground, bundle),
    )
    files = {(kind.folder, key): document.file for kind, document, key, _ in read}
    return Examined(plan, files, tuple(_with_line(one, bundle.documents) for one in faults.errors))


def _read(
    documents: Sequence[Document], kinds: Mapping[str, Kind[Any]], ground: Ground, faults: Faults
) -> list[tuple[Kind[Any], Document, str, Any]]:
    """The documents as models, in the order of their kinds; `ground` then knows all that is given."""
    found: list[tuple[Kind[Any], Document, str, Any]] = []
    files: dict[tuple[str, str], str] = {}
    names: set[str] = set()
    for document in documents:
        kind = kinds.get(document.kind)
        if kind is None:
            faults.add(document.file, "kind", f"there is no kind {document.kind}", f"there are {', '.join(kinds)}")
            continue
        if document.file in names:
            faults.add(document.file, "", "is there twice", "give each document a file of its own")
            continue
        names.add(document.file)
        try:
            given = kind.Model.model_validate(document.content)
            key = kind.key_of(given, ground)
        except ValidationError as error:
            ground.broken.add(kind.folder)
            for one in field_errors(error.errors(include_input=False, include_url=False), model=kind.Model):
                faults.errors.append(one.model_copy(update={"file": document.file}))
            continue
        except Problem as problem:
            ground.broken.add(kind.folder)
            faults.absorb(document.file, problem)
            continue
        if (kind.folder, key) in files:
            other = files[kind.folder, key]
            faults.add(document.file, "name", f"{other} describes {key} too", "leave one of them out")
            continue
        files[kind.folder, key] = document.file
        ground.given.setdefault(kind.folder, {})[key] = given
        found.append((kind, document, key, given))
    # sources name helpdesks: those come first, as they do among what is kept
    order = {folder: number for number, folder in enumerate(kinds)}
    return sorted(found, key=lambda one: (order[one[0].folder], one[0].rank(one[2]), one[2]))


async def _unnamed(
    kinds: Mapping[str, Kind[Any]], ground: Ground, faults: Faults, prune: bool
) -> tuple[list[str], list[Change]]:
    """What no document names: what of it stays, and what pruning changes, last things first."""
    stays: list[str] = []
    removed: list[Change] = []
    for kind in reversed(list(kinds.values())):
        given = ground.given.get(kind.folder, {})
        for key, stored in ground.stored[kind.folder].items():
            if key in given or stored.away:
                continue
            if prune and kind.removal is not None and kind.removable(stored):
                await kind.check_removal(stored, ground, faults)
                removed.append(Change(kind, kind.removal, key, "", (), stored, None))
            else:
                stays.append(f"{kind.noun} {key}")
    return stays, removed


def _told(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Difference, ...]:
    found = [
        Difference(one["field"], shown(one["from"]), _after(one["from"], one["to"]))
        for one in differences(before, after)
    ]
    # of a new thing only what it has is told
    return tuple(one for one in found if before or one.after not in (None, [], {}))


def _after(before: Any, after: Any) -> Any:
    """What it would be. A secret that is another one would look the same as before: it is said that it is."""
    told = shown(after)
    return "(another secret)" if told == shown(before) else told


def _with_line(error: FieldError, documents: Sequence[Document]) -> FieldError:
    for document in documents:
        if document.file == error.file:
            return error.model_copy(update={"file": document.at(error.field)})
    return error


def _digest(ground: Ground, bundle: Bundle) -> str:
    """A digest that leaves this process: of secrets it knows only where there are any."""
    kept = {
        kind: {key: [one.version, one.away, shown(one.content)] for key, one in sorted(found.items())}
        for kind, found in ground.stored.items()
    }
    documents = [[one.kind, one.file, one.content] for one in sorted(bundle.documents, key=lambda one: one.file)]
    whole = json.loads(as_json([kept, documents, sorted(bundle.secrets), bundle.prune]))
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()
