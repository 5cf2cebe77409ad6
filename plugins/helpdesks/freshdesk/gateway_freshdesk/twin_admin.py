"""The twin's other endpoints: contacts, agents, fields, automation rules and surveys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from gateway_freshdesk.twin_http import Answer, Call, page, route
from gateway_freshdesk.twin_model import ApiError, Person, invalid, not_found, problem

if TYPE_CHECKING:
    from gateway_freshdesk.twin import FreshdeskTwin


class AdminEndpoints:
    """What an integration needs beside tickets. Rules and fields are for administrators."""

    def __init__(self, twin: FreshdeskTwin) -> None:
        self.twin = twin

    def routes(self) -> list[Route]:
        """In the order that paths are tried."""
        twin, api = self.twin, "/api/v2"
        rules = f"{api}/automations/{{kind}}/rules"
        return [
            route(twin, "GET", f"{api}/agents/me", self.me),
            route(twin, "GET", f"{api}/agents/{{id}}", self.agent),
            route(twin, "POST", f"{api}/contacts", self.create_contact),
            route(twin, "GET", f"{api}/contacts", self.contacts, bucket="contacts-list"),
            route(twin, "GET", f"{api}/contacts/{{id}}", self.contact),
            route(twin, "GET", f"{api}/contact_fields", self.contact_fields),
            route(twin, "GET", f"{api}/ticket_fields", self.ticket_fields),
            route(twin, "POST", f"{api}/admin/ticket_fields", self.create_field),
            route(twin, "GET", rules, self.rules),
            route(twin, "POST", rules, self.create_rule),
            route(twin, "GET", f"{rules}/{{id}}", self.rule),
            route(twin, "PUT", f"{rules}/{{id}}", self.update_rule),
            route(twin, "DELETE", f"{rules}/{{id}}", self.delete_rule),
            route(twin, "GET", f"{api}/surveys", self.surveys),
            route(twin, "GET", f"{api}/customer-satisfaction/surveys", self.new_surveys),
        ]

    def _admin(self, call: Call) -> None:
        if call.user.role != "admin":
            message = "You are not authorized to perform this action."
            raise ApiError(403, {"code": "access_denied", "message": message})

    def _feature(self, name: str, present: bool) -> None:
        if not present:
            message = f"The {name} feature(s) is/are not supported in your plan. Please upgrade your account to use it."
            raise ApiError(403, {"code": "require_feature", "message": message})

    # people

    def me(self, call: Call) -> Answer:
        return Answer(call.user.agent_json())

    def agent(self, call: Call) -> Answer:
        if self.twin.agents_hidden:
            self._admin(call)
        person = self.twin.desk.people.get(call.number())
        if person is None or not person.agent:
            raise not_found()
        return Answer(person.agent_json())

    def create_contact(self, call: Call) -> Answer:
        missing = [one for one in self.twin.contact_fields if one.get("required_for_agents") and one["name"] != "name"]
        if missing:
            text = "It should not be blank as this is a mandatory field"
            raise invalid(*(problem(one["name"], text, "missing_field") for one in missing))
        made = self.twin.desk.create_contact(call.body)
        return Answer(made.json(), 201, {"Location": f"{self.twin.url}/api/v2/contacts/{made.id}"})

    def contacts(self, call: Call) -> Answer:
        call.allow("email", "mobile", "phone", "unique_external_id", "company_id", "state", "updated_since")
        found = [one for one in self.twin.desk.people.values() if not one.agent and not one.deleted]
        for name in ("email", "unique_external_id"):
            if call.query(name) is not None:
                found = [one for one in found if getattr(one, name) == call.query(name)]
        return page(call, found, Person.json)

    def contact(self, call: Call) -> Answer:
        person = self.twin.desk.people.get(call.number())
        if person is None or person.agent:
            raise not_found()
        return Answer(person.json())

    # fields

    def contact_fields(self, call: Call) -> Answer:
        return Answer(self.twin.contact_fields)

    def ticket_fields(self, call: Call) -> Answer:
        desk = self.twin.desk
        statuses = {str(code): [name, name] for code, name in desk.statuses.items()}
        default = [
            {"id": 1, "name": "subject", "label": "Subject", "type": "default_subject", "required_for_agents": True},
            {
                "id": 2,
                "name": "status",
                "label": "Status",
                "type": "default_status",
                "required_for_agents": True,
                "choices": statuses,
            },
            {
                "id": 3,
                "name": "source",
                "label": "Source",
                "type": "default_source",
                "required_for_agents": False,
                "choices": dict(desk.sources),
            },
        ]
        return Answer([*default, *desk.fields.values()])

    def create_field(self, call: Call) -> Answer:
        self._admin(call)
        label, kind = call.body.get("label"), call.body.get("type")
        if not label or not kind:
            raise invalid(problem("label", "It should not be blank as this is a mandatory field", "missing_field"))
        made = self.twin.add_field(str(label), type=str(kind))
        return Answer(made, 201)

    # rules

    def rules(self, call: Call) -> Answer:
        self._admin(call)
        self._feature("automations", self.twin.has_rules)
        kind = call.number("kind")
        if kind not in self.twin.rules.rules:
            raise not_found()
        listed: list[dict[str, Any]] = list(self.twin.rules.rules[kind].values())
        return Answer({"rules": listed} if self.twin.wraps_rules else listed)

    def create_rule(self, call: Call) -> Answer:
        self._admin(call)
        self._feature("automations", self.twin.has_rules and self.twin.takes_rules)
        return Answer(self.twin.rules.save(call.number("kind"), call.body), 201)

    def rule(self, call: Call) -> Answer:
        self._admin(call)
        return Answer(self.twin.rules.rule(call.number("kind"), call.number()))

    def update_rule(self, call: Call) -> Answer:
        self._admin(call)
        kept = self.twin.rules.rule(call.number("kind"), call.number())
        return Answer(self.twin.rules.save(call.number("kind"), call.body, kept["id"]))

    def delete_rule(self, call: Call) -> Answer:
        self._admin(call)
        kept = self.twin.rules.rule(call.number("kind"), call.number())
        del self.twin.rules.rules[call.number("kind")][kept["id"]]
        return Answer(None, 204)

    # surveys

    def surveys(self, call: Call) -> Answer:
        active = [one for one in self.twin.classic_surveys if one["active"] or call.query("state") != "active"]
        return Answer(active)

    def new_surveys(self, call: Call) -> Answer:
        self._feature("csat", self.twin.new_surveys is not None)
        wanted = call.query("state")
        found = [one for one in self.twin.new_surveys or [] if wanted in (None, one["state"])]
        return Answer({"data": found, "paging": {}})
