"""The twin's ticket endpoints: tickets, their lists and their search, conversations, merge."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from gateway_freshdesk.twin_http import Answer, Call, page, route
from gateway_freshdesk.twin_model import ApiError, Conversation, Ticket, invalid, not_allowed, not_found, problem

if TYPE_CHECKING:
    from gateway_freshdesk.twin import FreshdeskTwin

_FILTERS = ("new_and_my_open", "watching", "spam", "deleted")
_INCLUDES = {"description", "requester", "stats", "company", "conversations"}
_TERM = re.compile(r"([a-z_0-9]+):(?:'([^']*)'|(\d+))")


class TicketEndpoints:
    """Everything under `/api/v2/tickets`, `/api/v2/search/tickets` and `/api/v2/conversations`."""

    def __init__(self, twin: FreshdeskTwin) -> None:
        self.twin = twin

    def routes(self) -> list[Route]:
        """In the order that paths are tried."""
        twin, base, one = self.twin, "/api/v2/tickets", "/api/v2/tickets/{id}"
        return [
            route(twin, "POST", base, self.create, bucket="tickets-create"),
            route(twin, "GET", base, self.index, bucket="tickets-list"),
            route(twin, "PUT", f"{base}/merge", self.merge),
            route(twin, "GET", "/api/v2/search/tickets", self.search),
            route(twin, "POST", f"{one}/notes", self.note, bucket="tickets-update"),
            route(twin, "POST", f"{one}/reply", self.reply, bucket="tickets-update"),
            route(twin, "GET", f"{one}/conversations", self.conversations),
            route(twin, "PUT", "/api/v2/conversations/{id}", self.edit),
            route(twin, "DELETE", "/api/v2/conversations/{id}", self.drop),
            route(twin, "GET", one, self.show),
            route(twin, "PUT", one, self.update, bucket="tickets-update"),
            route(twin, "DELETE", one, self.delete),
        ]

    def create(self, call: Call) -> Answer:
        ticket = self.twin.desk.create(call.body, call.user)
        return Answer(ticket.json(), 201, {"Location": f"{self.twin.url}/api/v2/tickets/{ticket.id}"})

    def show(self, call: Call) -> Answer:
        """Also from the trash; of conversations ten at most."""
        call.allow("include")
        ticket, included = self.twin.desk.ticket(call.number()), self._included(call)
        shown = ticket.json(stats="stats" in included)
        if "conversations" in included:
            shown["conversations"] = [one.json() for one in ticket.conversations[:10]]
        if "requester" in included:
            shown["requester"] = self.twin.desk.people[ticket.requester_id].json()
        return Answer(shown)

    def index(self, call: Call) -> Answer:
        """Trash and spam show by their filters only, and without `updated_since` nothing older than thirty days."""
        call.allow(
            *("filter", "requester_id", "email", "unique_external_id", "company_id"),
            *("updated_since", "include", "order_by", "order_type"),
        )
        filter_, since = call.query("filter"), self._since(call)
        if filter_ is not None and filter_ not in _FILTERS:
            text = f"It should be one of these values: '{','.join(_FILTERS)}'"
            raise invalid(problem("filter", text, "invalid_value"))
        order, kind = call.query("order_by") or "created_at", call.query("order_type") or "desc"
        if order not in ("created_at", "updated_at", "due_by", "status") or kind not in ("asc", "desc"):
            raise invalid(problem("order_by", "It should be one of the sortable fields", "invalid_value"))
        desk, now = self.twin.desk, self.twin.time.now()
        found = desk.listed(filter_, since, now, self.twin.list_lag)
        requester = self._requester(call)
        if requester is not None:
            found = [one for one in found if one.requester_id == requester]
        found.sort(key=lambda one: (getattr(one, order, one.created_at), one.id), reverse=kind == "desc")
        included = self._included(call)
        return page(call, found, lambda one: one.json(description="description" in included, stats="stats" in included))

    def search(self, call: Call) -> Answer:
        """The index behind it is minutes late; thirty results a page, ten pages."""
        asked = call.query("query") or ""
        if not re.fullmatch(r'"[^"]{1,512}"', asked):
            raise invalid(
                problem("query", "Given query is invalid. It should be within double quotes", "invalid_value")
            )
        terms = _TERM.findall(asked)
        now, lag = self.twin.time.now(), timedelta(seconds=self.twin.search_lag)
        found = [
            one
            for one in self.twin.desk.tickets.values()
            if not one.deleted and now - one.updated_at >= lag and all(self._matches(one, *term) for term in terms)
        ]
        number = int(call.query("page") or 1)
        if number > 10:
            raise invalid(problem("page", "It should be a Positive Integer less than or equal to 10", "invalid_value"))
        part = found[(number - 1) * 30 : number * 30]
        return Answer({"total": len(found), "results": [one.json() for one in part]})

    def update(self, call: Call) -> Answer:
        ticket = self.twin.desk.writable(call.number(), "PUT")
        self.twin.desk.update(ticket, call.body, call.user)
        return Answer(ticket.json())

    def delete(self, call: Call) -> Answer:
        self.twin.desk.trash(self.twin.desk.writable(call.number(), "DELETE"))
        return Answer(None, 204)

    def note(self, call: Call) -> Answer:
        """`private` unless it says otherwise; `user_id` writes as somebody else."""
        ticket = self.twin.desk.writable(call.number(), "POST")
        data, author = call.body, call.user
        files = self.twin.desk.given_files(data)
        known = {"body", "private", "incoming", "user_id", "notify_emails"}
        errors = [
            problem(one, "Unexpected/invalid field in request", "invalid_field") for one in data if one not in known
        ]
        if not isinstance(data.get("body"), str) or not data["body"].strip():
            errors.append(problem("body", "It should not be blank as this is a mandatory field", "missing_field"))
        for name in ("private", "incoming"):
            if name in data and not isinstance(data[name], bool):
                errors.append(problem(name, "It should be a/an Boolean", "datatype_mismatch"))
        if "user_id" in data:
            person = self.twin.desk.people.get(data["user_id"]) if isinstance(data["user_id"], int) else None
            taken = person is not None and not person.deleted and (person.agent or self.twin.desk.contact_notes)
            if person is None or not taken:
                text = "There is no contact matching the given user_id"
                errors.append(problem("user_id", text, "invalid_value"))
            else:
                author = person
        if errors:
            raise invalid(*errors)
        switches = {"private": data.get("private", True), "incoming": data.get("incoming", False)}
        kept = [self.twin.desk.keep_file(*one) for one in files]
        made = self.twin.desk.write(ticket, author, data["body"], attachments=kept, **switches)
        for address in data.get("notify_emails") or []:
            self.twin.effect("mail_sent", str(ticket.id), to=address, what="note")
        return Answer(made.json(), 201)

    def reply(self, call: Call) -> Answer:
        """Goes out as an e-mail; a requester without an address cannot be replied to."""
        ticket = self.twin.desk.writable(call.number(), "POST")
        if not self.twin.desk.people[ticket.requester_id].email:
            raise invalid(problem("to_emails", "There should be at least one recipient", "missing_field"))
        made = self.twin.desk.write(ticket, call.user, str(call.body.get("body") or ""), source=0, private=False)
        return Answer(made.json(), 201)

    def conversations(self, call: Call) -> Answer:
        call.allow()
        ticket = self.twin.desk.ticket(call.number())
        return page(call, sorted(ticket.conversations, key=lambda one: (one.created_at, one.id)), Conversation.json)

    def edit(self, call: Call) -> Answer:
        """The body and nothing else: a note's privacy stays what it was."""
        ticket, one = self._conversation(call.number())
        if ticket.deleted:
            raise not_allowed("PUT")
        unknown = [name for name in call.body if name not in ("body", "attachments")]
        if unknown:
            raise invalid(*(problem(name, "Unexpected/invalid field in request", "invalid_field") for name in unknown))
        self.twin.desk_edit(one, str(call.body.get("body") or ""))
        return Answer(one.json())

    def drop(self, call: Call) -> Answer:
        ticket, one = self._conversation(call.number())
        ticket.conversations.remove(one)
        return Answer(None, 204)

    def merge(self, call: Call) -> Answer:
        desk = self.twin.desk
        target = desk.writable(int(call.body.get("primary_id") or 0), "PUT")
        public = (call.body.get("note_in_primary") or {}).get("private") is False
        for id in call.body.get("ticket_ids") or []:
            desk.merge(desk.writable(int(id), "PUT"), target, call.user, public=public)
        return Answer(None, 204)

    def _conversation(self, id: int) -> tuple[Ticket, Conversation]:
        for ticket in self.twin.desk.tickets.values():
            for one in ticket.conversations:
                if one.id == id:
                    return ticket, one
        raise not_found()

    def _requester(self, call: Call) -> int | None:
        desk = self.twin.desk
        if call.query("requester_id") is not None:
            id = call.query("requester_id") or ""
            if not id.isdigit() or int(id) not in desk.people:
                raise invalid(
                    problem("requester_id", "There is no contact matching the given requester_id", "invalid_value")
                )
            return int(id)
        for name in ("unique_external_id", "email"):
            if call.query(name) is not None:
                found = desk.contact_by(name, call.query(name))
                if found is None:
                    raise invalid(problem(name, f"There is no contact matching the given {name}", "invalid_value"))
                return found.id
        return None

    def _since(self, call: Call) -> datetime | None:
        given = call.query("updated_since")
        if given is None:
            return None
        try:
            return datetime.fromisoformat(given)
        except ValueError as error:
            text = "It should be in the combined date-time ISO8601 format"
            raise invalid(problem("updated_since", text, "invalid_date")) from error

    def _included(self, call: Call) -> set[str]:
        included = {one for one in (call.query("include") or "").split(",") if one}
        if included - _INCLUDES:
            text = f"It should be one of these values: '{','.join(sorted(_INCLUDES))}'"
            raise invalid(problem("include", text, "invalid_value"))
        return included

    def _matches(self, ticket: Ticket, name: str, text: str, number: str) -> bool:
        wanted: Any = int(number) if number else text
        if name == "tag":
            return wanted in ticket.tags
        if name.startswith("cf_"):
            return bool(ticket.custom_fields.get(name) == wanted)
        if name not in ("status", "priority", "type", "group_id"):
            raise ApiError(
                400,
                {"description": "Validation failed", "errors": [problem(name, "Unexpected field", "invalid_field")]},
            )
        return bool(getattr(ticket, name) == wanted)
