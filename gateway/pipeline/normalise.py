"""Station 2: stored bytes become news in our vocabulary, in a process that can be killed.

Reads pending deliveries, has each plugin normalise its own, and says for every item which connection it concerns.
Nothing is written here; `record` and `reply` write what comes out, and how each delivery ended.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from gateway.connections import Endpoint
from gateway.db.database import fetch_all
from gateway.engine.sandbox import Outcome, Sandbox
from gateway.pipeline.accept import unpack_headers
from gateway.runtime import Runtime
from gateway_schemas.interaction import Ignored, Unreadable
from gateway_schemas.webhook import RawDelivery

READ = """
SELECT id, received_at, app_id, connection_id, role, origin, stream, query, headers, body, note, attempts
FROM delivery WHERE shard = :shard AND state = 'pending' ORDER BY id LIMIT :limit
"""


@dataclass
class Read:
    """One delivery with what the plugin made of it."""

    id: int
    received_at: datetime
    role: str
    origin: str
    endpoint: Endpoint | None
    note: Mapping[str, Any]
    news: list[tuple[Endpoint, Any]] = field(default_factory=list)
    """Each item with the connection it concerns."""
    state: str = "processed"
    reason: str | None = None

    def fail(self, reason: str) -> None:
        """End as failed, replayable, with this reason."""
        self.state, self.reason = "failed", reason
        self.news = []


async def read_pending(runtime: Runtime, sandbox: Sandbox, shard: int, limit: int) -> list[Read]:
    """Take the oldest pending deliveries of a shard and normalise them."""
    async with runtime.database.read() as connection:
        rows = await fetch_all(connection, READ, shard=shard, limit=limit)
    return await normalise(runtime, sandbox, rows)


async def normalise(runtime: Runtime, sandbox: Sandbox, rows: Sequence[Mapping[str, Any]]) -> list[Read]:
    """Normalise stored deliveries, grouped by endpoint, in the order given."""
    reads: list[Read] = []
    groups: dict[UUID, list[tuple[Read, RawDelivery]]] = defaultdict(list)
    for row in rows:
        # a poll or fetch belongs to its connection, a shared callback to the App
        endpoint_id = row["connection_id"] or row["app_id"]
        endpoint = await runtime.connections.get(endpoint_id) if endpoint_id else None
        read = Read(row["id"], row["received_at"], row["role"], row["origin"], endpoint, row["note"])
        reads.append(read)
        if endpoint is None:
            read.fail("its connection was deleted")
            continue
        raw = RawDelivery(
            id=str(row["id"]),
            origin=row["origin"],
            body=row["body"],
            received_at=row["received_at"],
            headers=unpack_headers(row["headers"]),
            query=row["query"],
            stream=row["stream"],
            note=dict(row["note"]),
        )
        groups[endpoint.id].append((read, raw))
    for members in groups.values():
        endpoint = members[0][0].endpoint
        assert endpoint is not None
        outcomes = await sandbox.normalise(endpoint, [raw for _, raw in members])
        for (read, _), outcome in zip(members, outcomes, strict=True):
            await _route(runtime, read, endpoint, outcome)
    return reads


async def _route(runtime: Runtime, read: Read, endpoint: Endpoint, outcome: Outcome) -> None:
    if not outcome.ok:
        read.fail(f"{outcome.code}: {outcome.reason}")
        return
    ignored: list[str] = []
    unreadable: list[str] = []
    for item in outcome.values:
        if isinstance(item, Unreadable):
            unreadable.append(item.reason)
            continue
        if isinstance(item, Ignored):
            ignored.append(item.reason)
            continue
        concerned: Endpoint | None = endpoint
        if endpoint.is_app:
            concerned = await account_connection(runtime, endpoint.id, item.account) if item.account else None
        if concerned is None:
            ignored.append(f"no connection for account {item.account}")
            continue
        read.news.append((concerned, item))
    read.reason = "; ".join(dict.fromkeys([*unreadable, *ignored])) or None
    if unreadable:
        read.state = "failed"
    elif not read.news:
        read.state, read.reason = "ignored", read.reason or "the plugin found nothing in it"


async def account_connection(runtime: Runtime, app_id: UUID, account: str) -> Endpoint | None:
    """The connection of an App's account, for what comes through a shared callback."""
    id = await runtime.connections.routed(app_id, account)
    return await runtime.connections.get(id) if id else None
