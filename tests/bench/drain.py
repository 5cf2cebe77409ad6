"""Rows `drain` and `scale`: one worker's inbox drain, on an empty database and on one with a million tickets."""

from __future__ import annotations

import asyncio
import statistics
import time
from uuid import UUID

import psycopg

from bench.figures import Figure
from bench.filling import fill
from bench.ground import Ground, body, settings, source
from gateway.engine.sandbox import Sandbox
from gateway.engine.shards import CROWD_SHARDS, INBOX_SHARDS, SHARDS
from gateway.pipeline.drains import Drains
from gateway.runtime import open_runtime
from support.gateway import Gateway

ROWS = ("drain", "scale")
PER_SECOND = 1000
AT_SCALE = 1.3
NAIVELY = 1000

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


async def measure(ground: Ground, *, at_scale: bool = True) -> list[Figure]:
    """Drain some thousand complaints of as many customers, a few times over; then again among a million tickets."""
    figures = []
    async with ground.database() as url, open_runtime(settings(ground.folder, url)) as runtime:
        gateway = Gateway(runtime)
        connection_id = await source(gateway)
        sandbox = Sandbox(5.0)
        await sandbox.warm()
        drains = Drains(runtime, sandbox)

        async def drain(run: str, size: int) -> float:
            await store(url, connection_id, size, run)
            before = await gateway.value("SELECT count(DISTINCT ticket_id) FROM push")
            began = time.perf_counter()
            for stage, shards in (("inbox", INBOX_SHARDS), ("thread", SHARDS)):
                for _ in range(2):
                    await asyncio.gather(*(drains.run(f"{stage}:{shard}") for shard in range(shards)))
            took = time.perf_counter() - began
            left = await gateway.value("SELECT count(*) FROM delivery WHERE state = 'pending'")
            told = await gateway.value("SELECT count(DISTINCT ticket_id) FROM push") - before
            assert (left, told) == (0, size), f"{left} deliveries left, {told} told to the helpdesk of {size}"
            return size / took

        size = ground.size // ground.rounds
        try:
            await drain("warm-up", 200)
            empty = [await drain(f"empty{round_}", size) for round_ in range(ground.rounds)]
            per_second, naive = round(statistics.median(empty)), round(await naively(url))
            figures.append(
                Figure(
                    "drain",
                    f"{per_second:,} interactions a second, one worker",
                    f"{naive:,} a second: a loop that inserts and commits each body",
                    round(per_second / naive, 2),
                    f">= {PER_SECOND:,} a second",
                    per_second >= PER_SECOND,
                    {"per_second": per_second, "floor_per_second": naive},
                )
            )
            if at_scale:
                stored, seconds = await fill(url, ground.tickets)
                await drain("warm-up again", 200)
                full = [await drain(f"full{round_}", size) for round_ in range(ground.rounds)]
                ratio = statistics.median(empty) / statistics.median(full)
                figures.append(
                    Figure(
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
                )
        finally:
            sandbox.close()
    return figures


async def naively(url: str) -> float:
    """The floor of a drain: rows that only go in."""
    async with await psycopg.AsyncConnection.connect(url) as one:
        await one.execute("CREATE TABLE bench_floor (id bigserial, body bytea)")
        began = time.perf_counter()
        for number in range(NAIVELY):
            await one.execute("INSERT INTO bench_floor (body) VALUES (%s)", [body(number, "n")])
            await one.commit()
    return NAIVELY / (time.perf_counter() - began)
