"""Folds pending pushes of a ticket into one change: fields together, and at most one comment a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from gateway.pipeline import wording
from gateway.restored import stable_id
from gateway_schemas.ticket import GatewayFields, OutgoingComment, Requester, TicketChange

COMMENTING = ("comment", "note", "mark")
DIGEST_LENGTH = 20_000
"""Characters of messages that one digest comment carries; the rest goes into the next. Helpdesks take about 64 KB."""


@dataclass(frozen=True)
class Change:
    """One call's worth of a ticket's pushes."""

    key: str
    ticket_id: UUID
    change: TicketChange
    push_ids: tuple[int, ...]
    push_keys: tuple[str, ...]
    epoch: int
    started_at: datetime
    tries: int
    lane: int = 1
    interaction_id: UUID | None = None
    """The first of the messages that it tells of."""
    doubted: bool = False
    """Asked after before it is told: see `gateway.restored`."""
    until: float = 0.0
    """By the monotonic clock, from before the claim was written: the call ends by then, before the rows' deadline."""


def ticket_key(ticket_id: UUID) -> str:
    """What the helpdesk stores as the ticket's external id."""
    return f"gateway:{ticket_id}"


def mark_of(*parts: object) -> str:
    """The same for a ticket whose mark follows from its matter."""
    return f"gateway:{stable_id(*parts)}"


def ticket_id_of(key: str | None) -> UUID | None:
    """Our ticket behind an external id; None for tickets that are not ours."""
    if key is None or not key.startswith("gateway:"):
        return None
    try:
        return UUID(key.removeprefix("gateway:"))
    except ValueError:
        return None


def choose(
    rows: Sequence[Mapping[str, Any]], *, exists: bool, per_change: int, digest_above: int
) -> list[Mapping[str, Any]]:
    """Which of a ticket's pending pushes, in order, go into the next change.

    Rows that went out together once and may be there stay together: their key and content must not change.
    """
    frozen = [row for row in rows if row["change_key"] is not None]
    if frozen:
        return [row for row in rows if row["change_key"] == frozen[0]["change_key"]]
    messages = [row for row in rows if row["kind"] == "comment"]
    digest = exists and len(messages) > digest_above and rows[0]["kind"] == "comment"
    chosen: list[Mapping[str, Any]] = []
    talking: list[Mapping[str, Any]] = []
    for row in rows:
        if row["kind"] in COMMENTING:
            # what agents alone may read is never folded together with anything else
            if talking and not (row["kind"] == talking[-1]["kind"] == "comment"):
                break
            if digest and sum(len(one["payload"]["text"]) for one in (*talking, row)) > DIGEST_LENGTH and talking:
                break
            if not digest and len(talking) == (per_change if exists else 1):
                break
            talking.append(row)
        chosen.append(row)
    return chosen


def fold(ticket: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], key: str) -> TicketChange:
    """One change out of these pushes. The same rows and key give the same change, so that it can be asked after."""
    requester = Requester.model_validate(ticket["requester"])
    status = priority = group = assignee = None
    add: dict[str, None] = {}
    remove: dict[str, None] = {}
    custom: dict[str, Any] = {}
    fields: dict[str, Any] = {}
    make_private: list[str] = []
    for row in rows:
        payload = row["payload"]
        status = payload.get("status") or status
        priority = payload.get("priority") or priority
        for tag in payload.get("add_tags", ()):
            add[tag] = None
            remove.pop(tag, None)
        for tag in payload.get("remove_tags", ()):
            remove[tag] = None
            add.pop(tag, None)
        make_private += payload.get("make_private", ())
        fields |= payload.get("fields") or {}
        group = payload.get("group") or group
        assignee = payload.get("assignee") or assignee
        if row["kind"] == "update":
            custom |= payload.get("custom") or {}
        elif ticket["external_id"] is None:
            custom |= {name: value for name, value in (payload.get("custom") or {}).items() if value is not None}
    talking = [row for row in rows if row["kind"] in COMMENTING]
    comments = [_comment(row["key"], row["payload"]) for row in talking]
    if len(comments) > 1:
        authors = {str(row["payload"].get("author")) for row in talking}
        first = talking[0]["payload"]
        comments = [
            OutgoingComment(
                key=key,
                text=wording.digest([row["payload"] for row in talking]),
                author=first.get("author") if len(authors) == 1 else None,
                public=len(authors) == 1 and all(row["payload"].get("public", True) for row in talking),
                at=talking[-1]["payload"]["at"],
                attachments=tuple(file for row in talking for file in row["payload"].get("attachments") or ()),
            )
        ]
    if ticket["external_id"] is None:
        add = {tag: None for tag in (*ticket["tags"], *add) if tag not in remove}
    return TicketChange(
        key=key,
        ticket_key=ticket.get("mark") or ticket_key(ticket["id"]),
        external_id=ticket["external_id"],
        followup_of=ticket["followup_external_id"] if ticket["external_id"] is None else None,
        subject=ticket["subject"] if ticket["external_id"] is None else None,
        requester=requester,
        comments=tuple(comments),
        status=status if ticket["external_id"] is not None else None,
        priority=priority or (ticket["priority"] if ticket["external_id"] is None else None),
        add_tags=tuple(add),
        remove_tags=tuple(remove),
        fields=GatewayFields.model_validate(fields) if fields else None,
        custom=custom,
        group=group,
        assignee=assignee,
        make_private=tuple(make_private),
    )


def _comment(key: str, payload: Mapping[str, Any]) -> OutgoingComment:
    return OutgoingComment(
        key=key,
        text=payload["text"],
        author=payload.get("author"),
        public=payload.get("public", True),
        at=payload["at"],
        url=payload.get("url"),
        attachments=tuple(payload.get("attachments") or ()),
    )
