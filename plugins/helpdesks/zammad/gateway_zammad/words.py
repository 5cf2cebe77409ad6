"""Zammad's states, priorities and kinds of articles in the gateway's words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from gateway_schemas.ticket import AnswerOrigin, Priority, TicketStatus

MERGED, REMOVED, CLOSED = "merged", "removed", "closed"

STATES: dict[str, TicketStatus] = {
    "new": "new",
    "open": "open",
    "pending reminder": "waiting",
    "pending close": "waiting",
    CLOSED: "closed",
    MERGED: "closed",
    REMOVED: "closed",
}
"""What Zammad installs. An account may rename these and add its own."""

PRIORITIES: dict[Priority, str] = {"low": "1 low", "normal": "2 normal", "high": "3 high", "urgent": "3 high"}
"""Names carry their number. Zammad has three; urgent is another account's fourth, or high."""

TYPED = frozenset({"note", "web"})
"""Types of articles that are written in the ticket itself. A `phone` article records a call, and is no answer."""


def origin_of(article: Mapping[str, Any], *, merged: bool, by_api_user: bool, mails_publish: bool) -> AnswerOrigin:
    """How an agent's article was made, as far as the API tells.

    Triggers, schedulers and macros with notes leave `perform_origin` in the article's preferences, and the first two
    write as the sender System. A merge leaves an article of its own on the ticket that it empties. An e-mail may have
    come in as one. Another integration with an agent's token, and a note written to many tickets at once, look like one
    typed in the ticket. Any other type records a call or belongs to a channel of Zammad's own.
    """
    preferences = article.get("preferences")
    if article.get("sender") == "System" or (isinstance(preferences, dict) and preferences.get("perform_origin")):
        return "rule"
    if merged:
        return "merge"
    if by_api_user:
        return "api"
    kind = article.get("type")
    if isinstance(kind, str) and kind in TYPED:
        return "composer"
    if kind == "email":
        return "composer" if mails_publish else "email"
    return "api"


def moment(value: object) -> datetime | None:
    """A Zammad time stamp (ISO 8601 in UTC, with milliseconds); None when unreadable."""
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def iso(at: datetime) -> str:
    """A time as Zammad takes and gives it: UTC, milliseconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def number(value: object) -> int | None:
    """An id out of foreign JSON, also where it came as text; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if value > 0 else None
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19 else None


def text(value: object) -> str | None:
    """A text that is one and not empty."""
    return value if isinstance(value, str) and value else None
