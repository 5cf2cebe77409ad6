"""The class a helpdesk plugin subclasses: where agents work."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from gateway_schemas.capabilities import HelpdeskCapabilities
from gateway_schemas.interaction import Ignored, Revoked, Unreadable, Wanted
from gateway_schemas.plugin import C, Health, InstallReport, Plugin
from gateway_schemas.ticket import (
    AgentNote,
    AgentReply,
    ForeignTicket,
    FoundTicket,
    OwnComment,
    Pending,
    PushIntent,
    PushResult,
    TicketChange,
    TicketChanged,
)
from gateway_schemas.webhook import Page, RawDelivery, RawPage, WebhookRequest, WebhookResponse

HelpdeskNews = (
    AgentReply | AgentNote | OwnComment | TicketChanged | ForeignTicket | Wanted | Revoked | Ignored | Unreadable
)


class Helpdesk(Plugin[C], ABC):
    """One connection to a helpdesk. `verify` and `normalise` are pure, as in `Source`."""

    capabilities: HelpdeskCapabilities
    """A class attribute; an instance may narrow it where its configuration decides."""

    @abstractmethod
    def verify(self, request: WebhookRequest) -> WebhookResponse | None:
        """Called at the door, as in `Source`."""

    @abstractmethod
    def normalise(self, delivery: RawDelivery) -> Sequence[HelpdeskNews]:
        """Called for every stored delivery: what agents did. Thin webhooks yield Wanted tickets.

        Comments that the gateway wrote itself give `OwnComment`; those that customers wrote, `Ignored`.
        """

    @abstractmethod
    async def fetch(self, wanted: Sequence[Wanted]) -> Sequence[RawPage]:
        """Called with tickets that a thin webhook or a poll named: each with its comments and who wrote them how."""

    @abstractmethod
    async def poll(self, stream: str, cursor: dict[str, Any] | None) -> Page:
        """Called on the schedule: what changed at the helpdesk, as repair for webhooks that did not come.

        Where the list shows tickets that are not the gateway's, their channel and times may be kept (`ForeignTicket`),
        never what they say.
        """

    @abstractmethod
    async def push(self, changes: Sequence[TicketChange]) -> Sequence[PushResult]:
        """Called with at most `capabilities.bulk` changes of different tickets: apply them, one result for each.

        Order within a ticket is the host's business. An exception means the same for every change of the call.
        Raises Unknown when the request was sent and no answer came.
        """

    async def resume(self, pending: Sequence[Pending]) -> Sequence[PushResult]:
        """Called for changes that were taken as jobs: how did they end?"""
        return list(pending)

    @abstractmethod
    async def find(self, intent: PushIntent) -> FoundTicket:
        """Called after an unknown outcome: does the ticket exist, and which of the change's comments are on it?"""

    async def install(self, *, dry_run: bool) -> InstallReport:
        """Called to set up webhook, triggers and fields at the helpdesk; safe to repeat. `dry_run` changes nothing."""
        return InstallReport()

    @abstractmethod
    async def check(self) -> Health:
        """Called on demand: credentials, rights, and settings of the helpdesk that would work against
        us."""

    async def probe(self) -> Health:
        """Called every few minutes: does news still reach us? At the lowest cost, changing nothing.

        What `check` finds, unless that costs money. `setup.door` is the address that was registered at the provider,
        where something was installed. Worth most is `newest`, by which the host sees whether polling stands still while
        it answers well. Raises GatewayError where the provider cannot be asked.
        """
        return await self.check()
