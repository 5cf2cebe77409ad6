"""Policies as people keep them: drafts, immutable revisions with a reason, and what is in force when.

Everything here works in the caller's transaction and records who did it and why. Nothing that was in force is ever
changed: putting something into force, taking it out and going back are new rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import Database, Row, as_json, execute, fetch_all, fetch_one, insert_rows
from gateway.db.tables.columns import new_id
from gateway.events.announce import Announcement, announce_many
from gateway.policy.content import Content
from gateway.registry import Registry

SHIPPED = "shipped default"
HOST = "gateway"
COLUMNS = """
p.id, p.name, p.type, p.brand_id, b.name AS brand, p.locked, p.draft, p.version, p.created_at, p.archived_at
"""
FROM = "FROM policy p LEFT JOIN brand b ON b.id = p.brand_id"


class NotPossible(Exception):
    """What was asked for contradicts what is stored; the message says what to do."""


class UnknownType(Exception):
    """There is no policy type of that name."""


class ParamsInvalid(Exception):
    """The parameters do not fit the type; `error` is Pydantic's, `model` the type's `Params`."""

    def __init__(self, error: ValidationError, model: type[BaseModel]) -> None:
        super().__init__(str(error))
        self.error = error
        self.model = model


@dataclass(frozen=True)
class Activation:
    """What to put into force: a revision of a policy, or nothing of it."""

    policy_id: UUID
    revision: int | None


def checked(registry: Registry, type: str, content: Content) -> Content:
    """The content with its parameters as the type reads them, defaults written out: a later version of the code may
    have others. Raises UnknownType and ParamsInvalid."""
    plugin = registry.policies.get(type)
    if plugin is None:
        raise UnknownType(type)
    try:
        params = plugin.Params.model_validate(content.params)
    except ValidationError as error:
        raise ParamsInvalid(error, plugin.Params) from error
    return content.model_copy(update={"params": params.model_dump(mode="json", by_alias=True)})


async def create(
    connection: AsyncConnection,
    *,
    name: str,
    type: str,
    content: Content,
    now: datetime,
    brand_id: UUID | None = None,
    locked: bool = False,
) -> UUID:
    """Make a policy with a draft; nothing is in force yet. Raises NotPossible where the name is taken."""
    if locked and brand_id is not None:
        raise NotPossible("only a policy for all brands can be locked")
    rows = await insert_rows(
        connection,
        "policy",
        [
            {
                "id": new_id(),
                "name": name,
                "type": type,
                "brand_id": brand_id,
                "locked": locked,
                "draft": content.model_dump(mode="json"),
                "version": 1,
                "created_at": now,
            }
        ],
        tail="ON CONFLICT (name) DO NOTHING RETURNING id",
    )
    if not rows:
        raise NotPossible(f"there is a policy {name} already")
    id: UUID = rows[0]["id"]
    return id


async def read(connection: AsyncConnection, policy_id: UUID, *, lock: bool = False) -> Row | None:
    """One policy with its draft; None when there is none."""
    tail = " FOR UPDATE OF p" if lock else ""
    return await fetch_one(connection, f"SELECT {COLUMNS} {FROM} WHERE p.id = :id{tail}", id=policy_id)


async def change(
    connection: AsyncConnection,
    policy_id: UUID,
    *,
    draft: Content | None = None,
    locked: bool | None = None,
    archived: datetime | None = None,
) -> None:
    """Change a policy's draft, its lock, or put it away. What is in force stays as it is."""
    await execute(
        connection,
        """UPDATE policy SET draft = COALESCE(CAST(:draft AS jsonb), draft), locked = COALESCE(:locked, locked),
               archived_at = COALESCE(:archived, archived_at), version = version + 1 WHERE id = :id""",
        id=policy_id,
        draft=as_json(draft.model_dump(mode="json")) if draft is not None else None,
        locked=locked,
        archived=archived,
    )


async def bring_back(connection: AsyncConnection, policy_id: UUID) -> None:
    """Undo putting a policy away. Nothing of it is in force yet."""
    await execute(
        connection, "UPDATE policy SET archived_at = NULL, version = version + 1 WHERE id = :id", id=policy_id
    )


async def revise(connection: AsyncConnection, policy_id: UUID, *, reason: str, author: str, now: datetime) -> int:
    """Make the draft the next revision, for a reason. An equal draft makes no new one. Returns the revision's number.

    The policy's row must be locked, or two would take one number; the unique key refuses that.
    """
    newest = await fetch_one(
        connection,
        """SELECT r.number, r.content = p.draft AS same, p.draft FROM policy p
           LEFT JOIN policy_revision r ON r.policy_id = p.id
           WHERE p.id = :id ORDER BY r.number DESC NULLS LAST LIMIT 1""",
        id=policy_id,
    )
    assert newest is not None
    if newest["same"]:
        number: int = newest["number"]
        return number
    number = (newest["number"] or 0) + 1
    row = {
        "id": new_id(),
        "policy_id": policy_id,
        "number": number,
        "content": newest["draft"],
        "reason": reason,
        "author": author,
        "created_at": now,
    }
    await insert_rows(connection, "policy_revision", [row])
    return number


async def revisions(connection: AsyncConnection, policy_id: UUID) -> list[Row]:
    """All revisions of a policy, oldest first."""
    return await fetch_all(
        connection,
        """SELECT number, content, reason, author, created_at FROM policy_revision WHERE policy_id = :id
           ORDER BY number""",
        id=policy_id,
    )


async def activate(
    connection: AsyncConnection,
    items: Sequence[Activation],
    *,
    reason: str,
    author: str,
    now: datetime,
    effective_from: datetime | None = None,
    effective_until: datetime | None = None,
) -> list[int]:
    """Put revisions into force together, for a span or from then on. Returns the ids of the activations.

    Raises NotPossible for a time that is over, for a revision that there is not, and for a policy that was put away.
    """
    begin = effective_from if effective_from is not None else now
    if begin < now:
        raise NotPossible("a policy comes into force now or later: what was decided by then stays decided")
    if effective_until is not None and effective_until <= begin:
        raise NotPossible("it would be over before it begins")
    known = {
        row["id"]: row
        for row in await fetch_all(
            connection,
            """SELECT p.id, p.name, p.archived_at, ARRAY(SELECT number FROM policy_revision r WHERE r.policy_id = p.id)
               AS numbers FROM policy p WHERE p.id = ANY(:ids) ORDER BY p.id FOR UPDATE OF p""",
            ids=[item.policy_id for item in items],
        )
    }
    for item in items:
        row = known.get(item.policy_id)
        if row is None:
            raise NotPossible(f"there is no policy {item.policy_id}")
        if item.revision is not None and item.revision not in row["numbers"]:
            raise NotPossible(f"the policy {row['name']} has no revision {item.revision}")
        if item.revision is not None and row["archived_at"] is not None:
            raise NotPossible(f"the policy {row['name']} was put away")
    rows = await insert_rows(
        connection,
        "policy_activation",
        [
            {
                "policy_id": item.policy_id,
                "revision": item.revision,
                "effective_from": begin,
                "effective_until": effective_until,
                "reason": reason,
                "author": author,
                "created_at": now,
            }
            for item in items
        ],
        tail="RETURNING id",
    )
    news = {"effective_from": begin, "effective_until": effective_until, "reason": reason, "by": author}
    told = [Announcement("policy.activated", item.policy_id, {"revision": item.revision, **news}) for item in items]
    await announce_many(connection, told, now)
    return [row["id"] for row in rows]


async def withdraw(connection: AsyncConnection, activation_id: int, *, author: str, now: datetime) -> None:
    """Take back an activation that has not come into force. Raises NotPossible for any other."""
    touched = await execute(
        connection,
        """UPDATE policy_activation SET withdrawn_at = :now, reason = reason || ' (withdrawn by ' || :author || ')'
           WHERE id = :id AND withdrawn_at IS NULL AND effective_from > :now""",
        id=activation_id,
        author=author,
        now=now,
    )
    if not touched:
        raise NotPossible("only what is still to come can be withdrawn; else put another revision into force")


EFFECTIVE = """
SELECT DISTINCT ON (policy_id) policy_id, revision FROM policy_activation
WHERE effective_from <= :at AND (effective_until IS NULL OR effective_until > :at) AND withdrawn_at IS NULL
ORDER BY policy_id, effective_from DESC, id DESC
"""


async def effective(connection: AsyncConnection, at: datetime) -> dict[UUID, int]:
    """Which revision of each policy is in force at a time."""
    rows = await fetch_all(connection, EFFECTIVE, at=at)
    return {row["policy_id"]: row["revision"] for row in rows if row["revision"] is not None}


async def roll_back(
    connection: AsyncConnection, to: datetime, *, reason: str, author: str, now: datetime
) -> list[Activation]:
    """Put into force again what was in force at a time: of all policies that differ. Returns what was changed.

    Policies that were put away since stay away.
    """
    then, current = await effective(connection, to), await effective(connection, now)
    away = {row["id"] for row in await fetch_all(connection, "SELECT id FROM policy WHERE archived_at IS NOT NULL")}
    items = [
        Activation(id, then.get(id))
        for id in sorted({*then, *current})
        if then.get(id) != current.get(id) and not (id in away and then.get(id) is not None)
    ]
    if items:
        await activate(connection, items, reason=reason, author=author, now=now)
    return items


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What changed between two revisions, field by field: `{"field": "params.limit", "from": 3, "to": 5}`."""
    return list(_differences(one, other, ""))


def _differences(one: Any, other: Any, path: str) -> Iterable[dict[str, Any]]:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for name in sorted({*one, *other}):
            yield from _differences(one.get(name), other.get(name), f"{path}.{name}" if path else str(name))
    elif one != other:
        yield {"field": path, "from": one, "to": other}


async def ensure_defaults(database: Database, registry: Registry, now: datetime) -> list[str]:
    """Called at every start: types that were never kept here get a policy with their defaults, in force ever since.

    A type whose parameters have no defaults, or of which there may be many, gets none. Returns the names made.
    """
    made: list[str] = []
    async with database.write() as connection:
        stored = {row["type"] for row in await fetch_all(connection, "SELECT DISTINCT type FROM policy")}
        for type, plugin in sorted(registry.policies.items()):
            if type in stored or plugin.many:
                continue
            try:
                params = plugin.Params().model_dump(mode="json", by_alias=True)
                content = Content.model_validate({"mode": plugin.default_mode, "params": params})
            except ValidationError:
                continue
            name = type.replace("_", "-")
            try:
                id = await create(connection, name=name, type=type, content=content, now=now)
            except NotPossible:
                continue  # another process was faster, or somebody took the name
            await revise(connection, id, reason=SHIPPED, author=HOST, now=now)
            row = {
                "policy_id": id,
                "revision": 1,
                "effective_from": "epoch",
                "reason": SHIPPED,
                "author": HOST,
                "created_at": now,
            }
            await insert_rows(connection, "policy_activation", [row])
            made.append(name)
    return made
