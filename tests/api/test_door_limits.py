"""The door under attack: whatever is sent without end, too slowly or too large costs the sender alone."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from gateway.api.bounded import BoundedHttp
from support.gateway import settings_for
from support.rest import Api, serving, signed


async def connect(api: Api, request: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which this was sent."""
    address = urlsplit(api.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(request)
    await writer.drain()
    return reader, writer


async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float = 20.0) -> int:
    """The status of what comes back; 0 where the connection ends without a word."""
    try:
        async with asyncio.timeout(seconds):
            line = await reader.readline()
    except ConnectionError:
        line = b""
    writer.close()
    return int(line.split()[1]) if line else 0


def head(id: str, *lines: str) -> bytes:
    """The head of a request to a door."""
    return "\r\n".join((f"POST /hooks/{id} HTTP/1.1", "Host: gateway", *lines, "", "")).encode("latin-1")


async def stored(api: Api, id: str) -> int:
    """How many deliveries of a connection there are."""
    count: int = await api.value("SELECT count(*) FROM delivery WHERE connection_id = :id", id=UUID(id))
    return count


async def refused(api: Api, id: str) -> dict[str, int]:
    """What was refused, by code."""
    rows = await api.rows("SELECT code, count FROM refusal WHERE endpoint_id = :id", id=UUID(id))
    return {row["code"]: row["count"] for row in rows}


async def genuine(api: Api, made: dict[str, Any], body: bytes = b"x", **headers: str) -> int:
    """The status that a genuine request gets."""
    signature = signed(f"secret-of-{made['name']}", body)
    answer = await api.http.post(f"/hooks/{made['id']}", content=body, headers={"x-signature": signature, **headers})
    return answer.status_code


async def test_bodies_that_do_not_come_hold_nobody_up_and_end(database: str, tmp_path: Any) -> None:
    async with serving(settings_for(database, tmp_path, body_seconds=4.0)) as api:
        made = await api.shout("one")
        id = made["id"]
        begun = [
            *[await connect(api, head(id, "Content-Length: 1000")) for _ in range(40)],  # not a byte of it
            *[await connect(api, head(id, "Content-Length: 1000") + b"slow") for _ in range(40)],
            *[await connect(api, head(id, "Transfer-Encoding: chunked") + b"4\r\nslow\r\n") for _ in range(40)],
        ]
        dripping = [await connect(api, head(id, "Content-Length: 1000")) for _ in range(5)]

        async def drip(writer: asyncio.StreamWriter) -> None:
            try:
                while True:
                    writer.write(b"x")
                    await writer.drain()
                    await asyncio.sleep(0.2)
            except (ConnectionError, RuntimeError):
                pass

        drips = [asyncio.create_task(drip(writer)) for _, writer in dripping]
        assert await genuine(api, made) == 200
        assert await refused(api, id) == {}, "a genuine request waits for none of them"
        statuses = await asyncio.gather(*(answered(*one) for one in (*begun, *dripping)))
        assert set(statuses) == {408}
        for one in drips:
            one.cancel()
        await asyncio.gather(*drips, return_exceptions=True)
        assert await refused(api, id) == {"too_slow": 125}
        assert await stored(api, id) == 1


async def test_bodies_without_end_are_cut(api: Api, name: str) -> None:
    id = (await api.shout(name))["id"]
    reader, writer = await connect(api, head(id, "Transfer-Encoding: chunked"))
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(30):
            while not reader.at_eof():
                writer.write(chunk)
                await writer.drain()
                await asyncio.sleep(0)
    writer.close()
    assert await refused(api, id) == {"too_large": 1}
    assert await stored(api, id) == 0


@pytest.mark.parametrize(
    "lines",
    [
        ["X-Long: " + "x" * 300_000],
        [f"X-{number}: {'y' * 100}" for number in range(3000)],
        ["X" * 200_000 + ": y"],
        ["Cookie: " + "a=b; " * 50_000],
    ],
    ids=["long value", "many", "long name", "cookies"],
)
async def test_headers_without_measure_are_refused(api: Api, name: str, lines: list[str]) -> None:
    made = await api.shout(name)
    try:
        status = await answered(*await connect(api, head(made["id"], *lines, "Content-Length: 0")))
    except ConnectionError:
        status = 0
    assert status in (0, 400, 431)
    assert await stored(api, made["id"]) == 0
    assert await genuine(api, made) == 200


class Impatient(BoundedHttp):
    """Waits for a head no longer than a test does."""

    head_seconds = 0.5


async def test_a_head_that_never_ends_or_comes_too_slowly_ends_its_connection(database: str, tmp_path: Any) -> None:
    async with serving(settings_for(database, tmp_path), http_protocol=Impatient) as api:
        await _slow_heads(api)


async def _slow_heads(api: Api) -> None:
    made = await api.shout("one")
    for begun in (b"", b"POST /hooks", head(made["id"])[:-2] + b"X-One: 1", head(made["id"])[:-2]):
        assert await answered(*await connect(api, begun), seconds=10) == 0
    reader, writer = await connect(api, head(made["id"], "X-Endless: ")[:-4])
    with contextlib.suppress(ConnectionError):
        for _ in range(1000):
            writer.write(b"x" * 65536)
            await writer.drain()
            if reader.at_eof():
                break
            await asyncio.sleep(0)
        else:
            raise AssertionError("65 MB of one header were read")
    writer.close()
    # a connection that is kept open for the next request is no slow one, and one in use is not cut
    reader, writer = await connect(api, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b"}")
    await asyncio.sleep(0.8)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"200 OK" in await reader.readuntil(b"}")
    writer.close()
    assert await genuine(api, made) == 200


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 1", "Content-Length: 2"],
        ["Content-Length: -1"],
        ["Content-Length: 1x"],
        ["Content-Length: 5", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: gzip, chunked", "Transfer-Encoding: identity"],
        ["Content-Length: 99999999999999999999999"],
        ["X-Signature : x", "Content-Length: 0"],
        ["X-Folded: a", " b", "Content-Length: 0"],
    ],
    ids=lambda lines: lines[0],
)
async def test_a_request_that_servers_read_differently_is_never_stored(api: Api, name: str, lines: list[str]) -> None:
    made = await api.shout(name)
    status = await answered(*await connect(api, head(made["id"], *lines) + b"12345"))
    assert status == 0 or status >= 400
    assert await stored(api, made["id"]) == 0


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, gzip"])
async def test_a_compressed_body_is_stored_as_it_is_and_never_unpacked(api: Api, name: str, encoding: str) -> None:
    made = await api.shout(name)
    bomb = gzip.compress(bytes(50_000_000), 9)
    assert len(bomb) < 100_000
    assert await genuine(api, made, bomb, **{"content-encoding": encoding}) == 200
    [row] = await api.rows("SELECT body FROM delivery WHERE connection_id = :id", id=UUID(made["id"]))
    assert bytes(row["body"]) == bomb
