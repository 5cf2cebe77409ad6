"""Freshdesk as a helpdesk: what the host calls."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import cached_property
from typing import Any, ClassVar

import httpx2
from pydantic import BaseModel

from gateway_freshdesk import normalise as reading
from gateway_freshdesk.api import CONTACTS, CREATE, LIST, UPDATE, Api, readings
from gateway_freshdesk.config import FreshdeskConfig, Plan
from gateway_freshdesk.customers import Customers
from gateway_freshdesk.find import Finder
from gateway_freshdesk.health import Checker
from gateway_freshdesk.install import Installer
from gateway_freshdesk.pull import STREAMS, Puller
from gateway_freshdesk.push import Pusher
from gateway_schemas import hookimpl
from gateway_schemas.capabilities import HelpdeskCapabilities
from gateway_schemas.errors import Rejected, Unverified
from gateway_schemas.helpdesk import Helpdesk, HelpdeskNews
from gateway_schemas.interaction import Wanted
from gateway_schemas.limits import Allowance, Budget, LimitReading
from gateway_schemas.plugin import Health, InstallReport
from gateway_schemas.signatures import verify_token
from gateway_schemas.ticket import FoundTicket, PushIntent, PushResult, TicketChange
from gateway_schemas.webhook import Page, RawDelivery, RawPage, WebhookRequest, WebhookResponse

_MINUTE = timedelta(minutes=1)


def _budgets(total: int, writes: int, lists: int) -> tuple[Budget, ...]:
    return (
        Budget("*", total, _MINUTE),
        Budget(CREATE, writes, _MINUTE),
        Budget(UPDATE, writes, _MINUTE),
        Budget(LIST, lists, _MINUTE),
        Budget(CONTACTS, lists, _MINUTE),
    )


BUDGETS: dict[Plan, tuple[Budget, ...]] = {
    "trial": _budgets(50, 50, 20),
    "growth": _budgets(200, 80, 20),
    "pro": _budgets(400, 160, 100),
    "enterprise": _budgets(700, 280, 200),
}
"""Requests a minute: of the account, and of each kind that has a limit of its own (Freshdesk: rate limits by plan)."""


class FreshdeskHelpdesk(Helpdesk[FreshdeskConfig]):
    """One Freshdesk account."""

    name: ClassVar[str] = "freshdesk"
    title: ClassVar[str] = "Freshdesk"
    Config = FreshdeskConfig
    budgets: ClassVar[tuple[Budget, ...]] = BUDGETS["growth"]
    capabilities = HelpdeskCapabilities(
        webhook=True,
        poll=True,
        streams=STREAMS,
        poll_every=timedelta(minutes=5),
        overlap=timedelta(minutes=2),
        comments_per_change=1,
        comment_on_create=1,
        bulk=1,  # its bulk operation makes the same change to all
        make_private=False,  # a note's privacy cannot be changed by the API
        followup=True,
        # Lists and conversations are not the search index. Two minutes cover a request that Freshdesk still works on
        # after we gave it up, and a list that trails behind.
        index_lag=timedelta(minutes=2),
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

    @cached_property
    def _puller(self) -> Puller:
        return Puller(self._api)

    def verify(self, request: WebhookRequest) -> WebhookResponse | None:
        """Freshdesk signs nothing; the rule sends a secret in a header. What comes with it is taken as a hint only."""
        if self.setup.config is None:
            raise Unverified("Freshdesk webhooks belong to a connection, not to an App", code="no_connection")
        secrets = [secret.get_secret_value() for secret in self.config.webhook_secrets]
        verify_token(request.header(self.config.webhook_header), secrets, header=self.config.webhook_header)
        return None

    def normalise(self, delivery: RawDelivery) -> Sequence[HelpdeskNews]:
        """Webhooks and lists name tickets (Wanted); a fetched ticket tells its conversations and its state."""
        return reading.normalise(delivery, self.config)

    async def fetch(self, wanted: Sequence[Wanted]) -> Sequence[RawPage]:
        """Each ticket with its conversations, their authors and what proves a merge. What could not be had now is left
        unanswered."""
        return await self._puller.fetch(wanted)

    async def poll(self, stream: str, cursor: dict[str, Any] | None) -> Page:
        """The lists of tickets by their last change: those in work, those in the trash, and spam."""
        if stream not in STREAMS:
            raise Rejected(f"Freshdesk has no stream {stream}", code="no_stream")
        return await self._puller.poll(stream, cursor)

    async def push(self, changes: Sequence[TicketChange]) -> Sequence[PushResult]:
        """One change, for `capabilities.bulk` is 1."""
        return [await self._pusher.one(change) for change in changes]

    async def find(self, intent: PushIntent) -> FoundTicket:
        """By the marks at the end of descriptions and notes, in the requester's tickets and the ticket itself."""
        return await Finder(self._api, self._pusher, self._customers).find(intent)

    async def install(self, *, dry_run: bool) -> InstallReport:
        """The secret, the automation rule that sends it, fields if the config says so; and what works against us."""
        return await Installer(self._api, self.setup.door).run(dry_run=dry_run)

    async def check(self) -> Health:
        """Credentials, rights, rule, fields, and what of the account works against us."""
        return await Checker(Installer(self._api, self.setup.door)).run()

    def limits_of(self, response: httpx2.Response, bucket: str) -> list[LimitReading]:
        """`X-RateLimit-Total` and `X-RateLimit-Remaining`."""
        return readings(response.headers)

    @classmethod
    def account_of(cls, config: FreshdeskConfig) -> str | None:
        """The account is its address."""
        return config.url.split("://", 1)[-1]

    @classmethod
    def hosts_of(cls, config: FreshdeskConfig, app: BaseModel | None = None) -> tuple[str, ...]:
        """Only the account itself is called."""
        return (config.url,)

    @classmethod
    def media_hosts_of(cls, config: FreshdeskConfig, app: BaseModel | None = None) -> tuple[str, ...]:
        """Where `attachment_url` leads: the account, and the hosts that keep its files."""
        return (config.url, *config.media_hosts)

    @classmethod
    def budgets_of(cls, config: FreshdeskConfig, app: BaseModel | None = None) -> tuple[Budget, ...]:
        """Limits go by the account's plan."""
        return BUDGETS[config.plan]

    @classmethod
    def allowance_of(cls, config: FreshdeskConfig, app: BaseModel | None = None) -> Allowance:
        """The rest of the account's limits is for its other integrations and its automation's webhooks."""
        return Allowance(share=config.share)


@hookimpl
def register_helpdesks() -> list[type[Helpdesk[Any]]]:
    """The helpdesks of this distribution."""
    return [FreshdeskHelpdesk]
