"""A local simulator of Zammad: its API as far as this plugin uses it, and the people who work there."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.routing import BaseRoute

from gateway_schemas.testing.rehearsal import Desk as Rehearsed
from gateway_schemas.testing.rehearsal import Message, Rehearsal
from gateway_schemas.testing.twin import Twin
from gateway_schemas.time import TimeSource
from gateway_zammad.twin_admin import CHANNELS, AdminEndpoints
from gateway_zammad.twin_desk import Desk, Happening
from gateway_zammad.twin_model import ApiError, Article, Ticket, User
from gateway_zammad.twin_rules import Rules
from gateway_zammad.twin_tickets import TicketEndpoints


class ZammadTwin(Twin):
    """One Zammad system with an admin whose access token is `token`.

    Tests and the demo act as its agents through `agent_note`, `agent_mail`, `merge`, `set_state` and the like. Faults
    beyond those of `Twin` are plain attributes. Webhooks that are not answered are repeated four times.
    """

    name = "zammad"
    actions = (
        "agent",
        "agent_note",
        "agent_mail",
        "customer_reply",
        "set_state",
        "close",
        "merge",
        "delete",
    )

    def __init__(self, *, time: TimeSource | None = None, seed: int = 0, token: str = "twin-access-token") -> None:
        super().__init__(time=time, seed=seed)
        self.token = token
        self.expired = False
        """Whether the token is refused."""
        self.search_lag = 30.0
        """Seconds after which a ticket or user reaches the search index."""
        self.indexed = True
        """Whether there is a search index; without one the search looks for the words as they are, and has no lag."""
        self.list_lag = 0.0
        """Seconds after which a new ticket shows among its customer's."""
        self.channels: dict[str, list[dict[str, Any]]] = {path: [] for path in CHANNELS}
        """Channels of Zammad's own, by the path that shows them."""
        self.desk = Desk(self.time, self.effect, lambda happening: self.rules.happened(happening))
        self.rules = Rules(self.time, self.desk, self.emit)
        self.api_user = self.desk.user("Gateway", login="gateway@acme.example", email="gateway@acme.example")
        self.api_user.roles = ("Admin", "Agent")
        self._seeded()

    def routes(self) -> Sequence[BaseRoute]:
        """Every endpoint of the twin."""
        return [*TicketEndpoints(self).routes(), *AdminEndpoints(self).routes()]

    def authenticate(self, request: Request) -> User:
        """`Authorization: Token token=…`, or a Bearer; Zammad's 401 otherwise."""
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        given = value.removeprefix("token=") if scheme.lower() == "token" else value
        if scheme.lower() not in ("token", "bearer") or given != self.token:
            raise ApiError(401, "Authentication required" if not scheme else "Invalid token!")
        if self.expired:
            raise ApiError(401, "Not authorized (token expired)!")
        return self.api_user

    def connection_config(self) -> dict[str, Any]:
        """A connection configuration that the twin accepts; call it while the twin is served."""
        return {"url": self.url, "token": self.token}

    def rehearsal(self) -> Rehearsal:
        """Ann answers in a public note."""
        desk = Rehearsed(
            {**self.connection_config(), "create_fields": True},
            messages=lambda: [
                Message(str(ticket), one.body, not one.internal)
                for ticket in self.tickets
                for one in self.articles(ticket)
            ],
            answer=lambda ticket, text: self.agent_note(ticket, "Ann", text),
        )
        return Rehearsal(desk=desk)

    def migrate(self) -> None:
        """Object attributes that wait become columns."""
        for name, one in self.desk.attributes.items():
            if one["to_create"]:
                one["to_create"] = one["to_migrate"] = False
                for ticket in self.tickets.values():
                    ticket.attributes.setdefault(name, "")

    # what tests and the demo see

    @property
    def tickets(self) -> dict[int, Ticket]:
        """Every ticket by id."""
        return self.desk.tickets

    def articles(self, ticket: int | str) -> list[Article]:
        """A ticket's articles, oldest first."""
        return self.desk.of(int(ticket))

    @property
    def mails(self) -> list[dict[str, Any]]:
        """Every e-mail that went to a customer."""
        return [one.data for one in self.ledger if one.kind == "mail_sent"]

    def snapshot(self) -> dict[str, Any]:
        """Tickets with their articles, newest last."""
        return {
            "tickets": [
                {
                    **self.desk.expanded(ticket),
                    "tags": ticket.tags,
                    "articles": [one.json(self.desk.users) for one in self.articles(ticket.id)],
                }
                for ticket in self.tickets.values()
            ],
            "users": len(self.desk.users),
            "triggers": list(self.rules.triggers.values()),
            "webhooks": [{**one, "signature_token": "…"} for one in self.rules.webhooks.values()],
        }

    # the people who work there

    def agent(self, name: str, *, email: str | None = None) -> int:
        """An agent; the same name gives the same one."""
        for user in self.desk.users.values():
            if user.agent and user.name == name:
                return user.id
        address = email or f"{name.lower().replace(' ', '.')}@acme.example"
        return self.desk.user(name, login=address, email=address, roles=("Agent",)).id

    def agent_note(
        self,
        ticket_id: int | str,
        agent: int | str,
        text: str,
        *,
        public: bool = True,
        state: str | None = None,
        tags: Iterable[str] = (),
        at: datetime | None = None,
        markup: str | None = None,
        files: Iterable[tuple[str, bytes, str]] = (),
        kind: str = "note",
    ) -> int:
        """An agent writes a note in the ticket, and may set tags before and the state afterwards. Gives its id.

        `files` are attached: name, bytes and media type of each.
        """
        user, ticket = self._agent(agent), self.desk.ticket(int(ticket_id))
        for tag in tags:
            self.desk.add_tag(ticket, tag, user)
        body = markup or "".join(f"<div>{html.escape(line) or '<br>'}</div>" for line in text.split("\n"))
        data = {"body": body, "content_type": "text/html", "type": kind, "internal": not public}
        made = self.desk.write(ticket, data, user, at=at, quiet=True)
        made.attachments += [self.desk.keep_file(*file) for file in files]
        self.rules.happened(Happening(ticket, user, "update", made))
        if state is not None:
            self.change(ticket_id, {"state": state}, agent)
        return made.id

    def agent_mail(self, ticket_id: int | str, agent: int | str, text: str) -> int:
        """An agent's e-mail, typed in the ticket or come in as one."""
        ticket = self.desk.ticket(int(ticket_id))
        to = self.desk.users[ticket.customer_id].email
        return self.desk.write(ticket, {"body": text, "type": "email", "to": to}, self._agent(agent)).id

    def customer_reply(self, ticket_id: int | str, text: str) -> int:
        """The customer writes at the helpdesk itself, in its portal."""
        ticket = self.desk.ticket(int(ticket_id))
        user = self.desk.users[ticket.customer_id]
        return self.desk.write(ticket, {"body": text, "type": "web"}, user).id

    def make_internal(self, article_id: int, agent: int | str = "Agent", *, internal: bool = True) -> None:
        """An agent turns an article internal, or public again."""
        self.desk.set_internal(self.desk.articles[article_id], internal, self._agent(agent))

    def change(self, ticket_id: int | str, data: dict[str, Any], agent: int | str = "Agent") -> None:
        """An agent changes fields: `data` as in the API."""
        self.desk.update(self.desk.ticket(int(ticket_id)), data, self._agent(agent))

    def set_state(self, ticket_id: int | str, state: str, agent: int | str = "Agent") -> None:
        """An agent sets the state."""
        self.change(ticket_id, {"state": state}, agent)

    def close(self, ticket_id: int | str, agent: int | str = "Agent") -> None:
        """An agent closes the ticket."""
        self.set_state(ticket_id, "closed", agent)

    def merge(self, source: int | str, target: int | str, agent: int | str = "Agent") -> None:
        """An agent merges `source` into `target`."""
        self.desk.merge(self.desk.ticket(int(source)), self.desk.ticket(int(target)), self._agent(agent))

    def delete(self, ticket_id: int | str) -> None:
        """An admin deletes the ticket."""
        self.desk.delete(self.desk.ticket(int(ticket_id)))

    def add_trigger(self, name: str, condition: dict[str, Any], perform: dict[str, Any], *, active: bool = True) -> int:
        """An admin's own trigger."""
        id = self.desk.new_id("triggers")
        self.rules.triggers[id] = {
            "id": id,
            "name": name,
            "condition": condition,
            "perform": perform,
            "activator": "action",
            "execution_condition_mode": "selective",
            "active": active,
        }
        return id

    def add_scheduler(self, name: str, condition: dict[str, Any], perform: dict[str, Any]) -> int:
        """An admin's own scheduler; `rules.run` plays its time."""
        id = self.desk.new_id("jobs")
        self.rules.jobs[id] = {"id": id, "name": name, "condition": condition, "perform": perform, "active": True}
        return id

    def add_attribute(self, name: str, *, data_type: str = "input", maxlength: int = 500) -> None:
        """An object attribute of tickets, migrated."""
        self.desk.attributes[name] = {
            "id": 100 + len(self.desk.attributes),
            "object": "Ticket",
            "name": name,
            "display": name,
            "data_type": data_type,
            "data_option": {"type": "text", "maxlength": maxlength},
            "active": True,
            "to_create": True,
            "to_migrate": True,
        }
        self.migrate()

    def _agent(self, agent: int | str) -> User:
        return self.desk.users[agent if isinstance(agent, int) else self.agent(agent)]

    def _seeded(self) -> None:
        """The trigger that every new system comes with: an automatic reply to customers who have an address."""
        condition = {
            "ticket.action": {"operator": "is", "value": "create"},
            "ticket.state_id": {"operator": "is not", "value": "4"},
            "article.type_id": {"operator": "is", "value": ["1", "5", "11"]},
            "article.sender_id": {"operator": "is", "value": "2"},
        }
        perform = {
            "notification.email": {
                "recipient": "article_last_sender",
                "subject": "Thanks for your inquiry",
                "body": "Your request has been received.",
            }
        }
        self.add_trigger("auto reply (on new tickets)", condition, perform)
