"""Payloads of the twin's event subscriptions (`zen:event-type:ticket.*`): ids are strings, enumerations upper case."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gateway_zendesk.twin_model import iso

if TYPE_CHECKING:
    from gateway_zendesk.twin_desk import Desk, Happening

PREFIX = "zen:event-type:ticket."


def event_payloads(happening: Happening, desk: Desk, account_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every event that one audit gives: its type and its body."""
    for name, event in _events(happening, desk):
        yield PREFIX + name, _envelope(PREFIX + name, event, happening, account_id)


def _events(happening: Happening, desk: Desk) -> Iterator[tuple[str, dict[str, Any]]]:
    if happening.deleted:
        yield "soft_deleted", {}
        return
    if happening.type == "Create":
        yield "created", {}
    comment = happening.audit.comment
    if comment is not None:
        author = desk.people.all[comment.author_id]
        yield (
            "comment_added",
            {
                "comment": {
                    "id": str(comment.id),
                    "body": comment.body,
                    "is_public": comment.public,
                    "author": {"id": str(author.id), "is_staff": author.staff, "name": author.name},
                }
            },
        )
    if happening.made_private is not None:
        yield "comment_made_private", {"comment": {"id": str(happening.made_private.id)}}
    for change in happening.audit.events:
        if change["type"] != "Change":
            continue
        name, value, previous = change["field_name"], change["value"], change.get("previous_value")
        if name in ("status", "priority"):
            sides = {"previous": previous and str(previous).upper(), "current": value and str(value).upper()}
            yield f"{name}_changed", sides
        elif name == "tags":
            added = [tag for tag in value if tag not in (previous or [])]
            removed = [tag for tag in previous or [] if tag not in value]
            yield "tags_changed", {"tags_added": added, "tags_removed": removed}
        elif name == "assignee_id":
            yield "agent_assignment_changed", {"previous": previous and str(previous), "current": value and str(value)}
    if happening.via == "merge" and happening.ticket.merged_into is not None:
        yield "merged", {"target_ticket_id": str(happening.ticket.merged_into)}


def _envelope(kind: str, event: dict[str, Any], happening: Happening, account_id: str) -> dict[str, Any]:
    ticket = happening.ticket
    return {
        "type": kind,
        "account_id": int(account_id),
        "id": str(uuid.uuid4()),
        "time": iso(happening.audit.created_at).replace("Z", ".123456789Z"),
        "zendesk_event_version": "2022-11-06",
        "subject": f"zen:ticket:{ticket.id}",
        "detail": {
            "actor_id": str(happening.updater.id),
            "assignee_id": ticket.assignee_id and str(ticket.assignee_id),
            "created_at": iso(ticket.created_at),
            "external_id": ticket.external_id,
            "id": str(ticket.id),
            "is_public": True,
            "priority": ticket.priority and ticket.priority.upper(),
            "requester_id": str(ticket.requester_id),
            "status": "DELETED" if ticket.deleted else ticket.status.upper(),
            "subject": ticket.subject,
            "submitter_id": str(ticket.submitter_id),
            "tags": list(ticket.tags),
            "updated_at": iso(ticket.updated_at),
            "via": {"channel": ticket.via["channel"]},
        },
        "event": {**event, "meta": {"sequence": {"id": uuid.uuid4().hex, "position": 1}}},
    }
