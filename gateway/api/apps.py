"""Apps: registrations at providers, which own connections."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import AwareDatetime, Field
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.api.configs import (
    checked_end,
    checked_ranges,
    find_plugin,
    has_app,
    hidden,
    merged,
    move_end,
    note_fields,
    opened,
    retire_replaced,
    sealed,
    validated,
)
from gateway.api.deps import ReadsConnections, RuntimeDep, WritesConnections
from gateway.api.etags import IfMatch, check_match, etag
from gateway.api.lookup import brand_of
from gateway.api.models import Answer, Input, Name, Page, Reference
from gateway.api.paging import Filters, PagingDep, list_page
from gateway.api.problems import conflict, invalid, not_found, responses
from gateway.api.routes import ApiRoute
from gateway.api.standing import RefusalView, RetiredView, door_url, refusals_of, retired_of, shares_door
from gateway.db.database import Row, execute, fetch_one
from gateway.db.tables.columns import new_id
from gateway.health.probe import look_soon
from gateway.runtime import Runtime

router = APIRouter(prefix="/apps", tags=["connections"], route_class=ApiRoute)

SELECT = "SELECT id, plugin, name, brand_id, config, secrets, allow_private, version, created_at, updated_at FROM app"


class NewApp(Input):
    """An App to be made."""

    plugin: Name
    """The name of a source plugin whose provider registers Apps."""
    name: Name
    """Unique."""
    brand: Reference | None = None
    """A brand's id or name; null for all brands."""
    config: dict[str, Any] = Field(default_factory=dict)
    """As `app_config_schema` of the plugin says (GET /v1/plugins)."""
    allow_private: list[str] = Field(default=[], max_length=50)
    """Private addresses that its requests may go to: `10.1.0.0/16`, `tickets.internal:8443`."""


class AppChange(Input):
    """A change of an App. What is left out stays as it is."""

    name: Name | None = None
    brand: Reference | None = None
    config: dict[str, Any] | None = None
    """Merged into the stored configuration: null takes a field away; secrets left out stay."""
    previous_valid_until: AwareDatetime | None = None
    """Until when webhooks signed with secrets that are replaced are accepted as well, 30 days at most. Without it the
    new secrets count alone, at once. Without `config` it moves the end of those replaced before; null, or a time that
    has passed, ends them now."""
    allow_private: list[str] | None = Field(default=None, max_length=50)


class AppView(Answer):
    """One registration at a provider."""

    id: UUID
    plugin: str
    name: str
    brand: UUID | None
    config: dict[str, Any]
    """Secrets are shown as `{"set": true}`."""
    secrets_readable: bool
    """False when this installation's key does not open them: enter them anew."""
    retired_secrets: list[RetiredView]
    """Secrets that were replaced and are still accepted at the door."""
    allow_private: list[str]
    door: str | None
    """Where the provider delivers; null where each connection has a door of its own."""
    refusals: list[RefusalView]
    version: int
    created_at: datetime
    updated_at: datetime


@router.post("", status_code=201)
async def create_app(
    runtime: RuntimeDep, _: WritesConnections, given: NewApp, request: Request, response: Response
) -> AppView:
    """Make an App. Its configuration is checked by the plugin and its secrets are sealed."""
    async with runtime.database.write() as connection:
        view = await _view(connection, runtime, request, await add_app(connection, runtime, given))
    response.headers["Location"] = f"/v1/apps/{view.id}"
    response.headers["ETag"] = etag(view.version)
    return view


async def add_app(connection: AsyncConnection, runtime: Runtime, given: NewApp) -> Row:
    """Make an App in the caller's transaction. Raises Problem 409 and 422."""
    plugin = find_plugin(runtime.registry, given.plugin)[1]
    if not has_app(plugin):
        raise invalid("plugin", f"{given.plugin} has no Apps", "make the connection alone: POST /v1/connections")
    id, now = new_id(), runtime.now()
    shown, secrets = sealed(runtime.vault, validated(plugin.AppConfig, given.config), f"app:{id}")
    row = await fetch_one(
        connection,
        """INSERT INTO app (id, plugin, name, brand_id, config, secrets, allow_private, version, created_at,
               updated_at)
           VALUES (:id, :plugin, :name, :brand, CAST(:config AS jsonb), :secrets, :private, 1, :now, :now)
           ON CONFLICT (name) DO NOTHING RETURNING *""",
        id=id,
        plugin=given.plugin,
        name=given.name,
        brand=await brand_of(connection, given.brand),
        config=shown,
        secrets=secrets,
        private=checked_ranges(given.allow_private),
        now=now,
    )
    if row is None:
        raise conflict(f"There is an App {given.name} already.", field="name")
    return row


@router.get("")
async def list_apps(
    runtime: RuntimeDep,
    _: ReadsConnections,
    request: Request,
    paging: PagingDep,
    plugin: Annotated[str | None, Query()] = None,
) -> Page[AppView]:
    """Apps, oldest first."""
    filters = Filters()
    filters.add("plugin = :plugin", plugin=plugin)
    async with runtime.database.read() as connection:
        rows, following = await list_page(connection, SELECT, filters, paging, newest_first=False)
        return Page(items=[await _view(connection, runtime, request, row) for row in rows], next=following)


@router.get("/{app_id}")
async def read_app(
    runtime: RuntimeDep, _: ReadsConnections, app_id: UUID, request: Request, response: Response
) -> AppView:
    """One App."""
    async with runtime.database.read() as connection:
        row = await fetch_one(connection, f"{SELECT} WHERE id = :id", id=app_id)
        if row is None:
            raise not_found("App", app_id)
        response.headers["ETag"] = etag(row["version"])
        return await _view(connection, runtime, request, row)


@router.patch("/{app_id}", responses=responses(409, 412))
async def change_app(
    runtime: RuntimeDep,
    _: WritesConnections,
    app_id: UUID,
    given: AppChange,
    request: Request,
    response: Response,
    if_match: IfMatch = None,
) -> AppView:
    """Change an App; its connections work with the change within a second."""
    async with runtime.database.write() as connection:
        row = await lock_app(connection, app_id)
        check_match(if_match, row["version"])
        await alter_app(connection, runtime, row, given)
        changed = await fetch_one(connection, f"{SELECT} WHERE id = :id", id=app_id)
        assert changed is not None
        view = await _view(connection, runtime, request, changed)
    runtime.connections.forget(app_id)
    response.headers["ETag"] = etag(view.version)
    return view


async def alter_app(
    connection: AsyncConnection,
    runtime: Runtime,
    row: Row,
    given: AppChange,
    *,
    config: Mapping[str, Any] | None = None,
) -> None:
    """Change an App in the caller's transaction; `config` takes the place of the whole configuration. Raises Problem
    409 and 422."""
    until = checked_end(runtime, given.previous_valid_until)
    if given.name is not None and await _taken(connection, given.name, row["id"]):
        raise conflict(f"There is an App {given.name} already.", field="name")
    values: dict[str, Any] = {
        "name": given.name or row["name"],
        "brand": await brand_of(connection, given.brand) if "brand" in given.model_fields_set else row["brand_id"],
        "private": row["allow_private"] if given.allow_private is None else checked_ranges(given.allow_private),
    }
    await execute(
        connection,
        """UPDATE app SET name = :name, brand_id = :brand, allow_private = :private, version = version + :step,
               updated_at = :now WHERE id = :id""",
        id=row["id"],
        step=1 if given.config is None and config is None else 0,
        now=runtime.now(),
        **values,
    )
    if config is not None:
        await write_app_config(connection, runtime, row, config)
    elif given.config is not None:
        await merge_app_config(connection, runtime, row, given.config, until=until)
        await note_fields(connection, "app", row["id"], given.config)
    await move_end(connection, runtime, row["id"], given, until)


async def lock_app(connection: AsyncConnection, id: UUID) -> Row:
    """The row of an App, for a change in the caller's transaction. Raises Problem 404."""
    row = await fetch_one(connection, f"{SELECT} WHERE id = :id FOR UPDATE", id=id)
    if row is None:
        raise not_found("App", id)
    return row


async def merge_app_config(
    connection: AsyncConnection,
    runtime: Runtime,
    row: Mapping[str, Any],
    change: Mapping[str, Any],
    *,
    until: datetime | None = None,
) -> None:
    """Merge a change into an App's configuration, in the caller's transaction; secrets it replaces are accepted at the
    door until then. Raises Problem 422."""
    stored = {**row["config"], **(opened(runtime.vault, row["secrets"], f"app:{row['id']}") or {})}
    await write_app_config(connection, runtime, row, merged(stored, change), until=until)


async def write_app_config(
    connection: AsyncConnection,
    runtime: Runtime,
    row: Mapping[str, Any],
    document: Mapping[str, Any],
    *,
    until: datetime | None = None,
) -> None:
    """Store an App's whole configuration, in the caller's transaction, as `merge_app_config` does."""
    _, plugin = find_plugin(runtime.registry, row["plugin"])
    context = f"app:{row['id']}"
    shown, secrets = sealed(runtime.vault, validated(plugin.AppConfig, document), context)
    await retire_replaced(connection, runtime, row, secrets, context, until)
    await execute(
        connection,
        """UPDATE app SET config = CAST(:config AS jsonb), secrets = :secrets, version = version + 1, updated_at = :now
           WHERE id = :id""",
        id=row["id"],
        config=shown,
        secrets=secrets,
        now=runtime.now(),
    )
    await look_soon(connection, row["id"], runtime.now())


async def _taken(connection: AsyncConnection, name: str, id: UUID) -> bool:
    row = await fetch_one(connection, "SELECT 1 FROM app WHERE name = :name AND id <> :id", name=name, id=id)
    return row is not None


async def _view(connection: AsyncConnection, runtime: Runtime, request: Request, row: Mapping[str, Any]) -> AppView:
    secrets = opened(runtime.vault, row["secrets"], f"app:{row['id']}")
    return AppView(
        **{name: row[name] for name in ("id", "plugin", "name", "version", "allow_private")},
        **{name: row[name] for name in ("created_at", "updated_at")},
        brand=row["brand_id"],
        config=hidden(row["config"], secrets),
        secrets_readable=secrets is not None,
        door=door_url(runtime, request, row["id"]) if shares_door(runtime.registry, row["plugin"]) else None,
        retired_secrets=(await retired_of(connection, [row["id"]], runtime.now())).get(row["id"], []),
        refusals=(await refusals_of(connection, [row["id"]], runtime.now())).get(row["id"], []),
    )
