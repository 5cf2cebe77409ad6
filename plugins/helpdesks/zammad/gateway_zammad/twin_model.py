"""The twin's records and how Zammad writes them as JSON."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

STATES = {
    1: "new",
    2: "open",
    3: "pending reminder",
    4: "closed",
    5: "merged",
    6: "removed",
    7: "pending close",
}
STATE_TYPES = {1: 1, 2: 2, 3: 3, 4: 5, 5: 6, 6: 7, 7: 4}
PRIORITIES = {1: "1 low", 2: "2 normal", 3: "3 high"}
TYPES = {
    1: "email",
    2: "sms",
    3: "chat",
    4: "fax",
    5: "phone",
    6: "twitter status",
    7: "twitter direct-message",
    8: "facebook feed post",
    9: "facebook feed comment",
    10: "note",
    11: "web",
}
SENDERS = {1: "Agent", 2: "Customer", 3: "System"}
SYSTEM = 1
"""The user that Zammad writes as itself, and that owns what nobody owns."""


class ApiError(Exception):
    """An answer that is not 2xx, in the provider's own shape."""

    def __init__(self, status: int, message: str, *, human: bool = True) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.human = human
        """Whether the cause may be told to those without admin rights."""


def unprocessable(message: str, *, human: bool = True) -> ApiError:
    """422: validation, and every argument that Zammad cannot make sense of."""
    return ApiError(422, message, human=human)


def not_found(kind: str, id: object) -> ApiError:
    """404, as the record's class says it."""
    return ApiError(404, f"Couldn't find {kind} with 'id'={id}")


def no_value(name: str, value: object) -> ApiError:
    """A name that belongs to nothing (`association_name_to_id_convert`)."""
    return unprocessable(f"No lookup value found for '{name}': {value!r}", human=False)


def iso(at: datetime) -> str:
    """Zammad's time stamps: UTC, milliseconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def sanitised(markup: str) -> str:
    """What is stored of HTML: no scripts, no handlers, no comments."""
    markup = re.sub(r"(?is)<(script|style)\b.*?</\1>|<!--.*?-->", "", markup)
    return re.sub(r"""\s(?:on\w+|id)=("[^"]*"|'[^']*'|[^\s>]+)""", "", markup)


@dataclass
class User:
    """A customer, or with a `role` of Agent or Admin a member of staff: all are users."""

    id: int
    login: str
    firstname: str
    lastname: str
    created_at: datetime
    email: str = ""
    roles: tuple[str, ...] = ("Customer",)
    note: str = ""
    active: bool = True

    @property
    def agent(self) -> bool:
        """Whether it may work on tickets."""
        return "Agent" in self.roles

    @property
    def admin(self) -> bool:
        """Whether it may change the system."""
        return "Admin" in self.roles

    @property
    def name(self) -> str:
        """First and last name."""
        return f"{self.firstname} {self.lastname}".strip()

    def json(self) -> dict[str, Any]:
        """As `/users` shows it; the password is left out."""
        return {
            "id": self.id,
            "organization_id": None,
            "login": self.login,
            "firstname": self.firstname,
            "lastname": self.lastname,
            "email": self.email,
            "web": "",
            "phone": "",
            "mobile": "",
            "vip": False,
            "verified": False,
            "active": self.active,
            "note": self.note,
            "out_of_office": False,
            "role_ids": [{"Admin": 1, "Agent": 2, "Customer": 3}[role] for role in self.roles],
            "group_ids": {"1": ["full"]} if self.agent else {},
            "created_at": iso(self.created_at),
            "updated_at": iso(self.created_at),
        }


@dataclass
class Article:
    """One article of a ticket."""

    id: int
    ticket_id: int
    type_id: int
    sender_id: int
    body: str
    content_type: str
    internal: bool
    created_by_id: int
    created_at: datetime
    updated_at: datetime
    updated_by_id: int
    from_: str = ""
    subject: str | None = None
    message_id: str | None = None
    in_reply_to: str | None = None
    origin_by_id: int | None = None
    preferences: dict[str, Any] = field(default_factory=dict)
    attachments: list[dict[str, Any]] = field(default_factory=list)

    def json(self, users: dict[int, User]) -> dict[str, Any]:
        """As `/ticket_articles` shows it: always with names."""
        origin = users[self.origin_by_id].login if self.origin_by_id else None
        return {
            "id": self.id,
            "ticket_id": self.ticket_id,
            "type_id": self.type_id,
            "sender_id": self.sender_id,
            "from": self.from_,
            "to": None,
            "cc": None,
            "subject": self.subject,
            "reply_to": None,
            "message_id": self.message_id,
            "message_id_md5": None,
            "in_reply_to": self.in_reply_to,
            "content_type": self.content_type,
            "references": None,
            "body": self.body,
            "internal": self.internal,
            "preferences": self.preferences,
            "updated_by_id": self.updated_by_id,
            "created_by_id": self.created_by_id,
            "origin_by_id": self.origin_by_id,
            "created_at": iso(self.created_at),
            "updated_at": iso(self.updated_at),
            "attachments": self.attachments,
            "type": TYPES[self.type_id],
            "sender": SENDERS[self.sender_id],
            "created_by": users[self.created_by_id].login,
            "updated_by": users[self.updated_by_id].login,
            **({"origin_by": origin} if origin else {}),
        }


@dataclass
class Ticket:
    """One ticket; `attributes` holds what the object manager added."""

    id: int
    number: str
    title: str
    group_id: int
    customer_id: int
    state_id: int
    priority_id: int
    created_at: datetime
    updated_at: datetime
    created_by_id: int
    updated_by_id: int
    owner_id: int = SYSTEM
    pending_time: datetime | None = None
    tags: list[str] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """The ticket's own columns."""
        return {
            "id": self.id,
            "group_id": self.group_id,
            "priority_id": self.priority_id,
            "state_id": self.state_id,
            "organization_id": None,
            "number": self.number,
            "title": self.title,
            "owner_id": self.owner_id,
            "customer_id": self.customer_id,
            "note": None,
            "pending_time": iso(self.pending_time) if self.pending_time else None,
            "preferences": {},
            "updated_by_id": self.updated_by_id,
            "created_by_id": self.created_by_id,
            "created_at": iso(self.created_at),
            "updated_at": iso(self.updated_at),
            **self.attributes,
        }
