"""`gateway serve` as a real process beside this one: started, killed the hard way, started again, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil

from gateway.demo.rest import Rest

READY = 60.0
"""Seconds that a start may take, on a machine that has much else to do."""
PATIENCE = 45.0
"""Seconds for an orderly stop: a little more than serve gives its workers and its open calls."""


class StageBroken(Exception):
    """The gateway did not start or did not stop. The message ends with its last words."""


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Serve:
    """One `gateway serve` with its supervised workers."""

    def __init__(self, folder: Path, port: int, environment: Mapping[str, str], rest: Rest) -> None:
        self._folder = folder
        self._port = port
        self._environment = dict(environment)
        self._rest = rest
        self._process: asyncio.subprocess.Process | None = None
        self._sessions: set[int] = set()
        self.environment: Mapping[str, str] = self._environment
        """What any command of this installation runs with."""
        self.log = folder / "serve.log"

    async def start(self) -> None:
        """Start, and wait until it is ready to work. Raises StageBroken."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gateway.demo.child", "serve", "--port", str(self._port)),
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=self._environment,
                cwd=self._folder,
                start_new_session=True,  # Ctrl-C is ours: we stop it in order
            )
        self._sessions.add(self._process.pid)
        try:
            async with asyncio.timeout(READY):
                while not await self._rest.ready():
                    if self._process.returncode is not None:
                        raise StageBroken(f"The gateway ended with {self._process.returncode}.\n{self.last_words()}")
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise StageBroken(f"The gateway was not ready within {READY:.0f} s.\n{self.last_words()}") from None

    async def kill(self) -> None:
        """SIGKILL. Its workers notice and stop by themselves."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    def kill_worker(self) -> bool:
        """SIGKILL to one worker process; whether there was one. The supervisor starts another."""
        for worker in self.workers():
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.kill()
                return True
        return False

    def workers(self) -> list[psutil.Process]:
        """The worker processes that this serve supervises."""
        if self._process is None or self._process.returncode is not None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(self._process.pid).children()
            return [child for child in children if _is_worker(child)]
        return []

    async def stop(self) -> None:
        """SIGTERM, and wait until it and everything it started is gone; SIGKILL to what stays."""
        process = self._process
        if process is None:
            return
        family = self._family()
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(PATIENCE):
                    await process.wait()
            except TimeoutError:
                await self.kill()
        _, alive = await asyncio.to_thread(psutil.wait_procs, family, 20.0)
        for left in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()

    def _family(self) -> list[psutil.Process]:
        """Everything in the sessions of our starts: workers and their children, also those of a serve that was
        killed."""
        found = []
        for each in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if os.getsid(each.pid) in self._sessions and each.pid not in self._sessions:
                    found.append(each)
        return found

    def last_words(self) -> str:
        """The end of what it wrote."""
        with contextlib.suppress(OSError):
            return self.log.read_text("utf-8", "replace")[-4000:]
        return ""


def _is_worker(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return "worker" in process.cmdline()
    return False
