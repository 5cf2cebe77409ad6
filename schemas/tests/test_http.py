"""What becomes of a call to a provider, over real connections that go wrong in every way we know of."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from gateway_schemas.errors import (
    GatewayError,
    Gone,
    Hold,
    Malformed,
    Reauthorise,
    Rejected,
    Retry,
    Unknown,
)
from gateway_schemas.http import answer, call, json_object
from gateway_schemas.limits import metered

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Provider:
    """A server on loopback that reads each request and then does what the test says; `received` are request lines."""

    def __init__(self) -> None:
        self.url = ""
        self.received: list[str] = []
        self.behaviour: Behaviour = self.answers(200)

    @staticmethod
    def answers(status: int, body: bytes = b"{}", **headers: str) -> Behaviour:
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        head = "\r\n".join([f"HTTP/1.1 {status} X", f"content-length: {len(body)}", *lines, "connection: close"])

        async def write(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(head.encode() + b"\r\n\r\n" + body)
            await writer.drain()

        return write

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            self.received.append(head.split("\r\n")[0])
            await self.behaviour(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    provider = Provider()
    server = await asyncio.start_server(provider.serve, "127.0.0.1", 0)
    provider.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield provider
    server.close()


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(timeout=httpx2.Timeout(0.5), trust_env=False) as client:
        yield client


async def fails(http: httpx2.AsyncClient, url: str, *, effect: bool, **more: Any) -> GatewayError:
    with pytest.raises(GatewayError) as raised:
        await call(http, "POST", url, effect=effect, now=NOW, **more)
    return raised.value


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_any_success_is_an_answer(http: httpx2.AsyncClient, provider: Provider, status: int) -> None:
    provider.behaviour = provider.answers(status, b"")
    response = await call(http, "POST", provider.url + "/posts", effect=True, now=NOW, json={"text": "hi"})
    assert response.status_code == status
    assert provider.received == ["POST /posts HTTP/1.1"]


async def test_an_expected_status_is_an_answer_whatever_it_is(http: httpx2.AsyncClient, provider: Provider) -> None:
    for status in (304, 404, 503):
        provider.behaviour = provider.answers(status, b"")
        response = await call(http, "GET", provider.url, effect=True, now=NOW, expected=(200, 304, 404, 503))
        assert response.status_code == status


@pytest.mark.parametrize(
    ("status", "harmless", "effective"),
    [
        (202, Malformed, Unknown),
        (301, Rejected, Unknown),
        (302, Rejected, Unknown),
        (303, Rejected, Unknown),
        (304, Rejected, Rejected),
        (307, Rejected, Rejected),
        (308, Rejected, Rejected),
        (400, Rejected, Rejected),
        (401, Reauthorise, Reauthorise),
        (402, Rejected, Rejected),
        (403, Rejected, Rejected),
        (404, Gone, Gone),
        (405, Rejected, Rejected),
        (408, Retry, Unknown),
        (409, Rejected, Rejected),
        (410, Gone, Gone),
        (413, Rejected, Rejected),
        (418, Rejected, Rejected),
        (422, Rejected, Rejected),
        (425, Retry, Retry),
        (429, Retry, Retry),
        (500, Retry, Unknown),
        (501, Retry, Unknown),
        (502, Retry, Unknown),
        (503, Retry, Unknown),
        (504, Retry, Unknown),
        (529, Retry, Unknown),
        (599, Retry, Unknown),
    ],
)
async def test_each_status_is_named_by_recovery(
    http: httpx2.AsyncClient,
    provider: Provider,
    status: int,
    harmless: type[GatewayError],
    effective: type[GatewayError],
) -> None:
    # An answer that tells where to go is not followed: the request would be sent a second time.
    provider.behaviour = provider.answers(status, b"", location=provider.url + "/elsewhere")
    for effect, kind in ((False, harmless), (True, effective)):
        error = await fails(http, provider.url + "/posts?token=s3cret", effect=effect, expected=(200, 201))
        assert type(error) is kind
        assert error.code == f"http_{status}"
        assert error.reason == f"POST /posts was answered {status}"
        response = answer(error)
        assert response is not None
        assert response.status_code == status
    assert provider.received == ["POST /posts?token=s3cret HTTP/1.1"] * 2


@pytest.mark.parametrize(
    ("header", "after"),
    [
        ("120", timedelta(minutes=2)),
        ("0.5", timedelta(seconds=0.5)),
        ("Sun, 22 Nov 2026 10:01:30 GMT", timedelta(seconds=90)),
        ("Sun, 22 Nov 2026 09:00:00 GMT", timedelta()),
        ("soon", None),
        ("Sun, 22 Nov 2026 99999999999999999999:00:00 GMT", None),
        (None, None),
    ],
)
async def test_retry_after_is_passed_on(
    http: httpx2.AsyncClient, provider: Provider, header: str | None, after: timedelta | None
) -> None:
    for status, bucket in ((429, "create_post"), (503, None), (408, None)):
        provider.behaviour = provider.answers(status, b"", **({"retry_after": header} if header else {}))
        error = await fails(http, provider.url, effect=False, extensions=metered("create_post"))
        assert isinstance(error, Retry)
        assert error.after == after
        assert error.bucket == bucket


async def test_a_plugin_tells_apart_what_its_provider_tells_apart(http: httpx2.AsyncClient, provider: Provider) -> None:
    seen: list[int] = []

    def classify(response: httpx2.Response) -> GatewayError | None:
        seen.append(response.status_code)
        if response.json().get("code") == "duplicate":
            return Hold("the same text was posted before", code="duplicate")
        return None

    provider.behaviour = provider.answers(403, b'{"code": "duplicate"}')
    error = await fails(http, provider.url, effect=True, classify=classify)
    assert isinstance(error, Hold)
    assert error.code == "duplicate"
    response = answer(error)
    assert response is not None
    assert response.json() == {"code": "duplicate"}
    provider.behaviour = provider.answers(403, b'{"code": "other"}')
    assert isinstance(await fails(http, provider.url, effect=True, classify=classify), Rejected)
    provider.behaviour = provider.answers(200, b'{"code": "duplicate"}')
    await call(http, "POST", provider.url, effect=True, now=NOW, classify=classify)
    assert seen == [403, 403]


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
    return port


@pytest.mark.parametrize("effect", [False, True])
async def test_without_a_connection_nothing_was_sent(http: httpx2.AsyncClient, effect: bool) -> None:
    error = await fails(http, f"http://127.0.0.1:{free_port()}/posts?token=s3cret", effect=effect)
    assert isinstance(error, Retry)
    assert error.code == "not_sent"
    assert error.reason.startswith("POST /posts was not sent: ")
    assert answer(error) is None


@pytest.mark.parametrize("effect", [False, True])
async def test_a_handshake_that_fails_sends_nothing(http: httpx2.AsyncClient, provider: Provider, effect: bool) -> None:
    # The server speaks no TLS, so the client gets no further than hello.
    error = await fails(http, provider.url.replace("http:", "https:"), effect=effect)
    assert isinstance(error, Retry)
    assert error.code == "not_sent"
    assert provider.received == []


async def test_waiting_for_a_free_connection_sends_nothing(provider: Provider) -> None:
    release = asyncio.Event()

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        await provider.answers(200)(reader, writer)

    provider.behaviour = stall
    timeout = httpx2.Timeout(5, pool=0.1)
    async with httpx2.AsyncClient(limits=httpx2.Limits(max_connections=1), timeout=timeout, trust_env=False) as http:
        first = asyncio.create_task(call(http, "POST", provider.url, effect=True, now=NOW))
        while not provider.received:
            await asyncio.sleep(0.01)
        error = await fails(http, provider.url, effect=True)
        assert isinstance(error, Retry)
        assert error.code == "not_sent"
        release.set()
        assert (await first).status_code == 200
    assert len(provider.received) == 1


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SMTP ready\r\n\r\n")
    await writer.drain()


async def stop_half_way(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b'HTTP/1.1 201 Created\r\ncontent-length: 100\r\n\r\n{"id": ')
    await writer.drain()


async def stall_half_way(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await stop_half_way(reader, writer)
    await reader.read()


@pytest.mark.parametrize(
    "behaviour",
    [
        hang_up,
        reset,
        hang,
        babble,
        stop_half_way,
        stall_half_way,
        Provider.answers(201, gzip.compress(b"{}")[:-9] + b"x" * 9, content_encoding="gzip"),
    ],
)
async def test_what_breaks_off_after_sending_is_unknown_when_it_has_an_effect(
    http: httpx2.AsyncClient, provider: Provider, behaviour: Behaviour
) -> None:
    provider.behaviour = behaviour
    error = await fails(http, provider.url + "/posts?token=s3cret", effect=True)
    assert type(error) is Unknown
    error = await fails(http, provider.url + "/posts?token=s3cret", effect=False)
    assert type(error) is Retry
    assert error.code == "interrupted"
    assert error.reason.startswith("POST /posts was interrupted: ")
    # Neither call tried again by itself.
    assert len(provider.received) == 2


@pytest.mark.parametrize("url", ["ftp://example.com/x", "posts", "http://[::1", "http://", "https://exa mple.com:port"])
async def test_an_address_that_is_none_is_rejected(http: httpx2.AsyncClient, url: str) -> None:
    error = await fails(http, url, effect=True)
    assert isinstance(error, Rejected)
    assert error.code == "invalid_url"


async def test_no_reason_has_a_secret_in_it(http: httpx2.AsyncClient, provider: Provider) -> None:
    provider.behaviour = provider.answers(403, b"s3cret", x_echo="s3cret")
    path = "/bots3cret/sendMessage?key=s3cret#s3cret"
    auth = {"authorization": "Bearer s3cret"}
    error = await fails(http, provider.url + path, effect=True, label="/sendMessage", headers=auth)
    assert error.reason == "POST /sendMessage was answered 403"
    # A token pasted with a line break is refused by the client library, which quotes it.
    error = await fails(http, provider.url + "/x", effect=True, headers={"authorization": "s3cret\n"})
    assert "s3cret" not in error.reason
    assert error.__cause__ is None
    error = await fails(http, provider.url.replace("//", "//user:s3cret@") + "/a%0Ab?s3cret", effect=True)
    assert error.reason == "POST /a%0Ab was answered 403"


async def test_what_the_host_raises_below_passes_unchanged(provider: Provider) -> None:
    budget = Retry("the budget create_post is used up", after=timedelta(seconds=7), bucket="create_post")

    class Budgeted(httpx2.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            raise budget

    async with httpx2.AsyncClient(transport=Budgeted()) as http:
        assert await fails(http, provider.url, effect=True) is budget
    assert provider.received == []


async def test_a_call_that_is_cancelled_is_cancelled(http: httpx2.AsyncClient, provider: Provider) -> None:
    provider.behaviour = hang
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await call(http, "POST", provider.url, effect=True, now=NOW)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Bad gateway</html>",
        b"[]",
        b'"text"',
        b"null",
        b"1",
        b"{",
        b'{"a": }',
        b'{"a": "\xff"}',
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
)
async def test_an_answer_that_is_no_object_is_malformed(
    http: httpx2.AsyncClient, provider: Provider, body: bytes
) -> None:
    provider.behaviour = provider.answers(200, body, content_type="application/json")
    response = await call(http, "GET", provider.url, effect=False, now=NOW)
    with pytest.raises(Malformed):
        json_object(response)
    # After a request that changed something it did happen, whatever the answer is.
    with pytest.raises(Unknown):
        json_object(response, effect=True)


async def test_an_object_is_read(http: httpx2.AsyncClient, provider: Provider) -> None:
    document = {"id": "1", "text": "Grüße \N{GRINNING FACE}", "nested": {"list": [1, 2.5, None, True]}}
    for encoded in (json.dumps(document).encode(), json.dumps(document, ensure_ascii=False).encode()):
        provider.behaviour = provider.answers(200, encoded)
        response = await call(http, "GET", provider.url, effect=False, now=NOW)
        assert json_object(response, effect=True) == document
