"""The twin's endpoints for the account: profile, inboxes, labels, attributes, webhooks, rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from gateway_chatwoot.twin_api import BASE
from gateway_chatwoot.twin_http import Call, route
from gateway_chatwoot.twin_model import ApiError, invalid, not_found

if TYPE_CHECKING:
    from gateway_chatwoot.twin import ChatwootTwin
    from gateway_chatwoot.twin_desk import Desk

SUBSCRIPTIONS = (
    "conversation_created",
    "conversation_status_changed",
    "conversation_updated",
    "message_created",
    "message_updated",
    "contact_created",
    "contact_updated",
    "webwidget_triggered",
    "conversation_typing_on",
    "conversation_typing_off",
)


class AdminEndpoints:
    """What setting up asks for. Webhooks, rules, labels and attributes are for administrators."""

    def __init__(self, twin: ChatwootTwin) -> None:
        self.twin = twin

    @property
    def desk(self) -> Desk:
        """The account's state."""
        return self.twin.desk

    def routes(self) -> Sequence[Route]:
        """Every endpoint here."""
        twin = self.twin
        return [
            route(twin, "GET", "/api/v1/profile", self.profile),
            route(twin, "GET", BASE, self.account),
            route(twin, "GET", f"{BASE}/inboxes", lambda _: {"payload": list(self.desk.inboxes.values())}),
            route(twin, "POST", f"{BASE}/inboxes", self.create_inbox, admin=True),
            route(twin, "GET", f"{BASE}/inboxes/{{id}}/agent_bot", lambda _: {"agent_bot": twin.bot or {}}),
            route(twin, "GET", f"{BASE}/inbox_members/{{id}}", self.members),
            route(twin, "GET", f"{BASE}/labels", lambda _: {"payload": twin.labels}),
            route(twin, "POST", f"{BASE}/labels", self.create_label, admin=True),
            route(twin, "GET", f"{BASE}/custom_attribute_definitions", self.attributes),
            route(twin, "POST", f"{BASE}/custom_attribute_definitions", self.create_attribute, admin=True),
            route(twin, "GET", f"{BASE}/webhooks", self.webhooks, admin=True),
            route(twin, "POST", f"{BASE}/webhooks", self.create_webhook, admin=True),
            route(twin, "PATCH", f"{BASE}/webhooks/{{id}}", self.change_webhook, admin=True),
            route(twin, "GET", f"{BASE}/automation_rules", lambda _: {"payload": twin.rules}, admin=True),
        ]

    def profile(self, call: Call) -> Any:
        """The user whose token it is, with the accounts they belong to."""
        account = {"id": 1, "name": "Acme", "status": "active", "role": call.user.role, "permissions": [call.user.role]}
        return {
            "id": call.user.id,
            "account_id": 1,
            "name": call.user.name,
            "available_name": call.user.name,
            "display_name": None,
            "email": call.user.email,
            "role": call.user.role,
            "provider": "email",
            "uid": call.user.email,
            "type": None,
            "accounts": [account],
        }

    def account(self, _: Call) -> Any:
        """The account's settings."""
        return {
            "id": 1,
            "name": "Acme",
            "locale": "en",
            "status": "active",
            "settings": self.twin.settings,
            "features": {},
        }

    def create_inbox(self, call: Call) -> Any:
        """Of API channels only."""
        channel = call.body.get("channel")
        if not isinstance(channel, dict) or channel.get("type") != "api":
            raise ApiError(422, {"error": "invalid channel type"})
        more = {name: value for name, value in call.body.items() if name not in ("name", "channel")}
        return self.twin.add_inbox(str(call.body.get("name")), **more)

    def members(self, call: Call) -> Any:
        """Who sees an inbox beside administrators."""
        return {"payload": [one.json() for one in self.twin.members.get(call.number(), [])]}

    def create_label(self, call: Call) -> Any:
        """Titles are unique: letters, digits, hyphens and underscores."""
        title = str(call.body.get("title") or "").lower()
        if not title or not all(one.isalnum() or one in "-_" for one in title):
            raise invalid("Title is invalid", "title")
        if any(one["title"] == title for one in self.twin.labels):
            raise invalid("Title has already been taken", "title")
        made = {
            "id": self.desk.new_id(),
            "title": title,
            "description": str(call.body.get("description") or ""),
            "color": "#1f93ff",
            "show_on_sidebar": call.body.get("show_on_sidebar") is True,
        }
        self.twin.labels.append(made)
        return made

    def attributes(self, call: Call) -> Any:
        """Definitions of one model."""
        model = "contact_attribute" if call.query("attribute_model") == "1" else "conversation_attribute"
        return [one for one in self.twin.attributes if one["attribute_model"] == model]

    def create_attribute(self, call: Call) -> Any:
        """Keys are unique within a model."""
        key = call.body.get("attribute_key")
        if not call.body.get("attribute_display_name"):
            raise invalid("Attribute display name can't be blank", "attribute_display_name")
        if any(one["attribute_key"] == key for one in self.twin.attributes):
            raise invalid("Attribute key has already been taken", "attribute_key")
        made = {
            "id": self.desk.new_id(),
            "attribute_key": key,
            "attribute_display_name": call.body["attribute_display_name"],
            "attribute_display_type": "text",
            "attribute_description": str(call.body.get("attribute_description") or ""),
            "attribute_model": "conversation_attribute",
        }
        self.twin.attributes.append(made)
        return made

    def webhooks(self, _: Call) -> Any:
        """All of the account's."""
        return {"payload": {"webhooks": list(self.desk.webhooks.values())}}

    def create_webhook(self, call: Call) -> Any:
        """One address has one webhook."""
        self._check(call.body)
        if any(one["url"] == call.body["url"] for one in self.desk.webhooks.values()):
            raise invalid("Url has already been taken", "url")
        made = {
            "id": self.desk.new_id(),
            "url": call.body["url"],
            "name": str(call.body.get("name") or ""),
            "subscriptions": list(call.body.get("subscriptions") or []),
            "account_id": 1,
        }
        if self.desk.signs:
            made["secret"] = f"twin-secret-{made['id']}"
        self.desk.webhooks[made["id"]] = made
        return {"payload": {"webhook": made}}

    def change_webhook(self, call: Call) -> Any:
        """What is given."""
        webhook = self.desk.webhooks.get(call.number())
        if webhook is None:
            raise not_found()
        self._check({**webhook, **call.body})
        webhook |= {name: call.body[name] for name in ("url", "name", "subscriptions") if name in call.body}
        return {"payload": {"webhook": webhook}}

    def _check(self, body: dict[str, Any]) -> None:
        if not str(body.get("url") or "").startswith(("http://", "https://")):
            raise invalid("Url is invalid", "url")
        listed = body.get("subscriptions")
        if not isinstance(listed, list) or not set(listed) <= set(SUBSCRIPTIONS):
            raise invalid("Subscriptions is invalid", "subscriptions")
