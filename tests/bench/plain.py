"""A helpdesk without a bulk operation that allows so many calls a minute, and the plugin for it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from gateway_schemas.capabilities import HelpdeskCapabilities
from gateway_schemas.errors import Retry, Unverified
from gateway_schemas.helpdesk import Helpdesk, HelpdeskNews
from gateway_schemas.interaction import Wanted
from gateway_schemas.limits import Allowance, Budget
from gateway_schemas.plugin import Health
from gateway_schemas.testing.twin import Twin
from gateway_schemas.ticket import Done, FoundTicket, PushIntent, PushResult, TicketChange
from gateway_schemas.webhook import Page, RawDelivery, RawPage, WebhookRequest, WebhookResponse

A_MINUTE = timedelta(minutes=1)
ALLOWED = 300
"""Calls that the helpdesk allows in a minute."""


class PlainTwin(Twin):
    """Takes one change a call, and refuses those above its limit in any sixty seconds."""

    name = "plain"

    def routes(self) -> Sequence[BaseRoute]:
        """One endpoint."""
        self.calls: list[float] = []
        self.refused = 0

        async def change(request: Request) -> Response:
            now = self.time.now().timestamp()
            recent = sum(1 for at in self.calls[-ALLOWED:] if now - at < A_MINUTE.total_seconds())
            if recent >= ALLOWED:
                self.refused += 1
                return JSONResponse({}, status_code=429, headers={"retry-after": "1"})
            self.calls.append(now)
            return JSONResponse({"id": len(self.calls)})

        return [Route("/changes", change, methods=["POST"])]


class PlainConfig(BaseModel):
    """One account."""

    base_url: str
    share: float = 0.7


class PlainHelpdesk(Helpdesk[PlainConfig]):
    """One change, one call."""

    name: ClassVar[str] = "plain"
    Config = PlainConfig
    budgets: ClassVar[tuple[Budget, ...]] = (Budget("*", ALLOWED, A_MINUTE),)
    capabilities: ClassVar[HelpdeskCapabilities] = HelpdeskCapabilities(poll=False, webhook=False)

    def verify(self, request: WebhookRequest) -> WebhookResponse | None:
        """It has no webhooks."""
        raise Unverified("no webhooks", code="no_webhooks")

    def normalise(self, delivery: RawDelivery) -> Sequence[HelpdeskNews]:
        """Nothing comes from it."""
        return ()

    async def fetch(self, wanted: Sequence[Wanted]) -> Sequence[RawPage]:
        """Nothing comes from it."""
        return ()

    async def poll(self, stream: str, cursor: dict[str, Any] | None) -> Page:
        """Nothing comes from it."""
        return Page((), {})

    async def push(self, changes: Sequence[TicketChange]) -> Sequence[PushResult]:
        """One call for the one change."""
        [change] = changes
        answer = await self.http.post(f"{self.config.base_url}/changes", json={"key": change.key})
        if answer.status_code == 429:
            raise Retry("too many calls", after=timedelta(seconds=int(answer.headers["retry-after"])))
        return [Done(key=change.key, external_id=str(answer.json()["id"]))]

    async def find(self, intent: PushIntent) -> FoundTicket:
        """It forgets nothing it has answered."""
        return FoundTicket()

    async def check(self) -> Health:
        """Always well."""
        return Health(ok=True)

    @classmethod
    def hosts_of(cls, config: PlainConfig, app: BaseModel | None = None) -> tuple[str, ...]:
        """Its address."""
        return (config.base_url,)

    @classmethod
    def allowance_of(cls, config: PlainConfig, app: BaseModel | None = None) -> Allowance:
        """The configured share."""
        return Allowance(share=config.share)
