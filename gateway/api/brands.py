"""Brands: the names the company goes by."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import AfterValidator, StringConstraints
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.api.deps import ReadsConnections, RuntimeDep, WritesConnections
from gateway.api.etags import IfMatch, check_match, etag, fingerprint
from gateway.api.models import Answer, Input, Name, Page
from gateway.api.paging import Filters, PagingDep, list_page
from gateway.api.problems import conflict, not_found, responses
from gateway.api.routes import ApiRoute
from gateway.db.database import Row, fetch_one
from gateway.db.tables.columns import new_id
from gateway.sla.zones import UnknownZone, zone


def _known(name: str) -> str:
    try:
        zone(name)
    except UnknownZone as error:
        raise ValueError(f"{error}; a name of the IANA database is needed, such as Europe/Berlin") from None
    return name


router = APIRouter(prefix="/brands", tags=["connections"], route_class=ApiRoute)

Zone = Annotated[str, StringConstraints(max_length=100), AfterValidator(_known)]
SELECT = "SELECT id, name, timezone, created_at FROM brand"


class NewBrand(Input):
    """A brand to be made."""

    name: Name
    """Unique."""
    timezone: Zone = "UTC"
    """Where it counts its days, such as `Europe/Berlin`: what "by Friday" in an answer means."""


class BrandChange(Input):
    """What to change of a brand. What is left out stays."""

    name: Name | None = None
    timezone: Zone | None = None


class BrandView(Answer):
    """A name the company goes by."""

    id: UUID
    name: str
    timezone: str
    created_at: datetime


@router.post("", status_code=201)
async def create_brand(runtime: RuntimeDep, _: WritesConnections, given: NewBrand, response: Response) -> BrandView:
    """Make a brand."""
    async with runtime.database.write() as connection:
        view = BrandView(**await add_brand(connection, given, runtime.now()))
    response.headers["Location"] = f"/v1/brands/{view.id}"
    response.headers["ETag"] = etag(fingerprint(view))
    return view


async def add_brand(connection: AsyncConnection, given: NewBrand, now: datetime) -> Row:
    """Make a brand in the caller's transaction. Raises Problem 409."""
    row = await fetch_one(
        connection,
        """INSERT INTO brand (id, name, timezone, created_at) VALUES (:id, :name, :timezone, :now)
           ON CONFLICT (name) DO NOTHING RETURNING id, name, timezone, created_at""",
        id=new_id(),
        name=given.name,
        timezone=given.timezone,
        now=now,
    )
    if row is None:
        raise conflict(f"There is a brand {given.name} already.", field="name")
    return row


@router.get("")
async def list_brands(runtime: RuntimeDep, _: ReadsConnections, paging: PagingDep) -> Page[BrandView]:
    """All brands, oldest first."""
    async with runtime.database.read() as connection:
        rows, following = await list_page(connection, SELECT, Filters(), paging, newest_first=False)
    return Page(items=[BrandView(**row) for row in rows], next=following)


@router.get("/{brand_id}")
async def read_brand(runtime: RuntimeDep, _: ReadsConnections, brand_id: UUID, response: Response) -> BrandView:
    """One brand."""
    async with runtime.database.read() as connection:
        row = await fetch_one(connection, f"{SELECT} WHERE id = :id", id=brand_id)
    if row is None:
        raise not_found("brand", brand_id)
    view = BrandView(**row)
    response.headers["ETag"] = etag(fingerprint(view))
    return view


@router.patch("/{brand_id}", responses=responses(409, 412))
async def change_brand(
    runtime: RuntimeDep,
    _: WritesConnections,
    brand_id: UUID,
    given: BrandChange,
    response: Response,
    if_match: IfMatch = None,
) -> BrandView:
    """Give a brand another name or time zone. What belongs to it goes on belonging to it."""
    async with runtime.database.write() as connection:
        row = await fetch_one(connection, f"{SELECT} WHERE id = :id FOR UPDATE", id=brand_id)
        if row is None:
            raise not_found("brand", brand_id)
        check_match(if_match, fingerprint(BrandView(**row)))
        view = BrandView(**await alter_brand(connection, brand_id, given))
    response.headers["ETag"] = etag(fingerprint(view))
    return view


async def alter_brand(connection: AsyncConnection, brand_id: UUID, given: BrandChange) -> Row:
    """Change a brand in the caller's transaction. Raises Problem 404 and 409."""
    try:
        row = await fetch_one(
            connection,
            """UPDATE brand SET name = COALESCE(:name, name), timezone = COALESCE(:timezone, timezone)
               WHERE id = :id RETURNING id, name, timezone, created_at""",
            id=brand_id,
            name=given.name,
            timezone=given.timezone,
        )
    except IntegrityError as error:
        raise conflict(f"There is a brand {given.name} already.", field="name") from error
    if row is None:
        raise not_found("brand", brand_id)
    return row
