"""The server's HTTP protocol with the limits that the library leaves out: how large the head of a request may be, and
how long it may take to arrive. Without them one connection fills the memory, and a few thousand hold all there are."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_LIMIT = 64 * 1024
"""Bytes of request line and headers together."""
HEADER_COUNT = 200


class BoundedHttp(HttpToolsProtocol):
    """Answers 400 and closes the connection when a head is too large; closes one that is too slow."""

    head_seconds: float = 20.0
    """How long a head may take to arrive, from the connection's beginning or the first byte of a further request."""
    _head: int = 0
    _parsed: int = 0
    _in_head: bool = True
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called once: the first head is awaited."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called once at the end."""
        self._head_is_there()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what has come of a head that is not complete."""
        self._head += len(data)
        super().data_received(data)
        if self._in_head:
            if self._late is None:
                self._await_head()
            if self._head > HEAD_LIMIT and not self.transport.is_closing():
                self.send_400_response("The request's head is too large.")

    def on_message_begin(self) -> None:
        """A head begins, perhaps in the middle of what was received: that much is given away."""
        self._in_head, self._head, self._parsed = True, 0, 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Raises ValueError, which the parser answers with 400, when it is one too many."""
        super().on_header(name, value)
        self._parsed += len(name) + len(value) + 4
        if len(self.headers) > HEADER_COUNT or len(self.url) + self._parsed > HEAD_LIMIT:
            raise ValueError("the request's head is too large")

    def on_headers_complete(self) -> None:
        """The head is complete: from here on the application has its own limits."""
        self._in_head = False
        self._head_is_there()
        super().on_headers_complete()

    def _await_head(self) -> None:
        self._late = self.loop.call_later(self.head_seconds, self._end)

    def _head_is_there(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _end(self) -> None:
        self._late = None
        if self._in_head and not self.transport.is_closing():
            self.transport.close()
