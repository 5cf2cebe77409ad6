"""Decisions: what the policies in force said, and about what."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter

from gateway.api.deps import ReadsDecisions, RuntimeDep
from gateway.api.models import Answer, Page
from gateway.api.paging import Filters, PagingDep, list_page
from gateway.api.routes import ApiRoute

router = APIRouter(prefix="/decisions", tags=["replies"], route_class=ApiRoute)

SELECT = """
SELECT id, point, thing_id, revision, ticket_id, policy_set_id, verdict, coverage, findings, effects, at
FROM decision
"""


class DecisionView(Answer):
    """What one policy set said about one thing at one point."""

    id: int
    point: str
    """`on_interaction`, `review_reply`, `on_own_post`, `on_ticket` or `on_clock`."""
    thing_id: UUID
    """The interaction, reply, ticket or clock decided on."""
    revision: str | None
    """The interaction's revision, or the digest of the rendered reply."""
    ticket_id: UUID | None
    policy_set_id: UUID
    verdict: str
    """`allow`, `warn`, `hold` or `block`."""
    coverage: str | None
    """How far the language was understood: `full`, `partial`, `none`; null where no policy asked."""
    findings: list[dict[str, Any]] | None
    """What policies noticed, with the evidence. `mode: shadow` and `waived` count for nothing; `was` and `because` say
    that the severity is another one for the moment."""
    effects: list[dict[str, Any]] | None
    """What policies asked for, whether it is `done`, and `why` not; and under `error` those that could not be asked.
    Those of a reply are done when it is published."""
    at: datetime


@router.get("")
async def list_decisions(
    runtime: RuntimeDep,
    _: ReadsDecisions,
    paging: PagingDep,
    thing: UUID | None = None,
    ticket: UUID | None = None,
    verdict: Literal["allow", "warn", "hold", "block"] | None = None,
) -> Page[DecisionView]:
    """Decisions, newest first."""
    filters = Filters()
    filters.add("thing_id = :thing", thing=thing)
    filters.add("ticket_id = :ticket", ticket=ticket)
    filters.add("verdict = :verdict", verdict=verdict)
    async with runtime.database.read() as database:
        rows, following = await list_page(database, SELECT, filters, paging, kind=int)
    return Page(items=[DecisionView(**row) for row in rows], next=following)
