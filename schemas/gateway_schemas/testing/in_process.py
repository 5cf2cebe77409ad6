"""Twins without a network: a client that calls a twin's ASGI application in the same process, and a door for webhooks.

    twin = AcmeTwin(time=time)
    async with in_process(twin) as http:
        plugin = AcmeSource(Setup(time=time, config=AcmeConfig(**twin.connection_config()), http=http))

Nothing waits: a fault's time-out and a broken connection are told to the client at once, as the exceptions that the
network would have made of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2

from gateway_schemas.testing.twin import IN_PROCESS, ConnectionBroken, Twin
from gateway_schemas.time import TimeSource
from gateway_schemas.webhook import WebhookRequest, WebhookResponse

TWIN_URL = "http://127.0.0.1:1"
DOOR_URL = "http://127.0.0.1:2/hooks/kit"

DoorKeeper = Callable[[WebhookRequest], Awaitable[WebhookResponse | int]]


class TwinTransport(httpx2.AsyncBaseTransport):
    """Carries requests to a twin in the same process, and keeps them all.

    A request to any other address is refused as if nobody listened there; `strayed` has its URL.
    """

    def __init__(self, twin: Twin) -> None:
        self.twin = twin
        self.requests: list[httpx2.Request] = []
        self.strayed: list[str] = []
        self.unreachable = False
        """Whether no connection can be made: nothing is sent then."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer one request by the twin. Raises what the network would."""
        url = str(request.url)
        if not url.startswith(self.twin.url):
            self.strayed.append(url)
            raise httpx2.ConnectError(f"nobody listens at {request.url.host}", request=request)
        if self.unreachable:
            raise httpx2.ConnectError("no connection", request=request)
        self.requests.append(request)
        body = await request.aread()
        started: dict[str, Any] = {}
        chunks: list[bytes] = []
        sent = False

        async def receive() -> dict[str, Any]:
            nonlocal sent
            if sent:
                return {"type": "http.disconnect"}
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                started.update(message)
            elif message["type"] == "http.response.body":
                chunks.append(message.get("body", b""))

        try:
            await self.twin.app(_scope(request), receive, send)
        except ConnectionBroken as broken:
            if broken.timed_out:
                raise httpx2.ReadTimeout("no answer in time", request=request) from None
            raise httpx2.RemoteProtocolError("peer closed the connection", request=request) from None
        return httpx2.Response(
            started["status"], headers=started.get("headers", []), content=b"".join(chunks), request=request
        )


class DoorTransport(httpx2.AsyncBaseTransport):
    """Carries a twin's own requests (webhooks, challenges) to a door in the same process."""

    def __init__(self, keeper: DoorKeeper, time: TimeSource, door: str = DOOR_URL) -> None:
        self.keeper = keeper
        self.time = time
        self.door = door

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Let the door answer; anything else is unreachable."""
        if not str(request.url).startswith(self.door):
            raise httpx2.ConnectError(f"nobody listens at {request.url.host}", request=request)
        answer = await self.keeper(
            WebhookRequest(
                method=request.method,
                path=request.url.path,
                query=request.url.query,
                headers=tuple(request.headers.raw),
                body=await request.aread(),
                received_at=self.time.now(),
            )
        )
        if isinstance(answer, int):
            return httpx2.Response(answer, request=request)
        return httpx2.Response(
            answer.status, headers={"content-type": answer.media_type}, content=answer.body, request=request
        )


@contextlib.asynccontextmanager
async def in_process(twin: Twin, *, url: str = TWIN_URL, timeout: float = 10.0) -> AsyncIterator[httpx2.AsyncClient]:
    """A client that reaches `twin` and nothing else. Afterwards the twin's tasks are given up."""
    twin.url = url
    async with httpx2.AsyncClient(transport=TwinTransport(twin), timeout=timeout) as client:
        try:
            yield client
        finally:
            await twin.aclose()


def transport_of(client: httpx2.AsyncClient) -> TwinTransport:
    """The transport of a client that `in_process` gave. Raises TypeError for any other."""
    transport = client._transport
    if not isinstance(transport, TwinTransport):
        raise TypeError("this client does not talk to a twin in this process")
    return transport


def _scope(request: httpx2.Request) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.url.scheme,
        "path": request.url.path,
        "raw_path": request.url.raw_path.partition(b"?")[0],
        "query_string": request.url.query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "server": (request.url.host, request.url.port or 80),
        "client": ("127.0.0.1", 3),
        "extensions": {IN_PROCESS: {}},
    }
