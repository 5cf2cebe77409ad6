"""Setting up a Zendesk account: the webhook, the trigger that calls it, and the fields for the gateway's state."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gateway_schemas.errors import Gone, Malformed, Rejected
from gateway_schemas.http import json_object
from gateway_schemas.plugin import InstallReport, Step
from gateway_zendesk.api import Api
from gateway_zendesk.config import GATEWAY_FIELDS
from gateway_zendesk.preflight import Preflight, as_steps

SUBSCRIPTION = "conditional_ticket_events"
API_CHANNEL = "5"
"""The via id of Web service (API): the gateway's own updates come this way and need not be told to it."""
MOST_SECRETS = 2


class Installer:
    """Looks for what is there by id, then by name; makes or mends only what is missing or differs."""

    def __init__(self, api: Api, door: str | None) -> None:
        self.api = api
        self.config = api.config
        self.door = door
        self.name = f"Helpdesk gateway ({self.config.tag})"

    async def run(self, *, dry_run: bool) -> InstallReport:
        """Every step that was done, or with `dry_run` would be; and as `ask` what of the account works against us."""
        if self.door is None:
            raise Rejected("this connection has no public address yet, so no webhook can be set up", code="no_door")
        steps: list[Step] = []
        found: dict[str, Any] = {}
        me = await self.me()
        found["api_user_id"] = me["id"]
        if me.get("role") != "admin":
            what = f"make {me.get('email') or me.get('name')} an admin"
            steps.append(Step(action="ask", what=what, detail="webhooks, triggers and polling need an admin"))
            steps += as_steps(await Preflight(self.api, self.door).run(me))
            return InstallReport(steps=tuple(steps), config={} if dry_run else found)
        webhook_id = await self._webhook(steps, dry_run)
        if webhook_id is not None:
            found["webhook_id"] = webhook_id
            found["signing_secrets"] = await self._secrets(webhook_id, steps)
        trigger_id = await self._trigger(webhook_id, steps, dry_run)
        if trigger_id is not None:
            found["trigger_id"] = trigger_id
        if self.config.create_fields:
            found["fields"] = await self._fields(steps, dry_run)
        preflight = Preflight(self.api, self.door)
        steps += as_steps(await preflight.run(me, own_trigger=trigger_id, own_webhook=webhook_id))
        return InstallReport(steps=tuple(steps), config={} if dry_run else found)

    async def me(self) -> dict[str, Any]:
        """The user whose token it is."""
        user = (await self.api.get("users/me")).get("user")
        if not isinstance(user, dict) or not isinstance(user.get("id"), int):
            raise Malformed("the answer names no user", code="malformed")
        return user

    def wanted_webhook(self) -> dict[str, Any]:
        """The webhook as it should be."""
        return {
            "name": self.name,
            "status": "active",
            "endpoint": self.door,
            "http_method": "POST",
            "request_format": "json",
            "subscriptions": [SUBSCRIPTION],
        }

    def wanted_trigger(self, webhook_id: str) -> dict[str, Any]:
        """One trigger for whatever an agent does to one of our tickets.

        The template holds the id alone: placeholders go in unescaped, and a quote in a free text would break the JSON.
        """
        return {
            "title": self.name,
            "active": True,
            "conditions": {
                "all": [
                    {"field": "current_tags", "operator": "includes", "value": self.config.tag},
                    {"field": "update_type", "operator": "is", "value": "Change"},
                    {"field": "role", "operator": "is", "value": "agent"},
                    {"field": "current_via_id", "operator": "is_not", "value": API_CHANNEL},
                ],
                "any": [],
            },
            "actions": [
                {"field": "notification_webhook", "value": [webhook_id, json.dumps({"ticket_id": "{{ticket.id}}"})]}
            ],
        }

    async def find_webhook(self) -> dict[str, Any] | None:
        """The webhook by its id, else by its name."""
        if self.config.webhook_id is not None:
            try:
                webhook = (await self.api.get(f"webhooks/{self.config.webhook_id}")).get("webhook")
            except Gone:
                webhook = None
            if isinstance(webhook, dict):
                return webhook
        listed = await self.api.listed("webhooks", "webhooks", {"filter[name_contains]": self.name})
        return next((one for one in listed if one.get("name") == self.name), None)

    async def find_trigger(self) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
        """The trigger by its id, else by its title, and all triggers."""
        listed = await self.api.listed("triggers", "triggers")
        by_id = next((one for one in listed if one.get("id") == self.config.trigger_id), None)
        return by_id or next((one for one in listed if one.get("title") == self.name), None), listed

    async def _webhook(self, steps: list[Step], dry_run: bool) -> str | None:
        wanted, webhook = self.wanted_webhook(), await self.find_webhook()
        if webhook is None:
            steps.append(Step(action="create", what=f"webhook {self.name}", detail=f"calls {self.door}"))
            if dry_run:
                return None
            made = await self._write("POST", "webhooks", {"webhook": wanted}, "webhook")
            return str(made["id"])
        changed = differences(webhook, wanted)
        webhook_id = str(webhook["id"])
        if "subscriptions" in changed:
            # a webhook of events can never become a trigger's: a second one beside it would tell everything twice
            what = f"delete webhook {self.name}"
            steps.append(Step(action="ask", what=what, detail="it is subscribed to events; then install again"))
            return None
        if not changed:
            steps.append(Step(action="keep", what=f"webhook {self.name}"))
            return webhook_id
        steps.append(Step(action="update", what=f"webhook {self.name}", detail=", ".join(sorted(changed))))
        if not dry_run:
            await self.api.send("PATCH", f"webhooks/{webhook_id}", json={"webhook": changed})
        return webhook_id

    async def _secrets(self, webhook_id: str, steps: list[Step]) -> list[str]:
        """The webhook's secret first, then the one known before it: deliveries under way may still carry that."""
        answer = (await self.api.get(f"webhooks/{webhook_id}/signing_secret")).get("signing_secret")
        secret = answer.get("secret") if isinstance(answer, dict) else None
        if not isinstance(secret, str) or not secret:
            raise Malformed("the answer has no signing secret", code="malformed")
        known = [one.get_secret_value() for one in self.config.signing_secrets]
        steps.append(Step(action="keep" if known[:1] == [secret] else "update", what="the webhook's signing secret"))
        return list(dict.fromkeys([secret, *known]))[:MOST_SECRETS]

    async def _trigger(self, webhook_id: str | None, steps: list[Step], dry_run: bool) -> int | None:
        trigger, listed = await self.find_trigger()
        if trigger is None:
            steps.append(Step(action="create", what=f"trigger {self.name}", detail="any change by an agent"))
            if dry_run or webhook_id is None:
                return None
            wanted = self.wanted_trigger(webhook_id)
            category = self.config.trigger_category_id or next(
                (str(one["category_id"]) for one in listed if one.get("category_id")), None
            )
            if category is not None:
                wanted["category_id"] = category
            return int((await self._write("POST", "triggers", {"trigger": wanted}, "trigger"))["id"])
        number = int(trigger["id"])
        changed = differences(trigger, self.wanted_trigger(webhook_id)) if webhook_id is not None else {"actions": []}
        if not changed:
            steps.append(Step(action="keep", what=f"trigger {self.name}"))
            return number
        steps.append(Step(action="update", what=f"trigger {self.name}", detail=", ".join(sorted(changed))))
        if not dry_run and webhook_id is not None:
            await self._write("PUT", f"triggers/{number}", {"trigger": changed}, "trigger")
        return number

    async def _fields(self, steps: list[Step], dry_run: bool) -> dict[str, int]:
        mapped = dict(self.config.fields)
        listed = await self.api.listed("ticket_fields", "ticket_fields")
        titles = {str(one.get("title")): one for one in listed if isinstance(one.get("id"), int)}
        for name in GATEWAY_FIELDS:
            if name in mapped:
                steps.append(Step(action="keep", what=f"ticket field {name}"))
            elif name in titles:
                mapped[name] = int(titles[name]["id"])
                steps.append(Step(action="keep", what=f"ticket field {name}", detail="found by its title"))
            else:
                steps.append(Step(action="create", what=f"ticket field {name}"))
                if not dry_run:
                    field = {"type": "text", "title": name, "description": "Written by the helpdesk gateway"}
                    made = await self._write("POST", "ticket_fields", {"ticket_field": field}, "ticket_field")
                    mapped[name] = int(made["id"])
        return mapped

    async def _write(self, method: str, path: str, body: Mapping[str, Any], name: str) -> dict[str, Any]:
        # a repeated install finds by name what an earlier one made: nothing here is an effect that must not repeat
        made = json_object(await self.api.send(method, path, json=body)).get(name)
        if not isinstance(made, dict) or "id" not in made:
            raise Malformed(f"the answer has no {name}", code="malformed")
        return made


def differences(present: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the wanted properties that are not as wanted, with their wanted values. Zendesk may add others."""
    return {name: value for name, value in wanted.items() if _plain(present.get(name)) != _plain(value)}


def _plain(value: Any) -> Any:
    """The same value without what Zendesk adds or writes in another type: conditions by their three words, as text."""
    if isinstance(value, dict):
        keep = ("all", "any") if "all" in value or "any" in value else ("field", "operator", "value")
        return {name: _plain(value.get(name) or []) for name in keep if name in value or name in ("all", "any")}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value if isinstance(value, bool) else str(value)
