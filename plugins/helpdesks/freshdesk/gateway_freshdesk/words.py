"""Freshdesk's numbers and ours: statuses, priorities, and how a conversation came about."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from gateway_schemas.ticket import AnswerOrigin, Priority, TicketStatus

OPEN, PENDING, RESOLVED, CLOSED = 2, 3, 4, 5

STATUSES: dict[int, TicketStatus] = {OPEN: "open", PENDING: "waiting", RESOLVED: "solved", CLOSED: "closed"}
"""From 6 on the account's own statuses begin."""

PRIORITIES: dict[Priority, int] = {"low": 1, "normal": 2, "high": 3, "urgent": 4}

NATIVE_SOURCES = {5: "X (Twitter)", 6: "Facebook", 13: "WhatsApp"}
"""Sources of tickets that Freshdesk's own social channels make."""

REPLY, NOTE, FORWARD = 0, 2, 8


def origin_of(
    conversation: Mapping[str, Any], *, merged: bool, by_api_user: bool, replies_publish: bool
) -> AnswerOrigin:
    """How an agent's conversation was made, as far as the API tells.

    Automations leave their id on what they write, merges are proven by both tickets, and the API user is known by its
    id. A reply (source 0) went out as an e-mail, and may have come in as one or been sent to many tickets at once:
    nothing tells these apart. A note from the mobile app, from a scenario an agent ran or by another integration with
    that agent's key looks like one typed in the ticket. Any other source is a channel of Freshdesk's own.
    """
    source = conversation.get("source")
    if conversation.get("automation_id") is not None or conversation.get("auto_response") is True:
        return "rule"
    if merged:
        return "merge"
    if by_api_user:
        return "api"
    if source == NOTE:
        return "composer"
    if source == REPLY:
        return "composer" if replies_publish else "email"
    return "email" if source == FORWARD else "api"


def moment(value: object) -> datetime | None:
    """A Freshdesk time stamp (ISO 8601); None when unreadable."""
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def iso(at: datetime) -> str:
    """A time as Freshdesk takes it in queries and fields: UTC, whole seconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def number(value: object) -> int | None:
    """An id out of foreign JSON, also where it came as text; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if value > 0 else None
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19 else None
