"""Rows `latency` and `latency under drain`: from a webhook at the door to the ticket's request at the helpdesk.

The processes are those of `gateway serve`: the door, and the worker that it supervises. The helpdesk's twin and whoever
sends the webhooks are this process. The moment of arrival is that of the request which makes the ticket. The probes are
of customers whom the helpdesk knows: it takes one new customer a second, and its limit is not what is measured. All
of them together stay below its limit of requests a minute, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import httpx2
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bench.figures import Figure, milliseconds
from bench.ground import Client, Ground, hammer, settings, signed, source
from gateway.runtime import open_runtime
from gateway_zendesk.twin import ZendeskTwin
from support.gateway import Gateway
from support.processes import free_port, process, up

ROWS = ("latency", "latency under drain")
IDLE_P50, IDLE_P99, BUSY_P99 = 60, 250, 500
PROBES = 100
CUSTOMERS = 5
LOST = 60.0
"""Seconds after which a probe is not waited for any longer and counts as having taken so long."""
EVERY = 0.2
"""Seconds between two probes while a drain runs, whether or not the one before has arrived."""


@dataclass
class Stamps:
    """Notes when a request whose body holds a word that is waited for has come in, before the twin works on it."""

    inner: ASGIApp
    waited_for: dict[bytes, asyncio.Future[float]] = field(default_factory=dict)

    def expect(self, word: str) -> asyncio.Future[float]:
        """The moment at which a POST that says this word arrives."""
        return self.waited_for.setdefault(word.encode(), asyncio.get_running_loop().create_future())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, reading along."""
        if scope["type"] != "http" or scope["method"] != "POST" or "/tickets" not in scope["path"]:
            await self.inner(scope, receive, send)
            return

        async def reading() -> Message:
            message = await receive()
            now, said = time.perf_counter(), message.get("body", b"")
            for word in [word for word in self.waited_for if word in said]:
                self.waited_for.pop(word).set_result(now)
            return message

        await self.inner(scope, reading, send)


@dataclass
class Line:
    """A served gateway between this process's webhooks and this process's helpdesk."""

    gateway: Gateway
    port: int
    probed: UUID
    flooded: UUID
    stamps: Stamps
    desk: ZendeskTwin

    async def probe(self, client: Client, number: int, run: str) -> float:
        """Seconds from writing one webhook to its ticket's request."""
        arrival = self.stamps.expect(f"order {run}-{number} ")
        request = signed(f"/hooks/{self.probed}", number, run, author=f"customer-{number % CUSTOMERS}")
        began = time.perf_counter()
        await client.send(request)
        done, _ = await asyncio.wait([arrival], timeout=LOST)
        return arrival.result() - began if done else LOST


@contextlib.asynccontextmanager
async def line(ground: Ground) -> AsyncIterator[Line]:
    """Start everything and send it once through, so that nothing is started while it is measured."""
    desk = ZendeskTwin()
    desk.limits.off()
    stamps = Stamps(desk.app)
    desk.app = stamps
    port = free_port()
    async with ground.database() as url, desk.serve() as base:
        given = settings(ground.folder, url)
        async with open_runtime(given) as runtime:
            gateway = Gateway(runtime)
            config = {"base_url": base, "email": desk.email, "api_token": desk.token, "share": 1.0}
            helpdesk = await gateway.add_connection("helpdesk", "zendesk", config, name="probed helpdesk")
            probed = await source(gateway, helpdesk, name="probed")
            flooded = await source(gateway, name="flooded")
            async with process(given, "serve", "--port", str(port)):
                await up(f"http://127.0.0.1:{port}")
                one = Line(gateway, port, probed, flooded, stamps, desk)
                for number in range(10):  # the first one waits for the worker to start, longer than a door keeps idlers
                    client = await Client.open(port)
                    await one.probe(client, number, "warm-up")
                    client.close()
                yield one


async def idle(one: Line) -> list[float]:
    """One webhook at a time, at moments that have nothing to do with any schedule of the gateway."""
    chance = random.Random(1)
    client = await Client.open(one.port)
    found = []
    for number in range(PROBES):
        await asyncio.sleep(chance.uniform(0.02, 0.12))
        found.append(await one.probe(client, number, "idle"))
    client.close()
    return found


async def busy(one: Line, size: int) -> list[float]:
    """A webhook every so often while another connection's flood is drained."""
    await hammer(one.port, [signed(f"/hooks/{one.flooded}", number, "flood") for number in range(size)])
    probes: list[asyncio.Task[float]] = []
    clients: list[Client] = []
    while await one.gateway.value(
        "SELECT EXISTS (SELECT 1 FROM delivery WHERE state = 'pending' AND connection_id = :id)", id=one.flooded
    ):
        clients.append(await Client.open(one.port))
        probes.append(asyncio.create_task(one.probe(clients[-1], len(probes), "busy")))
        await asyncio.sleep(EVERY)
    found = await asyncio.gather(*probes)
    for client in clients:
        client.close()
    return list(found)


async def round_trip(one: Line) -> list[float]:
    """The floor: a request to the same twin by the same client library, with nothing of the gateway between."""
    auth = (f"{one.desk.email}/token", one.desk.token)
    async with httpx2.AsyncClient(base_url=one.desk.url, auth=auth, trust_env=False) as http:
        found = []
        for _ in range(PROBES):
            began = time.perf_counter()
            (await http.get("/api/v2/tickets/1.json")).raise_for_status()
            found.append(time.perf_counter() - began)
    return found


async def measure(ground: Ground, *, under_drain: bool = True) -> list[Figure]:
    """Idle first, then under another connection's drain."""
    async with line(ground) as one:
        floor = milliseconds(await round_trip(one))
        quiet = await idle(one)
        figures = [_idle_figure(quiet, floor)]
        if under_drain:
            figures.append(_busy_figure(await busy(one, ground.size), floor))
    return figures


def _idle_figure(quiet: Sequence[float], floor: dict[str, float]) -> Figure:
    told = milliseconds(quiet)
    return Figure(
        "latency",
        f"p50 {told['p50_ms']:g} ms, p99 {told['p99_ms']:g} ms from webhook in to ticket out, idle",
        f"p50 {floor['p50_ms']:g} ms: the twin's bare round trip",
        round(told["p50_ms"] / floor["p50_ms"], 1),
        f"p50 <= {IDLE_P50} ms, p99 <= {IDLE_P99} ms",
        told["p50_ms"] <= IDLE_P50 and told["p99_ms"] <= IDLE_P99,
        {**told, "floor_p50_ms": floor["p50_ms"], "floor_p99_ms": floor["p99_ms"], "probes": len(quiet)},
    )


def _busy_figure(loaded: Sequence[float], floor: dict[str, float]) -> Figure:
    told = milliseconds(loaded)
    return Figure(
        "latency under drain",
        f"p50 {told['p50_ms']:g} ms, p99 {told['p99_ms']:g} ms while another connection's flood is drained",
        f"p50 {floor['p50_ms']:g} ms: the twin's bare round trip",
        round(told["p50_ms"] / floor["p50_ms"], 1),
        f"p99 <= {BUSY_P99} ms",
        told["p99_ms"] <= BUSY_P99,
        {**told, "floor_p50_ms": floor["p50_ms"], "floor_p99_ms": floor["p99_ms"], "probes": len(loaded)},
    )
