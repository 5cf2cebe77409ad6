"""The tests' own fence holds: a real provider is never called, a real database is never written to."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from support.hermetic import NetworkForbidden
from support.repository import ROOT

ELSEWHERE = [("192.0.2.1", 443), ("10.0.0.1", 80), ("0.0.0.0", 80), ("169.254.169.254", 80)]  # the first is TEST-NET-1


@pytest.mark.parametrize("address", ELSEWHERE, ids=lambda address: address[0])
def test_connecting_elsewhere_is_refused(address: tuple[str, int], refused_connections: list[str]) -> None:
    with socket.socket() as sock, pytest.raises(NetworkForbidden):
        sock.connect(address)
    with socket.socket(type=socket.SOCK_DGRAM) as sock, pytest.raises(NetworkForbidden):
        sock.sendto(b"", address)
    refused_connections.clear()


async def test_asking_for_a_name_is_refused(refused_connections: list[str]) -> None:
    with pytest.raises(NetworkForbidden):
        await asyncio.open_connection("gateway.invalid", 443)
    assert refused_connections == ["socket.getaddrinfo of 'gateway.invalid'"]
    refused_connections.clear()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_loopback_stays_open(host: str) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    async with await asyncio.start_server(greet, host, 0) as server:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection(host, port)
        assert await reader.read() == b"hello"
        writer.close()
        await writer.wait_closed()


async def test_unix_sockets_stay_open(tmp_path: Path) -> None:
    async def end(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    path = str(tmp_path / "s")
    async with await asyncio.start_unix_server(end, path):
        reader, writer = await asyncio.open_unix_connection(path)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


SWALLOWS = """
import os, socket

def test_swallows_the_error():
    try:
        socket.create_connection(("192.0.2.1", 443), timeout=1)
    except Exception:
        pass

def test_sees_no_settings():
    assert [name for name in os.environ if name.startswith(("GATEWAY_", "PG")) or name.lower() == "https_proxy"] == []
"""


def test_a_swallowed_refusal_and_a_real_environment(tmp_path: Path) -> None:
    """Code that records every error would hide a call to a real provider; the test that made it fails all the same."""
    (tmp_path / "test_inner.py").write_text(SWALLOWS)
    real = {"GATEWAY_DATABASE_URL": "postgresql://real", "PGHOST": "real.invalid", "HTTPS_PROXY": "http://real.invalid"}
    command = [sys.executable, "-m", "pytest", "-p", "support.hermetic", "-p", "no:cacheprovider", "-q", str(tmp_path)]
    done = subprocess.run(
        [*command, "--rootdir", str(tmp_path), "-c", os.devnull],
        cwd=tmp_path,
        env=os.environ | real | {"PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "reached beyond this machine: socket.connect to 192.0.2.1:443" in done.stdout, done.stdout + done.stderr
    assert "2 passed, 1 error" in done.stdout
