"""The plugin keeps the contract: the conformance kit, with agents acting at the twin."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from gateway_request_tracker.plugin import RequestTrackerHelpdesk
from gateway_request_tracker.twin import RequestTrackerTwin
from gateway_request_tracker.twin_model import Ticket, Transaction
from gateway_schemas.testing.adapters import CommentSeen, HelpdeskAdapter, TicketSeen
from gateway_schemas.testing.helpdesk_contract import HelpdeskContract
from gateway_schemas.ticket import Priority, TicketStatus
from gateway_schemas.time import TimeSource

STATUSES: dict[str, TicketStatus] = {
    "new": "new",
    "open": "open",
    "stalled": "waiting",
    "resolved": "solved",
    "rejected": "closed",
}
PRIORITIES: dict[int, Priority] = {0: "low", 50: "normal", 80: "high", 100: "urgent"}


class RequestTrackerAdapter(HelpdeskAdapter[RequestTrackerTwin]):
    """An RT with the gateway's user. Customers write as their own users there."""

    creating = ("POST", "/ticket$")
    commenting = ("POST", "/(correspond|comment)$")
    reading = ("GET", "/transactions$")
    many = 220
    statuses = ("open", "waiting", "solved")

    def __init__(self, time: TimeSource) -> None:
        self.twin = RequestTrackerTwin(time=time)

    def config(self) -> dict[str, Any]:
        return {**self.twin.connection_config(), "customer_secret": "kit-" * 10}

    def revoke(self) -> None:
        self.twin.expired = True

    def agent_answers(self, ticket: str, text: str, *, agent: str = "Ada Agent") -> str:
        return str(self.twin.agent_reply(ticket, agent, text))

    def agent_notes(self, ticket: str, text: str, *, agent: str = "Ada Agent") -> str:
        return str(self.twin.agent_comment(ticket, agent, text))

    def customer_writes(self, ticket: str, text: str) -> str:
        return str(self.twin.customer_reply(ticket, text))

    def rule_writes(self, ticket: str, text: str) -> str:
        return str(self.twin.scrip_reply(ticket, text))

    def set_status(self, ticket: str, status: TicketStatus) -> None:
        self.twin.set_status(ticket, next(name for name, word in STATUSES.items() if word == status))

    def set_priority(self, ticket: str, priority: Priority) -> None:
        self.twin.change(ticket, {"Priority": next(number for number, word in PRIORITIES.items() if word == priority)})

    def add_tag(self, ticket: str, tag: str) -> None:
        self.twin.tag(ticket, [tag])

    def merge(self, ticket: str, into: str) -> None:
        self.twin.merge(ticket, into)

    def delete(self, ticket: str) -> None:
        self.twin.delete(ticket)

    def foreign_ticket(self, text: str) -> str:
        data = {"Queue": "General", "Subject": text, "Content": text, "Requestor": ["carl@else.example"]}
        return str(self.twin.desk.create(data, self.twin.desk.users[self.twin.agent("Ada Agent")]).id)

    def tickets(self) -> list[TicketSeen]:
        return [self._seen(ticket) for ticket in self.twin.tickets.values()]

    def _seen(self, ticket: Ticket) -> TicketSeen:
        users = self.twin.desk.users
        requestor = users[ticket.requestors[0]] if ticket.requestors else None
        merged = ticket.effective_id != ticket.id
        return TicketSeen(
            id=str(ticket.id),
            subject=ticket.subject,
            status=STATUSES.get(ticket.status, "closed"),
            priority=PRIORITIES.get(ticket.priority, "low"),
            tags=frozenset(ticket.fields.get("gw_tags", [])),
            requester=requestor.real_name if requestor else "",
            requester_id=str(requestor.id) if requestor else "",
            requester_email=(requestor.email or None) if requestor else None,
            comments=()
            if merged
            else tuple(self._comment(ticket, one, text) for one, text in self.twin.messages(ticket.id)),
            deleted=ticket.status == "deleted",
        )

    def _comment(self, ticket: Ticket, one: Transaction, text: str) -> CommentSeen:
        users = self.twin.desk.users
        # a description is shown as the requestor's matter, whoever entered it
        author = users[ticket.requestors[0]] if one.type == "Create" and ticket.requestors else users[one.creator]
        if text.startswith("<p>"):
            text = html.unescape(re.sub(r"<[^<>]*>", "", re.sub(r"<br ?/?>|</p>", "\n", text)))
        id = f"create-{one.ticket_id}" if one.type == "Create" else str(one.id)
        return CommentSeen(id, text.strip(), one.type != "Comment", author.real_name)


class TestRequestTracker(HelpdeskContract):
    """Request Tracker."""

    plugin = RequestTrackerHelpdesk
    fixtures = Path(__file__).parents[1] / "fixtures"
    adapter = RequestTrackerAdapter
    # no webhooks: nothing is signed, and nothing names an event
    signs_time = signs_body = names_events = False
