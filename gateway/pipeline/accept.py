"""Station 1, the door: a verified request is on disk before it is answered.

Many requests arrive together in a crisis. Each waits for the same commit: one INSERT, one commit, then all are
answered. Nothing is read from the body here but its signature.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from gateway.connections import Endpoint
from gateway.db.database import Database, execute, is_data_error
from gateway.engine.shards import SHARDS, crowd_shard
from gateway.engine.wake import Wake
from gateway.net.key_sets import KeyView
from gateway.security.redaction import masked
from gateway_schemas.errors import UnknownKey, Unverified
from gateway_schemas.helpdesk import Helpdesk
from gateway_schemas.source import Source
from gateway_schemas.webhook import WebhookRequest, WebhookResponse

log = logging.getLogger(__name__)

NOT_KEPT = {b"authorization", b"proxy-authorization", b"cookie"}
"""Headers that prove who is calling. They were checked at the door and are no news."""

TURN = 0.05
"""Seconds after which deliveries go to the next shard."""
CROWD_FROM, CROWD_RATE = 50.0, 25.0
"""So many deliveries at once, and so many a second for long, an endpoint may have among the ordinary ones."""

# In the driver's own notation: %(…)b sends an array in binary, where text would double the size of every body.
INSERT = """
INSERT INTO delivery
    (received_at, app_id, connection_id, role, origin, stream, method, query, headers, body, note, shard, state,
    attempts)
SELECT at, app, connection, role, 'webhook', '', method, query, headers, body, '{}', shard, 'pending', 0
FROM unnest(%(at)b::timestamptz[], %(app)b::uuid[], %(connection)b::uuid[], %(role)b::text[], %(method)b::text[],
            %(query)b::bytea[], %(headers)b::bytea[], %(body)b::bytea[], %(shard)b::smallint[])
     AS d (at, app, connection, role, method, query, headers, body, shard)
RETURNING id
"""


@dataclass
class _Waiting:
    request: WebhookRequest
    endpoint: Endpoint
    committed: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Crowds:
    """Tells the endpoints that flood from the others: a bucket for each that leaks at the ordinary rate."""

    def __init__(self) -> None:
        self._levels: dict[UUID, tuple[float, float]] = {}

    def crowded(self, id: UUID) -> bool:
        """Count one delivery; whether it is one of a crowd."""
        now = time.monotonic()
        level, at = self._levels.get(id, (0.0, now))
        level = min(max(0.0, level - (now - at) * CROWD_RATE) + 1, CROWD_FROM * 2)
        self._levels[id] = level, now
        return level > CROWD_FROM


class Inbox:
    """Commits what arrives in groups: while one commit is under way, the next group gathers."""

    def __init__(self, database: Database, wake: Wake, *, limit: int) -> None:
        self._database = database
        self._wake = wake
        self._limit = limit
        self._gathering: list[_Waiting] = []
        self._news = asyncio.Event()
        self._crowds = Crowds()
        self._shard = 0
        self._turned = 0.0
        self._committing = False
        self._task: asyncio.Task[None] | None = None
        self._to_wake: set[str] = set()
        self._waking: asyncio.Task[None] | None = None

    async def store(self, endpoint: Endpoint, request: WebhookRequest) -> int:
        """Return the delivery's id once it is committed. Raises when it is not: the provider will try again."""
        waiting = _Waiting(request, endpoint)
        self._gathering.append(waiting)
        self._news.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._commit_groups())
        return await waiting.committed

    async def close(self) -> None:
        """Commit what has gathered, then stop."""
        while self._gathering or self._committing:
            await asyncio.sleep(0.005)
        if self._task is not None:
            self._task.cancel()
        if self._waking is not None:
            await asyncio.wait({self._waking}, timeout=2.0)  # what is not told by then, the tick finds
            self._waking.cancel()

    async def _commit_groups(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while self._gathering:
                group, self._gathering = self._gathering[: self._limit], self._gathering[self._limit :]
                self._committing = True
                try:
                    await self._commit(group)
                finally:
                    self._committing = False

    async def _commit(self, group: Sequence[_Waiting]) -> None:
        if time.monotonic() - self._turned > TURN:
            # groups that follow closely go to one shard, so that one wake-up and one batch serve many of them
            self._shard, self._turned = (self._shard + 1) % SHARDS, time.monotonic()
        try:
            shards = [self._shard_for(one.endpoint.id) for one in group]
            ids = await self._insert(group, shards)
        except (SQLAlchemyError, OSError) as error:
            if isinstance(error, DBAPIError) and is_data_error(error) and len(group) > 1:
                # one hostile request must not refuse the others of its group
                for one in group:
                    await self._commit([one])
                return
            log.error("a group of %d deliveries was not stored: %s", len(group), type(error).__name__)
            for one in group:
                if not one.committed.done():
                    one.committed.set_exception(error)
            return
        for one, id in zip(group, ids, strict=True):
            if not one.committed.done():
                one.committed.set_result(id)
        self._to_wake |= {f"inbox:{shard}" for shard in shards}
        if self._waking is None or self._waking.done():
            self._waking = asyncio.create_task(self._wake_all())

    def _shard_for(self, id: UUID) -> int:
        return crowd_shard(self._shard) if self._crowds.crowded(id) else self._shard

    async def _wake_all(self) -> None:
        """Wake drains beside the commits: the next group does not wait for the word about this one."""
        while self._to_wake:
            names, self._to_wake = self._to_wake, set()
            await self._wake(names)

    async def _insert(self, group: Sequence[_Waiting], shards: Sequence[int]) -> list[int]:
        # one statement is a transaction of its own: it saves the round trips of BEGIN and COMMIT
        async with self._database.read() as connection:
            result = await connection.exec_driver_sql(
                INSERT,
                {
                    "at": [one.request.received_at for one in group],
                    "app": [one.endpoint.id if one.endpoint.is_app else one.endpoint.app_id for one in group],
                    "connection": [None if one.endpoint.is_app else one.endpoint.id for one in group],
                    "role": [one.endpoint.role for one in group],
                    "method": [one.request.method for one in group],
                    "query": [masked(one.request.query, one.endpoint.secrets) for one in group],
                    "headers": [pack_headers(one.request.headers, one.endpoint.secrets) for one in group],
                    "body": [one.request.body for one in group],
                    "shard": list(shards),
                },
            )
            return [int(row[0]) for row in result]


def pack_headers(headers: Sequence[tuple[bytes, bytes]], secrets: Sequence[str] = ()) -> bytes:
    """Headers as the bytes of a header block; neither names nor values can hold a line break. Without `secrets`: some
    providers send one with each webhook."""
    block = b"\r\n".join(name + b": " + value for name, value in headers if name.lower() not in NOT_KEPT)
    return masked(block, secrets)


def unpack_headers(block: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """What `pack_headers` packed."""
    pairs = (line.partition(b": ") for line in block.split(b"\r\n") if line)
    return tuple((name, value) for name, _, value in pairs)


def verify(plugin: Source[Any] | Helpdesk[Any], request: WebhookRequest) -> WebhookResponse | None:
    """Ask the plugin whether the request is genuine. Raises Unverified, also for whatever a hostile request breaks."""
    try:
        return plugin.verify(request)
    except Unverified:
        raise
    except Exception as error:  # answered 401 and counted: a request that breaks the check has not passed it
        log.warning("%s: verify raised %s; the request is refused", plugin.name, type(error).__name__)
        raise Unverified("the request could not be checked", code="verify_failed") from error


async def verify_with_keys(plugin: Source[Any] | Helpdesk[Any], request: WebhookRequest) -> WebhookResponse | None:
    """The same for plugins that need the provider's keys: fetched first, and once more when a key is not among them.

    Raises Unverified, and DocumentUnavailable when the provider's keys cannot be had.
    """
    keys = plugin.setup.keys
    if not isinstance(keys, KeyView):
        return verify(plugin, request)
    await keys.ready()
    try:
        return verify(plugin, request)
    except UnknownKey:
        if not await keys.renew():
            raise
        return verify(plugin, request)


async def count_refusal(
    database: Database,
    endpoint_id: UUID,
    code: str,
    now: datetime,
    log_it: Callable[[str], None] = log.warning,
    *,
    count: int = 1,
) -> None:
    """Count requests that were turned away; their bodies are not stored."""
    log_it(f"{endpoint_id}: {'a request was' if count == 1 else f'{count} requests were'} refused ({code})")
    async with database.write() as connection:
        await execute(
            connection,
            """INSERT INTO refusal (endpoint_id, day, code, count, last_at)
               VALUES (:endpoint, :day, :code, :count, :now)
               ON CONFLICT (endpoint_id, day, code) DO UPDATE SET count = refusal.count + EXCLUDED.count,
                      last_at = EXCLUDED.last_at""",
            endpoint=endpoint_id,
            day=now.date(),
            code=code,
            count=count,
            now=now,
        )
