"""Zendesk's words and ours: statuses, and how a comment came about."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from gateway_schemas.ticket import AnswerOrigin, TicketStatus

OUR_STATUS: dict[str, TicketStatus] = {
    "new": "new",
    "open": "open",
    "pending": "waiting",
    "hold": "waiting",
    "solved": "solved",
    "closed": "closed",
}

_BY_ID: dict[int, str] = {
    0: "web",
    4: "email",
    5: "api",
    8: "rule",
    9: "linked_problem",
    15: "mobile",
    19: "merge",
    20: "batch",
    56: "mobile",
}
"""Numbers that may stand for a channel (Via types reference)."""

_BY_RELATION: dict[str, AnswerOrigin] = {
    "trigger": "rule",
    "automation": "rule",
    "merge": "merge",
    "batch": "bulk",
    "linked_problem": "bulk",
    "problem": "bulk",
    "mobile": "app",
}

_BY_CHANNEL: dict[str, AnswerOrigin] = {
    "web": "composer",
    "web_form": "composer",
    "mobile": "app",
    "iphone": "app",
    "ipad": "app",
    "android": "app",
    "windows_phone": "app",
    "email": "email",
    "mail": "email",
    "rule": "rule",
    "merge": "merge",
    "batch": "bulk",
    "linked_problem": "bulk",
    "api": "api",
    "web_service": "api",
}


def our_status(theirs: object) -> TicketStatus | None:
    """Zendesk's status (or status category, in any case) in our words; None for one that we do not know."""
    return OUR_STATUS.get(theirs.lower()) if isinstance(theirs, str) else None


def their_status(ours: TicketStatus, *, waiting: str, creating: bool) -> str:
    """Our status for a request. A ticket that exists cannot become new again, so `new` then means `open`."""
    if ours == "waiting":
        return waiting
    return "open" if ours == "new" and not creating else ours


def origin_of(via: object) -> AnswerOrigin:
    """How a comment was made, from the via object of its event or audit (Via object reference).

    The relation is looked at first: it tells merges, business rules, bulk updates (`batch`) and answers that a solved
    problem copied to its incidents (`linked_problem`) from what a person typed. A channel that is none of composer,
    app, e-mail or rule (chat, messaging, voice, one added next year) counts as `api`.
    """
    channel, source = _parts(via)
    relation = source.get("rel")
    if isinstance(relation, str) and relation in _BY_RELATION:
        return _BY_RELATION[relation]
    return _BY_CHANNEL.get(channel, "api")


def is_merge(via: object) -> bool:
    """Whether this update was a merge."""
    channel, source = _parts(via)
    return channel == "merge" or source.get("rel") == "merge"


def merge_target(via: object, own: int) -> tuple[int | None, int | None]:
    """The other ticket that a merge's via object names, as (in `to`, in `from`); None where it names none but `own`."""
    _, source = _parts(via)
    return _ticket_in(source.get("to"), own), _ticket_in(source.get("from"), own)


def moment(value: object) -> datetime | None:
    """A Zendesk time stamp (ISO 8601, with or without fractions of a second); None when unreadable."""
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _ticket_in(side: object, own: int) -> int | None:
    if not isinstance(side, dict):
        return None
    many = side.get("ticket_ids")
    for found in (side.get("ticket_id"), *(many if isinstance(many, list) and len(many) == 1 else ())):
        if isinstance(found, (int, str)) and str(found).isdigit() and int(found) != own:
            return int(found)
    return None


def _parts(via: object) -> tuple[str, dict[str, Any]]:
    if not isinstance(via, dict):
        return "", {}
    channel, source = via.get("channel"), via.get("source")
    name = _BY_ID.get(channel, "") if isinstance(channel, int) else str(channel or "")
    return name.lower(), source if isinstance(source, dict) else {}
