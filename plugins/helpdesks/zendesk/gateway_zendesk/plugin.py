"""Zendesk as a helpdesk: what the host calls."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import cached_property
from typing import Any, ClassVar

import httpx2
from pydantic import BaseModel

from gateway_schemas import hookimpl
from gateway_schemas.capabilities import HelpdeskCapabilities
from gateway_schemas.errors import Rejected, Unverified
from gateway_schemas.helpdesk import Helpdesk, HelpdeskNews
from gateway_schemas.interaction import Wanted
from gateway_schemas.limits import Allowance, Budget, LimitReading
from gateway_schemas.oauth import OAuth
from gateway_schemas.plugin import Health, InstallReport
from gateway_schemas.signatures import check_window, read_timestamp, verify_hmac
from gateway_schemas.ticket import FoundTicket, Pending, PushIntent, PushResult, TicketChange
from gateway_schemas.webhook import Page, RawDelivery, RawPage, WebhookRequest, WebhookResponse
from gateway_zendesk import authorising
from gateway_zendesk import normalise as reading
from gateway_zendesk.api import JOBS, Api, readings
from gateway_zendesk.bulk import MOST, Bulk
from gateway_zendesk.config import ZendeskConfig
from gateway_zendesk.customers import Customers
from gateway_zendesk.find import Finder
from gateway_zendesk.health import Checker
from gateway_zendesk.install import Installer
from gateway_zendesk.pull import STREAM, Puller
from gateway_zendesk.push import Pusher

SIGNATURE = "x-zendesk-webhook-signature"
TIMESTAMP = "x-zendesk-webhook-signature-timestamp"
WINDOW = timedelta(minutes=5)
_MINUTE = timedelta(minutes=1)


class ZendeskHelpdesk(Helpdesk[ZendeskConfig]):
    """One Zendesk Support account."""

    name: ClassVar[str] = "zendesk"
    title: ClassVar[str] = "Zendesk"
    Config = ZendeskConfig
    oauth = authorising.FIELDS
    budgets: ClassVar[tuple[Budget, ...]] = (
        Budget("*", 400, _MINUTE),
        Budget("tickets-update", 100, _MINUTE),
        Budget("tickets-update", 30, timedelta(minutes=10), per_scope=True),
        Budget("users-create", 1, timedelta(seconds=1)),
        Budget("users-create", 5, _MINUTE, per_scope=True),
        Budget("incremental-exports", 10, _MINUTE),
        # thirty jobs may wait or run at a time; the header that counts them speaks of sixty seconds
        Budget(JOBS, 30, _MINUTE),
    )
    """Documented for the Growth and Professional plans. What answers say of the account's own limits corrects them."""
    capabilities = HelpdeskCapabilities(
        webhook=True,
        poll=True,
        streams=(STREAM,),
        poll_every=timedelta(minutes=5),
        comments_per_change=1,
        comment_on_create=1,
        bulk=MOST,
        make_private=True,
        followup=True,
        # The list by external id and the audits are not the search index. A minute covers a request that Zendesk still
        # works on after we gave it up; background jobs are asked about by `find` itself.
        index_lag=timedelta(minutes=1),
        idempotency_window=timedelta(hours=2),
        updates_per_ticket=30,
        updates_window=timedelta(minutes=10),
        max_comments=5000,
    )

    @cached_property
    def _api(self) -> Api:
        return Api(self.http, self.config, self.setup.time)

    @cached_property
    def _pusher(self) -> Pusher:
        return Pusher(self._api, Customers(self._api, self.state), self.files)

    def verify(self, request: WebhookRequest) -> WebhookResponse | None:
        """Zendesk signs the time stamp followed by the body; the secret is used as its characters."""
        if self.setup.config is None:
            raise Unverified("Zendesk webhooks belong to a connection, not to an App", code="no_connection")
        given = request.header(TIMESTAMP)
        secrets = [secret.get_secret_value() for secret in self.config.signing_secrets]
        message = (given or "").encode("latin-1") + request.body
        verify_hmac(message, request.header(SIGNATURE), secrets, encoding="base64", header=SIGNATURE)
        check_window(read_timestamp(given, form="iso", header=TIMESTAMP), request.received_at, WINDOW, header=TIMESTAMP)
        return None

    def normalise(self, delivery: RawDelivery) -> Sequence[HelpdeskNews]:
        """Webhooks and the export name tickets (Wanted); a fetched ticket tells its comments and its state."""
        return reading.normalise(delivery, self.config)

    async def fetch(self, wanted: Sequence[Wanted]) -> Sequence[RawPage]:
        """Each ticket with its audits and the people in them. What could not be had now is left unanswered."""
        return await Puller(self._api).fetch(wanted)

    async def poll(self, stream: str, cursor: dict[str, Any] | None) -> Page:
        """The incremental export of tickets, which lags a minute and needs an admin."""
        if stream != STREAM:
            raise Rejected(f"Zendesk has no stream {stream}", code="no_stream")
        return await Puller(self._api).poll(cursor)

    async def push(self, changes: Sequence[TicketChange]) -> Sequence[PushResult]:
        """One change is made at once; many become background jobs, answered as Pending."""
        if len(changes) == 1:
            return [await self._pusher.one(changes[0])]
        return await Bulk(self._pusher).push(changes)

    async def resume(self, pending: Sequence[Pending]) -> Sequence[PushResult]:
        """How the jobs ended, item by item. Results of jobs name tickets, not comments: `Done.comments` is empty."""
        return await Bulk(self._pusher).resume(pending)

    async def find(self, intent: PushIntent) -> FoundTicket:
        """By external id and by the keys in audits. Raises Retry while a background job may still make it."""
        return await Finder(self._api, self._pusher).find(intent)

    async def install(self, *, dry_run: bool) -> InstallReport:
        """Webhook, signing secret, trigger and, if the config says so, the `gw_*` ticket fields."""
        return await Installer(self._api, self.setup.door).run(dry_run=dry_run)

    async def check(self) -> Health:
        """Credentials, role, webhook, signing secret and trigger."""
        return await Checker(Installer(self._api, self.setup.door)).run()

    def limits_of(self, response: httpx2.Response, bucket: str) -> list[LimitReading]:
        """`X-Rate-Limit`, `ratelimit-*` and `zendesk-ratelimit-<bucket>`."""
        return readings(response.headers, self.setup.time.now())

    @classmethod
    def account_of(cls, config: ZendeskConfig) -> str | None:
        """The account is its address."""
        return config.url.split("://", 1)[-1]

    @classmethod
    def hosts_of(cls, config: ZendeskConfig, app: BaseModel | None = None) -> tuple[str, ...]:
        """Only the account itself is called."""
        return (config.url,)

    @classmethod
    def oauth_of(cls, config: ZendeskConfig, app: BaseModel | None = None) -> OAuth:
        """The account's own consent page and token endpoint."""
        return authorising.declared(config)

    @classmethod
    def media_hosts_of(cls, config: ZendeskConfig, app: BaseModel | None = None) -> tuple[str, ...]:
        """Where `content_url` leads: the account, and the hosts it redirects to."""
        return (config.url, *config.media_hosts)

    @classmethod
    def allowance_of(cls, config: ZendeskConfig, app: BaseModel | None = None) -> Allowance:
        """The rest of the account's limit is for its other integrations."""
        return Allowance(share=config.share)


@hookimpl
def register_helpdesks() -> list[type[Helpdesk[Any]]]:
    """The helpdesks of this distribution."""
    return [ZendeskHelpdesk]
