"""The plugin keeps the contract: the conformance kit, with agents acting at the twin."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from gateway_freshdesk.plugin import FreshdeskHelpdesk
from gateway_freshdesk.twin import FreshdeskTwin
from gateway_freshdesk.twin_model import Ticket, plain
from gateway_schemas.testing.adapters import CommentSeen, HelpdeskAdapter, TicketSeen
from gateway_schemas.testing.helpdesk_contract import HelpdeskContract
from gateway_schemas.ticket import Priority, TicketStatus
from gateway_schemas.time import TimeSource

STATUSES: dict[int, TicketStatus] = {2: "open", 3: "waiting", 4: "solved", 5: "closed"}
PRIORITIES: dict[int, Priority] = {1: "low", 2: "normal", 3: "high", 4: "urgent"}


class FreshdeskAdapter(HelpdeskAdapter[FreshdeskTwin]):
    """A Freshdesk account with the gateway's agent."""

    creating = ("POST", "/tickets$")
    commenting = ("POST", "/notes$")
    many = 220

    def __init__(self, time: TimeSource) -> None:
        self.twin = FreshdeskTwin(time=time)
        self.twin.limits.off()

    def config(self) -> dict[str, Any]:
        return {**self.twin.connection_config(), "api_user_id": self.twin.api_user.id}

    def revoke(self) -> None:
        self.twin.expired = True

    def agent_answers(self, ticket: str, text: str, *, agent: str = "Ada Agent") -> str:
        return str(self.twin.agent_note(ticket, agent, text))

    def agent_notes(self, ticket: str, text: str, *, agent: str = "Ada Agent") -> str:
        return str(self.twin.agent_note(ticket, agent, text, public=False))

    def customer_writes(self, ticket: str, text: str) -> str:
        return str(self.twin.customer_reply(ticket, text))

    def set_status(self, ticket: str, status: TicketStatus) -> None:
        self.twin.set_status(ticket, next(code for code, word in STATUSES.items() if word == status))

    def set_priority(self, ticket: str, priority: Priority) -> None:
        self.twin.change(ticket, {"priority": next(code for code, word in PRIORITIES.items() if word == priority)})

    def add_tag(self, ticket: str, tag: str) -> None:
        self.twin.change(ticket, {"tags": [*self.twin.tickets[int(ticket)].tags, tag]})

    def close(self, ticket: str) -> None:
        self.twin.close(ticket)

    def merge(self, ticket: str, into: str) -> None:
        self.twin.merge(ticket, into)

    def delete(self, ticket: str) -> None:
        self.twin.delete(ticket)

    def foreign_ticket(self, text: str) -> str:
        carl = {"name": "Carl", "email": "carl@example.com"}
        plain = {"status": 2, "priority": 1, "source": 2}
        return str(self.twin.desk.create({"subject": text, "description": text, **carl, **plain}, None).id)

    def tickets(self) -> list[TicketSeen]:
        return [self._seen(ticket) for ticket in self.twin.tickets.values()]

    def _seen(self, ticket: Ticket) -> TicketSeen:
        people = self.twin.desk.people
        requester = people[ticket.requester_id]
        described = CommentSeen(f"description-{ticket.id}", _text(ticket.description), True, requester.name)
        notes = [
            CommentSeen(str(one.id), _text(one.body), not one.private, people[one.user_id].name)
            for one in ticket.conversations
        ]
        return TicketSeen(
            id=str(ticket.id),
            subject=ticket.subject,
            status=STATUSES[ticket.status],
            priority=PRIORITIES[ticket.priority],
            tags=frozenset(ticket.tags),
            requester=requester.name,
            requester_id=str(requester.id),
            requester_email=requester.email,
            comments=(described, *notes),
            deleted=ticket.deleted,
        )


def _text(markup: str) -> str:
    """What an agent sees of HTML: blocks and breaks end lines."""
    return plain(re.sub(r"<br ?/?>|</(div|p)>", "\n", markup))


class TestFreshdesk(HelpdeskContract):
    """Freshdesk."""

    plugin = FreshdeskHelpdesk
    fixtures = Path(__file__).parents[1] / "fixtures"
    adapter = FreshdeskAdapter
    # Freshdesk signs nothing: its rule sends a secret along, and the id of a ticket to look up
    signs_time = signs_body = names_events = False
