"""The twin's endpoints for tickets, articles, tags, links and users."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from gateway_zammad.twin_desk import Desk, search_condition
from gateway_zammad.twin_http import Answer, Call, paged, route
from gateway_zammad.twin_model import ApiError, Article, Ticket, User, not_found, unprocessable

if TYPE_CHECKING:
    from gateway_zammad.twin import ZammadTwin

_OPEN = frozenset({1, 2, 3, 7})
_OPPOSITE = {"normal": "normal", "parent": "child", "child": "parent"}


class TicketEndpoints:
    """What agents' rights are enough for."""

    def __init__(self, twin: ZammadTwin) -> None:
        self.twin = twin

    @property
    def desk(self) -> Desk:
        """The desk; at the time of `routes` there is none yet."""
        return self.twin.desk

    def routes(self) -> list[Route]:
        """In the order that paths are tried."""
        twin = self.twin
        return [
            route(twin, "GET", "tickets/search", self.search),
            route(twin, "POST", "tickets/search", self.search),
            route(twin, "POST", "tickets", self.create),
            route(twin, "GET", "tickets", self.index),
            route(twin, "GET", "tickets/{id}", self.show),
            route(twin, "PUT", "tickets/{id}", self.update),
            route(twin, "DELETE", "tickets/{id}", self.delete),
            route(twin, "GET", "ticket_customer", self.customer),
            route(twin, "PUT", "ticket_merge/{source}/{target}", self.merge),
            route(twin, "GET", "ticket_articles/by_ticket/{id}", self.by_ticket),
            route(twin, "POST", "ticket_articles", self.write),
            route(twin, "GET", "ticket_articles/{id}", self.article),
            route(twin, "PUT", "ticket_articles/{id}", self.change_article),
            route(twin, "GET", "ticket_attachment/{ticket}/{article}/{id}", self.attachment),
            route(twin, "GET", "tags", self.tags),
            route(twin, "POST", "tags/add", self.add_tag),
            route(twin, "DELETE", "tags/remove", self.remove_tag),
            route(twin, "GET", "links", self.links),
            route(twin, "GET", "users/me", self.me),
            route(twin, "GET", "users/search", self.search_users),
            route(twin, "POST", "users", self.create_user),
            route(twin, "GET", "users/{id}", self.user),
        ]

    def _shown(self, call: Call, ticket: Ticket) -> dict[str, Any]:
        return self.desk.expanded(ticket) if call.expand else self.desk.ids(ticket)

    def _agent(self, call: Call) -> None:
        if not call.user.agent:
            raise ApiError(403, "Not authorized")

    # tickets

    def create(self, call: Call) -> Answer:
        self._agent(call)
        return Answer(self._shown(call, self.desk.create(call.params, call.user)), 201)

    def index(self, call: Call) -> Answer:
        found = paged(call, list(self.desk.tickets.values()), default=100, most=100)
        return Answer([self._shown(call, one) for one in found])

    def show(self, call: Call) -> Answer:
        ticket = self.desk.ticket(call.number())
        return Answer(self.desk.expanded(ticket) if call.expand else ticket.json())

    def update(self, call: Call) -> Answer:
        ticket = self.desk.ticket(call.number())
        self._agent(call)
        self.desk.update(ticket, call.params, call.user)
        return Answer(self._shown(call, ticket))

    def delete(self, call: Call) -> Answer:
        ticket = self.desk.ticket(call.number())
        if not call.user.admin:
            raise ApiError(403, "admin permission required")
        self.desk.delete(ticket)
        return Answer({})

    def customer(self, call: Call) -> Answer:
        """The customer's newest fifteen open and fifteen closed tickets; merged ones are neither."""
        self._agent(call)
        id = str(call.params.get("customer_id") or "")
        lag = timedelta(seconds=self.twin.list_lag)
        mine = [
            one
            for one in self.desk.tickets.values()
            if str(one.customer_id) == id and self.twin.time.now() - one.created_at >= lag
        ]
        mine.sort(key=lambda one: (one.created_at, one.id), reverse=True)
        open_ = [one.id for one in mine if one.state_id in _OPEN or one.state_id > 7]
        closed = [one.id for one in mine if one.state_id == 4]
        return Answer({"ticket_ids_open": open_[:15], "ticket_ids_closed": closed[:15], "assets": {}})

    def search(self, call: Call) -> Answer:
        """By conditions from the database; with a `query` from the search index, which trails behind."""
        self._agent(call)
        found = list(self.desk.tickets.values())
        query = call.params.get("query")
        if query:
            lag = timedelta(seconds=self.twin.search_lag)
            now = self.twin.time.now()
            found = [one for one in found if now - one.updated_at >= lag and self._matches(one, str(query))]
        condition = call.params.get("condition") or {}
        if not isinstance(condition, dict):
            raise unprocessable("param is missing or the value is empty: condition", human=False)
        found = [one for one in found if search_condition(self.desk, one, condition)]
        by = str(call.params.get("sort_by") or "updated_at")
        if by not in ("updated_at", "created_at", "id"):
            raise unprocessable(f"Found invalid column '{by}' for sorting.", human=False)
        found.sort(
            key=lambda one: (getattr(one, by), one.id), reverse=str(call.params.get("order_by") or "desc") != "asc"
        )
        part = paged(call, found, default=50, most=200)
        if call.expand:
            return Answer([self.desk.expanded(one) for one in part])
        return Answer({"tickets": [one.id for one in part], "tickets_count": len(part), "assets": {}})

    def _matches(self, ticket: Ticket, query: str) -> bool:
        name, _, value = query.partition(":")
        value = value.strip('"')
        if name in self.desk.attributes:
            return str(ticket.attributes.get(name)) == value
        texts = [ticket.title, ticket.number, *(one.body for one in self.desk.of(ticket.id))]
        return any(query.lower() in text.lower() for text in texts)

    def merge(self, call: Call) -> Answer:
        """Answers 200 also where it failed."""
        target = next(
            (one for one in self.desk.tickets.values() if one.number == call.request.path_params["target"]), None
        )
        source = self.desk.tickets.get(call.number("source"))
        if target is None or source is None:
            word = "target ticket number" if target is None else "source ticket"
            return Answer({"result": "failed", "message": f"The {word} could not be found."})
        self.desk.merge(source, target, call.user)
        return Answer({"result": "success", "target_ticket": target.json(), "source_ticket": source.json()})

    # articles

    def by_ticket(self, call: Call) -> Answer:
        ticket = self.desk.ticket(call.number())
        return Answer([one.json(self.desk.users) for one in self.desk.of(ticket.id)])

    def write(self, call: Call) -> Answer:
        id = call.params.get("ticket_id")
        ticket = self.desk.ticket(int(str(id)) if str(id).isdigit() else 0)
        self._agent(call)
        return Answer(self.desk.write(ticket, call.params, call.user).json(self.desk.users), 201)

    def article(self, call: Call) -> Answer:
        return Answer(self._article(call).json(self.desk.users))

    def change_article(self, call: Call) -> Answer:
        """Whether it is internal, and nothing else: other parameters are passed over."""
        article = self._article(call)
        self._agent(call)
        if call.params.get("internal") is not None:
            self.desk.set_internal(article, str(call.params["internal"]).lower() == "true", call.user)
        return Answer(article.json(self.desk.users))

    def attachment(self, call: Call) -> Answer:
        article = self._article(call, "article")
        ticket = self.desk.ticket(call.number("ticket"))
        if article.ticket_id != ticket.id and ticket.state_id != 5:
            raise ApiError(403, "The article does not belong to the specified ticket.")
        id = call.number("id", "Store")
        if id not in {one["id"] for one in article.attachments}:
            raise ApiError(403, "The file does not belong to the specified article.")
        body, media_type, name = self.desk.contents[id]
        return Answer(
            raw=body, media_type=media_type, headers={"content-disposition": f'attachment; filename="{name}"'}
        )

    def _article(self, call: Call, name: str = "id") -> Article:
        id = call.number(name, "Ticket::Article")
        if id not in self.desk.articles:
            raise not_found("Ticket::Article", id)
        return self.desk.articles[id]

    # tags and links

    def _tagged(self, call: Call) -> Ticket:
        if call.params.get("object") != "Ticket":
            raise unprocessable("Invalid object", human=False)
        return self.desk.ticket(int(call.params.get("o_id") or 0))

    def tags(self, call: Call) -> Answer:
        return Answer({"tags": self._tagged(call).tags})

    def add_tag(self, call: Call) -> Answer:
        self.desk.add_tag(self._tagged(call), str(call.params.get("item") or ""), call.user)
        return Answer(True, 201)

    def remove_tag(self, call: Call) -> Answer:
        self.desk.remove_tag(self._tagged(call), str(call.params.get("item") or ""), call.user)
        return Answer(True)

    def links(self, call: Call) -> Answer:
        """What the others are to this one."""
        id = int(call.params.get("link_object_value") or 0)
        found = [(_OPPOSITE[kind], target) for kind, source, target in self.desk.links if source == id]
        found += [(kind, source) for kind, source, target in self.desk.links if target == id]
        shown = [{"link_type": kind, "link_object": "Ticket", "link_object_value": other} for kind, other in found]
        return Answer({"links": shown, "assets": {}})

    # users

    def me(self, call: Call) -> Answer:
        return Answer(call.user.json())

    def user(self, call: Call) -> Answer:
        id = call.number("id", "User")
        if id not in self.desk.users:
            raise not_found("User", id)
        return Answer(self.desk.users[id].json())

    def create_user(self, call: Call) -> Answer:
        self._agent(call)
        return Answer(self.desk.create_user(call.params, call.user).json(), 201)

    def search_users(self, call: Call) -> Answer:
        """By the search index, which trails behind and reads `name:value` as a field's, or by the words as they are."""
        self._agent(call)
        query, now = str(call.params.get("query") or "").lower(), self.twin.time.now()
        lag = timedelta(seconds=self.twin.search_lag if self.twin.indexed else 0)
        found = [
            one.json()
            for one in self.desk.users.values()
            if now - one.created_at >= lag and _user_matches(one, query, indexed=self.twin.indexed)
        ]
        return Answer(paged(call, found, default=50, most=500))


def _user_matches(user: User, query: str, *, indexed: bool) -> bool:
    texts = {"login": user.login, "firstname": user.firstname, "lastname": user.lastname, "email": user.email}
    if indexed and query.startswith('"') and query.endswith('"'):
        query = query[1:-1]
    elif indexed and ":" in query:
        name, _, value = query.partition(":")
        return texts.get(name, "").lower() == value.strip('"') != ""
    return any(query in text.lower() for text in texts.values())
