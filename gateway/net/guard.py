"""The guard against requests to places they have no business at (server-side request forgery).

It works where connections are made: the name is resolved once, every address it resolves to is checked, and the
connection goes to an address that was checked. A name that answers differently the second time gains nothing, and TLS
still checks the certificate against the name. As it is part of the transport, each hop of a redirect passes it anew.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Any

import httpcore2
import httpx2

from gateway.net.addresses import AllowList, kind_of, normal_host
from gateway_schemas.errors import Rejected

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host, in the order to try them. Raises OSError when there are none."""

Origin = tuple[str, str, int]

_PORTS = {"http": 80, "https": 443}


def origin_of(url: httpx2.URL) -> Origin:
    """Scheme, host and port of a URL, in the form they are compared in."""
    return url.scheme, normal_host(url.raw_host.decode("ascii")), url.port or _PORTS.get(url.scheme, 0)


def parse_origins(base_urls: Iterable[str]) -> frozenset[Origin]:
    """The origins of a connection's base URLs; `https://*.cdn.example` stands for every host below `cdn.example`.

    Raises ValueError for one that is no absolute http(s) URL, or whose wildcard leaves less than two labels.
    """
    origins = set()
    for base in base_urls:
        wild = "://*." in base
        try:
            url = httpx2.URL(base.replace("://*.", "://", 1))
        except httpx2.InvalidURL:
            raise ValueError(f"{base!r} is no URL") from None
        if url.scheme not in _PORTS or not url.host:
            raise ValueError(f"{base!r} is no absolute http or https URL")
        scheme, host, port = origin_of(url)
        if wild and "." not in host.strip("."):
            raise ValueError(f"{base!r} names every host of a top-level domain")
        origins.add((scheme, f"*.{host}" if wild else host, port))
    return frozenset(origins)


def _among(origin: Origin, origins: frozenset[Origin]) -> bool:
    scheme, host, port = origin
    if origin in origins:
        return True
    labels = host.split(".")
    return any((scheme, "*." + ".".join(labels[cut:]), port) in origins for cut in range(1, len(labels) - 1))


class GuardTransport(httpx2.AsyncBaseTransport):
    """Lets through requests to http(s) URLs without credentials in them, at the origins the connection names."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, origins: frozenset[Origin]) -> None:
        self._inner = inner
        self._origins = origins

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Check and pass on. Raises Rejected with code `address_refused` or `origin_refused`."""
        url = request.url
        if url.scheme not in _PORTS or not url.host:
            raise Rejected(
                f"Requests go to absolute http or https URLs, not to {url.scheme or 'relative'} ones",
                code="address_refused",
            )
        if url.userinfo:
            raise Rejected(
                f"The URL to {url.host} has credentials in it, where they end up in logs; "
                "put them into the connection's secret fields",
                code="address_refused",
            )
        if self._origins and not _among(origin_of(url), self._origins):
            known = ", ".join(sorted(f"{scheme}://{host}:{port}" for scheme, host, port in self._origins))
            raise Rejected(
                f"{url.host} (port {origin_of(url)[2]}, {url.scheme}) is not among the addresses this connection talks "
                f"to: {known}. If it should be, change the connection's config",
                code="origin_refused",
            )
        return await self._inner.handle_async_request(request)


class GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Opens connections to addresses that are public or opened by the list, and to nothing else."""

    def __init__(self, allow: AllowList, resolve: Resolver) -> None:
        self._allow = allow
        self._resolve = resolve
        self._network = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Resolve, check, connect; the addresses of a host share the time there is.

        Raises Rejected with code `address_refused` if only one of them is not allowed: a name with a public and a
        private address is how a check is got round.
        """
        loop = asyncio.get_running_loop()
        until = None if timeout is None else loop.time() + timeout
        try:
            async with asyncio.timeout_at(until):
                addresses = await self._resolve(host, port)
        except TimeoutError:
            raise httpcore2.ConnectTimeout(f"{host} was not resolved in time") from None
        except (OSError, UnicodeError):
            raise httpcore2.ConnectError(f"{host} cannot be resolved") from None
        check_addresses(self._allow, host, port, addresses)
        failure: Exception = httpcore2.ConnectError(f"{host} has no address")
        for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            share = None if until is None else max(0.0, until - loop.time()) / left
            try:
                stream = await self._network.connect_tcp(address, port, share, local_address, socket_options)
                return _Stream(stream)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure

    async def sleep(self, seconds: float) -> None:
        """Wait; the connection pool's retries ask for it."""
        await asyncio.sleep(seconds)


def check_addresses(allow: AllowList, host: str, port: int, addresses: Sequence[str]) -> None:
    """Raises Rejected with code `address_refused` if only one of a host's addresses is neither public nor opened."""
    for text in addresses:
        address = ipaddress.ip_address(text)
        if not allow.opens(address, host, port):
            raise Rejected(
                f"{host} leads to {address}, a {kind_of(address)} address. If this connection is meant to talk to "
                f"it, add it to the connection's allow_private list, as host:port or as an address range",
                code="address_refused",
            )


class _Stream(httpcore2.AsyncNetworkStream):
    """A connection that is closed when a deadline interrupts its TLS handshake; httpcore leaves the socket open."""

    def __init__(self, inner: httpcore2.AsyncNetworkStream) -> None:
        self._inner = inner

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._inner.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.AsyncNetworkStream:
        async with AsyncExitStack() as unless_encrypted:
            unless_encrypted.push_async_callback(self._inner.aclose)
            stream = await self._inner.start_tls(ssl_context, server_hostname, timeout)
            unless_encrypted.pop_all()
        return stream


class SystemResolver:
    """The operating system's resolver, in threads of its own, one look-up per name at a time.

    A name server that does not answer holds its thread for many seconds. Apart from the event loop's other threads, and
    with one thread per name however many requests wait for it, that delays nobody else.
    """

    def __init__(self, threads: int = 16) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="resolve")
        self._running: dict[tuple[str, int], asyncio.Future[list[str]]] = {}

    async def __call__(self, host: str, port: int) -> list[str]:
        """The addresses of `host`. Raises OSError, or UnicodeError for a name that cannot be one."""
        running = self._running.get((host, port))
        if running is None:
            running = asyncio.get_running_loop().run_in_executor(self._threads, _look_up, host, port)
            self._running[host, port] = running
            running.add_done_callback(lambda done: self._done(host, port, done))
        return await asyncio.shield(running)

    def _done(self, host: str, port: int, done: asyncio.Future[list[str]]) -> None:
        del self._running[host, port]
        if not done.cancelled():
            done.exception()  # whoever asked may have given up: then nobody else collects it

    def close(self) -> None:
        """Let the threads end; a look-up that hangs is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
