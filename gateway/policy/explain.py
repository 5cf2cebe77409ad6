"""Why something was decided: what each policy of the set said, what lost and why, and who was not asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.policy.stored import Past, load, sets_of, why_not_asked
from gateway.registry import Registry


@dataclass(frozen=True)
class PolicyWord:
    """One policy's part in a decision."""

    policy: str
    type: str
    revision: int
    mode: str
    asked: bool
    why_not: str | None
    findings: tuple[Mapping[str, Any], ...]
    effects: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Explained:
    """One decision with every policy of the set that made it."""

    past: Past
    policies: tuple[PolicyWord, ...]


async def explain(connection: AsyncConnection, registry: Registry, where: str, **values: Any) -> list[Explained]:
    """Explain decisions, oldest first; `where` as for `stored.load`."""
    pasts = await load(connection, where, **values)
    sets = await sets_of(connection, registry, {past.row["policy_set_id"] for past in pasts})
    found = []
    for past in pasts:
        words = []
        for one in sets[past.row["policy_set_id"]].policies:
            member = one.member
            findings = [item for item in past.row["findings"] or () if item["policy"] == member.policy]
            effects = [item for item in past.row["effects"] or () if item["policy"] == member.policy]
            why = None
            if not findings and not effects and past.case is not None:
                why = why_not_asked(one, sets[past.row["policy_set_id"]], past.row["point"], past.place)
            words.append(
                PolicyWord(
                    member.policy,
                    member.type,
                    member.revision,
                    member.mode,
                    why is None,
                    why,
                    tuple(findings),
                    tuple(effects),
                )
            )
        found.append(Explained(past, tuple(words)))
    return found
