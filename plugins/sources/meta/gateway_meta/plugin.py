"""Facebook Pages and Instagram as a source: the class that the gateway registers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

import httpx2
from pydantic import BaseModel

from gateway_meta import authorising, budgets
from gateway_meta.api import Api, hosts
from gateway_meta.config import MetaApp, MetaConfig
from gateway_meta.fetching import Fetcher
from gateway_meta.health import check
from gateway_meta.installing import Installer
from gateway_meta.normalise import normalise
from gateway_meta.reading import INSTAGRAM_STREAMS, OVERLAP, PAGE_STREAMS, Reader
from gateway_meta.rendering import MESSENGER_TEXT, PAGE_COMMENT, render, text_limits
from gateway_meta.sending import Sender
from gateway_meta.windows import STANDARD, messaging_window
from gateway_schemas import hookimpl
from gateway_schemas.capabilities import SourceCapabilities
from gateway_schemas.errors import Unverified
from gateway_schemas.interaction import Normalised, Wanted
from gateway_schemas.limits import Budget, LimitReading
from gateway_schemas.oauth import OAuth, OAuthTokens
from gateway_schemas.plugin import AccountRef, Health, InstallReport, Probing, Setup
from gateway_schemas.reply import Draft, FindResult, Rendered, SendIntent, Sent
from gateway_schemas.signatures import verify_hmac, verify_token
from gateway_schemas.source import Source
from gateway_schemas.webhook import Page, RawDelivery, RawPage, WebhookRequest, WebhookResponse

SIGNATURE = "X-Hub-Signature-256"
_CHALLENGE = re.compile(r"[A-Za-z0-9._~+/=-]{1,512}")


class MetaSource(Source[MetaConfig]):
    """One Page or Instagram account, or one App's shared webhook."""

    name: ClassVar[str] = "meta"
    title: ClassVar[str] = "Facebook and Instagram"
    Config: ClassVar[type[BaseModel]] = MetaConfig
    AppConfig: ClassVar[type[BaseModel]] = MetaApp
    budgets: ClassVar[tuple[Budget, ...]] = budgets.BUDGETS
    oauth = authorising.FIELDS
    probing: ClassVar[Probing] = Probing(calls=4)
    capabilities = SourceCapabilities(
        kinds=frozenset({"post", "comment", "review", "direct_message"}),
        identity="provider",
        webhook=True,
        shared_webhook=True,
        poll=True,
        streams=PAGE_STREAMS,
        poll_every=timedelta(minutes=15),
        overlap=OVERLAP,
        reply=True,
        private=True,
        edit=True,
        delete=True,
        hide=True,
        media=True,
        text={"comment": PAGE_COMMENT, "mention": PAGE_COMMENT, "direct_message": MESSENGER_TEXT},
        # of private messages; comments may be answered at any time
        reply_window=STANDARD,
        # Meta promises nothing about when a comment or message is listed; it is within seconds
        index_lag=timedelta(seconds=60),
    )

    def __init__(self, setup: Setup[MetaConfig]) -> None:
        super().__init__(setup)
        self._known_api: Api | None = None
        if setup.config is not None:
            human_agent = isinstance(setup.app, MetaApp) and setup.app.human_agent
            self.capabilities = _narrowed(setup.config, human_agent)

    @classmethod
    def account_of(cls, config: MetaConfig) -> str | None:
        """The id of the Page or Instagram account, by which webhooks name it."""
        return config.account_id

    @classmethod
    def hosts_of(cls, config: MetaConfig, app: BaseModel | None = None) -> tuple[str, ...]:
        """The Graph API, and that of Instagram Login."""
        return tuple(dict.fromkeys(hosts(app if isinstance(app, MetaApp) else None)))

    @classmethod
    def oauth_of(cls, config: MetaConfig, app: BaseModel | None = None) -> OAuth:
        """Facebook's login dialog."""
        return authorising.declared(config, app if isinstance(app, MetaApp) else None)

    async def oauth_granted(self, tokens: OAuthTokens) -> OAuthTokens:
        """The token that lasts."""
        return await authorising.lasting(self.http, self._app(RuntimeError), tokens, self.setup.time.now())

    @classmethod
    def media_hosts_of(cls, config: MetaConfig, app: BaseModel | None = None) -> tuple[str, ...]:
        """Meta's hosts for pictures and videos."""
        return tuple(config.media_hosts)

    def limits_of(self, response: httpx2.Response, bucket: str) -> list[LimitReading]:
        """Meta tells in two headers how much of its limits is used."""
        return budgets.readings(response, self.setup.time.now())

    # in

    def verify(self, request: WebhookRequest) -> WebhookResponse | None:
        """Answer Meta's handshake (GET with `hub.challenge`), or check the signature over the raw body (POST).

        Meta signs the bytes it sends, in which everything beyond ASCII is escaped; an App's Instagram product signs
        with a secret of its own.
        """
        app = self._app(Unverified)
        if request.method == "GET":
            challenge = request.query_value("hub.challenge")
            mode = request.query_value("hub.mode")
            if mode != "subscribe" or challenge is None or not _CHALLENGE.fullmatch(challenge):
                raise Unverified("not a handshake of Meta: hub.mode or hub.challenge is wrong", code="no_challenge")
            given = request.query_value("hub.verify_token")
            verify_token(given, [app.verify_token.get_secret_value()], header="hub.verify_token")
            return WebhookResponse(challenge.encode(), media_type="text/plain")
        if request.method != "POST":
            raise Unverified(f"Meta sends no {request.method}", code="wrong_method")
        secrets = [app.app_secret, *app.previous_app_secrets]
        if app.instagram_app_secret is not None:
            secrets.append(app.instagram_app_secret)
        given = request.header(SIGNATURE)
        keys = [secret.get_secret_value() for secret in secrets]
        verify_hmac(request.body, given, keys, prefix="sha256=", header=SIGNATURE)
        return None

    def normalise(self, delivery: RawDelivery) -> Sequence[Normalised]:
        """Webhooks in each of Meta's shapes, polled pages and fetched nodes; each names the account it is for."""
        return normalise(delivery, self.setup.app if isinstance(self.setup.app, MetaApp) else None)

    async def fetch(self, wanted: Sequence[Wanted]) -> Sequence[RawPage]:
        """Comments, posts, media, mentions, messages, recommendations; the newest of a stream."""
        return await Fetcher(Reader(self.api)).fetch(wanted)

    async def poll(self, stream: str, cursor: dict[str, Any] | None) -> Page:
        """One page of the stream's walk since the last poll."""
        return await Reader(self.api).poll(stream, cursor)

    # out

    def render(self, draft: Draft) -> Rendered:
        """The request's body, with its length as Meta counts it; refused where Meta's window is over."""
        return render(self.config, self._app(RuntimeError), draft)

    async def send(self, rendered: Rendered, key: str) -> Sent:
        """Publish; Meta has no idempotency keys."""
        return await self._sender().send(rendered)

    async def find(self, intent: SendIntent) -> FindResult:
        """Look through the thread, or the conversation."""
        return await self._sender().find(intent)

    async def retract(self, sent: Sent) -> None:
        """Delete the comment."""
        await self._sender().retract(sent)

    async def amend(self, sent: Sent, rendered: Rendered) -> Sent:
        """Change the comment."""
        return await self._sender().amend(sent, rendered)

    async def hide(self, external_id: str, *, hidden: bool = True) -> None:
        """Hide somebody's comment, or show it again. Raises GatewayError."""
        await self._sender().hide(external_id, hidden=hidden)

    # set-up

    async def discover(self) -> Sequence[AccountRef]:
        """The Pages the token can act for, and their Instagram accounts."""
        return await Installer(self.api, self.setup.door).discover()

    async def install(self, *, dry_run: bool) -> InstallReport:
        """The App's webhook and the account's subscription."""
        return await Installer(self.api, self.setup.door).install(dry_run=dry_run)

    async def check(self) -> Health:
        """Token, permissions, webhook, subscription."""
        return await check(self.api, self.setup.door)

    def _app(self, error: type[Unverified] | type[RuntimeError]) -> MetaApp:
        if not isinstance(self.setup.app, MetaApp):
            raise error("meta: this connection belongs to no App; make one with the App's id and secret first")
        return self.setup.app

    @property
    def api(self) -> Api:
        """The Graph API with this account's token."""
        if self._known_api is None:
            self._known_api = Api(self.setup, self.config, self._app(RuntimeError), self.http)
        return self._known_api

    def _sender(self) -> Sender:
        return Sender(self.api, self.files)


def _narrowed(config: MetaConfig, human_agent: bool) -> SourceCapabilities:
    """What this account can do: Instagram's comments cannot be changed and carry no files."""
    general = MetaSource.capabilities
    changes: dict[str, Any] = {"text": text_limits(config), "reply_window": messaging_window(human_agent)}
    kinds, streams = general.kinds, general.streams
    if config.instagram:
        kinds, streams = kinds - {"review"}, INSTAGRAM_STREAMS
        changes |= {"edit": False, "media": False}
    if not config.messages:
        kinds = kinds - {"direct_message"}
        streams = tuple(stream for stream in streams if stream != "messages")
        changes |= {"private": False, "reply_window": None}
    return general.model_copy(update={**changes, "kinds": kinds, "streams": streams})


@hookimpl
def register_sources() -> list[type[Any]]:
    """The gateway asks once, at start."""
    return [MetaSource]
