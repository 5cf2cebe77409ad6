"""What policies need of clocks: to know a ticket's, and to have them started and stopped."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

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


class Clocks(Protocol):
    """The part of the gateway that runs clocks."""

    async def of(self, connection: AsyncConnection, tickets: Collection[UUID]) -> Mapping[UUID, Sequence[ClockFacts]]:
        """The clocks of tickets, oldest first."""

    async def carry_out(self, connection: AsyncConnection, orders: Sequence[ClockOrder], now: datetime) -> set[str]:
        """Start and stop clocks in the caller's transaction. Returns the drains to wake after its commit."""


class NoClocks:
    """Stands in where no clocks are run: a ticket has none, and none are started."""

    async def of(self, connection: AsyncConnection, tickets: Collection[UUID]) -> Mapping[UUID, Sequence[ClockFacts]]:
        """None."""
        return {}

    async def carry_out(self, connection: AsyncConnection, orders: Sequence[ClockOrder], now: datetime) -> set[str]:
        """Nothing."""
        return set()


def foreseen(clocks: Sequence[ClockFacts], order: ClockOrder) -> list[ClockFacts]:
    """A ticket's clocks as they will be once the order is carried out, for the next message of the same batch."""
    found = list(clocks)
    effect = order.effect
    if isinstance(effect, StopClock):
        return [
            one.model_copy(update={"state": effect.outcome})
            if one.kind in effect.kinds and one.state in ("running", "paused", "breached")
            else one
            for one in found
        ]
    if any((one.kind, one.policy) == (effect.kind, order.policy) and one.state in RUNS for one in found):
        return found
    started = ClockFacts(
        id=f"{order.policy}:{effect.kind}:{order.at.isoformat()}",
        kind=effect.kind,
        policy=order.policy,
        state="running",
        started_at=order.at,
        label=effect.label,
    )
    return [*found, started]


RUNS = ("running", "paused", "breached")
