"""What can be done with a connection: ask it, set it up, stop it and let it go on."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.api.configs import merged, opened, sealed, validated
from gateway.api.connections import SELECT, ConnectionView, drains_of, merge_config, view_of
from gateway.api.deps import RuntimeDep, WritesConnections
from gateway.api.models import Answer
from gateway.api.problems import conflict, not_found, provider_problem, responses
from gateway.api.routes import ApiRoute
from gateway.api.standing import door_id, door_url
from gateway.connections import ConfigInvalid, Endpoint, PluginMissing
from gateway.db.database import Row, execute, fetch_one
from gateway.net.client import calling
from gateway.runtime import Runtime
from gateway_schemas.errors import GatewayError
from gateway_schemas.helpdesk import Helpdesk
from gateway_schemas.plugin import Health, HealthFinding, Step
from gateway_schemas.source import Source

router = APIRouter(prefix="/connections/{connection_id}", tags=["connections"], route_class=ApiRoute)

Direction = Literal["in", "out", "both"]
SECONDS = 60.0
"""How long an action may talk to the provider in all."""


class InstallView(Answer):
    """What was set up at the provider, or would be."""

    dry_run: bool
    door: str
    """Where the provider delivers from now on."""
    steps: list[Step]
    changed: list[str]
    """Fields of the configuration that were filled in."""


class AccountView(Answer):
    """An account that these credentials can act for."""

    external_id: str
    name: str
    handle: str | None
    config: dict[str, Any]
    """What a connection of it needs beside the credentials."""


@router.post("/check", responses=responses(502))
async def check_connection(runtime: RuntimeDep, _: WritesConnections, connection_id: UUID) -> Health:
    """Ask the provider whether everything works: credentials, rights, webhooks, settings that work against us."""
    endpoint = await _endpoint(runtime, connection_id)
    try:
        with calling(lane="interactive", seconds=SECONDS):
            return await _plugin(runtime, endpoint).check()
    except GatewayError as error:
        finding = HealthFinding(
            severity="error",
            code=error.code,
            message=error.reason,
            mend="Change the credentials." if error.code in ("reauthorise", "http_401") else "Try again later.",
        )
        return Health(ok=False, findings=(finding,))


@router.post("/install", responses=responses(409, 502))
async def install_connection(
    runtime: RuntimeDep,
    _: WritesConnections,
    connection_id: UUID,
    request: Request,
    dry_run: Annotated[bool, Query(description="Only say what would be done.")] = False,
) -> InstallView:
    """Set up webhooks, triggers and fields at the provider. Safe to repeat: what is there is kept."""
    endpoint = await _endpoint(runtime, connection_id)
    async with runtime.database.read() as connection:
        row = await _row(connection, connection_id)
    door = door_url(runtime, request, door_id(runtime.registry, row))
    plugin = _plugin(runtime, endpoint, door=door)
    try:
        with calling(lane="interactive", seconds=SECONDS):
            report = await plugin.install(dry_run=dry_run)
    except GatewayError as error:
        raise provider_problem(error) from error
    changed: list[str] = []
    if not dry_run and (report.config or report.app_config):
        async with runtime.database.write() as connection:
            row = await _row(connection, connection_id, lock=True)
            if report.config:
                await execute(
                    connection, "UPDATE connection SET version = version + 1 WHERE id = :id", id=connection_id
                )
                await merge_config(connection, runtime, row, report.config)
            if report.app_config and row["app_id"] is not None:
                await _merge_app(connection, runtime, row["app_id"], report.app_config)
        changed = sorted([*report.config, *(f"app.{name}" for name in report.app_config)])
        runtime.connections.forget(connection_id)
        if row["app_id"] is not None:
            runtime.connections.forget(row["app_id"])
    return InstallView(dry_run=dry_run, door=door, steps=list(report.steps), changed=changed)


@router.post("/discover", responses=responses(502))
async def discover_accounts(runtime: RuntimeDep, _: WritesConnections, connection_id: UUID) -> list[AccountView]:
    """The accounts that this connection's credentials can act for."""
    plugin = _plugin(runtime, await _endpoint(runtime, connection_id))
    if not isinstance(plugin, Source):
        return []
    try:
        with calling(lane="interactive", seconds=SECONDS):
            found = await plugin.discover()
    except GatewayError as error:
        raise provider_problem(error) from error
    return [AccountView(**one.model_dump(mode="json")) for one in found]


@router.post("/pause")
async def pause_connection(
    runtime: RuntimeDep,
    _: WritesConnections,
    connection_id: UUID,
    request: Request,
    direction: Annotated[Direction, Query(description="What comes in, what goes out, or both.")] = "both",
) -> ConnectionView:
    """Stop a connection's work. Its door goes on storing, and its backlog is kept."""
    return await _pause(runtime, request, connection_id, direction, paused=True)


@router.post("/resume")
async def resume_connection(
    runtime: RuntimeDep,
    _: WritesConnections,
    connection_id: UUID,
    request: Request,
    direction: Annotated[Direction, Query(description="What comes in, what goes out, or both.")] = "both",
) -> ConnectionView:
    """Let a connection go on where it stopped, also one that needed authorisation and has been given it."""
    return await _pause(runtime, request, connection_id, direction, paused=False)


async def _pause(runtime: Runtime, request: Request, id: UUID, direction: Direction, *, paused: bool) -> ConnectionView:
    async with runtime.database.write() as connection:
        row = await _row(connection, id, lock=True)
        await execute(
            connection,
            """UPDATE connection SET paused_in = CASE WHEN :inward THEN :paused ELSE paused_in END,
                   paused_out = CASE WHEN :outward THEN :paused ELSE paused_out END, version = version + 1,
                   status = CASE WHEN :paused THEN status ELSE 'active' END,
                   status_reason = CASE WHEN :paused THEN status_reason END,
                   blocked_until = CASE WHEN :paused THEN blocked_until END, updated_at = :now WHERE id = :id""",
            id=id,
            inward=direction in ("in", "both"),
            outward=direction in ("out", "both"),
            paused=paused,
            now=runtime.now(),
        )
        view = await view_of(connection, runtime, request, id)
        shards = await _waiting_shards(connection, id) if not paused else set()
    runtime.connections.forget(id)
    if not paused:
        plugin = runtime.registry.plugin(row["role"], row["plugin"])
        await runtime.wake(drains_of(row["role"], id, plugin) | shards)
    return view


async def _waiting_shards(connection: AsyncConnection, id: UUID) -> set[str]:
    row = await fetch_one(
        connection,
        """SELECT array_agg(DISTINCT r.shard) AS shards FROM revision r JOIN interaction i ON i.id = r.interaction_id
           WHERE r.state = 'pending' AND i.connection_id = :id""",
        id=id,
    )
    return {f"thread:{shard}" for shard in (row["shards"] if row and row["shards"] else ())}


async def _merge_app(connection: AsyncConnection, runtime: Runtime, app_id: UUID, change: dict[str, Any]) -> None:
    row = await fetch_one(connection, "SELECT plugin, config, secrets FROM app WHERE id = :id FOR UPDATE", id=app_id)
    plugin = runtime.registry.sources.get(row["plugin"]) if row else None
    if row is None or plugin is None:
        return
    context = f"app:{app_id}"
    stored = {**row["config"], **(opened(runtime.vault, row["secrets"], context) or {})}
    shown, secrets = sealed(runtime.vault, validated(plugin.AppConfig, merged(stored, change)), context)
    await execute(
        connection,
        """UPDATE app SET config = CAST(:config AS jsonb), secrets = :secrets, version = version + 1, updated_at = :now
           WHERE id = :id""",
        id=app_id,
        config=shown,
        secrets=secrets,
        now=runtime.now(),
    )


async def _row(connection: AsyncConnection, id: UUID, *, lock: bool = False) -> Row:
    row = await fetch_one(connection, f"{SELECT} WHERE id = :id" + (" FOR UPDATE" if lock else ""), id=id)
    if row is None:
        raise not_found("connection", id)
    return row


async def _endpoint(runtime: Runtime, id: UUID) -> Endpoint:
    endpoint = (await runtime.connections.load([id])).get(id)
    if endpoint is None or endpoint.is_app:
        raise not_found("connection", id)
    return endpoint


def _plugin(runtime: Runtime, endpoint: Endpoint, *, door: str | None = None) -> Source[Any] | Helpdesk[Any]:
    try:
        return runtime.connections.fresh(endpoint, outgoing=runtime.outgoing, door=door)
    except (PluginMissing, ConfigInvalid) as error:
        raise conflict(str(error)) from error
