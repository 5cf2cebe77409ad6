"""The twin's automation rules: events, conditions and actions are evaluated, webhooks go out unsigned."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from gateway_freshdesk.twin_desk import Desk, Happening
from gateway_freshdesk.twin_model import Person, Ticket, invalid, iso, not_found, problem
from gateway_schemas.testing.twin import WebhookBuilder
from gateway_schemas.time import TimeSource

CREATION, HOURLY, UPDATES = 1, 3, 4
_KNOWN = {"name", "description", "position", "active", "performer", "events", "conditions", "actions", "operator"}
_ACTIONS = {
    *("priority", "status", "ticket_type", "group_id", "responder_id", "add_tag", "add_note", "add_a_cc"),
    *("send_email_to_requester", "send_email_to_group", "send_email_to_agent", "forward_ticket"),
    *("delete_ticket", "mark_as_spam", "skip_notification", "trigger_webhook"),
}
_EVENTS = {"reply_sent", "note_type", "status", "priority", "group_id", "responder_id", "ticket_action"}
AGENT, REQUESTER, EITHER, SYSTEM = 1, 2, 3, 4


class Rules:
    """Rules on ticket creation and on ticket updates run at once; hourly ones when `hour` is called."""

    def __init__(self, time: TimeSource, desk: Desk, emit: Callable[[WebhookBuilder], None]) -> None:
        self.time = time
        self.desk = desk
        self.emit = emit
        self.rules: dict[int, dict[int, dict[str, Any]]] = {CREATION: {}, HOURLY: {}, UPDATES: {}}
        self.simple = False
        """Whether webhooks have the simple content, which wraps what it holds in `freshdesk_webhook`."""

    def save(self, kind: int, data: dict[str, Any], id: int | None = None) -> dict[str, Any]:
        """`POST` or `PUT …/rules`: what is not known is refused."""
        errors = [
            problem(one, "Unexpected/invalid field in request", "invalid_field") for one in data if one not in _KNOWN
        ]
        if id is None:
            for name in ("name", "conditions", "actions", *(("performer", "events") if kind == UPDATES else ())):
                if not data.get(name):
                    errors.append(problem(name, "It should not be blank as this is a mandatory field", "missing_field"))
        for action in data.get("actions") or []:
            if action.get("field_name") not in _ACTIONS:
                errors.append(problem("actions", "It should be one of the supported actions", "invalid_value"))
            elif action["field_name"] == "trigger_webhook":
                wanted = ("request_type", "url", "content_type", "content_layout")
                missing = [one for one in wanted if not isinstance(action.get(one), str)]
                errors += [
                    problem(f"actions[{one}]", "It should be a/an String", "datatype_mismatch") for one in missing
                ]
        for event in data.get("events") or []:
            if event.get("field_name") not in _EVENTS:
                errors.append(problem("events", "It should be one of the supported events", "invalid_value"))
        if errors:
            raise invalid(*errors)
        number = id or self.desk.new_id()
        kept = self.rules[kind].get(number, {"position": len(self.rules[kind]) + 1, "active": True})
        stamped = {"id": number, "automation_type_id": kind, "updated_at": iso(self.time.now())}
        self.rules[kind][number] = {**kept, **data, **stamped}
        return self.rules[kind][number]

    def rule(self, kind: int, id: int) -> dict[str, Any]:
        """The rule, or 404."""
        if id not in self.rules.get(kind, {}):
            raise not_found()
        return self.rules[kind][id]

    def happened(self, happening: Happening) -> None:
        """Called for everything done to a ticket. What rules do themselves starts no rules."""
        kind = CREATION if happening.created else UPDATES
        for rule in list(self.rules[kind].values()):
            if not rule.get("active", True) or not self._conditions(rule, happening.ticket):
                continue
            if kind == CREATION or (self._performer(rule, happening.performer) and self._event(rule, happening)):
                self._act(rule, happening.ticket)

    def hour(self) -> None:
        """The hour strikes: hourly rules run over all tickets."""
        for rule in list(self.rules[HOURLY].values()):
            for ticket in list(self.desk.tickets.values()):
                if rule.get("active", True) and not ticket.deleted and self._conditions(rule, ticket):
                    self._act(rule, ticket)

    def _performer(self, rule: dict[str, Any], performer: Person | None) -> bool:
        wanted = int((rule.get("performer") or {}).get("type", EITHER))
        if performer is None:
            return wanted == SYSTEM
        return wanted == EITHER or wanted == (AGENT if performer.agent else REQUESTER)

    def _event(self, rule: dict[str, Any], happening: Happening) -> bool:
        note = happening.note
        for event in rule.get("events") or []:
            name, value = event["field_name"], event.get("value")
            if name == "reply_sent" and note is not None and note.source == 0 and not note.incoming:
                return True
            if name == "note_type" and note is not None and note.source == 2:
                kind = "private" if note.private else "public"
                if value in (kind, "--", None):
                    return True
            if name in happening.changed:
                return True
        return False

    def _conditions(self, rule: dict[str, Any], ticket: Ticket) -> bool:
        sets = [self._set(one, ticket) for one in rule.get("conditions") or []]
        if not sets:
            return True
        return all(sets) if " and " in str(rule.get("operator", "")) else any(sets)

    def _set(self, group: dict[str, Any], ticket: Ticket) -> bool:
        held = [self._holds(one, ticket) for one in group.get("properties") or []]
        return any(held) if group.get("match_type") == "any" else all(held)

    def _holds(self, asked: dict[str, Any], ticket: Ticket) -> bool:
        value = asked.get("value")
        wanted = {str(one).lower() for one in (value if isinstance(value, list) else [value])}
        name = asked.get("field_name")
        if name == "tag_names":
            shared = bool(wanted & {tag.lower() for tag in ticket.tags})
        elif name == "hours_since_pending":
            return (self.time.now() - ticket.updated_at).total_seconds() / 3600 > float(str(value))
        else:
            shared = str(getattr(ticket, str(name), None)).lower() in wanted
        return shared if asked.get("operator") in ("in", "is") else not shared

    def _act(self, rule: dict[str, Any], ticket: Ticket) -> None:
        system = self.desk.people[next(iter(self.desk.people))]
        for action in rule.get("actions") or []:
            name, value = action["field_name"], action.get("value")
            if name == "trigger_webhook":
                self._call(action, ticket)
            elif name in ("status", "priority"):
                self.desk.update(ticket, {name: int(value)}, None)
            elif name == "add_tag":
                tags = value if isinstance(value, list) else str(value).split(",")
                self.desk.update(ticket, {"tags": [*ticket.tags, *tags]}, None)
            elif name == "add_note":
                more = {
                    "automation_id": rule["id"],
                    "automation_type_id": rule["automation_type_id"],
                    "performer": None,
                }
                self.desk.write(ticket, system, str(value), private=action.get("private", True), **more)
            elif name == "send_email_to_requester":
                self.desk.mail(self.desk.people[ticket.requester_id], ticket, f"rule {rule['name']}")
            elif name in ("delete_ticket", "mark_as_spam"):
                self.desk.trash(ticket, spam=name == "mark_as_spam")

    def _call(self, action: dict[str, Any], ticket: Ticket) -> None:
        values = {
            "ticket.id": ticket.id,
            "ticket.status": self.desk.statuses.get(ticket.status),
            "ticket.subject": ticket.subject,
        }

        def fill(text: str) -> str:
            return re.sub(r"\{\{\s*([\w.]+)\s*\}\}", lambda found: str(values.get(found[1], "")), text)

        content = {name: fill(str(text)) for name, text in (action.get("content") or {}).items()}
        body = json.dumps({"freshdesk_webhook": content} if self.simple else content).encode()
        headers = {
            "content-type": "application/json",
            "user-agent": "Freshdesk",
            **(action.get("custom_headers") or {}),
        }
        self.emit(lambda: (str(action["url"]), headers, body))
