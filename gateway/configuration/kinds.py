"""Kinds of things that files describe.

Each kind is a module with one class, listed in `registry.py`: that is all there is to do for another one.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.api.problems import FieldError, Problem
from gateway.configuration.secrets import Placeholder
from gateway.db.database import Row, fetch_all
from gateway.runtime import Runtime
from gateway.security.keys import Caller
from gateway.security.scopes import Scope

M = TypeVar("M", bound=BaseModel)
Removal = Literal["archive", "delete", "pause"]
LONGEST_NAME = 80
COMMAND_LINE = "command line"


@dataclass(frozen=True)
class Stored:
    """One thing as it is kept."""

    key: str
    """Its name; unique within the kind."""
    content: Mapping[str, Any]
    """As a file would say it with all defaults written out; secrets are `Secret`s."""
    row: Row
    version: str
    """Another one after every change."""
    model: type[BaseModel] | None = None
    """What reads its configuration, where it has one and a plugin is there for it."""
    away: bool = False
    """Whether it was put away: it is not exported, and comes back when a file names it."""

    @property
    def id(self) -> Any:
        """Its id, where the kind has any."""
        return self.row.get("id")


@dataclass(frozen=True)
class Wanted(Generic[M]):
    """One thing as a file says it, checked."""

    key: str
    file: str
    given: M = field(repr=False)
    """What the file says, with values in the place of placeholders."""
    content: Mapping[str, Any]
    """Comparable with `Stored.content`."""
    left_out: tuple[tuple[str, Placeholder], ...] = ()
    """Secrets without a value, by the paths of their fields."""
    named: tuple[str, ...] = ()
    """The fields of its configuration that the file names."""


@dataclass
class Faults:
    """What is wrong with the documents."""

    errors: list[FieldError] = field(default_factory=list)

    def add(self, file: str, path: str, message: str, fix: str | None = None) -> None:
        """One field is wrong."""
        self.errors.append(FieldError(field=path, message=message, fix=fix, file=file))

    def absorb(self, file: str, problem: Problem) -> None:
        """What a function that REST uses too says is wrong."""
        for one in problem.errors or [FieldError(field="", message=str(problem.detail))]:
            self.errors.append(one.model_copy(update={"file": file}))


@dataclass
class Ground:
    """What documents are checked against: what is kept, and what the other documents say."""

    runtime: Runtime
    connection: AsyncConnection
    secrets: Mapping[str, str]
    """Values by the names of placeholders."""
    prune: bool
    stored: dict[str, dict[str, Stored]] = field(default_factory=dict)
    """By kind and key."""
    given: dict[str, dict[str, BaseModel]] = field(default_factory=dict)
    """What the documents say, by kind and key."""
    broken: set[str] = field(default_factory=set)
    """Kinds with documents that cannot be read: whether those name something is not known."""
    kept: set[str] = field(default_factory=set)
    """Names of placeholders without a value whose stored secret stays."""
    notes: list[str] = field(default_factory=list)
    """What to know before applying."""

    def knows(self, kind: str, key: str) -> bool:
        """Whether there will be such a thing."""
        return key in self.given.get(kind, ()) or key in self.stored.get(kind, ()) or kind in self.broken

    def known(self, kind: str) -> str:
        """The keys of a kind, for a mend."""
        found = sorted({*self.given.get(kind, ()), *self.stored.get(kind, ())})
        return f"there are {', '.join(found[:20])}" if found else f"add a file in {kind}/"


@dataclass
class Work:
    """An application under way, in one transaction."""

    runtime: Runtime
    connection: AsyncConnection
    now: datetime
    caller: Caller | None
    """None: somebody on the command line."""
    reason: str
    prepared: dict[str, Any] = field(default_factory=dict)
    """What was fetched before the transaction, by the files of the documents."""
    wakes: set[str] = field(default_factory=set)
    forgets: list[Any] = field(default_factory=list)
    next: list[str] = field(default_factory=list)
    """What is left for a person to do."""

    @property
    def author(self) -> str:
        """Whose change it is, as decisions and revisions name people."""
        return self.caller.name if self.caller is not None else COMMAND_LINE


class Kind(ABC, Generic[M]):
    """What all things of a kind have in common. The methods that write work in the caller's transaction, and with the
    functions that REST uses."""

    folder: ClassVar[str]
    """Also its name: `brands`."""
    noun: ClassVar[str]
    Model: ClassVar[type[BaseModel]]
    scopes: ClassVar[tuple[Scope, ...]]
    """All that are needed to apply it."""
    table: ClassVar[str]
    removal: ClassVar[Removal | None] = None
    """What becomes of one that no file names, when pruning. None: it stays."""
    reasoned: ClassVar[bool] = False
    """Whether its changes need a reason."""

    def key_of(self, given: M, ground: Ground) -> str:
        """What the thing is called among those of its kind. Raises Problem."""
        return str(given.name)  # type: ignore[attr-defined]

    def rank(self, key: str) -> int:
        """Among those of its kind: the lower come first."""
        return 0

    @abstractmethod
    async def stored(self, connection: AsyncConnection, runtime: Runtime) -> list[Stored]:
        """All there are, by key."""

    @abstractmethod
    async def want(
        self, given: M, file: str, stored: Stored | None, ground: Ground, faults: Faults
    ) -> Wanted[M] | None:
        """Check what a file says; what is wrong goes to `faults`."""

    def written(self, stored: Stored) -> dict[str, Any]:
        """What a file says of a thing: its content in the order in which people read it, without what is understood
        anyway."""
        return dict(stored.content)

    def file_of(self, stored: Stored) -> str:
        """The wish for its file's name, without folder and ending."""
        return stored.key

    async def lock(self, connection: AsyncConnection, stored: Sequence[Stored]) -> None:
        """Nobody else changes these until the end of the transaction."""
        ids = sorted({one.id for one in stored})
        if ids:
            statement = f"SELECT id FROM {self.table} WHERE id = ANY(:ids) ORDER BY id FOR UPDATE"
            await fetch_all(connection, statement, ids=ids)

    async def prepare(self, runtime: Runtime, stored: Stored | None, wanted: Wanted[M]) -> Any:
        """Called before the transaction of an application: fetch what the change needs. Raises Problem."""
        return None

    @abstractmethod
    async def create(self, work: Work, wanted: Wanted[M]) -> None:
        """Make it. Raises Problem."""

    @abstractmethod
    async def change(self, work: Work, stored: Stored, wanted: Wanted[M]) -> None:
        """Change it. Raises Problem."""

    def removable(self, stored: Stored) -> bool:
        """Whether pruning does anything to it."""
        return self.removal is not None

    async def check_removal(self, stored: Stored, ground: Ground, faults: Faults) -> None:
        """Say why pruning cannot do anything to it, if so."""

    async def remove(self, work: Work, stored: Stored) -> None:
        """Prune it, where there is a `removal`. Raises Problem."""

    async def finish(self, work: Work) -> None:
        """Called after all changes of the kind."""


def without(content: Mapping[str, Any], understood: Mapping[str, Any]) -> dict[str, Any]:
    """A document without the fields that have the value they have anyway when they are left out."""
    return {name: value for name, value in content.items() if name not in understood or understood[name] != value}


def defaults_of(model: type[BaseModel]) -> dict[str, Any]:
    """What fields have when they are left out, as a document."""
    found = {}
    for name, info in model.model_fields.items():
        if not info.is_required():
            value = info.get_default(call_default_factory=True)
            found[name] = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    return found


def file_names(wishes: Iterable[str]) -> dict[str, str]:
    """File names for names of things: readable, and each its own also where capitals are not told apart."""
    wishes = sorted(set(wishes))
    slugs = {wish: _slug(wish) for wish in wishes}
    taken = Counter(slugs.values())
    return {
        wish: slug if taken[slug] == 1 and slug else f"{slug or 'x'}-{hashlib.sha256(wish.encode()).hexdigest()[:8]}"
        for wish, slug in slugs.items()
    }


def _slug(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii").lower()
    slug = re.sub(r"[^a-z0-9._]+", "-", plain).strip("-.")
    return slug if len(slug) <= LONGEST_NAME else ""
