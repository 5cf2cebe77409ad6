"""The plugin keeps the contract: the conformance kit, with agents acting at the twin."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from gateway_chatwoot.plugin import ChatwootHelpdesk
from gateway_chatwoot.twin import ChatwootTwin
from gateway_chatwoot.twin_model import Conversation
from gateway_schemas.testing.adapters import CommentSeen, HelpdeskAdapter, TicketSeen
from gateway_schemas.testing.helpdesk_contract import HelpdeskContract
from gateway_schemas.ticket import Priority, TicketStatus
from gateway_schemas.time import TimeSource

STATUSES: dict[str, TicketStatus] = {"open": "open", "pending": "waiting", "resolved": "solved"}
PRIORITIES: dict[str, Priority] = {"low": "low", "medium": "normal", "high": "high", "urgent": "urgent"}


class ChatwootAdapter(HelpdeskAdapter[ChatwootTwin]):
    """A Chatwoot account with the gateway's API channel."""

    # a conversation alone is no ticket yet: it has no words. Making it again finds it by its key
    creating = ("POST", "/messages$")
    commenting = ("POST", "/messages$")
    reading = ("GET", "/conversations")
    many = 60

    def __init__(self, time: TimeSource) -> None:
        self.twin = ChatwootTwin(time=time)
        self.twin.limits.off()

    def config(self) -> dict[str, Any]:
        return {**self.twin.connection_config(), "api_user_id": self.twin.api_user.id}

    def revoke(self) -> None:
        self.twin.expired = True

    def agent_answers(self, ticket: str, text: str, *, agent: str = "Ada Agent") -> str:
        return str(self.twin.agent_comment(ticket, agent, text))

    def agent_notes(self, ticket: str, text: str, *, agent: str = "Ada Agent") -> str:
        return str(self.twin.agent_comment(ticket, agent, text, public=False))

    def customer_writes(self, ticket: str, text: str) -> str:
        one = self.twin.conversations[int(ticket)]
        return str(self.twin.desk.write(one, text, "incoming", one.contact).id)

    def rule_writes(self, ticket: str, text: str) -> str:
        return str(self.twin.agent_comment(ticket, "Ada Agent", text, via="rule"))

    def set_status(self, ticket: str, status: TicketStatus) -> None:
        theirs = next(theirs for theirs, ours in STATUSES.items() if ours == status)
        self.twin.change(ticket, {"status": theirs}, "Ada Agent")

    def set_priority(self, ticket: str, priority: Priority) -> None:
        theirs = next(theirs for theirs, ours in PRIORITIES.items() if ours == priority)
        self.twin.change(ticket, {"priority": theirs}, "Ada Agent")

    def add_tag(self, ticket: str, tag: str) -> None:
        self.twin.change(ticket, {"labels": [*self.twin.conversations[int(ticket)].labels, tag]}, "Ada Agent")

    def delete(self, ticket: str) -> None:
        self.twin.delete(ticket)

    def foreign_ticket(self, text: str) -> str:
        inbox = self.twin.add_inbox("Website", channel_type="Channel::WebWidget")["id"]
        one = self.twin.desk.open(self.twin.add_contact("widget:1", "Carl"), inbox)
        self.twin.desk.write(one, text, "incoming", one.contact)
        return str(one.id)

    def tickets(self) -> list[TicketSeen]:
        return [_seen(one) for one in self.twin.conversations.values()]


def _seen(one: Conversation) -> TicketSeen:
    comments = [
        CommentSeen(
            str(message.id),
            # the dashboard renders Markdown: an escaped character is shown without its backslash
            re.sub(r"\\([\[<])", r"\1", message.content),
            not message.private,
            str(getattr(message.sender, "name", message.sender)),
        )
        for message in one.messages
        if message.kind in ("incoming", "outgoing")
    ]
    return TicketSeen(
        id=str(one.id),
        subject=str(one.custom_attributes.get("subject") or ""),
        status=STATUSES.get(one.status, "waiting"),
        priority=PRIORITIES.get(one.priority or ""),
        tags=frozenset(one.labels),
        requester=one.contact.name,
        requester_id=str(one.contact.id),
        requester_email=one.contact.email,
        comments=tuple(comments),
    )


class TestChatwoot(HelpdeskContract):
    """Chatwoot."""

    plugin = ChatwootHelpdesk
    fixtures = Path(__file__).parents[1] / "fixtures"
    adapter = ChatwootAdapter
