"""A ticket was merged, closed or deleted for good at the helpdesk, and its matter goes on in another one.

What customers said and what policies wish goes along; what concerned the old ticket itself is over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import as_json, execute, execute_rows, fetch_all, fetch_one
from gateway.db.tables.columns import new_id
from gateway.events.announce import announce
from gateway.pipeline.changes import Change, mark_of
from gateway.pipeline.tags import of_the_matter
from gateway.policy.combine import PRIORITIES
from gateway.sla.rows import move_clocks

OVER = "'the ticket was closed, merged or deleted at the helpdesk'"
WISHES = ("priority", "add_tags", "remove_tags", "custom", "group", "assignee")
"""What an update tells that holds for the matter, whichever ticket it is in."""
OPEN = ("received", "queued", "held", "blocked", "sending", "unknown")
"""States of answers that are still on their way out."""
CLOCKS = ("sla", "next_due")
"""The fields that tell of its clocks, which go on with it."""


async def follow_merge(connection: AsyncConnection, ticket_id: UUID, target: str, now: datetime) -> None:
    """A person merged the ticket at the helpdesk: into another of ours, or into one that from now on is ours."""
    ours = await fetch_one(
        connection,
        """SELECT o.id FROM ticket t JOIN ticket o ON o.helpdesk_id = t.helpdesk_id AND o.external_id = :target
               AND o.merged_into IS NULL WHERE t.id = :id AND o.id <> t.id""",
        id=ticket_id,
        target=target,
    )
    if ours is None:
        await execute(
            connection,
            "UPDATE ticket SET external_id = :target, external_url = NULL, updated_at = :now WHERE id = :id",
            id=ticket_id,
            target=target,
            now=now,
        )
        await _adopt(connection, ticket_id, target, now)
        await announce(connection, "ticket.merged", "ticket", ticket_id, {"into": None}, now)
        return
    await execute(
        connection,
        """UPDATE reply SET written_on = COALESCE(written_on, ticket_id)
           WHERE ticket_id = :id AND state = ANY(:open)""",
        id=ticket_id,
        open=list(OPEN),
    )
    await _join(connection, ticket_id, ours["id"], now)


async def is_this_one(connection: AsyncConnection, ticket_id: UUID, external_id: str, now: datetime) -> None:
    """Called when a ticket's number becomes known: another of ours may have been merged into it before, and have gone
    by that number since. Nobody can tell any more which of the two an answer was meant for that was written then."""
    other = await fetch_one(
        connection,
        """SELECT o.id FROM ticket t JOIN ticket o ON o.helpdesk_id = t.helpdesk_id AND o.external_id = :external
               AND o.merged_into IS NULL WHERE t.id = :id AND o.id <> t.id AND t.external_id IS NULL""",
        id=ticket_id,
        external=external_id,
    )
    if other is not None:
        await _join(connection, other["id"], ticket_id, now)


async def _join(connection: AsyncConnection, ticket_id: UUID, into: UUID, now: datetime) -> None:
    """The one is in the other from now on, with all that is still to be done."""
    await execute(
        connection,
        """UPDATE ticket SET merged_into = :into, merged_at = :now, ended = 'merged', updated_at = :now
           WHERE id = :id OR merged_into = :id""",
        id=ticket_id,
        into=into,
        now=now,
    )
    await announce(connection, "ticket.merged", "ticket", ticket_id, {"into": into}, now)
    await execute(connection, "UPDATE leg SET ticket_id = :into WHERE ticket_id = :id", id=ticket_id, into=into)
    await move_clocks(connection, ticket_id, into, now)
    # what is on its way out goes on with the matter, so that news in it is seen before it leaves
    await execute(
        connection,
        "UPDATE reply SET ticket_id = :into WHERE ticket_id = :id AND state = ANY(:open)",
        id=ticket_id,
        into=into,
        open=list(OPEN),
    )
    moved = await fetch_all(
        connection,
        """UPDATE push SET ticket_id = :into WHERE ticket_id = :id AND state = 'pending'
           RETURNING id, kind, payload""",
        id=ticket_id,
        into=into,
    )
    updates = sorted((row for row in moved if row["kind"] == "update"), key=lambda row: int(row["id"]))
    await _hand_over(connection, into, updates, now)


async def _adopt(connection: AsyncConnection, ticket_id: UUID, target: str, now: datetime) -> None:
    """A change with nothing in it: the plugin makes the ticket known as ours, or what agents do there is not seen."""
    await execute(
        connection,
        """INSERT INTO push (key, ticket_id, helpdesk_id, kind, lane, payload, state, epoch, tries, due_at, at,
               created_at)
           SELECT :key, id, helpdesk_id, 'update', 1, '{}', 'pending', 0, 0, :now, :now, :now FROM ticket WHERE id = :id
           ON CONFLICT (key) DO NOTHING""",
        key=f"t:{ticket_id}:{target}",
        id=ticket_id,
        now=now,
    )


async def follow_up(connection: AsyncConnection, ticket_id: UUID, ended: str, now: datetime) -> UUID:
    """Open the ticket that goes on where this one was closed or deleted for good; there is at most one."""
    ending = await execute(
        connection,
        "UPDATE ticket SET ended = :ended, updated_at = :now WHERE id = :id AND ended IS NULL",
        id=ticket_id,
        ended=ended,
        now=now,
    )
    if ending:
        await announce(connection, "ticket.closed", "ticket", ticket_id, {"ended": ended}, now)
    existing = await fetch_one(
        connection,
        "SELECT id FROM ticket WHERE followup_of = :id AND ended IS NULL ORDER BY created_at LIMIT 1",
        id=ticket_id,
    )
    if existing is not None:
        found: UUID = existing["id"]
        return found
    fresh = new_id()
    before = await fetch_one(connection, "SELECT mark, tags FROM ticket WHERE id = :id", id=ticket_id)
    await execute(
        connection,
        """INSERT INTO ticket (id, mark, brand_id, connection_id, helpdesk_id, account_id, customer_id, subject, status,
               priority,
               tags, followup_of, opened_at, last_inbound_at, created_at, updated_at)
           SELECT :fresh, :mark, brand_id, connection_id, helpdesk_id, account_id, customer_id, subject, 'new',
               priority,
               CAST(:tags AS text[]), id,
               :now, last_inbound_at, :now, :now FROM ticket WHERE id = :id""",
        fresh=fresh,
        mark=mark_of((before["mark"] if before else None) or ticket_id, "followed"),
        tags=list(of_the_matter(before["tags"] if before else ())),
        id=ticket_id,
        now=now,
    )
    await execute(connection, "UPDATE leg SET ticket_id = :fresh WHERE ticket_id = :id", fresh=fresh, id=ticket_id)
    await move_clocks(connection, ticket_id, fresh, now)
    await announce(connection, "ticket.created", "ticket", fresh, {"followup_of": ticket_id}, now)
    return fresh


async def send_again(connection: AsyncConnection, change: Change, ticket_id: UUID, now: datetime) -> None:
    """What customers said and what policies wish goes to the ticket that takes its place."""
    ids = list(change.push_ids)
    await execute(
        connection,
        """UPDATE push SET ticket_id = :ticket, state = 'pending', change_key = NULL, due_at = :now
           WHERE id = ANY(:ids) AND kind <> 'update'""",
        ids=ids,
        ticket=ticket_id,
        now=now,
    )
    await execute(
        connection,
        """UPDATE push SET ticket_id = :ticket WHERE ticket_id = :old AND state = 'pending' AND kind <> 'update'""",
        ticket=ticket_id,
        old=change.ticket_id,
    )
    updates = await fetch_all(
        connection,
        """SELECT id, payload FROM push
           WHERE (id = ANY(:ids) OR (ticket_id = :old AND state = 'pending')) AND kind = 'update'
           ORDER BY id FOR UPDATE""",
        ids=ids,
        old=change.ticket_id,
    )
    lasting = updates if change.ticket_id == ticket_id else _lasting(updates)
    await _hand_over(connection, ticket_id, lasting, now)
    kept = {row["id"] for row in lasting}
    await execute(
        connection,
        f"UPDATE push SET state = 'dropped', reason = {OVER}, done_at = :now WHERE id = ANY(:ids)",
        ids=[row["id"] for row in updates if row["id"] not in kept],
        now=now,
    )
    await execute(
        connection,
        """UPDATE interaction SET ticket_id = :ticket WHERE id IN
           (SELECT interaction_id FROM push WHERE id = ANY(:ids) AND interaction_id IS NOT NULL)""",
        ids=ids,
        ticket=ticket_id,
    )


async def _hand_over(
    connection: AsyncConnection, ticket_id: UUID, updates: Sequence[Mapping[str, Any]], now: datetime
) -> None:
    """These updates are the ticket's from now on. Our row has at once what the helpdesk will be told: the tag that a
    policy had just set on the other one, say. A priority only rises."""
    ticket = await fetch_one(connection, "SELECT priority FROM ticket WHERE id = :id FOR NO KEY UPDATE", id=ticket_id)
    if ticket is None or not updates:
        return
    priority, tags, fields = ticket["priority"], set[str](), dict[str, Any]()
    rows = []
    for row in updates:
        payload = dict(row["payload"])
        if payload.get("priority") and PRIORITIES.index(payload["priority"]) < PRIORITIES.index(priority):
            del payload["priority"]
        priority = payload.get("priority") or priority
        tags = (tags | {*payload.get("add_tags", ())}) - {*payload.get("remove_tags", ())}
        fields |= payload.get("custom") or {}
        rows.append({"id": row["id"], "payload": payload})
    await execute(
        connection,
        """UPDATE ticket SET tags = ARRAY(SELECT DISTINCT unnest(tags || CAST(:tags AS text[])) ORDER BY 1),
               fields = fields || CAST(:fields AS jsonb), priority = :priority, updated_at = :now WHERE id = :id""",
        id=ticket_id,
        tags=sorted(tags),
        fields=as_json(fields),
        priority=priority,
        now=now,
    )
    await execute_rows(
        connection,
        """UPDATE push p SET ticket_id = :ticket, payload = g.payload, state = 'pending', change_key = NULL,
               due_at = :now
           FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g (id bigint, payload jsonb) WHERE p.id = g.id""",
        rows,
        ticket=ticket_id,
        now=now,
    )


def _lasting(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Updates that still mean something in the ticket that takes the place of theirs, with what does."""
    kept = []
    for row in rows:
        payload = {name: row["payload"][name] for name in WISHES if row["payload"].get(name)}
        fields = row["payload"].get("fields") or {}
        clocks = {name: fields[name] for name in CLOCKS if name in fields}
        if payload or clocks:
            kept.append({"id": row["id"], "payload": {**payload, **({"fields": clocks} if clocks else {})}})
    return kept


async def drop_lone_notes(connection: AsyncConnection, ticket_id: UUID, ended: str, now: datetime) -> None:
    """That a message on a closed ticket was deleted, say, opens no ticket by itself: nobody has to do anything. What
    became of an answer the agent is told, unless its ticket was deleted: nobody waits for that."""
    await execute(
        connection,
        f"""UPDATE push SET state = 'dropped', reason = {OVER}, done_at = :now
            WHERE ticket_id = :id AND kind <> 'comment' AND state = 'pending' AND NOT EXISTS (
                SELECT 1 FROM push o WHERE o.ticket_id = :id AND o.kind = ANY(:telling)
                  AND o.state NOT IN ('dropped', 'failed'))
              AND EXISTS (SELECT 1 FROM ticket t WHERE t.id = :id AND t.external_id IS NULL)""",
        id=ticket_id,
        telling=["comment"] if ended == "deleted" else ["comment", "mark"],
        now=now,
    )
