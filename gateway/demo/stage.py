"""The stage: twins, a database and the real gateway on this machine alone, on a clock of their own.

    with temporary_folder() as folder:
        clock = SharedTime.create(folder / "time", at=evening)
        async with set_stage([network, helpdesk], clock, folder) as stage:
            brand = await stage.rest.brand("Acme")

Everything is stopped on the way out, whatever the reason: workers, serve, the database if it is ours, the twins.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy.exc import SQLAlchemyError

from gateway.db.database import Database, fetch_one
from gateway.db.embedded import EmbeddedPostgres
from gateway.demo.process import Serve, StageBroken, free_port
from gateway.demo.quiet import Quiet
from gateway.demo.rest import Rest
from gateway.demo.twins import Twin
from gateway_schemas.time import SharedTime

Victim = Literal["serve", "worker", "postgres"]
TERMINATED = 143
"""The exit code of a process that SIGTERM ended."""


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="helpdesk-gateway-demo-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextlib.contextmanager
def ending_on_sigterm() -> Iterator[asyncio.Event]:
    """SIGTERM cancels the task that enters this, as Ctrl-C does, so that everything is stopped. The event says so."""
    told = asyncio.Event()
    task = asyncio.current_task()
    assert task is not None
    if sys.platform == "win32":
        yield told
        return

    def end() -> None:
        told.set()
        task.cancel()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, end)
    try:
        yield told
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


@dataclass
class Stage:
    """The gateway that stands on it, and ways to knock it over."""

    clock: SharedTime
    folder: Path
    rest: Rest
    serve: Serve
    quiet: Quiet
    postgres: EmbeddedPostgres | None

    async def may_jump(self, *signing: Twin) -> bool:
        """Whether time may pass at once: nothing has a deadline that it would miss, and no signed time is in the air.

        `signing` are the twins whose webhooks are refused when their time stamp is old.
        """
        before = [len(twin.ledger) for twin in signing]
        for twin in signing:
            await twin.settle()
        # whoever writes meanwhile sends a webhook that this has not waited for
        return await self.quiet.may_jump() and before == [len(twin.ledger) for twin in signing]

    async def kill(self, victim: Victim) -> bool:
        """SIGKILL to one of the processes, then see that it runs again; whether there was one to kill.

        Workers are started again by `serve` and the database by whoever needs it, so that only `serve` is started here.
        """
        if victim == "serve":
            await self.serve.kill()
            await self.serve.start()
            return True
        if victim == "worker":
            return self.serve.kill_worker()
        return await asyncio.to_thread(self._kill_database)

    def _kill_database(self) -> bool:
        if self.postgres is None:
            return False
        try:
            pid = int((self.folder / "data" / "postgres" / "cluster" / "postmaster.pid").read_text("ascii").split()[0])
            os.kill(pid, signal.SIGKILL)
        except (OSError, ValueError, IndexError):
            return False  # it is down already, or just coming up
        return True


@contextlib.asynccontextmanager
async def set_stage(
    twins: Sequence[Twin], clock: SharedTime, folder: Path, settings: Mapping[str, str] | None = None
) -> AsyncIterator[Stage]:
    """Serve the twins, start the gateway, and stop everything at the end. `settings` are GATEWAY_* names without
    prefix.

    The database is the one of GATEWAY_DATABASE_URL, which must hold no connections yet, else an embedded one in
    `folder`. Raises StageBroken when the gateway does not come up.
    """
    async with contextlib.AsyncExitStack() as stack:
        for twin in twins:
            await stack.enter_async_context(twin.serve())
        port, key = free_port(), f"hg_demo_{secrets.token_urlsafe(24)}"
        rest = await stack.enter_async_context(Rest(port, key))
        database_url = os.environ.get("GATEWAY_DATABASE_URL")
        postgres: EmbeddedPostgres | None = None
        if database_url is None:
            postgres = EmbeddedPostgres(folder / "data")
            stack.push_async_callback(asyncio.to_thread, postgres.stop)
        else:
            await _refuse_used(database_url)
        serve = Serve(folder, port, _environment(port, key, clock, folder, database_url, settings or {}), rest)
        stack.push_async_callback(serve.stop)
        if postgres is not None:
            # serve's own start takes as long as that of the database: they meet at its lock
            database_url, _ = await asyncio.gather(asyncio.to_thread(postgres.start), serve.start())
        else:
            await serve.start()
        assert database_url is not None
        quiet = Quiet(database_url, postgres)
        stack.push_async_callback(quiet.close)
        yield Stage(clock, folder, rest, serve, quiet, postgres)


def _environment(
    port: int, key: str, clock: SharedTime, folder: Path, database_url: str | None, settings: Mapping[str, str]
) -> dict[str, str]:
    """This process's environment, with our settings in the place of whatever the gateway is told here otherwise."""
    given = {
        "data_dir": str(folder / "data"),
        "time_file": str(clock.path),
        "public_url": f"http://127.0.0.1:{port}",
        "bootstrap_key": key,
        "log_level": "WARNING",
        **({"database_url": database_url} if database_url else {}),
        **settings,
    }
    inherited = {name: value for name, value in os.environ.items() if not name.upper().startswith("GATEWAY_")}
    return inherited | {f"GATEWAY_{name.upper()}": value for name, value in given.items()}


async def _refuse_used(url: str) -> None:
    """A demo must not play in a company's own installation."""
    database = Database(url, pool_size=1)
    try:
        async with database.read() as connection:
            made = await fetch_one(connection, "SELECT to_regclass('connection') IS NOT NULL AS yes")
            used = made and made["yes"] and await fetch_one(connection, "SELECT 1 FROM connection LIMIT 1")
    except SQLAlchemyError as error:
        raise StageBroken(f"The database of GATEWAY_DATABASE_URL cannot be reached ({type(error).__name__}).") from None
    finally:
        await database.close()
    if used:
        raise StageBroken("The database of GATEWAY_DATABASE_URL is in use: give an empty one, or unset it for this.")
