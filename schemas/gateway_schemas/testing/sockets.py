"""Connections on this machine, for tests of plugins that do not speak HTTP."""

from __future__ import annotations

import asyncio
import socket
import ssl

from gateway_schemas.sockets import connected


class DirectSockets:
    """Connections without a guard, for tests of plugins and for twins on this machine."""

    def __init__(self, tls: ssl.SSLContext | None = None, *, seconds: float | None = 5.0) -> None:
        self._tls = tls
        self._seconds = seconds
        self.opened: list[tuple[str, int]] = []

    @property
    def tls(self) -> ssl.SSLContext:
        """The context given, else the system's."""
        return self._tls or ssl.create_default_context()

    @property
    def deadline(self) -> float | None:
        """That many seconds from now."""
        return None if self._seconds is None else asyncio.get_running_loop().time() + self._seconds

    async def connect(self, host: str, port: int) -> socket.socket:
        """Connect to an address of this machine."""
        self.opened.append((host, port))
        return await connected([host], port, host)

    async def permit(self) -> None:
        """Always."""
