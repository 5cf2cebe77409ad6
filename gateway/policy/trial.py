"""Trying a draft on one case, and the cases that are kept with a policy: what it must say, forever."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import execute, fetch_all, insert_rows
from gateway.db.tables.columns import new_id
from gateway.engine.sandbox import Sandbox
from gateway.policy.content import Content
from gateway.policy.engine import Question, Verdict, evaluate, evaluate_all
from gateway.policy.sets import Active, Member
from gateway.policy.stored import SUBJECT_MODELS
from gateway.registry import Registry
from gateway_schemas.decision import Case, Point


@dataclass(frozen=True)
class Expected:
    """What a case must come to. What is left out may be anything."""

    verdict: str | None = None
    codes: tuple[str, ...] = ()
    """Codes of findings that must be there."""
    not_codes: tuple[str, ...] = ()
    """Codes that must not."""
    effects: tuple[str, ...] = ()
    """Kinds of effects that must be there: `start_clock`, `ignore`, …"""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Expected:
        """As it is stored."""
        lists = {name: tuple(document.get(name) or ()) for name in ("codes", "not_codes", "effects")}
        return cls(document.get("verdict"), **lists)

    def misses(self, verdict: Verdict) -> list[str]:
        """What is otherwise, in words."""
        codes = {one["code"] for one in verdict.findings}
        effects = {wish.effect.effect for wish in verdict.wishes}
        found = []
        if self.verdict is not None and verdict.severity.value != self.verdict:
            found.append(f"the verdict is {verdict.severity.value} and not {self.verdict}")
        found += [f"there is no finding {code}" for code in self.codes if code not in codes]
        found += [f"there is a finding {code}" for code in self.not_codes if code in codes]
        found += [f"there is no effect {kind}" for kind in self.effects if kind not in effects]
        return found


@dataclass(frozen=True)
class Failing:
    """A kept case that a policy does not meet."""

    policy: str
    name: str
    misses: tuple[str, ...]


def active_of(registry: Registry, policy: str, type: str, revision: int, content: Content, brand: str | None) -> Active:
    """A draft as if it were in force, without its scope: whoever tries it wants to know what it says."""
    plugin = registry.policies.get(type)
    member = Member(
        policy=policy,
        type=type,
        type_version=plugin.version if plugin is not None else "",
        revision=revision,
        brand=brand,
        params=content.params,
        mode="on",
        on_error=content.on_error.value,
        on_uncovered=content.on_uncovered.value,
        on_timeout=content.on_timeout.model_dump(mode="json"),
        order=content.order,
        scope=content.scope.model_dump(mode="json"),
    )
    return Active.of(member, registry)


async def try_out(sandbox: Sandbox, active: Active, point: Point, case: Case, subject: Any) -> Verdict:
    """What one policy says of one case."""
    return await evaluate(sandbox, [active], point, case, subject)


async def keep(
    connection: AsyncConnection,
    policy_id: UUID,
    *,
    name: str,
    point: Point,
    case: Case,
    subject: Any,
    expect: Mapping[str, Any],
    author: str,
    now: datetime,
) -> UUID:
    """Keep a case with a policy; one of the same name is replaced."""
    rows = await insert_rows(
        connection,
        "policy_case",
        [
            {
                "id": new_id(),
                "policy_id": policy_id,
                "name": name,
                "point": point,
                "case": case.model_dump(mode="json", exclude_defaults=True),
                "subject": subject.model_dump(mode="json", exclude_defaults=True),
                "expect": dict(expect),
                "author": author,
                "created_at": now,
            }
        ],
        tail="""ON CONFLICT (policy_id, name) DO UPDATE SET point = EXCLUDED.point, "case" = EXCLUDED."case",
            subject = EXCLUDED.subject, expect = EXCLUDED.expect, author = EXCLUDED.author,
            created_at = EXCLUDED.created_at RETURNING id""",
    )
    id: UUID = rows[0]["id"]
    return id


async def cases_of(connection: AsyncConnection, policy_id: UUID) -> list[Any]:
    """The cases that are kept with a policy, by name."""
    return await fetch_all(
        connection,
        """SELECT id, name, point, "case", subject, expect, author, created_at FROM policy_case
           WHERE policy_id = :id ORDER BY name""",
        id=policy_id,
    )


async def drop(connection: AsyncConnection, policy_id: UUID, name: str) -> bool:
    """Forget a case. Returns whether there was one."""
    return bool(
        await execute(
            connection, "DELETE FROM policy_case WHERE policy_id = :id AND name = :name", id=policy_id, name=name
        )
    )


async def failing(sandbox: Sandbox, active: Active, cases: Sequence[Mapping[str, Any]]) -> list[Failing]:
    """Which of the kept cases the policy does not meet, and in what."""
    questions = [
        Question(
            row["point"],
            Case.model_validate(row["case"]),
            SUBJECT_MODELS[row["point"]].model_validate(row["subject"]),
            (active,) if row["point"] in active.points else (),
        )
        for row in cases
    ]
    verdicts = await evaluate_all(sandbox, questions)
    found = []
    for row, verdict in zip(cases, verdicts, strict=True):
        misses = Expected.of(row["expect"]).misses(verdict)
        if misses:
            found.append(Failing(active.member.policy, row["name"], tuple(misses)))
    return found
