"""Polling: what webhooks did not bring. Cursors move in the transaction that stores what was polled, never before."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.connections import Endpoint
from gateway.db.database import as_json, execute, fetch_all, fetch_one, insert_rows
from gateway.engine.leases import Held
from gateway.health.soon import look_within
from gateway.health.symptoms import DOUBTFUL, HEARD_WITHIN
from gateway.net.client import calling
from gateway.pipeline.fetch import store_pages
from gateway.pipeline.trouble import Trouble, note_attempt, note_success, note_trouble, trouble_of
from gateway.runtime import Runtime
from gateway_schemas.source import Source
from gateway_schemas.webhook import Page

YIELD_AFTER = 2.0
OUTER = 1.0
"""Seconds by which the last resort comes after the client's own deadline, which knows whether anything was sent."""


async def poll_stream(runtime: Runtime, endpoint: Endpoint, stream: str, held: Held) -> bool:
    """Take polling steps of one stream until the provider has no more, for a while. Returns whether there is more."""
    plugin = runtime.connections.instance(endpoint, outgoing=runtime.outgoing)
    began = time.monotonic()
    while time.monotonic() - began < YIELD_AFTER:
        async with runtime.database.read() as connection:
            row = await fetch_one(
                connection,
                "SELECT cursor, next_at FROM cursor WHERE connection_id = :id AND stream = :stream",
                id=endpoint.id,
                stream=stream,
            )
        if row is None or row["next_at"] > runtime.now():
            return False
        started = time.monotonic()
        page: Page | None = None
        trouble: Trouble | None = None
        try:
            with calling(lane="backlog", seconds=runtime.settings.call_timeout * 2):
                async with asyncio.timeout(runtime.settings.call_timeout * 2 + OUTER):
                    page = await plugin.poll(stream, row["cursor"])
        except Exception as error:  # recorded on the cursor; polling goes on from where it stands
            trouble = trouble_of(error)
        if not held.fresh(runtime.settings.lease_seconds / 2):
            await runtime.leases.prolong(held)
        wakes = await _record(
            runtime, endpoint, stream, held, row, page, trouble, int((time.monotonic() - started) * 1000)
        )
        await runtime.wake(wakes)
        if page is None or not page.more:
            return False
    return True


async def _record(
    runtime: Runtime,
    endpoint: Endpoint,
    stream: str,
    held: Held,
    row: Mapping[str, Any],
    page: Page | None,
    trouble: Trouble | None,
    milliseconds: int,
) -> set[str]:
    plugin = runtime.connections.instance(endpoint, outgoing=runtime.outgoing)
    every = plugin.capabilities.poll_every
    now = runtime.now()
    async with runtime.database.write() as connection:
        await held.check(connection)
        if page is None:
            assert trouble is not None
            [failed] = await fetch_all(
                connection,
                """UPDATE cursor SET failures = failures + 1, reason = :reason, next_at = :next
                   WHERE connection_id = :id AND stream = :stream RETURNING failures""",
                id=endpoint.id,
                stream=stream,
                reason=f"{trouble.code}: {trouble.reason}",
                next=now + (trouble.after or min(every, timedelta(seconds=30))),
            )
            if failed["failures"] == DOUBTFUL or (trouble.after is not None and trouble.after > every):
                await look_within(connection, endpoint.id, now)
            await note_trouble(connection, endpoint, trouble, now)
            await note_attempt(connection, endpoint.id, "poll", stream, trouble, now, milliseconds)
            return set()
        # the last page brings the news; those before it are catching up
        wakes = await store_pages(connection, endpoint, "poll", page.pages, now, crowd=page.more)
        await execute(
            connection,
            # a stream that hinted while this poll was under way may speak of what it did not see: it is due still
            """UPDATE cursor SET cursor = CAST(:cursor AS jsonb), polled_at = :now, failures = 0, reason = NULL,
                   next_at = CASE WHEN next_at = :due THEN :next ELSE next_at END
               WHERE connection_id = :id AND stream = :stream""",
            id=endpoint.id,
            stream=stream,
            cursor=as_json(page.cursor),
            now=now,
            due=row["next_at"],
            next=now if page.more else now + every,
        )
        if page.pages and endpoint.role == "source" and plugin.capabilities.webhook:
            # what polling brought should have been pushed: see whether it was, or comes yet
            await look_within(connection, endpoint.id, now)
        listens = isinstance(plugin, Source) and plugin.capabilities.listen
        if page.pages and listens and not await _heard(connection, endpoint, now):
            await look_within(connection, endpoint.id, now, within=HEARD_WITHIN * 1.5)
        await note_success(connection, endpoint, now)
        return wakes


async def _heard(connection: AsyncConnection, endpoint: Endpoint, now: datetime) -> bool:
    """Whether the provider's stream has just told of something, as of what a poll brings that it has woken."""
    row = await fetch_one(
        connection,
        "SELECT COALESCE(hinted_at, since) >= :lately AS heard FROM listener WHERE connection_id = :id",
        id=endpoint.id,
        lately=now - HEARD_WITHIN,
    )
    return row is None or bool(row["heard"])


async def make_cursors(
    connection: AsyncConnection, connection_id: UUID, streams: tuple[str, ...], now: datetime
) -> None:
    """Called when a connection is made: its streams are due at once."""
    await insert_rows(
        connection,
        "cursor",
        [{"connection_id": connection_id, "stream": stream, "failures": 0, "next_at": now} for stream in streams],
        tail="ON CONFLICT (connection_id, stream) DO NOTHING",
    )
