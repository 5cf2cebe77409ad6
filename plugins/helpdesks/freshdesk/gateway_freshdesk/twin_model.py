"""The twin's records and how Freshdesk writes them as JSON."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

OPEN, PENDING, RESOLVED, CLOSED = 2, 3, 4, 5
SETTABLE_SOURCES = {"Email": 1, "Portal": 2, "Phone": 3, "Chat": 7, "Feedback Widget": 9, "Outbound Email": 10}


class ApiError(Exception):
    """An answer that is not 2xx, in the provider's own shape."""

    def __init__(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        super().__init__(str(body))
        self.status = status
        self.body = body
        self.headers = headers or {}


def problem(name: str, message: str, code: str) -> dict[str, Any]:
    """One entry of a validation error's `errors`."""
    return {"field": name, "message": message, "code": code}


def invalid(*errors: dict[str, Any], status: int = 400) -> ApiError:
    """400 with all that is wrong at once, as Freshdesk validates."""
    return ApiError(status, {"description": "Validation failed", "errors": list(errors)})


def not_found() -> ApiError:
    """404 has an empty body at Freshdesk."""
    return ApiError(404, None)


def not_allowed(method: str) -> ApiError:
    """405, also for what lies in the trash."""
    message = f"{method} method is not allowed. It should be one of these method(s): GET"
    return ApiError(405, {"message": message}, {"Allow": "GET"})


def iso(at: datetime) -> str:
    """Freshdesk's time stamps: UTC, whole seconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def plain(markup: str) -> str:
    """What `body_text` makes of HTML: tags become spaces, paragraphs run together."""
    return html.unescape(re.sub(r"<[^<>]*>", " ", markup)).strip()


def sanitised(markup: str) -> str:
    """What is stored of HTML: no scripts, no handlers, no comments, no attributes but a few."""
    markup = re.sub(r"(?is)<(script|style)\b.*?</\1>|<!--.*?-->", "", markup)
    return re.sub(r"""\s(?:on\w+|data-[\w-]+|class|id)=("[^"]*"|'[^']*'|[^\s>]+)""", "", markup)


@dataclass
class Person:
    """A contact, or with a `role` an agent: both are users and share their ids."""

    id: int
    name: str
    created_at: datetime
    email: str | None = None
    unique_external_id: str | None = None
    role: str | None = None
    ticket_scope: int = 1
    occasional: bool = False
    type: str = "support_agent"
    active: bool = True
    deleted: bool = False

    @property
    def agent(self) -> bool:
        return self.role is not None

    def json(self) -> dict[str, Any]:
        """As `/contacts` shows it."""
        return {
            "id": self.id,
            "name": self.name,
            "email": self.email,
            "unique_external_id": self.unique_external_id,
            "active": self.active,
            "phone": None,
            "mobile": None,
            "twitter_id": None,
            "custom_fields": {},
            "tags": [],
            "created_at": iso(self.created_at),
            "updated_at": iso(self.created_at),
        }

    def agent_json(self) -> dict[str, Any]:
        """As `/agents` shows it."""
        return {
            "id": self.id,
            "available": True,
            "occasional": self.occasional,
            "ticket_scope": self.ticket_scope,
            "type": self.type,
            "role_ids": [1 if self.role == "admin" else 2],
            "group_ids": [],
            "signature": None,
            "created_at": iso(self.created_at),
            "updated_at": iso(self.created_at),
            "contact": {"name": self.name, "email": self.email, "active": self.active, "mobile": None, "phone": None},
        }


@dataclass
class Conversation:
    """A note or a reply on a ticket."""

    id: int
    ticket_id: int
    user_id: int
    body: str
    source: int
    incoming: bool
    private: bool
    created_at: datetime
    updated_at: datetime
    automation_id: int | None = None
    automation_type_id: int | None = None
    last_edited_at: datetime | None = None
    attachments: list[dict[str, Any]] = field(default_factory=list)

    def json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "body": self.body,
            "body_text": plain(self.body),
            "incoming": self.incoming,
            "private": self.private,
            "user_id": self.user_id,
            "support_email": None,
            "source": self.source,
            "category": 1 if self.source == 0 else 2,
            "ticket_id": self.ticket_id,
            "to_emails": [],
            "from_email": None,
            "cc_emails": [],
            "bcc_emails": None,
            "auto_response": False,
            "automation_id": self.automation_id,
            "automation_type_id": self.automation_type_id,
            "source_additional_info": None,
            "last_edited_at": iso(self.last_edited_at) if self.last_edited_at else None,
            "last_edited_user_id": None,
            "created_at": iso(self.created_at),
            "updated_at": iso(self.updated_at),
            "attachments": self.attachments,
        }


@dataclass
class Ticket:
    """One ticket with its conversations."""

    id: int
    requester_id: int
    subject: str
    description: str
    status: int
    priority: int
    source: int
    created_at: datetime
    updated_at: datetime
    type: str | None = None
    responder_id: int | None = None
    group_id: int | None = None
    product_id: int | None = None
    tags: list[str] = field(default_factory=list)
    custom_fields: dict[str, Any] = field(default_factory=dict)
    conversations: list[Conversation] = field(default_factory=list)
    attachments: list[dict[str, Any]] = field(default_factory=list)
    closed_at: datetime | None = None
    resolved_at: datetime | None = None
    reopened_at: datetime | None = None
    deleted: bool = False
    spam: bool = False
    merged_into: int | None = None

    def json(self, *, description: bool = True, stats: bool = False) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "id": self.id,
            "subject": self.subject,
            "status": self.status,
            "priority": self.priority,
            "source": self.source,
            "type": self.type,
            "requester_id": self.requester_id,
            "responder_id": self.responder_id,
            "group_id": self.group_id,
            "company_id": None,
            "product_id": self.product_id,
            "email_config_id": None,
            "cc_emails": [],
            "fwd_emails": [],
            "reply_cc_emails": [],
            "to_emails": None,
            "tags": list(self.tags),
            "custom_fields": dict(self.custom_fields),
            "association_type": None,
            "is_escalated": False,
            "fr_escalated": False,
            "spam": self.spam,
            "created_at": iso(self.created_at),
            "updated_at": iso(self.updated_at),
        }
        if self.deleted:
            shown["deleted"] = True
        if description:
            shown |= {"description": self.description, "description_text": plain(self.description)}
            shown["attachments"] = list(self.attachments)
        if stats:
            answers = [one.created_at for one in self.conversations if not one.incoming and not one.private]
            theirs = [one.created_at for one in self.conversations if one.incoming]
            shown["stats"] = {
                "agent_responded_at": iso(max(answers)) if answers else None,
                "requester_responded_at": iso(max(theirs)) if theirs else None,
                "first_responded_at": iso(min(answers)) if answers else None,
                "status_updated_at": iso(self.updated_at),
                "reopened_at": iso(self.reopened_at) if self.reopened_at else None,
                "resolved_at": iso(self.resolved_at) if self.resolved_at else None,
                "closed_at": iso(self.closed_at) if self.closed_at else None,
                "pending_since": None,
            }
        return shown
