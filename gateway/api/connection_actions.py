"""What can be done with a connection: ask it, set it up, stop it and let it go on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.api.apps import lock_app, merge_app_config
from gateway.api.asking import ProviderProblem, ask, plugin_for
from gateway.api.configs import SET, grant_of, note_fields, opened, reported_badly, secret_fields
from gateway.api.connection_changes import drains_of, may_work, merge_config
from gateway.api.connections import SELECT, ConnectionView, view_of
from gateway.api.deps import RuntimeDep, WritesConnections
from gateway.api.models import Answer, Page
from gateway.api.problems import Problem, conflict, not_found, responses
from gateway.api.routes import ApiRoute
from gateway.api.standing import door_id, door_url
from gateway.connections import Endpoint
from gateway.db.database import Row, execute, fetch_one
from gateway.health.probe import look_soon, note_installed
from gateway.oauth.stored import NOT_CONNECTED, fields_of
from gateway.pipeline.poll import make_cursors
from gateway.pipeline.trouble import Trouble, note_success, note_trouble
from gateway.runtime import Runtime
from gateway.security.audit import note
from gateway.security.overlap import AFTER_INSTALL
from gateway.security.redaction import redacted_model
from gateway_schemas.enricher import Enricher
from gateway_schemas.plugin import Health, HealthFinding, Step
from gateway_schemas.source import Source

router = APIRouter(prefix="/connections/{connection_id}", tags=["connections"], route_class=ApiRoute)

Direction = Literal["in", "out", "both"]


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
    """What a connection of it needs; secrets are shown as `{"set": true}`."""
    grant: str | None
    """The same, sealed: give it to `POST /v1/connections` as `grant`."""


@router.post("/check", responses=responses(409))
async def check_connection(runtime: RuntimeDep, _: WritesConnections, connection_id: UUID, request: Request) -> Health:
    """Ask the provider whether everything works: credentials, rights, webhooks, settings that work against us.

    What is wrong is a finding with its mend, also when the provider could not be asked; the connection's health takes
    note of it.
    """
    endpoint = await _endpoint(runtime, connection_id)
    plugin = plugin_for(runtime, endpoint, door=await _door(runtime, request, connection_id))
    trouble: Trouble | None = None
    try:
        health = redacted_model(await ask(plugin.check))
    except ProviderProblem as problem:
        trouble = problem.trouble
        finding = HealthFinding(severity="error", code=trouble.code, message=trouble.reason, mend=_mend(trouble))
        health = Health(ok=False, findings=(finding,))
    async with runtime.database.write() as connection:
        if trouble is not None:
            await note_trouble(connection, endpoint, trouble, runtime.now())
        elif health.ok:
            await note_success(connection, endpoint, runtime.now())
    runtime.connections.forget(connection_id)
    return health


def _mend(trouble: Trouble) -> str:
    if trouble.kind == "reauthorise":
        return "Connect it again (POST /v1/connections/{id}/authorize), or PATCH new credentials into its config."
    if trouble.code == "plugin_bug":
        return "Tell the plugin's author; the log has the details."
    return "Try again later." if trouble.kind in ("retry", "unknown") else "Change the configuration."


@router.post("/install", responses=responses(409, 502, 503, 504))
async def install_connection(
    runtime: RuntimeDep,
    _: WritesConnections,
    connection_id: UUID,
    request: Request,
    dry_run: Annotated[bool, Query(description="Only say what would be done.")] = False,
) -> InstallView:
    """Set up webhooks, triggers and fields at the provider. Safe to repeat: what is there is kept."""
    endpoint = await _endpoint(runtime, connection_id)
    door = await _door(runtime, request, connection_id)
    plugin = plugin_for(runtime, endpoint, door=door)
    if isinstance(plugin, Enricher):
        raise conflict("There is nothing to set up for an enricher: it is asked, and nothing is delivered by it.")
    if not dry_run:
        async with runtime.database.write() as connection:
            await note(connection, "connection", connection_id, {}, {"install": "asked"})  # on record before it is done
    report = await ask(lambda: plugin.install(dry_run=dry_run))
    steps = [redacted_model(one) for one in report.steps]
    changed: list[str] = []
    if not dry_run:
        until = runtime.now() + AFTER_INSTALL  # what is under way was signed with the old secrets
        async with runtime.database.write() as connection:
            row = await _row(connection, connection_id, lock=True)
            done = [step.model_dump(mode="json", include={"action", "what"}) for step in steps]
            await note(connection, "connection", connection_id, {}, {"install": done})
            try:
                if report.config:
                    await merge_config(connection, runtime, row, report.config, until=until)
                    await note_fields(connection, "connection", connection_id, report.config, installed=True)
                if report.app_config and row["app_id"] is not None:
                    app = await lock_app(connection, row["app_id"])
                    await merge_app_config(connection, runtime, app, report.app_config, until=until)
                    await note_fields(connection, "app", app["id"], report.app_config, installed=True)
            except Problem as problem:
                raise reported_badly(row["plugin"], problem) from problem
        changed = sorted([*report.config, *(f"app.{name}" for name in report.app_config)])
        runtime.connections.forget(connection_id)
        if row["app_id"] is not None:
            runtime.connections.forget(row["app_id"])
    if not dry_run:
        async with runtime.database.write() as connection:
            await note_installed(connection, connection_id, door, runtime.now())
    return InstallView(dry_run=dry_run, door=door, steps=steps, changed=changed)


@router.post("/discover", responses=responses(409, 502, 503, 504))
async def discover_accounts(runtime: RuntimeDep, _: WritesConnections, connection_id: UUID) -> Page[AccountView]:
    """The accounts that this connection's credentials can act for. Always one page."""
    endpoint = await _endpoint(runtime, connection_id)
    plugin = plugin_for(runtime, endpoint)
    if not isinstance(plugin, Source):
        raise conflict(f"A connection to {endpoint.plugin} has no accounts to discover.")
    secret = secret_fields(plugin.Config)
    return Page(
        items=[
            AccountView(
                external_id=one.external_id,
                name=one.name,
                handle=one.handle,
                config={name: SET if name in secret else value for name, value in one.config.items()},
                grant=grant_of(runtime.vault, endpoint.plugin, one.config),
            )
            for one in await ask(plugin.discover)
        ],
        next=None,
    )


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
        await set_paused(connection, runtime, row, direction, paused=paused)
        streams = runtime.registry.streams(row["role"], row["plugin"])
        if not paused and streams:
            # a newer version of the plugin may have streams that the connection was not made with
            await make_cursors(connection, id, streams, runtime.now())
        await look_soon(connection, id, runtime.now())
        view = await view_of(connection, runtime, request, id)
        shards = await _waiting_shards(connection, id) if not paused else set()
    runtime.connections.forget(id)
    if not paused:
        await runtime.wake(drains_of(row["role"], id, streams) | shards)
    return view


async def set_paused(
    connection: AsyncConnection, runtime: Runtime, row: Mapping[str, Any], direction: Direction, *, paused: bool
) -> None:
    """Stop a connection's work or let it go on, in the caller's transaction.

    One that goes by OAuth goes on only if its consent stands.
    """
    stored = {**row["config"], **(opened(runtime.vault, row["secrets"], f"connection:{row['id']}") or {})}
    works = await may_work(connection, runtime, row["id"], row["role"], row["plugin"], stored)
    await execute(
        connection,
        """UPDATE connection SET paused_in = CASE WHEN :inward THEN :paused ELSE paused_in END,
               paused_out = CASE WHEN :outward THEN :paused ELSE paused_out END, version = version + 1,
               status = CASE WHEN :paused OR NOT :works THEN status ELSE 'active' END,
               status_reason = CASE WHEN :paused OR NOT :works THEN status_reason END,
               blocked_until = CASE WHEN :paused THEN blocked_until END, updated_at = :now WHERE id = :id""",
        id=row["id"],
        inward=direction in ("in", "both"),
        outward=direction in ("out", "both"),
        paused=paused,
        works=works,
        now=runtime.now(),
    )


async def _waiting_shards(connection: AsyncConnection, id: UUID) -> set[str]:
    row = await fetch_one(
        connection,
        """SELECT array_agg(DISTINCT r.shard) AS shards FROM revision r JOIN interaction i ON i.id = r.interaction_id
           WHERE r.state = 'pending' AND i.connection_id = :id""",
        id=id,
    )
    return {f"thread:{shard}" for shard in (row["shards"] if row and row["shards"] else ())}


async def _door(runtime: Runtime, request: Request, id: UUID) -> str:
    async with runtime.database.read() as connection:
        return door_url(runtime, request, door_id(runtime.registry, await _row(connection, id)))


async def _row(connection: AsyncConnection, id: UUID, *, lock: bool = False) -> Row:
    row = await fetch_one(connection, f"{SELECT} WHERE id = :id" + (" FOR UPDATE" if lock else ""), id=id)
    if row is None:
        raise not_found("connection", id)
    return row


async def _endpoint(runtime: Runtime, id: UUID) -> Endpoint:
    endpoint = (await runtime.connections.load([id])).get(id)
    if endpoint is None or endpoint.is_app:
        raise not_found("connection", id)
    fields = fields_of(runtime.registry.plugin(endpoint.role, endpoint.plugin))
    if fields is not None and (endpoint.config or {}).get(fields.token) == NOT_CONNECTED:
        raise conflict(f"{endpoint.name} is not connected yet: POST /v1/connections/{id}/authorize.")
    return endpoint
