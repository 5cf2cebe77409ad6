"""The twin's endpoints that show or change the system: states, groups, attributes, triggers, webhooks, channels."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.routing import Route

from gateway_zammad.twin_desk import Desk
from gateway_zammad.twin_http import Answer, Call, paged, route
from gateway_zammad.twin_model import STATE_TYPES, iso, not_found, unprocessable

if TYPE_CHECKING:
    from gateway_zammad.twin import ZammadTwin


CHANNELS = ("channels_twitter", "channels_facebook", "channels_telegram", "channels/admin/whatsapp")


class AdminEndpoints:
    """States, priorities and groups are for agents too; the rest is for admins."""

    def __init__(self, twin: ZammadTwin) -> None:
        self.twin = twin

    @property
    def desk(self) -> Desk:
        """The desk; at the time of `routes` there is none yet."""
        return self.twin.desk

    def routes(self) -> list[Route]:
        """In the order that paths are tried."""
        twin = self.twin
        made = [
            route(twin, "GET", "ticket_states", self.states),
            route(twin, "GET", "ticket_priorities", self.priorities),
            route(twin, "GET", "groups", self.groups),
            route(twin, "GET", "object_manager_attributes", self.attributes, admin=True),
            route(twin, "POST", "object_manager_attributes", self.create_attribute, admin=True),
            route(twin, "POST", "object_manager_attributes_execute_migrations", self.migrate, admin=True),
            *(route(twin, "GET", path, self.channels, admin=True) for path in CHANNELS),
        ]
        for path in ("triggers", "jobs", "webhooks"):
            made += [
                route(twin, "GET", path, self.listed, admin=True),
                route(twin, "POST", path, self.create, admin=True),
                route(twin, "GET", f"{path}/{{id}}", self.show, admin=True),
                route(twin, "PUT", f"{path}/{{id}}", self.update, admin=True),
                route(twin, "DELETE", f"{path}/{{id}}", self.delete, admin=True),
            ]
        return made

    def states(self, call: Call) -> Answer:
        shown = [
            {"id": id, "name": name, "state_type_id": STATE_TYPES.get(id, 2), "active": id != 6, "next_state_id": None}
            for id, name in self.desk.states.items()
        ]
        return Answer(shown)

    def priorities(self, call: Call) -> Answer:
        return Answer([{"id": id, "name": name, "active": True} for id, name in self.desk.priorities.items()])

    def groups(self, call: Call) -> Answer:
        return Answer(list(self.desk.groups.values()))

    def channels(self, call: Call) -> Answer:
        path = call.request.url.path.removeprefix("/api/v1/")
        channels = self.twin.channels[path]
        return Answer({"assets": {"Channel": {str(one["id"]): one for one in channels}} if channels else {}})

    # attributes

    def attributes(self, call: Call) -> Answer:
        fixed = [
            {"id": n, "object": "Ticket", "name": name, "data_type": "input", "active": True, "to_create": False}
            for n, name in enumerate(("title", "number"), 1)
        ]
        return Answer([*fixed, *self.desk.attributes.values()])

    def create_attribute(self, call: Call) -> Answer:
        """It is there only after the migration, of which the answer says nothing but `to_create`."""
        data = call.params
        name = str(data.get("name") or "")
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name.endswith(("_id", "_ids")):
            raise unprocessable(f"Name {name} is not allowed")
        if name in self.desk.attributes:
            raise unprocessable("already exists")
        option = data.get("data_option")
        if not isinstance(option, dict) or ("null" not in option and "default" not in option):
            raise unprocessable("Data option is invalid")
        if data.get("data_type") == "input" and not (option.get("type") and option.get("maxlength")):
            raise unprocessable("Data option must have type and maxlength")
        made = {
            "id": 100 + len(self.desk.attributes),
            "object": str(data.get("object")),
            "name": name,
            "display": data.get("display"),
            "data_type": data.get("data_type"),
            "data_option": option,
            "active": data.get("active", True),
            "to_create": True,
            "to_migrate": True,
            "to_delete": False,
        }
        self.desk.attributes[name] = made
        return Answer(made, 201)

    def migrate(self, call: Call) -> Answer:
        self.twin.migrate()
        return Answer({})

    # triggers, schedulers, webhooks

    def _table(self, call: Call) -> tuple[str, dict[int, dict[str, Any]]]:
        kind = call.request.url.path.split("/")[3]
        return kind, getattr(self.twin.rules, kind)

    def listed(self, call: Call) -> Answer:
        _, table = self._table(call)
        return Answer(paged(call, list(table.values()), default=500, most=500))

    def show(self, call: Call) -> Answer:
        kind, table = self._table(call)
        id = call.number("id", kind)
        if id not in table:
            raise not_found(kind.rstrip("s").title(), id)
        return Answer(table[id])

    def create(self, call: Call) -> Answer:
        kind, table = self._table(call)
        data = self._checked(kind, table, call.params, None)
        id = self.desk.new_id(kind)
        table[id] = {"id": id, "created_at": iso(self.twin.time.now()), **data}
        self.twin.effect(f"{kind.rstrip('s')}_created", str(id), name=data["name"])
        return Answer(table[id], 201)

    def update(self, call: Call) -> Answer:
        kind, table = self._table(call)
        id = call.number("id", kind)
        if id not in table:
            raise not_found(kind.rstrip("s").title(), id)
        table[id] = {**table[id], **self._checked(kind, table, {**table[id], **call.params}, id), "id": id}
        self.twin.effect(f"{kind.rstrip('s')}_changed", str(id))
        return Answer(table[id])

    def delete(self, call: Call) -> Answer:
        _, table = self._table(call)
        table.pop(call.number("id"), None)
        return Answer({})

    def _checked(
        self, kind: str, table: dict[int, dict[str, Any]], data: dict[str, Any], id: int | None
    ) -> dict[str, Any]:
        name = str(data.get("name") or "")
        if not name:
            raise unprocessable("Validation failed: Name can't be blank")
        if any(one["name"].lower() == name.lower() and other != id for other, one in table.items()):
            raise unprocessable("Validation failed: Name has already been taken")
        if kind == "webhooks":
            parts = urlsplit(str(data.get("endpoint") or ""))
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise unprocessable("Validation failed: Endpoint Invalid endpoint (no http/https)!")
            kept = {"name", "endpoint", "signature_token", "ssl_verify", "active", "note"}
            return {"ssl_verify": True, "active": True, **{one: data[one] for one in data if one in kept}}
        perform = data.get("perform")
        if not isinstance(data.get("condition"), dict) or not isinstance(perform, dict) or not perform:
            raise unprocessable("Validation failed: Perform can't be blank")
        told = perform.get("notification.webhook")
        if told is not None and int(told.get("webhook_id") or 0) not in self.twin.rules.webhooks:
            raise unprocessable("Validation failed: Perform The required attribute 'webhook_id' is missing or invalid")
        modes = (data.get("activator", "action"), data.get("execution_condition_mode", "selective"))
        if modes[0] not in ("action", "time") or modes[1] not in ("selective", "always"):
            raise unprocessable("Validation failed: Activator is not included in the list")
        kept = {"name", "condition", "perform", "activator", "execution_condition_mode", "active", "note", "timeplan"}
        return {"active": True, **{one: data[one] for one in data if one in kept}}
