"""The plugin keeps the contract: the conformance kit, with agents acting at the twin."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

from gateway_schemas.testing.adapters import CommentSeen, HelpdeskAdapter, TicketSeen
from gateway_schemas.testing.helpdesk_contract import HelpdeskContract
from gateway_schemas.ticket import Priority, TicketStatus
from gateway_schemas.time import TimeSource
from gateway_zendesk.plugin import ZendeskHelpdesk
from gateway_zendesk.twin import ZendeskTwin
from gateway_zendesk.twin_model import Ticket

STATUSES: dict[str, TicketStatus] = {
    "new": "new",
    "open": "open",
    "pending": "waiting",
    "hold": "waiting",
    "solved": "solved",
    "closed": "closed",
    "deleted": "closed",
}


class ZendeskAdapter(HelpdeskAdapter[ZendeskTwin]):
    """A Zendesk account with the gateway's admin."""

    creating = ("POST", r"/tickets(\.json|/create_many)?$")
    commenting = ("PUT", r"/tickets/\d+(\.json)?$")
    many = 220

    def __init__(self, time: TimeSource) -> None:
        self.twin = ZendeskTwin(time=time)
        self.twin.limits.off()

    def config(self) -> dict[str, Any]:
        return {
            "base_url": self.twin.url,
            "email": self.twin.email,
            "api_token": self.twin.token,
            "api_user_id": self.twin.api_user.id,
        }

    def revoke(self) -> None:
        self.twin.expired = True

    def agent_answers(self, ticket: str, text: str, *, agent: str = "Ada Agent") -> str:
        return str(self.twin.agent_comment(ticket, agent, text, html=_composed(text)))

    def agent_notes(self, ticket: str, text: str, *, agent: str = "Ada Agent") -> str:
        return str(self.twin.agent_comment(ticket, agent, text, public=False))

    def customer_writes(self, ticket: str, text: str) -> str:
        return str(self.twin.customer_comment(ticket, text))

    def rule_writes(self, ticket: str, text: str) -> str:
        return str(self.twin.agent_comment(ticket, "Agent", text, via="rule"))

    def set_status(self, ticket: str, status: TicketStatus) -> None:
        self.twin.set_status(ticket, next(theirs for theirs, ours in STATUSES.items() if ours == status))

    def set_priority(self, ticket: str, priority: Priority) -> None:
        self.twin.change(ticket, {"priority": priority})

    def add_tag(self, ticket: str, tag: str) -> None:
        self.twin.change(ticket, {"additional_tags": [tag]})

    def close(self, ticket: str) -> None:
        self.twin.close(ticket)

    def merge(self, ticket: str, into: str) -> None:
        self.twin.merge(ticket, into)

    def delete(self, ticket: str) -> None:
        self.twin.delete(ticket)

    def foreign_ticket(self, text: str) -> str:
        carl = self.twin.desk.people.add("Carl", "end-user", email="carl@example.com")
        data = {"subject": text, "comment": {"body": text}, "requester_id": carl.id}
        return str(self.twin.desk.create(data, carl)[0].id)

    def tickets(self) -> list[TicketSeen]:
        return [self._seen(ticket) for ticket in self.twin.tickets.values()]

    def _seen(self, ticket: Ticket) -> TicketSeen:
        people = self.twin.desk.people.all
        requester = people[ticket.requester_id]
        return TicketSeen(
            id=str(ticket.id),
            subject=ticket.subject,
            status=STATUSES[ticket.status],
            priority=ticket.priority,  # type: ignore[arg-type]
            tags=frozenset(ticket.tags),
            requester=requester.name,
            requester_id=str(requester.id),
            requester_email=requester.email,
            comments=tuple(
                CommentSeen(str(one.id), one.body, one.public, people[one.author_id].name) for one in ticket.comments
            ),
            deleted=ticket.deleted,
        )


def _composed(text: str) -> str:
    """What the composer makes of typed text."""
    return "<p>" + html.escape(text).replace("\n", "<br>") + "</p>"


class TestZendesk(HelpdeskContract):
    """Zendesk Support."""

    plugin = ZendeskHelpdesk
    fixtures = Path(__file__).parents[1] / "fixtures"
    adapter = ZendeskAdapter
