"""Which policies are in force: an immutable set of revisions, named by its content."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from gateway.db.database import Database, as_json, fetch_all, fetch_one
from gateway.db.tables.columns import new_id


@dataclass(frozen=True)
class Member:
    """One policy revision of a set."""

    policy: str
    type: str
    type_version: str
    revision: int
    params: dict[str, Any]
    mode: str
    on_error: str
    scope: dict[str, Any]

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Member:
        """A member as stored in its set."""
        return cls(**row)

    def applies(self, *, source: str, brand: str | None, visibility: str, kind: str) -> bool:
        """Whether the structured scope covers this. An absent part of the scope covers everything."""
        if self.mode == "off":
            return False
        asked = {"sources": source, "brands": brand, "visibility": visibility, "kinds": kind}
        return all(not self.scope.get(name) or value in self.scope[name] for name, value in asked.items())


@dataclass(frozen=True)
class PolicySetInForce:
    """The set that decides now."""

    id: UUID
    members: tuple[Member, ...]


def digest(members: Sequence[dict[str, Any]]) -> str:
    """The name of a set: equal content, equal name, in whatever order members and keys come."""
    ordered = sorted(members, key=lambda one: str(one["policy"]))
    return hashlib.sha256(json.dumps(json.loads(as_json(ordered)), sort_keys=True).encode()).hexdigest()


PUT = """
INSERT INTO policy_set (id, digest, members, created_at, in_force_since)
VALUES (:id, :digest, CAST(:members AS jsonb), :now, {since})
ON CONFLICT (digest) DO {conflict} RETURNING id
"""
# the last one put in force is in force, also where the clocks of two machines disagree
PUT_IN_FORCE = PUT.format(
    since="GREATEST(:now, (SELECT max(in_force_since) + interval '1 microsecond' FROM policy_set))",
    conflict="UPDATE SET in_force_since = EXCLUDED.in_force_since",
)
# the empty set of a new installation gives way to any other, whoever is faster
PUT_FIRST = PUT.format(since="'epoch'", conflict="UPDATE SET in_force_since = policy_set.in_force_since")


async def put_in_force(database: Database, members: Sequence[dict[str, Any]], now: datetime) -> UUID:
    """Make this the set in force; an equal set that was in force before is the same row."""
    return await _put(database, PUT_IN_FORCE, members, now)


async def _put(database: Database, sql: str, members: Sequence[dict[str, Any]], now: datetime) -> UUID:
    async with database.write() as connection:
        rows = await fetch_all(
            connection, sql, id=new_id(), digest=digest(members), members=as_json(list(members)), now=now
        )
    id: UUID = rows[0]["id"]
    return id


class PolicySets:
    """Knows the set in force, at most a second late."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: tuple[float, PolicySetInForce] | None = None

    async def in_force(self, now: datetime) -> PolicySetInForce:
        """The set in force; the empty one on a new installation."""
        if self._kept and time.monotonic() - self._kept[0] < 1.0:
            return self._kept[1]
        async with self._database.read() as connection:
            row = await fetch_one(
                connection,
                """SELECT id, members FROM policy_set WHERE in_force_since IS NOT NULL
                   ORDER BY in_force_since DESC, created_at DESC LIMIT 1""",
            )
        if row is None:
            found = PolicySetInForce(await _put(self._database, PUT_FIRST, (), now), ())
        else:
            found = PolicySetInForce(row["id"], tuple(Member.from_row(member) for member in row["members"]))
        self._kept = (time.monotonic(), found)
        return found
