"""Connections for providers that are not spoken to by HTTP (IMAP, SMTP): the host opens them, the plugin talks."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterable
from typing import Protocol

from gateway_schemas.errors import Rejected, Retry


class Sockets(Protocol):
    """Opens connections to the places that `Plugin.sockets_of` names, and to public or opened addresses only.

    A plugin never connects by itself: names are resolved and checked here, as they are for HTTP.
    """

    @property
    def tls(self) -> ssl.SSLContext:
        """What certificates are checked with. Always give it together with the server's name."""

    @property
    def deadline(self) -> float | None:
        """When the call under way ends, in the event loop's time, for `asyncio.timeout_at`. None: it may go on.

        A plugin that gives up by itself knows what it had sent, and so whether it is Retry or Unknown.
        """

    async def connect(self, host: str, port: int) -> socket.socket:
        """A connected TCP socket that does not block; the caller closes it.

        Raises Retry with the code `not_sent` when nobody answers there, Rejected with `origin_refused` or
        `address_refused` where this connection has no business.
        """

    async def permit(self) -> None:
        """Called right before the bytes leave that must not leave twice. What it raises is passed on unchanged, and
        nothing is sent: outbound was stopped, or the time for the call is over."""


async def connected(addresses: Iterable[str], port: int, name: str) -> socket.socket:
    """Connect to the first of these addresses that answers. Raises Retry when none does."""
    loop = asyncio.get_running_loop()
    failure = "it has no address"
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with contextlib.ExitStack() as unless_connected:
            one = unless_connected.enter_context(socket.socket(family, socket.SOCK_STREAM))
            one.setblocking(False)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                await loop.sock_connect(one, (address, port))
            except OSError as error:
                failure = error.strerror or type(error).__name__
                continue
            unless_connected.pop_all()
            return one
    raise Retry(f"no connection to {name}:{port}: {failure}", code="not_sent")


def endpoint_of(text: str) -> tuple[str, int]:
    """Read `imap.example.com:993` or `[::1]:993`. Raises Rejected naming what is none."""
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdecimal() or not 0 < int(port) < 65536:
        raise Rejected(f"{text!r} is not host:port", code="invalid_address")
    return host.strip("[]").lower().removesuffix("."), int(port)
