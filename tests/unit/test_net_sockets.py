"""Connections for protocols other than HTTP: where they may go, how long it may take, and what keeps bytes back."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any

import pytest

from gateway.net.addresses import AllowList
from gateway.net.deadline import calling
from gateway.net.sockets import GuardedSockets
from gateway_schemas.errors import Hold, Rejected, Retry
from gateway_schemas.sockets import endpoint_of


async def serving() -> tuple[asyncio.Server, int]:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


def sockets(places: Sequence[str], allow: Sequence[str] = (), **names: Sequence[str] | Exception) -> GuardedSockets:
    async def resolve(host: str, port: int) -> Sequence[str]:
        found = names.get(host.replace(".", "_"), [host])
        if isinstance(found, Exception):
            raise found
        return found

    return GuardedSockets(places, AllowList.parse(allow), resolve, ssl.create_default_context(), 1.0)


async def test_a_place_of_the_config_that_is_opened() -> None:
    server, port = await serving()
    async with server:
        opened = sockets([f"Mail.Example:{port}"], [f"mail.example:{port}"], mail_example=["127.0.0.1"])
        one = await opened.connect("mail.example", port)
        with one:
            assert await asyncio.get_running_loop().sock_recv(one, 10) == b"hello"


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["169.254.169.254"], ["::1"]])
async def test_no_address_of_this_network_unless_opened(addresses: list[str]) -> None:
    """Also where only one of several is such: that is how a check is got round."""
    with pytest.raises(Rejected) as caught:
        await sockets(["mail.example:993"], mail_example=addresses).connect("mail.example", 993)
    assert caught.value.code == "address_refused"


@pytest.mark.parametrize(("host", "port"), [("other.example", 993), ("mail.example", 25), ("127.0.0.1", 993)])
async def test_no_other_place_than_the_config_names(host: str, port: int) -> None:
    with pytest.raises(Rejected) as caught:
        await sockets(["mail.example:993"], ["127.0.0.0/8"]).connect(host, port)
    assert caught.value.code == "origin_refused"


async def test_nobody_there_and_no_such_name() -> None:
    server, port = await serving()
    server.close()
    await server.wait_closed()
    with pytest.raises(Retry) as caught:
        await sockets([f"mail.example:{port}"], ["127.0.0.1"], mail_example=["127.0.0.1"]).connect("mail.example", port)
    assert caught.value.code == "not_sent"
    with pytest.raises(Retry, match="resolved"):
        await sockets(["mail.example:993"], mail_example=OSError("no such name")).connect("mail.example", 993)


async def test_the_calls_deadline_is_the_connections() -> None:
    slow = sockets(["mail.example:993"])

    async def never(host: str, port: int) -> Any:
        await asyncio.sleep(60)

    slow._resolve = never
    assert slow.deadline is None
    with calling(seconds=0.01):
        assert slow.deadline is not None
        with pytest.raises(Retry, match="in time"):
            await slow.connect("mail.example", 993)
        with pytest.raises(Retry, match="over"):
            await slow.permit()
    await slow.permit()


async def test_a_stop_keeps_the_bytes_back() -> None:
    async def stopped() -> None:
        raise Hold("outbound is stopped")

    with calling(gate=stopped), pytest.raises(Hold):
        await sockets([]).permit()


@pytest.mark.parametrize(
    "text", ["mail.example", "mail.example:", "mail.example:0", ":993", "mail.example:99999", "x:٣"]
)
def test_what_is_no_place(text: str) -> None:
    with pytest.raises(Rejected):
        endpoint_of(text)


def test_places_are_compared_as_hosts_are() -> None:
    assert endpoint_of("[::1]:993") == ("::1", 993)
    assert endpoint_of("IMAP.Example.:143") == ("imap.example", 143)
