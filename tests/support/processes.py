"""Real processes of the gateway, to kill and to stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx2

from gateway.settings import Settings


def environment(settings: Settings) -> dict[str, str]:
    """GATEWAY_* variables that give another process these settings."""
    given = {**os.environ}
    for name in settings.model_fields_set:
        value = getattr(settings, name)
        if value is not None:
            given[f"GATEWAY_{name.upper()}"] = (
                value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)
            )
    return given


@dataclass
class Process:
    """One process of the gateway and everything it started."""

    arguments: tuple[str, ...]
    settings: Settings
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, in a session of its own so that its children can be signalled with it."""
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway.cli", *self.arguments, env=environment(self.settings), start_new_session=True
        )

    def signal(self, number: int) -> None:
        """Send a signal to it and its children."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        assert self.process is not None
        self.signal(signal.SIGKILL)
        await self.process.wait()

    async def stop(self) -> int:
        """SIGTERM, and wait; its exit code."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        return await self.process.wait()


@contextlib.asynccontextmanager
async def process(settings: Settings, *arguments: str) -> AsyncIterator[Process]:
    """A running process; killed at the end if it still runs."""
    one = Process(arguments, settings)
    await one.start()
    try:
        yield one
    finally:
        if one.process is not None and one.process.returncode is None:
            await one.kill()


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


async def up(url: str) -> None:
    """Wait until a door answers."""
    async with httpx2.AsyncClient(trust_env=False) as http:
        for _ in range(400):
            with contextlib.suppress(httpx2.TransportError):
                if (await http.get(f"{url}/healthz")).status_code == 200:
                    return
            await asyncio.sleep(0.05)
    raise AssertionError(f"{url} did not come up")
