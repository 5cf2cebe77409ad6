"""A source's stream is followed by one process at a time, for as long as it may be, and begun again when it ends."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import pytest

from support.gateway import Gateway, fresh_database, running
from support.plugins import MODULE

KEY = {"Authorization": "Bearer a-key-for-tests-only"}


class Radio:
    """The station, and the gateway that listens to it."""

    def __init__(self, gateway: Gateway, station: Path, id: UUID) -> None:
        self.gateway = gateway
        self.station = station
        self.id = id

    def announce(self, *orders: str) -> None:
        """Write lines to the stream."""
        with self.station.open("a") as lines:
            lines.write("".join(f"{order}\n" for order in orders))

    def listeners(self) -> list[str]:
        """Who came and went."""
        file = self.station.with_suffix(".listeners")
        return file.read_text().split() if file.exists() else []

    async def heard(self) -> list[str]:
        """The ids that were recorded."""
        rows = await self.gateway.rows("SELECT external_id FROM interaction ORDER BY external_id")
        return [row["external_id"] for row in rows]

    async def until_heard(self, *ids: str) -> None:
        """Wait until exactly these are recorded."""

        async def heard() -> bool:
            return await self.heard() == sorted(ids)

        await self.gateway.until(heard, f"{ids} are recorded", 30)

    async def until_listeners(self, *marks: str) -> None:
        """Wait for people to come and go."""

        async def there() -> bool:
            return self.listeners() == list(marks)

        await self.gateway.until(there, f"listeners are {marks}", 30)

    async def stream(self) -> dict[str, Any]:
        """What the connection's health says of its stream."""
        async with httpx2.AsyncClient(base_url=self.gateway.url, headers=KEY, trust_env=False) as http:
            shown: dict[str, Any] = (await http.get(f"/v1/connections/{self.id}")).json()
        found: dict[str, Any] = shown["health"]["stream"]
        return found

    async def call(self, action: str) -> None:
        """Do something with the connection over REST."""
        async with httpx2.AsyncClient(base_url=self.gateway.url, headers=KEY, trust_env=False) as http:
            assert (await http.post(f"/v1/connections/{self.id}/{action}")).status_code == 200


@pytest.fixture
async def radio(server_url: str, tmp_path: Path) -> AsyncIterator[Radio]:
    """A station that is listened to."""
    station = tmp_path / "station"
    station.touch()
    async with (
        fresh_database(server_url) as url,
        running(url, tmp_path, plugin_modules=(MODULE,)) as gateway,
    ):
        made = Radio(gateway, station, await gateway.add_connection("source", "radio", {"station": str(station)}))
        await made.until_listeners("on")
        yield made


async def test_what_a_stream_carries_is_stored_as_a_delivery_and_what_it_hints_at_is_polled(radio: Radio) -> None:
    radio.announce("say a")
    await radio.until_heard("a")
    assert await radio.gateway.value("SELECT origin FROM delivery") == "listen"
    radio.station.with_suffix(".posts").write_text("b c")
    radio.announce("hint")
    await radio.until_heard("a", "b", "c")
    assert (await radio.gateway.rows("SELECT DISTINCT origin FROM delivery ORDER BY 1"))[-1]["origin"] == "poll"
    stream = await radio.stream()
    assert (stream["following"], stream["failures"], stream["reason"]) == (True, 0, None)
    assert stream["hinted_at"] is not None


@pytest.mark.parametrize(
    ("order", "reason"),
    [("end", "stream_ended: the provider ended the stream"), ("break", "broken: the stream broke")],
)
async def test_a_stream_that_ends_or_breaks_is_begun_again_later_and_says_so(
    radio: Radio, order: str, reason: str
) -> None:
    radio.announce(order)
    await radio.until_listeners("on", "off")

    async def noted() -> dict[str, Any] | None:
        stream = await radio.stream()
        return stream if stream["failures"] == 1 else None

    stream = await radio.gateway.until(noted, "its health says so")
    assert stream["reason"] == reason
    assert stream["next_at"] > stream["since"]
    await radio.until_listeners("on", "off", "on")
    radio.announce("say a")
    await radio.until_heard("a")
    assert (await radio.stream())["failures"] == 0


async def test_a_paused_connection_is_not_listened_to_and_a_resumed_one_is_again(radio: Radio) -> None:
    await radio.call("pause")
    await radio.until_listeners("on", "off")
    radio.announce("say a")
    assert (await radio.stream())["following"] is False
    await radio.call("resume")
    await radio.until_listeners("on", "off", "on")
    radio.announce("say b")
    await radio.until_heard("b")


async def test_a_changed_connection_is_listened_to_as_it_is_now(radio: Radio) -> None:
    other = radio.station.with_name("other")
    other.touch()
    await radio.gateway.change_config(radio.id, station=str(other))
    await radio.until_listeners("on", "off")
    radio.station = other
    await radio.until_listeners("on")
    radio.announce("say a")
    await radio.until_heard("a")


async def test_one_process_listens_and_another_takes_over_when_it_ends(server_url: str, tmp_path: Path) -> None:
    station = tmp_path / "station"
    station.touch()
    async with fresh_database(server_url) as url, contextlib.AsyncExitStack() as first:
        gateway = await first.enter_async_context(running(url, tmp_path, plugin_modules=(MODULE,)))
        radio = Radio(gateway, station, await gateway.add_connection("source", "radio", {"station": str(station)}))
        await radio.until_listeners("on")
        async with running(url, tmp_path, plugin_modules=(MODULE,)) as second:
            radio.announce("say a")
            await radio.until_heard("a")
            assert radio.listeners() == ["on"], "the lease keeps the second from listening, too"
            await first.aclose()
            radio.gateway = second
            await radio.until_listeners("on", "off", "on")
            radio.announce("say b")
            await radio.until_heard("a", "b")


async def test_a_holder_whose_lease_was_taken_writes_nothing_and_leaves(radio: Radio) -> None:
    await radio.gateway.execute(
        """UPDATE lease SET owner = 'another', epoch = epoch + 1, until = now() + interval '5 seconds'
           WHERE name = :name""",
        name=f"listen:{radio.id}",
    )
    radio.announce("say a")
    await radio.until_listeners("on", "off")
    assert await radio.heard() == []
    # the other one's lease ends, for it was never there
    await radio.until_listeners("on", "off", "on")


async def test_a_fault_of_our_own_is_shown_on_the_connection_and_ends_with_its_cause(radio: Radio) -> None:
    await radio.call("pause")
    await radio.until_listeners("on", "off")
    await radio.gateway.execute("ALTER TABLE listener ADD CONSTRAINT broken CHECK (since < '2000-01-01') NOT VALID")
    await radio.call("resume")

    async def shown() -> bool:
        return "listen broke with IntegrityError" in (
            await radio.gateway.value("SELECT blocked_reason FROM connection WHERE id = :id", id=radio.id) or ""
        )

    await radio.gateway.until(shown, "the connection says so", 30)
    await radio.gateway.execute("ALTER TABLE listener DROP CONSTRAINT broken")
    await radio.until_listeners("on", "off", "on")
