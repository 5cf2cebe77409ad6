"""A local simulator of Zendesk Support: its API as far as this plugin uses it, and the people who work there."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway_schemas.testing.rehearsal import Desk as Rehearsed
from gateway_schemas.testing.rehearsal import Message, Rehearsal
from gateway_schemas.testing.twin import Twin
from gateway_schemas.time import TimeSource
from gateway_zendesk.twin_admin import AdminEndpoints
from gateway_zendesk.twin_desk import Desk
from gateway_zendesk.twin_http import basic
from gateway_zendesk.twin_jobs import Jobs
from gateway_zendesk.twin_limits import Limits
from gateway_zendesk.twin_model import ApiError, Ticket, User
from gateway_zendesk.twin_rules import Rules
from gateway_zendesk.twin_settings import SettingsEndpoints
from gateway_zendesk.twin_tickets import EXPORT_PAGE, TicketEndpoints
from gateway_zendesk.twin_tokens import TokenEndpoints

_VIA = {"bulk": "batch", "problem": "linked_problem", "app": "mobile", "mail": "email"}


class ZendeskTwin(Twin):
    """One Zendesk account with an admin user whose API token is `token`.

    Tests and the demo act as its agents through `agent`, `agent_comment`, `merge`, `set_status` and the like. Limits
    are the documented ones; `twin.limits.off()` lifts them. Faults beyond those of `Twin` are plain attributes.
    """

    name = "zendesk"
    actions = ("agent", "agent_comment", "customer_comment", "set_status", "close", "merge", "delete", "make_private")

    def __init__(
        self,
        *,
        time: TimeSource | None = None,
        seed: int = 0,
        email: str = "gateway@acme.example",
        token: str = "twin-token",
        oauth_token: str = "twin-oauth-token",
    ) -> None:
        super().__init__(time=time, seed=seed)
        self.email = email
        self.token = token
        self.oauth_token = oauth_token
        self.expired = False
        """Whether the credentials are refused."""
        self.limits = Limits(self.time)
        self.jobs = Jobs(self.time, self._tasks)
        self.desk = Desk(self.time, self.effect, self._happened, lambda: self.url)
        self.rules = Rules(self.time, self.desk, self.emit, self.effect)
        self.export_lag = 60
        """Seconds that the incremental export keeps back."""
        self.export_page = EXPORT_PAGE
        self.tag_words_everywhere = True
        """Whether `additional_tags` and `remove_tags` work outside `update_many?ids=`."""
        self.sideload_comment_authors = True
        """Whether `include=users` on audits brings the authors of comments beside those of audits."""
        self.bulk_users = False
        """Whether `users/create_or_update_many` is enabled for the account; else it answers 403."""
        self.replayed = 0
        """How many creates were answered from the memory of idempotency keys."""
        self.api_user = self.desk.people.add("Gateway", "admin", email=email)

    def routes(self) -> Sequence[BaseRoute]:
        """Every endpoint of the twin."""
        self.settings = SettingsEndpoints(self)
        """What the account is set to."""
        self.consent = TokenEndpoints(self.time, self.effect)
        """Its OAuth client, and the tokens that were given out."""
        content = Route("/attachments/token/{token}/", self._content, methods=["GET"])
        tickets, admin = TicketEndpoints(self).routes(), AdminEndpoints(self).routes()
        return [*self.consent.routes(), *self.settings.routes(), *admin, *tickets, content]

    async def _content(self, request: Request) -> Response:
        """A file by its link, which asks for no credentials."""
        kept = self.desk.contents.get(request.path_params["token"])
        if kept is None:
            return Response("Not found", status_code=404)
        return Response(kept[0], media_type=kept[1])

    def authenticate(self, request: Request) -> User:
        """Basic `{email}/token` or Bearer; Zendesk's 401 otherwise. Without an Accept header it answers 415."""
        if "accept" not in request.headers:
            raise ApiError(415, {"error": "UnsupportedMediaType", "description": "Accept header is required"})
        given = request.headers.get("authorization", "")
        pair = basic(given)
        good = (
            pair == (f"{self.email}/token", self.token)
            or given == f"Bearer {self.oauth_token}"
            or self.consent.good(given)
        )
        if self.expired or not good:
            raise ApiError(401, {"error": "Couldn't authenticate you"})
        return self.api_user

    def sign_in(self, who: str | None) -> None:
        """Who is signed in, in the browser that comes to the consent page."""
        self.consent.server.person = who

    def connection_config(self) -> dict[str, Any]:
        """A connection configuration that the twin accepts; call it while the twin is served."""
        return {"base_url": self.url, "email": self.email, "api_token": self.token}

    def rehearsal(self) -> Rehearsal:
        """Ann answers."""
        desk = Rehearsed(
            self.connection_config(),
            messages=lambda: [
                Message(str(ticket.id), one.body, one.public)
                for ticket in self.tickets.values()
                for one in ticket.comments
            ],
            answer=lambda ticket, text: self.agent_comment(ticket, "Ann", text),
        )
        return Rehearsal(desk=desk)

    def _happened(self, happening: Any) -> None:
        self.rules.happened(happening)

    # what tests and the demo see

    @property
    def tickets(self) -> dict[int, Ticket]:
        """Every ticket by id, deleted ones too."""
        return self.desk.tickets

    def tickets_by_external_id(self, external_id: str) -> list[Ticket]:
        """The tickets that carry it."""
        return self.desk.by_external(external_id)

    def snapshot(self) -> dict[str, Any]:
        """Tickets with their comments, newest last."""
        people = self.desk.people.all
        return {
            "tickets": [
                {
                    **{name: value for name, value in ticket.json(self.url).items() if name != "url"},
                    "requester": people[ticket.requester_id].name,
                    "comments": [
                        {
                            "id": comment.id,
                            "author": people[comment.author_id].name,
                            "public": comment.public,
                            "body": comment.body,
                            "via": comment.via["channel"],
                        }
                        for comment in ticket.comments
                    ],
                }
                for ticket in self.tickets.values()
            ],
            "users": len(people),
            "jobs": [job.json(self.url) for job in self.jobs.all.values()],
        }

    # the people who work there

    def agent(self, name: str, *, role: str = "agent", email: str | None = None) -> int:
        """A member of staff; the same name gives the same one."""
        for user in self.desk.people.all.values():
            if user.staff and user.name == name:
                return user.id
        address = email or f"{name.lower().replace(' ', '.')}@acme.example"
        return self.desk.people.add(name, role, email=address).id

    def customer_ticket(self, text: str, *, via: str = "email", name: str = "Carl") -> int:
        """A customer writes to the helpdesk itself: `via` is email, web, voice or chat. Gives the ticket's id."""
        known = (one for one in self.desk.people.all.values() if not one.staff and one.name == name)
        person = next(known, None) or self.desk.people.add(name, "end-user", email=f"{name.lower()}@example.com")
        data = {"subject": text, "comment": {"body": text}, "requester_id": person.id}
        return self.desk.create(data, person, kind=via)[0].id

    def agent_comment(
        self,
        ticket_id: int | str,
        agent: int | str,
        text: str,
        public: bool = True,
        status: str | None = None,
        tags: Iterable[str] = (),
        via: str = "web",
        at: datetime | None = None,
        *,
        remove_tags: Iterable[str] = (),
        fields: dict[int, Any] | None = None,
        html: str | None = None,
        files: Iterable[tuple[str, bytes, str]] = (),
    ) -> int:
        """An agent writes: `via` is web, mobile, email, api, rule, automation, merge, bulk or problem. Gives the id.

        `files` are attached: name, bytes and media type of each.
        """
        user = self._staff(agent)
        ticket = self.desk.ticket(int(ticket_id))
        token = uuid.uuid4().hex
        self.desk.uploads[token] = [self.desk.keep_file(*file) for file in files]
        data: dict[str, Any] = {
            "comment": {"html_body": html, "public": public} if html else {"body": text, "public": public},
            "additional_tags": list(tags),
            "remove_tags": list(remove_tags),
        }
        data["comment"]["uploads"] = [token]
        if ticket.assignee_id is None:
            data["assignee_id"] = user.id
        if status or (public and ticket.status == "new"):
            data["status"] = status or "open"
        if fields:
            data["custom_fields"] = [{"id": key, "value": value} for key, value in fields.items()]
        audit = self.desk.update(ticket, data, user, kind=_VIA.get(via, via), at=at)
        if audit is None or audit.comment is None:
            raise ValueError("an agent's comment needs a text")
        return audit.comment.id

    def customer_comment(self, ticket_id: int | str, text: str) -> int:
        """The requester writes at the helpdesk itself, by e-mail."""
        ticket = self.desk.ticket(int(ticket_id))
        user = self.desk.people.all[ticket.requester_id]
        audit = self.desk.update(ticket, {"comment": {"body": text, "public": True}}, user, kind="email")
        if audit is None or audit.comment is None:
            raise ValueError("a customer's comment needs a text")
        return audit.comment.id

    def change(self, ticket_id: int | str, data: dict[str, Any], agent: int | str = "Agent", via: str = "web") -> None:
        """An agent changes fields: `data` as in the API (`status`, `priority`, `additional_tags`, …)."""
        user, ticket = self._staff(agent), self.desk.ticket(int(ticket_id))
        if data.get("status") == "solved" and ticket.assignee_id is None:
            data = {**data, "assignee_id": user.id}
        self.desk.update(ticket, data, user, kind=_VIA.get(via, via))

    def set_status(self, ticket_id: int | str, status: str, agent: int | str = "Agent") -> None:
        """An agent sets the status."""
        self.change(ticket_id, {"status": status}, agent)

    def close(self, ticket_id: int | str) -> None:
        """An automation closes the ticket for good."""
        self.change(ticket_id, {"status": "closed"}, via="automation")

    def merge(self, source: int | str, target: int | str, agent: int | str = "Agent") -> None:
        """An agent merges `source` into `target`."""
        self.desk.merge([self.desk.ticket(int(source))], self.desk.ticket(int(target)), self._staff(agent))

    def delete(self, ticket_id: int | str, agent: int | str = "Agent") -> None:
        """An admin deletes the ticket."""
        self.desk.delete(self.desk.ticket(int(ticket_id)), self._staff(agent))

    def make_private(self, ticket_id: int | str, comment_id: int | str, agent: int | str = "Agent") -> None:
        """An agent turns a public comment of theirs into an internal one."""
        self.desk.make_private(self.desk.ticket(int(ticket_id)), int(comment_id), self._staff(agent), kind="web")

    def _staff(self, agent: int | str) -> User:
        number = agent if isinstance(agent, int) else self.agent(agent)
        return self.desk.people.all[number]
