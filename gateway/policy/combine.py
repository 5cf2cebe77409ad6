"""How what several policies say becomes one decision. What loses is recorded with the reason.

Of findings the strictest wins. Of effects: the highest priority, all tags, of routes and of values for one field the
first in the explicit order of the policies; ignoring loses to whatever wants a ticket.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter

from gateway.engine.judge import Said
from gateway.policy.sets import Active, least
from gateway_schemas.decision import (
    AddTags,
    Alarm,
    AskCustomer,
    Effect,
    Finding,
    Ignore,
    JoinIncident,
    MakePromise,
    Note,
    OpenIncident,
    Route,
    SetFields,
    SetPriority,
    Severity,
    StartClock,
    StopClock,
)
from gateway_schemas.reading import Coverage, Reading

UNCOVERED = "language_not_covered"
PRIORITIES = ("low", "normal", "high", "urgent")
WANT_A_TICKET = (SetPriority, AddTags, SetFields, Note, Route, MakePromise, AskCustomer, JoinIncident, OpenIncident)
"""A clock measures a ticket and asks for none; an alarm is told either way."""
NEED_A_TICKET = (*WANT_A_TICKET[:7], StartClock, StopClock)
EFFECT: TypeAdapter[Effect] = TypeAdapter(Effect)
OUTBOUND = ("review_reply", "on_own_post")


@dataclass(frozen=True)
class Waived:
    """A policy kept silent on a ticket, and on whose word."""

    until: datetime
    reason: str
    author: str


@dataclass(frozen=True)
class Stance:
    """What makes findings stricter, milder or silent for the moment."""

    tightened: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    softened: bool = False
    waived: Mapping[str, Waived] = field(default_factory=dict)


@dataclass(frozen=True)
class Wish:
    """One effect that a policy asked for, and what became of it."""

    policy: str
    type: str
    revision: int
    effect: Effect
    lost: str | None = None
    """Why it is not done; None: it is."""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Wish:
        """A wish as it stands in a decision."""
        named = ("policy", "type", "revision", "done", "why")
        effect = EFFECT.validate_python({name: value for name, value in document.items() if name not in named})
        return cls(document["policy"], document["type"], document["revision"], effect, document.get("why"))

    def document(self) -> dict[str, Any]:
        """As it stands in the decision."""
        named = {"policy": self.policy, "type": self.type, "revision": self.revision}
        outcome = {"done": False, "why": self.lost} if self.lost else {"done": True}
        return {**named, **self.effect.model_dump(mode="json"), **outcome}


@dataclass(frozen=True)
class Combined:
    """The findings and effects of one decision."""

    severity: Severity
    findings: tuple[dict[str, Any], ...]
    wishes: tuple[Wish, ...]
    errors: tuple[dict[str, Any], ...]
    coverage: Coverage | None
    for_tone: bool
    """Whether policies of manners, and they alone, would hold it."""
    until: datetime | None
    """When a waiver that it rests on ends."""

    @property
    def silent(self) -> bool:
        """Whether nothing follows from it."""
        return not self.wishes and self.severity is Severity.allow

    @property
    def applied(self) -> tuple[Wish, ...]:
        """What is to be done."""
        return tuple(wish for wish in self.wishes if wish.lost is None)

    def effects(self) -> list[dict[str, Any]] | None:
        """Effects and errors as they stand in the decision; None where there are none."""
        return [*(wish.document() for wish in self.wishes), *self.errors] or None


def combine(point: str, asked: Sequence[tuple[Active, Said]], stance: Stance) -> Combined:
    """One decision out of what the policies said, each in the explicit order of the policies."""
    findings: list[_Noticed] = []
    wishes: list[Wish] = []
    errors: list[dict[str, Any]] = []
    coverages: list[Coverage] = []
    for active, said in asked:
        member = active.member
        if not said.asked:
            continue
        if not said.ok:
            if point in OUTBOUND:
                findings.append(_Noticed(active, _unasked(active, said)))
            else:
                named = {"policy": member.policy, "type": member.type, "revision": member.revision}
                errors.append({**named, "error": f"{said.code}: {said.reason}"})
            continue
        found = [value for value in said.values if isinstance(value, Finding)]
        wishes += [
            Wish(member.policy, member.type, member.revision, value, _silent(active, stance))
            for value in said.values
            if not isinstance(value, Finding | Reading)
        ]
        if said.coverage is not None:
            coverages.append(said.coverage)
            if said.coverage == "none" and not any(one.coverage == "none" for one in found):
                found.append(_uncovered(active, point))
        findings += [_Noticed(active, one) for one in found]
    for one in findings:
        one.weigh(stance)
    findings = _once(findings)
    counted = [one for one in findings if one.counts]
    severity = max((one.severity for one in counted), key=lambda one: one.rank, default=Severity.allow)
    strict = [one for one in counted if one.finding.severity.rank >= Severity.hold.rank]
    return Combined(
        severity,
        tuple(one.document() for one in findings),
        tuple(_settle(wishes)),
        tuple(errors),
        _coverage(coverages),
        bool(strict) and all(one.active.tone for one in strict),
        min((one.waived.until for one in findings if one.waived is not None), default=None),
    )


def _coverage(found: Sequence[Coverage]) -> Coverage | None:
    order: tuple[Coverage, ...] = ("none", "partial", "full")
    return min(found, key=order.index) if found else None


def _silent(active: Active, stance: Stance) -> str | None:
    if active.member.mode == "shadow":
        return "the policy is in shadow mode"
    waived = stance.waived.get(active.member.policy)
    return f"waived by {waived.author}: {waived.reason}" if waived is not None else None


def _unasked(active: Active, said: Said) -> Finding:
    return Finding(
        severity=Severity(active.member.on_error),
        code="policy_error",
        message=f"The policy {active.member.policy} could not be asked ({said.code}: {said.reason}).",
    )


def _uncovered(active: Active, point: str) -> Finding:
    return Finding(
        # what is out already is not held, and an alarm for each post in a language of its own would not be read
        severity=Severity(active.member.on_uncovered) if point == "review_reply" else Severity.allow,
        code=UNCOVERED,
        message="Nobody here can read this language, so what the policy looks for cannot be told.",
        suggestion="Have somebody who reads it look at the answer.",
        coverage="none",
    )


@dataclass
class _Noticed:
    """A finding on its way into the decision."""

    active: Active
    finding: Finding
    severity: Severity = Severity.allow
    because: str | None = None
    waived: Waived | None = None
    others: list[str] = field(default_factory=list)

    @property
    def counts(self) -> bool:
        return self.active.member.mode != "shadow" and self.waived is None

    def weigh(self, stance: Stance) -> None:
        """Its severity for the moment: milder while too much is held, stricter while an incident is open."""
        member = self.active.member
        self.severity = self.finding.severity
        if stance.softened and self.active.tone and self.severity.rank > Severity.warn.rank:
            self.severity = Severity.warn
            self.because = "policies of manners only warn while too many replies are being held"
        tighter = least(stance.tightened, member.policy)
        if tighter is not None and tighter[0].rank > self.severity.rank:
            self.severity, incident = tighter
            self.because = f"the incident {incident} is open"
        self.waived = stance.waived.get(member.policy)

    def document(self) -> dict[str, Any]:
        """As it stands in the decision."""
        member = self.active.member
        found: dict[str, Any] = {
            "policy": member.policy,
            "type": member.type,
            "revision": member.revision,
            "mode": member.mode,
            **self.finding.model_dump(mode="json"),
            "severity": self.severity.value,
        }
        if self.because is not None:
            found |= {"was": self.finding.severity.value, "because": self.because}
        if self.waived is not None:
            found["waived"] = {"by": self.waived.author, "reason": self.waived.reason, "until": self.waived.until}
        if self.others:
            found["also"] = self.others
        return found


def _once(findings: list[_Noticed]) -> list[_Noticed]:
    """That a language is not covered is said once, by the strictest policy that counts, naming the others."""
    uncovered = [one for one in findings if one.finding.code == UNCOVERED]
    if len(uncovered) < 2:
        return findings
    first = max(uncovered, key=lambda one: (one.counts, one.severity.rank))
    first.others = [one.active.member.policy for one in uncovered if one is not first]
    return [one for one in findings if one.finding.code != UNCOVERED or one is first]


def _settle(wishes: Sequence[Wish]) -> list[Wish]:
    """Let each effect win or lose against the others; they come in the explicit order of the policies."""
    alive = [wish for wish in wishes if wish.lost is None]
    lost: dict[int, str] = {}
    _settle_ticket(alive, lost)
    _first_wins(alive, lost, Route, "another route comes first: that of")
    priorities = [wish for wish in alive if isinstance(wish.effect, SetPriority) and id(wish) not in lost]
    if priorities:
        best = max(priorities, key=lambda wish: _rank(wish.effect))
        for wish in priorities:
            if wish is not best:
                lost[id(wish)] = f"{best.policy} asks for {best.effect.priority}"  # type: ignore[union-attr]
    settled = [_with(wish, lost.get(id(wish), wish.lost)) for wish in wishes]
    return _settle_fields(settled)


def _settle_ticket(alive: Sequence[Wish], lost: dict[int, str]) -> None:
    """No ticket, one of its own, or an incident's."""
    for wish in alive:
        if isinstance(wish.effect, JoinIncident):
            against = next((one for one in alive if _insists(one.effect)), None)
            if against is not None:
                lost[id(wish)] = f"{against.policy} wants a ticket of its own for it"
    for wish in alive:
        if isinstance(wish.effect, Ignore):
            wants = next(
                (one for one in alive if isinstance(one.effect, WANT_A_TICKET) and id(one) not in lost),
                None,
            )
            if wants is not None:
                lost[id(wish)] = f"{wants.policy} wants a ticket ({wants.effect.effect})"


def _insists(effect: Effect) -> bool:
    """Whether it speaks against counting a message under an incident: what is urgent, or handed to somebody."""
    if isinstance(effect, SetPriority):
        return effect.priority in ("high", "urgent")
    return isinstance(effect, Route) or (isinstance(effect, Alarm) and effect.severity == "critical")


def _rank(effect: Effect) -> int:
    return PRIORITIES.index(effect.priority) if isinstance(effect, SetPriority) else -1


def _first_wins(alive: Sequence[Wish], lost: dict[int, str], kind: type, why: str) -> None:
    several = [wish for wish in alive if isinstance(wish.effect, kind) and id(wish) not in lost]
    for wish in several[1:]:
        lost[id(wish)] = f"{why} {several[0].policy}"


def _with(wish: Wish, lost: str | None) -> Wish:
    return Wish(wish.policy, wish.type, wish.revision, wish.effect, lost)


def _settle_fields(wishes: Sequence[Wish]) -> list[Wish]:
    """Of two values for one field the first wins; what is left of an effect stays."""
    owners: dict[str, str] = {}
    settled: list[Wish] = []
    for wish in wishes:
        if wish.lost is not None or not isinstance(wish.effect, SetFields):
            settled.append(wish)
            continue
        mine = {name: value for name, value in wish.effect.fields.items() if name not in owners}
        theirs = {name: value for name, value in wish.effect.fields.items() if name in owners}
        if mine or not theirs:
            settled.append(Wish(wish.policy, wish.type, wish.revision, SetFields(fields=mine)))
        if theirs:
            why = "; ".join(f"{owners[name]} says what {name} is" for name in theirs)
            settled.append(Wish(wish.policy, wish.type, wish.revision, SetFields(fields=theirs), why))
        owners |= dict.fromkeys(mine, wish.policy)
    return settled
