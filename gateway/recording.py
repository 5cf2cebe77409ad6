"""Fixtures from what came in: `gateway plugin record --connection ID` redacts stored deliveries and writes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from gateway.db.database import Row, fetch_all
from gateway.pipeline.accept import unpack_headers
from gateway.runtime import Runtime, open_runtime
from gateway.settings import Settings
from gateway_schemas.webhook import RawDelivery

if TYPE_CHECKING:
    from gateway_schemas.authoring.recording import Recorded


class NothingToRecord(Exception):
    """There is no such connection, or nothing came to it. The message says which."""


@dataclass(frozen=True)
class Wish:
    """What shall be recorded, and how."""

    connection: UUID
    """A connection, or the App to whose shared door the webhooks come."""
    folder: Path
    """The fixtures folder of the plugin."""
    limit: int = 20
    origin: str | None = None
    """`webhook`, `poll`, `fetch` or `listen`; None: all."""
    keep: tuple[str, ...] = ()
    """Keys of the provider's documents whose values name nobody and shall stay."""


async def record(settings: Settings, wish: Wish) -> list[Recorded]:
    """Write the newest deliveries as fixtures, oldest first. Raises NothingToRecord."""
    async with open_runtime(settings) as runtime:
        return await record_with(runtime, wish)


async def record_with(runtime: Runtime, wish: Wish) -> list[Recorded]:
    """The same in a runtime that is open."""
    from gateway_schemas.authoring.recording import Recording, redactor_for

    endpoint = (await runtime.connections.load([wish.connection])).get(wish.connection)
    if endpoint is None:
        raise NothingToRecord(f"there is no connection and no App {wish.connection}")
    rows = await _newest(runtime, wish)
    if not rows:
        raise NothingToRecord(f"nothing has come to {endpoint.name} that is still kept")
    plugin = runtime.connections.fresh(endpoint)
    config, app = plugin.setup.config, plugin.setup.app
    recording = Recording(
        type(plugin), wish.folder, config=config, app=app, redactor=redactor_for(type(plugin), config, app, wish.keep)
    )
    return [recording.add(_delivery(row), method=row["method"] or "POST") for row in reversed(rows)]


async def _newest(runtime: Runtime, wish: Wish) -> list[Row]:
    async with runtime.database.read() as database:
        return await fetch_all(
            database,
            """
            SELECT id, origin, stream, method, query, headers, body, note, received_at FROM delivery
            WHERE (connection_id = :id OR app_id = :id)
              AND (CAST(:origin AS text) IS NULL OR origin = :origin)
            ORDER BY received_at DESC, id DESC LIMIT :limit
            """,
            id=wish.connection,
            origin=wish.origin,
            limit=wish.limit,
        )


def _delivery(row: Row) -> RawDelivery:
    values: dict[str, Any] = dict(row)
    return RawDelivery(
        str(values["id"]),
        values["origin"],
        bytes(values["body"]),
        values["received_at"],
        headers=unpack_headers(bytes(values["headers"])),
        query=bytes(values["query"]),
        stream=values["stream"],
        note=values["note"] or {},
    )
