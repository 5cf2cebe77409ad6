"""Setting up a Zammad: the webhook with its signature, the trigger that sends it, and attributes for our state."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from gateway_schemas.errors import Gone, Malformed, Rejected
from gateway_schemas.http import json_object
from gateway_schemas.plugin import InstallReport, Step
from gateway_zammad.api import Api, listed
from gateway_zammad.config import GATEWAY_FIELDS
from gateway_zammad.preflight import Preflight, as_steps
from gateway_zammad.words import number

SECRET_BYTES = 32


class Installer:
    """Looks for what is there by id, then by name; makes or mends only what is missing or differs."""

    def __init__(self, api: Api, door: str | None) -> None:
        self.api = api
        self.config = api.config
        self.door = door
        self.name = f"Helpdesk gateway ({self.config.tag})"

    async def run(self, *, dry_run: bool) -> InstallReport:
        """Every step that was done, or with `dry_run` would be; and as `ask` what only a person can do."""
        if self.door is None:
            raise Rejected("this connection has no public address yet, so no webhook can call it", code="no_door")
        steps: list[Step] = []
        me = await self.me()
        found: dict[str, Any] = {"api_user_id": me["id"]}
        try:
            webhook = await self._webhook(steps, found, dry_run)
            await self._trigger(webhook, steps, found, dry_run)
        except (Gone, Rejected) as error:
            steps.append(self._by_hand(error.reason))
        if self.config.create_fields:
            found["fields"] = await self._fields(steps, dry_run)
        steps += as_steps(await Preflight(self.api, found.get("trigger_id"), found.get("webhook_id")).run(me))
        return InstallReport(steps=tuple(steps), config={} if dry_run else found)

    async def me(self) -> dict[str, Any]:
        """The user whose token it is."""
        user = await self.api.get("users/me", {"expand": "true"})
        if number(user.get("id")) is None:
            raise Malformed("the answer names no user", code="malformed")
        return user

    def wanted_webhook(self, secret: str) -> dict[str, Any]:
        """The webhook: JSON by POST, signed with HMAC-SHA1."""
        return {
            "name": self.name,
            "endpoint": self.door,
            "signature_token": secret,
            "ssl_verify": self.config.verify_tls,
            "active": True,
        }

    def wanted_trigger(self, webhook: int) -> dict[str, Any]:
        """One trigger for whatever is done to a ticket of ours, also without an article: `always` is for that.

        Only the gateway creates tickets with the tag, so updates are enough.
        """
        return {
            "name": self.name,
            "activator": "action",
            "execution_condition_mode": "always",
            "condition": {
                "ticket.action": {"operator": "is", "value": "update"},
                "ticket.tags": {"operator": "contains one", "value": self.config.tag},
            },
            # a number as text: so it comes out of Zammad's own form
            "perform": {"notification.webhook": {"webhook_id": str(webhook)}},
            "active": True,
        }

    def find(self, listed: list[dict[str, Any]], id: int | None) -> dict[str, Any] | None:
        """One by its id, else by its name."""
        by_id = next((one for one in listed if id is not None and one.get("id") == id), None)
        return by_id or next((one for one in listed if one.get("name") == self.name), None)

    def changed(self, present: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
        """Which parts are not as they should be. Zammad may hide the signature's token, and add to the rest."""
        return sorted(
            name
            for name, value in wanted.items()
            if name not in ("name", "signature_token") and not _same(present.get(name), value)
        )

    async def _webhook(self, steps: list[Step], found: dict[str, Any], dry_run: bool) -> int | None:
        known = [one.get_secret_value() for one in self.config.webhook_secrets]
        secret = known[0] if known else secrets.token_urlsafe(SECRET_BYTES)
        present = self.find(await self.api.all("webhooks"), self.config.webhook_id)
        wanted = self.wanted_webhook(secret)
        differs = [] if present is None else self.changed(present, wanted)
        if present is not None and (not known or present.get("signature_token") not in (None, "", secret)):
            differs.append("signature_token")
        id = number(present.get("id")) if present is not None else None
        settled = await self._settle("webhook", "webhooks", id, wanted, differs, steps, found, dry_run)
        found["webhook_secrets"] = [secret, *known[1:]]
        return settled

    async def _trigger(self, webhook: int | None, steps: list[Step], found: dict[str, Any], dry_run: bool) -> None:
        present = self.find(await self.api.all("triggers"), self.config.trigger_id)
        wanted = self.wanted_trigger(webhook or 0)
        differs = [] if present is None else self.changed(present, wanted)
        id = number(present.get("id")) if present is not None else None
        await self._settle("trigger", "triggers", id, wanted, differs, steps, found, dry_run)

    async def _settle(
        self,
        what: str,
        path: str,
        id: int | None,
        wanted: dict[str, Any],
        differs: list[str],
        steps: list[Step],
        found: dict[str, Any],
        dry_run: bool,
    ) -> int | None:
        """Make, mend or keep one object; a repeated install finds by name what an earlier one made."""
        if id is not None and not differs:
            steps.append(Step(action="keep", what=f"{what} {self.name}"))
        elif id is not None:
            steps.append(Step(action="update", what=f"{what} {self.name}", detail=", ".join(differs)))
            if not dry_run:
                await self.api.send("PUT", f"{path}/{id}", json=wanted)
        else:
            steps.append(Step(action="create", what=f"{what} {self.name}"))
            if not dry_run:
                id = number(json_object(await self.api.send("POST", path, json=wanted)).get("id"))
                if id is None:
                    raise Malformed("the answer has no id", code="malformed")
        if id is not None:
            found[f"{what}_id"] = id
        return id

    def _by_hand(self, why: str) -> Step:
        """How a person sets it up. The token is theirs to choose: what is stored is shown to nobody."""
        detail = (
            f"{why}. Choose a long random token and PATCH it into the connection as first of webhook_secrets; then in "
            f"Manage → Webhook make {self.name}: endpoint {self.door}, HMAC SHA1 signature token as chosen; and in "
            f"Manage → Trigger make {self.name}: activated by action, always; conditions: Action is updated, Tags "
            f"contain one of {self.config.tag}; action: Webhook {self.name}. Without it answers come by polling only"
        )
        return Step(action="ask", what="make the webhook and its trigger by hand", detail=detail)

    async def _fields(self, steps: list[Step], dry_run: bool) -> dict[str, str]:
        """Attributes need a migration of the database, which Zammad runs by a call of its own; then it restarts."""
        mapped, made = dict(self.config.fields), False
        present = listed(await self.api.send("GET", "object_manager_attributes"), "attributes")
        there = {str(one.get("name")) for one in present if one.get("object") == "Ticket"}
        for name in GATEWAY_FIELDS:
            theirs = name if name.startswith("gw_") else f"gw_{name}"
            if name in mapped:
                steps.append(Step(action="keep", what=f"attribute {name}"))
                continue
            if theirs in there:
                steps.append(Step(action="keep", what=f"attribute {theirs}", detail="found by its name"))
            else:
                steps.append(Step(action="create", what=f"attribute {theirs}"))
                if not dry_run:
                    await self.api.send("POST", "object_manager_attributes", json=_attribute(theirs))
                    made = True
            mapped[name] = theirs
        if made:
            await self.api.send("POST", "object_manager_attributes_execute_migrations", json={})
        return mapped


def _attribute(name: str) -> dict[str, Any]:
    return {
        "object": "Ticket",
        "name": name,
        "display": name,
        "data_type": "input",
        "data_option": {"type": "text", "maxlength": 500, "null": True, "default": ""},
        "active": True,
        "screens": {"edit": {"ticket.agent": {"shown": True}}},
    }


def _same(present: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return isinstance(present, dict) and all(_same(present.get(name), value) for name, value in wanted.items())
    if isinstance(wanted, bool) or isinstance(present, bool):
        return present is wanted
    if isinstance(present, list) and not isinstance(wanted, list):
        return len(present) == 1 and _same(present[0], wanted)
    return str(present) == str(wanted)
