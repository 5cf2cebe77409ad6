"""Station 6: the place where policies act, on what comes in and on what goes out.

Policies are pure functions of a case; they run in the sandbox under a deadline. Inbound fails open: a policy that
breaks has no effect. Outbound fails closed: it holds. Every decision is one row that names the policy set in force.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import fetch_all
from gateway.engine.sandbox import PolicyCall, Sandbox
from gateway.pipeline.matters import Matters, ThreadedItem
from gateway.policy.sets import Member, PolicySetInForce
from gateway.registry import Registry
from gateway_schemas.decision import Case, Effect, Finding, Severity, TicketFacts, TimelineEntry
from gateway_schemas.interaction import Interaction
from gateway_schemas.policy import Policy
from gateway_schemas.reply import Rendered


@dataclass(frozen=True)
class Verdict:
    """What the policies in force said of one rendered reply."""

    severity: Severity
    findings: tuple[dict[str, Any], ...]
    policy_set_id: UUID

    @property
    def reason(self) -> str:
        """The strictest finding's words."""
        strictest = [one for one in self.findings if one["severity"] == self.severity]
        return str(strictest[0]["message"]) if strictest else ""


async def decide_inbound(
    registry: Registry, sandbox: Sandbox, in_force: PolicySetInForce, matters: Matters, now: datetime
) -> tuple[dict[int, list[Effect]], list[dict[str, Any]]]:
    """Ask the policies about each inbound item of a batch. Returns effects by revision, and the decision rows."""
    effects: dict[int, list[Effect]] = defaultdict(list)
    decisions: list[dict[str, Any]] = []
    asked: list[tuple[ThreadedItem, Member, PolicyCall]] = []
    news = [
        one
        for one in matters.items
        if one.news.direction == "inbound" and one.change != "deleted" and one.news.addressed
    ]
    for item in news:
        for member in in_force.members:
            if _covers(registry, member, "on_interaction", item.provider, item.news.visibility, item.news.kind):
                case = Case(now=now, source=item.provider, timeline=_earlier(matters, item))
                asked.append((item, member, PolicyCall(member.type, member.params, "on_interaction", case, item.news)))
    outcomes = await sandbox.policies([call for _, _, call in asked])
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for (item, member, _), outcome in zip(asked, outcomes, strict=True):
        if not outcome.ok:
            found[item.revision_id].append(
                {"policy": member.policy, "revision": member.revision, "error": f"{outcome.code}: {outcome.reason}"}
            )
            continue
        for effect in outcome.values:
            shadow = member.mode == "shadow"
            found[item.revision_id].append(
                {
                    "policy": member.policy,
                    "revision": member.revision,
                    "shadow": shadow,
                    **effect.model_dump(mode="json"),
                }
            )
            if not shadow:
                effects[item.revision_id].append(effect)
    for item in news:
        decisions.append(
            {
                "point": "on_interaction",
                "thing_id": item.interaction_id,
                "revision": item.news.revision,
                "ticket_id": None,
                "policy_set_id": in_force.id,
                "verdict": "allow",
                "findings": None,
                "effects": found.get(item.revision_id),
                "case": None,
                "at": now,
            }
        )
    return effects, decisions


async def decide_reply(
    connection: AsyncConnection,
    registry: Registry,
    sandbox: Sandbox,
    in_force: PolicySetInForce,
    *,
    rendered: Rendered,
    source: str,
    brand: str | None,
    answered: Interaction,
    ticket: Mapping[str, Any],
    now: datetime,
) -> tuple[Verdict, Case]:
    """Ask the policies about exactly what would be sent. Outbound text always passes through here."""
    members = [
        member
        for member in in_force.members
        if _covers(registry, member, "review_reply", source, rendered.visibility, answered.kind, brand)
    ]
    known = [registry.policies[member.type] for member in members if member.type in registry.policies]
    depth = max((plugin.needs.timeline for plugin in known), default=0)
    case = Case(
        now=now,
        brand=brand,
        source=source,
        ticket=TicketFacts(
            id=str(ticket["id"]),
            status=ticket["status"],
            priority=ticket["priority"],
            tags=tuple(ticket["tags"]),
            opened_at=ticket["opened_at"],
        ),
        timeline=await _timeline(connection, ticket["id"], depth),
    )
    calls = [PolicyCall(member.type, member.params, "review_reply", case, rendered) for member in members]
    findings: list[dict[str, Any]] = []
    for member, outcome in zip(members, await sandbox.policies(calls), strict=True):
        named = {"policy": member.policy, "type": member.type, "revision": member.revision, "mode": member.mode}
        if not outcome.ok:
            broken = Finding(
                severity=Severity(member.on_error),
                code="policy_error",
                message=f"The policy {member.policy} could not be asked ({outcome.code}: {outcome.reason}).",
            )
            findings.append({**named, **broken.model_dump(mode="json")})
            continue
        findings += [{**named, **finding.model_dump(mode="json")} for finding in outcome.values]
    counted = [Severity(one["severity"]) for one in findings if one["mode"] != "shadow"]
    severity = max(counted, key=lambda one: one.rank, default=Severity.allow)
    return Verdict(severity, tuple(findings), in_force.id), case


def reply_decision(
    reply_id: UUID, ticket_id: UUID, rendered: Rendered, verdict: Verdict, case: Case, now: datetime
) -> dict[str, Any]:
    """The decision row of a reply."""
    return {
        "point": "review_reply",
        "thing_id": reply_id,
        "revision": rendered.digest,
        "ticket_id": ticket_id,
        "policy_set_id": verdict.policy_set_id,
        "verdict": verdict.severity.value,
        "findings": list(verdict.findings) or None,
        "effects": None,
        "case": case.model_dump(mode="json") if verdict.findings else None,
        "at": now,
    }


def _covers(
    registry: Registry, member: Member, point: str, source: str, visibility: str, kind: str, brand: str | None = None
) -> bool:
    if not member.applies(source=source, brand=brand, visibility=visibility, kind=kind):
        return False
    plugin = registry.policies.get(member.type)
    if plugin is None:
        return True  # whose code is gone is asked all the same, and its silence counts as an error
    # a point that the type leaves as it is in the base class needs no call
    return point in {name for base in plugin.__mro__[: plugin.__mro__.index(Policy)] for name in vars(base)}


def _earlier(matters: Matters, item: ThreadedItem) -> tuple[TimelineEntry, ...]:
    above = matters.parents.get(item.interaction_id, ())
    return tuple(
        TimelineEntry(
            at=one.news.published_at,
            who="agent"
            if one.news.direction == "outbound"
            else ("customer" if one.account_id == item.account_id else "bystander"),
            visibility=one.news.visibility,
            text=one.news.text,
        )
        for one in reversed(above)
    )


async def _timeline(connection: AsyncConnection, ticket_id: UUID, depth: int) -> tuple[TimelineEntry, ...]:
    if not depth:
        return ()
    rows = await fetch_all(
        connection,
        """SELECT i.published_at, i.direction, i.visibility, i.text, i.account_id = t.account_id AS customer
           FROM interaction i JOIN ticket t ON t.id = i.ticket_id
           WHERE i.ticket_id = :ticket AND i.deleted_at IS NULL ORDER BY i.published_at DESC LIMIT :depth""",
        ticket=ticket_id,
        depth=depth,
    )
    return tuple(
        TimelineEntry(
            at=row["published_at"],
            who="agent" if row["direction"] == "outbound" else ("customer" if row["customer"] else "bystander"),
            visibility=row["visibility"],
            text=row["text"],
        )
        for row in reversed(rows)
    )
