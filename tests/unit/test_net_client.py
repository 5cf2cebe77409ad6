"""Deadlines, size cap and secrecy of the outgoing client, against a real server on loopback."""

from __future__ import annotations

import asyncio
import gzip
import logging
import time
import traceback
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import httpx2
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel import SQLModel
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from gateway.db.tables.budget import Budget, BudgetCost
from gateway.net.client import DEADLINE, SIZE_LIMIT, Outgoing, Target, calling
from gateway_schemas import limits
from gateway_schemas.errors import Rejected, Retry, Unknown
from gateway_schemas.http import call
from gateway_schemas.testing.twin import Fault, Twin
from gateway_schemas.time import SystemTime
from support.postgres import clone_database, drop_database, server_url  # noqa: F401  a fixture

MIB = 2**20
LONG = 30.0
"""Seconds that a provider takes which never answers: longer than a busy machine makes anybody wait."""


class Provider(Twin):
    """Answers slowly, at length or packed, as its paths say."""

    name = "provider"

    def routes(self) -> Sequence[BaseRoute]:
        async def drip(request: Request) -> Response:
            async def drops() -> AsyncIterator[bytes]:
                for _ in range(int(LONG / 0.04)):
                    yield b"."
                    await asyncio.sleep(0.04)

            return StreamingResponse(drops())

        async def sized(request: Request) -> Response:
            return Response(b"x" * int(request.path_params["size"]))

        async def unsized(request: Request) -> Response:
            async def chunks() -> AsyncIterator[bytes]:
                for _ in range(int(request.path_params["size"]) // 65536):
                    yield b"x" * 65536

            return StreamingResponse(chunks())

        async def packed(request: Request) -> Response:
            size, coding = int(request.path_params["size"]), str(request.path_params["coding"])
            packer = zlib.compressobj(wbits=zlib.MAX_WBITS | (0 if coding == "deflate" else 16))
            content = b"".join(packer.compress(bytes(MIB)) for _ in range(size // MIB)) + packer.flush()
            if coding == "identity":
                content = bytes(size)
            elif coding == "gzip, gzip":
                content = gzip.compress(content)
            return Response(content, headers={"Content-Encoding": coding})

        async def echo(request: Request) -> Response:
            return PlainTextResponse(f"{request.method} {request.url.path} {len(await request.body())}")

        return [
            Route("/drip", drip, methods=["GET", "POST"]),
            Route("/sized/{size}", sized, methods=["GET", "POST"]),
            Route("/unsized/{size}", unsized, methods=["GET", "POST"]),
            Route("/packed/{coding}/{size}", packed, methods=["GET", "POST"]),
            Route("/{path:path}", echo, methods=["GET", "POST"]),
        ]


@pytest.fixture(scope="module")
async def engine(server_url: str) -> AsyncIterator[AsyncEngine]:  # noqa: F811
    """One database for this file: budgets hardly matter here."""
    url = await clone_database(server_url, "template0")
    engine = create_async_engine(make_url(url).set(drivername="postgresql+psycopg"))
    tables = [SQLModel.metadata.tables[str(table.__tablename__)] for table in (Budget, BudgetCost)]
    async with engine.begin() as connection:
        await connection.run_sync(SQLModel.metadata.create_all, tables=tables)
    yield engine
    await engine.dispose()
    await drop_database(url)


@pytest.fixture(scope="module")
async def served() -> AsyncIterator[Provider]:
    twin = Provider()
    async with twin.serve():
        yield twin


@pytest.fixture
def provider(served: Provider) -> Provider:
    """The provider, well and not asked for anything yet."""
    served.faults = []
    served.requests.clear()
    return served


@pytest.fixture
async def outgoing(engine: AsyncEngine) -> AsyncIterator[Outgoing]:
    async with Outgoing(engine, SystemTime(), timeout=0.4) as outgoing:
        yield outgoing


@pytest.fixture
def http(outgoing: Outgoing) -> httpx2.AsyncClient:
    return outgoing.client(Target("connection:1", allow_private=["127.0.0.0/8"]))


@asynccontextmanager
async def silent_server(*, reads: bool = True) -> AsyncIterator[int]:
    """Takes connections and never says a word; with `reads=False` it takes no bytes either."""
    async with AsyncExitStack() as stack:

        async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            stack.callback(writer.close)
            if not reads:
                writer.transport.pause_reading()  # type: ignore[attr-defined]
            while reads and await reader.read(65536):
                pass

        server = await asyncio.start_server(listen, "127.0.0.1", 0, limit=1024)
        stack.callback(server.close)
        yield server.sockets[0].getsockname()[1]


async def test_no_answer_before_the_deadline_may_have_happened(
    http: httpx2.AsyncClient, provider: Provider, subtests: pytest.Subtests
) -> None:
    now = SystemTime().now()
    for path, fault in (("/late", Fault("timeout_after", seconds=LONG)), ("/drip", None)):
        with subtests.test(path):
            provider.faults = [fault] if fault else []
            started = time.perf_counter()
            with pytest.raises(httpx2.ReadTimeout):
                await http.post(provider.url + path)
            assert time.perf_counter() - started < LONG / 2
            provider.faults = [Fault("timeout_after", seconds=LONG)] if fault else []
            with pytest.raises(Unknown):
                await call(http, "POST", provider.url + path, effect=True, now=now)


async def test_a_half_written_request_may_have_happened(http: httpx2.AsyncClient) -> None:
    async with silent_server(reads=False) as port:
        with pytest.raises(httpx2.ReadTimeout):
            await http.post(f"http://127.0.0.1:{port}/", content=bytes(16 * MIB))


async def test_no_connection_before_the_deadline_did_not_happen(http: httpx2.AsyncClient) -> None:
    """The TLS handshake hangs: TCP is connected, and still nothing of the request has left."""
    async with silent_server() as port:
        with pytest.raises(httpx2.ConnectTimeout):
            await http.post(f"https://127.0.0.1:{port}/", content=b"x")
        with pytest.raises(Retry) as failed:
            await call(http, "POST", f"https://127.0.0.1:{port}/", effect=True, now=SystemTime().now())
        assert failed.value.code == "not_sent"


async def test_waiting_for_the_budget_counts_and_did_not_happen(
    engine: AsyncEngine, outgoing: Outgoing, provider: Provider
) -> None:
    budget = limits.Budget("*", 100, timedelta(minutes=1))
    http = outgoing.client(Target("app:waiting", budgets=[budget], allow_private=["127.0.0.0/8"]))
    await http.get(provider.url + "/first")
    await outgoing.ledger.flush()
    async with engine.begin() as connection:
        await connection.execute(text("SELECT 1 FROM budget WHERE key = 'app:waiting' FOR UPDATE"))
        with pytest.raises(httpx2.ConnectTimeout):
            await http.post(provider.url + "/second")
    await http.get(provider.url + "/third")
    assert [path for _, path, _ in provider.requests] == ["/first", "/third"]


async def test_a_request_and_a_call_choose_their_own_deadline(http: httpx2.AsyncClient, provider: Provider) -> None:
    provider.faults = [Fault("latency", seconds=0.6, times=1)]
    response = await http.get(provider.url + "/slow", extensions={DEADLINE: 2.0})
    assert response.status_code == 200
    # a call's time covers all of its requests, and no request can lengthen it
    provider.faults = [Fault("latency", seconds=0.1, times=2), Fault("latency", seconds=LONG, times=1)]
    started = time.perf_counter()
    with calling(seconds=1.5):
        await http.get(provider.url + "/1", extensions={DEADLINE: 5.0})
        await http.get(provider.url + "/2")
        with pytest.raises(httpx2.ReadTimeout):
            await http.get(provider.url + "/3", extensions={DEADLINE: None})
        assert 1.4 < time.perf_counter() - started < LONG / 2
        with pytest.raises(httpx2.ConnectTimeout):
            await http.get(provider.url + "/4")
    provider.faults = []
    await http.get(provider.url + "/5")
    assert "/4" not in [path for _, path, _ in provider.requests]


async def test_a_stream_may_go_on(http: httpx2.AsyncClient, provider: Provider) -> None:
    extensions = {DEADLINE: None, SIZE_LIMIT: None}
    started = time.perf_counter()
    async with http.stream("GET", provider.url + "/drip", extensions=extensions) as response:
        async for _ in response.aiter_raw():
            if time.perf_counter() - started > 0.8:
                break


async def test_an_answer_that_is_too_large_is_not_read(
    engine: AsyncEngine, provider: Provider, subtests: pytest.Subtests
) -> None:
    size = 2 * MIB
    async with Outgoing(engine, SystemTime(), timeout=5.0, size_limit=size) as outgoing:
        http = outgoing.client(Target("connection:1", allow_private=["127.0.0.0/8"]))
        for path in ("sized", "unsized", "packed/gzip", "packed/deflate", "packed/identity"):
            with subtests.test(path):
                assert len((await http.get(f"{provider.url}/{path}/{size}")).content) == size
                with pytest.raises(Rejected) as refused:
                    await http.get(f"{provider.url}/{path}/{size + MIB}")
                assert refused.value.code == "response_too_large"
                assert "2 MiB" in refused.value.reason
                # what was sent with an effect has had it, however long the answer is
                with pytest.raises(Unknown) as unknown:
                    await http.post(f"{provider.url}/{path}/{size + MIB}")
                assert unknown.value.code == "response_too_large"
                longer = await http.get(f"{provider.url}/{path}/{size + MIB}", extensions={SIZE_LIMIT: 4 * MIB})
                assert len(longer.content) == size + MIB
                async with http.stream(
                    "GET", f"{provider.url}/{path}/{size + MIB}", extensions={SIZE_LIMIT: 4 * MIB}
                ) as s:
                    assert sum([len(chunk) async for chunk in s.aiter_bytes(1000)]) == size + MIB
        assert (await http.head(f"{provider.url}/sized/{size + MIB}")).status_code == 200


async def test_a_bomb_does_not_fill_the_memory(http: httpx2.AsyncClient, provider: Provider) -> None:
    for path, code in (("packed/gzip", "response_too_large"), ("packed/gzip, gzip", "response_encoding")):
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        with pytest.raises(Rejected) as refused:
            await http.get(f"{provider.url}/{path}/{256 * MIB}", extensions={DEADLINE: 10.0})
        peak = tracemalloc.get_traced_memory()[1] - before
        tracemalloc.stop()
        assert refused.value.code == code
        assert peak < 40 * MIB


async def test_the_next_request_works_after_a_refused_answer(http: httpx2.AsyncClient, provider: Provider) -> None:
    for _ in range(3):
        with pytest.raises(Rejected):
            await http.get(f"{provider.url}/unsized/{10 * MIB}", extensions={SIZE_LIMIT: MIB})
        assert (await http.get(f"{provider.url}/after")).text == "GET /after 0"


async def test_no_secret_in_logs_or_errors(
    http: httpx2.AsyncClient, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    url = f"{provider.url}/bot-hush/send?access_token=hush"
    headers = {"Authorization": "Bearer hush"}
    said: list[str] = []
    provider.faults = [
        Fault("status_before", status=403),
        Fault("timeout_after", seconds=1.0),
        Fault("drop_after"),
    ]
    for outcome in range(4):
        try:
            response = await http.post(url, headers=headers, content=b"hush")
            response.raise_for_status()
        except httpx2.HTTPError as error:
            said += [str(error), *traceback.format_exception(error)[-1:]]
        else:
            assert outcome == 3
    with pytest.raises(httpx2.LocalProtocolError) as invalid:
        await http.get(url, headers={"Authorization": "Bearer hush\n"})
    with pytest.raises(httpx2.ConnectError) as refused:
        await http.get("http://127.0.0.1:9/bot-hush?access_token=hush", headers=headers)
    with pytest.raises(Rejected) as elsewhere:
        await http.get("http://169.254.169.254/bot-hush?access_token=hush", headers=headers)
    for raised in (invalid.value, refused.value, elsewhere.value):
        said += [str(raised), "".join(traceback.format_exception(raised))]
    assert len(said) == 12
    lines = [record.getMessage() for record in caplog.records]
    assert any(f'HTTP Request: POST {provider.url} "HTTP/1.1 403' in line for line in lines)
    texts = [line for one in [*said, *lines] for line in one.splitlines() if "await http." not in line]
    assert [line for line in texts if "hush" in line] == []


async def test_the_answer_is_the_servers(http: httpx2.AsyncClient, provider: Provider) -> None:
    response = await http.post(provider.url + "/a%20b?c=d", content=b"12345")
    assert (response.status_code, response.text) == (200, "POST /a b 5")
    assert response.elapsed.total_seconds() > 0
    assert response.request.headers["user-agent"] == "helpdesk-gateway"
    assert response.raise_for_status() is response


async def test_many_at_once_to_one_host_hold_up_nobody(engine: AsyncEngine, provider: Provider) -> None:
    quick = Provider()
    async with quick.serve(), Outgoing(engine, SystemTime(), timeout=5.0) as outgoing:
        slow = outgoing.client(Target("connection:1", allow_private=["127.0.0.0/8"]))
        other = outgoing.client(Target("connection:2", allow_private=["127.0.0.0/8"]))
        provider.faults = [Fault("latency", seconds=LONG, times=None)]
        hanging = [asyncio.create_task(slow.get(provider.url + "/")) for _ in range(150)]
        await asyncio.sleep(0.5)
        started = time.perf_counter()
        await other.get(quick.url + "/")
        assert time.perf_counter() - started < LONG / 2
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
