"""The twin's records and how Zendesk writes them as JSON."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

STATUSES = ("new", "open", "pending", "hold", "solved", "closed")
PRIORITIES = ("low", "normal", "high", "urgent")
VIA_IDS = {"web": 0, "email": 4, "api": 5, "rule": 8, "linked_problem": 9, "merge": 19, "batch": 20, "mobile": 56}
"""The numeric via ids that trigger conditions compare with (Via types reference)."""


class ApiError(Exception):
    """An answer that is not 2xx, in the provider's own shape."""

    def __init__(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        super().__init__(str(body))
        self.status = status
        self.body = body
        self.headers = headers or {}


def invalid(field_name: str, description: str, error: str | None = None) -> ApiError:
    """422 with `details` keyed by field, as Zendesk writes validation errors."""
    item: dict[str, str] = {"description": description}
    if error:
        item["error"] = error
    body = {"error": "RecordInvalid", "description": "Record validation errors", "details": {field_name: [item]}}
    return ApiError(422, body)


def not_found() -> ApiError:
    """404 for a record that does not exist or was deleted."""
    return ApiError(404, {"error": "RecordNotFound", "description": "Not found"})


def iso(at: datetime) -> str:
    """Zendesk's time stamps: UTC, whole seconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def via(kind: str, *, source: int | None = None, target: int | None = None, title: str = "") -> dict[str, Any]:
    """A via object (Via object reference). `kind` is a short word of the twin's own for channel and relation."""
    origin: dict[str, Any] = {"from": {}, "to": {}, "rel": None}
    channel = kind
    if kind == "mobile":
        channel, origin["rel"] = "web", "mobile"
    elif kind == "batch":
        channel, origin["rel"] = "web", "batch"
    elif kind == "rule":
        origin.update({"from": {"id": 22472716, "title": title or "A trigger"}, "rel": "trigger"})
    elif kind == "automation":
        channel = "rule"
        origin.update({"from": {"id": 22472717, "title": title or "An automation"}, "rel": "automation"})
    elif kind == "merge":
        channel = "system"
        origin.update({"from": {"ticket_id": source} if source else {}, "rel": "merge"})
        origin["to"] = {"ticket_id": target} if target else {}
    elif kind == "linked_problem":
        channel = "system"
        origin.update({"from": {"ticket_id": source}, "rel": "linked_problem"})
    elif kind == "follow_up":
        channel = "api"
        origin.update({"from": {"ticket_id": source, "subject": title}, "rel": "follow_up"})
    elif kind == "email":
        origin.update(
            {"from": {"address": "sender@example.com", "name": title}, "to": {"address": "support@example.com"}}
        )
    return {"channel": channel, "source": origin}


def strip_tags(text: str) -> str:
    """What `body` does to HTML: tags go, everything else stays."""
    return re.sub(r"</?[a-zA-Z!][^<>]*>", "", text)


@dataclass
class User:
    """A person: staff, or a customer."""

    id: int
    name: str
    role: str
    created_at: datetime
    email: str | None = None
    external_id: str | None = None
    identities: list[dict[str, str]] = field(default_factory=list)
    suspended: bool = False
    only_private_comments: bool = False
    """Whether they are a light agent."""
    ticket_restriction: str | None = None

    @property
    def staff(self) -> bool:
        return self.role in ("agent", "admin")

    def json(self, base: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "url": f"{base}/api/v2/users/{self.id}.json",
            "name": self.name,
            "email": self.email,
            "role": self.role,
            "external_id": self.external_id,
            "active": True,
            "verified": self.staff,
            "suspended": self.suspended,
            "role_type": (1 if self.only_private_comments else 0) if self.staff else None,
            "only_private_comments": self.only_private_comments,
            "restricted_agent": self.ticket_restriction is not None,
            "ticket_restriction": self.ticket_restriction,
            "signature": None,
            "created_at": iso(self.created_at),
            "updated_at": iso(self.created_at),
        }


@dataclass
class Comment:
    """One comment of a ticket."""

    id: int
    audit_id: int
    author_id: int
    body: str
    public: bool
    created_at: datetime
    via: dict[str, Any]
    html_body: str | None = None
    attachments: list[dict[str, Any]] = field(default_factory=list)

    def event(self) -> dict[str, Any]:
        """The comment as an event of its audit. `public` is what it is now, also after a privacy change."""
        rendered = self.html_body or "<p>" + html.escape(self.body).replace("\n", "<br>") + "</p>"
        return {
            "id": self.id,
            "type": "Comment",
            "author_id": self.author_id,
            "body": self.body,
            "html_body": f'<div class="zd-comment" dir="auto">{rendered}</div>',
            "plain_body": self.body,
            "public": self.public,
            "attachments": self.attachments,
            "audit_id": self.audit_id,
        }

    def json(self, custom: dict[str, Any]) -> dict[str, Any]:
        """The comment as the comments endpoint lists it."""
        metadata = {"system": {"client": "twin", "ip_address": "127.0.0.1"}, "custom": custom}
        return {**self.event(), "via": self.via, "metadata": metadata, "created_at": iso(self.created_at)}


@dataclass
class Audit:
    """One update of a ticket, and the comment that came with it."""

    id: int
    ticket_id: int
    author_id: int
    created_at: datetime
    via: dict[str, Any]
    custom: dict[str, Any] = field(default_factory=dict)
    comment: Comment | None = None
    events: list[dict[str, Any]] = field(default_factory=list)

    def json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "ticket_id": self.ticket_id,
            "created_at": iso(self.created_at),
            "author_id": self.author_id,
            "metadata": {"system": {"client": "twin", "ip_address": "127.0.0.1"}, "custom": self.custom},
            "via": self.via,
            "events": ([self.comment.event()] if self.comment else []) + self.events,
        }


@dataclass
class Ticket:
    """One ticket with its audits."""

    id: int
    requester_id: int
    submitter_id: int
    created_at: datetime
    updated_at: datetime
    via: dict[str, Any]
    subject: str = ""
    external_id: str | None = None
    status: str = "new"
    priority: str | None = None
    type: str | None = None
    tags: list[str] = field(default_factory=list)
    custom_fields: dict[int, Any] = field(default_factory=dict)
    assignee_id: int | None = None
    group_id: int | None = None
    brand_id: int | None = None
    ticket_form_id: int | None = None
    audits: list[Audit] = field(default_factory=list)
    followup_ids: list[int] = field(default_factory=list)
    deleted: bool = False
    merged_into: int | None = None
    export_position: int = -1

    @property
    def comments(self) -> list[Comment]:
        return [audit.comment for audit in self.audits if audit.comment is not None]

    @property
    def comment_count(self) -> int:
        return sum(1 for audit in self.audits if audit.comment is not None)

    def json(self, base: str) -> dict[str, Any]:
        first = next((audit.comment for audit in self.audits if audit.comment is not None), None)
        return {
            "id": self.id,
            "url": f"{base}/api/v2/tickets/{self.id}.json",
            "external_id": self.external_id,
            "via": self.via,
            "created_at": iso(self.created_at),
            "updated_at": iso(self.updated_at),
            "generated_timestamp": int(self.updated_at.timestamp()),
            "type": self.type,
            "subject": self.subject,
            "raw_subject": self.subject,
            "description": first.body if first else "",
            "priority": self.priority,
            "status": "deleted" if self.deleted else self.status,
            "requester_id": self.requester_id,
            "submitter_id": self.submitter_id,
            "assignee_id": self.assignee_id,
            "group_id": self.group_id,
            "brand_id": self.brand_id,
            "ticket_form_id": self.ticket_form_id,
            "tags": list(self.tags),
            "custom_fields": [{"id": key, "value": value} for key, value in self.custom_fields.items()],
            "followup_ids": list(self.followup_ids),
            "is_public": any(comment.public for comment in self.comments),
        }


@dataclass
class Job:
    """Work that an answer promised: a bulk change."""

    id: str
    type: str
    total: int
    items: list[dict[str, Any]]
    created_at: datetime
    status: str = "queued"
    progress: int = 0
    message: str | None = None
    results: Any = None

    def json(self, base: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "job_type": self.type,
            "url": f"{base}/api/v2/job_statuses/{self.id}.json",
            "total": self.total,
            "progress": self.progress,
            "status": self.status,
            "message": self.message,
            "results": self.results,
        }
