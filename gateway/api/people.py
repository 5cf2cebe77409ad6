"""People: which agents, addresses and API keys are one and the same person."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import Field, StringConstraints
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.api.deps import Administers, RuntimeDep
from gateway.api.lookup import helpdesk_of
from gateway.api.models import Answer, Input, Page, Reference
from gateway.api.paging import Filters, PagingDep, list_page
from gateway.api.problems import invalid, not_found
from gateway.api.routes import ApiRoute
from gateway.db.database import Row, execute, fetch_all, fetch_one, insert_rows
from gateway.db.tables.columns import new_id
from gateway.runtime import Runtime

router = APIRouter(prefix="/people", tags=["people"], route_class=ApiRoute)

SELECT = """
SELECT p.id, p.name, p.created_at, (
    SELECT jsonb_agg(jsonb_build_object('kind', i.kind, 'scope', i.scope, 'value', i.value) ORDER BY i.kind, i.value)
    FROM person_identity i WHERE i.person_id = p.id) AS identities
FROM person p
"""
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
Email = Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+$", max_length=320)]


class AgentAt(Input):
    """An agent at a helpdesk."""

    helpdesk: Reference
    """The helpdesk connection, by id or name."""
    id: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    """The agent's id there."""


class PersonInput(Input):
    """Somebody of the company, and all they go by. Each identity belongs to one person."""

    name: Name
    agents: list[AgentAt] = Field(default_factory=list)
    emails: list[Email] = Field(default_factory=list)
    """Addresses that helpdesks know them by."""
    keys: list[UUID] = Field(default_factory=list)
    """Ids of the API keys that they alone use."""


class AgentView(Answer):
    """An agent at a helpdesk."""

    helpdesk: UUID
    id: str


class PersonView(Answer):
    """Somebody of the company."""

    id: UUID
    name: str
    agents: list[AgentView]
    emails: list[str]
    keys: list[UUID]
    created_at: datetime


@router.get("")
async def list_people(runtime: RuntimeDep, _: Administers, paging: PagingDep) -> Page[PersonView]:
    """People, newest first."""
    filters = Filters()
    filters.add("p.archived_at IS NULL")
    async with runtime.database.read() as database:
        rows, following = await list_page(database, SELECT, filters, paging, id="p.id")
    return Page(items=[_view(row) for row in rows], next=following)


@router.post("", status_code=201)
async def create_person(runtime: RuntimeDep, _: Administers, given: PersonInput) -> PersonView:
    """Say that these agents, addresses and keys are one person."""
    id = new_id()
    async with runtime.database.write() as database:
        await execute(
            database,
            "INSERT INTO person (id, name, created_at) VALUES (:id, :name, :now)",
            id=id,
            name=given.name,
            now=runtime.now(),
        )
        await _identify(database, id, given)
    return await _person(runtime, id)


@router.get("/{person_id}")
async def read_person(runtime: RuntimeDep, _: Administers, person_id: UUID) -> PersonView:
    """One person."""
    return await _person(runtime, person_id)


@router.put("/{person_id}")
async def replace_person(runtime: RuntimeDep, _: Administers, person_id: UUID, given: PersonInput) -> PersonView:
    """Change a person's name and all they go by."""
    async with runtime.database.write() as database:
        touched = await execute(
            database,
            "UPDATE person SET name = :name WHERE id = :id AND archived_at IS NULL",
            id=person_id,
            name=given.name,
        )
        if not touched:
            raise not_found("person", person_id)
        await execute(database, "DELETE FROM person_identity WHERE person_id = :id", id=person_id)
        await _identify(database, person_id, given)
    return await _person(runtime, person_id)


@router.delete("/{person_id}", status_code=204)
async def remove_person(runtime: RuntimeDep, _: Administers, person_id: UUID) -> Response:
    """Somebody has left: they approve nothing any more."""
    async with runtime.database.write() as database:
        touched = await execute(
            database,
            "UPDATE person SET archived_at = :now WHERE id = :id AND archived_at IS NULL",
            id=person_id,
            now=runtime.now(),
        )
        if not touched:
            raise not_found("person", person_id)
        await execute(database, "DELETE FROM person_identity WHERE person_id = :id", id=person_id)
    return Response(status_code=204)


async def _identify(database: AsyncConnection, person_id: UUID, given: PersonInput) -> None:
    known = {
        row["id"] for row in await fetch_all(database, "SELECT id FROM api_key WHERE id = ANY(:ids)", ids=given.keys)
    }
    for number, key in enumerate(given.keys):
        if key not in known:
            raise invalid(f"keys.{number}", f"there is no API key {key}", "GET /v1/keys lists them")
    found: list[tuple[str, str, str, str]] = [("key", "", str(key), f"keys.{at}") for at, key in enumerate(given.keys)]
    found += [("email", "", one.casefold(), f"emails.{at}") for at, one in enumerate(given.emails)]
    for at, agent in enumerate(given.agents):
        found.append(("agent", str(await helpdesk_of(database, agent.helpdesk)), agent.id, f"agents.{at}"))
    for kind, scope, value, field in dict.fromkeys(found):
        row = {"id": new_id(), "person_id": person_id, "kind": kind, "scope": scope, "value": value}
        fresh = await insert_rows(
            database, "person_identity", [row], tail="ON CONFLICT (kind, scope, value) DO NOTHING RETURNING id"
        )
        if not fresh and await _owner(database, kind, scope, value) != person_id:
            raise invalid(field, "it is somebody else's already", "take it from them first")


async def _owner(database: AsyncConnection, kind: str, scope: str, value: str) -> UUID | None:
    row = await fetch_one(
        database,
        "SELECT person_id FROM person_identity WHERE kind = :kind AND scope = :scope AND value = :value",
        kind=kind,
        scope=scope,
        value=value,
    )
    return row["person_id"] if row else None


async def _person(runtime: Runtime, person_id: UUID) -> PersonView:
    async with runtime.database.read() as database:
        row = await fetch_one(database, SELECT + " WHERE p.id = :id AND p.archived_at IS NULL", id=person_id)
    if row is None:
        raise not_found("person", person_id)
    return _view(row)


def _view(row: Row) -> PersonView:
    known: list[dict[str, Any]] = row["identities"] or []
    return PersonView(
        id=row["id"],
        name=row["name"],
        created_at=row["created_at"],
        agents=[AgentView(helpdesk=one["scope"], id=one["value"]) for one in known if one["kind"] == "agent"],
        emails=[one["value"] for one in known if one["kind"] == "email"],
        keys=[one["value"] for one in known if one["kind"] == "key"],
    )
