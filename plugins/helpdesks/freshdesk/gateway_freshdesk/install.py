"""Setting up a Freshdesk account: the secret, the automation rule that sends it, and fields for the gateway's state."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from gateway_freshdesk.api import Api, objects, status_of
from gateway_freshdesk.config import GATEWAY_FIELDS
from gateway_freshdesk.preflight import UNSEEN, Preflight, as_steps
from gateway_freshdesk.rules import UPDATES, Rule, contains
from gateway_freshdesk.words import number
from gateway_schemas.errors import Gone, Malformed, Rejected
from gateway_schemas.http import json_object
from gateway_schemas.plugin import InstallReport, Step

SECRET_BYTES = 32
ADMIN = "Admin → Workflows → Automations → Ticket updates"


class Installer:
    """Looks for what is there by id, then by name; makes or mends only what is missing or differs."""

    def __init__(self, api: Api, door: str | None) -> None:
        self.api = api
        self.config = api.config
        self.door = door
        self.name = f"Helpdesk gateway ({self.config.tag})"

    async def run(self, *, dry_run: bool) -> InstallReport:
        """Every step that was done, or with `dry_run` would be; and as `ask` what only a person can do or see."""
        if self.door is None:
            raise Rejected("this connection has no public address yet, so no rule can call it", code="no_door")
        steps: list[Step] = []
        me = await self.me()
        found: dict[str, Any] = {"api_user_id": me["id"]}
        preflight = Preflight(self.api, self.door, None)
        try:
            rules = await preflight.rules()
        except (Gone, Rejected) as error:
            if status_of(error) not in (403, 404):
                raise
            rules = None
        if rules is None:
            steps.append(self._by_hand("the API user may not change automation rules"))
        else:
            found.update(await self._rule(rules, steps, dry_run))
        preflight.own_rule = found.get("rule_id")
        if self.config.create_fields:
            found["fields"] = await self._fields(steps, dry_run)
        steps += [*as_steps(await preflight.run(me)), *UNSEEN]
        return InstallReport(steps=tuple(steps), config={} if dry_run else found)

    async def me(self) -> dict[str, Any]:
        """The agent whose key it is."""
        agent = await self.api.get("agents/me")
        if number(agent.get("id")) is None:
            raise Malformed("the answer names no agent", code="malformed")
        return agent

    def wanted_rule(self, secret: str | None) -> dict[str, Any]:
        """One rule for what agents do to our tickets: answers, replies, and another status.

        Of the ticket no more than the id is sent: what a webhook without a signature says is asked for anyway. Private
        notes are left out, each execution counts against the account's limit; the next poll brings them.
        """
        headers = {} if secret is None else {self.config.webhook_header: secret}
        return {
            "name": self.name,
            "active": True,
            "performer": {"type": 1},
            "events": [
                {"field_name": "note_type", "value": "public"},
                {"field_name": "reply_sent"},
                {"field_name": "status", "from": "--", "to": "--"},
            ],
            "conditions": [
                {
                    "name": "condition_set_1",
                    "match_type": "all",
                    "properties": [
                        {
                            "resource_type": "ticket",
                            "field_name": "tag_names",
                            "operator": "in",
                            "value": [self.config.tag],
                        }
                    ],
                }
            ],
            "actions": [
                {
                    "field_name": "trigger_webhook",
                    "request_type": "POST",
                    "url": self.door,
                    "content_type": "JSON",
                    "content_layout": "2",
                    "content": {"ticket_id": "{{ticket.id}}"},
                    "custom_headers": headers,
                }
            ],
        }

    def find_rule(self, rules: list[Rule]) -> Rule | None:
        """The rule by its id, else by its name."""
        updates = [one for one in rules if one.type == UPDATES]
        by_id = next((one for one in updates if one.id is not None and one.id == self.config.rule_id), None)
        return by_id or next((one for one in updates if one.data.get("name") == self.name), None)

    def changed(self, rule: Rule) -> list[str]:
        """Which parts of the rule are not as they should be."""
        known = [one.get_secret_value() for one in self.config.webhook_secrets]
        wanted = self.wanted_rule(known[0] if known else None)
        wanted.pop("name")
        return sorted(name for name, value in wanted.items() if not contains(rule.data.get(name), value))

    async def _rule(self, rules: list[Rule], steps: list[Step], dry_run: bool) -> dict[str, Any]:
        known = [one.get_secret_value() for one in self.config.webhook_secrets]
        secret = known[0] if known else secrets.token_urlsafe(SECRET_BYTES)
        rule = self.find_rule(rules)
        if rule is not None and rule.id is not None:
            changed = self.changed(rule) if known else ["the secret"]
            if not changed:
                steps.append(Step(action="keep", what=f"automation rule {self.name}"))
                return {"rule_id": rule.id}
            steps.append(Step(action="update", what=f"automation rule {self.name}", detail=", ".join(changed)))
            call = ("PUT", f"automations/{UPDATES}/rules/{rule.id}")
        else:
            steps.append(Step(action="create", what=f"automation rule {self.name}", detail=f"calls {self.door}"))
            call = ("POST", f"automations/{UPDATES}/rules")
        if dry_run:
            return {} if rule is None else {"rule_id": rule.id}
        try:
            made = await self._write(*call, self.wanted_rule(secret))
        except Rejected as error:
            # the shape of rules is the least documented part of the API, and depends on the plan
            steps[-1] = self._by_hand(error.reason)
            return {}
        return {"rule_id": made["id"], "webhook_secrets": [secret, *known[1:]]}

    def _by_hand(self, why: str) -> Step:
        """How a person sets the rule up. The secret is theirs to choose: what is stored is shown to nobody."""
        detail = (
            f"{why}. Choose a long random secret and PATCH it into the connection as first of webhook_secrets; then in "
            f"{ADMIN} make the rule {self.name}: when an agent adds a public note, sends a reply or changes the "
            f"status; on tickets whose tags are any of: {self.config.tag}; do: trigger webhook, POST to {self.door}, "
            f"custom header {self.config.webhook_header} with the secret, encoding JSON, advanced content "
            '{"ticket_id": "{{ticket.id}}"}. Without it answers come by polling only, up to five minutes later'
        )
        return Step(action="ask", what=f"make the automation rule {self.name} by hand", detail=detail)

    async def _fields(self, steps: list[Step], dry_run: bool) -> dict[str, str]:
        mapped = dict(self.config.fields)
        listed = {str(one.get("name")) for one in objects(await self.api.send("GET", "ticket_fields"), "ticket fields")}
        for name in GATEWAY_FIELDS:
            theirs = f"cf_{name}"
            if name in mapped:
                steps.append(Step(action="keep", what=f"ticket field {name}"))
            elif theirs in listed:
                mapped[name] = theirs
                steps.append(Step(action="keep", what=f"ticket field {name}", detail="found by its name"))
            else:
                steps.append(Step(action="create", what=f"ticket field {name}"))
                if not dry_run:
                    body = {
                        "type": "custom_text",
                        "label": name,
                        "label_for_customers": name,
                        "customers_can_edit": False,
                    }
                    made = await self._write("POST", "admin/ticket_fields", body)
                    mapped[name] = str(made.get("name") or theirs)
        return mapped

    async def _write(self, method: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        # a repeated install finds by name what an earlier one made: nothing here is an effect that must not repeat
        made = json_object(await self.api.send(method, path, json=body))
        if number(made.get("id")) is None:
            raise Malformed("the answer has no id", code="malformed")
        return made
