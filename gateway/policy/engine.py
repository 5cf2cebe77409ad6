"""Asks policies about things and makes one decision of each: `evaluate` for one, `evaluate_all` for a batch.

Whoever has a stored case and members of a set, of today or of long ago, gets the same verdict from them: nothing else
is looked at. A batch is one round trip to the sandbox.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from gateway.engine.judge import READING, Said
from gateway.engine.sandbox import Ask, Sandbox, Spec
from gateway.policy.combine import Combined, Stance, combine
from gateway.policy.sets import Active
from gateway_schemas.decision import Case, Point
from gateway_schemas.reading import Reading

__all__ = ["Question", "Stance", "Verdict", "evaluate", "evaluate_all"]


@dataclass(frozen=True)
class Question:
    """One thing at one point, and who is asked about it."""

    point: Point
    case: Case
    subject: Any
    members: tuple[Active, ...]
    stance: Stance = field(default_factory=Stance)
    read: bool = False
    """Whether the reading of the subject is wanted as well."""


@dataclass(frozen=True)
class Verdict(Combined):
    """What policies said of one thing."""

    policy_set_id: UUID | None = None
    basis: str | None = None
    """What it rests on besides the thing itself (`PolicySetInForce.basis`)."""
    reading: Reading | None = None
    """Where it was asked for, and the reader did not break."""
    stance: Stance = field(default_factory=Stance)
    """What made the policies stricter or milder for the moment."""

    @property
    def reason(self) -> str:
        """The strictest finding's words."""
        strictest = self.strictest()
        return str(strictest["message"]) if strictest is not None else ""

    def strictest(self) -> dict[str, Any] | None:
        """The first of the findings that make the verdict what it is."""
        for one in self.findings:
            if one["severity"] == self.severity and one["mode"] != "shadow" and "waived" not in one:
                return one
        return None


async def evaluate(
    sandbox: Sandbox,
    members: Sequence[Active],
    point: Point,
    case: Case,
    subject: Any,
    stance: Stance | None = None,
) -> Verdict:
    """Ask these policies, in the explicit order given, about one thing."""
    return (await evaluate_all(sandbox, [Question(point, case, subject, tuple(members), stance or Stance())]))[0]


async def evaluate_all(sandbox: Sandbox, questions: Sequence[Question]) -> list[Verdict]:
    """Ask about many things at once; one verdict each, in their order."""
    specs: dict[tuple[str, int, str], int] = {}
    known: list[Spec] = []
    asks: list[Ask] = []
    for question in questions:
        numbers = []
        for one in question.members:
            name = (one.member.policy, one.member.revision, one.key)
            if name not in specs:
                specs[name] = len(known)
                known.append(spec_of(one))
            numbers.append(specs[name])
        if question.read:
            numbers.append(len(known))
            known.append(READING)
        asks.append(Ask(question.point, question.case, question.subject, tuple(numbers)))
    busy = [place for place, ask in enumerate(asks) if ask.specs]
    answers = await sandbox.judge(known, [asks[place] for place in busy]) if busy else []
    said = dict(zip(busy, answers, strict=True))
    return [_verdict(one, said.get(place, ())) for place, one in enumerate(questions)]


def _verdict(question: Question, said: Sequence[Said]) -> Verdict:
    found = combine(question.point, list(zip(question.members, said, strict=False)), question.stance)
    last = said[-1].values if question.read and said[-1].ok else ()
    return Verdict(**vars(found), reading=last[0] if last and isinstance(last[0], Reading) else None)


def spec_of(one: Active) -> Spec:
    scope = one.member.scope
    return Spec(
        key=one.key,
        type=one.member.type,
        params=one.member.params,
        when=scope.get("when"),
        languages=tuple(scope.get("languages") or ()),
        reads=one.needs.reader,
    )
