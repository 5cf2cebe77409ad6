"""`gateway serve` keeps worker processes running beside the door: a crisis batch must not stall it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time

from gateway.runtime import Runtime

log = logging.getLogger(__name__)

GRACE = 20.0
BACKOFF = (0.2, 0.5, 1.0, 2.0, 5.0)


class Supervisor:
    """Starts workers, starts them again when they die, and stops them with the process."""

    def __init__(self, runtime: Runtime, environment: dict[str, str]) -> None:
        self._runtime = runtime
        self._environment = environment
        self._tasks: list[asyncio.Task[None]] = []
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._stopping = False

    def start(self, count: int) -> None:
        """Keep `count` workers running."""
        self._tasks = [asyncio.create_task(self._keep(number)) for number in range(count)]

    @property
    def pids(self) -> list[int]:
        """The workers running now."""
        return [process.pid for process in self._processes.values() if process.returncode is None]

    async def stop(self) -> None:
        """Ask the workers to finish what is in flight; kill those that take too long."""
        self._stopping = True
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        _, late = await asyncio.wait(self._tasks, timeout=GRACE) if self._tasks else (set(), set())
        if late:
            for process in self._processes.values():
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            await asyncio.wait(self._tasks)

    async def _keep(self, number: int) -> None:
        failures = 0
        while not self._stopping:
            began = time.monotonic()
            owner = await self._run_once(number)
            if self._stopping:
                return
            # the process is reaped, so it is dead for certain: what it held is free
            if owner:
                with contextlib.suppress(Exception):  # the lease ends by itself anyway
                    await self._runtime.leases.bury(owner)
            failures = 0 if time.monotonic() - began > 30 else failures + 1
            await asyncio.sleep(BACKOFF[min(failures, len(BACKOFF) - 1)])

    async def _run_once(self, number: int) -> str:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "gateway.cli",
            "worker",
            "--supervised",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=self._environment,
        )
        self._processes[number] = process
        if self._stopping:  # since before it was there to be stopped
            process.terminate()
        assert process.stdout is not None
        owner = (await process.stdout.readline()).decode().strip()
        code = await process.wait()
        if not self._stopping:
            log.warning("worker %d (pid %d) ended with code %s; starting another", number, process.pid, code)
        return owner
