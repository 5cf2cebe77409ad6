"""A pytest plugin that closes the tests off: no network but this machine's own, no settings of whoever runs them, no
failure because the machine has much else to do.

A refused connection fails the test that tried it, also where the code under test swallowed the error. Only Python's
sockets are seen: C libraries that connect by themselves (libpq, libuv) get their addresses from tests alone.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
from httpx2._config import DEFAULT_TIMEOUT_CONFIG

hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("patient")

# what every HTTP client gets that does not say how long it waits: five seconds, less than the first reading of a text
# may take while other tests have the machine
for _phase in ("connect", "read", "write", "pool"):
    setattr(DEFAULT_TIMEOUT_CONFIG, _phase, 60.0)

_refused: list[str] = []
_active = False


class NetworkForbidden(RuntimeError):
    """A test tried to reach beyond this machine. Serve what it needs on loopback, with a twin."""


def _is_local(host: object) -> bool:
    """Whether the host is this machine, by address or by a name that needs no look-up."""
    if isinstance(host, bytes | bytearray):
        host = host.decode("ascii", "replace")
    if host in (None, "", "localhost"):
        return True
    try:
        address = ipaddress.ip_address(str(host).partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _is_numeric(host: object) -> bool:
    """Whether resolving the host asks nobody: an address in any notation that the C library reads."""
    try:
        socket.inet_aton(str(host))
    except OSError:
        try:
            ipaddress.ip_address(str(host).partition("%")[0])
        except ValueError:
            return False
    return True


def _refuse(what: str) -> None:
    _refused.append(what)
    raise NetworkForbidden(f"{what}: tests reach nothing beyond this machine")


def _guard(event: str, args: tuple[Any, ...]) -> None:
    if not _active or not event.startswith("socket."):
        return
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        sock, address = args
        if sock.family in (socket.AF_INET, socket.AF_INET6) and address is not None and not _is_local(address[0]):
            _refuse(f"{event} to {address[0]}:{address[1]}")
    elif event in ("socket.getaddrinfo", "socket.gethostbyname") and not (_is_local(args[0]) or _is_numeric(args[0])):
        _refuse(f"{event} of {args[0]!r}")


def _scrub() -> None:
    """Forget every setting that could point a test at something real."""
    for name in list(os.environ):
        if name.startswith(("GATEWAY_", "PG")) or name.lower().endswith("_proxy"):
            del os.environ[name]


def pytest_configure() -> None:
    """Called once before collection, in the controller and in each worker."""
    global _active
    _scrub()
    if not _active:
        sys.addaudithook(_guard)  # cannot be taken off again; `_active` switches it
        _active = True


def pytest_unconfigure() -> None:
    """Called once at the end: reports may go where they like."""
    global _active
    _active = False


@pytest.fixture(autouse=True)
def refused_connections() -> Iterator[list[str]]:
    """What this test tried to reach and was refused. It fails unless the test expected them and cleared the list."""
    _refused.clear()
    yield _refused
    if _refused:
        pytest.fail(f"reached beyond this machine: {', '.join(_refused)}")
