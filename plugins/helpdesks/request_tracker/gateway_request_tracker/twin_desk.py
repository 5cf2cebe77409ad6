"""The twin's tickets and people, and the rules RT keeps about them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from gateway_request_tracker.twin_model import (
    INACTIVE,
    STATUSES,
    ApiError,
    CustomField,
    Part,
    Queue,
    Ticket,
    Transaction,
    User,
)
from gateway_schemas.time import TimeSource

FILE_KEYS = ("FileName", "FileType", "FileContent")


class Desk:
    """Tickets, transactions and users. `note` writes to the ledger."""

    def __init__(self, time: TimeSource, note: Callable[..., None]) -> None:
        self.time = time
        self.note = note
        self.tickets: dict[int, Ticket] = {}
        self.transactions: dict[int, Transaction] = {}
        self.parts: dict[int, Part] = {}
        self.users: dict[str, User] = {}
        self.queues: dict[int, Queue] = {1: Queue(1, "General")}
        self.fields: dict[int, CustomField] = {}
        self._ids: dict[str, int] = {"transaction": 30, "user": 20}
        for name in ("RT_System", "Nobody", "root"):
            self.user(name, real_name=name, privileged=name == "root")

    def new_id(self, kind: str) -> int:
        """The next id of that kind."""
        self._ids[kind] = self._ids.get(kind, 0) + 1
        return self._ids[kind]

    # people

    def user(self, name: str, *, real_name: str = "", **more: Any) -> User:
        """A new user."""
        made = User(self.new_id("user"), name, real_name, self.time.now(), **more)
        self.users[name] = made
        return made

    def find_user(self, given: str) -> User | None:
        """By number where it is one, else by name in any case."""
        for user in self.users.values():
            if (given.isdigit() and user.id == int(given)) or (
                not given.isdigit() and user.name.lower() == given.lower()
            ):
                return user
        return None

    def create_user(self, data: dict[str, Any]) -> User:
        """`POST /user`."""
        name = str(data.get("Name") or "")
        if not name:
            raise ApiError(400, "Must specify 'Name' attribute")
        if self.find_user(name) is not None:
            raise ApiError(400, "Name in use")
        made = self.user(
            name,
            real_name=str(data.get("RealName") or ""),
            email=str(data.get("EmailAddress") or ""),
            privileged=str(data.get("Privileged")) == "1",
            password=data.get("Password"),
            comments=str(data.get("Comments") or ""),
        )
        self.note("user_created", name, email=made.email)
        return made

    def watcher(self, given: str) -> User | None:
        """Who a watcher's field names; nobody is no error.

        With an @ it is an address, and who has it not yet is made. What has a colon is read as something else than a
        user's name.
        """
        if "@" in given:
            found = next((one for one in self.users.values() if one.email == given), None)
            return found or self.user(given, email=given)
        return None if ":" in given else self.find_user(given)

    # tickets

    def ticket(self, id: int) -> Ticket:
        """The ticket, or the one that it was merged into; else 404."""
        if id not in self.tickets:
            raise ApiError(404, "Not Found")
        found = self.tickets[id]
        return found if found.effective_id == id else self.ticket(found.effective_id)

    def history(self, ticket: Ticket) -> list[Transaction]:
        """Its transactions, and those of all that were merged into it."""
        ids = {one.id for one in self.tickets.values() if self.ticket(one.id) is ticket}
        return [one for one in self.transactions.values() if one.ticket_id in ids]

    def queue(self, given: object) -> Queue | None:
        """By number or name."""
        return next((one for one in self.queues.values() if str(given) in (str(one.id), one.name)), None)

    def fields_of(self, ticket: Ticket) -> dict[str, CustomField]:
        """The custom fields of the ticket's queue by name."""
        return {one.name: one for one in self.fields.values() if ticket.queue_id in one.queues}

    def create(self, data: dict[str, Any], user: User) -> Ticket:
        """`POST /ticket`: a status that is none is refused, and so is a queue; all else is taken as far as it goes."""
        if not data.get("Queue"):
            raise ApiError(400, "Could not create ticket. Queue not set")
        queue = self.queue(data["Queue"])
        if queue is None or queue.disabled:
            raise ApiError(403, f"No permission to create tickets in the queue '{data['Queue']}'")
        status = str(data.get("Status") or "new")
        if status not in STATUSES or status in INACTIVE[2:]:
            raise ApiError(400, f"Status '{status}' isn't a valid status for tickets in this queue.")
        now = self.time.now().replace(microsecond=0)
        id = self.new_id("ticket")
        ticket = Ticket(id, id, queue.id, str(data.get("Subject") or ""), user.name, now, now, user.name, status)
        ticket.priority = int(data.get("Priority") or 0)
        for given in _list(data.get("Requestor")):
            found = self.watcher(str(given))
            if found is not None:
                ticket.requestors.append(found.name)
        owner = self.find_user(str(data.get("Owner") or ""))
        if owner is not None and owner.privileged:
            ticket.owner = owner.name
        self.tickets[id] = ticket
        known = self.fields_of(ticket)
        for name, value in (data.get("CustomFields") or {}).items():
            if name in known:
                ticket.fields[name] = [str(one) for one in _list(value)][: None if known[name].many else 1]
        ticket.refers_to = [int(one) for one in _list(data.get("RefersTo")) if int(one) in self.tickets]
        made = self.transact(ticket, "Create", user)
        self._say(made, data, str(data.get("Subject") or ""), "REST")
        self.note("ticket_created", str(id), subject=ticket.subject, requestors=list(ticket.requestors))
        for name in ticket.requestors:
            self.mail(ticket, self.users[name], "autoreply")
        return ticket

    def update(self, ticket: Ticket, data: dict[str, Any], user: User) -> list[str]:
        """`PUT /ticket/{id}`: sentences of what was done and what was not, all alike."""
        said: list[str] = []
        prefix = f"Ticket {ticket.id}: "
        if "Owner" in data:
            said += [prefix + one for one in self._own(ticket, str(data["Owner"]), user)]
        if "Priority" in data and int(data["Priority"]) != ticket.priority:
            self.transact(ticket, "Set", user, "Priority", str(ticket.priority), str(data["Priority"]))
            ticket.priority = int(data["Priority"])
            said.append(prefix + "Priority changed from 'Medium' to 'Medium'")
        if "Queue" in data:
            queue = self.queue(data["Queue"])
            if queue is None:
                said.append(f"{prefix}Queue {data['Queue']} does not exist")
            elif queue.id != ticket.queue_id:
                ticket.queue_id = queue.id
                self.transact(ticket, "Set", user, "Queue", "", str(queue.id))
                said.append(f"{prefix}Queue changed to {queue.name}")
        if "Subject" in data and data["Subject"] != ticket.subject:
            self.transact(ticket, "Set", user, "Subject", ticket.subject, data["Subject"])
            ticket.subject = data["Subject"]
            said.append(f"{prefix}Subject changed")
        if "Status" in data:
            said += [prefix + one for one in self.set_status(ticket, str(data["Status"]), user)]
        known = self.fields_of(ticket)
        for name, value in (data.get("CustomFields") or {}).items():
            if name in known:
                said += self._set_field(ticket, known[name], value, user)
        if "MergeInto" in data:
            said.append(self.merge(ticket, int(data["MergeInto"]), user))
        return said

    def set_status(self, ticket: Ticket, status: str, user: User) -> list[str]:
        """What RT says of it."""
        if status == ticket.status:
            return []
        if status not in STATUSES:
            return [f"Status '{status}' isn't a valid status for this ticket."]
        if status == "deleted" and user.name != "root":
            return ["Permission Denied"]
        self.transact(ticket, "Status", user, "Status", ticket.status, status)
        self.note("ticket_changed", str(ticket.id), changes={"Status": status}, by=user.name)
        old, ticket.status = ticket.status, status
        if status == "resolved":
            for name in ticket.requestors:
                self.mail(ticket, self.users[name], "resolved")
        return ["Ticket deleted"] if status == "deleted" else [f"Status changed from '{old}' to '{status}'"]

    def message(
        self, ticket: Ticket, kind: str, data: dict[str, Any], user: User, *, interface: str = "REST", **more: Any
    ) -> tuple[Transaction, list[str]]:
        """Correspondence or a comment. Corresponding opens what is new or over."""
        subject = str(data.get("Subject") or "")
        made = self.transact(ticket, kind, user, data=f"{subject}\n" if subject else "No Subject", **more)
        self._say(made, data, subject, interface)
        self.note(
            "message", str(made.id), ticket=ticket.id, what=kind, by=user.name, text=str(data.get("Content") or "")
        )
        said = ["Correspondence added" if kind == "Correspond" else "Comments added"]
        if kind == "Correspond":
            if ticket.status == "new" or ticket.status in INACTIVE[:2]:
                self.set_status(ticket, "open", self.users["RT_System"])
            for name in ticket.requestors:
                if name != user.name:
                    self.mail(ticket, self.users[name], "correspondence")
        if data.get("Status"):
            wanted = str(data["Status"])
            said += self.set_status(ticket, wanted, user) or [f"You can't change status from '{wanted}' to '{wanted}'."]
        return made, said

    def merge(self, source: Ticket, target_id: int, user: User) -> str:
        """From now on the source's address leads to the target, which has both histories."""
        if target_id not in self.tickets:
            return "New ticket doesn't exist"
        target = self.ticket(target_id)
        if target is source:
            return "Can't merge a ticket into itself"
        self.transact(source, "AddLink", user, "MergedInto", "", str(target.id))
        source.effective_id, source.status = target.id, "resolved"
        target.requestors += [one for one in source.requestors if one not in target.requestors]
        self.transact(target, "AddLink", user, "MergedInto", "", str(source.id))
        self.note("ticket_merged", str(source.id), into=target.id, by=user.name)
        return "Merge Successful"

    def mail(self, ticket: Ticket, user: User, what: str) -> None:
        """A scrip notifies: who has an address is written to, and that is recorded."""
        if user.email:
            self.note("mail_sent", str(ticket.id), to=user.email, what=what)
            self.transact(ticket, "EmailRecord", self.users["RT_System"])

    def transact(
        self,
        ticket: Ticket,
        kind: str,
        user: User,
        field: str = "",
        old: str = "",
        new: str = "",
        *,
        data: str = "",
        at: datetime | None = None,
    ) -> Transaction:
        """One transaction; times are whole seconds."""
        now = (at or self.time.now()).replace(microsecond=0)
        made = Transaction(self.new_id("transaction"), ticket.id, kind, user.name, now, field, old, new, data)
        self.transactions[made.id] = made
        ticket.updated_at, ticket.updated_by = max(now, ticket.updated_at), user.name
        return made

    # parts

    def _say(self, made: Transaction, data: dict[str, Any], subject: str, interface: str) -> None:
        """The parts of a message: one alone, or one that holds text and files together."""
        files = data.get("Attachments") or []
        text = str(data.get("Content") or "").encode()
        kind = str(data.get("ContentType") or "text/plain")
        head = f"X-RT-Interface: {interface}\nMIME-Version: 1.0\nMessage-ID: <rt-5.0.3-{made.id}@rt>"
        if subject:
            head = f"Subject: {subject}\n{head}"
        if not files:
            self._part(made, kind, text, headers=f'{head}\nContent-Type: {kind}; charset="utf-8"', subject=subject)
            return
        self._part(made, "multipart/mixed", b"", headers=f"{head}\nContent-Type: multipart/mixed", subject=subject)
        self._part(made, kind, text, headers=f'Content-Type: {kind}; charset="utf-8"')
        for one in files:
            body = base64.b64decode(one["FileContent"])
            head = f'Content-Type: {one["FileType"]}; name="{one["FileName"]}"'
            self._part(made, one["FileType"], body, filename=one["FileName"], headers=head)

    def _part(self, made: Transaction, kind: str, content: bytes, headers: str, **more: Any) -> None:
        id = self.new_id("attachment")
        headers += f"\nContent-Length: {len(content)}"
        self.parts[id] = Part(id, made.id, kind, content, headers=headers, **more)

    def _own(self, ticket: Ticket, given: str, user: User) -> list[str]:
        found = self.find_user(given)
        if found is None:
            return ["That user does not exist"]
        if not found.privileged and found.name != "Nobody":
            return ["That user may not own tickets in that queue"]
        if ticket.owner not in ("Nobody", user.name):
            return ["You can only reassign tickets that you own or that are unowned"]
        if found.name == ticket.owner:
            return []
        self.transact(ticket, "Set", user, "Owner", "", str(found.id))
        old, ticket.owner = ticket.owner, found.name
        return [f"Owner changed from {old} to {found.name}"]

    def _set_field(self, ticket: Ticket, one: CustomField, value: Any, user: User) -> list[str]:
        wanted = [str(each) for each in _list(value) if str(each) != ""]
        wanted = list(dict.fromkeys(wanted)) if one.many else wanted[:1]
        have = ticket.fields.get(one.name, [])
        if wanted == have or (one.many and sorted(wanted) == sorted(have)):
            return []
        self.transact(ticket, "CustomField", user, str(one.id), ",".join(have), ",".join(wanted))
        ticket.fields[one.name] = wanted
        self.note("ticket_changed", str(ticket.id), changes={one.name: wanted}, by=user.name)
        return [f"{one.name} {' '.join(wanted) or 'value'} {'added' if wanted else 'deleted'}"]


def check_files(files: Any) -> None:
    """What RT says of attachments that lack something."""
    if files is None:
        return
    if not isinstance(files, list) or not all(isinstance(one, dict) for one in files):
        raise ApiError(400, "Attachments must be an array")
    for one in files:
        for key in FILE_KEYS:
            if not one.get(key):
                raise ApiError(400, f"{key} is a required field for each attachment in Attachments")
        try:
            base64.b64decode(one["FileContent"])
        except binascii.Error as error:
            raise ApiError(500, "Internal Server Error") from error


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
