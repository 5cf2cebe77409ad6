"""One call stops everything outbound, for all or for a brand, a source, a connection, an incident or a tag."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from fastapi import APIRouter

from gateway.api.deps import ReadsOutbound, RuntimeDep, StopsOutbound
from gateway.api.lookup import brand_of, connection_of
from gateway.api.models import Answer, Input, Page, Reason, Reference
from gateway.api.problems import invalid, not_found, responses
from gateway.api.routes import ApiRoute
from gateway.db.database import fetch_all, fetch_one
from gateway.db.tables.columns import new_id
from gateway.events.announce import announce
from gateway.pipeline.stops import Released, lift
from gateway.runtime import Runtime

router = APIRouter(prefix="/outbound", tags=["outbound"], route_class=ApiRoute)

COLUMNS = "id, scope, scope_id, reason, paused_by, since, lifted_at, lifted_by, released"
Scope = Literal["all", "brand", "source", "connection", "incident", "tag"]


class Stop(Input):
    """What to stop."""

    scope: Scope = "all"
    id: Reference | None = None
    """The brand or connection, by id or name, the source's plugin, a tag, or an incident's key: its tickets carry the
    tag `incident:<key>`. Not for `all`."""
    reason: Reason | None = None


class Release(Input):
    """What to let go on."""

    scope: Scope = "all"
    id: Reference | None = None


class PauseView(Answer):
    """A stop for everything outbound in a scope."""

    id: UUID
    scope: Scope
    scope_id: str
    reason: str | None
    paused_by: str
    since: datetime
    lifted_at: datetime | None
    lifted_by: str | None
    released: Released | None
    """What went on when it was lifted."""


@router.get("")
async def list_pauses(runtime: RuntimeDep, _: ReadsOutbound) -> Page[PauseView]:
    """The stops in force. Always one page."""
    async with runtime.database.read() as database:
        rows = await fetch_all(database, f"SELECT {COLUMNS} FROM outbound_pause WHERE lifted_at IS NULL ORDER BY since")
    return Page(items=[PauseView(**row) for row in rows], next=None)


@router.post("/pause")
async def pause_outbound(runtime: RuntimeDep, caller: StopsOutbound, given: Stop) -> PauseView:
    """Stop everything outbound in a scope, within a second: what has not left by then does not. The door keeps
    storing."""
    scope_id = await _scope_id(runtime, given.scope, given.id)
    async with runtime.database.write() as database:
        fresh = await fetch_all(
            database,
            f"""INSERT INTO outbound_pause (id, scope, scope_id, reason, paused_by, since)
                VALUES (:id, :scope, :scope_id, :reason, :who, :now)
                ON CONFLICT (scope, scope_id) WHERE lifted_at IS NULL DO NOTHING RETURNING {COLUMNS}""",
            id=new_id(),
            scope=given.scope,
            scope_id=scope_id,
            reason=given.reason,
            who=caller.name,
            now=runtime.now(),
        )
        for one in fresh:
            await announce(database, "outbound.paused", "outbound_pause", one["id"], {}, runtime.now())
        row = await fetch_one(
            database,
            f"SELECT {COLUMNS} FROM outbound_pause WHERE scope = :scope AND scope_id = :id AND lifted_at IS NULL",
            scope=given.scope,
            id=scope_id,
        )
    assert row is not None
    return PauseView(**row)


@router.post("/resume", responses=responses(404))
async def resume_outbound(
    runtime: RuntimeDep, caller: StopsOutbound, given: Release, release: Released = "all"
) -> PauseView:
    """Let a scope go on. Of what waited `release` names what goes: all, what a person had approved, or none.

    The rest is held for a person's word. What goes is decided on again where something has changed, and held where it
    has waited too long.
    """
    scope_id = await _scope_id(runtime, given.scope, given.id)
    async with runtime.database.write() as database:
        row, wakes = await lift(database, given.scope, scope_id, release, caller.name, runtime.now())
    if row is None:
        raise not_found("stop for", f"{given.scope} {given.id or ''}".strip())
    await runtime.wake(wakes)
    return PauseView(**row)


async def _scope_id(runtime: Runtime, scope: Scope, reference: str | None) -> str:
    if scope == "all":
        if reference is not None:
            raise invalid("id", "the scope all has none", "leave it out, or name another scope")
        return ""
    if reference is None:
        raise invalid("id", f"required for the scope {scope}")
    if scope == "source":
        if reference not in runtime.registry.sources:
            known = ", ".join(sorted(runtime.registry.sources)) or "none"
            raise invalid("id", f"there is no source plugin {reference}", f"known are {known}")
        return reference
    if scope in ("incident", "tag"):
        return reference
    async with runtime.database.read() as database:
        if scope == "brand":
            return str(await brand_of(database, reference, "id"))
        return str(await connection_of(database, reference, "id"))
