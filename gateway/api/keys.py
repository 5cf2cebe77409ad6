"""API keys: made, listed and revoked."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from fastapi import APIRouter
from pydantic import AwareDatetime

from gateway.api.deps import Administers, RuntimeDep
from gateway.api.models import Answer, Input, Name, Page
from gateway.api.paging import Filters, PagingDep, list_page
from gateway.api.problems import conflict, invalid, not_found, responses
from gateway.api.routes import ApiRoute
from gateway.db.database import fetch_all, fetch_one
from gateway.security.keys import create_key
from gateway.security.scopes import Scope

router = APIRouter(prefix="/keys", tags=["keys"], route_class=ApiRoute)

SELECT = "SELECT id, name, prefix, scopes, created_at, expires_at, last_used_at, revoked_at FROM api_key"


class NewApiKey(Input):
    """A key to be made."""

    name: Name
    """What it is for."""
    scopes: list[Scope]
    expires_at: AwareDatetime | None = None


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


class MadeKey(KeyView):
    """A key just made."""

    key: str
    """Shown this once; only its hash is stored."""


@router.post("", status_code=201)
async def create_api_key(runtime: RuntimeDep, _: Administers, given: NewApiKey) -> MadeKey:
    """Make a key."""
    now = runtime.now()
    if not given.scopes:
        raise invalid("scopes", "at least one is needed", f"there are {', '.join(Scope)}")
    if given.expires_at is not None and given.expires_at <= now:
        raise invalid("expires_at", "it has passed already")
    async with runtime.database.write() as database:
        made = await create_key(
            database, given.name, sorted(set(given.scopes), key=list(Scope).index), now, expires_at=given.expires_at
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


@router.delete("/{key_id}", responses=responses(409))
async def revoke_api_key(runtime: RuntimeDep, _: Administers, key_id: UUID) -> KeyView:
    """Revoke a key: it opens nothing from the next request on. The last one with the scope `admin` stays."""
    now = runtime.now()
    async with runtime.database.write() as database:
        admins = await fetch_all(
            database,
            """SELECT id FROM api_key WHERE 'admin' = ANY(scopes) AND revoked_at IS NULL
                   AND (expires_at IS NULL OR expires_at > :now) ORDER BY id FOR UPDATE""",
            now=now,
        )
        if [row["id"] for row in admins] == [key_id]:
            raise conflict("It is the last key with the scope admin; make another one first.")
        row = await fetch_one(
            database,
            """UPDATE api_key SET revoked_at = COALESCE(revoked_at, :now) WHERE id = :id
               RETURNING id, name, prefix, scopes, created_at, expires_at, last_used_at, revoked_at""",
            id=key_id,
            now=now,
        )
    if row is None:
        raise not_found("API key", key_id)
    return KeyView(**row)
