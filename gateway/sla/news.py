"""What the pipeline's own news mean for clocks, without any policy being asked."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from gateway.sla.clock import CLOSED
from gateway.sla.requests import Cancel, Fulfil, Pause, Request, Resume
from gateway_schemas.ticket import TicketStatus


def status_changed(
    ticket_id: UUID, status: TicketStatus | None, at: datetime, seen_at: datetime, *, deleted: bool = False
) -> list[Request]:
    """What a ticket's state at the helpdesk means for its clocks.

    Waiting for the customer or solved, clocks that pause stand still; solved, a resolution is there; open again,
    everything goes on. On a closed ticket nobody answers any more, but a promise made is still a promise, and an answer
    that was written before still counts when it is out.
    """
    if deleted:
        return [Cancel(ticket_id, at, seen_at, "the ticket was deleted at the helpdesk")]
    match status:
        case "waiting":
            return [Pause(ticket_id, at, seen_at, "waiting for the customer")]
        case "solved":
            return [
                Fulfil(ticket_id, at, seen_at, "ticket:solved", on="solved"),
                Pause(ticket_id, at, seen_at, "the ticket is solved"),
            ]
        case "closed":
            return [
                Fulfil(ticket_id, at, seen_at, "ticket:closed", on="solved"),
                Cancel(
                    ticket_id,
                    at,
                    seen_at,
                    CLOSED,
                    frozenset({"first_response", "next_response", "resolution"}),
                ),
            ]
        case "new" | "open":
            return [Resume(ticket_id, at, seen_at, reopen=True)]
        case None:
            return []


def answered(ticket_id: UUID, at: datetime, seen_at: datetime, by: str, written: datetime | None = None) -> Fulfil:
    """The brand's answer is out, through the gateway, to which it was `written` before, or given at the source."""
    return Fulfil(ticket_id, at, seen_at, by, written=written)


def customer_returned(ticket_id: UUID, at: datetime, seen_at: datetime) -> Resume:
    """The customer wrote to a ticket that waited for them or was solved."""
    return Resume(ticket_id, at, seen_at, reopen=True)
