"""The plugin keeps the contract: the conformance kit, with agents acting at the twin."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from gateway_schemas.testing.adapters import CommentSeen, HelpdeskAdapter, TicketSeen
from gateway_schemas.testing.helpdesk_contract import HelpdeskContract
from gateway_schemas.ticket import Priority, TicketStatus
from gateway_schemas.time import TimeSource
from gateway_zammad.plugin import ZammadHelpdesk
from gateway_zammad.twin import ZammadTwin
from gateway_zammad.twin_model import Article, Ticket

STATUSES: dict[str, TicketStatus] = {"new": "new", "open": "open", "pending reminder": "waiting", "closed": "solved"}
PRIORITIES: dict[str, Priority] = {"1 low": "low", "2 normal": "normal", "3 high": "high"}


class ZammadAdapter(HelpdeskAdapter[ZammadTwin]):
    """A Zammad system with the gateway's agent."""

    creating = ("POST", "/tickets$")
    commenting = ("POST", "/ticket_articles$")
    reading = ("POST", "/tickets/search$")
    many = 220
    statuses = ("new", "open", "waiting", "solved")
    priorities = ("low", "normal", "high")

    def __init__(self, time: TimeSource) -> None:
        self.twin = ZammadTwin(time=time)

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

    def rule_writes(self, ticket: str, text: str) -> str:
        condition = {"ticket.action": {"operator": "is", "value": "update"}}
        rule = self.twin.add_trigger("writes", condition, {"article.note": {"body": text, "internal": "false"}})
        self.twin.change(ticket, {"title": f"{text} (by rule)"})
        del self.twin.rules.triggers[rule]
        return str(self.twin.articles(ticket)[-1].id)

    def set_status(self, ticket: str, status: TicketStatus) -> None:
        state = next(name for name, word in STATUSES.items() if word == status)
        more = {"pending_time": "2030-01-01T00:00:00Z"} if status == "waiting" else {}
        self.twin.change(ticket, {"state": state, **more})

    def set_priority(self, ticket: str, priority: Priority) -> None:
        self.twin.change(ticket, {"priority": next(name for name, word in PRIORITIES.items() if word == priority)})

    def add_tag(self, ticket: str, tag: str) -> None:
        agent = self.twin.desk.users[self.twin.agent("Ada Agent")]
        self.twin.desk.add_tag(self.twin.tickets[int(ticket)], tag, agent)

    def merge(self, ticket: str, into: str) -> None:
        self.twin.merge(ticket, into)

    def delete(self, ticket: str) -> None:
        self.twin.delete(ticket)

    def foreign_ticket(self, text: str) -> str:
        data = {"title": text, "group": "Users", "customer_id": "guess:carl@else.example", "article": {"body": text}}
        agent = self.twin.desk.users[self.twin.agent("Ada Agent")]
        return str(self.twin.desk.create(data, agent).id)

    def tickets(self) -> list[TicketSeen]:
        return [self._seen(ticket) for ticket in self.twin.tickets.values()]

    def _seen(self, ticket: Ticket) -> TicketSeen:
        desk = self.twin.desk
        customer = desk.users[ticket.customer_id]
        return TicketSeen(
            id=str(ticket.id),
            subject=ticket.title,
            status=STATUSES.get(desk.states[ticket.state_id], "closed"),
            priority=PRIORITIES[desk.priorities[ticket.priority_id]],
            tags=frozenset(ticket.tags),
            requester=customer.name,
            requester_id=str(customer.id),
            requester_email=customer.email or None,
            comments=tuple(self._comment(one) for one in self.twin.articles(ticket.id)),
        )

    def _comment(self, one: Article) -> CommentSeen:
        users = self.twin.desk.users
        author = users[one.origin_by_id or one.created_by_id]
        text = one.body
        if "html" in one.content_type:
            text = html.unescape(re.sub(r"<[^<>]*>", "", re.sub(r"<br ?/?>|</div>", "\n", text)))
        return CommentSeen(str(one.id), text.strip(), not one.internal, author.name)


class TestZammad(HelpdeskContract):
    """Zammad."""

    plugin = ZammadHelpdesk
    fixtures = Path(__file__).parents[1] / "fixtures"
    adapter = ZammadAdapter
    # the signature is over the body alone, and a trigger's webhook says what stands there, not what happened
    signs_time = names_events = False
