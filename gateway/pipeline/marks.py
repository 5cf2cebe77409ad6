"""Telling the agent, in the helpdesk, what became of an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import fetch_one, insert_rows
from gateway.pipeline import wording
from gateway.pipeline.verdicts import needs_second_person

STATES = ("held", "blocked", "failed", "unknown")
COMPANY = timedelta(seconds=60)
"""How long the news of a publication waits for another change of its ticket to travel with."""


async def mark_push(
    connection: AsyncConnection,
    reply_id: UUID,
    state: str,
    *,
    reason: str,
    now: datetime,
    findings: Sequence[Mapping[str, Any]] = (),
    suffix: str = "",
    reopen: bool = True,
    hide: bool = True,
) -> str | None:
    """One private note with text, reason and evidence; the comment made private, a tag, the status back to open.

    `reopen` and `hide` say whether the last two are called for: not where the matter goes on elsewhere, or where the
    comment says what is published.

    Returns the drain to wake; None for a reply that did not come from a helpdesk.
    """
    reply = await fetch_one(
        connection,
        """SELECT r.ticket_id, r.comment_id, r.text, r.rendered, r.digest, r.helpdesk_id = t.helpdesk_id AS here,
                  t.helpdesk_id, t.status FROM reply r JOIN ticket t ON t.id = r.ticket_id WHERE r.id = :id""",
        id=reply_id,
    )
    if reply is None or reply["helpdesk_id"] is None:
        return None
    rendered = reply["rendered"] or {}
    payload: dict[str, Any] = {
        "text": wording.mark(
            state,
            text=rendered.get("text") or reply["text"],
            reason=reason,
            findings=findings,
            length=rendered.get("length"),
            limit=rendered.get("limit"),
            approve=reply["digest"][:8] if state == "held" and reply["digest"] else None,
            second_person=needs_second_person(findings),
            visibility=rendered.get("visibility"),
        ),
        "author": None,
        "public": False,
        "at": now,
        "add_tags": [f"gw_{state}"],
        "remove_tags": [f"gw_{other}" for other in STATES if other != state],
        "fields": {"state": state},
    }
    if reopen:
        payload["status"] = "open"
    if hide and reply["comment_id"] is not None and reply["here"]:
        payload["make_private"] = [reply["comment_id"]]
    await _insert(connection, f"m:{reply_id}:{state}:{suffix}", reply, "mark", 0, payload, reply_id, now, now)
    return f"push:{reply['helpdesk_id']}"


async def published_push(
    connection: AsyncConnection,
    reply_id: UUID,
    url: str | None,
    now: datetime,
    *,
    was_marked: bool,
    state: Literal["published", "under_review"] = "published",
) -> str | None:
    """State and link of a published answer, in fields: no note, and no call of its own where one is coming anyway.

    `was_marked` is what is known already; marks that were written on the ticket before are seen all the same.
    """
    reply = await fetch_one(
        connection,
        """SELECT r.ticket_id, t.helpdesk_id,
                  EXISTS (SELECT 1 FROM push p WHERE p.ticket_id = r.ticket_id AND p.reply_id IS NOT NULL
                      AND p.kind = 'mark') AS marked,
                  ARRAY(SELECT DISTINCT o.state FROM reply o WHERE o.ticket_id = r.ticket_id AND o.id <> r.id
                      AND o.state IN ('held', 'unknown')) AS waiting
           FROM reply r JOIN ticket t ON t.id = r.ticket_id WHERE r.id = :id""",
        id=reply_id,
    )
    if reply is None or reply["helpdesk_id"] is None:
        return None
    was_marked = was_marked or reply["marked"]
    payload: dict[str, Any] = {"fields": {"state": state, "last_url": url}}
    if was_marked:
        # an answer that went out makes up for those that did not; others may still wait for a person
        payload["remove_tags"] = [f"gw_{other}" for other in STATES if other not in reply["waiting"]]
    due = now if was_marked else now + COMPANY
    key = f"p:{reply_id}" if state == "published" else f"p:{reply_id}:{state}"
    await _insert(connection, key, reply, "update", 2, payload, reply_id, due, now)
    return f"push:{reply['helpdesk_id']}" if was_marked else None


async def note_push(
    connection: AsyncConnection,
    ticket_id: UUID,
    key: str,
    text: str | None,
    now: datetime,
    *,
    reply_id: UUID | None = None,
    **payload: Any,
) -> str | None:
    """A private note by the gateway that an agent waits for; without `text` only what the other values change.

    Returns the drain to wake; None for a ticket that no helpdesk has.
    """
    ticket = await fetch_one(connection, "SELECT id AS ticket_id, helpdesk_id FROM ticket WHERE id = :id", id=ticket_id)
    if ticket is None or ticket["helpdesk_id"] is None:
        return None
    if text is not None:
        payload |= {"text": text, "author": None, "public": False, "at": now}
    kind = "update" if text is None else "mark"
    await _insert(connection, key, ticket, kind, 0, payload, reply_id, now, now)
    return f"push:{ticket['helpdesk_id']}"


async def _insert(
    connection: AsyncConnection,
    key: str,
    reply: Mapping[str, Any],
    kind: str,
    lane: int,
    payload: dict[str, Any],
    reply_id: UUID | None,
    due: datetime,
    now: datetime,
) -> None:
    await insert_rows(
        connection,
        "push",
        [
            {
                "key": key,
                "ticket_id": reply["ticket_id"],
                "helpdesk_id": reply["helpdesk_id"],
                "kind": kind,
                "lane": lane,
                "payload": payload,
                "reply_id": reply_id,
                "state": "pending",
                "epoch": 0,
                "tries": 0,
                "due_at": due,
                "at": now,
                "created_at": now,
            }
        ],
        tail="ON CONFLICT (key) DO NOTHING",
    )
