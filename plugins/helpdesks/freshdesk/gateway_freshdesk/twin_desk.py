"""The twin's tickets and people, and the rules Freshdesk keeps about them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from gateway_freshdesk.twin_checks import PLAIN, check_contact, check_creation, check_update
from gateway_freshdesk.twin_model import (
    CLOSED,
    RESOLVED,
    SETTABLE_SOURCES,
    Conversation,
    Person,
    Ticket,
    invalid,
    iso,
    not_allowed,
    not_found,
    plain,
    problem,
    sanitised,
)
from gateway_schemas.time import TimeSource

MOST_BYTES = 20_000_000


@dataclass(frozen=True)
class Happening:
    """One thing that was done to a ticket, as automation rules see it."""

    ticket: Ticket
    performer: Person | None
    """None is the system."""
    created: bool = False
    note: Conversation | None = None
    changed: frozenset[str] = frozenset()


class Desk:
    """Tickets, contacts and agents. `note` writes to the ledger, `happened` tells the automation rules."""

    def __init__(self, time: TimeSource, note: Callable[..., None], happened: Callable[[Happening], None]) -> None:
        self.time = time
        self.note = note
        self.happened = happened
        self.tickets: dict[int, Ticket] = {}
        self.people: dict[int, Person] = {}
        self.statuses = {2: "Open", 3: "Pending", 4: "Resolved", 5: "Closed"}
        self.sources = dict(SETTABLE_SOURCES)
        self.fields: dict[str, dict[str, Any]] = {}
        """Custom ticket fields by name (`cf_…`)."""
        self.contact_notes = True
        """Whether a note may be written as a contact (`user_id`); else only agents are taken."""
        self.contents: dict[str, tuple[bytes, str]] = {}
        """Files, and their media types, by the token in their `attachment_url`."""
        self.base: Callable[[], str] = lambda: ""
        self._next = 101_000_000_000
        self._next_ticket = 0

    def new_id(self) -> int:
        """Ids of people, conversations, fields and rules: one rising sequence."""
        self._next += 3
        return self._next

    def keep_file(self, name: str, body: bytes, media_type: str) -> dict[str, Any]:
        """A file and how attachments describe it. Whoever has its `attachment_url` may read it, for a while."""
        token = uuid.uuid4().hex
        self.contents[token] = (body, media_type)
        return {
            "id": self.new_id(),
            "name": name,
            "content_type": media_type,
            "size": len(body),
            "attachment_url": f"{self.base()}/data/helpdesk/attachments/{token}",
            "created_at": iso(self.time.now()),
            "updated_at": iso(self.time.now()),
        }

    def given_files(self, data: dict[str, Any]) -> list[tuple[str, bytes, str]]:
        """The files of a form, taken out of its body; together at most 20 MB."""
        given: list[tuple[str, bytes, str]] = data.pop("attachments", [])
        if not isinstance(given, list) or not all(isinstance(one, tuple) for one in given):
            raise invalid(
                problem("attachments", "It should contain elements of type valid file format", "datatype_mismatch")
            )
        if sum(len(body) for _, body, _ in given) > MOST_BYTES:
            text = "The total size of attachments should not exceed 20MB"
            raise invalid(problem("attachments", text, "invalid_size"))
        return given

    # people

    def person(self, name: str, **more: Any) -> Person:
        """A new contact or agent."""
        made = Person(self.new_id(), name, self.time.now(), **more)
        self.people[made.id] = made
        return made

    def contact_by(self, name: str, value: object) -> Person | None:
        """The contact or agent with that external id or address; deleted ones hold on to theirs."""
        return next((one for one in self.people.values() if value and getattr(one, name) == value), None)

    def create_contact(self, data: dict[str, Any]) -> Person:
        """`POST /contacts`."""
        check_contact(data)
        for name in ("unique_external_id", "email"):
            holder = self.contact_by(name, data.get(name))
            if holder is not None:
                entry = problem(name, "It should be a unique value", "duplicate_value")
                raise invalid({**entry, "additional_info": {"user_id": holder.id}}, status=409)
        made = self.person(data["name"], email=data.get("email"), unique_external_id=data.get("unique_external_id"))
        self.note("contact_created", str(made.id), unique_external_id=made.unique_external_id, email=made.email)
        return made

    # tickets

    def ticket(self, id: int) -> Ticket:
        """The ticket, also from the trash; else 404."""
        if id not in self.tickets:
            raise not_found()
        return self.tickets[id]

    def writable(self, id: int, method: str) -> Ticket:
        """The ticket; 405 while it lies in the trash or is marked as spam."""
        ticket = self.ticket(id)
        if ticket.deleted or ticket.spam:
            raise not_allowed(method)
        return ticket

    def create(self, data: dict[str, Any], user: Person | None, at: datetime | None = None) -> Ticket:
        """`POST /tickets`: validates, finds or makes the contact, stores, tells."""
        files = self.given_files(data)
        check_creation(data, self.statuses, self.sources, self.fields)
        requester = self._requester(data)
        now = at or self.time.now()
        self._next_ticket += 1
        ticket = Ticket(
            self._next_ticket,
            requester.id,
            data["subject"],
            sanitised(data["description"]),
            data["status"],
            data["priority"],
            data["source"],
            now,
            now,
        )
        ticket.attachments = [self.keep_file(*one) for one in files]
        ticket.custom_fields = dict.fromkeys(self.fields)
        self._apply(ticket, data, now)
        self.tickets[ticket.id] = ticket
        self.note(
            "ticket_created",
            str(ticket.id),
            requester=requester.unique_external_id,
            description=plain(ticket.description),
        )
        self.mail(requester, ticket, "new ticket")
        self.happened(Happening(ticket, user, created=True))
        return ticket

    def update(self, ticket: Ticket, data: dict[str, Any], user: Person | None) -> None:
        """`PUT /tickets/{id}`."""
        check_update(data, ticket, self.statuses, self.sources, self.fields)
        before = {name: getattr(ticket, name) for name in (*PLAIN, "tags")} | {"fields": dict(ticket.custom_fields)}
        now = self.time.now()
        self._apply(ticket, data, now)
        after = {name: getattr(ticket, name) for name in (*PLAIN, "tags")} | {"fields": dict(ticket.custom_fields)}
        changed = frozenset(name for name, value in after.items() if before[name] != value)
        if changed:
            self._touch(ticket, now)
            told = {name: after[name] for name in sorted(changed)}
            self.note("ticket_changed", str(ticket.id), changes=told, by=user.id if user else None)
            if "status" in changed and ticket.status in (RESOLVED, CLOSED):
                self.mail(self.people[ticket.requester_id], ticket, "solved")
            self.happened(Happening(ticket, user, changed=changed))

    def write(self, ticket: Ticket, author: Person, body: str, **more: Any) -> Conversation:
        """A conversation: a note, or with `source=0` a reply, which goes out as an e-mail."""
        now = more.pop("at", None) or self.time.now()
        performer = more.pop("performer", author)
        values = {"source": 2, "incoming": False, "private": True, **more}
        made = Conversation(
            self.new_id(), ticket.id, author.id, sanitised(body), created_at=now, updated_at=now, **values
        )
        ticket.conversations.append(made)
        self._touch(ticket, now)
        self.note(
            "conversation_created",
            str(made.id),
            ticket=ticket.id,
            author=author.unique_external_id or author.name,
            source=made.source,
            private=made.private,
            incoming=made.incoming,
            text=plain(made.body),
        )
        if not made.private and not made.incoming:
            self.mail(self.people[ticket.requester_id], ticket, "reply" if made.source == 0 else "comment")
        self.happened(Happening(ticket, performer, note=made))
        return made

    def mail(self, to: Person, ticket: Ticket, what: str) -> None:
        """Freshdesk's requester notifications: who has an address is written to."""
        if to.email:
            self.note("mail_sent", str(ticket.id), to=to.email, what=what)

    def merge(self, source: Ticket, target: Ticket, agent: Person, *, public: bool = False) -> None:
        """What the merge dialogue does: the source is closed, notes on both sides name the other ticket."""
        now = self.time.now()
        text = f"This ticket is closed and merged into ticket {target.id}"
        self.write(source, agent, f"<div>{text}</div>", private=not public)
        source.status, source.closed_at, source.merged_into = CLOSED, now, target.id
        self._touch(source, now)
        self.note("ticket_merged", str(source.id), into=target.id, by=agent.id)
        self.happened(Happening(source, agent, changed=frozenset({"status"})))
        text = f"Tickets with IDs {source.id} is merged into this ticket."
        self.write(target, agent, f"<div>{text}</div>", private=not public)
        last = source.conversations[-2].body if len(source.conversations) > 1 else source.description
        self.write(target, agent, f"<div>Merged from ticket {source.id}</div><div>{last}</div>", private=not public)

    def trash(self, ticket: Ticket, *, spam: bool = False) -> None:
        """Into the trash, or to the spam: it leaves the lists, its own address still answers."""
        if spam:
            ticket.spam = True
        else:
            ticket.deleted = True
        self._touch(ticket, self.time.now())
        self.note("ticket_spammed" if spam else "ticket_deleted", str(ticket.id))

    # parts

    def _requester(self, data: dict[str, Any]) -> Person:
        if data.get("requester_id"):
            found = self.people.get(data["requester_id"])
            if found is None:
                text = "There is no contact matching the given requester_id"
                raise invalid(problem("requester_id", text, "invalid_value"))
            return found
        for name in ("unique_external_id", "email"):
            found = self.contact_by(name, data.get(name))
            if found is not None:
                return found
        return self.create_contact(
            {
                "name": data.get("name") or data.get("unique_external_id"),
                **{one: data[one] for one in ("unique_external_id", "email") if data.get(one)},
            }
        )

    def _apply(self, ticket: Ticket, data: dict[str, Any], now: datetime) -> None:
        for name in PLAIN:
            if name in data:
                setattr(ticket, name, data[name])
        if "description" in data:
            ticket.description = sanitised(data["description"])
        if "tags" in data:
            ticket.tags = list({tag.lower(): tag for tag in reversed(data["tags"])}.values())[::-1]
        ticket.custom_fields.update(data.get("custom_fields") or {})
        if ticket.resolved_at is not None and ticket.status not in (RESOLVED, CLOSED):
            ticket.reopened_at = now
        ticket.closed_at = (ticket.closed_at or now) if ticket.status == CLOSED else None
        ticket.resolved_at = (ticket.resolved_at or now) if ticket.status in (RESOLVED, CLOSED) else None

    def _touch(self, ticket: Ticket, now: datetime) -> None:
        ticket.updated_at = max(now, ticket.updated_at)

    def listed(self, filter_: str | None, since: datetime | None, now: datetime, lag: float) -> list[Ticket]:
        """What a list shows: trash and spam by their filters only, and without `updated_since` the last 30 days."""
        shown = []
        for ticket in self.tickets.values():
            if ticket.deleted != (filter_ == "deleted") or (ticket.spam and not ticket.deleted) != (filter_ == "spam"):
                continue
            if lag and now - ticket.created_at < timedelta(seconds=lag):
                continue
            if since is None and now - ticket.created_at > timedelta(days=30):
                continue
            if since is not None and ticket.updated_at.replace(microsecond=0) < since:
                continue
            shown.append(ticket)
        return shown
