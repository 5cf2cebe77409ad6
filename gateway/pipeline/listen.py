"""Listening: a provider's stream hints that something is new. What it carries is stored; else a poll is woken.

One process at a time follows the stream of a connection, under a lease. A stream that ends or breaks is begun again,
later each time; one whose connection is paused, blocked or changed is left, and so is one whose lease was lost, or
taken from it because the stream was found to be silent. A hint that is missed costs the time until the next poll,
nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from datetime import timedelta
from typing import Any
from uuid import UUID

from gateway.connections import ConfigInvalid, Endpoint, PluginMissing
from gateway.db.database import execute, fetch_all
from gateway.engine.leases import Held, LeaseLost
from gateway.health.soon import look_within
from gateway.health.symptoms import DOUBTFUL
from gateway.net.client import calling
from gateway.pipeline.fetch import store_pages
from gateway.pipeline.trouble import BACKOFF, Trouble, note_fault, note_success, note_trouble, trouble_of
from gateway.runtime import Runtime
from gateway_schemas.source import Source
from gateway_schemas.webhook import Hint

log = logging.getLogger(__name__)

LOOK = 0.5
"""Seconds between two looks at whether a stream may still be followed."""
STEADY = 60.0
"""Seconds after which a stream counts as working: when it ends then, it is begun again at once."""
QUIETLY = timedelta(seconds=10)
"""How often a busy stream's last hint is written down."""

DUE = """
SELECT c.id FROM connection c LEFT JOIN listener l ON l.connection_id = c.id
WHERE c.role = 'source' AND c.plugin = ANY(:plugins) AND c.status = 'active' AND NOT c.paused_in
  AND (c.blocked_until IS NULL OR c.blocked_until <= :now) AND (l.next_at IS NULL OR l.next_at <= :now)
  AND NOT EXISTS (SELECT 1 FROM lease WHERE name = 'listen:' || c.id AND until >= now())
"""


class Listeners:
    """The streams that one worker process follows."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._following: dict[UUID, asyncio.Task[None]] = {}
        self._stopping = asyncio.Event()

    async def look(self) -> None:
        """Called every second: begin to follow the streams that nobody follows."""
        sources = self._runtime.registry.sources
        plugins = [name for name, plugin in sources.items() if plugin.capabilities.listen]
        if not plugins or self._stopping.is_set():
            return
        async with self._runtime.database.read() as connection:
            due = await fetch_all(connection, DUE, plugins=plugins, now=self._runtime.now())
        for row in due:
            id: UUID = row["id"]
            if id not in self._following:
                task = asyncio.create_task(self._hold(id))
                self._following[id] = task
                task.add_done_callback(functools.partial(self._forget, id))

    def _forget(self, id: UUID, _: asyncio.Task[None]) -> None:
        self._following.pop(id, None)

    async def stop(self) -> None:
        """Leave every stream and give back its lease, so that another process can follow it at once."""
        self._stopping.set()
        await asyncio.gather(*self._following.values(), return_exceptions=True)

    async def _hold(self, id: UUID) -> None:
        """Follow one stream under its lease."""
        leases = self._runtime.leases
        try:
            held = await leases.take(f"listen:{id}")
            if held is None:
                return
            try:
                async with leases.kept(held):
                    await self._follow(id, held)
            finally:
                await leases.give_back(held)
        except LeaseLost:
            log.warning("listen:%s: the lease was lost; its new holder goes on", id)
        except (PluginMissing, ConfigInvalid) as error:
            log.warning("listen:%s: %s", id, error)
        except Exception as error:  # the next look begins anew; the connection says why
            log.exception("listen:%s failed", id)
            await note_fault(self._runtime.database, f"listen:{id}", error)

    async def _follow(self, id: UUID, held: Held) -> None:
        endpoint = await self._runtime.connections.get(id)
        if endpoint is None or not self._may_follow(endpoint):
            return
        source = self._runtime.connections.instance(endpoint, outgoing=self._runtime.outgoing)
        assert isinstance(source, Source)
        await self._begun(endpoint, held)
        began = time.monotonic()
        reading = asyncio.create_task(self._read(source, endpoint, held))
        leaving = asyncio.create_task(self._until_left(endpoint, held))
        try:
            await asyncio.wait({reading, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (reading, leaving):
                task.cancel()
            await asyncio.gather(reading, leaving, return_exceptions=True)
        if reading.cancelled():
            return  # left: whoever may follow it next begins at once
        error = reading.exception()
        if isinstance(error, LeaseLost):
            raise error
        trouble = trouble_of(error) if isinstance(error, Exception) else None
        await self._ended(endpoint, held, trouble, steady=time.monotonic() - began >= STEADY)

    async def _read(self, source: Source[Any], endpoint: Endpoint, held: Held) -> None:
        with calling(lane="backlog"):
            async with contextlib.aclosing(source.listen()) as hints:  # type: ignore[type-var]
                async for hint in hints:
                    await self._take(hint, endpoint, held)

    async def _take(self, hint: Hint, endpoint: Endpoint, held: Held) -> None:
        """Store what the hint carries, or have its stream polled. Raises LeaseLost."""
        now = self._runtime.now()
        async with self._runtime.database.write() as connection:
            await held.check(connection)
            if hint.page is not None:
                wakes = await store_pages(connection, endpoint, "listen", [hint.page], now)
            else:
                polled = await fetch_all(
                    connection,
                    """UPDATE cursor SET next_at = :now WHERE connection_id = :id AND (:stream = '' OR stream = :stream)
                       RETURNING stream""",
                    id=endpoint.id,
                    stream=hint.stream,
                    now=now,
                )
                wakes = {f"poll:{endpoint.id}:{row['stream']}" for row in polled}
            await execute(
                connection,
                """UPDATE listener SET hinted_at = :now, failures = 0, reason = NULL
                   WHERE connection_id = :id AND (hinted_at IS NULL OR hinted_at < :lately OR failures > 0)""",
                id=endpoint.id,
                now=now,
                lately=now - QUIETLY,
            )
            await note_success(connection, endpoint, now)
        await self._runtime.wake(wakes)

    def _may_follow(self, endpoint: Endpoint) -> bool:
        blocked = endpoint.blocked_until is not None and endpoint.blocked_until > self._runtime.now()
        return endpoint.status == "active" and not endpoint.paused_in and not blocked

    async def _until_left(self, begun: Endpoint, held: Held) -> None:
        """Return when the stream may not be followed any longer: by this process, or as the connection was then."""
        while held.fresh():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK):
                    await self._stopping.wait()
                return
            now = await self._runtime.connections.get(begun.id)
            if now is None or now.version != begun.version or not self._may_follow(now):
                return

    async def _begun(self, endpoint: Endpoint, held: Held) -> None:
        now = self._runtime.now()
        async with self._runtime.database.write() as connection:
            await held.check(connection)
            await execute(
                connection,
                """INSERT INTO listener (connection_id, since, failures, next_at) VALUES (:id, :now, 0, :now)
                   ON CONFLICT (connection_id) DO UPDATE SET since = :now, next_at = :now""",
                id=endpoint.id,
                now=now,
            )

    async def _ended(self, endpoint: Endpoint, held: Held, trouble: Trouble | None, *, steady: bool) -> None:
        """Write down that the stream ended or broke, and when it is begun again."""
        now = self._runtime.now()
        ended = trouble or Trouble("retry", "stream_ended", "the provider ended the stream")
        async with self._runtime.database.write() as connection:
            await held.check(connection)
            [row] = await fetch_all(
                connection,
                """UPDATE listener SET failures = CASE WHEN :steady THEN 1 ELSE failures + 1 END, reason = :reason
                   WHERE connection_id = :id RETURNING failures""",
                id=endpoint.id,
                steady=steady,
                reason=f"{ended.code}: {ended.reason}",
            )
            await execute(
                connection,
                "UPDATE listener SET next_at = :next WHERE connection_id = :id",
                id=endpoint.id,
                next=now + ended.delay(min(row["failures"], len(BACKOFF))),
            )
            if row["failures"] == DOUBTFUL:
                await look_within(connection, endpoint.id, now)
            if trouble is not None:
                await note_trouble(connection, endpoint, trouble, now)
