"""The twin's settings of the account: automations, satisfaction, native channels, forms and groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from gateway_zendesk.twin_http import Answer, Call, page, route
from gateway_zendesk.twin_model import ApiError, not_found

if TYPE_CHECKING:
    from gateway_zendesk.twin import ZendeskTwin


class SettingsEndpoints:
    """What an account is set to, as far as it matters to somebody who writes tickets. Much of it is for admins."""

    def __init__(self, twin: ZendeskTwin) -> None:
        self.twin = twin
        self.active_features: dict[str, bool] = {
            "on_hold_status": False,
            "ticket_tagging": True,
            "customer_satisfaction": False,
            "twitter": False,
            "facebook": False,
            "ticket_forms": True,
            "light_agents": False,
        }
        self.users: dict[str, bool] = {
            "tagging": True,
            "agent_created_welcome_emails": False,
            "end_user_phone_number_validation": False,
        }
        self.handles: list[dict[str, Any]] = []
        """X handles that Zendesk's own channel watches."""
        self.forms: dict[int, dict[str, Any]] = {}
        self.groups: dict[int, dict[str, Any]] = {}
        self.hidden = False
        """Whether the settings are refused, as to a role without that right."""

    def routes(self) -> list[Route]:
        """In the order that paths are tried."""
        twin, api = self.twin, "/api/v2"
        return [
            route(twin, "GET", f"{api}/automations", self.list_automations),
            route(twin, "POST", f"{api}/automations", self.create_automation),
            route(twin, "GET", f"{api}/account/settings", self.settings),
            route(twin, "GET", f"{api}/channels/twitter/monitored_twitter_handles", self.list_handles),
            route(twin, "GET", f"{api}/ticket_forms/{{id}}", self.form),
            route(twin, "GET", f"{api}/groups/{{id}}", self.group),
            route(twin, "GET", f"{api}/users/{{id}}/tickets/assigned", self.assigned),
        ]

    def _admin(self, call: Call) -> None:
        if call.user.role != "admin" or self.hidden:
            raise ApiError(403, {"error": {"title": "Forbidden", "message": "You do not have access to this page."}})

    def list_automations(self, call: Call) -> Answer:
        return Answer(page(call, "automations", list(self.twin.rules.automations.values()), dict))

    def create_automation(self, call: Call) -> Answer:
        self._admin(call)
        return Answer({"automation": self.twin.rules.save_automation(call.wrapped("automation"))}, 201)

    def settings(self, call: Call) -> Answer:
        self._admin(call)
        return Answer({"settings": {"active_features": dict(self.active_features), "user": dict(self.users)}})

    def list_handles(self, call: Call) -> Answer:
        self._admin(call)
        return Answer(page(call, "monitored_twitter_handles", self.handles, dict))

    def form(self, call: Call) -> Answer:
        return Answer({"ticket_form": self._one(self.forms, call)})

    def group(self, call: Call) -> Answer:
        return Answer({"group": self._one(self.groups, call)})

    def assigned(self, call: Call) -> Answer:
        user = call.number("id")
        if user not in self.twin.desk.people.all:
            raise not_found()
        found = [one for one in self.twin.tickets.values() if one.assignee_id == user and not one.deleted]
        return Answer(page(call, "tickets", found, lambda ticket: ticket.json(self.twin.url)))

    def _one(self, things: dict[int, dict[str, Any]], call: Call) -> dict[str, Any]:
        number = call.number("id")
        if number not in things:
            raise not_found()
        return things[number]
