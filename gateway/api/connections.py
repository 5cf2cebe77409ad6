"""Connections: accounts at providers, sources and helpdesks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.api.authorisations import AuthorisationView, authorisations_of
from gateway.api.configs import hidden, opened
from gateway.api.connection_changes import (
    ConnectionChange,
    History,
    NewConnection,
    Role,
    add_connection,
    alter_connection,
    drains_of,
)
from gateway.api.deps import ReadsConnections, RuntimeDep, WritesConnections
from gateway.api.etags import IfMatch, check_match, etag
from gateway.api.models import Answer, Page
from gateway.api.paging import Filters, PagingDep, list_page
from gateway.api.problems import not_found, responses
from gateway.api.routes import ApiRoute
from gateway.api.standing import HealthView, RetiredView, door_id, door_url, health_of, retired_of
from gateway.db.database import fetch_one
from gateway.runtime import Runtime

router = APIRouter(prefix="/connections", tags=["connections"], route_class=ApiRoute)

SELECT = """
SELECT id, role, plugin, name, brand_id, app_id, account, config, secrets, allow_private, helpdesk_id, history,
    history_days,
       sla_owner, health_ticket, status, status_reason, paused_in, paused_out, blocked_until, blocked_reason,
       failures, last_ok_at,
       version,
       created_at, updated_at
FROM connection
"""


class ConnectionView(Answer):
    """One account at a provider."""

    id: UUID
    role: Role
    plugin: str
    name: str
    brand: UUID | None
    app: UUID | None
    account: str | None
    """The provider's id of the account."""
    config: dict[str, Any]
    """Secrets are shown as `{"set": true}`."""
    secrets_readable: bool
    """False when this installation's key does not open them: enter them anew."""
    retired_secrets: list[RetiredView]
    """Secrets that were replaced and are still accepted at the door."""
    helpdesk: UUID | None
    history: History
    history_days: int
    sla_owner: str
    health_ticket: bool
    allow_private: list[str]
    door: str
    """Where the provider delivers."""
    health: HealthView
    authorisation: AuthorisationView | None
    """The consent by which it acts; null where its credentials were entered by hand."""
    version: int
    created_at: datetime
    updated_at: datetime


@router.post("", status_code=201)
async def create_connection(
    runtime: RuntimeDep, _: WritesConnections, given: NewConnection, request: Request, response: Response
) -> ConnectionView:
    """Make a connection. Its configuration is checked by the plugin and its secrets are sealed; polling begins at
    once."""
    async with runtime.database.write() as connection:
        row, drains = await add_connection(connection, runtime, given)
        view = (await views_of(connection, runtime, request, [row]))[0]
    await runtime.wake(drains)
    response.headers["Location"] = f"/v1/connections/{view.id}"
    response.headers["ETag"] = etag(view.version)
    return view


@router.get("")
async def list_connections(
    runtime: RuntimeDep,
    _: ReadsConnections,
    request: Request,
    paging: PagingDep,
    role: Annotated[Role | None, Query()] = None,
    plugin: Annotated[str | None, Query()] = None,
    status: Annotated[Literal["active", "needs_authorisation", "broken"] | None, Query()] = None,
    app: Annotated[UUID | None, Query()] = None,
    brand: Annotated[UUID | None, Query()] = None,
) -> Page[ConnectionView]:
    """Connections with their health, oldest first."""
    filters = Filters()
    filters.add("role = :role", role=role)
    filters.add("plugin = :plugin", plugin=plugin)
    filters.add("status = :status", status=status)
    filters.add("app_id = :app", app=app)
    filters.add("brand_id = :brand", brand=brand)
    async with runtime.database.read() as connection:
        rows, following = await list_page(connection, SELECT, filters, paging, newest_first=False)
        return Page(items=await views_of(connection, runtime, request, rows), next=following)


@router.get("/{connection_id}")
async def read_connection(
    runtime: RuntimeDep, _: ReadsConnections, connection_id: UUID, request: Request, response: Response
) -> ConnectionView:
    """One connection with its health."""
    async with runtime.database.read() as connection:
        view = await view_of(connection, runtime, request, connection_id)
    response.headers["ETag"] = etag(view.version)
    return view


@router.patch("/{connection_id}", responses=responses(409, 412))
async def change_connection(
    runtime: RuntimeDep,
    _: WritesConnections,
    connection_id: UUID,
    given: ConnectionChange,
    request: Request,
    response: Response,
    if_match: IfMatch = None,
) -> ConnectionView:
    """Change a connection; everything works with the change within a second.

    New credentials make a connection that needed authorisation active again.
    """
    async with runtime.database.write() as connection:
        # consent before connection, as whoever renews tokens locks them
        await fetch_one(
            connection, "SELECT 1 FROM authorisation WHERE connection_id = :id FOR UPDATE", id=connection_id
        )
        row = await fetch_one(connection, f"{SELECT} WHERE id = :id FOR UPDATE", id=connection_id)
        if row is None:
            raise not_found("connection", connection_id)
        check_match(if_match, row["version"])
        await alter_connection(connection, runtime, row, given)
        view = await view_of(connection, runtime, request, connection_id)
    runtime.connections.forget(connection_id)
    if given.config is not None or given.helpdesk is not None:
        streams = runtime.registry.streams(row["role"], row["plugin"])
        await runtime.wake(drains_of(row["role"], connection_id, streams))
    response.headers["ETag"] = etag(view.version)
    return view


async def view_of(connection: AsyncConnection, runtime: Runtime, request: Request, id: UUID) -> ConnectionView:
    """One connection as it is shown. Raises Problem 404."""
    row = await fetch_one(connection, f"{SELECT} WHERE id = :id", id=id)
    if row is None:
        raise not_found("connection", id)
    return (await views_of(connection, runtime, request, [row]))[0]


async def views_of(
    connection: AsyncConnection, runtime: Runtime, request: Request, rows: Sequence[Mapping[str, Any]]
) -> list[ConnectionView]:
    """Connections as they are shown."""
    health = await health_of(connection, runtime, rows)
    consents = await authorisations_of(connection, runtime, [row["id"] for row in rows])
    retiring = await retired_of(connection, [row["id"] for row in rows], runtime.now())
    views = []
    for row in rows:
        secrets = opened(runtime.vault, row["secrets"], f"connection:{row['id']}")
        plain = (
            "id",
            "role",
            "plugin",
            "name",
            "account",
            "history",
            "history_days",
            "sla_owner",
            "health_ticket",
            "allow_private",
        )
        views.append(
            ConnectionView(
                **{name: row[name] for name in (*plain, "version", "created_at", "updated_at")},
                brand=row["brand_id"],
                app=row["app_id"],
                helpdesk=row["helpdesk_id"],
                config=hidden(row["config"], secrets),
                secrets_readable=secrets is not None,
                retired_secrets=retiring.get(row["id"], []),
                door=door_url(runtime, request, door_id(runtime.registry, row)),
                health=health[row["id"]],
                authorisation=consents.get(row["id"]),
            )
        )
    return views
