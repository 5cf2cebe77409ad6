"""A twin of Chatwoot on loopback and the plugin connected to it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway_chatwoot.config import ChatwootConfig
from gateway_chatwoot.plugin import ChatwootHelpdesk
from gateway_chatwoot.twin import ChatwootTwin
from gateway_schemas.files import MemoryFiles
from gateway_schemas.interaction import Wanted
from gateway_schemas.plugin import InstallReport, MemoryState, Setup
from gateway_schemas.testing.twin import Fault
from gateway_schemas.ticket import Done, FoundTicket, OutgoingComment, PushIntent, Requester, TicketChange
from gateway_schemas.webhook import RawDelivery, RawPage, WebhookRequest

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


class StillTime:
    """Time that moves when a test says so; waiting in it moves it too."""

    def __init__(self, at: datetime = NOW) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.at += timedelta(seconds=seconds)

    def pass_by(self, **amount: float) -> None:
        self.at += timedelta(**amount)


@dataclass
class Desk:
    """The twin, the plugin on it, and what tests do with both."""

    twin: ChatwootTwin
    http: httpx2.AsyncClient
    time: StillTime
    state: MemoryState = field(default_factory=MemoryState)
    files: MemoryFiles = field(default_factory=MemoryFiles)
    settings: dict[str, Any] = field(default_factory=dict)
    door: str | None = "http://127.0.0.1:9/hooks/chatwoot"
    inbox: list[WebhookRequest] = field(default_factory=list)

    def config(self) -> ChatwootConfig:
        known = {**self.twin.connection_config(), "api_user_id": self.twin.api_user.id}
        return ChatwootConfig.model_validate({**known, **self.settings})

    @property
    def plugin(self) -> ChatwootHelpdesk:
        """A new instance each time, as after a restart; what outlives it is in `state`."""
        return ChatwootHelpdesk(
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

    def messages(self, ticket: int) -> list[Any]:
        """What stands in a conversation, without Chatwoot's own notices."""
        return [one for one in self.twin.conversations[ticket].messages if one.kind != "activity"]

    def texts(self, ticket: int) -> list[str]:
        """The words of these."""
        return [one.content for one in self.messages(ticket)]

    async def hooks(self) -> list[Any]:
        """What came in through the door since last time, verified and normalised."""
        await self.twin.settle()
        received, self.inbox[:] = list(self.inbox), []
        plugin = self.plugin
        news: list[Any] = []
        for request in received:
            plugin.verify(request)
            news += plugin.normalise(
                RawDelivery(
                    "w1", "webhook", request.body, request.received_at, headers=request.headers, query=request.query
                )
            )
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


class Stage:
    """One server for all tests, playing whichever twin is on: to start and stop one takes longer than a test."""

    def __init__(self) -> None:
        self.playing: ASGIApp | None = None
        self.desk: Desk | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self.playing is not None
        if scope["path"] == "/hooks/chatwoot":
            await self.door(Request(scope, receive), send)
        else:
            await self.playing(scope, receive, send)

    async def door(self, request: Request, send: Send) -> None:
        """The host's door: it keeps what comes, byte for byte."""
        assert self.desk is not None
        self.desk.inbox.append(
            WebhookRequest(
                method=request.method,
                path=request.url.path,
                query=request.scope["query_string"],
                headers=request.headers.raw,
                body=await request.body(),
                received_at=self.desk.time.now(),
            )
        )
        await Response()(request.scope, request.receive, send)


class QuietServer(uvicorn.Server):
    """A server that leaves the test run's signals alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@pytest.fixture(scope="session")
async def stage() -> AsyncIterator[tuple[Stage, str, httpx2.AsyncClient]]:
    stage = Stage()
    listener = socket.create_server(("127.0.0.1", 0))
    # inherited by each connection: without it every answer waits 40 ms for an acknowledgement
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server = QuietServer(uvicorn.Config(stage, log_level="critical", lifespan="off"))
    task = asyncio.get_running_loop().create_task(server.serve(sockets=[listener]))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with httpx2.AsyncClient(trust_env=False, timeout=httpx2.Timeout(30.0, read=1.0)) as http:
        yield stage, url, http
    server.should_exit = True
    await task
    listener.close()


@pytest.fixture
async def desk(stage: tuple[Stage, str, httpx2.AsyncClient]) -> AsyncIterator[Desk]:
    time = StillTime()
    twin = ChatwootTwin(time=time)
    twin.limits.off()
    stage[0].playing, twin.url = twin.app, stage[1]
    stage[0].desk = Desk(twin, stage[2], time, door=f"{stage[1]}/hooks/chatwoot")
    yield stage[0].desk
    await twin.settle()
    if twin._client is not None:
        await twin._client.aclose()
