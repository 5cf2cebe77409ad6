"""The HTTP client that plugins and the host talk to providers with. One `Outgoing` per process.

Each request passes these layers: deadline → budget → guard → size cap → connection pool. The errors are those of the
client library (a plugin turns them into the contract's), and the contract's own where a layer refuses: Retry from the
budget, Rejected from the guard and the size cap.
"""

from __future__ import annotations

import functools
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from types import TracebackType
from typing import Any, Self

import httpcore2
import httpx2
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.net.addresses import AllowList
from gateway.net.budgets import Demand
from gateway.net.deadline import DEADLINE, DeadlineTransport, Lane, calling
from gateway.net.guard import GuardedBackend, GuardTransport, Resolver, SystemResolver, parse_origins
from gateway.net.ledger import Ledger
from gateway.net.metering import MeteredTransport, ReadLimits
from gateway.net.quiet import keep_secrets_out_of_logs
from gateway.net.size import DEFAULT_SIZE_LIMIT, SIZE_LIMIT, SizeCapTransport
from gateway.net.sockets import GuardedSockets
from gateway.net.wire import WireTransport
from gateway_schemas.limits import Budget
from gateway_schemas.time import TimeSource

__all__ = ["DEADLINE", "SIZE_LIMIT", "Lane", "Outgoing", "Target", "calling"]

CONNECT_SECONDS = 5.0

# Servers close idle connections after 5 seconds (uvicorn, Node) to 75 (nginx). A request that crosses such a close has
# an unknown outcome, which costs a person's time; a new connection costs a handshake.
_KEEP_IDLE = 4.0


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a client talks to, on whose budget."""

    budget_key: str
    """`app:<id>`, or `connection:<id>` where there is no App."""
    budgets: Sequence[Budget] = ()
    share: float = 1.0
    """How much of each limit we allow ourselves: other applications use it too."""
    allowed_origins: Sequence[str] = ()
    """Base URLs; requests to any other scheme, host or port are refused. Empty: any public host."""
    size_limit: int | None = None
    """The most bytes of an answer, where it is not the ordinary limit."""
    allow_private: Sequence[str] = ()
    """Address ranges and host:port pairs opened beyond the public addresses."""
    read_limits: ReadLimits | None = None
    """Called after every answer with it and the request's bucket. Bodies are there to read in error answers only."""
    daily_cost_limit: Decimal | None = None
    """US dollars per UTC day for priced requests."""
    lane: Lane = "backlog"
    """Used unless the caller names one with `calling`."""


class Outgoing:
    """The outgoing client of a process: connection pools and budgets shared by all its targets.

    No number of connections is enforced here: with a common pool of limited size one provider that hangs would hold up
    all others. How much is under way is for the engine to limit, per connection.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        time: TimeSource,
        *,
        timeout: float = 20.0,
        size_limit: int = DEFAULT_SIZE_LIMIT,
        resolve: Resolver | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.ledger = Ledger(engine, time)
        self._time = time
        self._timeout = timeout
        self._size_limit = size_limit
        self._system = SystemResolver()
        self._resolve: Resolver = resolve or self._system
        self._ssl_context = ssl_context
        self._pools: dict[AllowList, httpcore2.AsyncConnectionPool] = {}

    async def __aenter__(self) -> Self:
        keep_secrets_out_of_logs()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.ledger.flush(patience=5.0)
        pools, self._pools = list(self._pools.values()), {}
        for pool in pools:
            await pool.aclose()
        self._system.close()

    def client(self, target: Target) -> httpx2.AsyncClient:
        """A client for `target`; cheap, safe to share between tasks, needs no closing.

        It follows no redirects unless told to, and takes nothing from the environment. Raises ValueError when
        `allowed_origins` or `allow_private` cannot be read.
        """
        return httpx2.AsyncClient(**self.options(target))

    def options(self, target: Target) -> dict[str, Any]:
        """What a client of another library is made with, so that it is guarded as `client` is (OAuth's)."""
        demand = Demand(
            key=target.budget_key,
            budgets=tuple(target.budgets),
            share=target.share,
            lane=target.lane,
            daily_cost_limit=target.daily_cost_limit,
        )
        wire = SizeCapTransport(
            WireTransport(self._pool(AllowList.parse(target.allow_private))), target.size_limit or self._size_limit
        )
        guard = GuardTransport(wire, parse_origins(target.allowed_origins))
        metered = MeteredTransport(guard, self.ledger, self._time, demand, target.read_limits)
        return {
            "transport": DeadlineTransport(metered, self._timeout),
            "timeout": httpx2.Timeout(None, connect=CONNECT_SECONDS),
            "headers": {"User-Agent": "helpdesk-gateway"},
            "follow_redirects": False,
            "trust_env": False,
        }

    def sockets(self, places: Sequence[str], allow_private: Sequence[str] = ()) -> GuardedSockets:
        """Connections to these `host:port` places and no others, for protocols other than HTTP. Raises Rejected or
        ValueError when they, or `allow_private`, cannot be read."""
        return GuardedSockets(places, AllowList.parse(allow_private), self._resolve, self._tls(), self._timeout)

    def _tls(self) -> ssl.SSLContext:
        return self._ssl_context or _authorities()

    def _pool(self, allow: AllowList) -> httpcore2.AsyncConnectionPool:
        # Addresses are checked when a connection is made, so only targets with the same list may share connections.
        pool = self._pools.get(allow)
        if pool is None:
            pool = self._pools[allow] = httpcore2.AsyncConnectionPool(
                ssl_context=self._tls(),
                max_connections=None,
                max_keepalive_connections=64,
                keepalive_expiry=_KEEP_IDLE,
                network_backend=GuardedBackend(allow, self._resolve),
            )
        return pool


@functools.cache
def _authorities() -> ssl.SSLContext:
    """Whom this process believes in; reading them takes some 25 ms."""
    return httpcore2.default_ssl_context()
