"""Tickets that are not the gateway's: by which channel they came and when they were served, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway_freshdesk.words import CLOSED, RESOLVED, moment, number
from gateway_schemas.ticket import ForeignTicket, TraditionalChannel

CHANNELS: dict[int, TraditionalChannel] = {1: "email", 2: "form", 3: "phone", 9: "form"}
"""`source` of a ticket: e-mail, portal, phone, feedback widget. Chat, social channels and mail sent out are none."""
_KEPT = ("id", "status", "deleted", "spam", "created_at", "updated_at")
_STATS = ("first_responded_at", "resolved_at", "closed_at", "reopened_at")


def reduced(ticket: Mapping[str, Any]) -> dict[str, Any] | None:
    """What is kept of a listed ticket with its `stats` (`include=stats`); None for one of another channel."""
    source, stats = ticket.get("source"), ticket.get("stats")
    channel = CHANNELS.get(source) if isinstance(source, int) else None
    if channel is None:
        return None
    found = stats if isinstance(stats, dict) else {}
    kept = {name: ticket.get(name) for name in _KEPT} | {name: found.get(name) for name in _STATS}
    return {**kept, "channel": channel}


def read(kept: Mapping[str, Any]) -> ForeignTicket | None:
    """What `reduced` kept, in our vocabulary; None where it has no times.

    Freshdesk tells when a ticket was opened again last, and not how often.
    """
    id, created, updated = number(kept.get("id")), moment(kept.get("created_at")), moment(kept.get("updated_at"))
    if id is None or created is None or updated is None:
        return None
    solved = moment(kept.get("resolved_at")) or moment(kept.get("closed_at"))
    return ForeignTicket(
        ticket=str(id),
        channel=kept["channel"],
        created_at=created,
        first_answered_at=moment(kept.get("first_responded_at")),
        solved_at=solved if kept.get("status") in (RESOLVED, CLOSED) else None,
        reopened=1 if moment(kept.get("reopened_at")) is not None else 0,
        deleted=kept.get("deleted") is True or kept.get("spam") is True,
        updated_at=updated,
    )
