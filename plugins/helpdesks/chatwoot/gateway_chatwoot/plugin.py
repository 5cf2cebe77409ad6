"""Chatwoot as a helpdesk: what the host calls."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import cached_property
from typing import Any, ClassVar

from pydantic import BaseModel

from gateway_chatwoot import normalise as reading
from gateway_chatwoot.api import Api
from gateway_chatwoot.config import ChatwootConfig
from gateway_chatwoot.customers import Customers
from gateway_chatwoot.find import Finder
from gateway_chatwoot.health import Checker
from gateway_chatwoot.install import Installer
from gateway_chatwoot.pull import Puller
from gateway_chatwoot.push import Pusher
from gateway_schemas import hookimpl
from gateway_schemas.capabilities import HelpdeskCapabilities
from gateway_schemas.errors import Unverified
from gateway_schemas.helpdesk import Helpdesk, HelpdeskNews
from gateway_schemas.interaction import Wanted
from gateway_schemas.limits import Allowance, Budget
from gateway_schemas.plugin import Health, InstallReport
from gateway_schemas.signatures import check_window, read_timestamp, verify_hmac, verify_token
from gateway_schemas.ticket import FoundTicket, PushIntent, PushResult, TicketChange
from gateway_schemas.webhook import Page, RawDelivery, RawPage, WebhookRequest, WebhookResponse

SIGNATURE, TIMESTAMP = "X-Chatwoot-Signature", "X-Chatwoot-Timestamp"
TOLERANCE = timedelta(minutes=5)
"""How old a signed webhook may be. Chatwoot repeats none, so nothing older is on its way."""


class ChatwootHelpdesk(Helpdesk[ChatwootConfig]):
    """One inbox of one Chatwoot account."""

    name: ClassVar[str] = "chatwoot"
    title: ClassVar[str] = "Chatwoot"
    Config = ChatwootConfig
    budgets: ClassVar[tuple[Budget, ...]] = (Budget("*", 3000, timedelta(minutes=1)),)
    capabilities = HelpdeskCapabilities(
        webhook=True,
        poll=True,
        streams=("conversations",),
        poll_every=timedelta(minutes=5),
        overlap=timedelta(minutes=2),
        comments_per_change=1,
        comment_on_create=1,
        bulk=1,
        make_private=True,  # by showing it as failed: API channels may
        followup=False,  # a resolved conversation opens again
        # Conversations and messages are read from the database they were written to; a minute covers a request that
        # Chatwoot still works on after we gave it up.
        index_lag=timedelta(minutes=1),
        idempotency_window=None,
    )

    @cached_property
    def _api(self) -> Api:
        return Api(self.http, self.config, self.setup.time)

    @cached_property
    def _customers(self) -> Customers:
        return Customers(self._api, self.state)

    @cached_property
    def _pusher(self) -> Pusher:
        return Pusher(self._api, self._customers, self.files)

    def verify(self, request: WebhookRequest) -> WebhookResponse | None:
        """HMAC-SHA256 over `<timestamp>.<body>`; from releases that do not sign, a token in the address."""
        if self.setup.config is None:
            raise Unverified("Chatwoot webhooks belong to a connection, not to an App", code="no_connection")
        secrets = [secret.get_secret_value() for secret in self.config.webhook_secrets]
        if secrets or self.config.url_token is None:
            given = request.header(TIMESTAMP)
            at = read_timestamp(given, header=TIMESTAMP)
            signed = f"{given}.".encode("latin-1") + request.body
            verify_hmac(signed, request.header(SIGNATURE), secrets, prefix="sha256=", header=SIGNATURE)
            check_window(at, request.received_at, TOLERANCE, header=TIMESTAMP)
        else:
            token = self.config.url_token.get_secret_value()
            verify_token(request.query_value("token"), [token], header="token (in the address)")
        return None

    def normalise(self, delivery: RawDelivery) -> Sequence[HelpdeskNews]:
        """Signed webhooks tell a message or a conversation's state; unsigned ones and lists name conversations."""
        return reading.normalise(delivery, self.config)

    async def fetch(self, wanted: Sequence[Wanted]) -> Sequence[RawPage]:
        """Each conversation with its messages. What could not be had now is left unanswered."""
        return await Puller(self._api).fetch(wanted)

    async def poll(self, stream: str, cursor: dict[str, Any] | None) -> Page:
        """The inbox's conversations by their last activity, as repair for webhooks, which Chatwoot never repeats."""
        return await Puller(self._api).poll(cursor)

    async def push(self, changes: Sequence[TicketChange]) -> Sequence[PushResult]:
        """One change a call: Chatwoot has no bulk operation that makes messages."""
        return [await self._pusher.one(change) for change in changes]

    async def find(self, intent: PushIntent) -> FoundTicket:
        """By the key among the contact's conversations, and by the messages' marks."""
        return await Finder(self._api, self._pusher, self._customers).find(intent)

    async def install(self, *, dry_run: bool) -> InstallReport:
        """Inbox, labels, attributes and webhook; and what works against us."""
        return await Installer(self._api, self.setup.door).run(dry_run=dry_run)

    async def check(self) -> Health:
        """Credentials, rights, inbox, webhook, and what of the account works against us."""
        return await Checker(Installer(self._api, self.setup.door)).run()

    @classmethod
    def account_of(cls, config: ChatwootConfig) -> str | None:
        """The account is its address, its number and its inbox."""
        inbox = f"/{config.inbox_id}" if config.inbox_id is not None else ""
        return f"{config.base_url.split('://', 1)[-1]}/{config.account_id}{inbox}"

    @classmethod
    def hosts_of(cls, config: ChatwootConfig, app: BaseModel | None = None) -> tuple[str, ...]:
        """Only Chatwoot itself is called."""
        return (config.base_url,)

    @classmethod
    def media_hosts_of(cls, config: ChatwootConfig, app: BaseModel | None = None) -> tuple[str, ...]:
        """Where `data_url` leads: Chatwoot, and the object store that it redirects to."""
        return (config.base_url, *config.media_hosts)

    @classmethod
    def budgets_of(cls, config: ChatwootConfig, app: BaseModel | None = None) -> tuple[Budget, ...]:
        """One limit for each address, whatever the request."""
        return (Budget("*", config.requests_a_minute, timedelta(minutes=1)),)

    @classmethod
    def allowance_of(cls, config: ChatwootConfig, app: BaseModel | None = None) -> Allowance:
        """The rest is for the agents, who work behind the same limit where the gateway runs beside them."""
        return Allowance(share=config.share)


@hookimpl
def register_helpdesks() -> list[type[Helpdesk[Any]]]:
    """The helpdesks of this distribution."""
    return [ChatwootHelpdesk]
