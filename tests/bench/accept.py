"""Row `accept`: a signed webhook stored durably, against a bare route with one INSERT and commit per request."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import AsyncIterator

import psycopg_pool
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.figures import Figure
from bench.ground import CLIENTS, SECRET, Ground, hammer, serving, settings, signed, source
from gateway.app import create_app
from gateway.runtime import open_runtime
from gateway_schemas.signatures import verify_standard
from gateway_schemas.time import SystemTime
from support.gateway import Gateway

ROWS = ("accept",)
BUDGET = 1.2


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


async def measure(ground: Ground) -> list[Figure]:
    """The door and its floor in turn, so that a noisy moment strikes both."""
    doors: list[float] = []
    floors: list[float] = []
    async with ground.database() as url, open_runtime(settings(ground.folder, url)) as runtime:
        path = f"/hooks/{await source(Gateway(runtime))}"
        async with serving(create_app(runtime.settings, workers=0)) as port, serving(bare(url)) as floor_port:
            share = range(ground.size // ground.rounds)
            for round_ in range(ground.rounds):
                naively = [signed("/floor", number, f"f{round_}") for number in share]
                really = [signed(path, number, f"a{round_}") for number in share]
                floors.append(await hammer(floor_port, naively))
                doors.append(await hammer(port, really))
    ratio = statistics.median(door / floor for door, floor in zip(doors, floors, strict=True))
    door, floor = round(statistics.median(doors)), round(statistics.median(floors))
    return [
        Figure(
            "accept",
            f"{door:,} webhooks a second, {CLIENTS} clients",
            f"{floor:,} a second: a bare route, one INSERT and commit each",
            round(ratio, 2),
            f">= {BUDGET} x the floor",
            ratio >= BUDGET,
            {"per_second": door, "floor_per_second": floor},
        )
    ]
