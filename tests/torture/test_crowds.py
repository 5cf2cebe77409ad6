"""A crowd under one post, and a helpdesk that was away for hours: limits hold, order holds, nobody else waits."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import pytest

from gateway_inbound.twin import InboundTwin
from gateway_schemas.testing.twin import Fault
from gateway_schemas.time import SharedTime
from gateway_zendesk.twin import ZendeskTwin
from support.gateway import Gateway, fresh_database, running
from support.rest import KEY

SECRET = "whsec_" + "A" * 43 + "="
START = datetime(2026, 3, 12, 10, 0, tzinfo=UTC)


@contextlib.asynccontextmanager
async def installation(url: str, folder: Path, time: SharedTime, **settings: Any) -> AsyncIterator[Gateway]:
    """A gateway on virtual time."""
    settings = {"time_file": time.path, "call_timeout": 10.0, "lease_seconds": 10.0, **settings}
    async with fresh_database(url) as database, running(database, folder, **settings) as gateway:
        yield gateway


async def connect(
    gateway: Gateway, time: SharedTime, stack: contextlib.AsyncExitStack, name: str
) -> tuple[InboundTwin, ZendeskTwin, UUID]:
    """A system with customers and the helpdesk that owns its tickets, with Zendesk's limits."""
    forum = InboundTwin(signing_secret=SECRET, reply_secret=SECRET, time=time)
    desk = ZendeskTwin(time=time)
    await stack.enter_async_context(forum.serve())
    await stack.enter_async_context(desk.serve())
    helpdesk = await gateway.add_connection(
        "helpdesk", "zendesk", {"base_url": desk.url, "email": desk.email, "api_token": desk.token}, name=f"desk-{name}"
    )
    source = await gateway.add_connection(
        "source",
        "inbound",
        {"signing_secrets": [SECRET], "reply_url": forum.reply_url, "reply_secret": SECRET},
        name=f"forum-{name}",
        helpdesk=helpdesk,
    )
    forum.door = f"{gateway.url}/hooks/{source}"
    await gateway.install(helpdesk)
    return forum, desk, helpdesk


def said(id: str, who: str, text: str, at: datetime, **more: Any) -> dict[str, Any]:
    """A comment in the shape of the generic webhook."""
    return {
        "external_id": id,
        "kind": "comment" if "in_reply_to" in more else "post",
        "author": {"external_id": who, "name": who.title()},
        "text": text,
        "published_at": at.isoformat(),
        **more,
    }


async def tell(forum: InboundTwin, items: list[dict[str, Any]]) -> None:
    """Push many at once."""
    for start in range(0, len(items), 100):
        forum.batch([forum.event("interaction.created", one) for one in items[start : start + 100]])
        for one in items[start : start + 100]:
            forum.items[one["external_id"]] = one
        await forum.settle()


def within_limits(desk: ZendeskTwin) -> bool:
    """Whether the helpdesk never had to refuse anything."""
    return not [one for one in desk.requests if one[2] == 429]


async def told_after(gateway: Gateway, desk: ZendeskTwin, text: str, time: SharedTime, seconds: float) -> timedelta:
    """How long it takes, in virtual time, until the helpdesk shows a text."""
    began = time.now()

    async def there() -> bool:
        return any(text in one.body for ticket in desk.tickets.values() for one in ticket.comments)

    await gateway.until(there, f"{text} is told", seconds)
    return time.now() - began


async def pause(gateway: Gateway, helpdesk: UUID, paused: bool) -> None:
    """Let the helpdesk's backlog grow, or go."""
    await gateway.execute(
        "UPDATE connection SET paused_out = :paused, version = version + 1 WHERE id = :id", paused=paused, id=helpdesk
    )
    gateway.runtime.connections.forget(helpdesk)


@pytest.mark.torture
async def test_four_thousand_commenters_get_a_ticket_each_within_the_limits_and_starve_nobody(
    server_url: str, tmp_path: Path
) -> None:
    """All comment under one post of the brand; a customer with an open ticket, and a new one, write last."""
    size = 4_000
    time = SharedTime.create(tmp_path / "time", at=START, speed=20.0)
    async with installation(server_url, tmp_path, time) as gateway, contextlib.AsyncExitStack() as stack:
        forum, desk, helpdesk = await connect(gateway, time, stack, "one")
        await tell(forum, [said("own-1", "olga", "my parcel is stuck", time.now())])
        await told_after(gateway, desk, "my parcel is stuck", time, 60)
        await pause(gateway, helpdesk, True)
        root = {"in_reply_to": "brand-post", "root": "brand-post", "root_owner": "brand"}
        await tell(forum, [said("brand-post", "brand", "Our new terms", time.now(), direction="outbound")])
        await tell(forum, [said(f"c-{n}", f"user{n}", f"Shame on you {n}", time.now(), **root) for n in range(size)])
        own = {"in_reply_to": "own-1", "root": "own-1"}
        await tell(forum, [said("own-2", "olga", "and now it is broken", time.now(), **own)])
        await tell(forum, [said("new-1", "nora", "where is my invoice", time.now())])

        async def threaded() -> bool:
            return bool(await gateway.value("SELECT count(*) FROM push WHERE kind = 'comment'") == size + 3)

        await gateway.until(threaded, "all of it waits", 600)
        await pause(gateway, helpdesk, False)
        for text in ("and now it is broken", "where is my invoice"):
            assert await told_after(gateway, desk, text, time, 120) < timedelta(minutes=5)
        waiting = "SELECT count(*) FROM push WHERE state IN ('pending', 'in_flight', 'job') AND kind = 'comment'"
        assert await gateway.value(waiting) > size / 4, "the crowd was gone before it could starve anybody"

        async def all_told() -> bool:
            return len(desk.tickets) >= size + 2 and await gateway.value(waiting) == 0

        await gateway.until(all_told, "everybody has a ticket", 1_500)
        assert len(desk.tickets) == size + 2
        bodies = Counter(ticket.comments[0].body for ticket in desk.tickets.values())
        assert max(bodies.values()) == 1
        assert len(desk.tickets[1].comments) == 2
        assert within_limits(desk)
        assert await gateway.value("SELECT count(*) FROM push WHERE state = 'failed'") == 0


@pytest.mark.torture
async def test_a_helpdesk_away_for_six_hours_is_caught_up_with_and_delays_nobody_else(
    server_url: str,
    tmp_path: Path,
) -> None:
    tickets, messages = 1_000, 10
    time = SharedTime.create(tmp_path / "time", at=START, speed=20.0)
    async with (
        installation(server_url, tmp_path, time, reply_ttl_hours=4.0, mass_replies=0) as gateway,
        contextlib.AsyncExitStack() as stack,
    ):
        forum, desk, away = await connect(gateway, time, stack, "away")
        other, fine, _ = await connect(gateway, time, stack, "fine")
        fault = Fault("status_before", path="/api/v2/", status=503, times=None)
        desk.faults.append(fault)
        await gateway.pause()
        for turn in range(messages):
            items = []
            for n in range(tickets):
                more = {"in_reply_to": f"p-{n}-0", "root": f"p-{n}-0"} if turn else {}
                items.append(said(f"p-{n}-{turn}", f"user{n}", f"Matter {n} part {turn}", time.now(), **more))
            await tell(forum, items)

        async def threaded() -> bool:
            rows = await gateway.value(
                "SELECT count(*) FROM push WHERE helpdesk_id = :id AND kind = 'comment'", id=away
            )
            return bool(rows == tickets * messages)

        await gateway.until(threaded, "all of it waits", 900)
        # answers that somebody gave meanwhile, over REST
        for row in await gateway.rows("SELECT id FROM ticket WHERE helpdesk_id = :id ORDER BY id LIMIT 20", id=away):
            await _answer(gateway, row["id"])
        await tell(other, [said("q-1", "quinn", "is anybody there", time.now())])
        assert await told_after(gateway, fine, "is anybody there", time, 60) < timedelta(minutes=5)
        time.jump(START + timedelta(hours=6))
        await gateway.lift()
        desk.faults.remove(fault)
        await tell(other, [said("q-2", "quentin", "and now", time.now())])
        assert await told_after(gateway, fine, "and now", time, 60) < timedelta(minutes=5)

        async def caught_up() -> bool:
            open_ = "SELECT count(*) FROM push WHERE helpdesk_id = :id AND state IN ('pending', 'in_flight', 'job')"
            return await gateway.value(open_ + " AND due_at <= :now", id=away, now=time.now()) == 0

        await gateway.until(caught_up, "the helpdesk has it all", 1500)
        assert within_limits(desk)
        assert len(desk.tickets) == tickets
        for ticket in desk.tickets.values():
            texts = [one.body for one in ticket.comments if one.public]
            assert len(texts) == 2, "the first message, and the rest as one digest"
            number = texts[0].split()[1]
            assert [f"Matter {number} part {turn}" in "\n".join(texts) for turn in range(messages)] == [True] * messages
        held = await gateway.rows("SELECT state, code FROM reply")
        assert {(row["state"], row["code"]) for row in held} == {("held", "expired")}
        assert forum.replies == {}


async def _answer(gateway: Gateway, ticket: UUID) -> None:
    async with httpx2.AsyncClient(base_url=gateway.url, headers={"Authorization": f"Bearer {KEY}"}) as http:
        made = await http.post(f"/v1/tickets/{ticket}/replies", json={"text": "We are looking into it."})
        assert made.status_code == 202, made.text
