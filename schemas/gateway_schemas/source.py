"""The class a source plugin subclasses: where complaints come from and answers go out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from typing import Any

from gateway_schemas.capabilities import SourceCapabilities
from gateway_schemas.claims import ClaimAddress
from gateway_schemas.errors import Rejected
from gateway_schemas.interaction import Normalised, Wanted
from gateway_schemas.plugin import AccountRef, C, Health, InstallReport, Plugin
from gateway_schemas.reply import Draft, FindResult, Rendered, SendIntent, Sent
from gateway_schemas.webhook import Hint, Page, RawDelivery, RawPage, WebhookRequest, WebhookResponse


class Source(Plugin[C], ABC):
    """One connection to a channel.

    `verify`, `normalise` and `render` are pure and synchronous: the same input gives the same output, without network,
    clock or state; the host runs the last two in a process that it can kill. Everything async gets `self.http`.
    """

    capabilities: SourceCapabilities
    """A class attribute; an instance may narrow it where its configuration decides."""

    @abstractmethod
    def verify(self, request: WebhookRequest) -> WebhookResponse | None:
        """Called at the door for every request before anything is stored.

        None: it is genuine, store it. A WebhookResponse answers a challenge. Raises Unverified otherwise. A source
        without webhooks raises Unverified always; there is no default, so that nobody forgets it.
        """

    @abstractmethod
    def normalise(self, delivery: RawDelivery) -> Sequence[Normalised]:
        """Called for every stored delivery, possibly several times: what it says, in our vocabulary.

        Unknown events give `Ignored` with a reason. Raises Malformed when it is not what the provider documents.
        """

    async def fetch(self, wanted: Sequence[Wanted]) -> Sequence[RawPage]:
        """Called with what deliveries named but did not carry, many at once where the API has a bulk look-up."""
        return [RawPage(b"", gone=[item.ref for item in wanted])]

    async def poll(self, stream: str, cursor: dict[str, Any] | None) -> Page:
        """Called on the schedule, and after a gap. `cursor` is None at the first poll. Newest items may repeat."""
        return Page((), cursor or {})

    async def listen(self) -> AsyncIterator[Hint]:
        """Called once per connection by one process at a time: follow the provider's stream. It may end; it is
        restarted."""
        return
        yield Hint()  # an async generator without items

    def render(self, draft: Draft) -> Rendered:
        """Called before every decision: the draft as it will leave, with its length against the limit.

        Never truncates. Raises Rejected when this target cannot carry it (attachments, closed window).
        """
        raise Rejected(f"{self.name} cannot be answered", code="no_replies")

    @classmethod
    def claim_address(cls, config: C) -> ClaimAddress | None:
        """Called with the config, where `invitations` is declared, when a customer is invited to go on in private:
        where to write so that the message comes with `Interaction.claim`. None: claims do not come in here."""
        return None

    async def send(self, rendered: Rendered, key: str) -> Sent:
        """Called at most once per key, after the decision: send exactly this.

        `key` goes to the provider where it has idempotency keys. Raises Unknown when the outcome is not proven.
        """
        raise Rejected(f"{self.name} cannot be answered", code="no_replies")

    async def find(self, intent: SendIntent) -> FindResult:
        """Called after an unknown outcome: is it there? Absent only when the provider was asked and has it not."""
        raise Rejected(f"{self.name} cannot look up what it sent", code="no_find")

    async def retract(self, sent: Sent) -> None:
        """Called when an agent takes a published answer back."""
        raise Rejected(f"{self.name} cannot delete a published answer", code="no_delete")

    async def amend(self, sent: Sent, rendered: Rendered) -> Sent:
        """Called when an agent changes a published answer."""
        raise Rejected(f"{self.name} cannot edit a published answer", code="no_edit")

    async def discover(self) -> Sequence[AccountRef]:
        """Called when connecting: the accounts these credentials can act for."""
        return ()

    async def install(self, *, dry_run: bool) -> InstallReport:
        """Called to set up webhooks and subscriptions at the provider; safe to repeat. `dry_run` changes nothing."""
        return InstallReport()

    @abstractmethod
    async def check(self) -> Health:
        """Called on demand: can we read, can we write, are the subscriptions there?"""

    async def probe(self) -> Health:
        """Called every few minutes: does news still reach us? At the lowest cost, changing nothing.

        What `check` finds, unless that costs money. `setup.door` is the address that was registered at the provider,
        where something was installed. Worth most is `newest`, by which the host sees whether polling stands still while
        it answers well. Raises GatewayError where the provider cannot be asked.
        """
        return await self.check()
