"""People: which agents, addresses, API keys and tokens' subjects are one and the same person."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import Field, StringConstraints
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.api.deps import Administers, RuntimeDep
from gateway.api.etags import IfMatch, check_match, etag, fingerprint
from gateway.api.lookup import helpdesk_of
from gateway.api.models import Answer, Input, Page, Reference
from gateway.api.paging import Filters, PagingDep, list_page
from gateway.api.problems import invalid, not_found, responses
from gateway.api.routes import ApiRoute
from gateway.db.database import Row, as_json, execute, fetch_all, fetch_one, insert_rows
from gateway.db.tables.columns import new_id

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


class SubjectAt(Input):
    """Somebody with tokens of an OpenID Connect provider."""

    issuer: Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^\S+$")]
    """As the provider names itself (`iss`)."""
    subject: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    """Who they are there (`sub`); `GET /v1/me` tells them."""


class PersonInput(Input):
    """Somebody of the company, and all they go by. Each identity belongs to one person."""

    name: Name
    agents: list[AgentAt] = Field(default_factory=list)
    emails: list[Email] = Field(default_factory=list)
    """Addresses that helpdesks know them by."""
    keys: list[UUID] = Field(default_factory=list)
    """Ids of the API keys that they alone use."""
    subjects: list[SubjectAt] = Field(default_factory=list)
    """Their tokens. The subject of one with the verified address of a person is added by itself."""


class AgentView(Answer):
    """An agent at a helpdesk."""

    helpdesk: UUID
    id: str


class SubjectView(Answer):
    """Somebody with tokens of an OpenID Connect provider."""

    issuer: str
    subject: str


class PersonView(Answer):
    """Somebody of the company."""

    id: UUID
    name: str
    agents: list[AgentView]
    emails: list[str]
    keys: list[UUID]
    subjects: list[SubjectView]
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
async def create_person(runtime: RuntimeDep, _: Administers, given: PersonInput, response: Response) -> PersonView:
    """Say that these agents, addresses, keys and tokens are one person's."""
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
        view = await _person(database, id)
    response.headers["Location"] = f"/v1/people/{id}"
    response.headers["ETag"] = etag(fingerprint(view))
    return view


@router.get("/{person_id}")
async def read_person(runtime: RuntimeDep, _: Administers, person_id: UUID, response: Response) -> PersonView:
    """One person."""
    async with runtime.database.read() as database:
        view = await _person(database, person_id)
    response.headers["ETag"] = etag(fingerprint(view))
    return view


@router.put("/{person_id}", responses=responses(412))
async def replace_person(
    runtime: RuntimeDep,
    _: Administers,
    person_id: UUID,
    given: PersonInput,
    response: Response,
    if_match: IfMatch = None,
) -> PersonView:
    """Change a person's name and all they go by."""
    async with runtime.database.write() as database:
        check_match(if_match, fingerprint(await _locked(database, person_id)))
        await execute(database, "UPDATE person SET name = :name WHERE id = :id", id=person_id, name=given.name)
        await execute(database, "DELETE FROM person_identity WHERE person_id = :id", id=person_id)
        await _identify(database, person_id, given)
        view = await _person(database, person_id)
    response.headers["ETag"] = etag(fingerprint(view))
    return view


@router.delete("/{person_id}", status_code=204, responses=responses(412))
async def remove_person(runtime: RuntimeDep, _: Administers, person_id: UUID, if_match: IfMatch = None) -> Response:
    """Somebody has left: they approve nothing any more, and their tokens open nothing."""
    async with runtime.database.write() as database:
        check_match(if_match, fingerprint(await _locked(database, person_id)))
        await execute(database, "UPDATE person SET archived_at = :now WHERE id = :id", id=person_id, now=runtime.now())
        # tokens are the provider's: what they opened stays shut
        await execute(database, "DELETE FROM person_identity WHERE person_id = :id AND kind <> 'subject'", id=person_id)
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
    found += [("subject", one.issuer, one.subject, f"subjects.{at}") for at, one in enumerate(given.subjects)]
    # one who left and came back
    await execute(
        database,
        """DELETE FROM person_identity i USING person p, jsonb_to_recordset(CAST(:given AS jsonb))
               AS g (issuer text, subject text)
           WHERE i.kind = 'subject' AND i.scope = g.issuer AND i.value = g.subject AND p.id = i.person_id
               AND p.archived_at IS NOT NULL""",
        given=as_json([one.model_dump() for one in given.subjects]),
    )
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


async def _locked(database: AsyncConnection, person_id: UUID) -> PersonView:
    await fetch_one(database, "SELECT id FROM person WHERE id = :id FOR UPDATE", id=person_id)
    return await _person(database, person_id)


async def _person(database: AsyncConnection, person_id: UUID) -> PersonView:
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
        subjects=[SubjectView(issuer=one["scope"], subject=one["value"]) for one in known if one["kind"] == "subject"],
    )
