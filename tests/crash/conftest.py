"""A door in this process, a worker that can be killed beside it, and twins that notice the moment of an effect."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from gateway_schemas.time import SharedTime
from gateway_x.twin import XTwin
from gateway_zendesk.twin import ZendeskTwin
from support.gateway import Gateway, fresh_database, running
from support.postgres import server_url  # noqa: F401  a fixture
from support.processes import Process, process


@dataclass
class Scene:
    """The line with a worker process of its own."""

    gateway: Gateway
    x: XTwin
    desk: ZendeskTwin
    worker: Process
    source: UUID
    helpdesk: UUID

    async def settle(self, seconds: float = 40.0) -> None:
        """Wait until nothing is left to do."""
        for _ in range(2):
            await self.x.settle()
            await self.desk.settle()
            await self.gateway.quiet(seconds)

    def published(self) -> list[tuple[str, str | None]]:
        """What the brand has posted."""
        return [(post.written, post.in_reply_to) for post in self.x.published("AcmeSupport")]

    def comments(self, number: int = 1) -> list[str]:
        """What stands on a ticket, without permalinks."""
        return [comment.body.split("\n\nhttp")[0] for comment in self.desk.tickets[number].comments]


MakeScene = Callable[..., contextlib.AbstractAsyncContextManager[Scene]]


@pytest.fixture
def make_scene(server_url: str, tmp_path: Path) -> MakeScene:  # noqa: F811
    """Builds scenes; settings by keyword, and how fast everybody's time runs."""

    @contextlib.asynccontextmanager
    async def make(*, speed: float = 1.0, **settings: Any) -> AsyncIterator[Scene]:
        clock = SharedTime.create(tmp_path / "time", at=datetime.now(UTC), speed=speed)
        x, desk = XTwin(tier="enterprise", time=clock), ZendeskTwin(time=clock)
        desk.limits.off()
        x.add_brand("AcmeSupport")
        for name in ("rita", "bob"):
            x.add_user(name)
        async with (
            fresh_database(server_url) as url,
            x.serve(),
            desk.serve(),
            running(
                url,
                tmp_path,
                worker=False,
                **{"call_timeout": 2.0, "lease_seconds": 2.0, "time_file": tmp_path / "time", **settings},
            ) as gateway,
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
            async with process(gateway.runtime.settings, "worker") as worker:
                yield Scene(gateway, x, desk, worker, source, helpdesk)
                await asyncio.sleep(0)

    return make
