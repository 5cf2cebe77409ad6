"""The twin's triggers and webhooks: conditions are evaluated, requests are signed as Zendesk signs them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gateway_schemas.testing.twin import WebhookBuilder
from gateway_schemas.time import TimeSource
from gateway_zendesk.twin_actions import Actions, check_actions
from gateway_zendesk.twin_desk import Desk, Happening
from gateway_zendesk.twin_events import event_payloads
from gateway_zendesk.twin_model import STATUSES, VIA_IDS, ApiError, Ticket, invalid, iso, not_found

CONDITIONAL = "conditional_ticket_events"
_CONDITIONS = frozenset(
    {"current_tags", "update_type", "comment_is_public", "role", "status", "priority", "current_via_id", "via_id"}
    | {"group_id", "brand_id", "ticket_form_id", "assignee_id", "requester_id", "type", "satisfaction_score"}
    | {"requester_role", "subject_includes_word", "comment_includes_word"}
)
_HOURS = {name: name.lower() for name in ("NEW", "OPEN", "PENDING", "SOLVED", "CLOSED")} | {"updated_at": "updated"}
"""Time-based conditions of automations: hours since the ticket came to that status, or was updated."""


@dataclass
class Webhook:
    """A webhook, and what it is signed with."""

    id: str
    data: dict[str, Any]
    secret: str
    invocations: list[str] = field(default_factory=list)

    def json(self) -> dict[str, Any]:
        return {"id": self.id, **self.data}


def webhook_signature(secret: str, timestamp: str, body: bytes) -> str:
    """base64(HMAC-SHA256(secret, timestamp ‖ body)); the secret is used as its characters, not decoded."""
    return base64.b64encode(hmac.new(secret.encode(), timestamp.encode() + body, hashlib.sha256).digest()).decode()


class Rules:
    """Triggers, the webhooks they call, and the webhooks subscribed to events."""

    def __init__(
        self,
        time: TimeSource,
        desk: Desk,
        emit: Callable[[WebhookBuilder], None],
        note: Callable[..., None],
    ) -> None:
        self.time = time
        self.actions = Actions(desk, note)
        self.desk = desk
        self.emit = emit
        self.webhooks: dict[str, Webhook] = {}
        self.triggers: dict[int, dict[str, Any]] = {}
        self.automations: dict[int, dict[str, Any]] = {}
        self._fired: set[int] | None = None
        """Triggers that have fired for the update under way: each does so once, also for what others change."""
        self.account_id = "22129848"
        self._invocation = 8_350_205_582

    # webhooks

    def create_webhook(self, data: Any) -> Webhook:
        """`POST /webhooks`: validates as Zendesk documents; the twin accepts plain http for loopback."""
        missing = [
            name for name in ("name", "status", "endpoint", "http_method", "request_format") if not data.get(name)
        ]
        if missing:
            errors = [{"code": "InvalidWebhook", "title": f"{name}: is required"} for name in missing]
            raise ApiError(400, {"errors": errors})
        self._check_subscriptions(data.get("subscriptions") or [])
        webhook = Webhook(f"01{secrets.token_hex(12).upper()}", dict(data), secrets.token_urlsafe(36))
        webhook.data.setdefault("created_at", iso(self.time.now()))
        self.webhooks[webhook.id] = webhook
        return webhook

    def update_webhook(self, webhook_id: str, data: dict[str, Any], *, replace: bool) -> None:
        """`PUT` replaces, `PATCH` merges. An event webhook can never become a trigger's webhook or the reverse."""
        webhook = self.webhook(webhook_id)
        wanted = data.get("subscriptions", webhook.data.get("subscriptions") or [])
        self._check_subscriptions(wanted)
        if (CONDITIONAL in wanted) != (CONDITIONAL in (webhook.data.get("subscriptions") or [])):
            raise ApiError(
                400, {"errors": [{"code": "InvalidSubscription", "title": "Subscription type cannot change"}]}
            )
        webhook.data = {**({} if replace else webhook.data), **data}

    def webhook(self, webhook_id: str) -> Webhook:
        """The webhook, or Zendesk's JSON:API 404."""
        if webhook_id not in self.webhooks:
            raise ApiError(404, {"errors": [{"code": "WebhookNotFound", "title": "Webhook not found"}]})
        return self.webhooks[webhook_id]

    def _check_subscriptions(self, wanted: list[str]) -> None:
        events = [one for one in wanted if one.startswith("zen:event-type:")]
        if (CONDITIONAL in wanted and events) or any(one != CONDITIONAL and one not in events for one in wanted):
            raise ApiError(400, {"errors": [{"code": "InvalidSubscription", "title": "Subscriptions are not valid"}]})

    # triggers

    def save_trigger(self, data: dict[str, Any], trigger_id: int | None = None) -> dict[str, Any]:
        """`POST` or `PUT /triggers`: title, conditions and actions are checked."""
        if not data.get("title"):
            raise invalid("title", "Title: cannot be blank", "BlankValue")
        conditions = data.get("conditions") or {}
        given = [*(conditions.get("all") or []), *(conditions.get("any") or [])]
        if not given:
            raise invalid("base", "Conditions: at least one is required", "BlankValue")
        for condition in given:
            name = condition.get("field", "")
            if name not in _CONDITIONS and not name.startswith("custom_fields_"):
                raise invalid("base", f"Condition {name} is not valid", "InvalidValue")
        check_actions(data.get("actions") or [])
        for action in data.get("actions") or []:
            if action.get("field") == "notification_webhook" and action["value"][0] not in self.webhooks:
                raise invalid("base", "Webhook: is invalid", "InvalidValue")
        number = trigger_id or self.desk.new_id()
        kept = self.triggers.get(number, {"category_id": "10026", "active": True, "position": len(self.triggers) + 1})
        self.triggers[number] = {**kept, "updated_at": iso(self.time.now()), **data, "id": number}
        return self.triggers[number]

    def trigger(self, trigger_id: int) -> dict[str, Any]:
        """The trigger, or 404."""
        if trigger_id not in self.triggers:
            raise not_found()
        return self.triggers[trigger_id]

    # what happens

    def happened(self, happening: Happening) -> None:
        """Called for every audit: run the triggers, then tell event subscriptions."""
        if not happening.deleted:
            self._run_triggers(happening)
        listening = [one for one in self.webhooks.values() if CONDITIONAL not in (one.data.get("subscriptions") or [])]
        if listening:
            for kind, payload in event_payloads(happening, self.desk, self.account_id):
                for webhook in listening:
                    if kind in (webhook.data.get("subscriptions") or []):
                        self.send(webhook, json.dumps(payload, ensure_ascii=False).encode())

    def _run_triggers(self, happening: Happening) -> None:
        first, self._fired = self._fired is None, self._fired if self._fired is not None else set()
        try:
            for trigger in list(self.triggers.values()):
                if trigger["id"] in self._fired or not trigger.get("active", True):
                    continue
                if self._matches(trigger["conditions"], happening):
                    self._fired.add(trigger["id"])
                    self._act(trigger, happening)
        finally:
            if first:
                self._fired = None

    def save_automation(self, data: dict[str, Any]) -> dict[str, Any]:
        """`POST /automations`: needs a condition on time, and one on how or whose the ticket is."""
        every = [one.get("field") for one in (data.get("conditions") or {}).get("all") or []]
        if not data.get("title"):
            raise invalid("title", "Title: cannot be blank", "BlankValue")
        if not any(name in _HOURS for name in every):
            raise invalid("base", "Conditions: at least one time-based condition is required", "BlankValue")
        if not any(name in ("status", "type", "group_id", "assignee_id", "requester_id") for name in every):
            raise invalid("base", "Conditions: one on status, type, group, assignee or requester", "BlankValue")
        check_actions(data.get("actions") or [])
        number = self.desk.new_id()
        made = {"active": True, "position": len(self.automations) + 1, **data, "id": number}
        self.automations[number] = made
        return made

    def hour(self) -> None:
        """The hour strikes: automations run over all tickets that are not closed."""
        by = next(iter(self.desk.people.all.values()))
        for automation in list(self.automations.values()):
            for ticket in list(self.desk.tickets.values()):
                if ticket.deleted or ticket.status == "closed" or not automation.get("active", True):
                    continue
                if all(self._due(one, ticket) for one in automation["conditions"]["all"]):
                    self.actions.do(automation, ticket, by, "automation")

    def _due(self, condition: dict[str, Any], ticket: Ticket) -> bool:
        name, operator, value = condition["field"], condition.get("operator"), str(condition.get("value", ""))
        if name in _HOURS:
            hours = (self.time.now() - ticket.updated_at).total_seconds() / 3600
            return _HOURS[name] in (ticket.status, "updated") and hours >= float(value)
        if name == "current_tags":
            return bool(set(value.split()) & set(ticket.tags)) == (operator == "includes")
        actual = str(getattr(ticket, name, "") or "")
        if operator in ("less_than", "greater_than") and name == "status":
            difference = STATUSES.index(actual) - STATUSES.index(value)
            return difference < 0 if operator == "less_than" else difference > 0
        return (actual == value) == (operator in ("is", None))

    def _matches(self, conditions: dict[str, Any], happening: Happening) -> bool:
        every, some = conditions.get("all") or [], conditions.get("any") or []
        return all(self._holds(one, happening) for one in every) and (
            not some or any(self._holds(one, happening) for one in some)
        )

    def _holds(self, condition: dict[str, Any], happening: Happening) -> bool:
        name, operator, value = condition["field"], condition.get("operator"), str(condition.get("value", ""))
        ticket, comment = happening.ticket, happening.audit.comment
        if name == "current_tags":
            shared = bool(set(value.split()) & set(ticket.tags))
            return shared if operator == "includes" else not shared
        if name == "update_type":
            return happening.type.lower() == value.lower()
        if name == "comment_is_public":
            if value == "not_relevant":
                return comment is not None
            return comment is not None and comment.public == (value != "false")
        if name == "role":
            actual = "agent" if happening.updater.staff else "end_user"
            if happening.via in ("rule", "automation"):
                actual = "system"
            hit = value in (actual, str(happening.updater.id), "all")
        elif name in ("current_via_id", "via_id"):
            hit = str(VIA_IDS.get(happening.via, 0)) == value
        else:
            changes = {event.get("field_name"): event for event in happening.audit.events}
            if operator in ("changed", "not_changed"):
                return bool((name in changes) == (operator == "changed"))
            if operator in ("value", "value_previous"):
                side = "value" if operator == "value" else "previous_value"
                return name in changes and bool(str(changes[name].get(side, "")).lower() == value.lower())
            actual = str(getattr(ticket, name, "") or "")
            if name == "status" and operator in ("less_than", "greater_than"):
                difference = STATUSES.index(actual) - STATUSES.index(value)
                return difference < 0 if operator == "less_than" else difference > 0
            hit = actual.lower() == value.lower()
        return hit if operator in ("is", None) else not hit

    def _act(self, trigger: dict[str, Any], happening: Happening) -> None:
        for action in trigger.get("actions") or []:
            if action.get("field") != "notification_webhook":
                continue
            webhook = self.webhooks.get(action["value"][0])
            if webhook is not None and webhook.data.get("status") == "active":
                self.send(webhook, self._fill(action["value"][1], happening).encode())
        self.actions.do(trigger, happening.ticket, happening.updater, "rule")

    def _fill(self, template: str, happening: Happening) -> str:
        """Placeholders are put in as they are: a quote in a subject breaks the JSON, as it does at Zendesk."""
        ticket = happening.ticket
        values = {
            "ticket.id": ticket.id,
            "ticket.external_id": ticket.external_id or "",
            "ticket.status": ticket.status.capitalize(),
            "ticket.title": ticket.subject,
            "ticket.updated_at_with_timestamp": iso(ticket.updated_at),
            "current_user.id": happening.updater.id,
        }
        return re.sub(r"\{\{\s*([\w.]+)\s*\}\}", lambda found: str(values.get(found[1], "")), template)

    def send(self, webhook: Webhook, body: bytes) -> None:
        """One invocation: its id stays the same over repeats, the signature is made anew for each try."""
        self._invocation += 1
        invocation = str(self._invocation)
        webhook.invocations.append(invocation)

        def build() -> tuple[str, dict[str, str], bytes]:
            timestamp = iso(self.time.now())
            headers = {
                "content-type": "application/json; charset=utf-8",
                "user-agent": "Zendesk Webhook",
                "x-zendesk-account-id": self.account_id,
                "x-zendesk-webhook-id": webhook.id,
                "x-zendesk-webhook-invocation-id": invocation,
                "x-zendesk-webhook-signature": webhook_signature(webhook.secret, timestamp, body),
                "x-zendesk-webhook-signature-timestamp": timestamp,
                **(webhook.data.get("custom_headers") or {}),
            }
            return str(webhook.data["endpoint"]), headers, body

        if webhook.data.get("status") == "active":
            self.emit(build)
