"""Groups of near-identical answers that wait for one person's word."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Body

from gateway.api.deps import ReadsReplies, RuntimeDep, WritesReplies, login_of
from gateway.api.models import Answer, Input, Page
from gateway.api.paging import Filters, PagingDep, list_page
from gateway.api.problems import conflict, not_found
from gateway.api.replies import SELECT as REPLIES
from gateway.api.replies import Refusal, ReplyView, shown
from gateway.api.routes import ApiRoute
from gateway.db.database import Row, fetch_all, fetch_one
from gateway.pipeline import groups
from gateway.pipeline.approvals import Refused
from gateway.pipeline.people import look_up
from gateway.runtime import Runtime

router = APIRouter(prefix="/replies/groups", tags=["replies"], route_class=ApiRoute)

SELECT = """
SELECT g.id, g.state, g.sample, g.opened_at, g.last_at, g.decided_at, g.decided_by, g.reason,
       (SELECT count(*) FROM reply r WHERE r.group_id = g.id) AS replies,
       (SELECT count(*) FROM reply r WHERE r.group_id = g.id AND r.state = 'held') AS held,
       (SELECT count(*) FROM reply r WHERE r.group_id = g.id AND r.state = 'sent') AS sent
FROM reply_group g
"""


class GroupView(Answer):
    """Nearly the same answer to many customers."""

    id: UUID
    state: Literal["held", "approved", "rejected"]
    sample: str
    """One of the texts, as it would go out."""
    replies: int
    held: int
    """How many of them wait for a person's word."""
    sent: int
    opened_at: datetime
    last_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    reason: str | None


class GroupDetail(GroupView):
    """A group with what waits in it."""

    digest: str
    """Names exactly what an approval lets go."""
    members: list[ReplyView]
    """The replies that wait, in the order in which they would go out; at most 500."""


class GroupApproval(Input):
    """A person's word that all that wait in a group may go out."""

    digest: str
    """The `digest` that was looked at; refused when the group has changed since."""


@router.get("")
async def list_groups(
    runtime: RuntimeDep,
    _: ReadsReplies,
    paging: PagingDep,
    state: Literal["held", "approved", "rejected"] | None = None,
) -> Page[GroupView]:
    """Groups, newest first."""
    filters = Filters()
    filters.add("g.state = :state", state=state)
    async with runtime.database.read() as database:
        rows, following = await list_page(database, SELECT, filters, paging, id="g.id")
    return Page(items=[GroupView(**row) for row in rows], next=following)


@router.get("/{group_id}")
async def read_group(runtime: RuntimeDep, _: ReadsReplies, group_id: UUID) -> GroupDetail:
    """One group with what waits in it."""
    async with runtime.database.read() as database:
        row = await _group(runtime, group_id)
        waiting = await fetch_all(database, groups.MEMBERS, id=group_id)
        members = await fetch_all(
            database,
            REPLIES + " WHERE r.group_id = :id AND r.state = 'held' ORDER BY r.written_at, r.id LIMIT 500",
            id=group_id,
        )
    return GroupDetail(**row, digest=groups.digest_of(waiting), members=[ReplyView(**shown(one)) for one in members])


@router.post("/{group_id}/approve")
async def approve_group(runtime: RuntimeDep, caller: WritesReplies, group_id: UUID, given: GroupApproval) -> GroupView:
    """Let all that wait in a group go out, one after another. What else holds one of them still does."""
    await _group(runtime, group_id)
    async with runtime.database.write() as database:
        [who] = await look_up(database, [login_of(caller)])
        try:
            wakes = await groups.release(database, runtime, group_id, who, given.digest, runtime.now())
        except Refused as error:
            raise conflict(error.reason, field=error.field) from error
    await runtime.wake(wakes)
    return GroupView(**await _group(runtime, group_id))


@router.post("/{group_id}/reject")
async def reject_group(
    runtime: RuntimeDep, caller: WritesReplies, group_id: UUID, given: Annotated[Refusal | None, Body()] = None
) -> GroupView:
    """Decide that none of a group goes out; the agents read why on their tickets."""
    await _group(runtime, group_id)
    async with runtime.database.write() as database:
        [who] = await look_up(database, [login_of(caller)])
        try:
            wakes = await groups.refuse(database, group_id, who, given.reason if given else None, runtime.now())
        except Refused as error:
            raise conflict(error.reason, field=error.field) from error
    await runtime.wake(wakes)
    return GroupView(**await _group(runtime, group_id))


async def _group(runtime: Runtime, group_id: UUID) -> Row:
    async with runtime.database.read() as database:
        row = await fetch_one(database, SELECT + " WHERE g.id = :id", id=group_id)
    if row is None:
        raise not_found("group", group_id)
    return row
