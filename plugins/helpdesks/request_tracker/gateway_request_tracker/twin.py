"""A local simulator of Request Tracker: its REST 2 as far as this plugin uses it, and the people who work there."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.routing import BaseRoute

from gateway_request_tracker.twin_desk import Desk
from gateway_request_tracker.twin_http import basic
from gateway_request_tracker.twin_model import ApiError, CustomField, Ticket, Transaction, User
from gateway_request_tracker.twin_rest import Endpoints
from gateway_schemas.testing.rehearsal import Desk as Rehearsed
from gateway_schemas.testing.rehearsal import Message, Rehearsal
from gateway_schemas.testing.twin import Twin
from gateway_schemas.time import TimeSource


class RequestTrackerTwin(Twin):
    """One RT with a queue General, the custom fields `gw_key` and `gw_tags`, and a user for the gateway.

    Tests and the demo act as its agents through `agent_reply`, `agent_comment`, `merge`, `set_status` and the like.
    What it does was compared with RT 5.0.3. Rights and other faults are plain attributes. It has no webhooks.
    """

    name = "request_tracker"
    actions = (
        "agent",
        "agent_reply",
        "agent_comment",
        "customer_reply",
        "scrip_reply",
        "set_status",
        "close",
        "merge",
        "delete",
    )
    retry_webhooks = False

    def __init__(self, *, time: TimeSource | None = None, seed: int = 0) -> None:
        super().__init__(time=time, seed=seed)
        self.expired = False
        """Whether the token is refused."""
        self.admin_users = True
        self.admin_fields = True
        self.may_create = True
        self.may_modify = True
        self.requestors_reply = True
        """Whether requestors have the right to reply to their tickets."""
        self.shows_mails = False
        """Whether the API user sees the records of mails that RT sent (ShowOutgoingEmail)."""
        self.commit_lag: dict[int, datetime] = {}
        """Transactions that come to be seen only later than others with higher ids."""
        self.desk = Desk(self.time, self.effect)
        self.api_user = self.desk.user("gateway", real_name="Gateway", email="gateway@acme.example", privileged=True)
        self.token = f"1-{self.api_user.id}-0123456789abcdef0123456789abcdef"
        self.add_field("gw_key")
        self.add_field("gw_tags", many=True)

    def routes(self) -> Sequence[BaseRoute]:
        """Every endpoint of the twin."""
        return Endpoints(self).routes()

    def authenticate(self, request: Request) -> User:
        """`Authorization: token …`, or Basic with a user's password; whatever is wrong is 401 alike."""
        given = request.headers.get("authorization", "")
        scheme, _, value = given.partition(" ")
        if scheme.lower() == "token" and value == self.token and not self.expired:
            return self.api_user
        pair = basic(given)
        user = self.desk.find_user(pair[0]) if pair is not None else None
        if pair is None or user is None or user.disabled or not user.password or user.password != pair[1]:
            raise ApiError(401, "Unauthorized")
        return user

    def connection_config(self) -> dict[str, Any]:
        """A connection configuration that the twin accepts; call it while the twin is served."""
        return {"url": self.url, "token": self.token, "api_user": self.api_user.name}

    def rehearsal(self) -> Rehearsal:
        """Ann corresponds."""
        desk = Rehearsed(
            {**self.connection_config(), "create_fields": True},
            messages=lambda: [
                Message(str(ticket), text, one.type != "Comment")
                for ticket in self.tickets
                for one, text in self.messages(ticket)
            ],
            answer=lambda ticket, text: self.agent_reply(ticket, "Ann", text),
        )
        return Rehearsal(desk=desk)

    # what tests and the demo see

    @property
    def tickets(self) -> dict[int, Ticket]:
        """Every ticket by id, merged and deleted ones too."""
        return self.desk.tickets

    def messages(self, ticket: int | str) -> list[tuple[Transaction, str]]:
        """A ticket's description and messages, oldest first, with their texts."""
        found = []
        for one in self.desk.history(self.desk.ticket(int(ticket))):
            if one.type in ("Create", "Correspond", "Comment"):
                parts = [part for part in self.desk.parts.values() if part.transaction_id == one.id]
                text = next((part.content for part in parts if part.content_type.startswith("text/")), b"")
                found.append((one, text.decode()))
        return found

    @property
    def mails(self) -> list[dict[str, Any]]:
        """Every e-mail that went to a customer."""
        return [one.data for one in self.ledger if one.kind == "mail_sent"]

    def snapshot(self) -> dict[str, Any]:
        """Tickets with their messages, newest last."""
        return {
            "tickets": [
                {
                    "id": ticket.id,
                    "merged_into": ticket.effective_id if ticket.effective_id != ticket.id else None,
                    "subject": ticket.subject,
                    "status": ticket.status,
                    "requestors": ticket.requestors,
                    "fields": ticket.fields,
                    "messages": [
                        {"id": one.id, "type": one.type, "by": one.creator, "text": text}
                        for one, text in self.messages(ticket.id)
                    ],
                }
                for ticket in self.tickets.values()
            ],
            "users": len(self.desk.users),
        }

    # the people who work there

    def add_field(self, name: str, *, many: bool = False) -> None:
        """A custom field of the tickets in General."""
        made = CustomField(self.desk.new_id("field"), name, many, {1})
        self.desk.fields[made.id] = made

    def agent(self, name: str, *, email: str | None = None) -> str:
        """A privileged user; the same name gives the same one."""
        login = name.lower().replace(" ", ".")
        if login not in self.desk.users:
            address = email or f"{login}@acme.example"
            self.desk.user(login, real_name=name, email=address, privileged=True)
        return login

    def agent_reply(
        self,
        ticket_id: int | str,
        agent: str,
        text: str,
        *,
        interface: str = "Web",
        status: str | None = None,
        tags: Iterable[str] = (),
        at: datetime | None = None,
        markup: str | None = None,
        plain: bool = False,
        files: Iterable[tuple[str, bytes, str]] = (),
    ) -> int:
        """An agent corresponds: in RT's pages, or by another `interface` (`Email`, `REST`). Gives the transaction's id.

        `files` are attached: name, bytes and media type of each.
        """
        if tags:
            self.tag(ticket_id, tags, agent)
        body = markup or "".join(f"<p>{html.escape(line) or '<br>'}</p>" for line in text.split("\n"))
        data: dict[str, Any] = {
            "Content": text if plain else body,
            "ContentType": "text/plain" if plain else "text/html",
            "Attachments": [
                {"FileName": name, "FileType": kind, "FileContent": base64.b64encode(content).decode()}
                for name, content, kind in files
            ],
        }
        return self._say(ticket_id, "Correspond", data, agent, interface, status, at)

    def agent_comment(self, ticket_id: int | str, agent: str, text: str) -> int:
        """An agent comments: customers do not see it."""
        return self._say(ticket_id, "Comment", {"Content": text, "ContentType": "text/plain"}, agent, "Web", None, None)

    def customer_reply(self, ticket_id: int | str, text: str) -> int:
        """The requestor writes at the helpdesk itself."""
        ticket = self.desk.ticket(int(ticket_id))
        data = {"Content": text, "ContentType": "text/plain"}
        return self.desk.message(ticket, "Correspond", data, self.desk.users[ticket.requestors[0]], interface="Web")[
            0
        ].id

    def scrip_reply(self, ticket_id: int | str, text: str) -> int:
        """A scrip of the system's corresponds."""
        data = {"Content": text, "ContentType": "text/plain"}
        ticket = self.desk.ticket(int(ticket_id))
        return self.desk.message(ticket, "Correspond", data, self.desk.users["RT_System"], interface="API")[0].id

    def change(self, ticket_id: int | str, data: dict[str, Any], agent: str = "Agent") -> list[str]:
        """An agent changes fields: `data` as in the API. Gives what RT says."""
        return self.desk.update(self.desk.ticket(int(ticket_id)), data, self._agent(agent))

    def tag(self, ticket_id: int | str, tags: Iterable[str], agent: str = "Agent") -> None:
        """An agent adds values to the field that stands for tags."""
        ticket = self.desk.ticket(int(ticket_id))
        self.change(ticket_id, {"CustomFields": {"gw_tags": [*ticket.fields.get("gw_tags", []), *tags]}}, agent)

    def set_status(self, ticket_id: int | str, status: str, agent: str = "Agent") -> None:
        """An agent sets the status."""
        self.change(ticket_id, {"Status": status}, agent)

    def close(self, ticket_id: int | str, agent: str = "Agent") -> None:
        """An agent resolves the ticket."""
        self.set_status(ticket_id, "resolved", agent)

    def merge(self, source: int | str, target: int | str, agent: str = "Agent") -> None:
        """An agent merges `source` into `target`."""
        self.change(source, {"MergeInto": int(target)}, agent)

    def delete(self, ticket_id: int | str) -> None:
        """An admin deletes the ticket."""
        self.desk.set_status(self.desk.ticket(int(ticket_id)), "deleted", self.desk.users["root"])

    def _agent(self, agent: str) -> User:
        return self.desk.users[self.agent(agent)]

    def _say(
        self,
        ticket_id: int | str,
        kind: str,
        data: dict[str, Any],
        agent: str,
        interface: str,
        status: str | None,
        at: datetime | None,
    ) -> int:
        ticket, user = self.desk.ticket(int(ticket_id)), self._agent(agent)
        made, _ = self.desk.message(ticket, kind, data, user, interface=interface, at=at)
        if status is not None:
            self.desk.set_status(ticket, status, user)
        return made.id
