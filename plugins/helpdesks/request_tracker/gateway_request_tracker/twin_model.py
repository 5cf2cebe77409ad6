"""The twin's records and how RT writes them as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

NEVER = "1970-01-01T00:00:00Z"
STATUSES = ("new", "open", "stalled", "resolved", "rejected", "deleted")
INACTIVE = ("resolved", "rejected", "deleted")


class ApiError(Exception):
    """An answer that is not 2xx, in RT's own shape."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def iso(at: datetime) -> str:
    """RT's time stamps: UTC, whole seconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class User:
    """A user; customers are those without privileges."""

    id: int
    name: str
    real_name: str
    created_at: datetime
    email: str = ""
    privileged: bool = False
    disabled: bool = False
    password: str | None = None
    comments: str = ""


@dataclass
class Transaction:
    """One thing that was done to a ticket."""

    id: int
    ticket_id: int
    type: str
    creator: str
    created_at: datetime
    field: str = ""
    old_value: str = ""
    new_value: str = ""
    data: str = ""

    def value(self, name: str) -> str:
        """A column by its name."""
        return {
            "Type": self.type,
            "Created": iso(self.created_at),
            "Field": self.field,
            "OldValue": self.old_value,
            "NewValue": self.new_value,
            "Data": self.data,
            "ObjectId": str(self.ticket_id),
            "ObjectType": "RT::Ticket",
            "Object": "",
            "Content": "",
        }.get(name, "")


@dataclass
class Part:
    """One part of a message: a text, a file, or what holds several together."""

    id: int
    transaction_id: int
    content_type: str
    content: bytes
    filename: str = ""
    headers: str = ""
    subject: str = ""


@dataclass
class CustomField:
    """A custom field of tickets; `queues` has those that it is applied to."""

    id: int
    name: str
    many: bool = False
    queues: set[int] = field(default_factory=set)


@dataclass
class Queue:
    """A queue of tickets."""

    id: int
    name: str
    correspond_address: str = ""
    comment_address: str = ""
    disabled: bool = False
    cc: list[str] = field(default_factory=list)
    admin_cc: list[str] = field(default_factory=list)


@dataclass
class Ticket:
    """One ticket. One that was merged away lives on in the one that `effective_id` names."""

    id: int
    effective_id: int
    queue_id: int
    subject: str
    creator: str
    created_at: datetime
    updated_at: datetime
    updated_by: str
    status: str = "new"
    priority: int = 0
    owner: str = "Nobody"
    requestors: list[str] = field(default_factory=list)
    fields: dict[str, list[str]] = field(default_factory=dict)
    refers_to: list[int] = field(default_factory=list)


def reference(kind: str, id: object, base: str) -> dict[str, Any]:
    """How RT names another record: its id is text, also where it is a number elsewhere."""
    return {"type": kind, "id": str(id), "_url": f"{base}/{kind}/{id}"}
