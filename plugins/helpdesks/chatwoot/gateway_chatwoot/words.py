"""Chatwoot's words and ours: statuses, priorities, kinds of messages, times and ids."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from gateway_schemas.ticket import Priority, TicketStatus

MessageKind = Literal["incoming", "outgoing", "activity", "template"]

OUR_STATUS: dict[str, TicketStatus] = {
    "open": "open",
    "pending": "waiting",
    "snoozed": "waiting",
    "resolved": "solved",
}
THEIR_STATUS: dict[TicketStatus, str] = {
    "new": "open",
    "open": "open",
    "waiting": "pending",
    "solved": "resolved",
    "closed": "resolved",
}
"""Chatwoot has no status that is final: a customer's next message opens a resolved conversation again."""

THEIR_PRIORITY: dict[Priority, str] = {"low": "low", "normal": "medium", "high": "high", "urgent": "urgent"}
OUR_PRIORITY: dict[str, Priority] = {theirs: ours for ours, theirs in THEIR_PRIORITY.items()}

_KINDS: tuple[MessageKind, ...] = ("incoming", "outgoing", "activity", "template")


def kind_of(value: object) -> MessageKind | None:
    """The `message_type` of a message: a number in answers of the API, a word in webhooks."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(_KINDS):
        return _KINDS[value]
    return next((kind for kind in _KINDS if kind == value), None)


def moment(value: object) -> datetime | None:
    """A time stamp: seconds since the epoch in answers of the API, ISO 8601 in webhooks; None when unreadable."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC) if value > 0 else None
        at = datetime.fromisoformat(str(value).replace(" UTC", "+00:00"))
    except (ValueError, OverflowError, OSError):
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def number(value: object) -> int | None:
    """An id out of foreign JSON, also where it came as text; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if value > 0 else None
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19 else None


def words(value: object) -> str | None:
    """Text out of foreign JSON; None for what is empty or no text."""
    return value if isinstance(value, str) and value else None
