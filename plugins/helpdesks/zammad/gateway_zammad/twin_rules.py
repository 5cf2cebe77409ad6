"""The twin's triggers and schedulers, and the signed webhooks that they send."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

from gateway_schemas.signatures import sign_hmac
from gateway_schemas.testing.twin import WebhookBuilder
from gateway_schemas.time import TimeSource
from gateway_zammad.twin_desk import Desk, Happening
from gateway_zammad.twin_model import SENDERS, SYSTEM, TYPES, Ticket, User

_HIDDEN = ("preferences", "group_ids", "last_login", "password")


class Rules:
    """Triggers look at every transaction, also at those of other triggers' webhooks' targets: the API."""

    def __init__(self, time: TimeSource, desk: Desk, emit: Callable[[WebhookBuilder], None]) -> None:
        self.time = time
        self.desk = desk
        self.emit = emit
        self.triggers: dict[int, dict[str, Any]] = {}
        self.jobs: dict[int, dict[str, Any]] = {}
        self.webhooks: dict[int, dict[str, Any]] = {}

    def happened(self, happening: Happening) -> None:
        """Every trigger that applies, in order of their names, as Zammad goes through them."""
        for trigger in sorted(self.triggers.values(), key=lambda one: str(one["name"])):
            if trigger["active"] and self._holds(trigger["condition"], happening):
                self._perform(trigger, happening)

    def run(self, job: int) -> None:
        """A scheduler's time has come."""
        data = self.jobs[job]
        system = self.desk.users[SYSTEM]
        for ticket in list(self.desk.tickets.values()):
            happening = Happening(ticket, system, "update")
            if data["active"] and self._holds(data["condition"], happening):
                self._perform(data, happening)

    def _holds(self, condition: dict[str, Any], happening: Happening) -> bool:
        return all(self._holds_one(name, asked, happening) for name, asked in condition.items())

    def _holds_one(self, name: str, asked: dict[str, Any], happening: Happening) -> bool:
        value, operator = asked.get("value"), str(asked.get("operator"))
        wanted = {
            part.strip() for one in (value if isinstance(value, list) else [value]) for part in str(one).split(",")
        }
        negated = operator in ("is not", "contains one not", "contains all not")
        if name == "ticket.action":
            held = happening.action in wanted
        elif name == "ticket.tags":
            tags = set(happening.ticket.tags)
            held = wanted <= tags if operator.startswith("contains all") else bool(wanted & tags)
        elif name.startswith("article."):
            if happening.article is None:
                return False
            held = str(getattr(happening.article, name.split(".")[1])) in wanted
        else:
            held = str(getattr(happening.ticket, name.split(".")[1], None)) in wanted
        return held != negated

    def _perform(self, rule: dict[str, Any], happening: Happening) -> None:
        ticket, system = happening.ticket, self.desk.users[SYSTEM]
        for name, told in rule["perform"].items():
            if name == "notification.webhook":
                self._call(rule, self.webhooks.get(int(told["webhook_id"])), happening)
            elif name == "notification.email":
                self._mail(rule, told, happening)
            elif name == "ticket.state_id":
                ticket.state_id = int(told["value"])
                self.desk.touch(ticket, system)
            elif name == "ticket.tags":
                for tag in str(told["value"]).split(","):
                    if told.get("operator") == "remove":
                        self.desk.remove_tag(ticket, tag.strip(), system)
                    elif tag.strip() not in ticket.tags:
                        ticket.tags.append(tag.strip())
            elif name == "article.note":
                data = {
                    "body": told["body"],
                    "content_type": "text/html",
                    "internal": told.get("internal"),
                    "sender": "System",
                    "preferences": {"perform_origin": "trigger", "notification": True},
                }
                self.desk.write(ticket, data, system, quiet=True)
            elif name == "ticket.action" and told.get("value") == "delete":
                self.desk.delete(ticket)

    def _mail(self, rule: dict[str, Any], told: dict[str, Any], happening: Happening) -> None:
        """Who has no address gets nothing; else the mail stands in the ticket as an article of the system's."""
        customer = self.desk.users[happening.ticket.customer_id]
        if not customer.email:
            return
        self.desk.mail(customer.email, happening.ticket, f"trigger {rule['name']}")
        data = {
            "body": told.get("body") or "-",
            "type": "email",
            "sender": "System",
            "preferences": {"perform_origin": "trigger", "notification": True},
        }
        self.desk.write(happening.ticket, data, self.desk.users[SYSTEM], quiet=True)

    def _call(self, rule: dict[str, Any], webhook: dict[str, Any] | None, happening: Happening) -> None:
        if webhook is None or not webhook["active"]:
            return
        document = {"ticket": self._ticket(happening.ticket), "article": self._article(happening)}
        body = json.dumps(document, ensure_ascii=False).encode()
        headers = {
            "content-type": "application/json; charset=utf-8",
            "user-agent": "Zammad User Agent",
            "x-zammad-trigger": str(rule["name"]),
            "x-zammad-delivery": str(uuid.uuid4()),
        }
        token = webhook.get("signature_token")
        if token:
            headers["x-hub-signature"] = sign_hmac(body, token, digest="sha1", prefix="sha1=")
        self.emit(lambda: (str(webhook["endpoint"]), headers, body))

    def _ticket(self, ticket: Ticket) -> dict[str, Any]:
        users = self.desk.users
        return {
            **self.desk.expanded(ticket),
            "group": self.desk.groups[ticket.group_id],
            "priority": {"id": ticket.priority_id, "name": self.desk.priorities[ticket.priority_id], "active": True},
            "owner": _shown(users[ticket.owner_id]),
            "customer": _shown(users[ticket.customer_id]),
            "created_by": _shown(users[ticket.created_by_id]),
            "updated_by": _shown(users[ticket.updated_by_id]),
        }

    def _article(self, happening: Happening) -> dict[str, Any]:
        one = happening.article
        if one is None:
            return {}
        return {
            **one.json(self.desk.users),
            "type": TYPES[one.type_id],
            "sender": SENDERS[one.sender_id],
            "created_by": _shown(self.desk.users[one.created_by_id]),
        }


def _shown(user: User) -> dict[str, Any]:
    return {name: value for name, value in user.json().items() if name not in _HIDDEN}
