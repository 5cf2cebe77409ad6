"""The twin's stream of server-sent events: what is told to whom, and how it breaks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from gateway_mastodon.twin_http import Refusal, Wire

Told = tuple[str, Any]


class Owner(Protocol):
    """The twin, as far as its stream needs it."""

    wire: Wire
    streaming: bool


class Streams:
    """Who listens, and what they are told. Nothing is kept for those who do not listen."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self._open: list[tuple[str, asyncio.Queue[Told | None]]] = []

    def routes(self) -> Sequence[BaseRoute]:
        """Mastodon's paths; other events than notifications are for the home stream only."""
        return [
            Route("/api/v1/streaming/health", self._health),
            Route("/api/v1/streaming/user", self._user),
        ]

    @property
    def listeners(self) -> int:
        """How many streams are open."""
        return len(self._open)

    def tell(self, account: str, event: str, payload: Any) -> None:
        """Tell an account's streams. The payload of a deletion is an id, of all else an entity, or what makes it."""
        for listener, queue in self._open:
            if listener == account:
                queue.put_nowait((event, payload() if callable(payload) else payload))

    def drop(self) -> None:
        """The server ends every stream, as it does when it restarts."""
        for _, queue in self._open:
            queue.put_nowait(None)

    async def _health(self, request: Request) -> Response:
        if not self.owner.streaming:
            return Response(status_code=503)
        return PlainTextResponse("OK")

    async def _user(self, request: Request) -> Response:
        if not self.owner.streaming:
            return Response(status_code=503)
        try:
            account = self.owner.wire.caller(request, "read:statuses")
            self.owner.wire.caller(request, "read:notifications")
        except Refusal as refusal:
            return JSONResponse(refusal.body, refusal.status)
        queue: asyncio.Queue[Told | None] = asyncio.Queue()
        self._open.append((account.id, queue))
        headers = {"cache-control": "private, no-store", "x-accel-buffering": "no"}
        return StreamingResponse(self._events(account.id, queue), media_type="text/event-stream", headers=headers)

    async def _events(self, account: str, queue: asyncio.Queue[Told | None]) -> AsyncIterator[bytes]:
        try:
            yield b":)\n"
            while True:
                try:
                    told = await asyncio.wait_for(queue.get(), 15)
                except TimeoutError:
                    yield b":thump\n"
                    continue
                if told is None:
                    return
                event, payload = told
                data = payload if isinstance(payload, str) else json.dumps(payload)
                yield f"event: {event}\ndata: {data}\n\n".encode()
        finally:
            self._open.remove((account, queue))
