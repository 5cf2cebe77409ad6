"""What the rows share: settings, a complaint as a signed webhook, a connection to bring it in, a server on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import uvicorn
from pydantic import SecretStr

from gateway.db.embedded import EmbeddedPostgres
from gateway.settings import Settings
from gateway_schemas.signatures import sign_standard
from gateway_schemas.time import SystemTime
from support.gateway import Gateway, template
from support.postgres import clone_database, drop_database

SECRET = "whsec_" + "A" * 43 + "="
CLIENTS = 32


@dataclass(frozen=True)
class Ground:
    """Where the rows are measured: one embedded PostgreSQL as it ships, and how much of each is asked for."""

    postgres: EmbeddedPostgres
    folder: Path
    size: int
    rounds: int
    tickets: int
    backlog: int

    @contextlib.asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """A migrated database of a row's own."""
        url = await clone_database(self.postgres.url, await template(self.postgres.url))
        try:
            yield url
        finally:
            await drop_database(url)


def settings(folder: Path, url: str, **changes: Any) -> Settings:
    """Production settings on a throw-away database."""
    return Settings(
        _env_file=None,  # type: ignore[call-arg]
        **{
            "data_dir": folder,
            "database_url": SecretStr(url),
            "bootstrap_key": SecretStr("a-key-for-benchmarks"),
            "log_level": "ERROR",
            **changes,
        },
    )


def body(number: int, run: str, author: str | None = None) -> bytes:
    """One complaint, by a customer of its own unless one is named."""
    data = {
        "external_id": f"{run}-{number}",
        "kind": "post",
        "author": {"external_id": author or f"{run}-user-{number}", "handle": f"user{number}"},
        "text": f"My order {run}-{number} is late, please help me with that. " * 2,
        "published_at": "2026-01-01T00:00:00Z",
    }
    return json.dumps({"type": "interaction.created", "timestamp": "2026-01-01T00:00:00Z", "data": data}).encode()


def signed(path: str, number: int, run: str, author: str | None = None) -> bytes:
    """A whole HTTP request with a valid signature."""
    content = body(number, run, author)
    headers = sign_standard(SECRET, f"msg_{run}_{number}", SystemTime().now(), content)
    lines = [f"POST {path} HTTP/1.1", "host: bench", f"content-length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


async def source(gateway: Gateway, helpdesk: UUID | None = None, name: str = "source") -> UUID:
    """An inbound connection; without a helpdesk given, it gets one that nobody calls."""
    if helpdesk is None:
        config = {"base_url": "http://127.0.0.1:9", "email": "bench@example.com", "api_token": "t"}
        helpdesk = await gateway.add_connection("helpdesk", "zendesk", config, name=f"helpdesk of {name}")
        await gateway.execute("UPDATE connection SET paused_out = true WHERE id = :id", id=helpdesk)
    config = {"signing_secrets": [SECRET]}
    return await gateway.add_connection("source", "inbound", config, name=name, helpdesk=helpdesk)


@contextlib.asynccontextmanager
async def serving(app: Any) -> AsyncIterator[int]:
    """Serve an application on loopback; yields the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted connections inherit it
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


class Client:
    """One keep-alive connection that sends prebuilt requests."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> Client:
        """Connect to loopback."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def send(self, request: bytes) -> None:
        """Send one request and read its answer, which must be 200."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head.split(b"\r\n", 1)[0], head
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        if length:
            await self._reader.readexactly(length)

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()


async def hammer(port: int, requests: Sequence[bytes]) -> float:
    """Send prebuilt requests from many clients; requests a second."""
    queue = iter(requests)

    async def client() -> None:
        one = await Client.open(port)
        for request in queue:
            await one.send(request)
        one.close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return len(requests) / (time.perf_counter() - began)


def port_of(url: str) -> int:
    """The port of a base URL."""
    port = urlsplit(url).port
    assert port is not None
    return port
