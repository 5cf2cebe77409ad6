"""Request Tracker as a helpdesk: what the host calls."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import timedelta
from functools import cached_property
from typing import Any, ClassVar

from pydantic import BaseModel

from gateway_request_tracker import normalise as reading
from gateway_request_tracker.api import Api
from gateway_request_tracker.config import RequestTrackerConfig
from gateway_request_tracker.customers import Customers
from gateway_request_tracker.find import Finder
from gateway_request_tracker.health import Checker
from gateway_request_tracker.install import Installer
from gateway_request_tracker.pull import STREAM, Puller
from gateway_request_tracker.push import Pusher
from gateway_request_tracker.words import text
from gateway_schemas import hookimpl
from gateway_schemas.capabilities import HelpdeskCapabilities
from gateway_schemas.errors import Gone, Malformed, Rejected, Unverified
from gateway_schemas.files import Downloaded
from gateway_schemas.helpdesk import Helpdesk, HelpdeskNews
from gateway_schemas.interaction import Attachment, Wanted
from gateway_schemas.limits import Budget
from gateway_schemas.plugin import Health, InstallReport
from gateway_schemas.ticket import FoundTicket, PushIntent, PushResult, TicketChange
from gateway_schemas.webhook import Page, RawDelivery, RawPage, WebhookRequest, WebhookResponse


class RequestTrackerHelpdesk(Helpdesk[RequestTrackerConfig]):
    """One Request Tracker."""

    name: ClassVar[str] = "request_tracker"
    title: ClassVar[str] = "Request Tracker"
    Config = RequestTrackerConfig
    capabilities = HelpdeskCapabilities(
        webhook=False,
        poll=True,
        streams=(STREAM,),
        poll_every=timedelta(seconds=20),  # nothing calls us, so this is how long an answer waits
        overlap=timedelta(minutes=2),
        comments_per_change=1,
        comment_on_create=1,
        bulk=1,  # its bulk operations answer in sentences that do not name what they made
        make_private=False,
        followup=True,
        # What was written can be read at once. Two minutes cover a request that RT still works on after we gave it up.
        index_lag=timedelta(minutes=2),
        idempotency_window=None,
    )

    @cached_property
    def _api(self) -> Api:
        return Api(self.http, self.config, self.setup.time)

    @cached_property
    def _pusher(self) -> Pusher:
        return Pusher(self._api, Customers(self._api, self.state), self.files)

    @cached_property
    def _puller(self) -> Puller:
        return Puller(self._api)

    def verify(self, request: WebhookRequest) -> WebhookResponse | None:
        """RT has no webhooks: whatever comes is not from there."""
        raise Unverified("Request Tracker sends no webhooks", code="no_webhook")

    def normalise(self, delivery: RawDelivery) -> Sequence[HelpdeskNews]:
        """Polled transactions name tickets (Wanted); a fetched ticket tells its messages and its state."""
        return reading.normalise(delivery, self.config)

    async def fetch(self, wanted: Sequence[Wanted]) -> Sequence[RawPage]:
        """Each ticket with its history, the parts of agents' messages, and who the agents are."""
        return await self._puller.fetch(wanted)

    async def poll(self, stream: str, cursor: dict[str, Any] | None) -> Page:
        """The transactions of the queues by rising id."""
        if stream != STREAM:
            raise Rejected(f"Request Tracker has no stream {stream}", code="no_stream")
        return await self._puller.poll(cursor)

    async def push(self, changes: Sequence[TicketChange]) -> Sequence[PushResult]:
        """One change, for `capabilities.bulk` is 1."""
        return [await self._pusher.one(change) for change in changes]

    async def find(self, intent: PushIntent) -> FoundTicket:
        """By the key field, and by the marks in the subjects of messages."""
        return await Finder(self._api, self._pusher).find(intent)

    async def download(self, attachment: Attachment) -> Downloaded:
        """`GET /attachment/{id}` with the token, which gives the bytes as base64 within JSON."""
        if attachment.lookup is None:
            return await super().download(attachment)
        api = Api(self.setup.media or self.http, self.config, self.setup.time)
        one = await api.get(f"attachment/{attachment.lookup}")
        try:
            body = base64.b64decode(str(one.get("Content") or ""))
        except (binascii.Error, ValueError) as error:
            raise Malformed("the attachment's content is no base64", code="malformed") from error
        if not body:
            raise Gone("the attachment is empty", code="empty_file")
        return Downloaded(body, text(one.get("ContentType")), text(one.get("Filename")))

    async def install(self, *, dry_run: bool) -> InstallReport:
        """The API user's name, custom fields if the config says so; and what works against us."""
        return await Installer(self._api).run(dry_run=dry_run)

    async def check(self) -> Health:
        """Credentials, rights, custom fields, and what of the system works against us."""
        return await Checker(Installer(self._api)).run()

    @classmethod
    def account_of(cls, config: RequestTrackerConfig) -> str | None:
        """The account is its address."""
        return config.url.split("://", 1)[-1]

    @classmethod
    def hosts_of(cls, config: RequestTrackerConfig, app: BaseModel | None = None) -> tuple[str, ...]:
        """Only the system itself is called."""
        return (config.url,)

    @classmethod
    def budgets_of(cls, config: RequestTrackerConfig, app: BaseModel | None = None) -> tuple[Budget, ...]:
        """The server names no limit of its own; the admin's spares it for the people who work there."""
        return (Budget("*", config.requests_per_minute, timedelta(minutes=1)),)

    @classmethod
    def media_hosts_of(cls, config: RequestTrackerConfig, app: BaseModel | None = None) -> tuple[str, ...]:
        """Files come from the system itself."""
        return (config.url,)


@hookimpl
def register_helpdesks() -> list[type[Helpdesk[Any]]]:
    """The helpdesks of this distribution."""
    return [RequestTrackerHelpdesk]
