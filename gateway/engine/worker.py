"""One worker process: fetches wake-ups and runs drains; ticks once a second."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

from gateway.engine.memory import keep
from gateway.engine.upkeep import drop_old_answers, drop_stalled_jobs, make_partitions
from gateway.engine.wake import QUEUE
from gateway.events.tell import drop_old_events
from gateway.pipeline.drains import Drains, tick
from gateway.pipeline.listen import Listeners
from gateway.pipeline.trouble import note_fault
from gateway.privacy.retention import expire
from gateway.runtime import Runtime, open_runtime
from gateway.security.overlap import drop_ended
from gateway.settings import Settings
from gateway.tracing.export import open_exporter

log = logging.getLogger(__name__)

TICK = 1.0
UPKEEP = 3600.0
GRACE = 15.0
HANDS = 4
"""Drains that a worker begins without a word over the database, because its own work woke them."""


class Nearby:
    """Runs at once, in this process, a few of the drains that its own work has woken: no word need travel for them."""

    def __init__(self, drain: Callable[[str], Awaitable[None]]) -> None:
        self._drain = drain
        self._running: set[asyncio.Task[None]] = set()

    def take(self, name: str) -> bool:
        """Begin the drain, unless enough are running here: the others are for whoever is free."""
        if len(self._running) >= HANDS:
            return False
        task = asyncio.ensure_future(self._drain(name))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return True

    async def end(self, seconds: float) -> None:
        """Wait for those that run; cancel them after so long."""
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


async def run_worker(settings: Settings, *, supervised: bool = False) -> None:
    """Work until SIGTERM, SIGINT, or the end of the process that supervises this one; then hand back what is held."""
    stop = asyncio.Event()
    watching: list[asyncio.Task[None]] = []  # the loop itself keeps no task alive
    loop = asyncio.get_running_loop()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, stop.set)
    async with open_runtime(settings) as runtime:
        if supervised:
            # the owner's name lets the supervisor give back this process's leases should it die
            print(runtime.owner, flush=True)
            # nobody reads on: what a plugin prints must not fill the pipe and stop us
            os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
            watching.append(asyncio.create_task(_watch_parent(stop)))
        keep()
        await work(runtime, stop)


async def work(runtime: Runtime, stop: asyncio.Event) -> None:
    """Run drains until `stop` is set."""
    settings = runtime.settings
    drains = Drains(runtime, runtime.sandbox, open_exporter(settings))

    async def drain(name: str) -> None:
        try:
            await drains.run(name)
        except Exception as error:  # its rows are as it found them and the tick wakes it again; its connection says so
            log.exception("drain %s failed", name)
            await note_fault(runtime.database, name, error)

    runtime.jobs.task(name="drain", queue=QUEUE)(drain)
    nearby = Nearby(drain)
    runtime.wake.nearby = nearby.take
    worker = asyncio.create_task(
        runtime.jobs.run_worker_async(
            queues=[QUEUE],
            concurrency=settings.concurrency,
            wait=True,
            delete_jobs="always",
            fetch_job_polling_interval=1.0,
            install_signal_handlers=False,
            shutdown_graceful_timeout=GRACE,
        )
    )
    listeners = Listeners(runtime)
    ticking = asyncio.create_task(_tick_on(runtime, listeners))
    stopping = asyncio.create_task(stop.wait())
    try:
        await runtime.sandbox.warm()
        await asyncio.wait({worker, stopping, ticking}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        drains.stopping = True
        for task in (stopping, ticking, worker):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await worker
        await listeners.stop()
        runtime.wake.nearby = None
        await nearby.end(GRACE)
        await drains.tellers.stop(GRACE)
        await asyncio.gather(ticking, stopping, return_exceptions=True)


async def _tick_on(runtime: Runtime, listeners: Listeners) -> None:
    upkeep = 0.0
    expiring = False
    while True:
        began = time.monotonic()
        try:
            if runtime.postgres is not None:
                await asyncio.to_thread(runtime.postgres.ensure)
            if began - upkeep > UPKEEP or upkeep == 0.0:
                await make_partitions(runtime.database, runtime.now())
                await drop_stalled_jobs(runtime.jobs)
                await runtime.outgoing.ledger.purge()
                await drop_old_answers(runtime.database)
                await drop_old_events(runtime.database, runtime.now() - timedelta(days=runtime.settings.event_days))
                await drop_ended(runtime.database, runtime.now())
                upkeep = began
                expiring = True
            if expiring:
                _, expiring = await expire(runtime, runtime.now())
            await tick(runtime)
            await listeners.look()
        except Exception:  # the database may be away for a moment; the next tick tries again, and the log says why
            log.exception("tick failed")
        await asyncio.sleep(max(0.05, TICK - (time.monotonic() - began)))


async def _watch_parent(stop: asyncio.Event) -> None:
    """The supervisor holds the other end of standard input: its end is ours."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()
    stop.set()
