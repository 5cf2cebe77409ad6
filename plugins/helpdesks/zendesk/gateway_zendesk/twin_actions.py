"""What the twin's triggers and automations do to a ticket, beside calling webhooks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway_zendesk.twin_desk import Desk
from gateway_zendesk.twin_model import Ticket, User, invalid

ACTIONS = frozenset(
    {
        *("status", "type", "priority", "group_id", "assignee_id", "brand_id", "ticket_form_id"),
        *("current_tags", "set_tags", "remove_tags", "satisfaction_score", "tweet_requester"),
        *("notification_user", "notification_group", "notification_target", "notification_webhook"),
    }
)
"""Actions reference; custom fields come as `custom_fields_<id>`."""
_REQUESTERS = ("requester_id", "requester_and_ccs")


def check_actions(actions: list[Any]) -> None:
    """Refuse what is no action."""
    for action in actions:
        name = str(action.get("field", "")) if isinstance(action, dict) else ""
        if name not in ACTIONS and not name.startswith("custom_fields_"):
            raise invalid("base", f"Action {name} is not valid", "InvalidValue")


class Actions:
    """`note` writes to the ledger what leaves the helpdesk."""

    def __init__(self, desk: Desk, note: Callable[..., None]) -> None:
        self.desk = desk
        self.note = note

    def do(self, rule: dict[str, Any], ticket: Ticket, by: User, kind: str) -> None:
        """All actions of a rule but webhooks; the changes among them are one audit."""
        data: dict[str, Any] = {}
        for action in rule.get("actions") or []:
            name, value = action["field"], action.get("value")
            if name == "notification_user":
                self._mail(rule, ticket, value)
            elif name == "tweet_requester":
                self.note("tweeted", str(ticket.id), text=value, rule=rule["title"])
            elif name == "satisfaction_score":
                self._mail(rule, ticket, ["requester_id", "How did we do?", ""])
            elif name == "current_tags":
                data["additional_tags"] = str(value).split()
            elif name == "set_tags":
                data["tags"] = str(value).split()
            elif name == "remove_tags":
                data["remove_tags"] = str(value).split()
            elif name in ("status", "priority", "type", "group_id", "assignee_id"):
                data[name] = value
        if data and ticket.status != "closed":
            if data.get("status") == "solved" and ticket.assignee_id is None:
                data.setdefault("assignee_id", by.id)
            self.desk.update(ticket, data, by, kind=kind)

    def _mail(self, rule: dict[str, Any], ticket: Ticket, value: Any) -> None:
        """Who has no address is sent nothing."""
        whom = value[0] if isinstance(value, list) and value else value
        requester = self.desk.people.all[ticket.requester_id]
        if whom in _REQUESTERS and requester.email:
            self.note("mail_sent", str(ticket.id), to=requester.email, rule=rule["title"])
