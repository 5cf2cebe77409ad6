"""A mail provider on loopback, a brand's mailbox there, and the plugin connected to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway_email.config import EmailConfig
from gateway_email.plugin import EmailSource
from gateway_email.twin import EmailTwin
from gateway_schemas.files import MemoryFiles
from gateway_schemas.interaction import Interaction
from gateway_schemas.plugin import MemoryState, Setup
from gateway_schemas.reply import Draft, Rendered
from gateway_schemas.testing.sockets import DirectSockets
from gateway_schemas.testing.twin import Fault
from gateway_schemas.webhook import Page, RawDelivery, RawPage

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
HELP, RITA = "help@acme.example", "rita@home.example"


class StillTime:
    """Time that moves when a test says so."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        return self.at

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.at += timedelta(seconds=seconds)

    def pass_by(self, **amount: float) -> None:
        self.at += timedelta(**amount)


@dataclass
class Post:
    """The twin, the plugin on it, and what tests do with both."""

    twin: EmailTwin
    time: StillTime
    sockets: DirectSockets = field(default_factory=DirectSockets)
    state: MemoryState = field(default_factory=MemoryState)
    files: MemoryFiles = field(default_factory=MemoryFiles)
    settings: dict[str, Any] = field(default_factory=dict)
    http: Any = None

    @property
    def plugin(self) -> EmailSource:
        """A new instance each time, as after a restart."""
        config = EmailConfig.model_validate({**self.twin.connection_config(HELP), **self.settings})
        return EmailSource(
            Setup(
                time=self.time,
                config=config,
                sockets=self.sockets,
                http=self.http,
                state=self.state,
                files=self.files,
            )
        )

    async def page(self, stream: str = "inbox", cursor: Any = None) -> Page:
        """One step of polling; its cursor as it comes back out of the database."""
        page = await self.plugin.poll(stream, cursor)
        return Page(page.pages, json.loads(json.dumps(page.cursor)), page.more)

    async def drain(self, stream: str = "inbox", cursor: Any = None) -> tuple[list[Any], Any]:
        """Everything there is, normalised, and the cursor behind it."""
        news: list[Any] = []
        while True:
            page = await self.page(stream, cursor)
            news += [one for raw in page.pages for one in self.read(raw)]
            cursor = page.cursor
            if not page.more:
                return news, cursor

    def read(self, page: RawPage) -> list[Any]:
        """What a page says."""
        delivery = RawDelivery("d", "poll", page.body, self.time.now(), stream=page.stream, note=page.note)
        plugin = self.plugin
        news = list(plugin.normalise(delivery))
        assert list(plugin.normalise(delivery)) == news
        return news

    async def written(self, text: str = "Where is my parcel?", **more: Any) -> Interaction:
        """Rita writes, and it is read."""
        id = self.twin.direct_message(RITA, HELP, text, **more)
        news, _ = await self.drain()
        return next(one for one in news if isinstance(one, Interaction) and one.external_id == id)

    def rendered(self, message: Interaction, text: str = "We are sorry.", **more: Any) -> Rendered:
        """An answer as it would leave."""
        assert message.reply_target is not None
        draft = Draft(
            reply_id="r1",
            text=text,
            account=HELP,
            target=message.reply_target,
            visibility="private",
            interaction=message,
            **more,
        )
        return self.plugin.render(draft)

    def fault(self, protocol: str, command: str, answer: str = "", kind: Any = "status_before") -> None:
        """One command goes wrong; without an answer the connection breaks off."""
        self.twin.faults.append(Fault(kind, method=protocol, path=command, body=answer.encode()))


@pytest.fixture
async def post() -> AsyncIterator[Post]:
    time = StillTime()
    twin = EmailTwin(time=time)
    twin.add_brand(HELP, name="Acme Help")
    twin.add_user(RITA, name="Rita Example")
    async with twin.listen():
        yield Post(twin, time)
