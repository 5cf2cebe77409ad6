"""Customers: who somebody is by their accounts, all that is known of them, and how they are forgotten."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from gateway.api.deps import Administers, ReadsTickets, RuntimeDep
from gateway.api.models import Answer, Input, Page, Reason
from gateway.api.paging import Filters, PagingDep, list_page
from gateway.api.problems import not_found
from gateway.api.routes import ApiRoute
from gateway.db.database import Row, fetch_one
from gateway.privacy.erase import UnknownCustomer, request_erasure
from gateway.privacy.export import export_customer

router = APIRouter(prefix="/customers", tags=["privacy"], route_class=ApiRoute)
erasures = APIRouter(prefix="/erasures", tags=["privacy"], route_class=ApiRoute)

SELECT = """
SELECT c.id, c.name, c.created_at, COALESCE((
    SELECT jsonb_agg(jsonb_build_object('id', a.id, 'source', a.provider, 'external_id', a.external_id,
        'handle', a.handle, 'name', a.name, 'url', a.url) ORDER BY a.id)
    FROM account a WHERE a.customer_id = c.id), '[]') AS accounts
FROM customer c
"""
ERASURES = """
SELECT id, customer_id, state, counts, elsewhere, problem, until, requested_by, reason, requested_at, finished_at
FROM erasure
"""


class AccountView(Answer):
    """One handle at one source."""

    id: UUID
    source: str
    external_id: str
    handle: str | None
    name: str | None
    url: str | None


class CustomerView(Answer):
    """The person behind one or more accounts."""

    id: UUID
    name: str | None
    accounts: list[AccountView]
    created_at: datetime


class ErasureRequest(Input):
    """Why somebody is to be forgotten."""

    reason: Reason


class FoundElsewhere(Answer):
    """What the gateway does not delete, because it is not its own."""

    tickets: list[dict[str, str | None]] = Field(default_factory=list)
    """Tickets at helpdesks: `helpdesk`, `ticket`, `url`. Delete or redact them there."""
    answers: list[dict[str, str | None]] = Field(default_factory=list)
    """The brand's published answers, which may name the person: `source`, `post`, `url`."""
    lists: list[str] = Field(default_factory=list)
    """The company's lists that hold one of the handles."""


class ErasureView(Answer):
    """One erasure: how far it has come, and when it is done its receipt."""

    id: UUID
    customer_id: UUID | None
    state: str
    """`pending`, `running` or `done`."""
    counts: dict[str, int]
    """Rows emptied, removed or cancelled, by table."""
    elsewhere: FoundElsewhere
    problem: str | None
    """What it waits for."""
    until: datetime
    """What the person published before this does not come back."""
    requested_by: str
    reason: str
    requested_at: datetime
    finished_at: datetime | None


@router.get("")
async def list_customers(
    runtime: RuntimeDep, _: ReadsTickets, paging: PagingDep, handle: str | None = None, external_id: str | None = None
) -> Page[CustomerView]:
    """Customers, newest first. `handle` (without the @) and `external_id` are those of an account, exactly."""
    filters = Filters()
    filters.add(
        "EXISTS (SELECT 1 FROM account a WHERE a.customer_id = c.id AND lower(a.handle) = lower(:handle))",
        handle=handle,
    )
    filters.add(
        "EXISTS (SELECT 1 FROM account a WHERE a.customer_id = c.id AND a.external_id = :external_id)",
        external_id=external_id,
    )
    async with runtime.database.read() as database:
        rows, following = await list_page(database, SELECT, filters, paging, id="c.id")
    return Page(items=[CustomerView(**row) for row in rows], next=following)


@router.get("/{customer_id}")
async def read_customer(runtime: RuntimeDep, _: ReadsTickets, customer_id: UUID) -> CustomerView:
    """One customer with their accounts."""
    async with runtime.database.read() as database:
        row = await fetch_one(database, SELECT + " WHERE c.id = :id", id=customer_id)
    if row is None:
        raise not_found("customer", customer_id)
    return CustomerView(**row)


@router.get(
    "/{customer_id}/export",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/json": {"schema": {"type": "object"}}}}},
)
async def export_data(runtime: RuntimeDep, _: Administers, customer_id: UUID) -> StreamingResponse:
    """All that is stored of a customer, as one JSON document: a list of rows for each kind of data."""
    pieces = export_customer(runtime.database, customer_id, runtime.now())
    try:
        first = await anext(pieces)
    except UnknownCustomer:
        raise not_found("customer", customer_id) from None
    return StreamingResponse(
        _joined(first, pieces),
        media_type="application/json",
        headers={
            "Content-Disposition": f'attachment; filename="customer-{customer_id}.json"',
            "Cache-Control": "no-store",
        },
    )


async def _joined(first: str, rest: AsyncIterator[str]) -> AsyncIterator[str]:
    yield first
    async for one in rest:
        yield one


@router.post("/{customer_id}/erasure", status_code=202)
async def erase_customer(
    runtime: RuntimeDep, caller: Administers, customer_id: UUID, given: ErasureRequest, response: Response
) -> ErasureView:
    """Forget a customer. From now on nothing they published before comes in again; the rest is done in the background.

    Asked for twice, it is one erasure. The answer's `Location` tells how far it has come.
    """
    now = runtime.now()
    async with runtime.database.write() as database:
        try:
            id = await request_erasure(
                database, runtime.vault, customer_id, until=now, by=caller.name, reason=given.reason, now=now
            )
        except UnknownCustomer:
            raise not_found("customer", customer_id) from None
        row = await fetch_one(database, ERASURES + " WHERE id = :id", id=id)
    assert row is not None
    await runtime.wake({f"erase:{id}"})
    response.headers["Location"] = f"/v1/erasures/{id}"
    return _view(row)


@erasures.get("")
async def list_erasures(
    runtime: RuntimeDep, _: Administers, paging: PagingDep, customer: UUID | None = None
) -> Page[ErasureView]:
    """Erasures, newest first."""
    filters = Filters()
    filters.add("customer_id = :customer", customer=customer)
    async with runtime.database.read() as database:
        rows, following = await list_page(database, ERASURES, filters, paging)
    return Page(items=[_view(row) for row in rows], next=following)


@erasures.get("/{erasure_id}")
async def read_erasure(runtime: RuntimeDep, _: Administers, erasure_id: UUID) -> ErasureView:
    """How far an erasure has come; when it is done, its receipt."""
    async with runtime.database.read() as database:
        row = await fetch_one(database, ERASURES + " WHERE id = :id", id=erasure_id)
    if row is None:
        raise not_found("erasure", erasure_id)
    return _view(row)


def _view(row: Row) -> ErasureView:
    values: dict[str, Any] = dict(row)
    values["counts"] = {name: count for name, count in row["counts"].items() if not name.startswith("_")}
    return ErasureView(**values)
