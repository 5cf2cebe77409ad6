"""Rows `drain`, `drain with policies` and `scale`: one worker's inbox drain, on an empty database and on one with a
million tickets."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from uuid import UUID

import psycopg

from bench.figures import Figure
from bench.filling import fill
from bench.ground import Ground, body, settings, source
from gateway.engine.memory import keep
from gateway.engine.shards import CROWD_SHARDS, INBOX_SHARDS, SHARDS
from gateway.pipeline.drains import Drains
from gateway.runtime import open_runtime
from support.gateway import Gateway

ROWS = ("drain", "drain with policies", "scale")
PER_SECOND = 1000
AT_SCALE = 1.3
NAIVELY = 1000
TOLD = "SELECT count(DISTINCT ticket_id) FROM push"

STORE = """
INSERT INTO delivery (received_at, app_id, connection_id, role, origin, stream, method, query, headers, body, note,
                      shard, state, attempts)
SELECT clock_timestamp(), NULL, %s, 'source', 'webhook', '', 'POST', '', '', body, '{}', %s + n %% %s, 'pending', 0
FROM unnest(%s::bytea[]) WITH ORDINALITY AS b (body, n)
"""


async def store(url: str, connection_id: UUID, size: int, run: str) -> None:
    """Put deliveries into the inbox, where the door would put a crowd."""
    async with await psycopg.AsyncConnection.connect(url) as connection:
        bodies = [body(number, run) for number in range(size)]
        await connection.execute(STORE, [connection_id, SHARDS, CROWD_SHARDS, bodies], binary=True)


async def measure(ground: Ground, *, rows: set[str]) -> list[Figure]:
    """Drain some thousand complaints of as many customers, a few times over: without policies, with those that ship,
    and without again among a million tickets."""
    figures = []
    if rows & {"drain", "scale"}:
        async with lane(ground, policies=False) as one:
            empty, naive = await one.often("empty"), round(await naively(one.url))
            if "drain" in rows:
                figures.append(_pace("drain", empty, naive, "one worker, no policies"))
            if "scale" in rows:
                figures.append(await _at_scale(one, empty))
    if "drain with policies" in rows:
        async with lane(ground, policies=True) as one:
            found = await one.often("decided")
            figures.append(_pace("drain with policies", found, round(await naively(one.url)), "one worker, as shipped"))
    return figures


@dataclass
class Lane:
    """One worker's drains in this process, and a source that fills its inbox."""

    ground: Ground
    url: str
    gateway: Gateway
    drains: Drains
    connection_id: UUID

    async def drain(self, run: str, size: int) -> float:
        """Interactions a second."""
        await store(self.url, self.connection_id, size, run)
        before = await self.gateway.value(TOLD)
        began = time.perf_counter()
        for stage, shards in (("inbox", INBOX_SHARDS), ("thread", SHARDS)):
            for _ in range(2):
                await asyncio.gather(*(self.drains.run(f"{stage}:{shard}") for shard in range(shards)))
        took = time.perf_counter() - began
        left = await self.gateway.value("SELECT count(*) FROM delivery WHERE state = 'pending'")
        told = await self.gateway.value(TOLD) - before
        assert (left, told) == (0, size), f"{left} deliveries left, {told} told to the helpdesk of {size}"
        return size / took

    async def often(self, run: str) -> list[float]:
        """The same a few times over, warmed up."""
        await self.drain(f"{run} warm-up", 200)
        size = self.ground.size // self.ground.rounds
        return [await self.drain(f"{run}{round_}", size) for round_ in range(self.ground.rounds)]


@contextlib.asynccontextmanager
async def lane(ground: Ground, *, policies: bool) -> AsyncIterator[Lane]:
    """A database of its own and a worker's drains on it."""
    async with (
        ground.database() as url,
        open_runtime(settings(ground.folder, url, default_policies=policies)) as runtime,
    ):
        gateway = Gateway(runtime)
        connection_id = await source(gateway)
        await runtime.sandbox.warm()
        keep()  # as a worker does
        yield Lane(ground, url, gateway, Drains(runtime, runtime.sandbox), connection_id)


def _pace(row: str, found: Sequence[float], naive: int, how: str) -> Figure:
    per_second = round(statistics.median(found))
    return Figure(
        row,
        f"{per_second:,} interactions a second, {how}",
        f"{naive:,} a second: a loop that inserts and commits each body",
        round(per_second / naive, 2),
        f">= {PER_SECOND:,} a second",
        per_second >= PER_SECOND,
        {"per_second": per_second, "floor_per_second": naive},
    )


async def _at_scale(one: Lane, empty: Sequence[float]) -> Figure:
    stored, seconds = await fill(one.url, one.ground.tickets)
    full = await one.often("full")
    per_second, ratio = round(statistics.median(empty)), statistics.median(empty) / statistics.median(full)
    return Figure(
        "scale",
        f"{round(statistics.median(full)):,} interactions a second among {stored:,} tickets",
        f"{per_second:,} a second: the same drain on an empty database",
        round(ratio, 2),
        f"<= {AT_SCALE} x the time on the empty one",
        ratio <= AT_SCALE,
        {
            "per_second": round(statistics.median(full)),
            "floor_per_second": per_second,
            "tickets": stored,
            "fill_seconds": round(seconds, 1),
        },
    )


async def naively(url: str) -> float:
    """The floor of a drain: rows that only go in."""
    async with await psycopg.AsyncConnection.connect(url) as one:
        await one.execute("CREATE TABLE bench_floor (id bigserial, body bytea)")
        began = time.perf_counter()
        for number in range(NAIVELY):
            await one.execute("INSERT INTO bench_floor (body) VALUES (%s)", [body(number, "n")])
            await one.commit()
    return NAIVELY / (time.perf_counter() - began)
