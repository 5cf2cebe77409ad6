"""What policies need of clocks: to know a ticket's, and to have them started and stopped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.sla.clock import Clock
from gateway.sla.facts import clock_facts, start_request, stop_request
from gateway.sla.requests import Request
from gateway.sla.rows import load
from gateway.sla.stored import Calendars
from gateway_schemas.decision import ClockFacts, StartClock, StopClock


@dataclass(frozen=True)
class ClockOrder:
    """A policy's word about a ticket's clocks, at the time of the event that it was asked about."""

    ticket_id: UUID
    effect: StartClock | StopClock
    policy: str
    revision: int
    at: datetime
    seen_at: datetime
    written: datetime | None = None
    """Of an answer that was published `at`: when it was written."""

    def request(self) -> Request:
        """The same in the words of the part that runs clocks."""
        if isinstance(self.effect, StopClock):
            return stop_request(
                self.effect, self.ticket_id, self.at, self.seen_at, policy=self.policy, written=self.written
            )
        return start_request(
            self.effect, self.ticket_id, self.at, self.seen_at, policy=self.policy, revision=self.revision
        )


async def clocks_of(
    connection: AsyncConnection, calendars: Calendars, tickets: Collection[UUID]
) -> dict[UUID, list[Clock]]:
    """The clocks of tickets."""
    found: dict[UUID, list[Clock]] = defaultdict(list)
    if not tickets:
        return found
    for clock in await load(connection, calendars, "WHERE ticket_id = ANY(:tickets)", tickets=sorted(tickets)):
        found[clock.ticket_id].append(clock)
    return found


def facts_of(clocks: Iterable[Clock], now: datetime) -> tuple[ClockFacts, ...]:
    """A ticket's clocks as policies see them, oldest first."""
    ordered = sorted(clocks, key=lambda one: (one.started_at, one.kind, one.policy, one.slot))
    return tuple(clock_facts(one, now) for one in ordered)
