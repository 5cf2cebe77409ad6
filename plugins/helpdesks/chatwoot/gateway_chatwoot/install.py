"""Setting up a Chatwoot account: the inbox, labels and attributes that agents see, and the webhook with its secret."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from gateway_chatwoot.api import Api
from gateway_chatwoot.config import GATEWAY_ATTRIBUTES
from gateway_chatwoot.normalise import EVENTS
from gateway_chatwoot.preflight import Preflight, as_steps
from gateway_chatwoot.words import number, words
from gateway_schemas.errors import Malformed, Reauthorise, Rejected
from gateway_schemas.http import json_object
from gateway_schemas.plugin import InstallReport, Step

TOKEN_BYTES = 32
CONVERSATION_ATTRIBUTE, TEXT = 0, 0
"""Chatwoot's numbers: of the model `conversation_attribute`, and of the display type text."""


class Installer:
    """Looks for what is there by id, then by name; makes or mends only what is missing or differs."""

    def __init__(self, api: Api, door: str | None) -> None:
        self.api = api
        self.config = api.config
        self.door = door
        self.preflight = Preflight(api, door)

    async def run(self, *, dry_run: bool) -> InstallReport:
        """Every step that was done, or with `dry_run` would be; and as `ask` what only a person can do or decide."""
        if self.door is None:
            raise Rejected("this connection has no public address yet, so nothing can call it", code="no_door")
        me = await self.api.me()
        steps: list[Step] = []
        found: dict[str, Any] = {"api_user_id": me["id"]}
        inbox = await self._inbox(steps, dry_run)
        if inbox is not None:
            found["inbox_id"] = inbox["id"]
        try:
            await self._labels(steps, dry_run)
            await self._attributes(steps, dry_run)
            found |= await self._webhook(steps, dry_run)
        except Reauthorise as error:
            # `me` was answered: the token is good, and its user may not administer
            text = "this needs an administrator: make the API user one and install again"
            raise Rejected(f"{error.reason}; {text}", code="no_administrator") from error
        steps += as_steps(await self.preflight.run(me, inbox))
        return InstallReport(steps=tuple(steps), config={} if dry_run else found)

    def find_inbox(self, inboxes: list[dict[str, Any]]) -> dict[str, Any] | None:
        """Our inbox: by its id, else the API channel with its name."""
        if self.config.inbox_id is not None:
            return next((one for one in inboxes if one.get("id") == self.config.inbox_id), None)
        ours = [one for one in inboxes if one.get("channel_type") == "Channel::Api"]
        return next((one for one in ours if one.get("name") == self.config.inbox_name), None)

    def find_webhook(self, webhooks: list[dict[str, Any]]) -> dict[str, Any] | None:
        """Our webhook: by its id, else the one that calls our door."""
        by_id = next((one for one in webhooks if one.get("id") and one.get("id") == self.config.webhook_id), None)
        return by_id or next((one for one in webhooks if _plain(one.get("url")) == self.door), None)

    def webhook_differs(self, webhook: Mapping[str, Any]) -> list[str]:
        """Which parts of the webhook are not as they should be."""
        listed = webhook.get("subscriptions")
        subscribed = set(listed) if isinstance(listed, list) else set()
        differs = [] if _plain(webhook.get("url")) == self.door else ["url"]
        return differs if set(EVENTS) <= subscribed else [*differs, "subscriptions"]

    async def _inbox(self, steps: list[Step], dry_run: bool) -> dict[str, Any] | None:
        what = f"inbox {self.config.inbox_name}"
        found = self.find_inbox(await self.preflight.inboxes())
        if found is not None:
            steps.append(Step(action="keep", what=f"inbox {words(found.get('name')) or found.get('id')}"))
            return found
        if self.config.inbox_id is not None:
            text = f"inbox {self.config.inbox_id} does not exist; correct inbox_id, or clear it to have one made"
            raise Rejected(text, code="no_inbox", field="inbox_id")
        steps.append(Step(action="create", what=what, detail="an API channel"))
        if dry_run:
            return None
        body = {
            "name": self.config.inbox_name,
            "greeting_enabled": False,
            "csat_survey_enabled": False,
            "lock_to_single_conversation": False,
            "allow_messages_after_resolved": True,
            "enable_auto_assignment": False,
            "channel": {"type": "api", "webhook_url": ""},
        }
        return _with_id(json_object(await self.api.send("POST", "inboxes", json=body)))

    async def _labels(self, steps: list[Step], dry_run: bool) -> None:
        present = await self.preflight.labels()
        for title in self.preflight.wanted_labels():
            if title in present:
                steps.append(Step(action="keep", what=f"label {title}"))
                continue
            steps.append(Step(action="create", what=f"label {title}"))
            if not dry_run:
                await self.api.send("POST", "labels", json={"title": title, "show_on_sidebar": False})

    async def _attributes(self, steps: list[Step], dry_run: bool) -> None:
        listed = await self.api.listed("custom_attribute_definitions", {"attribute_model": str(CONVERSATION_ATTRIBUTE)})
        present = {one.get("attribute_key") for one in listed}
        for name in GATEWAY_ATTRIBUTES:
            key = self.config.attribute(name)
            if key in present:
                steps.append(Step(action="keep", what=f"conversation attribute {key}"))
                continue
            steps.append(Step(action="create", what=f"conversation attribute {key}"))
            if not dry_run:
                body = {
                    "attribute_display_name": key.replace("_", " "),
                    "attribute_key": key,
                    "attribute_display_type": TEXT,
                    "attribute_model": CONVERSATION_ATTRIBUTE,
                    "attribute_description": "Written by the helpdesk gateway",
                }
                await self.api.send("POST", "custom_attribute_definitions", json=body)

    async def _webhook(self, steps: list[Step], dry_run: bool) -> dict[str, Any]:
        assert self.door is not None
        found = self.find_webhook(await self.preflight.webhooks())
        body: dict[str, Any] = {"url": self.door, "name": "Helpdesk gateway", "subscriptions": list(EVENTS)}
        if found is not None:
            differs = self.webhook_differs(found)
            if not differs:
                steps.append(Step(action="keep", what="webhook"))
                return self._secret_of(found)
            steps.append(Step(action="update", what="webhook", detail=", ".join(differs)))
            if dry_run:
                return {}
            if self.config.url_token is not None:
                body["url"] = self._with_token(self.config.url_token.get_secret_value())
            return self._secret_of(await self._written("PATCH", f"webhooks/{found['id']}", body))
        steps.append(Step(action="create", what="webhook", detail=f"calls {self.door}"))
        if dry_run:
            return {}
        made = await self._written("POST", "webhooks", body)
        if words(made.get("secret")):
            return self._secret_of(made)
        # a release that does not sign: the address itself has to carry a secret
        token = secrets.token_urlsafe(TOKEN_BYTES)
        await self._written("PATCH", f"webhooks/{made['id']}", {**body, "url": self._with_token(token)})
        return {"webhook_id": made["id"], "url_token": token}

    def _secret_of(self, webhook: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {"webhook_id": webhook["id"]}
        secret = words(webhook.get("secret"))
        known = [one.get_secret_value() for one in self.config.webhook_secrets]
        if secret is not None:
            # one that was there before stays valid for webhooks that are under way
            found["webhook_secrets"] = list(dict.fromkeys((secret, *known)))[:2]
        return found

    def _with_token(self, token: str) -> str:
        assert self.door is not None
        return f"{self.door}{'&' if '?' in self.door else '?'}token={token}"

    async def _written(self, method: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """A webhook as it now is: in `payload.webhook`, as servers say it, or plain, as the API's document has it."""
        answer = json_object(await self.api.send(method, path, json=body))
        payload = answer.get("payload")
        inner = payload.get("webhook") if isinstance(payload, dict) else None
        return _with_id(inner if isinstance(inner, dict) else answer)


def _with_id(made: dict[str, Any]) -> dict[str, Any]:
    if number(made.get("id")) is None:
        raise Malformed("the answer has no id", code="malformed")
    return made


def _plain(url: object) -> str:
    """A webhook's address without its token."""
    text = url if isinstance(url, str) else ""
    return text.split("?token=")[0].split("&token=")[0]
