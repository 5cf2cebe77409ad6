"""Ready policy sets for kinds of companies: data in `ready/`, which becomes drafts and revisions like anybody's.

A profile names types with the parameters that differ from their defaults, and why. Nothing of it is in force until
somebody activates it, and what it does not name stays as it is.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import fetch_one
from gateway.policy import library
from gateway.policy.content import Content, Mode
from gateway.registry import Registry


class Ready(BaseModel):
    """One policy of a profile."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str
    why: str
    mode: Mode = "on"
    params: dict[str, Any] = {}

    def name_for(self, brand: str | None) -> str:
        """As it is called where there is none of the type yet."""
        return "-".join(filter(None, (self.type.replace("_", "-"), brand)))


class Profile(BaseModel):
    """A set of policies that belong together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    description: str
    policies: tuple[Ready, ...]


@dataclass(frozen=True)
class Made:
    """What became of one policy of a profile."""

    id: UUID
    name: str
    type: str
    why: str
    revision: int
    differences: Sequence[Mapping[str, Any]]
    """From the revision in force; all there is, where none is."""


@cache
def profiles() -> dict[str, Profile]:
    """All that ship, by name."""
    folder = files("gateway.policy") / "ready"
    found = {
        each.name.removesuffix(".toml"): Profile.model_validate(tomllib.loads(each.read_text("utf-8")))
        for each in folder.iterdir()
        if each.name.endswith(".toml")
    }
    return dict(sorted(found.items()))


def missing(profile: Profile, registry: Registry) -> list[str]:
    """Types that the profile names and nobody has installed."""
    return [one.type for one in profile.policies if one.type not in registry.policies]


async def revise_to(
    connection: AsyncConnection,
    registry: Registry,
    profile: Profile,
    *,
    brand: tuple[UUID, str] | None,
    reason: str,
    author: str,
    now: datetime,
) -> list[Made]:
    """Make drafts and revisions that say what the profile says; nothing comes into force.

    A policy's scope, order and what happens when it cannot be asked stay as they are. For a brand, its own policies
    are made beside the company's. Types that are not installed are passed over (`missing`). Raises NotPossible where a
    name is taken by a policy of another type, and ParamsInvalid should an installed type not know a parameter.
    """
    brand_id, brand_name = brand or (None, None)
    current = await library.effective(connection, now)
    made = []
    for one in profile.policies:
        if one.type not in registry.policies:
            continue
        row = await fetch_one(
            connection,
            f"""SELECT {library.COLUMNS} {library.FROM} WHERE p.type = :type AND p.archived_at IS NULL
                AND p.brand_id IS NOT DISTINCT FROM CAST(:brand AS uuid)
                ORDER BY p.created_at LIMIT 1 FOR UPDATE OF p""",
            type=one.type,
            brand=brand_id,
        )
        draft = Content.model_validate({**(row["draft"] if row else {}), "mode": one.mode, "params": one.params})
        draft = library.checked(registry, one.type, draft)
        if row is None:
            name = one.name_for(brand_name)
            id = await library.create(connection, name=name, type=one.type, content=draft, now=now, brand_id=brand_id)
        else:
            id, name = row["id"], row["name"]
            await library.change(connection, id, draft=draft)
        number = await library.revise(connection, id, reason=reason, author=author, now=now)
        contents = {row["number"]: row["content"] for row in await library.revisions(connection, id)}
        before = contents.get(current.get(id), {})
        made.append(Made(id, name, one.type, one.why, number, list(library.differences(before, contents[number]))))
    return made
