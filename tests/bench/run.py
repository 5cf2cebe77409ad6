"""`make bench`: each figure as a ratio to a floor measured in the same run, because machines differ and are noisy.

Rows: `accept` (a signed webhook stored durably, against a bare route with one INSERT and commit per request) and
    `drain`
(normalise, record, thread, decide, outbox rows, against a loop that only inserts and commits the same bodies one by
one).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import psycopg_pool
import uvicorn
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.clocks import CLOCKS, measure_clocks
from gateway.app import create_app
from gateway.db.embedded import EmbeddedPostgres
from gateway.engine.sandbox import Sandbox
from gateway.engine.shards import SHARDS
from gateway.pipeline.drains import Drains
from gateway.runtime import open_runtime
from gateway.settings import Settings
from gateway_schemas.signatures import sign_standard, verify_standard
from gateway_schemas.time import SystemTime
from support.gateway import Gateway

SECRET = "whsec_" + "A" * 43 + "="
CLIENTS = 32


def settings(folder: Path, url: str) -> Settings:
    """Production settings on a throw-away database."""
    return Settings(
        _env_file=None,  # type: ignore[call-arg]
        data_dir=folder,
        database_url=SecretStr(url),
        bootstrap_key=SecretStr("a-key-for-benchmarks"),
        log_level="ERROR",
    )


def body(number: int, run: str) -> bytes:
    """One complaint by a customer of their own."""
    data = {
        "external_id": f"{run}-{number}",
        "kind": "post",
        "author": {"external_id": f"{run}-user-{number}", "handle": f"user{number}"},
        "text": f"My order {number} is late, please help me with that. " * 2,
        "published_at": "2026-01-01T00:00:00Z",
    }
    return json.dumps({"type": "interaction.created", "timestamp": "2026-01-01T00:00:00Z", "data": data}).encode()


@contextlib.asynccontextmanager
async def serving(app: Any) -> AsyncIterator[int]:
    """Serve an application on loopback; yields the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="on"))
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await task
        listener.close()


async def hammer(port: int, path: str, requests: list[bytes]) -> float:
    """Send prebuilt requests over keep-alive connections; requests a second."""
    queue = iter(requests)

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for request in queue:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert b" 200 " in head.split(b"\r\n", 1)[0], head
            length = next(
                (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
            )
            if length:
                await reader.readexactly(length)
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return len(requests) / (time.perf_counter() - began)


def signed(path: str, number: int, run: str) -> bytes:
    """A whole HTTP request with a valid signature."""
    content = body(number, run)
    headers = sign_standard(SECRET, f"msg_{run}_{number}", SystemTime().now(), content)
    lines = [f"POST {path} HTTP/1.1", "host: bench", f"content-length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def bare(url: str) -> Starlette:
    """The floor: the same signature, one INSERT and commit per request."""
    pool = psycopg_pool.AsyncConnectionPool(url, min_size=8, max_size=8, open=False)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await pool.open()
        async with pool.connection() as connection:
            await connection.execute("CREATE TABLE IF NOT EXISTS bench_floor (id bigserial, body bytea)")
        yield
        await pool.close()

    async def take(request: Request) -> Response:
        content = await request.body()
        verify_standard(request.headers.get, content, [SECRET], SystemTime().now())
        async with pool.connection() as connection:
            await connection.execute("INSERT INTO bench_floor (body) VALUES (%s)", [content])
        return Response()

    return Starlette(routes=[Route("/floor", take, methods=["POST"])], lifespan=lifespan)


async def source(gateway: Gateway) -> UUID:
    """An inbound connection with a helpdesk that nobody calls."""
    config = {"base_url": "http://127.0.0.1:9", "email": "bench@example.com", "api_token": "t"}
    helpdesk = await gateway.add_connection("helpdesk", "zendesk", config)
    return await gateway.add_connection("source", "inbound", {"signing_secrets": [SECRET]}, helpdesk=helpdesk)


async def measure(url: str, folder: Path, size: int, rounds: int, many: int) -> dict[str, Any]:
    """All rows."""
    given = settings(folder, url)
    accept: list[float] = []
    floors: list[float] = []
    async with open_runtime(given) as runtime:
        gateway = Gateway(runtime)
        connection = await source(gateway)
        async with serving(create_app(given, workers=0)) as port, serving(bare(url)) as floor_port:
            path = f"/hooks/{connection}"
            for round_ in range(rounds):
                share = size // rounds
                naively = [signed("/floor", number, f"f{round_}") for number in range(share)]
                really = [signed(path, number, f"a{round_}") for number in range(share)]
                floors.append(await hammer(floor_port, "/floor", naively))
                accept.append(await hammer(port, path, really))
        stored = await gateway.value("SELECT count(*) FROM delivery")
        sandbox = Sandbox(5.0)
        await sandbox.warm()
        drains = Drains(runtime, sandbox)
        began = time.perf_counter()
        for stage in ("inbox", "thread"):
            for _ in range(2):
                await asyncio.gather(*(drains.run(f"{stage}:{shard}") for shard in range(SHARDS)))
        drain = stored / (time.perf_counter() - began)
        left = await gateway.value("SELECT count(*) FROM delivery WHERE state = 'pending'")
        tickets = await gateway.value("SELECT count(*) FROM ticket")
        sandbox.close()
        clocks = await measure_clocks(runtime, connection, many)
        began = time.perf_counter()
        async with await psycopg.AsyncConnection.connect(url) as one:
            for number in range(1000):
                await one.execute("INSERT INTO bench_floor (body) VALUES (%s)", [body(number, "n")])
                await one.commit()
        naive = 1000 / (time.perf_counter() - began)
    assert (left, tickets) == (0, stored), f"{left} deliveries left, {tickets} tickets of {stored}"
    ratios = [one / floor for one, floor in zip(accept, floors, strict=True)]
    return {
        "accept": {
            "per_second": round(statistics.median(accept)),
            "floor_per_second": round(statistics.median(floors)),
            "ratio": round(statistics.median(ratios), 2),
            "budget": ">= 1.2 x the floor",
        },
        "drain": {
            "per_second": round(drain),
            "floor_per_second": round(naive),
            "ratio": round(drain / naive, 2),
            "budget": ">= 1,000 interactions a second and worker",
        },
        "tick": clocks,
    }


def main() -> int:
    """Run, print the table, and the JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=6000, help="webhooks in all")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of the door and its floor in turn")
    parser.add_argument("--clocks", type=int, default=CLOCKS, help="running clocks while the tick is measured")
    parser.add_argument("--json", help="write the figures here; - for standard output")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="helpdesk-gateway-bench-") as name:
        folder = Path(name)
        with EmbeddedPostgres(folder) as postgres:
            figures = asyncio.run(measure(postgres.url, folder, options.size, options.rounds, options.clocks))
    table = Table("row", "per second, or ms", "floor", "ratio", "budget")
    for row, figure in figures.items():
        unit = "milliseconds" if "milliseconds" in figure else "per_second"
        table.add_row(row, *(str(figure[key]) for key in (unit, f"floor_{unit}", "ratio", "budget")))
    Console(stderr=True).print(table)
    text = json.dumps(figures, indent=2)
    if options.json == "-":
        sys.stdout.write(text + "\n")
    elif options.json:
        Path(options.json).write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
