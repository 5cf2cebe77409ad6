"""Connections for plugins whose provider speaks no HTTP, behind the same guard and deadline as the client's."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence

from gateway.net.addresses import AllowList, normal_host
from gateway.net.deadline import call_expires, call_gate
from gateway.net.guard import Resolver, check_addresses
from gateway_schemas.errors import Rejected, Retry
from gateway_schemas.sockets import connected, endpoint_of

CONNECT_SECONDS = 5.0


class GuardedSockets:
    """Opens connections to the places of one connection's config, at public or opened addresses."""

    def __init__(
        self, places: Sequence[str], allow: AllowList, resolve: Resolver, tls: ssl.SSLContext, seconds: float
    ) -> None:
        self._places = frozenset((normal_host(host), port) for host, port in map(endpoint_of, places))
        self._allow = allow
        self._resolve = resolve
        self._tls = tls
        self._seconds = seconds

    @property
    def tls(self) -> ssl.SSLContext:
        """The context that the HTTP client has too."""
        return self._tls

    @property
    def deadline(self) -> float | None:
        """When the host's call of the plugin ends. None outside one, as for a stream that is listened to."""
        return call_expires()

    async def connect(self, host: str, port: int) -> socket.socket:
        """Resolve, check, connect. Raises as `gateway_schemas.sockets.Sockets.connect`."""
        if (normal_host(host), port) not in self._places:
            known = ", ".join(sorted(f"{name}:{number}" for name, number in self._places))
            raise Rejected(
                f"{host} (port {port}) is not among the servers this connection talks to: {known}. If it should be, "
                "change the connection's config",
                code="origin_refused",
            )
        now = asyncio.get_running_loop().time()
        until = min(now + min(CONNECT_SECONDS, self._seconds), self.deadline or now + self._seconds)
        try:
            async with asyncio.timeout_at(until):
                addresses = await self._resolve(host, port)
                check_addresses(self._allow, host, port, addresses)
                return await connected(addresses, port, host)
        except TimeoutError:
            raise Retry(f"{host}:{port} did not answer in time", code="not_sent") from None
        except (OSError, UnicodeError):
            raise Retry(f"{host} cannot be resolved", code="not_sent") from None

    async def permit(self) -> None:
        """Ask the call's gate, and whether there is time left. Raises what the gate raises, or Retry."""
        gate = call_gate()
        if gate is not None:
            await gate()
        expires = self.deadline
        if expires is not None and asyncio.get_running_loop().time() >= expires:
            raise Retry("the time for this call was over before anything was sent", code="not_sent")
