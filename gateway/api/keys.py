"""API keys: made, listed, rotated and revoked; the roles there are; and who is calling."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body
from pydantic import Field

from gateway.api.deps import Administers, Anybody, ReadsRoles, RuntimeDep, login_of
from gateway.api.models import Answer, Input, Instant, Name, Page
from gateway.api.paging import Filters, PagingDep, list_page
from gateway.api.problems import conflict, invalid, not_found, responses
from gateway.api.routes import ApiRoute
from gateway.db.database import fetch_all, fetch_one
from gateway.pipeline.people import look_up
from gateway.security import roles
from gateway.security.keys import create_key, succeed
from gateway.security.roles import Role, scopes_of
from gateway.security.scopes import Scope, union

router = APIRouter(prefix="/keys", tags=["keys"], route_class=ApiRoute)
callers = APIRouter(tags=["keys"], route_class=ApiRoute)

COLUMNS = """id, name, prefix, scopes, created_at, expires_at, last_used_at, revoked_at, rate_limit,
    successor_id AS successor"""
SELECT = f"SELECT {COLUMNS} FROM api_key"
OVERLAP = timedelta(hours=24)
LONGEST_OVERLAP = timedelta(days=90)

RateLimit = Annotated[int, Field(ge=1, le=1_000_000)]


class NewApiKey(Input):
    """A key to be made, with scopes, roles or both."""

    name: Name
    """What it is for."""
    scopes: list[Scope] = Field(default_factory=list)
    roles: list[Role] = Field(default_factory=list)
    """The scopes of these roles as they are now (`GET /v1/roles`)."""
    expires_at: Instant | None = None
    rate_limit: RateLimit | None = None
    """Requests a minute to each process that serves; null for the usual limit."""


class Rotation(Input):
    """How a key is replaced."""

    old_until: Instant | None = None
    """Until when the old key goes on working, at most 90 days; without it for a day. It never gains time."""
    expires_at: Instant | None = None
    """When the new key expires; without it, it lives as long as the old one was made to live."""


class KeyView(Answer):
    """A key, without its secret."""

    id: UUID
    name: str
    prefix: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    rate_limit: int | None
    """Requests a minute, where it is not the usual limit."""
    successor: UUID | None
    """The key that it was rotated to."""


class MadeKey(KeyView):
    """A key just made."""

    key: str
    """Shown this once; only its hash is stored."""


class RoleView(Answer):
    """A named set of scopes."""

    name: Role
    description: str
    scopes: list[Scope]


class Roles(Answer):
    """All roles there are."""

    items: list[RoleView]


class CallerView(Answer):
    """Who is calling, and what they may do."""

    name: str
    key: UUID | None
    """The API key; null for a token."""
    issuer: str | None
    subject: str | None
    """Who they are at the OpenID Connect provider, for a token."""
    roles: list[Role]
    """What the token's claims gave."""
    scopes: list[Scope]
    person: UUID | None
    """Who they are for four eyes, where that is known."""


@callers.get("/roles")
async def list_roles(_: ReadsRoles) -> Roles:
    """Roles and their scopes: for API keys, and for what the claims of tokens give."""
    return Roles(
        items=[RoleView(name=role, description=roles.MEANING[role], scopes=list(roles.SCOPES[role])) for role in Role]
    )


@callers.get("/me")
async def read_caller(runtime: RuntimeDep, caller: Anybody) -> CallerView:
    """Who is calling, and what they may do: the way to see what a token's claims give."""
    async with runtime.database.read() as database:
        [who] = await look_up(database, [login_of(caller)])
    issuer, subject = caller.subject or (None, None)
    return CallerView(
        name=caller.name,
        key=caller.id if caller.subject is None else None,
        issuer=issuer,
        subject=subject,
        roles=list(caller.roles),
        scopes=[scope for scope in Scope if scope in caller.scopes],
        person=who.person,
    )


@router.post("", status_code=201)
async def create_api_key(runtime: RuntimeDep, _: Administers, given: NewApiKey) -> MadeKey:
    """Make a key."""
    now = runtime.now()
    scopes = union(given.scopes, scopes_of(given.roles))
    if not scopes:
        raise invalid("scopes", "at least one is needed, or a role", f"there are {', '.join(Scope)}")
    if given.expires_at is not None and given.expires_at <= now:
        raise invalid("expires_at", "it has passed already")
    async with runtime.database.write() as database:
        made = await create_key(
            database, given.name, scopes, now, expires_at=given.expires_at, rate_limit=given.rate_limit
        )
        row = await fetch_one(database, f"{SELECT} WHERE id = :id", id=made.id)
    assert row is not None
    return MadeKey(**row, key=made.key)


@router.get("")
async def list_api_keys(runtime: RuntimeDep, _: Administers, paging: PagingDep) -> Page[KeyView]:
    """All keys, newest first."""
    async with runtime.database.read() as database:
        rows, following = await list_page(database, SELECT, Filters(), paging)
    return Page(items=[KeyView(**row) for row in rows], next=following)


@router.post("/{key_id}/rotate", status_code=201)
async def rotate_api_key(
    runtime: RuntimeDep, _: Administers, key_id: UUID, given: Annotated[Rotation | None, Body()] = None
) -> MadeKey:
    """Replace a key: the new one has its name, scopes, limit and person, and the old one goes on for a while.

    To limits, Idempotency-Keys and four eyes the two are one caller. A key is rotated once, unless its successor was
    revoked.
    """
    given = given or Rotation()
    now = runtime.now()
    until = given.old_until if given.old_until is not None else now + OVERLAP
    if until > now + LONGEST_OVERLAP:
        raise invalid("old_until", f"the old key can go on for {LONGEST_OVERLAP.days} days at most")
    if given.expires_at is not None and given.expires_at <= now:
        raise invalid("expires_at", "it has passed already")
    async with runtime.database.write() as database:
        old = await fetch_one(database, "SELECT * FROM api_key WHERE id = :id FOR UPDATE", id=key_id)
        if old is None:
            raise not_found("API key", key_id)
        if old["revoked_at"] is not None or (old["expires_at"] is not None and old["expires_at"] <= now):
            raise conflict("It was revoked, or has expired; make a new one.")
        if old["successor_id"] is not None:
            alive = await fetch_one(
                database,
                "SELECT 1 AS one FROM api_key WHERE id = :id AND revoked_at IS NULL",
                id=old["successor_id"],
            )
            if alive is not None:
                raise conflict(f"It was rotated already; its successor is {old['successor_id']}.")
        made = await succeed(database, old, now, until=until, expires_at=given.expires_at)
        row = await fetch_one(database, f"{SELECT} WHERE id = :id", id=made.id)
    assert row is not None
    return MadeKey(**row, key=made.key)


@router.delete("/{key_id}", responses=responses(409))
async def revoke_api_key(runtime: RuntimeDep, _: Administers, key_id: UUID) -> KeyView:
    """Revoke a key: it opens nothing from the next request on. The last one with the scope `admin` stays."""
    now = runtime.now()
    async with runtime.database.write() as database:
        admins = await fetch_all(
            database,
            """SELECT id, successor_id FROM api_key WHERE 'admin' = ANY(scopes) AND revoked_at IS NULL
                   AND (expires_at IS NULL OR expires_at > :now) ORDER BY id FOR UPDATE""",
            now=now,
        )
        # a key that was rotated is on its way out
        if [row["id"] for row in admins if row["successor_id"] is None] == [key_id]:
            raise conflict("It is the last key with the scope admin; make another one first.")
        row = await fetch_one(
            database,
            f"UPDATE api_key SET revoked_at = COALESCE(revoked_at, :now) WHERE id = :id RETURNING {COLUMNS}",
            id=key_id,
            now=now,
        )
    if row is None:
        raise not_found("API key", key_id)
    return KeyView(**row)
