"""Things named in requests: by id, or by their unique name."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.api.problems import invalid
from gateway.db.database import Row, fetch_one


def as_id(text: str) -> UUID | None:
    """The text as an id, if it is one."""
    try:
        return UUID(text)
    except ValueError:
        return None


async def brand_of(connection: AsyncConnection, reference: str | None, field: str = "brand") -> UUID | None:
    """The id of a brand given by id or name. Raises Problem 422."""
    if reference is None:
        return None
    row = await _find(connection, "SELECT id FROM brand WHERE id = :id OR name = :name", reference)
    if row is None:
        raise invalid(field, f"there is no brand {reference}", "POST /v1/brands makes one")
    found: UUID = row["id"]
    return found


async def app_of(connection: AsyncConnection, reference: str | None, plugin: str) -> Row | None:
    """An App of a plugin, given by id or name. Raises Problem 422."""
    if reference is None:
        return None
    row = await _find(
        connection, "SELECT id, plugin, config, secrets FROM app WHERE id = :id OR name = :name", reference
    )
    if row is None:
        raise invalid("app", f"there is no App {reference}", "POST /v1/apps makes one")
    if row["plugin"] != plugin:
        raise invalid("app", f"it is an App of {row['plugin']}, not of {plugin}")
    return row


async def helpdesk_of(connection: AsyncConnection, reference: str | None) -> UUID | None:
    """The id of a helpdesk connection given by id or name. Raises Problem 422."""
    if reference is None:
        return None
    row = await _find(
        connection, "SELECT id FROM connection WHERE role = 'helpdesk' AND (id = :id OR name = :name)", reference
    )
    if row is None:
        raise invalid(
            "helpdesk", f"there is no helpdesk connection {reference}", "POST /v1/connections with a helpdesk plugin"
        )
    found: UUID = row["id"]
    return found


async def connection_of(connection: AsyncConnection, reference: str, field: str) -> UUID:
    """The id of a connection given by id, or by a name that only one has. Raises Problem 422."""
    row: Any = await _find(
        connection,
        "SELECT min(id::text)::uuid AS id, count(*) AS found FROM connection WHERE id = :id OR name = :name",
        reference,
    )
    if row["found"] == 0:
        raise invalid(field, f"there is no connection {reference}")
    if row["found"] > 1:
        raise invalid(field, f"a source and a helpdesk are named {reference}", "give the id")
    found: UUID = row["id"]
    return found


async def _find(connection: AsyncConnection, statement: str, reference: str) -> Row | None:
    return await fetch_one(connection, statement, id=as_id(reference), name=reference)
