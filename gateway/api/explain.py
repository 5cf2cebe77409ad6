"""Why a ticket or a reply is as it is: its decisions, policy by policy, also what did not apply and why."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter

from gateway.api.deps import ReadsDecisions, RuntimeDep
from gateway.api.models import Answer, Input, Name
from gateway.api.problems import conflict, invalid, not_found
from gateway.api.routes import ApiRoute
from gateway.db.database import fetch_one, insert_rows
from gateway.db.tables.columns import new_id
from gateway.policy.explain import Explained, explain

router = APIRouter(tags=["policies"], route_class=ApiRoute)


class WordView(Answer):
    """One policy's part in a decision."""

    policy: str
    type: str
    revision: int
    mode: str
    asked: bool
    why_not: str | None
    """Why it was not asked."""
    findings: list[dict[str, Any]]
    effects: list[dict[str, Any]]
    """What it wanted done; what lost says why."""


class ExplainedView(Answer):
    """One decision and everybody's part in it."""

    decision: int
    point: str
    thing_id: UUID
    policy_set_id: UUID
    verdict: str
    at: datetime
    reproducible: bool
    why_not_reproducible: str | None
    policies: list[WordView]


class ExplanationView(Answer):
    """Decisions, oldest first."""

    decisions: list[ExplainedView]


class FeedbackInput(Input):
    """Whether a policy was right."""

    policy: Name
    """Its name, as in the decision."""
    right: bool
    note: str = ""


class FeedbackView(Answer):
    """Somebody's word on a decision."""

    id: UUID
    decision: int
    policy: str
    right: bool
    note: str
    author: str
    at: datetime


@router.get("/tickets/{ticket_id}/explain")
async def explain_ticket(runtime: RuntimeDep, _: ReadsDecisions, ticket_id: UUID) -> ExplanationView:
    """Every decision on a ticket: what each policy said, what lost to what, and what did not apply and why."""
    async with runtime.database.read() as database:
        if await fetch_one(database, "SELECT 1 FROM ticket WHERE id = :id", id=ticket_id) is None:
            raise not_found("ticket", ticket_id)
        found = await explain(
            database, runtime.registry, "d.ticket_id = :ticket ORDER BY d.id LIMIT 500", ticket=ticket_id
        )
    return _view(found)


@router.get("/replies/{reply_id}/explain")
async def explain_reply(runtime: RuntimeDep, _: ReadsDecisions, reply_id: UUID) -> ExplanationView:
    """Every decision on a reply, one for each form and each policy set it was decided under."""
    async with runtime.database.read() as database:
        if await fetch_one(database, "SELECT 1 FROM reply WHERE id = :id", id=reply_id) is None:
            raise not_found("reply", reply_id)
        found = await explain(
            database,
            runtime.registry,
            "d.thing_id = :reply AND d.point = 'review_reply' ORDER BY d.id LIMIT 500",
            reply=reply_id,
        )
    return _view(found)


@router.post("/decisions/{decision_id}/feedback", status_code=201)
async def give_feedback(
    runtime: RuntimeDep, caller: ReadsDecisions, decision_id: int, given: FeedbackInput
) -> FeedbackView:
    """Say whether a policy was right. The report of the policy counts it."""
    now = runtime.now()
    async with runtime.database.write() as database:
        row = await fetch_one(
            database,
            """SELECT s.members FROM decision d JOIN policy_set s ON s.id = d.policy_set_id WHERE d.id = :id""",
            id=decision_id,
        )
        if row is None:
            raise not_found("decision", decision_id)
        if given.policy not in {member["policy"] for member in row["members"]}:
            raise invalid("policy", f"{given.policy} had no part in the decision {decision_id}")
        stored = await insert_rows(
            database,
            "decision_feedback",
            [
                {
                    "id": new_id(),
                    "decision_id": decision_id,
                    "policy": given.policy,
                    "right": given.right,
                    "note": given.note,
                    "author": caller.name,
                    "at": now,
                }
            ],
            tail='ON CONFLICT (decision_id, policy, author) DO UPDATE SET "right" = EXCLUDED."right", '
            "note = EXCLUDED.note, at = EXCLUDED.at RETURNING id",
        )
    if not stored:
        raise conflict("the feedback was not stored")
    return FeedbackView(
        id=stored[0]["id"],
        decision=decision_id,
        policy=given.policy,
        right=given.right,
        note=given.note,
        author=caller.name,
        at=now,
    )


def _view(found: Sequence[Explained]) -> ExplanationView:
    return ExplanationView(
        decisions=[
            ExplainedView(
                decision=one.past.id,
                **{name: one.past.row[name] for name in ("point", "thing_id", "policy_set_id", "verdict", "at")},
                reproducible=not one.past.missing,
                why_not_reproducible=one.past.missing or None,
                policies=[
                    WordView(
                        policy=word.policy,
                        type=word.type,
                        revision=word.revision,
                        mode=word.mode,
                        asked=word.asked,
                        why_not=word.why_not,
                        findings=[dict(item) for item in word.findings],
                        effects=[dict(item) for item in word.effects],
                    )
                    for word in one.policies
                ],
            )
            for one in found
        ]
    )
