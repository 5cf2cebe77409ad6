"""Lists of the company: phrases, names, handles, causes. Each change is another version."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import Field, StringConstraints
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.api.deps import DraftsPolicies, ReadsPolicies, RuntimeDep
from gateway.api.etags import IfMatch, check_match, etag
from gateway.api.models import Answer, Input, Page, Reason
from gateway.api.problems import not_found, responses
from gateway.api.routes import ApiRoute
from gateway.db.database import Row, execute, fetch_all, fetch_one

router = APIRouter(prefix="/lists", tags=["policies"], route_class=ApiRoute)

ListName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=100)]
"""As conditions write it: `lists.vips`."""
Entry = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]
Entries = Annotated[list[Entry], Field(max_length=10_000)]
SELECT = "SELECT name, version, entries, reason, author, created_at FROM word_list"


class NewList(Input):
    """The entries of a list, all of them."""

    entries: Entries
    reason: Reason


class ListView(Answer):
    """One version of a list."""

    name: str
    version: int
    entries: list[str]
    reason: str
    author: str
    created_at: datetime


@router.get("")
async def list_lists(runtime: RuntimeDep, _: ReadsPolicies) -> Page[ListView]:
    """The newest version of each list. Always one page."""
    async with runtime.database.read() as database:
        rows = await fetch_all(
            database, SELECT.replace("SELECT", "SELECT DISTINCT ON (name)", 1) + " ORDER BY name, version DESC"
        )
    return Page(items=[ListView(**row) for row in rows], next=None)


@router.get("/{name}")
async def read_list(
    runtime: RuntimeDep, _: ReadsPolicies, name: str, response: Response, version: int | None = None
) -> ListView:
    """One list: its newest version, or another one."""
    async with runtime.database.read() as database:
        row = await fetch_one(
            database,
            SELECT + " WHERE name = :name AND version = COALESCE(:version, version) ORDER BY version DESC LIMIT 1",
            name=name,
            version=version,
        )
    if row is None:
        raise not_found("list", name if version is None else f"{name} in version {version}")
    response.headers["ETag"] = etag(row["version"])
    return ListView(**row)


@router.get("/{name}/versions")
async def list_versions(runtime: RuntimeDep, _: ReadsPolicies, name: str) -> Page[ListView]:
    """All versions of a list, newest first. Always one page."""
    async with runtime.database.read() as database:
        rows = await fetch_all(database, SELECT + " WHERE name = :name ORDER BY version DESC", name=name)
    if not rows:
        raise not_found("list", name)
    return Page(items=[ListView(**row) for row in rows], next=None)


@router.put("/{name}", responses=responses(412))
async def write_list(
    runtime: RuntimeDep,
    caller: DraftsPolicies,
    name: ListName,
    given: NewList,
    response: Response,
    if_match: IfMatch = None,
) -> ListView:
    """Write the next version of a list. Policies see it within a second; decisions name the version they saw."""
    async with runtime.database.write() as database:
        row = await write_entries(database, name, given, author=caller.name, now=runtime.now(), if_match=if_match)
    response.headers["ETag"] = etag(row["version"])
    return ListView(**row)


async def write_entries(
    database: AsyncConnection,
    name: str,
    given: NewList,
    *,
    author: str,
    now: datetime,
    if_match: str | None = None,
) -> Row:
    """Write the next version of a list in the caller's transaction; the same entries make none. Raises Problem 412."""
    entries = list(dict.fromkeys(given.entries))
    # two writers of one list go one after the other
    await execute(database, "SELECT pg_advisory_xact_lock(hashtext('word_list'), hashtext(:name))", name=name)
    newest = await fetch_one(database, SELECT + " WHERE name = :name ORDER BY version DESC LIMIT 1", name=name)
    version = newest["version"] if newest is not None else 0
    check_match(if_match, version)
    if newest is None or newest["entries"] != entries:
        newest = await fetch_one(
            database,
            """INSERT INTO word_list (name, version, entries, reason, author, created_at)
               VALUES (:name, :version, CAST(:entries AS text[]), :reason, :author, :now)
               RETURNING name, version, entries, reason, author, created_at""",
            name=name,
            version=version + 1,
            entries=entries,
            reason=given.reason,
            author=author,
            now=now,
        )
    assert newest is not None
    return newest
