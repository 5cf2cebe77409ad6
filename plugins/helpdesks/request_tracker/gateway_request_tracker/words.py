"""RT's statuses, priorities and kinds of transactions in the gateway's words."""

from __future__ import annotations

from datetime import UTC, datetime

from gateway_schemas.ticket import AnswerOrigin, Priority, TicketStatus

NEW, OPEN, STALLED, RESOLVED, REJECTED, DELETED = "new", "open", "stalled", "resolved", "rejected", "deleted"

STATUSES: dict[str, TicketStatus] = {
    NEW: "new",
    OPEN: "open",
    STALLED: "waiting",
    RESOLVED: "solved",
    REJECTED: "closed",
}
"""Those of the lifecycle `default`. `deleted` is no status a ticket of ours is read in."""

PRIORITIES: dict[Priority, int] = {"low": 0, "normal": 50, "high": 80, "urgent": 100}
"""RT has numbers; where it shows words, 0 is Low, 50 Medium and 100 High."""

CORRESPOND, COMMENT, CREATE = "Correspond", "Comment", "Create"
MAIL_RECORDS = ("EmailRecord", "CommentEmailRecord")
"""Transactions that say that RT sent a mail."""
SYSTEM = "RT_System"
NOBODY = "Nobody"


def origin_of(interface: str | None, *, by_system: bool, moved: bool, by_api_user: bool, rest: bool) -> AnswerOrigin:
    """How an agent's correspondence was made: RT writes the interface into its header `X-RT-Interface`.

    `moved` came here with a ticket that was merged into this one. What RT's own web pages write to many tickets at once
    says Web like everything else.
    """
    if by_system or interface == "CLI":
        return "rule"
    if moved:
        return "merge"
    if by_api_user:
        return "api"
    match interface:
        case "Web" | "Mobile":
            return "composer"
        case "Email":
            return "email"
        case "REST" | "REST2":
            return "app" if rest else "api"
    return "api"


def moment(value: object) -> datetime | None:
    """An RT time stamp (ISO 8601, whole seconds); None when unreadable, or 1970, which is RT's word for never."""
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return at if at.year > 1970 else None


def number(value: object) -> int | None:
    """An id out of foreign JSON: a number in one answer, text in the next; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if value > 0 else None
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19 else None


def name_of(value: object) -> str | None:
    """The `id` of a reference such as `{"type": "user", "id": "ada", "_url": …}`."""
    found = value.get("id") if isinstance(value, dict) else None
    return str(found) if isinstance(found, str | int) and not isinstance(found, bool) and found != "" else None


def text(value: object) -> str | None:
    """A text that is one and not empty."""
    return value if isinstance(value, str) and value else None
