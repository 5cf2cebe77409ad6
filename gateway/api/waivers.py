"""Waivers: a policy kept silent on one ticket for a while, on somebody's word."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from fastapi import APIRouter

from gateway.api.deps import ActivatesPolicies, ReadsPolicies, RuntimeDep
from gateway.api.lookup import as_id
from gateway.api.models import Answer, Input, Instant, Page, Reason, Reference
from gateway.api.problems import conflict, invalid, not_found
from gateway.api.routes import ApiRoute
from gateway.db.database import fetch_all, fetch_one
from gateway.db.tables.columns import new_id

router = APIRouter(prefix="/tickets/{ticket_id}/waivers", tags=["policies"], route_class=ApiRoute)

SELECT = """
SELECT w.id, p.name AS policy, w.until, w.reason, w.author, w.created_at, w.ended_at
FROM waiver w JOIN policy p ON p.id = w.policy_id
"""


class NewWaiver(Input):
    """Which policy is to be silent, until when, and why."""

    policy: Reference
    """By id or name."""
    until: Instant
    reason: Reason


class WaiverView(Answer):
    """A policy kept silent on a ticket. What it would have said is in the decisions."""

    id: UUID
    policy: str
    until: datetime
    reason: str
    author: str
    created_at: datetime
    ended_at: datetime | None


@router.get("")
async def list_waivers(runtime: RuntimeDep, _: ReadsPolicies, ticket_id: UUID) -> Page[WaiverView]:
    """All waivers on a ticket, newest first. Always one page."""
    async with runtime.database.read() as database:
        rows = await fetch_all(database, SELECT + " WHERE w.ticket_id = :id ORDER BY w.id DESC", id=ticket_id)
    return Page(items=[WaiverView(**row) for row in rows], next=None)


@router.post("", status_code=201)
async def waive_policy(runtime: RuntimeDep, caller: ActivatesPolicies, ticket_id: UUID, given: NewWaiver) -> WaiverView:
    """Keep one policy silent on this ticket until a time. Its findings are recorded as waived, with your name."""
    now = runtime.now()
    if given.until <= now:
        raise invalid("until", "lies in the past", "name a time to come")
    async with runtime.database.write() as database:
        if await fetch_one(database, "SELECT 1 FROM ticket WHERE id = :id", id=ticket_id) is None:
            raise not_found("ticket", ticket_id)
        policy = await fetch_one(
            database, "SELECT id FROM policy WHERE id = :id OR name = :name", id=as_id(given.policy), name=given.policy
        )
        if policy is None:
            raise invalid("policy", f"there is no policy {given.policy}", "GET /v1/policies lists them")
        id = new_id()
        await fetch_all(
            database,
            """INSERT INTO waiver (id, policy_id, ticket_id, until, reason, author, created_at)
               VALUES (:id, :policy, :ticket, :until, :reason, :author, :now) RETURNING id""",
            id=id,
            policy=policy["id"],
            ticket=ticket_id,
            until=given.until,
            reason=given.reason,
            author=caller.name,
            now=now,
        )
        row = await fetch_one(database, SELECT + " WHERE w.id = :id", id=id)
    assert row is not None
    return WaiverView(**row)


@router.post("/{waiver_id}/end")
async def end_waiver(runtime: RuntimeDep, _: ActivatesPolicies, ticket_id: UUID, waiver_id: UUID) -> WaiverView:
    """Let the policy speak again before the time."""
    async with runtime.database.write() as database:
        ended = await fetch_one(
            database,
            """UPDATE waiver SET ended_at = :now WHERE id = :id AND ticket_id = :ticket AND ended_at IS NULL
                   AND until > :now RETURNING id""",
            id=waiver_id,
            ticket=ticket_id,
            now=runtime.now(),
        )
        row = await fetch_one(
            database, SELECT + " WHERE w.id = :id AND w.ticket_id = :ticket", id=waiver_id, ticket=ticket_id
        )
    if row is None:
        raise not_found("waiver", waiver_id)
    if ended is None:
        raise conflict("The waiver is over already.")
    return WaiverView(**row)
