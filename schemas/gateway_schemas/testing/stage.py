"""The kit's stage: a plugin between its twin and a door, with everything that the host does around it."""

from __future__ import annotations

import contextlib
import json
import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Any, Generic, TypeVar

import httpx2
from pydantic import BaseModel, SecretStr

from gateway_schemas.errors import GatewayError, Unverified
from gateway_schemas.files import MemoryFiles
from gateway_schemas.interaction import Wanted
from gateway_schemas.plugin import MemoryState, Plugin, Setup
from gateway_schemas.testing.adapters import Adapter
from gateway_schemas.testing.clock import StillTime
from gateway_schemas.testing.failure import found, unless
from gateway_schemas.testing.in_process import DOOR_URL, DoorTransport, TwinTransport
from gateway_schemas.testing.twin import Fault, FaultKind, WebhookBuilder
from gateway_schemas.webhook import Origin, Page, RawDelivery, RawPage, WebhookRequest, WebhookResponse

A = TypeVar("A", bound=Adapter[Any])
P = TypeVar("P", bound=Plugin[Any])
R = TypeVar("R")

_MOST_PAGES = 400
_QUIET = ("httpx2", "httpcore2", "asyncio", "httpx", "httpcore")


class Stage(Generic[P, A]):
    """One connection of a plugin to its twin. `plugin` is a new instance each time, as after a restart."""

    def __init__(self, plugin_class: type[P], adapter: A, time: StillTime, http: httpx2.AsyncClient) -> None:
        self.plugin_class = plugin_class
        self.adapter = adapter
        self.time = time
        self.http = http
        self.state = MemoryState()
        self.files = MemoryFiles()
        self.cursors: dict[str, dict[str, Any] | None] = {}
        self.installed: dict[str, dict[str, Any]] = {"config": {}, "app": {}}
        self.errors: list[BaseException] = []
        self.logged: list[str] = []
        self.carried: list[WebhookBuilder] = []
        self.refused: list[Unverified] = []
        self.deliveries: list[RawDelivery] = []

    # the plugin

    @property
    def config(self) -> BaseModel:
        """The connection's configuration, with what an install added."""
        values = {**self.adapter.config(), **self.installed["config"]}
        return self.plugin_class.Config.model_validate(values)

    @property
    def app(self) -> BaseModel | None:
        """The App's configuration."""
        values = self.adapter.app()
        if values is None:
            return None
        return self.plugin_class.AppConfig.model_validate({**values, **self.installed["app"]})

    @property
    def plugin(self) -> P:
        """A new instance of the connection's plugin."""
        config = self.config
        return self.plugin_class(
            Setup(
                time=self.time,
                connection_id="kit",
                account=self.plugin_class.account_of(config),
                config=config,
                app=self.app,
                http=self.http,
                media=self.http,
                sockets=self.adapter.sockets(),
                files=self.files,
                state=self.state,
                door=DOOR_URL,
                keys=self.adapter.keys(),
            )
        )

    @property
    def reader(self) -> Any:
        """The instance that verifies and reads webhooks, without network: the App's where its callback is shared."""
        shared = getattr(self.plugin_class.capabilities, "shared_webhook", False)  # type: ignore[attr-defined]
        return self.plugin_class(
            Setup(
                time=self.time,
                connection_id=None if shared else "kit",
                config=None if shared else self.config,
                app=self.app,
                keys=self.adapter.keys(),
            )
        )

    @property
    def capabilities(self) -> Any:
        """What this connection can do."""
        return self.plugin.capabilities  # type: ignore[attr-defined]

    @property
    def transport(self) -> TwinTransport | None:
        """The twin's transport, where it is spoken to in this process."""
        transport = self.http._transport
        return transport if isinstance(transport, TwinTransport) else None

    # in

    async def install(self) -> None:
        """Set webhooks up as the host does, and keep what the plugin learnt."""
        report = await self.attempt(self.plugin.install(dry_run=False))  # type: ignore[attr-defined]
        if isinstance(report, GatewayError):
            raise report
        self.installed["config"] |= report.config
        self.installed["app"] |= report.app_config
        self.adapter.subscribe(DOOR_URL)

    async def door(self, request: WebhookRequest) -> WebhookResponse | int:
        """What the host's door does with a request."""
        try:
            answer: WebhookResponse | None = self.reader.verify(request)
        except Unverified as error:
            self.errors.append(error)
            self.refused.append(error)
            return 401
        if answer is None or answer.store:
            self.deliveries.append(
                RawDelivery(
                    f"d{len(self.deliveries)}",
                    "webhook",
                    request.body,
                    request.received_at,
                    headers=request.headers,
                    query=request.query,
                )
            )
        return answer if answer is not None else 200

    async def webhooks(self) -> list[Any]:
        """Deliver the webhooks that the twin has sent so far, in their order: what they say."""
        await self.adapter.twin.settle()
        builders, self.carried[:] = list(self.carried), []
        for build in builders:
            await self.knock(build)
        return self.read_deliveries()

    async def knock(self, build: WebhookBuilder) -> httpx2.Response:
        """Deliver one webhook."""
        url, headers, body = build()
        answer: httpx2.Response = await self.adapter.twin.client.post(url, headers=headers, content=body)
        return answer

    def read_deliveries(self) -> list[Any]:
        """What the deliveries that came since the last time say."""
        deliveries, self.deliveries[:] = list(self.deliveries), []
        return [item for delivery in deliveries for item in self.normalised(delivery)]

    def normalised(self, delivery: RawDelivery) -> list[Any]:
        """What a delivery says, by an instance that has no network."""
        plugin: Any = self.reader if delivery.origin == "webhook" else self.plugin_class(self._pure_setup())
        return list(plugin.normalise(delivery))

    def _pure_setup(self) -> Setup[Any]:
        return Setup(time=self.time, connection_id="kit", config=self.config, app=self.app, keys=self.adapter.keys())

    def read(self, pages: Sequence[RawPage], origin: Origin = "poll") -> list[Any]:
        """What pages say once they were stored, as the host stores them."""
        news: list[Any] = []
        for page in pages:
            if page.body:
                note = _stored(page.note, "error_not_named", "RawPage.note is no JSON document")
                delivery = RawDelivery("p", origin, page.body, self.time.now(), stream=page.stream, note=note)
                news += self.normalised(delivery)
        return news

    async def drain(
        self, stream: str, cursor: dict[str, Any] | None = None
    ) -> tuple[list[RawPage], dict[str, Any] | None]:
        """Poll a stream until there is no more, each time by a new instance and from the stored cursor."""
        pages: list[RawPage] = []
        for _ in range(_MOST_PAGES):
            page: Page = await self.plugin.poll(stream, cursor)  # type: ignore[attr-defined]
            pages += page.pages
            cursor = _stored(page.cursor, "cursor_in_memory", "the cursor is no JSON document")
            if not page.more:
                return pages, cursor
        found("poll_never_ends", f"{_MOST_PAGES} pages of {stream}, and still `more`")

    async def polled(self) -> list[Any]:
        """Poll every stream from its stored cursor, and store where it ended: what the pages say."""
        news: list[Any] = []
        for stream in self.capabilities.streams:
            pages, self.cursors[stream] = await self.drain(stream, self.cursors.get(stream))
            news += self.read(pages)
        return news

    async def follow(self, news: Sequence[Any]) -> list[Any]:
        """Fetch what the news only name, and what that names in turn: everything that is known then."""
        known = list(news)
        asked: set[str] = set()
        for _ in range(6):
            wanted = [one for one in known if isinstance(one, Wanted) and one.ref not in asked]
            wanted = list({one.ref: one for one in wanted}.values())
            if not wanted:
                break
            asked |= {one.ref for one in wanted}
            pages = await self.plugin.fetch(wanted)  # type: ignore[attr-defined]
            known += self.read(pages, "fetch")
        return known

    async def learn(self) -> list[Any]:
        """What the host learns now, by every way that the plugin has."""
        news = await self.webhooks()
        if self.capabilities.poll:
            news += await self.polled()
        return await self.follow(news)

    # trouble

    async def attempt(self, call: Awaitable[R]) -> R | GatewayError:
        """The result of a call, or the error that the plugin raised on purpose; any other one is a fault."""
        try:
            return await call
        except GatewayError as error:
            self.errors.append(error)
            return error
        except Exception as error:
            self.errors.append(error)
            found("error_not_named", f"{type(error).__name__}: {error}")

    def strike(self, kind: FaultKind, request: tuple[str, str], **more: Any) -> Fault:
        """Let a fault strike the next such request."""
        method, path = request
        fault = Fault(kind, method=method, path=path, **more)
        self.adapter.strike(fault)
        return fault

    def lose(self, kind: str, request: tuple[str, str], times: int = 9) -> None:
        """Let the next such requests have their effect, and their answers be lost on the way back."""
        match kind:
            case "time-out":
                self.strike("timeout_after", request, times=times)
            case "broken off":
                self.strike("drop_after", request, times=times)
            case "no JSON":
                self.strike("status_after", request, status=200, body=b"<html>", times=times)
            case "nothing":
                self.strike("status_after", request, status=200, times=times)
            case "trouble":
                status, body = self.adapter.trouble or (500, b"{}")
                self.strike("status_after", request, status=status, body=body, times=times)
            case _:
                self.strike("status_after", request, status=int(kind), body=b"{}", times=times)

    def asked(self, request: tuple[str, str]) -> int:
        """How many such requests the twin has had."""
        probe = Fault("latency", method=request[0], path=request[1], times=None)
        return sum(probe.strikes(method, path) for method, path, _ in self.adapter.twin.requests)

    # secrets

    def secrets(self) -> set[str]:
        """Every secret of the configuration."""
        return secrets_of(self.config) | (secrets_of(self.app) if self.app is not None else set())

    def search_for_secrets(self) -> None:
        """Fail when an error or a log line of this stage has a secret in it."""
        secrets = self.secrets()
        for error in self.errors:
            text = "".join(traceback.format_exception(error)) + repr(error)
            for secret in secrets:
                unless(secret not in text, "secret_in_error", f"{type(error).__name__} has a secret in its words")
        for line in self.logged:
            for secret in secrets:
                unless(secret not in line, "secret_in_error", f"a log line has a secret in it: {line[:40]}…")


def secrets_of(value: object) -> set[str]:
    """The secrets in a configuration, wherever they stand in it."""
    match value:
        case SecretStr():
            return {value.get_secret_value()} if len(value.get_secret_value()) > 3 else set()
        case BaseModel():
            return {secret for name in type(value).model_fields for secret in secrets_of(getattr(value, name))}
        case dict():
            return {secret for one in value.values() for secret in secrets_of(one)}
        case list() | tuple() | set() | frozenset():
            return {secret for one in value for secret in secrets_of(one)}
    return set()


def _stored(document: Any, fault: str, detail: str) -> Any:
    try:
        return json.loads(json.dumps(document, allow_nan=False))
    except (TypeError, ValueError) as error:
        found(fault, f"{detail}: {error}")


class _Listener(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.DEBUG)
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith(_QUIET):
            self.lines.append(self.format(record))


@contextlib.asynccontextmanager
async def staged_plugin(plugin_class: type[P], adapter_class: type[A]) -> AsyncIterator[Stage[P, A]]:
    """A stage with a new twin; at its end errors and logs are searched for secrets."""
    time = StillTime()
    adapter = adapter_class(time)
    twin = adapter.twin
    logger, level = logging.getLogger(), logging.getLogger().level
    async with adapter.running() as http:
        stage = Stage(plugin_class, adapter, time, http)
        twin.carrier = stage.carried.append
        twin.client = httpx2.AsyncClient(transport=DoorTransport(stage.door, time))
        listener = _Listener(stage.logged)
        logger.addHandler(listener)
        logger.setLevel(logging.DEBUG)
        for name in _QUIET:
            logging.getLogger(name).setLevel(logging.WARNING)
        try:
            yield stage
        finally:
            logger.setLevel(level)
            for name in _QUIET:
                logging.getLogger(name).setLevel(logging.NOTSET)
            logger.removeHandler(listener)
        stage.search_for_secrets()
        if stage.transport is not None:
            strayed = stage.transport.strayed
            unless(not strayed, "host_not_declared", f"the plugin called {', '.join(strayed[:3])}, not the twin")
