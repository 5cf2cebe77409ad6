"""What agents see of a ticket's clocks: the fields `gw_sla` and `gw_next_due`.

They travel with the next change of the ticket. What agents should see at once goes at once, the rest waits for company.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import insert_rows
from gateway.db.tables.columns import new_id
from gateway.sla.clock import Clock

COMPANY = timedelta(seconds=60)
"""How long news of a clock waits for another change of its ticket to travel with."""


@dataclass(frozen=True)
class Told:
    """A ticket's clocks in two fields."""

    sla: str
    """The clock that matters most and its state: `first_response: breached`; `none` when all were cancelled."""
    next_due: datetime | None
    """The earliest due time that is still to come."""


def told_of(clocks: Iterable[Clock]) -> Told | None:
    """What to tell of a ticket's clocks: breached before running, running before paused, paused before over."""
    ranked = sorted(clocks, key=_rank)
    if not ranked:
        return None
    due = [
        one.due_at for one in ranked if one.state == "running" and one.breached_at is None and one.due_at is not None
    ]
    first = ranked[0]
    text = "none" if first.state == "cancelled" else f"{first.kind}: {_word(first)}"
    return Told(text, min(due, default=None))


def _word(clock: Clock) -> str:
    if not clock.open:
        return clock.state
    if clock.breached_at is not None:
        return "breached"
    if clock.state == "running" and clock.step > 0:
        return "warned"
    return clock.state


def _rank(clock: Clock) -> tuple[int, float, UUID]:
    due = clock.due_at.timestamp() if clock.due_at is not None else 0.0
    if clock.open and clock.breached_at is not None:
        return 0, due, clock.id
    if clock.open:
        return 1 if clock.state == "running" else 2, due, clock.id
    ended = clock.stopped_at.timestamp() if clock.stopped_at is not None else 0.0
    return 4 if clock.state == "cancelled" else 3, -ended, clock.id


async def tell_helpdesks(
    connection: AsyncConnection,
    news: Collection[tuple[UUID, UUID | None, Told | None]],
    now: datetime,
    *,
    urgent: bool = False,
) -> set[str]:
    """Queue the fields of tickets (ticket, helpdesk, what to tell) in the caller's transaction.

    Returns the drains to wake after its commit: none where the news may wait for company.
    """
    rows = [
        {
            "key": f"s:{ticket}:{new_id()}",
            "ticket_id": ticket,
            "helpdesk_id": helpdesk,
            "kind": "update",
            "lane": 1 if urgent else 2,
            "payload": {"fields": {"sla": told.sla, "next_due": told.next_due}},
            "state": "pending",
            "epoch": 0,
            "tries": 0,
            "due_at": now if urgent else now + COMPANY,
            "at": now,
            "created_at": now,
        }
        for ticket, helpdesk, told in sorted(news, key=lambda one: one[0])
        if helpdesk is not None and told is not None
    ]
    await insert_rows(connection, "push", rows)
    return {f"push:{row['helpdesk_id']}" for row in rows} if urgent else set()
