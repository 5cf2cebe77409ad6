"""Tickets that are not the gateway's: by which channel they came and when they were served, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from gateway_schemas.ticket import ForeignTicket, TraditionalChannel
from gateway_zendesk.words import moment

CHANNELS: dict[str, TraditionalChannel] = {
    "email": "email",
    "mail": "email",
    "voice": "phone",
    "phone": "phone",
    "web": "form",
    "web_widget": "form",
    "help_center": "form",
    "mobile": "form",
}
"""`via.channel` of a ticket (Via object reference). Chats, social channels and the API are none of these."""
_GONE = "closed_by_merge"
_TIMES = ("id", "created_at", "updated_at", "status")


def reduced(ticket: Mapping[str, Any]) -> dict[str, Any] | None:
    """What is kept of an exported ticket with its `metric_set`; None for one of another channel.

    The export gives the metrics with `include=metric_sets`, as an object within each ticket (Side-loading).
    """
    via, tags, metrics = ticket.get("via"), ticket.get("tags"), ticket.get("metric_set")
    channel = CHANNELS.get(str(via.get("channel"))) if isinstance(via, dict) else None
    if channel is None:
        return None
    kept: dict[str, Any] = {name: ticket.get(name) for name in _TIMES}
    if isinstance(tags, list) and _GONE in tags:
        kept["status"] = "deleted"
    found = metrics if isinstance(metrics, dict) else {}
    minutes = found.get("reply_time_in_minutes")
    return kept | {
        "channel": channel,
        "reply_minutes": minutes.get("calendar") if isinstance(minutes, dict) else None,
        "solved_at": found.get("solved_at"),
        "reopens": found.get("reopens"),
    }


def read(kept: Mapping[str, Any]) -> ForeignTicket | None:
    """What `reduced` kept, in our vocabulary; None where it has no times."""
    created, updated = moment(kept.get("created_at")), moment(kept.get("updated_at"))
    if created is None or updated is None or not str(kept.get("id", "")).isdigit():
        return None
    minutes, reopens, status = kept.get("reply_minutes"), kept.get("reopens"), kept.get("status")
    answered = isinstance(minutes, int) and minutes >= 0
    return ForeignTicket(
        ticket=str(kept["id"]),
        channel=kept["channel"],
        created_at=created,
        first_answered_at=created + timedelta(minutes=minutes) if answered and minutes is not None else None,
        solved_at=moment(kept.get("solved_at")) if status in ("solved", "closed") else None,
        reopened=reopens if isinstance(reopens, int) and reopens > 0 else 0,
        deleted=status == "deleted",
        updated_at=updated,
    )
