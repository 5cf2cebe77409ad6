"""The row of the clocks: a tick with a million running clocks of which none is due."""

from __future__ import annotations

import statistics
import time
from datetime import timedelta
from uuid import UUID

from bench.figures import Figure
from bench.ground import Ground, settings, source
from gateway.db.database import execute, fetch_all
from gateway.db.tables.calendar import ALWAYS_ID
from gateway.pipeline.drains import DUE
from gateway.pipeline.waiting import release_waiting
from gateway.runtime import Runtime, open_runtime
from support.clocks import add_tickets, ask, started
from support.gateway import Gateway

CLOCKS = 1_000_000
TICKS = 50
ROWS = ("clocks",)
BUDGET_MS = 5.0

FILL = """
INSERT INTO clock (id, ticket_id, kind, policy, slot, label, calendar_id, calendar_version, target, steps, stops_on,
    pauses, credit, started_at, running_since, stretches, asked, state, due_at, next_at, step, round, created_at,
    updated_at)
SELECT gen_random_uuid(), (CAST(:tickets AS uuid[]))[1 + n % cardinality(CAST(:tickets AS uuid[]))], 'next_response',
    '', n::text, '', :calendar, 1, interval '1 day', '[{"at": 1.0, "name": "breach", "notify": []}]', 'answer', true,
    interval '0', :now, :now, '[]', '[]', 'running', :now + make_interval(days => 1, secs => n),
    :now + make_interval(days => 1, secs => n), 0, 0, :now, :now
FROM generate_series(1, :count) AS n
"""


async def measure_clocks(runtime: Runtime, source: UUID, count: int = CLOCKS) -> Figure:
    """Fill in clocks and time what a tick asks the database; the median of 50, in milliseconds with the way there.

    The floor is the same tick before there were any clocks. That a clock which is due is found is checked as well: an
    index that is never used would be quick.
    """
    now = runtime.now()
    floor = await _ticks(runtime)
    tickets = await add_tickets(runtime, source, 1000, now)
    async with runtime.database.write() as connection:
        await execute(connection, FILL, tickets=tickets, calendar=ALWAYS_ID, now=now, count=count)
    async with runtime.database.read() as connection:
        await execute(connection, "ANALYZE clock")
    names = await _due(runtime)
    assert "clock:sweep" not in names, names
    milliseconds = await _ticks(runtime)
    await ask(runtime, [started(tickets[0], now - timedelta(hours=2), kind="resolution")], now)
    assert "clock:sweep" in await _due(runtime)
    return Figure(
        row="clocks",
        measured=f"{milliseconds:.2f} ms a tick with {count:,} running clocks",
        floor=f"{floor:.2f} ms without any",
        ratio=round(milliseconds / floor, 2),
        budget=f"<= {BUDGET_MS:g} ms",
        met=milliseconds <= BUDGET_MS,
        numbers={"milliseconds": round(milliseconds, 2), "floor_milliseconds": round(floor, 2), "clocks": count},
    )


async def measure(ground: Ground) -> list[Figure]:
    """The tick on a database of its own."""
    async with ground.database() as url, open_runtime(settings(ground.folder / "clocks", url)) as runtime:
        return [await measure_clocks(runtime, await source(Gateway(runtime)))]


async def _due(runtime: Runtime) -> set[str]:
    async with runtime.database.read() as connection:
        return {row["name"] for row in await fetch_all(connection, DUE, now=runtime.now())}


async def _ticks(runtime: Runtime) -> float:
    """The statements of a tick, without the wake-ups that follow from what they find."""
    took = []
    async with runtime.database.read() as connection:
        for _ in range(TICKS):
            now = runtime.now()
            began = time.perf_counter()
            await release_waiting(connection, now)
            await fetch_all(connection, DUE, now=now)
            took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)
