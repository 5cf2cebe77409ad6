"""X as a source: the class that the gateway registers."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

import httpx2
from pydantic import BaseModel

from gateway_schemas import hookimpl
from gateway_schemas.capabilities import SourceCapabilities, TextLimit
from gateway_schemas.errors import Rejected, Unverified
from gateway_schemas.files import Downloaded
from gateway_schemas.interaction import Attachment, Normalised, Wanted
from gateway_schemas.length import Counting
from gateway_schemas.limits import Allowance, Budget, LimitReading, epoch_headers
from gateway_schemas.oauth import OAuth
from gateway_schemas.plugin import AccountRef, Health, InstallReport, Probing, Setup
from gateway_schemas.reply import Draft, FindResult, Rendered, SendIntent, Sent
from gateway_schemas.signatures import sign_hmac, verify_hmac
from gateway_schemas.source import Source
from gateway_schemas.webhook import Page, RawDelivery, RawPage, WebhookRequest, WebhookResponse
from gateway_x import authorising
from gateway_x.api import Api, base_url
from gateway_x.config import XApp, XConfig
from gateway_x.installing import Installer
from gateway_x.metering import BUDGETS
from gateway_x.normalise import normalise
from gateway_x.reading import OVERLAP, Reader
from gateway_x.sending import MESSAGE_LIMIT, Sender, render
from gateway_x.tokens import Tokens

SIGNATURE = "x-twitter-webhooks-signature"
_CHALLENGE = re.compile(r"[A-Za-z0-9+/=_.~-]{1,256}")


class XSource(Source[XConfig]):
    """One account at X, or one App's shared webhook."""

    name: ClassVar[str] = "x"
    title: ClassVar[str] = "X (Twitter)"
    Config: ClassVar[type[BaseModel]] = XConfig
    AppConfig: ClassVar[type[BaseModel]] = XApp
    budgets: ClassVar[tuple[Budget, ...]] = BUDGETS
    oauth = authorising.FIELDS
    probing: ClassVar[Probing] = Probing(calls=2)
    capabilities = SourceCapabilities(
        kinds=frozenset({"post", "comment", "direct_message"}),
        identity="provider",
        webhook=True,
        shared_webhook=True,
        poll=True,
        streams=("mentions", "dms"),
        poll_every=timedelta(minutes=5),
        overlap=OVERLAP,
        reply=True,
        private=True,
        delete=True,
        media=True,
        text={
            "comment": TextLimit(limit=280, counting=Counting.weighted_x, reserved_url=23),
            "mention": TextLimit(limit=280, counting=Counting.weighted_x, reserved_url=23),
            "direct_message": TextLimit(limit=MESSAGE_LIMIT, counting=Counting.code_points),
        },
        # X promises nothing. An account's own timeline is read from its posts and not from the search index, and shows
        # a post within seconds; a minute also covers a request that X was still working on when we gave up.
        index_lag=timedelta(seconds=60),
    )

    def __init__(self, setup: Setup[XConfig]) -> None:
        super().__init__(setup)
        self._known_api: Api | None = None
        if setup.config is not None:
            self.capabilities = _narrowed(setup.config)

    @classmethod
    def account_of(cls, config: XConfig) -> str | None:
        """The account's user id, which never changes; handles do."""
        return config.user_id

    @classmethod
    def hosts_of(cls, config: XConfig, app: BaseModel | None = None) -> tuple[str, ...]:
        """The API's base URL."""
        return (base_url(config, app if isinstance(app, XApp) else None),)

    @classmethod
    def media_hosts_of(cls, config: XConfig, app: BaseModel | None = None) -> tuple[str, ...]:
        """X's hosts for pictures and videos."""
        return tuple(config.media_hosts)

    @classmethod
    def allowance_of(cls, config: XConfig, app: BaseModel | None = None) -> Allowance:
        """The App's budget in dollars a day."""
        return Allowance(daily_usd=app.daily_cost_usd if isinstance(app, XApp) else None)

    @classmethod
    def oauth_of(cls, config: XConfig, app: BaseModel | None = None) -> OAuth:
        """X's consent page and token endpoint."""
        return authorising.declared(config, app if isinstance(app, XApp) else None)

    def limits_of(self, response: httpx2.Response, bucket: str) -> list[LimitReading]:
        """X tells of the tightest window in `x-rate-limit-*`."""
        return epoch_headers(response.headers, bucket)

    # in

    def verify(self, request: WebhookRequest) -> WebhookResponse | None:
        """Answer X's challenge (GET with `crc_token`), or check the signature over the raw body (POST).

        Challenge and body are signed with the same key and nothing tells the two apart, so whoever may have any text
        signed as a challenge could sign events. Only texts that cannot be an event are answered: no braces, no quotes.
        """
        app = self._app(Unverified)
        secrets = [secret.get_secret_value() for secret in (app.consumer_secret, *app.previous_consumer_secrets)]
        if request.method == "GET":
            token = request.query_value("crc_token")
            if token is None or not _CHALLENGE.fullmatch(token):
                raise Unverified("not a challenge: crc_token is missing or no token of X", code="no_challenge")
            answer = sign_hmac(token.encode(), secrets[0], encoding="base64", prefix="sha256=")
            return WebhookResponse(json.dumps({"response_token": answer}).encode())
        if request.method != "POST":
            raise Unverified(f"X sends no {request.method}", code="wrong_method")
        given = request.header(SIGNATURE)
        verify_hmac(request.body, given, secrets, encoding="base64", prefix="sha256=", header=SIGNATURE)
        return None

    def normalise(self, delivery: RawDelivery) -> Sequence[Normalised]:
        """Activity events, polled pages and fetched objects; each names the account that it is for."""
        return normalise(delivery)

    async def fetch(self, wanted: Sequence[Wanted]) -> Sequence[RawPage]:
        """Posts by the hundred, thin messages, a conversation's posts of seven days."""
        return await Reader(self._api()).fetch(wanted)

    async def download(self, attachment: Attachment) -> Downloaded:
        """The bytes of a picture or video; webhooks name it by its key, which the post is looked up for."""
        if attachment.url is None and attachment.lookup is not None:
            attachment = await Reader(self._api()).media_of(attachment)
        return await super().download(attachment)

    async def poll(self, stream: str, cursor: dict[str, Any] | None) -> Page:
        """One page of mentions or messages since the last poll."""
        if stream not in XSource.capabilities.streams:
            raise Rejected(f"X has no stream {stream}", code="no_stream")
        reader = Reader(self._api())
        return await (reader.poll_messages(cursor) if stream == "dms" else reader.poll_mentions(cursor))

    # out

    def render(self, draft: Draft) -> Rendered:
        """The request's body, with its length as X counts it."""
        return render(self.config, draft)

    async def send(self, rendered: Rendered, key: str) -> Sent:
        """Publish; X has no idempotency keys."""
        return await Sender(self._api(), self.files).send(rendered)

    async def find(self, intent: SendIntent) -> FindResult:
        """Look through the account's own timeline, or the conversation."""
        return await Sender(self._api(), self.files).find(intent)

    async def retract(self, sent: Sent) -> None:
        """Delete the post or message."""
        await Sender(self._api(), self.files).retract(sent)

    # set-up

    async def discover(self) -> Sequence[AccountRef]:
        """The account whose token it is."""
        return await Installer(self._api(), self.setup.door).discover()

    async def install(self, *, dry_run: bool) -> InstallReport:
        """The App's webhook and the account's subscriptions."""
        return await Installer(self._api(), self.setup.door).install(dry_run=dry_run)

    async def check(self) -> Health:
        """Token, account, webhook, subscriptions."""
        return await Installer(self._api(), self.setup.door).check()

    async def probe(self) -> Health:
        """Webhook and subscriptions, at no cost."""
        return await Installer(self._api(), self.setup.door).probe()

    def _app(self, error: type[Unverified] | type[RuntimeError]) -> XApp:
        if not isinstance(self.setup.app, XApp):
            raise error("x: this connection belongs to no App; make one with the App's keys first")
        return self.setup.app

    def _api(self) -> Api:
        if self._known_api is None:
            app = self._app(RuntimeError)
            tokens = Tokens(self.config, app, self.http, self.setup.state, self.setup.time)
            self._known_api = Api(self.setup, self.config, app, tokens, self.http)
        return self._known_api


def _narrowed(config: XConfig) -> SourceCapabilities:
    """What this account can do: the length of its posts, and whether messages are its business."""
    general = XSource.capabilities
    public = TextLimit(limit=config.text_limit, counting=Counting.weighted_x, reserved_url=23)
    text = {"comment": public, "mention": public}
    if not config.direct_messages:
        kinds = general.kinds - {"direct_message"}
        return general.model_copy(update={"kinds": kinds, "streams": ("mentions",), "private": False, "text": text})
    return general.model_copy(update={"text": general.text | text})


@hookimpl
def register_sources() -> list[type[Any]]:
    """The gateway asks once, at start."""
    return [XSource]
