"""A matter goes on in another ticket: at another helpdesk, or with one of its conversations split off.

Each ticket has one helpdesk that owns it. The new ticket begins with what was said so far; the old one gets a note, and
what agents still answer there is refused with the new place named.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import Row, execute, fetch_all, insert_rows
from gateway.db.tables.columns import new_id
from gateway.events.announce import announce
from gateway.pipeline import wording
from gateway.pipeline.changes import DIGEST_LENGTH
from gateway.pipeline.marks import note_push
from gateway.sla.rows import move_clocks

MOVED_TAG = "gw_moved"

FRESH = """
INSERT INTO ticket (id, brand_id, connection_id, helpdesk_id, account_id, customer_id, subject, status, priority, tags,
    linked_to, opened_at, last_inbound_at, created_at, updated_at)
SELECT :fresh, brand_id, connection_id, :helpdesk, account_id, customer_id, subject, 'new', priority, tags, :linked,
    opened_at, last_inbound_at, :now, :now FROM ticket WHERE id = :id
"""

# The conversations that are carried over; all of a ticket's when `threads` is null.
LEGS = "ticket_id = :id AND (CAST(:threads AS uuid[]) IS NULL OR thread_id = ANY(:threads))"

# Replies go with what they answer; those that name nothing, with the whole.
REPLIES = """
UPDATE reply r SET ticket_id = :fresh WHERE r.ticket_id = :id AND (CAST(:threads AS uuid[]) IS NULL
    OR r.interaction_id IN (SELECT i.id FROM interaction i WHERE i.thread_id = ANY(:threads)))
"""

# Messages that the helpdesk has not been told yet are told at the new place, each as a comment of its own.
UNTOLD = """
INSERT INTO push (key, ticket_id, helpdesk_id, kind, lane, payload, interaction_id, state, epoch, tries, due_at, at,
    created_at)
SELECT 'v:' || CAST(:fresh AS text) || ':' || p.key, :fresh, :helpdesk, p.kind, p.lane, p.payload, p.interaction_id,
    'pending', 0, 0, :now, p.at, :now
FROM push p WHERE p.id = ANY(:ids) ORDER BY p.id
"""

SAID = """
SELECT i.published_at AS at, COALESCE('@' || a.handle, a.name, a.external_id) AS author, i.visibility, i.text, i.url,
       i.direction = 'inbound' AND i.account_id = t.account_id AS customer
FROM interaction i JOIN account a ON a.id = i.account_id JOIN ticket t ON t.id = i.ticket_id
WHERE i.ticket_id = :id AND i.deleted_at IS NULL AND i.id <> ALL(:untold)
UNION ALL
SELECT r.sent_at, COALESCE(r.author_name, r.author_id), r.visibility, r.rendered ->> 'text', r.url, false
FROM reply r WHERE r.ticket_id = :id AND r.state = 'sent' AND r.amends IS NULL
    AND NOT EXISTS (SELECT 1 FROM interaction i WHERE i.reply_id = r.id)
ORDER BY 1
"""

REQUESTER = """
SELECT jsonb_build_object('external_id', a.provider || ':' || a.external_id, 'provider', a.provider, 'handle', a.handle,
    'name', COALESCE(a.name, '@' || a.handle, a.provider || ' user ' || a.external_id), 'url', a.url,
    'avatar_url', a.avatar_url) AS requester
FROM ticket t JOIN account a ON a.id = t.account_id WHERE t.id = :id
"""


class NotMovable(Exception):
    """The ticket cannot go there; the message says why."""


async def move(
    connection: AsyncConnection, ticket: Row, helpdesk: Row, who: str, reason: str | None, now: datetime
) -> tuple[UUID, set[str]]:
    """Let a matter, whose ticket the caller has locked, go on at another helpdesk.

    `ticket` has id, helpdesk_id, external_id, moved_to and merged_into; `helpdesk` id and name. Returns the new
    ticket's id and the drains to wake. Raises NotMovable.
    """
    _check(ticket)
    if ticket["helpdesk_id"] == helpdesk["id"]:
        raise NotMovable(f"It is at {helpdesk['name']} already.")
    why = f": {reason}" if reason else ""
    fresh, wakes = await _carry(
        connection, ticket, None, helpdesk["id"], f"{who} moved this here{why}. What was said so far:", now
    )
    await execute(
        connection,
        "UPDATE ticket SET moved_to = :fresh, ended = 'moved', updated_at = :now WHERE id = :id",
        id=ticket["id"],
        fresh=fresh,
        now=now,
    )
    await move_clocks(connection, ticket["id"], fresh, now)
    # what was merged into it goes on being a part of the matter
    await execute(
        connection, "UPDATE ticket SET merged_into = :fresh WHERE merged_into = :id", id=ticket["id"], fresh=fresh
    )
    if ticket["external_id"] is not None:
        text = f"{who} moved this matter to {helpdesk['name']}{why}. Answers written here are not published any more."
        drain = await note_push(connection, ticket["id"], f"v:{fresh}:closing", text, now, add_tags=[MOVED_TAG])
        wakes |= {drain} if drain else set()
    return fresh, wakes


async def split(
    connection: AsyncConnection, ticket: Row, threads: Sequence[UUID], who: str, reason: str | None, now: datetime
) -> tuple[UUID, set[str]]:
    """Give conversations of a matter, whose ticket the caller has locked, a ticket of their own at the same helpdesk.

    Returns the new ticket's id and the drains to wake. Raises NotMovable.
    """
    _check(ticket)
    legs = await fetch_all(connection, "SELECT thread_id FROM leg WHERE ticket_id = :id", id=ticket["id"])
    known = {row["thread_id"] for row in legs}
    if not set(threads) <= known:
        raise NotMovable("Not all of these conversations belong to this ticket.")
    if set(threads) == known:
        raise NotMovable("That is all of it; nothing would be left here.")
    why = f": {reason}" if reason else ""
    head = f"{who} split this off{why}. What was said so far:"
    fresh, wakes = await _carry(connection, ticket, list(threads), ticket["helpdesk_id"], head, now)
    text = f"{who} gave a part of this matter a ticket of its own{why}."
    drain = await note_push(connection, ticket["id"], f"v:{fresh}:split", text, now)
    return fresh, wakes | ({drain} if drain else set())


def _check(ticket: Row) -> None:
    for name, word in (("moved_to", "moved"), ("merged_into", "merged")):
        if ticket[name] is not None:
            raise NotMovable(f"It was {word} into {ticket[name]} already; go on there.")


async def _carry(
    connection: AsyncConnection,
    ticket: Row,
    threads: list[UUID] | None,
    helpdesk_id: UUID | None,
    head: str,
    now: datetime,
) -> tuple[UUID, set[str]]:
    fresh = new_id()
    values: dict[str, Any] = {"id": ticket["id"], "fresh": fresh, "threads": threads}
    linked = ticket["id"] if threads is not None else None
    await execute(connection, FRESH, id=ticket["id"], fresh=fresh, helpdesk=helpdesk_id, linked=linked, now=now)
    await announce(connection, "ticket.created", "ticket", fresh, {"moved_from": ticket["id"]}, now)
    await execute(connection, f"UPDATE leg SET ticket_id = :fresh WHERE {LEGS}", **values)
    await execute(connection, REPLIES, **values)
    await execute(connection, f"UPDATE interaction SET ticket_id = :fresh WHERE {LEGS}", **values)
    if threads is None:
        await execute(
            connection, "UPDATE note SET ticket_id = :fresh WHERE ticket_id = :id", id=ticket["id"], fresh=fresh
        )
    if helpdesk_id is None:
        return fresh, set()
    waiting = await fetch_all(
        connection,
        """UPDATE push p SET state = 'dropped', reason = 'told at the ticket that goes on with it', done_at = :now
           FROM interaction i WHERE i.id = p.interaction_id AND i.ticket_id = :fresh AND p.ticket_id = :id
             AND p.kind = 'comment' AND p.state = 'pending' AND p.tries = 0 RETURNING p.id, p.interaction_id""",
        id=ticket["id"],
        fresh=fresh,
        now=now,
    )
    await _tell(connection, fresh, helpdesk_id, head, [row["interaction_id"] for row in waiting], now)
    await execute(
        connection,
        UNTOLD,
        fresh=fresh,
        helpdesk=helpdesk_id,
        ids=[row["id"] for row in waiting],
        now=now,
    )
    return fresh, {f"push:{helpdesk_id}", *await _drains_of(connection, fresh)}


async def _tell(
    connection: AsyncConnection,
    ticket_id: UUID,
    helpdesk_id: UUID,
    head: str,
    untold: Sequence[UUID],
    now: datetime,
) -> None:
    """The new ticket begins with the whole timeline; what only agents may read follows as a private note."""
    said = await fetch_all(connection, SAID, id=ticket_id, untold=list(untold))
    notes = await fetch_all(
        connection,
        """SELECT at, COALESCE(author_name, author_id) AS author, 'private' AS visibility, text, NULL AS url
           FROM note WHERE ticket_id = :id ORDER BY at""",
        id=ticket_id,
    )
    [row] = await fetch_all(connection, REQUESTER, id=ticket_id)
    alone = all(one["customer"] for one in said)
    rows = []
    for number, part in enumerate(_parts(said) or [[]]):
        text = wording.carried(head if number == 0 else "…", part)
        rows.append(("comment", text, row["requester"] if alone else None, alone))
    rows += [("note", wording.carried("Notes of agents:", part), None, False) for part in _parts(notes)]
    await insert_rows(
        connection,
        "push",
        [
            {
                "key": f"v:{ticket_id}:{number}",
                "ticket_id": ticket_id,
                "helpdesk_id": helpdesk_id,
                "kind": kind,
                "lane": 1,
                "payload": {
                    "text": text,
                    "author": author,
                    "public": public,
                    "at": now,
                    "url": None,
                    "attachments": [],
                    "custom": {"source": row["requester"]["provider"]},
                },
                "state": "pending",
                "epoch": 0,
                "tries": 0,
                "due_at": now,
                "at": now,
                "created_at": now,
            }
            for number, (kind, text, author, public) in enumerate(rows)
        ],
    )


def _parts(entries: Iterable[Row]) -> list[list[Row]]:
    """The entries in order, in parts that a helpdesk takes as one comment."""
    parts: list[list[Row]] = []
    size = DIGEST_LENGTH
    for one in entries:
        length = len(one["text"] or "")
        if size + length > DIGEST_LENGTH:
            parts.append([])
            size = 0
        parts[-1].append(one)
        size += length
    return parts


async def _drains_of(connection: AsyncConnection, ticket_id: UUID) -> set[str]:
    """What is on its way out on a ticket is looked at anew: it may have less to rest on."""
    rows = await fetch_all(
        connection,
        "SELECT DISTINCT connection_id FROM reply WHERE ticket_id = :id AND state IN ('received', 'queued')",
        id=ticket_id,
    )
    return {f"{kind}:{row['connection_id']}" for row in rows for kind in ("reply", "send")}
