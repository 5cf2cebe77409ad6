"""The twin's endpoints: users, queues, custom fields, tickets, messages, transactions and attachments."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from gateway_request_tracker.twin_desk import Desk, check_files
from gateway_request_tracker.twin_http import Answer, Call, page, route
from gateway_request_tracker.twin_model import NEVER, ApiError, CustomField, Part, Ticket, Transaction, iso, reference
from gateway_request_tracker.twin_sql import evaluate, wrong

if TYPE_CHECKING:
    from gateway_request_tracker.twin import RequestTrackerTwin

_NEXT = {"new": ["open", "resolved", "rejected"], "open": ["stalled", "resolved", "rejected"], "stalled": ["open"]}


class Endpoints:
    """Everything under `/REST/2.0`."""

    def __init__(self, twin: RequestTrackerTwin) -> None:
        self.twin = twin

    @property
    def desk(self) -> Desk:
        """The desk; at the time of `routes` there is none yet."""
        return self.twin.desk

    @property
    def base(self) -> str:
        """What `_url` begins with."""
        return f"{self.twin.url}/REST/2.0"

    def routes(self) -> list[Route]:
        """In the order that paths are tried."""
        twin = self.twin
        return [
            route(twin, "GET", "rt", lambda call: Answer({"Version": "5.0.3", "Plugins": []})),
            route(twin, "GET", "user/{name:path}", self.user),
            route(twin, "POST", "user", self.create_user),
            route(twin, "GET", "queue/{name}", self.queue),
            route(twin, "POST", "customfield", self.create_field),
            route(twin, "GET", "tickets", self.tickets),
            route(twin, "POST", "ticket", self.create),
            route(twin, "GET", "ticket/{id}", self.ticket),
            route(twin, "PUT", "ticket/{id}", self.update),
            route(twin, "POST", "ticket/{id}/correspond", self.correspond),
            route(twin, "POST", "ticket/{id}/comment", self.comment),
            route(twin, "GET", "ticket/{id}/history", self.history),
            route(twin, "GET", "transactions", self.transactions),
            route(twin, "GET", "transaction/{id}", self.transaction),
            route(twin, "POST", "attachments", self.attachments),
            route(twin, "GET", "attachment/{id}", self.attachment),
        ]

    # users, queues, custom fields

    def user(self, call: Call) -> Answer:
        """Who is not privileged sees little of others, and is shown so."""
        found = self.desk.find_user(str(call.request.path_params["name"]))
        if found is None:
            raise ApiError(404, "Not Found")
        shown = {
            "id": found.id,
            "Name": found.name,
            "RealName": found.real_name,
            "EmailAddress": found.email,
            "Privileged": 1 if found.privileged else 0,
            "Disabled": "1" if found.disabled else "0",
            "Created": iso(found.created_at),
            "Memberships": [],
            "CustomFields": [],
            "_hyperlinks": [{"ref": "self", "type": "user", "id": found.id, "_url": f"{self.base}/user/{found.id}"}],
        }
        return Answer(shown, headers={"ETag": f'"{found.id}"'})

    def create_user(self, call: Call) -> Answer:
        if not self.twin.admin_users:
            raise ApiError(400, "Permission Denied")
        made = self.desk.create_user(call.data)
        headers = {"Location": f"/REST/2.0/user/{made.id}"}
        return Answer(reference("user", made.name, self.base), 201, headers)

    def queue(self, call: Call) -> Answer:
        found = self.desk.queue(call.request.path_params["name"])
        if found is None:
            raise ApiError(404, "Not Found")
        links = [{"ref": "self", "type": "queue", "id": found.id, "_url": f"{self.base}/queue/{found.id}"}]
        if self.twin.may_create:
            links.append({"ref": "create", "type": "ticket", "_url": f"{self.base}/ticket?Queue={found.id}"})
        shown = {
            "id": found.id,
            "Name": found.name,
            "Disabled": "1" if found.disabled else "0",
            "Lifecycle": "default",
            "CorrespondAddress": found.correspond_address,
            "CommentAddress": found.comment_address,
            "Cc": [reference("user", one, self.base) for one in found.cc],
            "AdminCc": [reference("user", one, self.base) for one in found.admin_cc],
            "CustomFields": [],
            "TicketCustomFields": [
                {**reference("customfield", one.id, self.base), "name": one.name, "ref": "customfield"}
                for one in self.desk.fields.values()
                if found.id in one.queues
            ],
            "_hyperlinks": links,
        }
        return Answer(shown, headers={"ETag": '"16"'})

    def create_field(self, call: Call) -> Answer:
        if not self.twin.admin_fields:
            raise ApiError(403, "Forbidden")
        queue = self.desk.queue(call.data.get("Queue"))
        name = str(call.data.get("Name") or "")
        if not name or call.data.get("LookupType") != "RT::Queue-RT::Ticket":
            raise ApiError(400, "Invalid value for Name")
        many = str(call.data.get("Type") or "").endswith("Multiple")
        made = CustomField(self.desk.new_id("field"), name, many, {queue.id} if queue is not None else set())
        self.desk.fields[made.id] = made
        self.twin.effect("field_created", name, many=many)
        headers = {"Location": f"/REST/2.0/customfield/{made.id}"}
        return Answer(reference("customfield", made.id, self.base), 201, headers)

    # tickets

    def create(self, call: Call) -> Answer:
        """The id is text here, and a number when the ticket is read."""
        if call.data.get("Queue") and not self.twin.may_create:
            raise ApiError(403, f"No permission to create tickets in the queue '{call.data['Queue']}'")
        check_files(call.data.get("Attachments"))
        made = self.desk.create(call.data, call.user)
        headers = {"Location": f"/REST/2.0/ticket/{made.id}"}
        return Answer(reference("ticket", made.id, self.base), 201, headers)

    def _tag_of(self, ticket: Ticket) -> str:
        return f'"{max((one.id for one in self.desk.history(ticket)), default=0)}"'

    def ticket(self, call: Call) -> Answer:
        ticket = self.desk.ticket(call.number())
        return Answer(self._shown(ticket), headers={"ETag": self._tag_of(ticket)})

    def update(self, call: Call) -> Answer:
        id = call.number()
        if id not in self.desk.tickets:
            raise ApiError(404, "Resource does not exist; use POST to create")
        ticket = self.desk.ticket(id)
        expected = call.request.headers.get("if-match")
        if expected is not None and expected != self._tag_of(ticket):
            raise ApiError(412, "Precondition Failed")
        if self.twin.may_modify:
            return Answer(self.desk.update(ticket, call.data, call.user))
        return Answer([f"Ticket {ticket.id}: Permission Denied"])

    def tickets(self, call: Call) -> Answer:
        """Merged and deleted ones are in no search."""
        found = [
            one
            for one in self.desk.tickets.values()
            if one.effective_id == one.id and one.status != "deleted" and self._matches(one, call.query("query"))
        ]
        if not found:
            evaluate(call.query("query"), lambda name, operator, value: True)
        fields = call.fields

        def write(one: Ticket) -> dict[str, Any]:
            shown = self._shown(one)
            return {**reference("ticket", one.id, self.base), **{name: shown.get(name) for name in fields}}

        return page(call, found, write, counted=True)

    def _matches(self, ticket: Ticket, query: str) -> bool:
        def compare(name: str, operator: str, value: str) -> bool:
            if name.startswith("CF.{") and operator == "=":
                return value in ticket.fields.get(name[4:-1], [])
            if name == "id":
                return _compare(ticket.id, operator, value)
            if name in ("Status", "Subject") and operator == "=":
                return bool(getattr(ticket, name.lower()) == value)
            raise wrong(name)

        return evaluate(query, compare)

    def _shown(self, ticket: Ticket) -> dict[str, Any]:
        fields = self.desk.fields_of(ticket)
        links: list[dict[str, Any]] = [{**reference("ticket", ticket.id, self.base), "id": ticket.id, "ref": "self"}]
        links += [{**reference("ticket", one, self.base), "ref": "refers-to"} for one in ticket.refers_to]
        links += [
            {"ref": "lifecycle", "from": ticket.status, "to": one, "label": one.title(), "update": "Comment"}
            for one in _NEXT.get(ticket.status, ["open"])
        ]
        return {
            "id": ticket.id,
            "Type": "ticket",
            "EffectiveId": reference("ticket", ticket.effective_id, self.base),
            "Queue": reference("queue", ticket.queue_id, self.base),
            "Subject": ticket.subject,
            "Status": ticket.status,
            "Priority": str(ticket.priority),
            "InitialPriority": "0",
            "FinalPriority": "0",
            "Owner": reference("user", ticket.owner, self.base),
            "Creator": reference("user", ticket.creator, self.base),
            "LastUpdatedBy": reference("user", ticket.updated_by, self.base),
            "Requestor": [reference("user", one, self.base) for one in ticket.requestors],
            "Cc": [],
            "AdminCc": [],
            "Created": iso(ticket.created_at),
            "LastUpdated": iso(ticket.updated_at),
            "Resolved": NEVER,
            "Started": NEVER,
            "Due": NEVER,
            "TimeWorked": "0",
            "CustomFields": [
                {
                    **reference("customfield", one.id, self.base),
                    "name": one.name,
                    # a value that was taken away may stay behind as null
                    "values": ticket.fields[one.name] or [None] if one.name in ticket.fields else [],
                }
                for one in fields.values()
            ],
            "_hyperlinks": links,
        }

    # messages

    def correspond(self, call: Call) -> Answer:
        return self._message(call, "Correspond")

    def comment(self, call: Call) -> Answer:
        return self._message(call, "Comment")

    def _message(self, call: Call, kind: str) -> Answer:
        """A ticket that is not there is answered 400, and so is a right that is missing."""
        data, id = call.data, call.number()
        check_files(data.get("Attachments"))
        if data.get("Content") and not data.get("ContentType"):
            raise ApiError(400, "ContentType is a required field for application/json")
        if id not in self.desk.tickets:
            raise ApiError(400, "Message could not be recorded")
        ticket = self.desk.ticket(id)
        requestor = call.user.name in ticket.requestors and kind == "Correspond" and self.twin.requestors_reply
        if not call.user.privileged and not requestor:
            raise ApiError(400, "Permission Denied")
        made, said = self.desk.message(ticket, kind, data, call.user)
        return Answer(said, 201, {"Location": f"/REST/2.0/transaction/{made.id}"})

    # transactions and attachments

    def _sees(self, one: Transaction) -> bool:
        return self.twin.shows_mails or one.type not in ("EmailRecord", "CommentEmailRecord")

    def _written(self, one: Transaction, fields: list[str]) -> dict[str, Any]:
        shown: dict[str, Any] = reference("transaction", one.id, self.base)
        for name in fields:
            shown[name] = reference("user", one.creator, self.base) if name == "Creator" else one.value(name)
        return shown

    def history(self, call: Call) -> Answer:
        ticket, fields = self.desk.ticket(call.number()), call.fields
        found = self.desk.history(ticket)
        return page(call, found, lambda one: self._written(one, fields), counted=False, visible=self._sees)

    def transactions(self, call: Call) -> Answer:
        query, fields = call.query("query"), call.fields
        evaluate(query, lambda name, operator, value: True)
        now, lag = self.twin.time.now(), self.twin.commit_lag
        seen = [one for one in self.desk.transactions.values() if one.id not in lag or now >= lag[one.id]]
        found = [one for one in seen if self._holds(one, query)]
        found.sort(key=lambda one: one.id, reverse=call.query("order") == "DESC")
        return page(call, found, lambda one: self._written(one, fields), counted=False, visible=self._sees)

    def _holds(self, one: Transaction, query: str) -> bool:
        ticket = self.desk.tickets[one.ticket_id]
        columns = {
            "Type": one.type,
            "Creator": one.creator,
            "ObjectType": "RT::Ticket",
            "ObjectId": str(one.ticket_id),
            "TicketQueue": self.desk.queues[ticket.queue_id].name,
            "TicketCreator": ticket.creator,
        }

        def compare(name: str, operator: str, value: str) -> bool:
            if name == "id":
                return _compare(one.id, operator, value)
            if name not in columns or operator not in ("=", "!="):
                raise wrong(name)
            return (columns[name] == value) == (operator == "=")

        return evaluate(query, compare)

    def transaction(self, call: Call) -> Answer:
        """One that is not there is answered 500."""
        one = self.desk.transactions.get(call.number())
        if one is None:
            raise ApiError(500, "Internal Server Error")
        return Answer({**self._written(one, ["Type", "Creator", "Created", "Data"]), "id": one.id})

    def attachments(self, call: Call) -> Answer:
        """Found by a list of conditions; of two of one field one has to hold."""
        asked = call.body if isinstance(call.body, list) else []
        if not asked:
            raise ApiError(400, "Query must be an array of objects")
        found = [one for one in self.desk.parts.values() if _wanted(one, asked)]
        fields = call.fields

        def write(one: Part) -> dict[str, Any]:
            told = {
                "TransactionId": str(one.transaction_id),
                "ContentType": one.content_type,
                "Filename": one.filename,
                "Headers": one.headers,
                "Subject": one.subject,
                "Content": one.content.decode("utf-8", "replace"),
            }
            return {**reference("attachment", one.id, self.base), **{name: told.get(name, "") for name in fields}}

        return page(call, found, write, counted=False)

    def attachment(self, call: Call) -> Answer:
        """One alone comes with its content as base64, in lines."""
        one = self.desk.parts.get(call.number())
        if one is None:
            raise ApiError(404, "Not Found")
        shown = {
            "id": one.id,
            "TransactionId": reference("transaction", one.transaction_id, self.base),
            "ContentType": one.content_type,
            "Filename": one.filename,
            "Headers": one.headers,
            "Content": base64.encodebytes(one.content).decode(),
        }
        return Answer(shown)


def _wanted(one: Part, asked: list[Any]) -> bool:
    by_field: dict[str, list[bool]] = {}
    for each in asked:
        name, operator, value = each.get("field"), each.get("operator", "="), each.get("value")
        told = {"TransactionId": str(one.transaction_id), "ContentType": one.content_type}.get(str(name))
        if told is None:
            raise ApiError(400, f"Unknown field {name}")
        if operator == "IN":
            held = told in {str(part) for part in value}
        elif operator == "LIKE":
            held = str(value) in told
        else:
            held = told == str(value)
        by_field.setdefault(str(name), []).append(held)
    return all(any(held) for held in by_field.values())


def _compare(number: int, operator: str, value: str) -> bool:
    if not value.isdigit():
        raise wrong(value)
    wanted = int(value)
    return {
        "=": number == wanted,
        "!=": number != wanted,
        ">": number > wanted,
        "<": number < wanted,
        ">=": number >= wanted,
        "<=": number <= wanted,
    }[operator]
