"""A twin of Zammad in this process and the plugin connected to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from gateway_schemas.files import MemoryFiles
from gateway_schemas.interaction import Wanted
from gateway_schemas.plugin import InstallReport, MemoryState, Setup
from gateway_schemas.testing.clock import StillTime
from gateway_schemas.testing.in_process import in_process
from gateway_schemas.testing.twin import Fault, WebhookBuilder
from gateway_schemas.ticket import Done, FoundTicket, OutgoingComment, PushIntent, Requester, TicketChange
from gateway_schemas.webhook import RawDelivery, RawPage, WebhookRequest
from gateway_zammad.config import ZammadConfig
from gateway_zammad.plugin import ZammadHelpdesk
from gateway_zammad.twin import ZammadTwin

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
DOOR = "https://gateway.test/hooks/zammad"


@dataclass
class Desk:
    """The twin, the plugin on it, and what tests do with both."""

    twin: ZammadTwin
    http: httpx2.AsyncClient
    time: StillTime
    state: MemoryState = field(default_factory=MemoryState)
    files: MemoryFiles = field(default_factory=MemoryFiles)
    settings: dict[str, Any] = field(default_factory=dict)
    door: str | None = DOOR
    sent: list[WebhookBuilder] = field(default_factory=list)

    def config(self) -> ZammadConfig:
        known = {**self.twin.connection_config(), "api_user_id": self.twin.api_user.id}
        return ZammadConfig.model_validate({**known, **self.settings})

    @property
    def plugin(self) -> ZammadHelpdesk:
        """A new instance each time, as after a restart; what outlives it is in `state`."""
        return ZammadHelpdesk(
            Setup(
                time=self.time,
                config=self.config(),
                http=self.http,
                media=self.http,
                files=self.files,
                state=self.state,
                door=self.door,
            )
        )

    async def push(self, change: TicketChange) -> Done:
        """Push a change that shall succeed."""
        (done,) = await self.plugin.push([change])
        assert isinstance(done, Done)
        return done

    async def read(self, *tickets: int | str) -> list[Any]:
        """Fetch tickets and normalise what came."""
        wanted = [Wanted(ref=str(ticket), kind="ticket") for ticket in tickets]
        plugin = self.plugin
        return [item for page in await plugin.fetch(wanted) for item in plugin.normalise(delivery(page, self.time))]

    def customer(self, name: str = "alice", provider: str = "fake") -> Requester:
        """A customer's account at a source."""
        return Requester(external_id=f"{provider}:{name}", name=name.title(), handle=name, provider=provider)

    def comment(self, key: str = "c1", text: str = "The train is late", **more: Any) -> OutgoingComment:
        """A comment by alice unless said otherwise."""
        return OutgoingComment(**{"key": key, "text": text, "author": self.customer(), "at": NOW, **more})

    def change(self, key: str = "k1", comments: Sequence[OutgoingComment] | None = None, **more: Any) -> TicketChange:
        """A change with one comment; without `external_id` a create."""
        given = (self.comment(f"{key}-c"),) if comments is None else tuple(comments)
        values = {"ticket_key": f"gateway:{key}", "requester": self.customer(), "subject": "Post by @alice"}
        if more.get("external_id") is not None:
            values["subject"] = None
        return TicketChange(**{"key": key, "comments": given, **values, **more})

    async def created(self, key: str = "k1", **more: Any) -> int:
        """A ticket that the plugin made."""
        return int((await self.push(self.change(key, **more))).external_id)

    async def told(self, ticket: int, key: str, text: str = "Hello?", **more: Any) -> Done:
        """A comment that the plugin wrote on a ticket."""
        return await self.push(self.change(key, [self.comment(f"{key}-c", text, **more)], external_id=str(ticket)))

    def hooks(self) -> list[Any]:
        """What the twin's webhooks said since last time, verified and normalised."""
        plugin, news = self.plugin, []
        for url, headers, body in [build() for build in self.sent]:
            assert url == self.door
            raw = tuple((name.encode(), value.encode()) for name, value in headers.items())
            plugin.verify(WebhookRequest("POST", "/hooks/zammad", b"", raw, body, self.time.now()))
            news += plugin.normalise(RawDelivery("w1", "webhook", body, self.time.now(), headers=raw))
        self.sent.clear()
        return news

    async def installed(self) -> InstallReport:
        """Install, and keep in the config what it found, as the host does."""
        report = await self.plugin.install(dry_run=False)
        self.settings = {**self.settings, **report.config}
        return report

    async def find(self, change: TicketChange) -> FoundTicket:
        """Look for a change after an unknown outcome."""
        return await self.plugin.find(PushIntent(change=change, started_at=self.time.now()))

    def fault(self, kind: Any, **more: Any) -> None:
        """One fault for the twin."""
        self.twin.faults.append(Fault(kind, **more))

    def requests(self, method: str = "", part: str = "") -> list[tuple[str, str, int]]:
        """What was asked of the twin."""
        return [one for one in self.twin.requests if one[0].startswith(method) and part in one[1]]


def delivery(page: RawPage, time: StillTime, origin: Any = "fetch") -> RawDelivery:
    """The stored delivery that the host makes of a page."""
    return RawDelivery("d1", origin, page.body, time.now(), stream=page.stream, note=page.note)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    time = StillTime(NOW)
    twin = ZammadTwin(time=time)
    async with in_process(twin) as http:
        made = Desk(twin, http, time)
        twin.carrier = made.sent.append
        yield made
