"""What the twin keeps: people, contacts, inboxes, conversations and messages, in the shapes of Chatwoot's answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

KINDS = ("incoming", "outgoing", "activity", "template")
STATUSES = ("open", "resolved", "pending", "snoozed")
PRIORITIES = ("urgent", "high", "medium", "low")


class ApiError(Exception):
    """A refusal, with Chatwoot's status and body."""

    def __init__(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body
        self.headers = headers or {}


def not_found() -> ApiError:
    """Whatever is not there."""
    return ApiError(404, {"error": "Resource could not be found"})


def invalid(message: str, *attributes: str) -> ApiError:
    """A record that is not valid."""
    return ApiError(422, {"message": message, "attributes": list(attributes)})


def refused(error: str) -> ApiError:
    """A request that cannot be done."""
    return ApiError(422, {"error": error})


def epoch(at: datetime) -> int:
    """A time as most answers have it."""
    return int(at.timestamp())


def iso(at: datetime) -> str:
    """A time as webhooks have it."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass
class Person:
    """A user of the account."""

    id: int
    name: str
    email: str
    role: str = "agent"

    def json(self) -> dict[str, Any]:
        """As an agent of the account."""
        return {
            "id": self.id,
            "account_id": 1,
            "availability_status": "online",
            "auto_offline": True,
            "confirmed": True,
            "email": self.email,
            "available_name": self.name,
            "name": self.name,
            "role": self.role,
            "thumbnail": "",
            "custom_role_id": None,
        }

    def sender(self) -> dict[str, Any]:
        """As the sender of a message."""
        return {
            "id": self.id,
            "name": self.name,
            "available_name": self.name,
            "avatar_url": "",
            "type": "user",
            "availability_status": "online",
            "thumbnail": "",
        }

    def webhook(self) -> dict[str, Any]:
        """As webhooks name it."""
        return {"id": self.id, "name": self.name, "email": self.email, "type": "user"}


@dataclass
class Contact:
    """A customer."""

    id: int
    name: str
    identifier: str | None
    created_at: datetime
    email: str | None = None
    phone_number: str | None = None
    additional_attributes: dict[str, Any] = field(default_factory=dict)
    custom_attributes: dict[str, Any] = field(default_factory=dict)
    inboxes: dict[int, str] = field(default_factory=dict)
    """Its `source_id` in each inbox."""

    def json(self) -> dict[str, Any]:
        """As a contact."""
        return {
            "additional_attributes": self.additional_attributes,
            "availability_status": "offline",
            "email": self.email or "",
            "id": self.id,
            "name": self.name,
            "phone_number": self.phone_number,
            "blocked": False,
            "identifier": self.identifier,
            "thumbnail": "",
            "custom_attributes": self.custom_attributes,
            "last_activity_at": epoch(self.created_at),
            "created_at": epoch(self.created_at),
            "contact_inboxes": [
                {"source_id": source, "inbox": {"id": inbox, "channel_type": "Channel::Api"}}
                for inbox, source in self.inboxes.items()
            ],
        }

    def sender(self) -> dict[str, Any]:
        """As the sender of a message, and in a conversation's `meta`."""
        reduced = self.json()
        del reduced["contact_inboxes"]
        return {**reduced, "email": self.email, "type": "contact"}


@dataclass
class Message:
    """One message of a conversation."""

    id: int
    conversation_id: int
    inbox_id: int
    content: str
    kind: str
    private: bool
    created_at: datetime
    sender: Person | Contact | str | None = None
    """Who wrote it; a text is a bot's name."""
    source_id: str | None = None
    content_attributes: dict[str, Any] = field(default_factory=dict)
    additional_attributes: dict[str, Any] = field(default_factory=dict)
    external_source_ids: dict[str, Any] = field(default_factory=dict)
    attachments: list[dict[str, Any]] = field(default_factory=list)
    status: str = "sent"
    echo_id: str | None = None
    content_type: str = "text"

    def json(self) -> dict[str, Any]:
        """As the API answers it: `message_type` is a number, times are seconds."""
        found: dict[str, Any] = {
            "id": self.id,
            "content": self.content,
            "account_id": 1,
            "inbox_id": self.inbox_id,
            "conversation_id": self.conversation_id,
            "message_type": KINDS.index(self.kind),
            "created_at": epoch(self.created_at),
            "updated_at": iso(self.created_at),
            "private": self.private,
            "status": self.status,
            "source_id": self.source_id,
            "content_type": self.content_type,
            "content_attributes": self.content_attributes,
            "sender_type": self._sender_type(),
            "sender_id": self.sender.id if isinstance(self.sender, Person | Contact) else 1 if self.sender else None,
            "external_source_ids": self.external_source_ids,
            "additional_attributes": self.additional_attributes,
            "processed_message_content": self.content,
            "sentiment": {},
        }
        sender = self._sender(webhook=False)
        if sender is not None:
            found["sender"] = sender
        if self.attachments:
            found["attachments"] = self.attachments
        return found

    def webhook(self) -> dict[str, Any]:
        """As webhooks tell it: `message_type` is a word, times are ISO 8601."""
        found: dict[str, Any] = {
            "id": self.id,
            "content": self.content,
            "content_type": self.content_type,
            "content_attributes": self.content_attributes,
            "additional_attributes": self.additional_attributes,
            "message_type": self.kind,
            "private": self.private,
            "source_id": self.source_id,
            "created_at": iso(self.created_at),
            "sender": self._sender(webhook=True),
        }
        if self.attachments:
            found["attachments"] = self.attachments
        return found

    def _sender_type(self) -> str | None:
        if isinstance(self.sender, Person):
            return "User"
        if isinstance(self.sender, Contact):
            return "Contact"
        return "AgentBot" if self.sender else None

    def _sender(self, *, webhook: bool) -> dict[str, Any] | None:
        if isinstance(self.sender, Person):
            return self.sender.webhook() if webhook else self.sender.sender()
        if isinstance(self.sender, Contact):
            return self.sender.sender()
        return {"id": 1, "name": self.sender, "type": "agent_bot"} if self.sender else None


@dataclass
class Conversation:
    """One conversation. Its `id` is what the API calls the display id."""

    id: int
    inbox_id: int
    contact: Contact
    created_at: datetime
    updated_at: datetime
    last_activity_at: datetime
    status: str = "open"
    priority: str | None = None
    labels: list[str] = field(default_factory=list)
    custom_attributes: dict[str, Any] = field(default_factory=dict)
    additional_attributes: dict[str, Any] = field(default_factory=dict)
    assignee: Person | None = None
    team: int | None = None
    snoozed_until: int | None = None
    messages: list[Message] = field(default_factory=list)

    def json(self) -> dict[str, Any]:
        """As the API answers it, and as webhooks carry it."""
        assignee = {"assignee": self.assignee.json()} if self.assignee else {}
        team = {"team": {"id": self.team}} if self.team else {}
        return {
            "id": self.id,
            "account_id": 1,
            "uuid": f"00000000-0000-4000-8000-{self.id:012d}",
            "messages": [one.json() for one in self.messages[-1:]],
            "meta": {
                "sender": {key: value for key, value in self.contact.sender().items() if key != "type"},
                "channel": "Channel::Api",
                "hmac_verified": False,
                **assignee,
                **team,
            },
            "additional_attributes": self.additional_attributes,
            "agent_last_seen_at": 0,
            "assignee_last_seen_at": 0,
            "can_reply": True,
            "contact_last_seen_at": 0,
            "custom_attributes": dict(self.custom_attributes),
            "inbox_id": self.inbox_id,
            "labels": list(self.labels),
            "muted": False,
            "snoozed_until": self.snoozed_until,
            "status": self.status,
            "created_at": epoch(self.created_at),
            "updated_at": self.updated_at.timestamp(),
            "timestamp": epoch(self.last_activity_at),
            "first_reply_created_at": None,
            "unread_count": 0,
            "last_activity_at": epoch(self.last_activity_at),
            "priority": self.priority,
            "waiting_since": 0,
        }
