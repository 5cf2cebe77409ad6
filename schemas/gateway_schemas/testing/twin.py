"""The base of a twin: a local simulator of a provider's API that ships with its plugin.

A twin is an ASGI application with state, fault knobs and a ledger of effects. It is faithful to the provider's
documented API, not to the plugin: it refuses what the provider refuses, with the provider's own status and body.
`async with twin.serve() as url:` runs it on loopback; its webhooks go out over real HTTP. What can go wrong at it is in
`twin_faults`, the page on which it shows its state in `twin_page`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

import httpx2
import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway_schemas.testing.rehearsal import Rehearsal
from gateway_schemas.testing.twin_faults import Fault, FaultKind, FaultSchedule, SkewedTime, WebhookFaults
from gateway_schemas.testing.twin_page import INSPECTION, inspection
from gateway_schemas.time import SystemTime, TimeSource

__all__ = [
    "IN_PROCESS",
    "ConnectionBroken",
    "Effect",
    "Fault",
    "FaultKind",
    "FaultSchedule",
    "SkewedTime",
    "Twin",
    "WebhookBuilder",
    "WebhookFaults",
]

IN_PROCESS = "gateway.in_process"
"""The ASGI extension by which a client in the same process asks to be told of time-outs instead of waiting for them."""


class ConnectionBroken(Exception):
    """The connection ends without an answer: at once, or because nobody waits any longer."""

    def __init__(self, *, timed_out: bool = False) -> None:
        super().__init__("timed out" if timed_out else "broken off")
        self.timed_out = timed_out


@dataclass(frozen=True)
class Effect:
    """One thing that changed at the provider, in order: what tests compare with what should have happened."""

    at: datetime
    kind: str
    id: str
    data: dict[str, Any]


WebhookBuilder = Callable[[], tuple[str, dict[str, str], bytes]]


class Twin:
    """State, faults and a ledger. Subclasses give `routes` and keep their own objects."""

    name = "twin"
    retry_webhooks = True
    """Whether the provider repeats a webhook that was not answered 2xx."""
    actions: ClassVar[tuple[str, ...]] = ()
    """Methods that the twin's page offers to press: what customers and agents do there (`post`, `edit`, `merge`), and
    mishaps that are no fault of a request (`expire_tokens`, `drop_subscriptions`). See `twin_page`."""

    def __init__(self, *, time: TimeSource | None = None, seed: int = 0) -> None:
        self.time: TimeSource = time or SystemTime()
        self.random = random.Random(seed)
        self.faults: list[Fault] = []
        """Those that strike the requests they name, the first that fits."""
        self.schedule: FaultSchedule | None = None
        """Random faults besides."""
        self.webhooks = WebhookFaults()
        self.carrier: Callable[[WebhookBuilder], None] | None = None
        """Takes webhooks instead of the network: a test that chooses when, how often and in which order they arrive."""
        self.ledger: list[Effect] = []
        self.requests: list[tuple[str, str, int]] = []
        """Method, path and status of every request answered."""
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()
        self._client: httpx2.AsyncClient | None = None
        self.webhook_failures: list[tuple[str, int]] = []
        self.app: ASGIApp = _Faulty(self, Starlette(routes=[*inspection(self), *self.routes()]))

    def routes(self) -> Sequence[BaseRoute]:
        """The provider's endpoints."""
        return ()

    def snapshot(self) -> dict[str, Any]:
        """The twin's state as JSON, for its page and for tests."""
        return {}

    def furnish(self) -> dict[str, Any]:
        """Called once a twin is served by itself (`gateway twin`, `gateway plugin dev`): what a first visitor needs.

        Puts in an account of the brand's and a customer, where those are needed to begin, and returns what a connection
        is made with: `{"config": {…}}`, and `"app"` where the plugin has an App. The default asks `connection_config`
        and `app_config`, where the twin has them.
        """
        found: dict[str, Any] = {}
        for part, name in (("config", "connection_config"), ("app", "app_config")):
            if (made := getattr(self, name, None)) is not None:
                found[part] = made()
        return found

    def rehearsal(self) -> Rehearsal:
        """Called once a twin is served, instead of `furnish`, by whoever plays it without knowing its provider.

        Puts in accounts and people, and nothing that customers wrote. The default offers nothing to play.
        """
        return Rehearsal()

    def effect(self, kind: str, id: str, **data: Any) -> None:
        """Write one effect to the ledger."""
        self.ledger.append(Effect(self.time.now(), kind, id, data))

    def emit(self, build: WebhookBuilder) -> None:
        """Send a webhook soon. `build` gives URL, headers and body anew for each try, so that signatures are fresh."""
        if self.carrier is not None:
            self.carrier(build)
            return
        if self.webhooks.drop and self.random.random() < self.webhooks.drop:
            return
        copies = 2 if self.webhooks.duplicate and self.random.random() < self.webhooks.duplicate else 1
        for _ in range(copies):
            delay = self.random.random() * self.webhooks.delay
            task = asyncio.get_running_loop().create_task(self._deliver(build, delay))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _deliver(self, build: WebhookBuilder, delay: float) -> None:
        await asyncio.sleep(delay)
        wait = 0.05
        while True:
            while self.webhooks.paused:
                await asyncio.sleep(0.02)
            url, headers, body = build()
            status = 0
            try:
                status = (await self.client.post(url, content=body, headers=headers)).status_code
            except httpx2.TransportError:
                status = 0
            if 200 <= status < 300:
                return
            self.webhook_failures.append((url, status))
            if not self.retry_webhooks or status in (401, 404, 410, 413):
                return
            await asyncio.sleep(wait)
            wait = min(wait * 2, 1.0)

    @property
    def client(self) -> httpx2.AsyncClient:
        """The twin's own outgoing HTTP, for webhooks and challenges."""
        if self._client is None:
            self._client = httpx2.AsyncClient(timeout=15.0, trust_env=False, verify=_tls())
        return self._client

    @client.setter
    def client(self, client: httpx2.AsyncClient) -> None:
        self._client = client

    async def settle(self) -> None:
        """Wait until every webhook under way is delivered or given up."""
        while self._tasks:
            await asyncio.gather(*list(self._tasks), return_exceptions=True)

    async def aclose(self) -> None:
        """Give up the webhooks under way and close the client."""
        for pending in list(self._tasks):
            pending.cancel()
        await asyncio.gather(*list(self._tasks), return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    @contextlib.asynccontextmanager
    async def serve(self, *, port: int = 0) -> AsyncIterator[str]:
        """Run on loopback; yields the base URL."""
        listener = socket.create_server(("127.0.0.1", port))
        # accepted connections inherit it: without it small answers wait 40 ms for the other side's acknowledgement
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        config = uvicorn.Config(self.app, log_level="critical", lifespan="off", timeout_keep_alive=60)
        server = uvicorn.Server(config)
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        task = asyncio.get_running_loop().create_task(_serve_quietly(server, listener))
        try:
            while not server.started:
                await asyncio.sleep(0.005)
            yield self.url
        finally:
            await self.aclose()
            await _stop(server, task)
            listener.close()


async def _serve_quietly(server: uvicorn.Server, listener: socket.socket) -> None:
    # capture_signals would take SIGINT and SIGTERM from the process that runs the twin
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    await server.serve(sockets=[listener])


async def _stop(server: uvicorn.Server, serving: asyncio.Task[None]) -> None:
    """At once: left to itself, uvicorn looks whether it is to stop every tenth of a second, and then waits another."""
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    for listening in server.servers:
        listening.close()
    for connection in list(server.server_state.connections):
        connection.shutdown()
    handlers = list(server.server_state.tasks)
    for handler in handlers:
        handler.cancel()
    await asyncio.gather(*handlers, return_exceptions=True)


@functools.cache
def _tls() -> ssl.SSLContext:
    """Authorities are read once: that takes longer than most tests have to wait for anything else."""
    return httpx2.create_ssl_context(trust_env=False)


class _Faulty:
    """The middleware that strikes."""

    def __init__(self, twin: Twin, app: ASGIApp) -> None:
        self.twin = twin
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        method, path = scope["method"], scope["path"]
        if path == INSPECTION or path.startswith(INSPECTION + "/"):
            await self.app(scope, receive, send)
            return
        fault = next((fault for fault in self.twin.faults if fault.strikes(method, path)), None)
        if fault is None and self.twin.schedule is not None:
            fault = self.twin.schedule.strike(method, path)
        in_process = IN_PROCESS in (scope.get("extensions") or {})
        status = 0

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        async def swallow(message: Message) -> None:
            return None

        if fault is None:
            await self.app(scope, receive, note)
        elif fault.kind == "latency":
            await (self.twin.time.sleep if in_process else asyncio.sleep)(fault.seconds)
            await self.app(scope, receive, note)
        elif fault.kind == "status_before":
            await self._answer(fault, scope, receive, note)
        else:
            await self.app(scope, receive, swallow)
            if fault.kind == "status_after":
                await self._answer(fault, scope, receive, note)
            elif in_process:
                self.twin.requests.append((method, path, 0))
                raise ConnectionBroken(timed_out=fault.kind == "timeout_after")
            elif fault.kind == "timeout_after":
                await asyncio.sleep(fault.seconds)
                await self._answer(fault, scope, receive, note)
            else:
                # an answer that breaks off: the server closes the connection with bytes still promised
                await note({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]})
                await send({"type": "http.response.body", "body": b"{", "more_body": True})
                raise ConnectionBroken
        self.twin.requests.append((method, path, status))

    async def _answer(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        response = Response(fault.body, status_code=fault.status, headers=fault.headers)
        await response(scope, receive, send)
