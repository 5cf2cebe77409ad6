"""Deliveries: what was received, byte for byte, and how it ended."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any, Literal
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.api.configs import opened
from gateway.api.deps import Operates, ReadsDeliveries, RuntimeDep
from gateway.api.models import Answer, Input, Page, Since
from gateway.api.paging import Filters, PagingDep, list_page
from gateway.api.problems import conflict, not_found
from gateway.api.routes import ApiRoute
from gateway.db.database import Row, fetch_all, fetch_one
from gateway.engine.shards import CROWD_SHARDS, SHARDS
from gateway.pipeline.accept import unpack_headers
from gateway.runtime import Runtime
from gateway.security.audit import note, note_all

router = APIRouter(prefix="/deliveries", tags=["deliveries"], route_class=ApiRoute)

COLUMNS = """id, received_at, app_id, connection_id, role, origin, stream, method, state, reason, attempts,
       processed_at,
       octet_length(body) AS size"""

SHORTEST_SECRET = 8
"""Shorter ones are found by chance, and hiding them would spoil what is shown."""

State = Literal["pending", "processed", "ignored", "failed"]


class DeliveryView(Answer):
    """One thing received."""

    id: int
    received_at: datetime
    app_id: UUID | None
    connection_id: UUID | None
    """Null for what came to an App's shared door."""
    role: str
    origin: str
    """`webhook`, `poll`, `fetch` or `listen`."""
    stream: str
    method: str
    state: State
    reason: str | None
    """Why it was ignored or failed, or what of it was left out."""
    attempts: int
    processed_at: datetime | None
    size: int
    """Bytes of the body."""


class DeliveryDetail(DeliveryView):
    """One thing received, with its bytes. Headers that prove who called are not kept, and where a provider sends one of
    the connection's own secrets along (Telegram's token, a verification token), it is kept as `[secret]` in a header
    and shown as `***` in a body."""

    query: str
    headers: list[tuple[str, str]]
    body: str
    encoding: Literal["utf-8", "base64"]
    """How `body` is given: as text where it is UTF-8."""
    note: dict[str, Any]


class ReplayFilter(Input):
    """Which deliveries to read once more."""

    state: Literal["failed", "ignored"] = "failed"
    connection: UUID | None = None
    app: UUID | None = None
    """For what came to an App's shared door."""
    since: Since | None = None
    limit: int = Field(default=1000, ge=1, le=10_000)
    """At most this many, oldest first."""


class Replayed(Answer):
    """How many deliveries are read once more. What they tell is not recorded twice."""

    deliveries: int


@router.get("")
async def list_deliveries(
    runtime: RuntimeDep,
    _: ReadsDeliveries,
    paging: PagingDep,
    state: State | None = None,
    connection: UUID | None = None,
    app: UUID | None = None,
    role: Literal["source", "helpdesk"] | None = None,
    origin: Literal["webhook", "poll", "fetch", "listen"] | None = None,
    since: Since | None = None,
) -> Page[DeliveryView]:
    """Deliveries, newest first, without their bytes."""
    filters = Filters()
    filters.add("state = :state", state=state)
    filters.add("connection_id = :connection", connection=connection)
    filters.add("app_id = :app", app=app)
    filters.add("role = :role", role=role)
    filters.add("origin = :origin", origin=origin)
    filters.add("received_at >= :since", since=since)
    async with runtime.database.read() as database:
        rows, following = await list_page(database, f"SELECT {COLUMNS} FROM delivery", filters, paging, kind=int)
    return Page(items=[DeliveryView(**row) for row in rows], next=following)


@router.get("/{delivery_id}")
async def read_delivery(runtime: RuntimeDep, _: Operates, delivery_id: int) -> DeliveryDetail:
    """One delivery with its bytes."""
    async with runtime.database.read() as database:
        row = await fetch_one(
            database, f"SELECT {COLUMNS}, query, headers, body, note FROM delivery WHERE id = :id", id=_id(delivery_id)
        )
        if row is None:
            raise not_found("delivery", delivery_id)
        secrets = await _secrets(database, runtime, row)
    raw = _without(row["body"], secrets)
    try:
        body, encoding = raw.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        body, encoding = base64.b64encode(raw).decode("ascii"), "base64"
    headers = [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in unpack_headers(_without(row["headers"], secrets))
    ]
    plain = {name: row[name] for name in DeliveryView.model_fields}
    return DeliveryDetail.model_validate(
        {
            **plain,
            "query": _without(row["query"], secrets).decode("latin-1"),
            "headers": headers,
            "body": body,
            "encoding": encoding,
            "note": row["note"],
        }
    )


@router.post("/{delivery_id}/replay", status_code=202)
async def replay_delivery(runtime: RuntimeDep, _: Operates, delivery_id: int) -> Replayed:
    """Read one delivery once more, for example after a plugin was mended."""
    async with runtime.database.write() as database:
        rows = await fetch_all(
            database,
            """UPDATE delivery SET state = 'pending', reason = NULL, processed_at = NULL
               WHERE id = :id AND NOT note ? 'emptied' RETURNING shard""",
            id=_id(delivery_id),
        )
        if rows:
            await note(database, "delivery", delivery_id, {}, {"state": "pending"})
        there = rows or await fetch_all(database, "SELECT 1 FROM delivery WHERE id = :id", id=_id(delivery_id))
    if not there:
        raise not_found("delivery", delivery_id)
    if not rows:
        raise conflict("Its bytes were erased with a person's data, so there is nothing to read once more.")
    await runtime.wake({f"inbox:{row['shard']}" for row in rows})
    return Replayed(deliveries=1)


@router.post("/replay", status_code=202)
async def replay_deliveries(runtime: RuntimeDep, _: Operates, given: ReplayFilter) -> Replayed:
    """Read many deliveries once more."""
    async with runtime.database.write() as database:
        rows = await fetch_all(
            database,
            f"""UPDATE delivery SET state = 'pending', reason = NULL, processed_at = NULL,
                   shard = {SHARDS} + shard % {CROWD_SHARDS}
               WHERE (id, received_at) IN (
                   SELECT id, received_at FROM delivery WHERE state = :state AND NOT note ? 'emptied'
                       AND (CAST(:connection AS uuid) IS NULL OR connection_id = :connection)
                       AND (CAST(:app AS uuid) IS NULL OR app_id = :app)
                       AND (CAST(:since AS timestamptz) IS NULL OR received_at >= :since)
                   ORDER BY id LIMIT :limit)
               RETURNING id, shard""",
            state=given.state,
            connection=given.connection,
            app=given.app,
            since=given.since,
            limit=given.limit,
        )
        ids = sorted(row["id"] for row in rows)
        await note_all(database, "delivery", ids, {"state": given.state}, {"state": "pending"})
    await runtime.wake({f"inbox:{row['shard']}" for row in rows})
    return Replayed(deliveries=len(rows))


def _id(delivery_id: int) -> int:
    if not 0 <= delivery_id < 2**63:
        raise not_found("delivery", delivery_id)
    return delivery_id


async def _secrets(database: AsyncConnection, runtime: Runtime, row: Row) -> list[bytes]:
    """The secrets of the connection and the App that a delivery came to, longest first."""
    sealed = await fetch_all(
        database,
        """SELECT 'connection:' || id AS context, secrets FROM connection WHERE id = :connection
           UNION ALL SELECT 'app:' || id, secrets FROM app WHERE id = :app""",
        connection=row["connection_id"],
        app=row["app_id"],
    )
    found: set[str] = set()
    pending: list[Any] = [opened(runtime.vault, one["secrets"], one["context"]) or {} for one in sealed]
    while pending:
        one = pending.pop()
        if isinstance(one, dict):
            pending.extend(one.values())
        elif isinstance(one, list):
            pending.extend(one)
        elif isinstance(one, str) and len(one) >= SHORTEST_SECRET:
            found |= {one, quote(one, safe="")}
    return [one.encode("utf-8", "surrogatepass") for one in sorted(found, key=len, reverse=True)]


def _without(text: bytes, secrets: list[bytes]) -> bytes:
    for secret in secrets:
        text = text.replace(secret, b"***")
    return text
