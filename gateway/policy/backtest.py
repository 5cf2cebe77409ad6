"""Backtests: what drafts would have decided on stored history, and why it differs.

Each stored decision is made again twice: by the policies that made it, and by the same with the drafts in their places.
Where the first differs from what is stored, code or data have changed since; where the second differs from the first,
the drafts say otherwise. What cannot be put together again is counted and not guessed at.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import as_json, execute, fetch_all, fetch_one
from gateway.engine.leases import Held
from gateway.engine.sandbox import Sandbox
from gateway.policy.engine import Question, Verdict, evaluate_all
from gateway.policy.sets import Active, Member, PolicySetInForce, ordered
from gateway.policy.stored import Past, load, sets_of
from gateway.runtime import Runtime
from gateway.sla.clock import copy_of
from gateway.sla.rows import load as load_clocks

BATCH = 200
SAMPLES = 200
"""How many changed decisions a report names; all are counted."""


@dataclass
class Report:
    """What a backtest has found so far."""

    decisions: int = 0
    identical: int = 0
    by_revision: int = 0
    """Decided otherwise because of the drafts."""
    by_code: int = 0
    """Decided otherwise by the same revisions: code, readers or data have changed since."""
    not_reproducible: Counter[str] = field(default_factory=Counter)
    """Why some could not be made again: `erased`, `expired`, `superseded`, `unreadable`."""
    verdicts: Counter[str] = field(default_factory=Counter)
    """From which verdict to which: `allow>hold`."""
    policies: Counter[str] = field(default_factory=Counter)
    """In how many changed decisions each policy says something else."""
    clocks: list[dict[str, Any]] = field(default_factory=list)
    """Tickets whose clocks would have other targets."""
    samples: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Report:
        """As it is stored between two batches."""
        plain = {name: document.get(name, 0) for name in ("decisions", "identical", "by_revision", "by_code")}
        return cls(
            **plain,
            not_reproducible=Counter(document.get("not_reproducible") or {}),
            verdicts=Counter(document.get("verdicts") or {}),
            policies=Counter(document.get("policies") or {}),
            clocks=list(document.get("clocks") or ()),
            samples=list(document.get("samples") or ()),
        )

    def document(self) -> dict[str, Any]:
        """To be stored."""
        return {
            **{name: getattr(self, name) for name in ("decisions", "identical", "by_revision", "by_code")},
            **{name: dict(getattr(self, name)) for name in ("not_reproducible", "verdicts", "policies")},
            "clocks": self.clocks,
            "samples": self.samples,
        }

    def add(self, past: Past, same: Verdict, drafted: Verdict) -> None:
        """Count one decision that was made again."""
        self.decisions += 1
        stored = _said(past.row["verdict"], past.row["findings"], past.row["effects"])
        again = _said(same.severity.value, same.findings, same.effects())
        other = _said(drafted.severity.value, drafted.findings, drafted.effects())
        if stored == again == other:
            self.identical += 1
            return
        cause = "by_revision" if again != other else "by_code"
        before, after = (again, other) if again != other else (stored, again)
        setattr(self, cause, getattr(self, cause) + 1)
        self.verdicts[f"{before.verdict}>{after.verdict}"] += 1
        changed = sorted(name for name in {*before.by, *after.by} if before.by.get(name) != after.by.get(name))
        self.policies.update(changed)
        self._clocks(past, before, after)
        if len(self.samples) < SAMPLES:
            self.samples.append(
                {
                    "decision": past.id,
                    "point": past.row["point"],
                    "ticket": str(past.row["ticket_id"]) if past.row["ticket_id"] else None,
                    "cause": cause,
                    "from": before.verdict,
                    "to": after.verdict,
                    "policies": [
                        {"policy": name, "from": before.by.get(name, []), "to": after.by.get(name, [])}
                        for name in changed
                    ],
                }
            )

    def _clocks(self, past: Past, before: _Said, after: _Said) -> None:
        if past.row["ticket_id"] is None:
            return
        for key in sorted({*before.clocks, *after.clocks}):
            if before.clocks.get(key) != after.clocks.get(key):
                policy, kind = key
                self.clocks.append(
                    {
                        "ticket": str(past.row["ticket_id"]),
                        "policy": policy,
                        "kind": kind,
                        "from": before.clocks.get(key),
                        "to": after.clocks.get(key),
                    }
                )


@dataclass(frozen=True)
class _Said:
    """What a decision comes to, without what does not count: revisions, words, and the code's own measures."""

    verdict: str
    by: dict[str, list[str]]
    clocks: dict[tuple[str, str], dict[str, Any]]


def _said(
    verdict: str, findings: Sequence[Mapping[str, Any]] | None, effects: Sequence[Mapping[str, Any]] | None
) -> _Said:
    by: dict[str, list[str]] = {}
    clocks: dict[tuple[str, str], dict[str, Any]] = {}
    for one in findings or ():
        by.setdefault(one["policy"], []).append(f"{one['severity']} {one['code']}")
    for one in effects or ():
        if "error" in one:
            by.setdefault(one["policy"], []).append("error")
            continue
        ignored = ("policy", "type", "revision", "done", "why")
        plain = {name: value for name, value in one.items() if name not in ignored}
        by.setdefault(one["policy"], []).append(_words(plain) + ("" if one["done"] else " (lost)"))
        if one["effect"] == "start_clock" and one["done"]:
            clocks[one["policy"], one["kind"]] = {"target": one["target"], "calendar": one["calendar"]}
    return _Said(verdict, {name: sorted(some) for name, some in by.items()}, clocks)


def _words(effect: Mapping[str, Any]) -> str:
    """An effect in one line; the database keeps no order of names."""
    return json.dumps(json.loads(as_json(effect)), sort_keys=True, ensure_ascii=False)


def with_drafts(stored: PolicySetInForce, drafts: Sequence[Active]) -> PolicySetInForce:
    """A set with drafts in the places of the policies of the same name; others are added."""
    names = {one.member.policy for one in drafts}
    kept = [one for one in stored.policies if one.member.policy not in names]
    return replace(stored, policies=ordered([*kept, *drafts]))


async def run(runtime: Runtime, sandbox: Sandbox, id: UUID, held: Held) -> bool:
    """Go on with one backtest for a batch. Returns whether there is more."""
    async with runtime.database.read() as connection:
        row = await fetch_one(
            connection, "SELECT * FROM backtest WHERE id = :id AND state IN ('pending', 'running')", id=id
        )
        if row is None:
            return False
        pasts = await load(
            connection,
            'd.id > :after AND d.at >= :since AND d.at < :until AND d."case" IS NOT NULL ORDER BY d.id LIMIT :limit',
            after=row["position"],
            since=row["since"],
            until=row["until"],
            limit=BATCH,
        )
        sets = await sets_of(connection, runtime.registry, {past.row["policy_set_id"] for past in pasts})
    drafts = [Active.of(Member.from_row(member), runtime.registry) for member in row["members"]]
    report = Report.of(row["result"])
    await _again(sandbox, pasts, sets, drafts, report)
    now = runtime.now()
    done = len(pasts) < BATCH
    async with runtime.database.write() as connection:
        await held.check(connection)
        await execute(
            connection,
            """UPDATE backtest SET state = CASE WHEN :done THEN 'done' ELSE 'running' END, position = :position,
                   result = CAST(:result AS jsonb), finished_at = CASE WHEN :done THEN CAST(:now AS timestamptz) END
               WHERE id = :id AND state IN ('pending', 'running')""",
            id=id,
            done=done,
            position=pasts[-1].id if pasts else row["position"],
            result=as_json(report.document()),
            now=now,
        )
    return not done


async def _again(
    sandbox: Sandbox,
    pasts: Sequence[Past],
    sets: Mapping[UUID, PolicySetInForce],
    drafts: Sequence[Active],
    report: Report,
) -> None:
    whole = [past for past in pasts if not past.missing]
    report.not_reproducible.update(past.missing for past in pasts if past.missing)
    questions: list[Question] = []
    for past in whole:
        stored = sets[past.row["policy_set_id"]]
        for policies in (stored, with_drafts(stored, drafts)):
            asked = past.members(policies)
            assert past.case is not None
            questions.append(Question(past.row["point"], past.case, past.subject, asked, past.stance))
    verdicts = await evaluate_all(sandbox, questions)
    for index, past in enumerate(whole):
        report.add(past, verdicts[2 * index], verdicts[2 * index + 1])


async def start(
    runtime: Runtime, *, members: Sequence[Member], since: datetime, until: datetime, author: str, id: UUID
) -> int:
    """Store a backtest to be run by a worker. Returns how many decisions it will look at."""
    now = runtime.now()
    async with runtime.database.write() as connection:
        counted = await fetch_all(
            connection,
            """SELECT count(*) AS total FROM decision WHERE at >= :since AND at < :until AND "case" IS NOT NULL""",
            since=since,
            until=until,
        )
        total: int = counted[0]["total"]
        await execute(
            connection,
            """INSERT INTO backtest (id, members, since, until, state, total, position, result, author, created_at)
               VALUES (:id, CAST(:members AS jsonb), :since, :until, 'pending', :total, 0, '{}', :author, :now)""",
            id=id,
            members=as_json([vars(member) for member in members]),
            since=since,
            until=until,
            total=total,
            author=author,
            now=now,
        )
    await runtime.wake([f"backtest:{id}"])
    return total


async def breaches(
    connection: AsyncConnection, runtime: Runtime, changes: Sequence[Mapping[str, Any]]
) -> dict[str, list[str]]:
    """What other targets make of the tickets' clocks, by how they really ran and ended: `new` would have been breached
    by now, `averted` would not."""
    found: dict[str, set[str]] = {"new": set(), "averted": set()}
    wanted = {(one["ticket"], one["policy"], one["kind"]): one for one in changes}
    if not wanted:
        return {name: [] for name in found}
    clocks = await load_clocks(
        connection, runtime.calendars, "WHERE ticket_id = ANY(:ids)", ids=sorted({UUID(one[0]) for one in wanted})
    )
    names = {one["to"]["calendar"] for one in wanted.values() if one["to"]}
    keys = await runtime.calendars.named(connection, names)
    calendars = await runtime.calendars.of(connection, set(keys.values()))
    for clock in clocks:
        change = wanted.get((str(clock.ticket_id), clock.policy, clock.kind))
        if change is None:
            continue
        end = clock.stopped_at or runtime.now()
        was = clock.due_at is not None and clock.due_at < end
        to, will = change["to"], False
        if to is not None:
            calendar = calendars[keys[to["calendar"]]] if to["calendar"] in keys else clock.calendar
            terms = replace(clock.terms, target=SPAN.validate_python(to["target"]), due=None)
            other = copy_of(clock, terms=terms, calendar=calendar)
            other.plan()
            will = other.due_at is not None and other.due_at < end
        if was != will:
            found["averted" if was else "new"].add(str(clock.ticket_id))
    return {name: sorted(tickets) for name, tickets in found.items()}


SPAN = TypeAdapter(timedelta)
