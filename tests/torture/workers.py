"""Workers as a schedule sees them: real drains on a real database, whose every step waits for the schedule's word.

A worker is a `Runtime` with its own lease owner, caches and HTTP client, as a process has them. Before and after each
use of the database and each request it stops at a *boundary* until the schedule lets it go on; there it can be killed,
stalled, or cut off from the database.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psycopg
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.connections import Connections
from gateway.db.database import Database
from gateway.engine import child
from gateway.engine.judge import Bench
from gateway.engine.leases import Leases
from gateway.engine.sandbox import Sandbox
from gateway.engine.wake import Wake
from gateway.files.store import Files
from gateway.net.client import Outgoing, Target
from gateway.net.key_sets import KeySets
from gateway.pipeline.drains import Drains, tick
from gateway.policy.sets import PolicySets
from gateway.registry import Registry
from gateway.runtime import Runtime
from gateway.security.audit import AuditLog
from gateway.security.vault import Vault
from gateway.settings import Settings
from gateway.sla.stored import Calendars
from torture.machine import CLOCK, OWNER, Loop

log = logging.getLogger("torture")

DRAIN: ContextVar[str] = ContextVar("torture_drain", default="")
"""Name of the drain that the running code belongs to."""
WRITING: ContextVar[bool] = ContextVar("torture_writing", default=False)
"""Whether the running code has a transaction in hand: waiting for a second connection, it could wait for ever."""


class Killed(BaseException):
    """Raised in a worker that is dead: nothing it still tries has any effect."""


@dataclass
class Gate:
    """One task of a worker at a boundary."""

    worker: Worker
    kind: str
    """`read`, `read done`, `begin`, `committed`, `request` or `response`."""
    detail: str
    go: asyncio.Future[None]


class Boundaries:
    """Where workers wait for the schedule. `parked` is in order of arrival."""

    def __init__(self) -> None:
        self.parked: list[Gate] = []
        self.cuts: dict[str, str] = {}
        """Workers whose next commit fails, and when: `before` or `after` it took effect."""

    async def pass_(self, kind: str, detail: str = "") -> None:
        """Wait at a boundary. Raises Killed in a worker that died meanwhile."""
        worker: Worker | None = OWNER.get()
        if worker is None:
            return
        if WRITING.get():
            raise AssertionError(f"a worker wants to {kind} {detail} with a transaction in hand")
        if not worker.alive:
            raise Killed
        gate = Gate(worker, kind, detail, asyncio.get_running_loop().create_future())
        self.parked.append(gate)
        try:
            await gate.go
        finally:
            if gate in self.parked:
                self.parked.remove(gate)
        if not worker.alive:
            raise Killed

    def release(self, gate: Gate) -> None:
        """Let it go on."""
        self.parked.remove(gate)
        gate.go.set_result(None)


class BoundedDatabase(Database):
    """The database of all workers, with boundaries round each transaction; its clock is the machine's.

    Nobody waits for the schedule with locks in hand: inside of a transaction a worker can die or lose its connection,
    and is not stopped otherwise.
    """

    def __init__(self, url: str, boundaries: Boundaries) -> None:
        super().__init__(url)
        self.boundaries = boundaries
        self._clock = psycopg.connect(self.conninfo, autocommit=True)
        self._clock.execute("SET search_path = pg_catalog")
        self._told = -1.0

    def tell_time(self) -> None:
        """Bring the database's clock to the machine's time; a twentieth of a second apart, as two machines may be."""
        if not 0 <= CLOCK.seconds - self._told < 0.05:
            self._clock.execute("UPDATE torture.machine_time SET at = %s", [CLOCK.now()], prepare=True)
            self._told = CLOCK.seconds

    def forget_time(self) -> None:
        """The machine's clock was set back, for a new schedule."""
        self._told = float("inf")

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Stop before and after."""
        await self.boundaries.pass_("read", DRAIN.get())
        self.tell_time()
        async with super().read() as connection:
            yield connection
        await self.boundaries.pass_("read done", DRAIN.get())

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """Stop before the transaction and after its commit."""
        await self.boundaries.pass_("begin", DRAIN.get())
        self.tell_time()
        cut = ""
        async with super().write() as connection:
            worker: Worker | None = OWNER.get()
            before = WRITING.set(True)
            try:
                yield connection
            finally:
                WRITING.reset(before)
            cut = self.boundaries.cuts.pop(worker.name, "") if worker is not None else ""
            if cut == "before":
                raw = await connection.get_raw_connection()
                pid = raw.driver_connection.info.backend_pid  # type: ignore[union-attr]
                self._clock.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
            elif worker is not None and not worker.alive:
                raise Killed
            elif worker is not None and worker.dies_at == "commit":
                worker.dies_at = ""
                worker.kill()
                raise Killed
        if cut == "after":
            raise OperationalError("COMMIT", {}, psycopg.OperationalError("the connection was lost"), None)
        await self.boundaries.pass_("committed", DRAIN.get())

    async def close(self) -> None:
        """Close the pool and the clock's connection."""
        self._clock.close()
        await super().close()


class BoundedOutgoing(Outgoing):
    """The outgoing client, with a boundary before each request and after each answer."""

    def __init__(self, boundaries: Boundaries, loop: Loop, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._boundaries = boundaries
        self._loop = loop

    def client(self, target: Target) -> httpx2.AsyncClient:
        """A client with hooks. They run inside of the caller's time limit and before the client's own look at it."""
        client = super().client(target)

        async def before(request: httpx2.Request) -> None:
            await self._boundaries.pass_("request", f"{request.method} {request.url.path}")
            self._loop.on_the_wire = True

        async def after(response: httpx2.Response) -> None:
            await self._boundaries.pass_(
                "response", f"{response.request.method} {response.request.url.path} {response.status_code}"
            )

        client.event_hooks = {"request": [before], "response": [after]}
        return client


class SameProcessSandbox(Sandbox):
    """Runs pure code here instead of in a child: the child's functions, one after another."""

    def __init__(self, registry: Registry) -> None:
        super().__init__(5.0)
        child._registry = registry
        child._bench = Bench.of(registry)
        child._time = CLOCK
        child._instances.clear()  # a worker's child knows what that worker asked of it

    async def _in_child(self, endpoint: Any, function: Any, args: Any, limit: float | None) -> Any:
        return function(*args)


class HeardWake(Wake):
    """Words to other workers go to the schedule, which may lose them."""

    def __init__(self, heard: Callable[[str], None]) -> None:
        super().__init__(None)  # type: ignore[arg-type]

        def take(name: str) -> bool:
            heard(name)
            return True

        self.nearby = take


@dataclass
class Common:
    """What the processes of one installation share."""

    settings: Settings
    database: BoundedDatabase
    registry: Registry
    vault: Vault
    files: Files
    boundaries: Boundaries
    loop: Loop
    woken: Callable[[str], None]
    tls: ssl.SSLContext
    """Made once: it takes a tenth of a second."""


def make_runtime(common: Common, owner: str) -> Runtime:
    """One process's runtime, without what a schedule has no use for: the job engine and the embedded server."""
    outgoing = BoundedOutgoing(
        common.boundaries,
        common.loop,
        common.database.engine,
        CLOCK,
        timeout=common.settings.call_timeout,
        ssl_context=common.tls,
    )
    return Runtime(
        settings=common.settings,
        database=common.database,
        registry=common.registry,
        vault=common.vault,
        audit=AuditLog(common.database, common.vault, CLOCK.now),
        connections=Connections(
            common.database,
            common.registry,
            common.vault,
            CLOCK,
            common.files,
            common.settings.file_limit,
            KeySets(outgoing, CLOCK),
        ),
        calendars=Calendars(),
        policies=PolicySets(common.database, common.registry),
        sandbox=SameProcessSandbox(common.registry),
        outgoing=outgoing,
        files=common.files,
        jobs=None,  # type: ignore[arg-type]
        wake=HeardWake(common.woken),
        leases=Leases(common.database, owner, common.settings.lease_seconds),
        time=CLOCK,
        owner=owner,
        postgres=None,
    )


@dataclass(eq=False)
class Worker:
    """One worker process, simulated: it lives until it is killed."""

    name: str
    common: Common
    alive: bool = True
    stalled: bool = False
    dies_at: str = ""
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    drains_running: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    errors: list[tuple[str, Exception]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.runtime = make_runtime(self.common, self.name)
        self.drains = Drains(self.runtime, self.runtime.sandbox)

    def begin(self, name: str) -> bool:
        """Begin a drain, as a wake-up does; False when this worker runs it already."""
        if name in self.drains_running:
            return False
        self.drains_running[name] = self._owned(self._drain(name))
        return True

    def tick(self) -> asyncio.Task[None]:
        """Look for due rows."""
        return self._owned(self._tick())

    def _owned(self, coroutine: Awaitable[None]) -> asyncio.Task[None]:
        token = OWNER.set(self)
        try:
            return asyncio.ensure_future(coroutine)  # type: ignore[return-value,arg-type]
        finally:
            OWNER.reset(token)

    async def _drain(self, name: str) -> None:
        DRAIN.set(name)
        try:
            await self.drains.run(name)
        except Exception as error:  # as a worker does: the rows are as they were, and the log says why
            self.errors.append((f"{name}: {type(error).__name__}: {str(error)[:400]}", error))
        except Killed:
            pass
        finally:
            self.drains_running.pop(name, None)

    async def _tick(self) -> None:
        try:
            await tick(self.runtime)
        except Exception as error:  # as a worker does
            self.errors.append((f"tick: {type(error).__name__}: {str(error)[:400]}", error))
        except Killed:
            pass

    def kill(self) -> None:
        """End all it does, now; its leases and rows stay as they are."""
        self.alive = False
        self.drains.stopping = True
        for task in sorted(self.tasks, key=lambda one: one.get_name()):
            if task is not asyncio.current_task():
                task.cancel()

    async def bury(self) -> None:
        """Wait until nothing of it runs any more."""
        while left := [task for task in self.tasks if not task.done()]:
            await asyncio.gather(*left, return_exceptions=True)
        # a dead process's sockets are closed by the system
        pools, self.runtime.outgoing._pools = list(self.runtime.outgoing._pools.values()), {}
        for pool in pools:
            await pool.aclose()


def scratch(path: Path) -> Path:
    """A folder that exists."""
    path.mkdir(parents=True, exist_ok=True)
    return path
