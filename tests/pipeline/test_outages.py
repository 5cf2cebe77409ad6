"""Promises 2, 4 and 10 through outages of a helpdesk: nothing lost, nothing doubled, said where one looks, and nobody
else the worse for it. Time is virtual: an hour of it passes while the gateway tries again a few times."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
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

SECRET = "whsec_" + "A" * 43 + "="


@dataclass
class Side:
    """A forum and the helpdesk that its matters go to."""

    forum: InboundTwin
    desk: ZendeskTwin
    helpdesk: UUID

    def complain(self, number: int) -> None:
        """A customer writes."""
        self.forum.push(
            {
                "external_id": f"topic-{number}",
                "kind": "post",
                "author": {"external_id": "rita", "name": "Rita"},
                "text": f"Matter {number}",
                "published_at": "2026-01-01T00:00:00Z",
            }
        )

    def told(self) -> list[str]:
        """What stands on the tickets, in order of its words."""
        comments = [comment for ticket in self.desk.tickets.values() for comment in ticket.comments]
        return sorted(comment.body.split("\n\nhttp")[0] for comment in comments)


@dataclass
class Scene:
    """Two helpdesks with a forum each: one that will be in trouble, and another."""

    gateway: Gateway
    clock: SharedTime
    struck: Side
    other: Side

    async def health(self) -> dict[str, Any]:
        """The struck helpdesk's connection as the REST API shows it."""
        async with self.rest() as http:
            shown: dict[str, Any] = (await http.get(f"/v1/connections/{self.struck.helpdesk}")).json()
        health: dict[str, Any] = shown["health"]
        return health

    def rest(self) -> httpx2.AsyncClient:
        """An admin's client."""
        headers = {"Authorization": "Bearer a-key-for-tests-only"}
        return httpx2.AsyncClient(base_url=self.gateway.url, headers=headers, trust_env=False)

    async def problems(self) -> list[str]:
        """What tickets say of not being told."""
        rows = await self.gateway.rows("SELECT problem FROM ticket WHERE problem IS NOT NULL ORDER BY id")
        return [row["problem"] for row in rows]

    async def until(self, check: Callable[[], Any], what: str) -> None:
        """Wait for the twins or the gateway."""

        async def holds() -> bool:
            found = check()
            return bool(await found if asyncio.iscoroutine(found) else found)

        await self.gateway.until(holds, what, 40)

    async def other_works(self, number: int) -> None:
        """The other connection's matters arrive meanwhile."""
        self.other.complain(number)
        await self.until(lambda: f"Matter {number}" in self.other.told(), "the other helpdesk is told")

    async def recovered(self, matters: int) -> None:
        """Everything is there once, and nothing is said to be wrong any more."""
        # a try may be due later than now; time passes
        self.clock.set_speed(30)
        await self.until(lambda: len(self.struck.told()) >= matters, "the backlog is at the helpdesk")
        self.clock.set_speed(1)
        await self.gateway.quiet(40)
        assert self.struck.told() == [f"Matter {number}" for number in range(matters)]
        assert len(self.struck.desk.tickets) == matters
        assert await self.problems() == []
        health = await self.health()
        assert (health["status"], health["failures"], health["blocked_until"]) == ("active", 0, None)
        assert health["backlog"]["pushes"] == 0


@contextlib.asynccontextmanager
async def side(clock: SharedTime, gateway: Gateway, name: str) -> AsyncIterator[Side]:
    """One helpdesk and its forum, connected."""
    desk, forum = ZendeskTwin(time=clock), InboundTwin(signing_secret=SECRET, reply_secret=SECRET, time=clock)
    desk.limits.off()
    async with desk.serve(), forum.serve():
        config = {"base_url": desk.url, "email": desk.email, "api_token": desk.token, "share": 1.0}
        helpdesk = await gateway.add_connection("helpdesk", "zendesk", config, name=f"{name} helpdesk")
        source = await gateway.add_connection(
            "source", "inbound", {"signing_secrets": [SECRET]}, name=f"{name} forum", helpdesk=helpdesk
        )
        forum.door = f"{gateway.url}/hooks/{source}"
        yield Side(forum, desk, helpdesk)


@pytest.fixture
async def scene(server_url: str, tmp_path: Path) -> AsyncIterator[Scene]:
    """Both sides, after each has had a first matter, so that the customers are known."""
    clock = SharedTime.create(tmp_path / "time", at=datetime.now(UTC))
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(fresh_database(server_url))
        gateway = await stack.enter_async_context(running(url, tmp_path, time_file=clock.path))
        struck = await stack.enter_async_context(side(clock, gateway, "struck"))
        other = await stack.enter_async_context(side(clock, gateway, "other"))
        found = Scene(gateway, clock, struck, other)
        struck.complain(0)
        await found.until(lambda: struck.told() == ["Matter 0"], "the first matter is told")
        await found.other_works(0)
        yield found


async def test_promise_2_a_helpdesk_that_is_down_for_an_hour_has_everything_once_afterwards(scene: Scene) -> None:
    scene.struck.desk.faults.append(Fault("status_before", path="/api/", status=503, times=None))
    for number in (1, 2):
        scene.struck.complain(number)

    async def noticed() -> bool:
        return len(await scene.problems()) == 2

    await scene.until(noticed, "each ticket says that the helpdesk has not heard of it")
    for quarter in range(1, 5):
        scene.clock.jump(scene.clock.now() + timedelta(minutes=15))
        await scene.other_works(quarter)

    async def unwell() -> bool:
        return not (await scene.health())["ok"]

    await scene.until(unwell, "the connection says that it is not well")
    assert (await scene.health())["backlog"]["pushes"] >= 2
    scene.struck.desk.faults.clear()
    await scene.recovered(3)


async def test_promise_10_ten_minutes_of_429_are_kept_and_hold_nobody_else(scene: Scene) -> None:
    refusal = Fault("status_before", path="/api/", status=429, headers={"Retry-After": "600"}, times=None)
    scene.struck.desk.faults.append(refusal)
    for number in (1, 2, 3):
        scene.struck.complain(number)

    async def noticed() -> bool:
        return bool(await scene.problems())

    await scene.until(noticed, "a ticket says that the helpdesk asked to wait")
    asked = len(scene.struck.desk.requests)
    until = await scene.gateway.value("SELECT max(due_at) FROM push WHERE helpdesk_id = :id", id=scene.struck.helpdesk)
    assert until > scene.clock.now() + timedelta(minutes=9)
    for number in (1, 2, 3):
        scene.clock.jump(scene.clock.now() + timedelta(minutes=3))
        await scene.other_works(number)
    assert len(scene.struck.desk.requests) - asked <= 3, "who asked to wait for ten minutes is not asked meanwhile"
    assert not (await scene.health())["ok"]
    scene.struck.desk.faults.clear()
    await scene.recovered(4)


async def test_promise_4_a_helpdesk_that_does_the_work_and_answers_500_has_each_ticket_once(scene: Scene) -> None:
    scene.struck.desk.faults.append(Fault("status_after", path=r"/tickets(\.json)?$", method="POST", times=2))
    for number in (1, 2):
        scene.struck.complain(number)

    async def noticed() -> bool:
        return bool(await scene.problems())

    await scene.until(noticed, "a ticket says that it is not known whether the helpdesk has it")
    await scene.other_works(1)
    await scene.recovered(3)


async def test_promise_11_an_expired_token_keeps_the_backlog_until_new_credentials_come(scene: Scene) -> None:
    scene.struck.desk.token = "renewed-token"
    for number in (1, 2):
        scene.struck.complain(number)

    async def noticed() -> bool:
        return bool((await scene.health())["status"] == "needs_authorisation")

    await scene.until(noticed, "the connection says that it needs authorisation")
    assert (await scene.health())["status_reason"]
    assert await scene.problems()
    asked = len(scene.struck.desk.requests)
    scene.clock.jump(scene.clock.now() + timedelta(hours=1))
    await scene.other_works(1)
    assert len(scene.struck.desk.requests) - asked <= 2, "refused credentials are not tried again and again"
    assert (await scene.health())["backlog"]["pushes"] >= 2
    async with scene.rest() as http:
        answer = await http.patch(
            f"/v1/connections/{scene.struck.helpdesk}", json={"config": {"api_token": "renewed-token"}}
        )
    assert answer.status_code == 200, answer.text
    await scene.recovered(3)
