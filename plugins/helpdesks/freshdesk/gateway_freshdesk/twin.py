"""A local simulator of Freshdesk: its API as far as this plugin uses it, and the people who work there."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway_freshdesk.twin_admin import AdminEndpoints
from gateway_freshdesk.twin_desk import Desk
from gateway_freshdesk.twin_http import basic
from gateway_freshdesk.twin_limits import Limits
from gateway_freshdesk.twin_model import CLOSED, ApiError, Conversation, Person, Ticket, plain
from gateway_freshdesk.twin_rules import Rules
from gateway_freshdesk.twin_tickets import TicketEndpoints
from gateway_schemas.testing.rehearsal import Desk as Rehearsed
from gateway_schemas.testing.rehearsal import Message, Rehearsal
from gateway_schemas.testing.twin import Twin
from gateway_schemas.time import TimeSource


class FreshdeskTwin(Twin):
    """One Freshdesk account with an administrator whose API key is `key`.

    Tests and the demo act as its agents through `agent_note`, `agent_reply`, `merge`, `set_status` and the like. Limits
    are those of the Growth plan; `twin.limits.off()` lifts them. Faults beyond those of `Twin` are plain attributes.
    """

    name = "freshdesk"
    actions = ("agent", "agent_note", "agent_reply", "customer_reply", "set_status", "close", "merge", "delete")
    retry_webhooks = False
    """A webhook that was not answered is lost: Freshdesk documents no repeats. Polling makes up for it."""

    def __init__(self, *, time: TimeSource | None = None, seed: int = 0, key: str = "twin-api-key") -> None:
        super().__init__(time=time, seed=seed)
        self.key = key
        self.expired = False
        """Whether the key is refused."""
        self.limits = Limits(self.time)
        self.desk = Desk(self.time, self.effect, lambda happening: self.rules.happened(happening))
        self.desk.base = lambda: self.url
        self.rules = Rules(self.time, self.desk, self.emit)
        self.search_lag = 120.0
        """Seconds after which a change of a ticket reaches the search index."""
        self.list_lag = 0.0
        """Seconds after which a new ticket shows in lists."""
        self.has_rules = True
        """Whether the plan has automation rules at all."""
        self.takes_rules = True
        """Whether rules can be made through the API."""
        self.wraps_rules = False
        """Whether the list of rules comes as `{"rules": […]}`."""
        self.agents_hidden = False
        """Whether only administrators may look at agents."""
        self.classic_surveys: list[dict[str, Any]] = []
        self.new_surveys: list[dict[str, Any]] | None = None
        """Surveys of the newer kind; None where the plan has none."""
        self.contact_fields: list[dict[str, Any]] = [
            {"id": 1, "name": "name", "label": "Full Name", "type": "default_name", "required_for_agents": True},
            {"id": 2, "name": "email", "label": "Email", "type": "default_email", "required_for_agents": False},
        ]
        self.api_user = self.desk.person("Gateway", email="gateway@acme.example", role="admin")

    def routes(self) -> Sequence[BaseRoute]:
        """Every endpoint of the twin."""
        content = Route("/data/helpdesk/attachments/{token}", self._content, methods=["GET"])
        return [*AdminEndpoints(self).routes(), *TicketEndpoints(self).routes(), content]

    async def _content(self, request: Request) -> Response:
        """A file by its link, which asks for no credentials."""
        kept = self.desk.contents.get(request.path_params["token"])
        return Response(kept[0], media_type=kept[1]) if kept else Response(status_code=403)

    def authenticate(self, request: Request) -> Person:
        """Basic with the key as user name and any password; Freshdesk's 401 otherwise."""
        pair = basic(request.headers.get("authorization", ""))
        if self.expired or pair is None or pair[0] != self.key or not pair[1]:
            message = "You have to be logged in to perform this action."
            raise ApiError(401, {"code": "invalid_credentials", "message": message})
        return self.api_user

    def connection_config(self) -> dict[str, Any]:
        """A connection configuration that the twin accepts; call it while the twin is served."""
        return {"base_url": self.url, "api_key": self.key}

    def rehearsal(self) -> Rehearsal:
        """Ann answers in a public note."""
        desk = Rehearsed(
            {**self.connection_config(), "create_fields": True},
            messages=self._messages,
            answer=lambda ticket, text: self.agent_note(ticket, "Ann", text),
        )
        return Rehearsal(desk=desk)

    def _messages(self) -> Iterator[Message]:
        for ticket in self.tickets.values():
            yield Message(str(ticket.id), plain(ticket.description), True)
            for one in ticket.conversations:
                yield Message(str(ticket.id), plain(one.body), not one.private)

    # what tests and the demo see

    @property
    def tickets(self) -> dict[int, Ticket]:
        """Every ticket by id, also those in the trash."""
        return self.desk.tickets

    @property
    def mails(self) -> list[dict[str, Any]]:
        """Every e-mail that went to a customer."""
        return [one.data for one in self.ledger if one.kind == "mail_sent"]

    def snapshot(self) -> dict[str, Any]:
        """Tickets with their conversations, newest last."""
        people = self.desk.people
        return {
            "tickets": [
                {
                    **ticket.json(),
                    "requester": people[ticket.requester_id].name,
                    "conversations": [
                        {
                            "id": one.id,
                            "author": people[one.user_id].name,
                            "private": one.private,
                            "incoming": one.incoming,
                            "source": one.source,
                            "text": plain(one.body),
                        }
                        for one in ticket.conversations
                    ],
                }
                for ticket in self.tickets.values()
            ],
            "contacts": sum(1 for one in people.values() if not one.agent),
            "rules": [rule for rules in self.rules.rules.values() for rule in rules.values()],
        }

    # the people who work there

    def agent(self, name: str, *, email: str | None = None, role: str = "agent") -> int:
        """An agent; the same name gives the same one."""
        for person in self.desk.people.values():
            if person.agent and person.name == name:
                return person.id
        address = email or f"{name.lower().replace(' ', '.')}@acme.example"
        return self.desk.person(name, email=address, role=role).id

    def agent_note(
        self,
        ticket_id: int | str,
        agent: int | str,
        text: str,
        *,
        public: bool = True,
        status: int | None = None,
        tags: Iterable[str] = (),
        at: datetime | None = None,
        markup: str | None = None,
        files: Iterable[tuple[str, bytes, str]] = (),
    ) -> int:
        """An agent writes a note, and may set tags before and the status afterwards. Gives the note's id.

        `files` are attached: name, bytes and media type of each.
        """
        person, ticket = self._agent(agent), self.desk.ticket(int(ticket_id))
        if tags:
            self.desk.update(ticket, {"tags": [*ticket.tags, *tags]}, person)
        body = markup or "".join(f"<div>{html.escape(line) or '<br>'}</div>" for line in text.split("\n"))
        kept = [self.desk.keep_file(*file) for file in files]
        made = self.desk.write(ticket, person, body, private=not public, at=at, attachments=kept)
        if status is not None:
            self.desk.update(ticket, {"status": status}, person)
        return made.id

    def agent_reply(self, ticket_id: int | str, agent: int | str, text: str) -> int:
        """An agent's reply, typed in the ticket or sent from a mailbox: nothing tells these apart."""
        ticket = self.desk.ticket(int(ticket_id))
        body = f"<div>{html.escape(text)}</div>"
        return self.desk.write(ticket, self._agent(agent), body, source=0, private=False).id

    def customer_ticket(self, text: str, *, source: int = 1, name: str = "Carl") -> int:
        """A customer writes to the helpdesk itself: `source` as Freshdesk numbers it (1 e-mail). Gives the id."""
        data = {"subject": text, "description": text, "name": name, "email": f"{name.lower()}@example.com"}
        return self.desk.create({**data, "status": 2, "priority": 1, "source": source}, None).id

    def customer_reply(self, ticket_id: int | str, text: str) -> int:
        """The requester writes at the helpdesk itself, in its portal."""
        ticket = self.desk.ticket(int(ticket_id))
        person = self.desk.people[ticket.requester_id]
        body = f"<div>{html.escape(text)}</div>"
        return self.desk.write(ticket, person, body, source=0, private=False, incoming=True).id

    def edit_note(self, ticket_id: int | str, note_id: int, text: str) -> None:
        """An agent edits a note."""
        ticket = self.desk.ticket(int(ticket_id))
        self.desk_edit(
            next(one for one in ticket.conversations if one.id == note_id), f"<div>{html.escape(text)}</div>"
        )

    def desk_edit(self, one: Conversation, body: str) -> None:
        """A conversation's body becomes another one."""
        one.body, one.updated_at = body, self.time.now()
        one.last_edited_at = one.updated_at
        self.tickets[one.ticket_id].updated_at = one.updated_at

    def change(self, ticket_id: int | str, data: dict[str, Any], agent: int | str = "Agent") -> None:
        """An agent changes fields: `data` as in the API."""
        self.desk.update(self.desk.ticket(int(ticket_id)), data, self._agent(agent))

    def set_status(self, ticket_id: int | str, status: int, agent: int | str = "Agent") -> None:
        """An agent sets the status."""
        self.change(ticket_id, {"status": status}, agent)

    def close(self, ticket_id: int | str, agent: int | str = "Agent") -> None:
        """An agent closes the ticket."""
        self.set_status(ticket_id, CLOSED, agent)

    def merge(self, source: int | str, target: int | str, agent: int | str = "Agent", *, public: bool = False) -> None:
        """An agent merges `source` into `target`, with private or public notes."""
        self.desk.merge(self.desk.ticket(int(source)), self.desk.ticket(int(target)), self._agent(agent), public=public)

    def delete(self, ticket_id: int | str) -> None:
        """An agent puts the ticket into the trash."""
        self.desk.trash(self.desk.ticket(int(ticket_id)))

    def mark_spam(self, ticket_id: int | str) -> None:
        """An agent marks the ticket as spam."""
        self.desk.trash(self.desk.ticket(int(ticket_id)), spam=True)

    def purge(self, ticket_id: int | str) -> None:
        """The trash is emptied."""
        del self.desk.tickets[int(ticket_id)]

    def add_field(self, label: str, *, type: str = "custom_text", **more: Any) -> dict[str, Any]:
        """A custom ticket field, named after its label."""
        name = "cf_" + label.lower().replace(" ", "_")
        made = {
            "id": self.desk.new_id(),
            "name": name,
            "label": label,
            "type": type,
            "default": False,
            "required_for_agents": False,
            "required_for_closure": False,
            **more,
        }
        self.desk.fields[name] = made
        for ticket in self.tickets.values():
            ticket.custom_fields.setdefault(name, None)
        return made

    def _agent(self, agent: int | str) -> Person:
        return self.desk.people[agent if isinstance(agent, int) else self.agent(agent)]
