"""Answers made over REST: their rows, and the notes by which the helpdesk's agents learn of them."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.api.models import Answer
from gateway.db.database import Row, fetch_all, insert_rows
from gateway.db.tables.columns import new_id
from gateway.db.tables.reply import new_reply
from gateway.runtime import Runtime
from gateway.security.keys import Caller


class AcceptedReply(Answer):
    """The answer is on its way to be decided; `GET /v1/replies/{id}` tells what became of it."""

    id: UUID
    ticket_id: UUID
    state: str


async def accept(
    database: AsyncConnection,
    runtime: Runtime,
    caller: Caller,
    ticket: Row,
    *,
    text: str,
    leg: str | None,
    interaction: UUID | None,
    once: str | None,
    does: str,
) -> tuple[AcceptedReply, set[str]]:
    """Take an answer in the caller's transaction. Returns it with the drains to wake after the commit.

    Under an Idempotency-Key (`once`) the row itself is unique: also a process that dies before it answers makes no
    second one. `does` is what the note at the helpdesk says that the caller does.
    """
    now = runtime.now()
    id = new_id()
    key = f"once:{hashlib.sha256(once.encode()).hexdigest()}" if once else f"reply:{id}"
    fresh = await insert_rows(
        database,
        "reply",
        [
            new_reply(
                id=id,
                ticket_id=ticket["id"],
                connection_id=ticket["connection_id"],
                author_id=caller.actor,
                author_name=caller.name,
                text=text,
                origin="rest",
                leg=leg,
                interaction_id=interaction,
                key=key,
                due_at=now,
                not_after=now + timedelta(hours=runtime.settings.reply_ttl_hours),
                now=now,
            )
        ],
        tail="ON CONFLICT (key) DO NOTHING RETURNING id, state",
    ) or await fetch_all(database, "SELECT id, state FROM reply WHERE key = :key", key=key)
    made = fresh[0]
    wakes = {f"reply:{ticket['connection_id']}"}
    if ticket["helpdesk_id"] is not None and made["id"] == id:
        await insert_rows(database, "push", [_told(ticket, id, f"{caller.name} {does}:\n{text}", now)])
        wakes.add(f"push:{ticket['helpdesk_id']}")
    return AcceptedReply(id=made["id"], ticket_id=ticket["id"], state=made["state"]), wakes


def _told(ticket: Row, reply_id: UUID, text: str, now: datetime) -> dict[str, Any]:
    """The note by which agents learn of an answer that was not written in the helpdesk."""
    return {
        "key": f"r:{reply_id}",
        "ticket_id": ticket["id"],
        "helpdesk_id": ticket["helpdesk_id"],
        "kind": "note",
        "lane": 1,
        "payload": {"text": text, "author": None, "public": False, "at": now},
        "reply_id": reply_id,
        "state": "pending",
        "epoch": 0,
        "tries": 0,
        "due_at": now,
        "at": now,
        "created_at": now,
    }
