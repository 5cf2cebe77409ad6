"""The twin's tickets and people, and the rules Zammad keeps about them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway_schemas.time import TimeSource
from gateway_zammad.twin_model import (
    PRIORITIES,
    SENDERS,
    STATES,
    SYSTEM,
    TYPES,
    ApiError,
    Article,
    Ticket,
    User,
    no_value,
    not_found,
    sanitised,
    unprocessable,
)

LONGEST_BODY = 1_500_000
_CHANNEL_TYPES = frozenset(
    {"email", "twitter status", "twitter direct-message", "facebook feed post", "facebook feed comment", "sms"}
)


@dataclass(frozen=True)
class Happening:
    """One thing that was done to a ticket in one transaction, as triggers see it."""

    ticket: Ticket
    user: User
    action: str
    article: Article | None = None
    changed: frozenset[str] = frozenset()


class Desk:
    """Tickets, articles and users. `note` writes to the ledger, `happened` tells the triggers."""

    def __init__(self, time: TimeSource, note: Callable[..., None], happened: Callable[[Happening], None]) -> None:
        self.time = time
        self.note = note
        self.happened = happened
        self.tickets: dict[int, Ticket] = {}
        self.articles: dict[int, Article] = {}
        self.users: dict[int, User] = {}
        self.links: list[tuple[str, int, int]] = []
        """Type, source and target of each link between tickets."""
        self.groups: dict[int, dict[str, Any]] = {
            1: {"id": 1, "name": "Users", "active": True, "follow_up_possible": "yes", "assignment_timeout": None},
            2: {"id": 2, "name": "Sales", "active": True, "follow_up_possible": "yes", "assignment_timeout": None},
        }
        self.states = dict(STATES)
        self.priorities = dict(PRIORITIES)
        self.attributes: dict[str, dict[str, Any]] = {}
        """Object attributes of tickets by name, those that wait for their migration too."""
        self.contents: dict[int, tuple[bytes, str, str]] = {}
        """Files by id: bytes, media type, name."""
        self._ids: dict[str, int] = {}
        self.user("-", login="-", roles=())

    def new_id(self, kind: str) -> int:
        """The next id of that kind."""
        self._ids[kind] = self._ids.get(kind, 0) + 1
        return self._ids[kind]

    # people

    def user(self, firstname: str, *, login: str = "", lastname: str = "", email: str = "", **more: Any) -> User:
        """A new user. Logins are small letters; one that is taken gets digits at its end, and no refusal."""
        wanted = (login or email or f"auto-{len(self.users) + 1}").strip().lower()
        taken = {one.login for one in self.users.values()}
        chosen, tries = wanted, 0
        while chosen in taken:
            tries += 1
            chosen = f"{wanted}{100 + tries}"
        if not lastname and " " in firstname:
            firstname, _, lastname = firstname.partition(" ")
        made = User(self.new_id("user"), chosen, firstname, lastname, self.time.now(), email.lower(), **more)
        self.users[made.id] = made
        return made

    def create_user(self, data: dict[str, Any], by: User) -> User:
        """`POST /users`, or a ticket's new customer. Roles that a plain agent names are passed over."""
        names = ("firstname", "lastname", "phone", "mobile", "email")
        if not any(str(data.get(name) or "").strip() for name in names):
            needed = "At least one identifier (firstname, lastname, phone, mobile or email) for user is required."
            raise unprocessable(needed)
        email = str(data.get("email") or "")
        if email and any(one.email == email.lower() for one in self.users.values()):
            raise unprocessable(f"Email address '{email}' is already used for another user.")
        roles = tuple(data["roles"]) if by.admin and data.get("roles") else ("Customer",)
        made = self.user(
            str(data.get("firstname") or ""),
            login=str(data.get("login") or ""),
            lastname=str(data.get("lastname") or ""),
            email=email,
            roles=roles,
            note=str(data.get("note") or ""),
        )
        self.note("user_created", str(made.id), login=made.login, email=made.email)
        return made

    def by_name(self, value: object) -> User | None:
        """The user with that login or address."""
        wanted = str(value).strip().lower()
        return next((one for one in self.users.values() if wanted and wanted in (one.login, one.email)), None)

    # tickets

    def ticket(self, id: int) -> Ticket:
        """The ticket; else 404."""
        if id not in self.tickets:
            raise not_found("Ticket", id)
        return self.tickets[id]

    def of(self, ticket: int) -> list[Article]:
        """A ticket's articles, oldest first."""
        return [one for one in self.articles.values() if one.ticket_id == ticket]

    def create(self, data: dict[str, Any], user: User) -> Ticket:
        """`POST /tickets`: all or nothing."""
        customer = self._customer(data, user)
        values = self._values(data)
        if "group_id" not in values:
            raise unprocessable("The required value 'group_id' is missing.")
        article = data.get("article")
        if article is not None:
            self._check_article(article)
        if not str(data.get("title") or "").strip():
            values["title"] = "-"
        now = self.time.now()
        id = self.new_id("ticket")
        state, priority = values.pop("state_id", 1), values.pop("priority_id", 2)
        if values.get("pending_time") is None and self.states[state].startswith("pending"):
            raise unprocessable("Missing required value for field 'pending_time'!")
        ticket = Ticket(
            id,
            f"{10000 + id}",
            values.pop("title", str(data.get("title"))),
            values.pop("group_id"),
            customer.id,
            state,
            priority,
            now,
            now,
            user.id,
            user.id,
        )
        ticket.attributes = {name: "" for name, one in self.attributes.items() if not one["to_create"]}
        self._apply(ticket, values)
        self.tickets[id] = ticket
        for tag in str(data.get("tags") or "").split(","):
            self._tag(ticket, tag)
        self.note("ticket_created", str(id), customer=customer.login, title=ticket.title)
        written = self.write(ticket, article, user, quiet=True) if article is not None else None
        for kinds in (data.get("links") or {}).values():
            for kind, others in kinds.items():
                self.links += [(kind, id, other) for other in others]
        self.happened(Happening(ticket, user, "create", written))
        return ticket

    def update(self, ticket: Ticket, data: dict[str, Any], user: User) -> None:
        """`PUT /tickets/{id}`, with an article where there is one. Merged tickets are changed like any other."""
        values = self._values(data)
        article = data.get("article")
        if article is not None:
            self._check_article(article)
        before = ticket.json()
        after_state = self.states[values.get("state_id", ticket.state_id)]
        pending = values.get("pending_time", ticket.pending_time)
        if after_state.startswith("pending") and pending is None:
            raise unprocessable("Missing required value for field 'pending_time'!")
        self._apply(ticket, values)
        if not after_state.startswith("pending"):
            ticket.pending_time = None
        after = ticket.json()
        changed = frozenset(name for name, value in after.items() if before[name] != value)
        written = self.write(ticket, article, user, quiet=True) if article is not None else None
        if not changed and written is None:
            return
        self.touch(ticket, user)
        if changed:
            told = {name: after[name] for name in sorted(changed)}
            self.note("ticket_changed", str(ticket.id), changes=told, by=user.id)
        self.happened(Happening(ticket, user, "update", written, changed))

    def write(
        self, ticket: Ticket, data: dict[str, Any], user: User, *, at: datetime | None = None, quiet: bool = False
    ) -> Article:
        """An article: by default an agent's note. `origin_by` is somebody else in whose name it is written."""
        self._check_article(data)
        kind = self._named("type", data, TYPES, default=10)
        sender = self._named("sender", data, SENDERS, default=1 if user.agent else 2)
        origin = self._user_named("origin_by", data)
        if origin is None and SENDERS[sender] == "Customer" and TYPES[kind] in ("note", "web", "phone"):
            origin = ticket.customer_id
        if origin is not None and origin != user.id:
            sender = 2
        author = self.users[origin] if origin is not None else user
        name = author.name
        if TYPES[kind] in ("web", "phone") and not author.agent:
            name = f"{author.firstname} {author.lastname} <{author.email}>"
        html = "html" in str(data.get("content_type") or "").lower()
        now = at or self.time.now()
        made = Article(
            self.new_id("article"),
            ticket.id,
            kind,
            sender,
            sanitised(str(data["body"])) if html else str(data["body"]),
            str(data.get("content_type") or "text/plain"),
            str(data.get("internal")).lower() in ("true", "1"),
            user.id,
            now,
            now,
            user.id,
            from_="" if TYPES[kind] in _CHANNEL_TYPES else name,
            subject=data.get("subject"),
            message_id=data.get("message_id"),
            in_reply_to=data.get("in_reply_to"),
            origin_by_id=origin,
            preferences=dict(data.get("preferences") or {}),
        )
        for index, one in enumerate(data.get("attachments") or []):
            made.attachments.append(self._attachment(index, one))
        self.articles[made.id] = made
        self.note(
            "article_created",
            str(made.id),
            ticket=ticket.id,
            author=author.login,
            type=TYPES[kind],
            sender=SENDERS[sender],
            internal=made.internal,
            text=made.body,
        )
        if TYPES[kind] == "email" and SENDERS[sender] == "Agent":
            self.mail(str(data.get("to") or ""), ticket, "article")  # also an internal one
        self.touch(ticket, user, now)
        if not quiet:
            self.happened(Happening(ticket, user, "update", made))
        return made

    def set_internal(self, article: Article, internal: bool, user: User) -> None:
        """The one thing of an article that can be changed."""
        if article.internal == internal:
            return
        article.internal, article.updated_by_id = internal, user.id
        article.updated_at = self.time.now()
        self.note("article_changed", str(article.id), internal=internal, by=user.id)
        self.touch(self.tickets[article.ticket_id], user)

    def add_tag(self, ticket: Ticket, tag: str, user: User) -> None:
        """`POST /tags/add`."""
        if self._tag(ticket, tag):
            self.note("tag_added", str(ticket.id), tag=tag)
            self.touch(ticket, user)
            self.happened(Happening(ticket, user, "update", changed=frozenset({"tags"})))

    def remove_tag(self, ticket: Ticket, tag: str, user: User) -> None:
        """`DELETE /tags/remove`."""
        if tag in ticket.tags:
            ticket.tags.remove(tag)
            self.note("tag_removed", str(ticket.id), tag=tag)
            self.touch(ticket, user)

    def merge(self, source: Ticket, target: Ticket, user: User) -> None:
        """Articles move to the target with their ids; the source keeps one public note, no owner, and a parent."""
        if self.states[target.state_id] == "merged":
            raise unprocessable("It is not possible to merge into an already merged ticket.")
        if source is target:
            raise unprocessable("A ticket cannot be merged into itself.")
        now = self.time.now()
        for one in self.of(source.id):
            one.ticket_id, one.updated_at = target.id, now
        self.links = [
            (kind, target.id if a == source.id else a, target.id if b == source.id else b) for kind, a, b in self.links
        ]
        self.links.append(("parent", target.id, source.id))
        self.write(source, {"body": "merged", "type": "note", "sender": "Agent", "internal": False}, user, quiet=True)
        source.state_id, source.owner_id = 5, SYSTEM
        self.touch(source, user)
        self.touch(target, user)
        self.note("ticket_merged", str(source.id), into=target.id, by=user.id)
        self.happened(Happening(source, user, "update", changed=frozenset({"state_id"})))

    def delete(self, ticket: Ticket) -> None:
        """An admin deletes it: nothing is left."""
        del self.tickets[ticket.id]
        self.articles = {id: one for id, one in self.articles.items() if one.ticket_id != ticket.id}
        self.links = [one for one in self.links if ticket.id not in one[1:]]
        self.note("ticket_deleted", str(ticket.id))

    def mail(self, to: str, ticket: Ticket, what: str) -> None:
        """Who has an address is written to."""
        if to:
            self.note("mail_sent", str(ticket.id), to=to, what=what)

    def touch(self, ticket: Ticket, user: User, at: datetime | None = None) -> None:
        """The ticket was changed."""
        ticket.updated_at = max(at or self.time.now(), ticket.updated_at)
        ticket.updated_by_id = user.id

    # how records are written

    def expanded(self, ticket: Ticket) -> dict[str, Any]:
        """With names (`?expand=true`)."""
        return {
            **self.ids(ticket),
            "group": self.groups[ticket.group_id]["name"],
            "state": self.states[ticket.state_id],
            "priority": self.priorities[ticket.priority_id],
            "owner": self.users[ticket.owner_id].login,
            "customer": self.users[ticket.customer_id].login,
            "created_by": self.users[ticket.created_by_id].login,
            "updated_by": self.users[ticket.updated_by_id].login,
        }

    def ids(self, ticket: Ticket) -> dict[str, Any]:
        """With ids alone."""
        return {
            **ticket.json(),
            "article_ids": [one.id for one in self.of(ticket.id)],
            "ticket_time_accounting_ids": [],
        }

    # parts

    def _customer(self, data: dict[str, Any], by: User) -> User:
        given = data.get("customer")
        if isinstance(given, dict):
            for name in ("email", "login"):
                wanted = str(given.get(name) or "").lower()
                found = next((one for one in self.users.values() if wanted and getattr(one, name) == wanted), None)
                if found is not None:
                    return found
            return self.create_user(given, by)
        if isinstance(data.get("customer_id"), str) and data["customer_id"].startswith("guess:"):
            address = data["customer_id"].removeprefix("guess:")
            return self.by_name(address) or self.create_user({"email": address}, by)
        id = self._user_named("customer", data)
        if id is None:
            raise unprocessable("Attribute 'customer_id' required!")
        return self.users[id]

    def _values(self, data: dict[str, Any]) -> dict[str, Any]:
        """Names become ids; what tickets do not have is passed over without a word."""
        values: dict[str, Any] = {}
        groups = {id: one["name"] for id, one in self.groups.items()}
        for name, table in (("group", groups), ("state", self.states), ("priority", self.priorities)):
            if name in data or f"{name}_id" in data:
                values[f"{name}_id"] = self._named(name, data, table)
        owner = self._user_named("owner", data)
        if owner is not None:
            values["owner_id"] = owner
        if "title" in data:
            values["title"] = str(data["title"])
        if data.get("pending_time"):
            try:
                values["pending_time"] = datetime.fromisoformat(str(data["pending_time"]))
            except ValueError as error:
                raise unprocessable("invalid date", human=False) from error
        for name, one in self.attributes.items():
            if name in data and not one["to_create"]:
                limit = one["data_option"].get("maxlength")
                if limit and len(str(data[name] or "")) > int(limit):
                    raise unprocessable(f"value too long for type character varying({limit})", human=False)
                values[name] = data[name]
        return values

    def _apply(self, ticket: Ticket, values: dict[str, Any]) -> None:
        for name, value in values.items():
            if name in self.attributes:
                ticket.attributes[name] = value
            else:
                setattr(ticket, name, value)

    def _named(self, name: str, data: dict[str, Any], table: dict[int, str], default: int | None = None) -> int:
        if data.get(name) is not None:
            known = {word: one for one, word in table.items()}
            if data[name] not in known:
                raise no_value(name, data[name])
            return known[data[name]]
        id: Any = data.get(f"{name}_id", default)
        if not isinstance(id, int) or id not in table:
            raise no_value(f"{name}_id", id)
        return id

    def _user_named(self, name: str, data: dict[str, Any]) -> int | None:
        if data.get(name) is not None:
            found = self.by_name(data[name])
            if found is None:
                raise no_value(name, data[name])
            return found.id
        id = data.get(f"{name}_id")
        if id is None:
            return None
        if not isinstance(id, int) or id not in self.users:
            raise unprocessable(f"Invalid value for param '{name}_id': {id!r}", human=False)
        return id

    def _check_article(self, data: dict[str, Any]) -> None:
        if not isinstance(data, dict) or not data.get("body"):
            raise unprocessable("Need at least an 'article body' field.")
        if len(str(data["body"])) > LONGEST_BODY:
            text = f"body of article is too large, {len(data['body'])} chars - only {LONGEST_BODY} allowed"
            raise unprocessable(text)
        self._named("type", data, TYPES, default=10)
        self._named("sender", data, SENDERS, default=1)
        self._user_named("origin_by", data)
        for index, one in enumerate(data.get("attachments") or []):
            self._decoded(index, one)

    def _decoded(self, index: int, one: dict[str, Any]) -> bytes:
        for key in ("mime-type", "filename", "data"):
            if not one.get(key):
                raise unprocessable(f"Attachment needs '{key}' param for attachment with index '{index}'")
        try:
            return base64.b64decode(one["data"].replace("\r", "").replace("\n", ""), validate=True)
        except binascii.Error as error:
            raise unprocessable(f"Invalid base64 for attachment with index '{index}'") from error

    def _attachment(self, index: int, one: dict[str, Any]) -> dict[str, Any]:
        return self.keep_file(one["filename"], self._decoded(index, one), one["mime-type"])

    def keep_file(self, name: str, body: bytes, media_type: str) -> dict[str, Any]:
        """A file and how articles describe it; sizes are text at Zammad."""
        id = self.new_id("file")
        self.contents[id] = (body, media_type, name)
        return {"id": id, "filename": name, "size": str(len(body)), "preferences": {"Mime-Type": media_type}}

    def _tag(self, ticket: Ticket, tag: str) -> bool:
        if not tag.strip() or tag.strip() in ticket.tags:
            return False
        ticket.tags.append(tag.strip())
        return True


def search_condition(desk: Desk, ticket: Ticket, condition: dict[str, Any]) -> bool:
    """Whether a ticket fulfils conditions as `tickets/search` takes them; an unknown one is an error there."""
    for name, asked in condition.items():
        value, operator = asked.get("value"), asked.get("operator")
        if name in ("ticket.updated_at", "ticket.created_at") and operator == "after (absolute)":
            if not getattr(ticket, name.split(".")[1]) > datetime.fromisoformat(str(value)):
                return False
        elif name == "ticket.tags" and operator in ("contains all", "contains one"):
            wanted = _words(value)
            held = [tag in ticket.tags for tag in wanted]
            if not (all(held) if operator == "contains all" else any(held)):
                return False
        elif name == "ticket.customer_id" and operator == "is":
            if str(ticket.customer_id) not in {str(one) for one in (value if isinstance(value, list) else [value])}:
                return False
        else:
            raise ApiError(422, f"Invalid condition {name} {operator}", human=False)
    return True


def _words(value: object) -> Iterable[str]:
    return [part.strip() for part in str(value).split(",") if part.strip()]
