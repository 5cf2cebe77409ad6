"""The total time a request may take, from the first look at its budget to the last byte of its answer.

Deadlines are in real seconds, also where the gateway runs on virtual time: networks do not run faster for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

import httpx2

from gateway.net.wire import closing_iterator

DEADLINE = "gateway.deadline"
"""Request extension: seconds in all. None for streams that are meant to go on."""

_PROGRESS = "gateway.progress"
_EXPIRES = "gateway.expires"

Lane = Literal["reply", "interactive", "backlog", "probe"]

Gate = Callable[[], Awaitable[None]]
"""Asked right before the first byte of each request leaves, after budgets and connecting; raises to keep it back."""


@dataclass(frozen=True, slots=True)
class _Call:
    lane: Lane | None = None
    expires: float | None = None
    gate: Gate | None = None


_NO_CALL = _Call()
_call: ContextVar[_Call] = ContextVar("gateway_net_call", default=_NO_CALL)


@contextmanager
def calling(*, lane: Lane | None = None, seconds: float | None = None, gate: Gate | None = None) -> Iterator[None]:
    """Wrap a call of a plugin's method: its requests go in this lane, and end together after `seconds` in all.

    `gate` is asked right before each request leaves. What it raises is raised to the plugin, and nothing was sent.

    A plugin instance, and with it its HTTP client, serves replies and backlog alike; which one it is just doing, and
    when the lease under it ends, only the caller knows.
    """
    outer = _call.get()
    expires = outer.expires
    if seconds is not None:
        mine = asyncio.get_running_loop().time() + seconds
        expires = mine if expires is None else min(expires, mine)
    token = _call.set(_Call(lane or outer.lane, expires, gate or outer.gate))
    try:
        yield
    finally:
        _call.reset(token)


def current_lane(default: Lane) -> Lane:
    """The lane of the call under way."""
    return _call.get().lane or default


def call_expires() -> float | None:
    """When the call under way ends, in the event loop's time; None where nobody said."""
    return _call.get().expires


def call_gate() -> Gate | None:
    """What is asked before anything of the call under way leaves."""
    return _call.get().gate


class Progress:
    """Whether any byte of a request may have left."""

    __slots__ = ("_also", "_gate", "sent")

    def __init__(self, also: Any = None, gate: Gate | None = None) -> None:
        self.sent = False
        self._also = also
        self._gate = gate

    async def trace(self, event: str, info: dict[str, Any]) -> None:
        """Called by httpcore (the `trace` extension) at each step of a request."""
        if event.endswith(".send_request_headers.started"):
            if self._gate is not None:
                await self._gate()
            self.sent = True
        if self._also is not None:
            await self._also(event, info)


def progress_of(request: httpx2.Request) -> Progress:
    """How far the request has got."""
    progress: Progress = request.extensions[_PROGRESS]
    return progress


def seconds_left(request: httpx2.Request) -> float | None:
    """Seconds until the request's deadline; None without one."""
    expires: float | None = request.extensions[_EXPIRES]
    return None if expires is None else max(0.0, expires - asyncio.get_running_loop().time())


class DeadlineTransport(httpx2.AsyncBaseTransport):
    """Ends a request at its deadline: ConnectTimeout while nothing was sent, ReadTimeout once something may be."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, seconds: float) -> None:
        self._inner = inner
        self._seconds = seconds

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Pass on under the deadline. Redirects and authentication steps of one call share it."""
        expires = self._expires(request)
        progress = Progress(request.extensions.get("trace"), _call.get().gate)
        request.extensions |= {"trace": progress.trace, _PROGRESS: progress, _EXPIRES: expires}
        if expires is not None and expires <= asyncio.get_running_loop().time():
            raise httpx2.ConnectTimeout("The time for this call was over before the request was sent", request=request)
        try:
            async with asyncio.timeout_at(expires) as timer:
                response = await self._inner.handle_async_request(request)
        except TimeoutError:
            if not timer.expired():
                raise
            if progress.sent:
                raise httpx2.ReadTimeout("No answer before the deadline", request=request) from None
            raise httpx2.ConnectTimeout("Nothing could be sent before the deadline", request=request) from None
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _DeadlineStream(response.stream, expires, request)
        return response

    def _expires(self, request: httpx2.Request) -> float | None:
        if _EXPIRES in request.extensions:
            known: float | None = request.extensions[_EXPIRES]
            return known
        seconds: float | None = request.extensions.get(DEADLINE, self._seconds)
        expires = None if seconds is None else asyncio.get_running_loop().time() + seconds
        outer = _call.get().expires
        return outer if expires is None else expires if outer is None else min(expires, outer)


class _DeadlineStream(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream, expires: float | None, request: httpx2.Request) -> None:
        self._inner = inner
        self._expires = expires
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async with closing_iterator(aiter(self._inner)) as chunks:
            while True:
                try:
                    async with asyncio.timeout_at(self._expires) as timer:
                        chunk = await anext(chunks)
                except StopAsyncIteration:
                    return
                except TimeoutError:
                    if not timer.expired():
                        raise
                    raise httpx2.ReadTimeout("The answer was cut off by the deadline", request=self._request) from None
                yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()
