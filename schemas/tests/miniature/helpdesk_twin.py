"""The desk on loopback, and what agents do there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from gateway_schemas.signatures import sign_hmac
from gateway_schemas.testing.adapters import CommentSeen, HelpdeskAdapter, TicketSeen
from gateway_schemas.testing.twin import Twin
from gateway_schemas.ticket import Priority, TicketStatus
from gateway_schemas.time import TimeSource

TOKEN, SECRET, PAGE = "token-of-the-gateway", "secret-of-the-desk", 10
FIXTURES = Path(__file__).parent / "helpdesk_fixtures"
STATUSES: dict[str, TicketStatus] = {"open": "open", "pending": "waiting", "done": "solved", "archived": "closed"}
PRIORITIES: dict[int, Priority] = {1: "low", 2: "normal", 3: "high", 4: "urgent"}
Json = dict[str, Any]


class DeskTwin(Twin):
    """Tickets, people and webhooks."""

    name = "desk"

    def __init__(self, time: TimeSource, *, jobs: bool = False) -> None:
        self.tickets: dict[int, Json] = {}
        self.people: dict[str, Json] = {}
        self.hooks: list[str] = []
        self.jobs: dict[str, int | None] = {}
        self.has_jobs = jobs
        self.expired = False
        self._next = 9_007_199_254_740_993
        super().__init__(time=time)

    def routes(self) -> Sequence[BaseRoute]:
        return [
            Route("/hooks", self._hooks, methods=["GET", "POST"]),
            Route("/tickets", self._list, methods=["GET"]),
            Route("/tickets", self._create, methods=["POST"]),
            Route("/tickets/by-key", self._by_key, methods=["GET"]),
            Route("/tickets/{id:int}", self._one, methods=["GET", "PATCH"]),
            Route("/tickets/{id:int}/comments", self._add, methods=["POST"]),
            Route("/jobs/{id}", self._job, methods=["GET"]),
        ]

    def snapshot(self) -> Json:
        return {"tickets": list(self.tickets.values()), "hooks": self.hooks, "people": self.people}

    def number(self) -> int:
        self._next += 2
        return self._next

    def person(self, key: str, name: str, role: str, email: str | None = None) -> Json:
        return self.people.setdefault(key, {"id": self.number(), "name": name, "role": role, "email": email})

    def open(self, requester: Json, subject: str, **values: Any) -> Json:
        id = self.number()
        ticket = {
            "id": id,
            "key": None,
            "subject": subject,
            "status": "open",
            "priority": 2,
            "tags": [],
            "requester": requester["id"],
            "comments": [],
            "merged_into": None,
            "updated_at": self.time.now().isoformat(),
            **values,
        }
        self.tickets[id] = ticket
        self.effect("ticket", str(id))
        return ticket

    def comment(self, ticket: Json, person: Json, text: str, *, public: bool = True, via: str = "web",
                mark: str | None = None) -> Json:  # fmt: skip
        made = {
            "id": self.number(),
            "author": person["id"],
            "name": person["name"],
            "role": person["role"],
            "text": text,
            "public": public,
            "via": via,
            "mark": mark,
            "at": self.time.now().isoformat(),
        }
        ticket["comments"].append(made)
        self.effect("comment", str(made["id"]), text=text)
        self.touch(ticket)
        return made

    def touch(self, ticket: Json, **values: Any) -> None:
        ticket |= {**values, "updated_at": self.time.now().isoformat()}
        body = json.dumps({"event": "ticket.changed", "ticket": ticket["id"]}).encode()
        for url in self.hooks:

            def build(url: str = url) -> tuple[str, dict[str, str], bytes]:
                at = str(int(self.time.now().timestamp()))
                signature = sign_hmac(at.encode() + b"." + body, SECRET)
                return url, {"x-desk-time": at, "x-desk-signature": signature}, body

            self.emit(build)

    # the API

    def _refused(self, request: Request) -> Response | None:
        if self.expired or request.headers.get("authorization") != f"Bearer {TOKEN}":
            return JSONResponse({"error": "unauthorized"}, 401)
        return None

    async def _hooks(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        if request.method == "POST":
            url = (await request.json())["url"]
            answer = await self.client.get(url, params={"challenge": "c4711"})
            if answer.text != "c4711":
                return JSONResponse({"error": "challenge failed"}, 422)
            self.hooks.append(url)
            self.effect("hook", url)
        return JSONResponse({"hooks": self.hooks})

    async def _list(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        asked = request.query_params
        archived = asked.get("archived") == "true"
        listed = [one for one in self.tickets.values() if (one["status"] == "archived") == archived]
        if "since" in asked:
            start = datetime.fromisoformat(asked["since"])
            listed = [one for one in listed if datetime.fromisoformat(one["updated_at"]) >= start]
        listed.sort(key=lambda one: -one["id"])
        if "page" in asked:
            listed = [one for one in listed if one["id"] < int(asked["page"])]
        page = [{"id": one["id"], "tags": one["tags"]} for one in listed[:PAGE]]
        following = str(page[-1]["id"]) if len(listed) > PAGE else None
        return JSONResponse({"tickets": page, "next": following, "now": self.time.now().isoformat()})

    async def _by_key(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        key = request.query_params["key"]
        found = [one["id"] for one in self.tickets.values() if one["key"] == key]
        return JSONResponse({"ticket": found[0] if found else None})

    async def _create(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        data = await request.json()
        requester = self._someone(data["requester"])
        known = {name: data[name] for name in ("key", "status", "priority", "tags")}
        ticket = self.open(requester, data["subject"], **known)
        self._wrote(ticket, data["comment"])
        if self.has_jobs:
            job = str(len(self.jobs))
            self.jobs[job] = None
            return JSONResponse({"job": job}, 202)
        return JSONResponse(ticket, 201)

    async def _job(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        job = request.path_params["id"]
        answer = JSONResponse({"ticket": self.jobs[job]})
        self.jobs[job] = list(self.tickets)[int(job)]
        return answer

    async def _one(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        ticket = self.tickets.get(request.path_params["id"])
        if ticket is None:
            return JSONResponse({"error": "not found"}, 404)
        if request.method == "PATCH":
            data = await request.json()
            self.effect("change", str(ticket["id"]), **data)
            self.touch(ticket, **data)
        return JSONResponse(ticket)

    async def _add(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        ticket = self.tickets.get(request.path_params["id"])
        if ticket is None:
            return JSONResponse({"error": "not found"}, 404)
        return JSONResponse(self._wrote(ticket, await request.json()), 201)

    def _wrote(self, ticket: Json, data: Json) -> Json:
        author = self._someone(data["author"]) if data["author"] else self.person("api", "Gateway", "agent")
        return self.comment(ticket, author, data["text"], public=data["public"], via="api", mark=data.get("mark"))

    def _someone(self, data: Json) -> Json:
        return self.person(data["external_id"], data["name"], "customer", data.get("email"))


class DeskAdapter(HelpdeskAdapter[DeskTwin]):
    """A desk with agents."""

    creating = ("POST", "/tickets$")
    commenting = ("POST", "/comments$")

    def __init__(self, time: TimeSource) -> None:
        self.twin = DeskTwin(time)

    def config(self) -> Json:
        return {"token": TOKEN, "signing_secret": SECRET, "base_url": self.twin.url}

    def revoke(self) -> None:
        self.twin.expired = True

    def _ticket(self, id: str) -> Json:
        return self.twin.tickets[int(id)]

    def agent_answers(self, ticket: str, text: str, *, agent: str = "Ada Agent") -> str:
        return str(self.twin.comment(self._ticket(ticket), self.twin.person(agent, agent, "agent"), text)["id"])

    def agent_notes(self, ticket: str, text: str, *, agent: str = "Ada Agent") -> str:
        person = self.twin.person(agent, agent, "agent")
        return str(self.twin.comment(self._ticket(ticket), person, text, public=False)["id"])

    def customer_writes(self, ticket: str, text: str) -> str:
        found = self._ticket(ticket)
        person = next(one for one in self.twin.people.values() if one["id"] == found["requester"])
        return str(self.twin.comment(found, person, text)["id"])

    def rule_writes(self, ticket: str, text: str) -> str:
        return str(
            self.twin.comment(self._ticket(ticket), self.twin.person("r", "Rule", "agent"), text, via="rule")["id"]
        )

    def set_status(self, ticket: str, status: TicketStatus) -> None:
        self.twin.touch(self._ticket(ticket), status=next(one for one, ours in STATUSES.items() if ours == status))

    def set_priority(self, ticket: str, priority: Priority) -> None:
        self.twin.touch(
            self._ticket(ticket), priority=next(one for one, ours in PRIORITIES.items() if ours == priority)
        )

    def add_tag(self, ticket: str, tag: str) -> None:
        self.twin.touch(self._ticket(ticket), tags=[*self._ticket(ticket)["tags"], tag])

    def close(self, ticket: str) -> None:
        self.twin.touch(self._ticket(ticket), status="archived")

    def merge(self, ticket: str, into: str) -> None:
        self.twin.touch(self._ticket(ticket), merged_into=int(into), status="archived")

    def delete(self, ticket: str) -> None:
        found = self.twin.tickets.pop(int(ticket))
        self.twin.touch(found)

    def foreign_ticket(self, text: str) -> str:
        carl = self.twin.person("carl", "Carl", "customer", "carl@example.com")
        ticket = self.twin.open(carl, text)
        self.twin.comment(ticket, carl, text)
        return str(ticket["id"])

    def tickets(self) -> list[TicketSeen]:
        people = {one["id"]: one for one in self.twin.people.values()}
        return [
            TicketSeen(
                id=str(one["id"]),
                subject=one["subject"],
                status=STATUSES[one["status"]],
                priority=PRIORITIES[one["priority"]],
                tags=frozenset(one["tags"]),
                requester=people[one["requester"]]["name"],
                requester_id=str(one["requester"]),
                requester_email=people[one["requester"]]["email"],
                comments=tuple(
                    CommentSeen(str(comment["id"]), comment["text"], comment["public"], comment["name"])
                    for comment in one["comments"]
                ),
            )
            for one in self.twin.tickets.values()
        ]


class JobAdapter(DeskAdapter):
    """A desk that makes tickets in jobs."""

    def __init__(self, time: TimeSource) -> None:
        self.twin = DeskTwin(time, jobs=True)
