"""One call stops everything outbound, for all or for a brand, a source or a connection."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from fastapi import APIRouter

from gateway.api.deps import ReadsOutbound, RuntimeDep, StopsOutbound
from gateway.api.lookup import brand_of, connection_of
from gateway.api.models import Answer, Input, Page, Reason, Reference
from gateway.api.problems import invalid, not_found
from gateway.api.routes import ApiRoute
from gateway.db.database import fetch_all, fetch_one
from gateway.db.tables.columns import new_id
from gateway.runtime import Runtime

router = APIRouter(prefix="/outbound", tags=["outbound"], route_class=ApiRoute)

COLUMNS = "id, scope, scope_id, reason, paused_by, since, lifted_at, lifted_by"
Scope = Literal["all", "brand", "source", "connection"]


class Stop(Input):
    """What to stop."""

    scope: Scope = "all"
    id: Reference | None = None
    """The brand or connection, by id or name, or the source's plugin; not for `all`."""
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


@router.get("")
async def list_pauses(runtime: RuntimeDep, _: ReadsOutbound) -> Page[PauseView]:
    """The stops in force. Always one page."""
    async with runtime.database.read() as database:
        rows = await fetch_all(database, f"SELECT {COLUMNS} FROM outbound_pause WHERE lifted_at IS NULL ORDER BY since")
    return Page(items=[PauseView(**row) for row in rows], next=None)


@router.post("/pause")
async def pause_outbound(runtime: RuntimeDep, caller: StopsOutbound, given: Stop) -> PauseView:
    """Stop everything outbound in a scope, at once: what is not under way is not begun. The door keeps storing."""
    scope_id = await _scope_id(runtime, given.scope, given.id)
    async with runtime.database.write() as database:
        await fetch_all(
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
        row = await fetch_one(
            database,
            f"SELECT {COLUMNS} FROM outbound_pause WHERE scope = :scope AND scope_id = :id AND lifted_at IS NULL",
            scope=given.scope,
            id=scope_id,
        )
    assert row is not None
    return PauseView(**row)


@router.post("/resume")
async def resume_outbound(runtime: RuntimeDep, caller: StopsOutbound, given: Release) -> PauseView:
    """Let a scope go on. What waited is decided on again where something has changed, and held where it is too old."""
    scope_id = await _scope_id(runtime, given.scope, given.id)
    async with runtime.database.write() as database:
        row = await fetch_one(
            database,
            f"""UPDATE outbound_pause SET lifted_at = :now, lifted_by = :who
                WHERE scope = :scope AND scope_id = :id AND lifted_at IS NULL RETURNING {COLUMNS}""",
            scope=given.scope,
            id=scope_id,
            who=caller.name,
            now=runtime.now(),
        )
        waiting = await fetch_all(database, "SELECT DISTINCT connection_id FROM reply WHERE state = 'queued'")
    if row is None:
        raise not_found("stop for", f"{given.scope} {given.id or ''}".strip())
    await runtime.wake({f"send:{one['connection_id']}" for one in waiting})
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
    async with runtime.database.read() as database:
        if scope == "brand":
            return str(await brand_of(database, reference, "id"))
        return str(await connection_of(database, reference, "id"))
