"""A served gateway for tests of its door and its REST API, with three small plugins instead of the installed ones."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar, Literal

import httpx2
import uvicorn
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from gateway.api.bounded import BoundedHttp
from gateway.app import create_app
from gateway.db.database import execute, fetch_all
from gateway.registry import Listed, Registry
from gateway.runtime import Runtime
from gateway.settings import Settings
from gateway_schemas.capabilities import HelpdeskCapabilities, SourceCapabilities
from gateway_schemas.claims import PLACE, ClaimAddress
from gateway_schemas.errors import Reauthorise, Rejected, Retry, Unknown, Unverified
from gateway_schemas.helpdesk import Helpdesk, HelpdeskNews
from gateway_schemas.interaction import Ignored, Normalised, Wanted
from gateway_schemas.plugin import AccountRef, Health, InstallReport, Step
from gateway_schemas.reply import Sent
from gateway_schemas.source import Source
from gateway_schemas.ticket import FoundTicket, PushIntent, PushResult, TicketChange
from gateway_schemas.webhook import Page, RawDelivery, RawPage, WebhookRequest, WebhookResponse

KEY = "a-key-for-tests-only"

Mood = Literal["well", "reauthorise", "retry", "unknown", "rejected", "bug"]


def act(mood: Mood) -> None:
    """What the provider does when it is called."""
    match mood:
        case "reauthorise":
            raise Reauthorise("the token was refused")
        case "retry":
            raise Retry("too many requests", after=timedelta(seconds=7))
        case "unknown":
            raise Unknown("no answer")
        case "rejected":
            raise Rejected("not like this", code="not_like_this")
        case "bug":
            raise KeyError("oops")
        case "well":
            pass


class Nested(BaseModel):
    """A part of a configuration with a secret inside."""

    model_config = ConfigDict(extra="forbid")

    name: str = "one"
    pin: SecretStr | None = None


class ShoutConfig(BaseModel):
    """One account of a source without Apps."""

    model_config = ConfigDict(extra="forbid")

    user_id: str = Field(pattern=r"^[0-9]+$")
    secret: SecretStr
    previous: list[SecretStr] = []
    nested: Nested | None = None
    labels: dict[str, str] = {}
    mood: Mood = "well"


def signed(secret: str, body: bytes) -> str:
    """The signature that Shout and Crowd check."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def check_signature(request: WebhookRequest, secret: str) -> WebhookResponse | None:
    """What Shout's and Crowd's webhooks have in common."""
    challenge = request.query_value("challenge")
    if request.method == "GET" and challenge is not None:
        return WebhookResponse(challenge.encode(), media_type="text/plain")
    if request.header("x-crash"):
        raise ZeroDivisionError
    given = request.header("x-signature")
    if given is None:
        raise Unverified("no signature", code="missing")
    if not hmac.compare_digest(given.encode("latin-1"), signed(secret, request.body).encode()):
        raise Unverified("wrong signature", code="wrong")
    if request.header("x-receipt"):
        return WebhookResponse(b'{"noted": true}', status=202, store=True)
    return None


class ShoutSource(Source[ShoutConfig]):
    """A source whose accounts have a door each."""

    name: ClassVar[str] = "shout"
    title: ClassVar[str] = "Shout"
    Config = ShoutConfig
    capabilities: ClassVar[SourceCapabilities] = SourceCapabilities(
        kinds=frozenset({"post"}),
        webhook=True,
        poll=True,
        streams=("posts", "messages"),
        reply=True,
        invitations=True,
        delete=True,
    )

    @classmethod
    def account_of(cls, config: ShoutConfig) -> str:
        return config.user_id

    @classmethod
    def claim_address(cls, config: ShoutConfig) -> ClaimAddress:
        return ClaimAddress(address=f"{config.user_id}+{PLACE}@shout.example")

    def verify(self, request: WebhookRequest) -> WebhookResponse | None:
        return check_signature(request, self.config.secret.get_secret_value())

    def normalise(self, delivery: RawDelivery) -> Sequence[Normalised]:
        return [Ignored(reason="only looked at")]

    async def check(self) -> Health:
        act(self.config.mood)
        return Health(ok=self.setup.door is not None)

    async def install(self, *, dry_run: bool) -> InstallReport:
        act(self.config.mood)
        steps = (Step(action="create", what="webhook", detail=self.setup.door or ""),)
        # a dry run that reports values is a plugin's mistake: they must not be kept
        return InstallReport(steps=steps, config={"previous": ["installed-secret-1"], "labels": {"hook": "h1"}})

    async def discover(self) -> Sequence[AccountRef]:
        act(self.config.mood)
        config = {"user_id": "77", "secret": "discovered-secret-77"}
        return [AccountRef(external_id="77", name="Seventy-seven", config=config)]

    async def retract(self, sent: Sent) -> None:
        act(self.config.mood)


class CrowdApp(BaseModel):
    """One App with a callback shared by its accounts."""

    model_config = ConfigDict(extra="forbid")

    app_secret: SecretStr
    webhook_id: str | None = None


class CrowdConfig(BaseModel):
    """One account of an App."""

    model_config = ConfigDict(extra="forbid")

    user_id: str
    token: SecretStr


class CrowdSource(Source[CrowdConfig]):
    """A source whose App owns the door."""

    name: ClassVar[str] = "crowd"
    Config = CrowdConfig
    AppConfig = CrowdApp
    capabilities: ClassVar[SourceCapabilities] = SourceCapabilities(
        kinds=frozenset({"comment"}), webhook=True, shared_webhook=True
    )

    @classmethod
    def account_of(cls, config: CrowdConfig) -> str:
        return config.user_id

    def verify(self, request: WebhookRequest) -> WebhookResponse | None:
        assert isinstance(self.setup.app, CrowdApp)
        return check_signature(request, self.setup.app.app_secret.get_secret_value())

    def normalise(self, delivery: RawDelivery) -> Sequence[Normalised]:
        return []

    async def install(self, *, dry_run: bool) -> InstallReport:
        return InstallReport(app_config={} if dry_run else {"webhook_id": "w9", "app_secret": "rotated-app-secret"})

    async def check(self) -> Health:
        return Health(ok=True)


class DeskConfig(BaseModel):
    """One helpdesk."""

    model_config = ConfigDict(extra="forbid")

    api_token: SecretStr


class DeskHelpdesk(Helpdesk[DeskConfig]):
    """A helpdesk that takes everything."""

    name: ClassVar[str] = "desk"
    Config = DeskConfig
    capabilities: ClassVar[HelpdeskCapabilities] = HelpdeskCapabilities(poll=False)

    def verify(self, request: WebhookRequest) -> WebhookResponse | None:
        raise Unverified("no webhooks", code="no_webhooks")

    def normalise(self, delivery: RawDelivery) -> Sequence[HelpdeskNews]:
        return []

    async def fetch(self, wanted: Sequence[Wanted]) -> Sequence[RawPage]:
        return []

    async def poll(self, stream: str, cursor: dict[str, Any] | None) -> Page:
        return Page((), {})

    async def push(self, changes: Sequence[TicketChange]) -> Sequence[PushResult]:
        return []

    async def find(self, intent: PushIntent) -> FoundTicket:
        return FoundTicket()

    async def check(self) -> Health:
        return Health(ok=True)


def small_registry() -> Registry:
    """The plugins of these tests, and one that is broken."""
    return Registry(
        sources={"shout": ShoutSource, "crowd": CrowdSource},
        helpdesks={"desk": DeskHelpdesk},
        listed=[
            Listed("source", "shout", "gateway-shout", "1.2", True),
            Listed("source", "crowd", "gateway-crowd", "1.0", True),
            Listed("helpdesk", "desk", "gateway-desk", "1.0", True),
            Listed("plugin", "wreck", "gateway-wreck", "0.1", False, "ImportError: no module named nothing"),
        ],
    )


@dataclass
class Api:
    """A served gateway, and a caller with all scopes."""

    url: str
    http: httpx2.AsyncClient
    runtime: Runtime

    def caller(self, key: str | None) -> httpx2.AsyncClient:
        """A client with another key. The test closes it."""
        return httpx2.AsyncClient(
            base_url=self.url, timeout=60.0, headers={"Authorization": f"Bearer {key}"} if key else {}
        )

    async def made(self, path: str, **body: Any) -> dict[str, Any]:
        """POST, which must succeed."""
        answer = await self.http.post(path, json=body)
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def shout(self, name: str, **config: Any) -> dict[str, Any]:
        """A connection of Shout whose secret is `secret-of-<name>`."""
        config = {"user_id": "1", "secret": f"secret-of-{name}", **config}
        return await self.made("/v1/connections", plugin="shout", name=name, config=config)

    async def rows(self, sql: str, **values: Any) -> list[Any]:
        """Rows of a query."""
        async with self.runtime.database.read() as connection:
            return list(await fetch_all(connection, sql, **values))

    async def value(self, sql: str, **values: Any) -> Any:
        """The first value of a query."""
        return next(iter((await self.rows(sql, **values))[0].values()))

    async def execute(self, sql: str, **values: Any) -> None:
        """Change rows behind the gateway's back."""
        async with self.runtime.database.write() as connection:
            await execute(connection, sql, **values)

    async def woken(self) -> set[str]:
        """The drains that were woken since this was asked last."""
        await self.runtime.wake.settle()
        rows = await self.rows("SELECT queueing_lock FROM procrastinate_jobs WHERE status = 'todo'")
        await self.execute("DELETE FROM procrastinate_jobs")
        return {row["queueing_lock"] for row in rows}


@contextlib.asynccontextmanager
async def serving(
    settings: Settings, registry: Registry | None = None, http_protocol: type[BoundedHttp] = BoundedHttp
) -> AsyncIterator[Api]:
    """The application on a loopback port, in this process."""
    app = create_app(settings, workers=0, registry=registry or small_registry())
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on", http=http_protocol))
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            if task.done():
                await task
                raise RuntimeError("the application did not start")
            await asyncio.sleep(0.005)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with httpx2.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {KEY}"},
            limits=httpx2.Limits(max_connections=None),
            timeout=60.0,  # the first call that reads a text starts the process that reads it
        ) as http:
            yield Api(url, http, app.state.runtime)
    finally:
        server.should_exit = True
        await task
        listener.close()
