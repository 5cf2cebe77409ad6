"""Zammad as a helpdesk: what the host calls."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import cached_property
from typing import Any, ClassVar

from pydantic import BaseModel

from gateway_schemas import hookimpl
from gateway_schemas.capabilities import HelpdeskCapabilities
from gateway_schemas.errors import Gone, Rejected, Unverified
from gateway_schemas.files import Downloaded
from gateway_schemas.helpdesk import Helpdesk, HelpdeskNews
from gateway_schemas.interaction import Attachment, Wanted
from gateway_schemas.limits import Budget
from gateway_schemas.plugin import Health, InstallReport
from gateway_schemas.signatures import verify_hmac
from gateway_schemas.ticket import FoundTicket, PushIntent, PushResult, TicketChange
from gateway_schemas.webhook import Page, RawDelivery, RawPage, WebhookRequest, WebhookResponse
from gateway_zammad import normalise as reading
from gateway_zammad.api import Api
from gateway_zammad.config import ZammadConfig
from gateway_zammad.customers import Customers
from gateway_zammad.find import Finder
from gateway_zammad.health import Checker
from gateway_zammad.install import Installer
from gateway_zammad.pull import STREAM, Puller
from gateway_zammad.push import Pusher

SIGNATURE = "X-Hub-Signature"


class ZammadHelpdesk(Helpdesk[ZammadConfig]):
    """One Zammad system."""

    name: ClassVar[str] = "zammad"
    title: ClassVar[str] = "Zammad"
    Config = ZammadConfig
    capabilities = HelpdeskCapabilities(
        webhook=True,
        poll=True,
        streams=(STREAM,),
        poll_every=timedelta(minutes=5),
        overlap=timedelta(minutes=2),
        comments_per_change=1,
        comment_on_create=1,
        bulk=1,
        make_private=True,
        followup=True,
        # Tickets and articles are read from the database, but who a customer is may have to be asked of the search
        # index. It is near real time; two minutes also cover a request that Zammad still works on after we gave it up.
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

    def verify(self, request: WebhookRequest) -> WebhookResponse | None:
        """`X-Hub-Signature: sha1=<hex>`: HMAC-SHA1 over the raw body with the webhook's token (Zammad: webhooks)."""
        if self.setup.config is None:
            raise Unverified("Zammad webhooks belong to a connection, not to an App", code="no_connection")
        secrets = [secret.get_secret_value() for secret in self.config.webhook_secrets]
        given = request.header(SIGNATURE)
        verify_hmac(request.body, given, secrets, digest="sha1", prefix="sha1=", header=SIGNATURE)
        return None

    def normalise(self, delivery: RawDelivery) -> Sequence[HelpdeskNews]:
        """Webhooks and lists name tickets (Wanted); a fetched ticket tells its articles and its state."""
        return reading.normalise(delivery, self.config)

    async def fetch(self, wanted: Sequence[Wanted]) -> Sequence[RawPage]:
        """Each ticket with its articles and tags, and the links of a merged one."""
        return await Puller(self._api).fetch(wanted)

    async def poll(self, stream: str, cursor: dict[str, Any] | None) -> Page:
        """The list of tickets by their last change."""
        if stream != STREAM:
            raise Rejected(f"Zammad has no stream {stream}", code="no_stream")
        return await Puller(self._api).poll(cursor)

    async def push(self, changes: Sequence[TicketChange]) -> Sequence[PushResult]:
        """One change, for `capabilities.bulk` is 1."""
        return [await self._pusher.one(change) for change in changes]

    async def find(self, intent: PushIntent) -> FoundTicket:
        """By the articles' message ids, in the ticket itself or the customer's newest tickets."""
        return await Finder(self._api, self._pusher, self._customers).find(intent)

    async def download(self, attachment: Attachment) -> Downloaded:
        """`GET /ticket_attachment/{ticket}/{article}/{id}` with the token: files have no address of their own."""
        if attachment.lookup is None:
            return await super().download(attachment)
        path = f"ticket_attachment/{attachment.lookup}"
        response = await self._api.send("GET", path, client=self.setup.media or self.http)
        if not response.content:
            raise Gone("the attachment is empty", code="empty_file")
        media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower() or None
        return Downloaded(response.content, media_type, attachment.name)

    async def install(self, *, dry_run: bool) -> InstallReport:
        """The webhook with its token, the trigger that sends it, attributes if the config says so; and what works
        against us."""
        return await Installer(self._api, self.setup.door).run(dry_run=dry_run)

    async def check(self) -> Health:
        """Credentials, rights, webhook, trigger, attributes, and what of the system works against us."""
        return await Checker(Installer(self._api, self.setup.door)).run()

    @classmethod
    def account_of(cls, config: ZammadConfig) -> str | None:
        """The account is its address."""
        return config.url.split("://", 1)[-1]

    @classmethod
    def hosts_of(cls, config: ZammadConfig, app: BaseModel | None = None) -> tuple[str, ...]:
        """Only the system itself is called."""
        return (config.url,)

    @classmethod
    def budgets_of(cls, config: ZammadConfig, app: BaseModel | None = None) -> tuple[Budget, ...]:
        """The server names no limit of its own; the admin's spares it for the people who work there."""
        return (Budget("*", config.requests_per_minute, timedelta(minutes=1)),)

    @classmethod
    def media_hosts_of(cls, config: ZammadConfig, app: BaseModel | None = None) -> tuple[str, ...]:
        """Files come from the system itself."""
        return (config.url,)


@hookimpl
def register_helpdesks() -> list[type[Helpdesk[Any]]]:
    """The helpdesks of this distribution."""
    return [ZammadHelpdesk]
