"""A gateway between an X twin and a Zendesk twin, in one process, over real HTTP."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import pytest

from gateway_x.twin import XTwin
from gateway_zendesk.twin import ZendeskTwin
from support.gateway import Gateway, fresh_database, running
from support.postgres import server_url  # noqa: F401  a fixture
from support.rest import KEY


@dataclass
class Line:
    """The whole line: customers at X, the gateway, agents at Zendesk."""

    gateway: Gateway
    x: XTwin
    desk: ZendeskTwin
    source: UUID
    helpdesk: UUID

    async def settle(self, seconds: float = 60.0) -> None:
        """Wait until webhooks have arrived and the gateway has nothing left to do."""
        await self.x.settle()
        await self.gateway.quiet(seconds)
        await self.desk.settle()
        await self.gateway.quiet(seconds)

    def ticket(self, number: int = 1) -> Any:
        """A ticket at the helpdesk by its number."""
        return self.desk.tickets[number]

    def comments(self, number: int = 1) -> list[str]:
        """What stands on a ticket, without permalinks."""
        return [comment.body.split("\n\nhttp")[0] for comment in self.ticket(number).comments]

    async def answer(self, number: int, text: str, **options: Any) -> int:
        """An agent answers in the helpdesk; returns the comment's id."""
        comment: int = self.desk.agent_comment(number, "Ann", text, **options)
        await self.desk.settle()
        await self.settle()
        return comment

    def published(self) -> list[tuple[str, str | None]]:
        """What the brand has posted: text and what it answers."""
        return [(post.written, post.in_reply_to) for post in self.x.published("AcmeSupport")]

    async def reply(self) -> Any:
        """The newest reply's row."""
        return (await self.gateway.rows("SELECT * FROM reply ORDER BY created_at DESC LIMIT 1"))[0]

    async def until(self, state: str, count: int = 1) -> list[Any]:
        """Wait until so many replies are in a state; their rows, oldest first."""

        async def there() -> list[Any]:
            rows = await self.gateway.rows("SELECT * FROM reply WHERE state = :state ORDER BY created_at", state=state)
            return rows if len(rows) == count else []

        found: list[Any] = await self.gateway.until(there, f"{count} replies are {state}")
        return found

    async def queue(self, number: int, text: str, **options: Any) -> Any:
        """An agent answers while everything outbound is stopped; the reply's row once it is decided."""
        self.desk.agent_comment(number, "Ann", text, **options)
        await self.desk.settle()

        async def decided() -> Any:
            return await self.gateway.rows("SELECT * FROM reply WHERE text = :text AND state <> 'received'", text=text)

        return (await self.gateway.until(decided, "it is decided"))[0]

    async def pause_helpdesk(self) -> None:
        """The helpdesk is told nothing for a while."""
        await self._pause(True)

    async def resume_helpdesk(self) -> None:
        """It is told what waited."""
        await self._pause(False)
        await self.gateway.runtime.wake([f"push:{self.helpdesk}"])

    async def _pause(self, paused: bool) -> None:
        await self.gateway.execute(
            "UPDATE connection SET paused_out = :paused, version = version + 1 WHERE id = :id",
            id=self.helpdesk,
            paused=paused,
        )
        self.gateway.runtime.connections.forget(self.helpdesk)

    @contextlib.asynccontextmanager
    async def rest(self) -> AsyncIterator[httpx2.AsyncClient]:
        """The REST API with the first key."""
        headers = {"Authorization": f"Bearer {KEY}"}
        async with httpx2.AsyncClient(base_url=self.gateway.url, headers=headers) as http:
            yield http

    async def put_in_force(self, **params: Any) -> None:
        """One policy that holds every answer, with a code of its own."""
        async with self.rest() as http:
            made = await http.post("/v1/policies", json={"name": "second-look", "type": "wild", "params": params})
            for path, body in (
                (f"policies/{made.json()['id']}/revisions", {"reason": "for this test"}),
                ("policies/activate", {"policies": [{"policy": "second-look"}], "reason": "for this test"}),
            ):
                answer = await http.post(f"/v1/{path}", json=body)
                assert answer.is_success, answer.text
        self.gateway.runtime.policies.forget(self.gateway.runtime.now())


LineFactory = Callable[..., contextlib.AbstractAsyncContextManager[Line]]


@pytest.fixture
def make_line(server_url: str, tmp_path: Path) -> LineFactory:  # noqa: F811
    """Builds lines; settings of the gateway by keyword."""

    @contextlib.asynccontextmanager
    async def make(tier: str = "enterprise", **settings: Any) -> AsyncIterator[Line]:
        x, desk = XTwin(tier=tier), ZendeskTwin()  # type: ignore[arg-type]
        desk.limits.off()
        x.add_brand("AcmeSupport")
        for name in ("rita", "bob", "carol"):
            x.add_user(name)
        async with (
            fresh_database(server_url) as url,
            x.serve(),
            desk.serve(),
            running(url, tmp_path, **settings) as gateway,
        ):
            helpdesk = await gateway.add_connection(
                "helpdesk",
                "zendesk",
                {"base_url": desk.url, "email": desk.email, "api_token": desk.token, "share": 1.0},
            )
            app = await gateway.add_app("x", x.app_config())
            source = await gateway.add_connection(
                "source", "x", x.connection_config("AcmeSupport"), app=app, helpdesk=helpdesk
            )
            await gateway.install(helpdesk)
            await gateway.install(source)
            yield Line(gateway, x, desk, source, helpdesk)

    return make


@pytest.fixture
async def line(make_line: LineFactory) -> AsyncIterator[Line]:
    """A line with ordinary settings."""
    async with make_line() as made:
        yield made
