"""Who is on the stage: each source and each helpdesk with its people, in words that are the same for all of them."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from gateway_freshdesk.twin import FreshdeskTwin
from gateway_freshdesk.twin_model import plain
from gateway_google_business.twin import GoogleTwin
from gateway_inbound.twin import InboundTwin, Manners
from gateway_schemas.testing.twin import Twin
from gateway_x.twin import XTwin
from gateway_zendesk.twin import ZendeskTwin
from support.gateway import Gateway
from torture.machine import CLOCK

SECRET = "whsec_" + "A" * 43 + "="


@dataclass(frozen=True)
class Published:
    """Something that the gateway made public, or sent in private, at a source."""

    text: str
    parent: str | None
    private: bool
    at: datetime
    to: str | None = None
    account: str | None = None
    """The brand's, where it has several."""


@dataclass(frozen=True)
class Line:
    """One comment on a ticket."""

    text: str
    public: bool
    by_gateway: bool
    """Written over the API: in a customer's name, or as a note."""


@dataclass(frozen=True)
class TicketView:
    """A ticket as its twin has it."""

    number: int
    requester: str
    lines: tuple[Line, ...]
    alive: bool
    """Agents can still write on it: neither closed, deleted nor merged."""
    by_gateway: bool


class Place(ABC):
    """A source with its customers."""

    name = ""
    threads = True
    """Whether customers can go on in a thread."""
    direct = False
    """Whether they can write in private."""
    tells_deletions = False
    edits = True
    one_slot = False
    polled = False
    """Whether what a webhook loses is found by polling."""
    webhooks = True
    twin: Twin
    call = ""
    """The path of the call that publishes."""
    method = "POST"
    lag = timedelta()
    """How long a new post may be hidden at most, by the plugin's word."""

    @abstractmethod
    async def connect(self, gateway: Gateway, helpdesk: UUID, doubled: bool) -> list[UUID]:
        """Make and install the connections; `doubled` makes two that see the same."""

    @abstractmethod
    def write(self, who: str, text: str, *, parent: str | None, root: str | None, private: bool, both: bool) -> str:
        """A customer writes; the new thing's id. `both` names both brands."""

    @abstractmethod
    def edit(self, id: str, text: str) -> str:
        """Its author changes it; its id from now on."""

    @abstractmethod
    def delete(self, id: str) -> None:
        """Its author deletes it."""

    @abstractmethod
    def published(self) -> list[Published]:
        """All that the gateway ever published, in order."""

    def refusals(self) -> list[tuple[str, str, int]]:
        """Calls to publish that the source refused for what they asked."""
        calls = (one for one in self.twin.requests if one[0] == self.method and re.search(self.call, one[1]))
        return [one for one in calls if one[2] in (400, 403, 404, 409, 422)]

    def own(self, text: str) -> None:  # noqa: B027
        """The brand posts something itself; nothing where it has no posts."""

    def hide(self, seconds: float) -> None:  # noqa: B027
        """New things are found only after so long."""

    def expire(self) -> None:  # noqa: B027
        """Access tokens stop."""


class X(Place):
    """X with two brands."""

    name = "x"
    direct = True
    polled = True
    call = r"/2/tweets$|/2/dm_conversations"
    lag = timedelta(seconds=60)
    brands = ("AcmeSupport", "AcmeCare")

    def __init__(self) -> None:
        self.twin: XTwin = XTwin(time=CLOCK, tier="enterprise", limits=False)
        for brand in self.brands:
            self.twin.add_brand(brand)

    async def connect(self, gateway: Gateway, helpdesk: UUID, doubled: bool) -> list[UUID]:
        app = await gateway.add_app("x", self.twin.app_config())
        ids = []
        for brand in self.brands if doubled else self.brands[:1]:
            config = self.twin.connection_config(brand, direct_message_poll_minutes=1)  # with every poll
            ids.append(await gateway.add_connection("source", "x", config, name=brand, app=app, helpdesk=helpdesk))
            await gateway.install(ids[-1])
        return ids

    def write(self, who: str, text: str, *, parent: str | None, root: str | None, private: bool, both: bool) -> str:
        if who not in self.twin.state.handles:
            self.twin.add_user(who)
        if private:
            return "dm:" + self.twin.direct_message(who, self.brands[0], text)
        names = " ".join(f"@{brand}" for brand in (self.brands if both else self.brands[:1]))
        return self.twin.post(who, f"{names} {text}", in_reply_to=parent)

    def edit(self, id: str, text: str) -> str:
        return self.twin.edit(id, f"@{self.brands[0]} {text}")

    def delete(self, id: str) -> None:
        self.twin.delete(id)

    def own(self, text: str) -> None:
        self.twin.post(self.brands[0], text)

    def published(self) -> list[Published]:
        return [
            Published(
                str(one.data["text"]),
                one.data.get("in_reply_to"),
                one.kind == "dm",
                one.at,
                one.data.get("recipient"),
                one.data.get("author"),
            )
            for one in self.twin.ledger
            if one.kind in ("post", "dm") and one.data["by"] == "api"
        ]

    def hide(self, seconds: float) -> None:
        self.twin.visibility_lag = timedelta(seconds=seconds)


class Forum(Place):
    """A system that pushes Standard Webhooks and takes replies."""

    name = "inbound"
    direct = True
    tells_deletions = True
    call = r"/replies$"

    def __init__(self, echoes: bool = False) -> None:
        self.twin: InboundTwin = InboundTwin(
            signing_secret=SECRET, reply_secret=SECRET, time=CLOCK, manners=Manners(echoes=echoes)
        )
        self._made = 0

    async def connect(self, gateway: Gateway, helpdesk: UUID, doubled: bool) -> list[UUID]:
        config = {
            "signing_secrets": [SECRET],
            "reply_url": self.twin.reply_url,
            "reply_secret": SECRET,
            "own_authors": ["brand"],
        }
        source = await gateway.add_connection("source", "inbound", config, helpdesk=helpdesk)
        self.twin.door = f"{gateway.url}/hooks/{source}"
        return [source]

    def write(self, who: str, text: str, *, parent: str | None, root: str | None, private: bool, both: bool) -> str:
        self._made += 1
        id = f"item-{self._made}"
        item: dict[str, Any] = {
            "external_id": id,
            "kind": "direct_message" if private else "comment" if parent else "post",
            "author": {"external_id": who, "name": who.title()},
            "text": text,
            "published_at": _iso(CLOCK.now()),
        }
        if private:
            item["visibility"] = "private"
        if parent is not None:
            item |= {"in_reply_to": parent, "root": root or parent}
        self.twin.push(item)
        return id

    def edit(self, id: str, text: str) -> str:
        self.twin.edit(id, text=text)
        return id

    def delete(self, id: str) -> None:
        self.twin.delete(id)

    def own(self, text: str) -> None:
        self._made += 1
        author = {"external_id": "brand", "name": "Acme"}
        item = {"external_id": f"own-{self._made}", "kind": "post", "author": author, "text": text}
        self.twin.push({**item, "published_at": _iso(CLOCK.now())})

    def published(self) -> list[Published]:
        return [
            Published(
                str(one.data["reply"]["text"]),
                one.data["reply"].get("in_reply_to"),
                one.data["reply"]["visibility"] == "private",
                one.at,
            )
            for one in self.twin.ledger
            if one.kind == "reply.created"
        ]


class Reviews(Place):
    """Google reviews: polled, one answer each."""

    name = "google_business"
    threads = False
    one_slot = True
    polled = True
    webhooks = False
    call = r"/reply$"
    method = "PUT"
    lag = timedelta(seconds=30)

    def __init__(self) -> None:
        self.twin: GoogleTwin = GoogleTwin(time=CLOCK)
        self.twin.quota = self.twin.edits = None
        self.twin.add_account("1122", "Acme")
        self.twin.add_account("7788", "Acme South")
        self._places = [f"33{number:02}" for number in range(8)]
        for place in self._places:
            for account in ("1122", "7788"):
                self.twin.add_location(account, place, f"Acme {place}")
        self._count: dict[str, int] = {}

    async def connect(self, gateway: Gateway, helpdesk: UUID, doubled: bool) -> list[UUID]:
        app = await gateway.add_app("google_business", self.twin.app_config())
        ids = []
        for account in ("1122", "7788") if doubled else ("1122",):
            config = self.twin.connection_config(account)
            ids.append(
                await gateway.add_connection(
                    "source", "google_business", config, name=account, app=app, helpdesk=helpdesk, history="tickets"
                )
            )
        return ids

    def write(self, who: str, text: str, *, parent: str | None, root: str | None, private: bool, both: bool) -> str:
        # one review for each place and reviewer
        number = self._count[who] = self._count.get(who, -1) + 1
        return self.twin.review(self._places[number % len(self._places)], who.title(), 2, text)

    def edit(self, id: str, text: str) -> str:
        self.twin.edit(id, comment=text)
        return id

    def delete(self, id: str) -> None:
        self.twin.delete(id)

    def published(self) -> list[Published]:
        # the same text put once more is no second answer
        return [
            Published(str(one.data["text"]), one.id, False, one.at)
            for one in self.twin.ledger
            if one.kind == "reply" and one.data["by"] == "api" and one.data["replaced"] != one.data["text"]
        ]

    def hide(self, seconds: float) -> None:
        self.twin.reply_lag = timedelta(seconds=seconds)

    def expire(self) -> None:
        self.twin.expire_tokens()


class Desk(ABC):
    """A helpdesk with its agents."""

    name = ""
    takes_back = False
    """Whether agents can make a public comment private."""
    twin: Any
    writes = ""
    """The paths of the calls that change tickets."""

    @abstractmethod
    async def connect(self, gateway: Gateway) -> UUID:
        """Make and install the connection."""

    @abstractmethod
    def tickets(self) -> list[TicketView]:
        """Every ticket there ever was."""

    @abstractmethod
    def write(self, number: int, text: str, *, public: bool, leg: str | None) -> int:
        """An agent writes; the comment's id."""

    def take_back(self, number: int, comment: int) -> None:  # noqa: B027
        """The agent makes it private."""

    @abstractmethod
    def close(self, number: int) -> None:
        """For good."""

    @abstractmethod
    def solve(self, number: int) -> None:
        """An agent sets it to solved."""

    def delete(self, number: int) -> None:
        """An agent deletes it."""
        self.twin.delete(number)

    def merge(self, source: int, target: int) -> None:
        """An agent merges."""
        self.twin.merge(source, target, "Ann")

    def hide(self, seconds: float) -> None:  # noqa: B027
        """News is listed only after so long."""


class Zendesk(Desk):
    """Zendesk Support."""

    name = "zendesk"
    takes_back = True
    writes = r"/api/v2/tickets(/\d+)?(\.json)?$"

    def __init__(self) -> None:
        self.twin = ZendeskTwin(time=CLOCK)
        self.twin.limits.off()

    async def connect(self, gateway: Gateway) -> UUID:
        twin = self.twin
        config = {"base_url": twin.url, "email": twin.email, "api_token": twin.token, "share": 1.0}
        id = await gateway.add_connection("helpdesk", "zendesk", config)
        await gateway.install(id)
        return id

    def tickets(self) -> list[TicketView]:
        people = self.twin.desk.people.all
        found = []
        for number, ticket in self.twin.tickets.items():
            lines = tuple(
                Line(
                    one.body,
                    one.public,
                    one.author_id == self.twin.api_user.id or not people[one.author_id].staff,
                )
                for one in ticket.comments
            )
            requester = people[ticket.requester_id].external_id or ""
            alive = not ticket.deleted and ticket.status != "closed"
            found.append(TicketView(number, requester, lines, alive, (ticket.external_id or "").startswith("gateway:")))
        return found

    def write(self, number: int, text: str, *, public: bool, leg: str | None) -> int:
        others = {f"reply:{other}" for other in ("public", "private") if other != leg}
        tags = [f"reply:{leg}"] if leg else []
        id: int = self.twin.agent_comment(number, "Ann", text, public=public, tags=tags, remove_tags=others)
        return id

    def take_back(self, number: int, comment: int) -> None:
        self.twin.make_private(number, comment, "Ann")

    def close(self, number: int) -> None:
        self.twin.close(number)

    def solve(self, number: int) -> None:
        self.twin.set_status(number, "solved", "Ann")

    def hide(self, seconds: float) -> None:
        self.twin.export_lag = 60 + int(seconds)


class Freshdesk(Desk):
    """Freshdesk: no idempotency keys, merges without a word."""

    name = "freshdesk"
    writes = r"/api/v2/tickets(/\d+(/notes|/reply)?)?$"

    def __init__(self) -> None:
        self.twin = FreshdeskTwin(time=CLOCK)
        self.twin.limits.off()

    async def connect(self, gateway: Gateway) -> UUID:
        config = {**self.twin.connection_config(), "share": 1.0, "plan": "enterprise", "create_fields": True}
        id = await gateway.add_connection("helpdesk", "freshdesk", config)
        await gateway.install(id)
        return id

    def tickets(self) -> list[TicketView]:
        people = self.twin.desk.people
        found = []
        for number, ticket in self.twin.tickets.items():
            by_gateway = str(ticket.custom_fields.get("cf_ticket_key") or "").startswith("gateway:")
            lines = [Line(plain(ticket.description), True, by_gateway)]
            for one in ticket.conversations:
                person = people[one.user_id]
                lines.append(
                    Line(plain(one.body), not one.private, person.id == self.twin.api_user.id or not person.agent)
                )
            alive = not ticket.deleted and not ticket.spam and ticket.status != 5
            requester = people[ticket.requester_id].unique_external_id or ""
            found.append(TicketView(number, str(requester), tuple(lines), alive, by_gateway))
        return found

    def write(self, number: int, text: str, *, public: bool, leg: str | None) -> int:
        id: int = self.twin.agent_note(number, "Ann", text, public=public, tags=[f"reply:{leg}"] if leg else [])
        return id

    def close(self, number: int) -> None:
        self.twin.close(number, "Ann")

    def solve(self, number: int) -> None:
        self.twin.set_status(number, 4, "Ann")

    def hide(self, seconds: float) -> None:
        self.twin.list_lag = min(seconds, 100.0)


PLACES: Mapping[str, Any] = {"x": X, "inbound": Forum, "google_business": Reviews}
DESKS: Mapping[str, Any] = {"zendesk": Zendesk, "freshdesk": Freshdesk}
PAIRS = tuple(f"{place}:{desk}" for place in PLACES for desk in DESKS)


def _iso(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
