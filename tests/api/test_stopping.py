"""A stop is in force within a second, however many processes send, and says what goes on when it is lifted."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.net.client import calling
from gateway.pipeline.stops import StopGate
from gateway_inbound.twin import InboundTwin
from gateway_schemas.errors import Retry
from gateway_schemas.reply import Rendered
from gateway_schemas.source import Source
from gateway_schemas.testing.twin import Fault
from support.gateway import Gateway, fresh_database, running
from support.processes import process
from support.rest import KEY

SECRET = "whsec_" + "A" * 43 + "="
WORKERS = 4
FORUMS = 4


@contextlib.asynccontextmanager
async def forums(
    gateway: Gateway, count: int, items: int
) -> AsyncIterator[tuple[list[InboundTwin], list[str], httpx2.AsyncClient]]:
    """Connected systems with as many customers each, and their tickets."""
    headers = {"Authorization": f"Bearer {KEY}"}
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx2.AsyncClient(base_url=gateway.url, headers=headers, timeout=30))
        twins = []
        for number in range(count):
            twin = InboundTwin(signing_secret=SECRET, reply_secret=SECRET)
            await stack.enter_async_context(twin.serve())
            source = await gateway.add_connection(
                "source",
                "inbound",
                {"signing_secrets": [SECRET], "reply_url": twin.reply_url, "reply_secret": SECRET},
                name=f"forum-{number}",
            )
            twin.door = f"{gateway.url}/hooks/{source}"
            for item in range(items):
                twin.push(
                    {
                        "external_id": f"topic-{item}",
                        "kind": "post",
                        "author": {"external_id": f"user-{item}", "name": f"User {item}"},
                        "text": f"Topic {item}",
                        "published_at": f"2026-01-01T00:00:{item % 60:02}Z",
                    }
                )
            twins.append(twin)
        for twin in twins:
            await twin.settle()
        await gateway.quiet(60)
        tickets = [str(row["id"]) for row in await gateway.rows("SELECT id FROM ticket ORDER BY connection_id, id")]
        yield twins, tickets, http


async def answer(http: httpx2.AsyncClient, ticket: str, text: str) -> None:
    """Somebody answers over REST."""
    made = await http.post(f"/v1/tickets/{ticket}/replies", json={"text": text})
    assert made.status_code == 202, made.text


@pytest.mark.slow
async def test_nothing_leaves_a_second_after_the_stop_with_four_processes_sending(
    server_url: str, tmp_path: Path
) -> None:
    async with (
        fresh_database(server_url) as url,
        running(url, tmp_path, worker=False, mass_replies=0, max_in_flight=2) as gateway,
        contextlib.AsyncExitStack() as stack,
    ):
        for _ in range(WORKERS):
            await stack.enter_async_context(process(gateway.runtime.settings, "worker"))
        async with forums(gateway, FORUMS, 40) as (twins, tickets, http):
            # each call takes a while, so that sending goes on for longer than the stop needs
            for twin in twins:
                twin.faults.append(Fault("latency", path="/replies", method="POST", seconds=0.15, times=None))
            for number, ticket in enumerate(tickets):
                await answer(http, ticket, f"Answer {number}")

            async def under_way() -> bool:
                return all(len(twin.replies) >= 2 for twin in twins)

            await gateway.until(under_way, "all four are sending", 60)
            stopped = await http.post("/v1/outbound/pause", json={"reason": "a slip-up"})
            at = datetime.now(UTC)
            assert stopped.status_code == 200
            await asyncio.sleep(3)  # anything that still leaves would do so now
            sent = [one.at for twin in twins for one in twin.ledger if one.kind == "reply.created"]
            late = [one for one in sent if one > at + timedelta(seconds=1)]
            assert late == []
            assert len(sent) < len(tickets), "the stop came too late to test anything"
            states = await gateway.rows("SELECT state, count(*) AS many FROM reply GROUP BY state")
            counts = {row["state"]: row["many"] for row in states}
            assert counts["sent"] == len(sent), counts
            assert counts["queued"] == len(tickets) - len(sent), counts
            # connections are none the worse for it
            assert await gateway.value("SELECT sum(failures) FROM connection") == 0
            await http.post("/v1/outbound/resume", json={})

            async def all_sent() -> bool:
                return sum(len(twin.replies) for twin in twins) == len(tickets)

            await gateway.until(all_sent, "all is sent", 90)
            texts = sorted(one["text"] for twin in twins for one in twin.replies.values())
            assert texts == sorted(f"Answer {number}" for number in range(len(tickets)))


async def test_what_waited_goes_on_as_far_as_it_is_released(server_url: str, tmp_path: Path) -> None:
    async with (
        fresh_database(server_url) as url,
        running(url, tmp_path, mass_replies=0) as gateway,
        forums(gateway, 1, 3) as ([twin], tickets, http),
    ):

        async def state(text: str) -> Any:
            rows = await gateway.rows("SELECT * FROM reply WHERE text = :text", text=text)
            return rows[0] if rows else {"state": None}

        async def reached(text: str, wanted: str) -> Any:
            async def there() -> Any:
                row = await state(text)
                return row if row["state"] == wanted else None

            return await gateway.until(there, f"{text} is {wanted}")

        async def approve(row: Any) -> None:
            given = {"digest": row["digest"]}
            assert (await http.post(f"/v1/replies/{row['id']}/approve", json=given)).status_code == 200

        assert (await http.post("/v1/outbound/pause", json={"reason": "slip"})).status_code == 200
        await answer(http, tickets[0], "first")
        await reached("first", "queued")
        lifted = await http.post("/v1/outbound/resume?release=none", json={})
        assert (lifted.status_code, lifted.json()["released"]) == (200, "none")
        held = await reached("first", "held")
        assert held["code"] == "stopped"

        # approved during the next stop, it goes with "approved"; the other does not
        await http.post("/v1/outbound/pause", json={})
        await approve(held)
        await reached("first", "queued")
        await answer(http, tickets[1], "second")
        await reached("second", "queued")
        await http.post("/v1/outbound/resume?release=approved", json={})
        await reached("first", "sent")
        other = await reached("second", "held")

        # what has waited too long needs a person's word, also when all goes
        await http.post("/v1/outbound/pause", json={})
        await approve(other)
        await answer(http, tickets[2], "third")
        await reached("second", "queued")
        await reached("third", "queued")
        await gateway.execute("UPDATE reply SET not_after = now() - interval '1 s' WHERE text = 'third'")
        await http.post("/v1/outbound/resume?release=all", json={})
        await reached("second", "sent")
        assert (await reached("third", "held"))["code"] == "expired"
        assert sorted(one["text"] for one in twin.replies.values()) == ["first", "second"]
        assert (await http.post("/v1/outbound/resume?release=some", json={})).status_code == 422


async def test_a_stop_for_an_incident_or_a_tag_stops_its_tickets_alone(server_url: str, tmp_path: Path) -> None:
    async with (
        fresh_database(server_url) as url,
        running(url, tmp_path, mass_replies=0) as gateway,
        forums(gateway, 1, 3) as ([twin], tickets, http),
    ):
        tags = {tickets[0]: ["incident:outage-7"], tickets[1]: ["vip"]}
        for ticket, given in tags.items():
            await gateway.execute("UPDATE ticket SET tags = :tags WHERE id::text = :id", tags=given, id=ticket)
        for stop in ({"scope": "incident", "id": "outage-7"}, {"scope": "tag", "id": "vip"}):
            assert (await http.post("/v1/outbound/pause", json=stop)).status_code == 200
        for number, ticket in enumerate(tickets):
            await answer(http, ticket, f"Answer {number}")

        async def texts(*wanted: str) -> None:
            async def there() -> bool:
                return sorted(one["text"] for one in twin.replies.values()) == sorted(wanted)

            await gateway.until(there, f"{wanted} are out")

        await texts("Answer 2")
        await http.post("/v1/outbound/resume", json={"scope": "incident", "id": "outage-7"})
        await texts("Answer 2", "Answer 0")
        await http.post("/v1/outbound/resume?release=none", json={"scope": "tag", "id": "vip"})
        rows = await gateway.rows("SELECT state FROM reply WHERE text = 'Answer 1'")
        assert rows[0]["state"] == "held"


async def test_a_stop_counts_until_the_first_byte_leaves(server_url: str, tmp_path: Path) -> None:
    """A reply that is claimed already, and waits for its budget or a connection, is kept back all the same."""
    async with (
        fresh_database(server_url) as url,
        running(url, tmp_path, mass_replies=0) as gateway,
        forums(gateway, 1, 1) as ([twin], tickets, http),
    ):
        await gateway.pause()
        await answer(http, tickets[0], "too late")

        async def queued() -> Any:
            return await gateway.rows("SELECT * FROM reply WHERE state = 'queued'")

        [row] = await gateway.until(queued, "it is queued")
        runtime = gateway.runtime
        endpoint = (await runtime.connections.load([row["connection_id"]]))[row["connection_id"]]
        source = runtime.connections.instance(endpoint, outgoing=runtime.outgoing)
        assert isinstance(source, Source)
        rendered = Rendered.model_validate(row["rendered"])
        with calling(lane="reply", seconds=5, gate=StopGate(runtime.database, row["id"])), pytest.raises(Retry) as kept:
            await source.send(rendered, row["key"])
        assert kept.value.code == "stopped"
        assert twin.replies == {}
        assert twin.requests == []
        await gateway.lift()
        with calling(lane="reply", seconds=5, gate=StopGate(runtime.database, row["id"])):
            await source.send(rendered, row["key"])
        assert len(twin.replies) == 1
