"""Rows `rate` and `bulk`: a backlog for a helpdesk that allows so many calls a minute, without and with a bulk call.

Both run on the gateway's shared time at a speed, so that minutes take seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from uuid import UUID

from bench.drain import store
from bench.figures import Figure
from bench.filling import clone
from bench.ground import Ground, settings, source
from bench.plain import A_MINUTE, ALLOWED, PlainHelpdesk, PlainTwin
from gateway.engine.worker import work
from gateway.registry import Registry
from gateway.runtime import open_runtime
from gateway_schemas.time import SharedTime
from gateway_zendesk.twin import ZendeskTwin
from support.gateway import Gateway

ROWS = ("rate", "bulk")
SHARE = 0.7
USED = 0.95
PER_CALL = 20
RATE_SPEED, BULK_SPEED = 6.0, 12.0
MINUTES = 3
"""Of the helpdesk's time, for which the use of its limit is watched."""
CUSTOMERS = 100
START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


@contextlib.asynccontextmanager
async def working(ground: Ground, clock: SharedTime) -> AsyncIterator[tuple[Gateway, Callable[[], Awaitable[None]]]]:
    """A gateway on that time, with a worker that begins when it is told to."""
    registry = Registry.load()
    registry.helpdesks["plain"] = PlainHelpdesk
    stop, started = asyncio.Event(), asyncio.Event()
    async with ground.database() as url:
        given = settings(ground.folder, url, time_file=clock.path)
        async with open_runtime(given, registry=registry) as runtime:

            async def run() -> None:
                await started.wait()
                await work(runtime, stop)

            task = asyncio.create_task(run())

            async def start() -> None:
                started.set()

            try:
                yield Gateway(runtime), start
            finally:
                stop.set()
                started.set()
                await task


async def pile_up(gateway: Gateway, helpdesk: UUID, size: int) -> None:
    """Have one complaint go through, then copy what it left, as many times, by customers the helpdesk knows."""
    connection_id = await source(gateway, helpdesk)
    url = gateway.runtime.database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    await store(url, connection_id, 1, "model")

    async def told() -> bool:
        return bool(await gateway.value("SELECT count(*) FROM push WHERE state = 'done'"))

    await gateway.until(told, "the model has arrived at the helpdesk", 60)
    await gateway.execute("UPDATE connection SET paused_out = true WHERE id = :id", id=helpdesk)
    await clone(url, size, customers=CUSTOMERS, waiting=True)


async def rate(ground: Ground) -> Figure:
    """How much of its share of a limit a backlog uses, and how often it exceeds it."""
    clock = SharedTime.create(ground.folder / "rate-time", at=START, speed=1.0)
    twin = PlainTwin(time=clock)
    async with twin.serve() as url, working(ground, clock) as (gateway, start):
        helpdesk = await gateway.add_connection("helpdesk", "plain", {"base_url": url, "share": SHARE}, name="plain")
        await start()
        await pile_up(gateway, helpdesk, ground.backlog)
        await clock.sleep(A_MINUTE.total_seconds())  # the model's own call is forgotten by then
        twin.calls.clear()
        clock.set_speed(RATE_SPEED)
        await gateway.execute("UPDATE connection SET paused_out = false WHERE id = :id", id=helpdesk)
        while not twin.calls:
            await asyncio.sleep(0.01)
        end = twin.calls[0] + MINUTES * A_MINUTE.total_seconds()
        await clock.sleep(end - clock.now().timestamp())
        calls = [at for at in twin.calls if at < end]
    allowed = int(ALLOWED * SHARE)
    used = len(calls) / (allowed * MINUTES)
    most = busiest(calls, A_MINUTE.total_seconds())
    over = max(0, most - allowed) + twin.refused
    return Figure(
        "rate",
        f"{used:.1%} of the share of {allowed} calls a minute used, {most} in the busiest minute, {over} over",
        f"{allowed} a minute: {SHARE:.0%} of the {ALLOWED} that the helpdesk allows",
        round(used, 3),
        f">= {USED:.0%} used, 0 over",
        used >= USED and over == 0,
        {"calls": len(calls), "busiest_minute": most, "over": over, "backlog": ground.backlog},
    )


def busiest(calls: Sequence[float], seconds: float) -> int:
    """The most calls in any span of so many seconds."""
    most = first = 0
    for last, at in enumerate(calls):
        while at - calls[first] >= seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


async def bulk(ground: Ground) -> Figure:
    """How many changes a call carries where the helpdesk takes many at once, and how often it refuses one."""
    clock = SharedTime.create(ground.folder / "bulk-time", at=START, speed=1.0)
    desk = ZendeskTwin(time=clock)
    async with desk.serve() as url, working(ground, clock) as (gateway, start):
        config = {"base_url": url, "email": desk.email, "api_token": desk.token, "share": SHARE}
        helpdesk = await gateway.add_connection("helpdesk", "zendesk", config, name="zendesk")
        for number in range(CUSTOMERS):
            desk.desk.people.add(f"Customer {number}", "end-user", external_id=f"inbound:seed-user-{number}")
        await start()
        await pile_up(gateway, helpdesk, ground.backlog)
        before = len(desk.requests)
        clock.set_speed(BULK_SPEED)
        await gateway.execute("UPDATE connection SET paused_out = false WHERE id = :id", id=helpdesk)

        async def arrived() -> bool:
            return len(desk.tickets) > ground.backlog

        await gateway.until(arrived, "the backlog is at the helpdesk", 600)
        calls = [call for call in desk.requests[before:] if call[1].startswith("/api/")]
    carrying = [call for call in calls if call[0] != "GET" or "job_statuses" in call[1]]
    reading = len(calls) - len(carrying)
    per_call = ground.backlog / len(carrying)
    over = sum(status == 429 for _, _, status in calls)
    return Figure(
        "bulk",
        f"{per_call:.0f} changes a call, {over} over: {ground.backlog:,} new tickets in {len(carrying)} calls,"
        f" those that ask how they ended included; {reading} besides read what the export tells of",
        "1: a call for each change",
        round(per_call, 1),
        f">= {PER_CALL} changes a call, 0 over",
        per_call >= PER_CALL and over == 0,
        {"changes": ground.backlog, "calls": len(carrying), "reading": reading, "over": over},
    )


async def measure(ground: Ground, rows: set[str]) -> list[Figure]:
    """The chosen ones."""
    return [await row(ground) for name, row in (("rate", rate), ("bulk", bulk)) if name in rows]
