"""A receiver of webhooks, as a subscriber writes one: real HTTP, signatures as the public library makes them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import uvicorn
from standardwebhooks import Webhook

Answer = Callable[["Hook"], Awaitable[tuple[int, dict[str, str], bytes]]]


@dataclass(frozen=True)
class Hook:
    """One request."""

    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """Its `webhook-id`."""
        return self.headers["webhook-id"]

    @property
    def document(self) -> dict[str, Any]:
        """What it says."""
        said: dict[str, Any] = json.loads(self.body)
        return said

    @property
    def kind(self) -> str:
        """The kind of event."""
        return str(self.document["type"])

    def signed_by(self, secret: str) -> bool:
        """Whether one of its signatures is of this secret, as the library makes it. The clock may be a virtual one."""
        at = datetime.fromtimestamp(int(self.headers["webhook-timestamp"]), UTC)
        expected = Webhook(secret).sign(msg_id=self.id, timestamp=at, data=self.body.decode())
        return expected in self.headers["webhook-signature"].split(" ")


@dataclass
class Receiver:
    """Takes webhooks at any path; each path answers as its test says."""

    url: str = ""
    hooks: dict[str, list[Hook]] = field(default_factory=lambda: defaultdict(list))
    answers: dict[str, Answer | int] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """Host and port, as an allow list names it."""
        return self.url.removeprefix("http://")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """The ASGI application."""
        if scope["type"] != "http":
            return
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        hook = Hook(headers, body)
        path = scope["path"].strip("/")
        self.hooks[path].append(hook)
        how = self.answers.get(path, 204)
        status, given, content = (how, {}, b"") if isinstance(how, int) else await how(hook)
        raw = [(name.encode(), value.encode()) for name, value in given.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": content})

    def kinds(self, path: str) -> list[str]:
        """The kinds of the events that came to a path, in order."""
        return [hook.kind for hook in self.hooks[path]]


@contextlib.asynccontextmanager
async def receiving(port: int = 0) -> AsyncIterator[Receiver]:
    """A receiver on loopback."""
    receiver = Receiver()
    listener = socket.create_server(("127.0.0.1", port))
    receiver.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = uvicorn.Config(receiver, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            await asyncio.sleep(0.005)
        yield receiver
    finally:
        server.should_exit = True
        await serving
        listener.close()
