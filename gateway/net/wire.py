"""The innermost layer: a connection pool of httpcore behind the client library's transport interface.

The client library's own transport has no place for a network backend, and the address guard has to be one.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator

import httpcore2
import httpx2

_ERRORS: tuple[tuple[type[Exception], type[httpx2.TransportError], str], ...] = (
    (httpcore2.ConnectTimeout, httpx2.ConnectTimeout, "No connection in time"),
    (httpcore2.ReadTimeout, httpx2.ReadTimeout, "No answer in time"),
    (httpcore2.WriteTimeout, httpx2.WriteTimeout, "The request could not be written in time"),
    (httpcore2.PoolTimeout, httpx2.PoolTimeout, "No connection was free in time"),
    (httpcore2.ConnectError, httpx2.ConnectError, "No connection"),
    (httpcore2.ReadError, httpx2.ReadError, "The connection broke while the answer was read"),
    (httpcore2.WriteError, httpx2.WriteError, "The connection broke while the request was written"),
    (httpcore2.LocalProtocolError, httpx2.LocalProtocolError, "The request cannot be written as HTTP"),
    (httpcore2.RemoteProtocolError, httpx2.RemoteProtocolError, "The answer is cut off or not HTTP"),
    (httpcore2.UnsupportedProtocol, httpx2.UnsupportedProtocol, "The URL's scheme is not supported"),
    (httpcore2.TimeoutException, httpx2.TimeoutException, "Out of time"),
    (httpcore2.NetworkError, httpx2.NetworkError, "The network failed"),
    (httpcore2.ProtocolError, httpx2.ProtocolError, "The HTTP exchange failed"),
)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Raise the client library's errors for httpcore's.

    Only the texts of connection errors are kept: those of protocol errors quote header values, credentials among them.
    """
    try:
        yield
    except tuple(core for core, _, _ in _ERRORS) as error:
        ours, words = next((ours, words) for core, ours, words in _ERRORS if isinstance(error, core))
        detail = str(error) if isinstance(error, httpcore2.ConnectError) else ""
        raise ours(f"{words}: {detail}" if detail else words) from None


class WireTransport(httpx2.AsyncBaseTransport):
    """Sends requests over a pool that it shares with others; closing it closes nothing."""

    def __init__(self, pool: httpcore2.AsyncConnectionPool) -> None:
        self._pool = pool

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send, and answer as soon as the headers are there."""
        if not isinstance(request.stream, AsyncIterable):
            raise TypeError("the request's content must be bytes or an asynchronous iterable")
        url = request.url
        with _translated():
            answer = await self._pool.handle_async_request(
                httpcore2.Request(
                    method=request.method,
                    url=httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        return httpx2.Response(
            status_code=answer.status,
            headers=answer.headers,
            stream=_WireStream(answer),
            # the status line's words are the provider's, and end up in logs: those of the standard say as much
            extensions={name: value for name, value in answer.extensions.items() if name != "reason_phrase"},
        )


class _WireStream(httpx2.AsyncByteStream):
    def __init__(self, answer: httpcore2.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _translated():
            async with closing_iterator(self._answer.aiter_stream()) as chunks:
                async for chunk in chunks:
                    yield chunk

    async def aclose(self) -> None:
        with _translated():
            await self._answer.aclose()


@contextlib.asynccontextmanager
async def closing_iterator(iterator: AsyncIterator[bytes]) -> AsyncIterator[AsyncIterator[bytes]]:
    """Close an iterator that is a generator at the end, rather than leave it to the garbage collector."""
    try:
        yield iterator
    finally:
        if isinstance(iterator, AsyncGenerator):
            await iterator.aclose()
