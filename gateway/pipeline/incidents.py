"""Tells the ticket of an incident for how many messages it stands, as their number grows, and what the newest say.

What is counted under an incident's ticket is in no helpdesk, so this is where agents see it. They are told at the first
message and then at 5, 10, 20, 50, 100 and so on: a note for each of a thousand would bury the ticket.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import Row, execute, fetch_all, fetch_one, insert_rows
from gateway.engine.leases import Held
from gateway.pipeline import wording
from gateway.policy.effects import note, push
from gateway.runtime import Runtime

QUOTED = 3
"""How many of the newest messages a note quotes."""

# few: those that are open, each with a count by the members' primary key
GROWN = """
SELECT n.id, n.ticket_id, n.key, n.title, n.grouping, n.tell_at, m.messages
FROM incident n CROSS JOIN LATERAL (SELECT count(*) AS messages FROM incident_member WHERE incident_id = n.id) AS m
WHERE n.closed_at IS NULL AND n.ticket_id IS NOT NULL AND m.messages >= n.tell_at
"""

NEWEST = """
SELECT i.text, i.url, i.published_at AS at, a.handle, a.name, a.external_id
FROM incident_member m JOIN interaction i ON i.id = m.interaction_id JOIN account a ON a.id = i.account_id
WHERE m.incident_id = :incident AND m.grouped AND i.deleted_at IS NULL ORDER BY m.at DESC, i.id DESC LIMIT :most
"""

TICKET = """
SELECT e.id, e.helpdesk_id, e.ended FROM ticket t JOIN ticket e ON e.id = COALESCE(t.merged_into, t.id)
WHERE t.id = :id FOR NO KEY UPDATE OF e
"""


def next_step(messages: int) -> int:
    """The number after this one at which the ticket is told again: 5, 10, 20, 50, 100, …"""
    step = 5
    while step <= messages:
        step = step * 5 // 2 if str(step)[0] == "2" else step * 2
    return step


async def tell_incidents(runtime: Runtime, held: Held) -> bool:
    """The drain `incidents`. Returns whether there may be more."""
    now = runtime.now()
    async with runtime.database.read() as connection:
        grown = await fetch_all(connection, f"{GROWN} ORDER BY n.id")
    wakes: set[str] = set()
    for incident in grown:
        async with runtime.database.write() as connection:
            await held.check(connection)
            helpdesk = await _tell(connection, incident["id"], incident["ticket_id"], now)
        wakes |= {f"push:{helpdesk}"} if helpdesk is not None else set()
    await runtime.wake(wakes)
    return False


async def _tell(connection: AsyncConnection, id: UUID, ticket_id: UUID, now: datetime) -> UUID | None:
    """Queue what the ticket is told. Returns its helpdesk, to be woken after the commit."""
    ticket = await fetch_one(connection, TICKET, id=ticket_id)  # tickets are locked before incidents everywhere
    incident = await fetch_one(connection, f"{GROWN} AND n.id = :id FOR UPDATE OF n", id=id)
    if ticket is None or incident is None:
        return None  # closed meanwhile
    await execute(
        connection,
        "UPDATE incident SET tell_at = :step WHERE id = :id",
        id=id,
        step=next_step(incident["messages"]),
    )
    if ticket["helpdesk_id"] is None or ticket["ended"] is not None:
        return None
    rows = await fetch_all(connection, NEWEST, incident=id, most=QUOTED)
    first = incident["tell_at"] == 1
    tag = f"incident:{incident['key']}"
    payload = {"custom": {"incident_messages": incident["messages"]}, **({"add_tags": [tag]} if first else {})}
    if first:
        await execute(
            connection,
            """UPDATE ticket SET tags = ARRAY(SELECT DISTINCT unnest(tags || CAST(:tag AS text)) ORDER BY 1),
                   updated_at = :now WHERE id = :id""",
            id=ticket["id"],
            tag=tag,
            now=now,
        )
    thing = f"n:{id}:{incident['messages']}"
    text = _text(incident, rows, first=first)
    where = (ticket["id"], ticket["helpdesk_id"])
    pushes = [
        push(f"{thing}:update", *where, "update", payload, now),
        push(f"{thing}:note", *where, "note", note(text, now), now),
    ]
    await insert_rows(connection, "push", pushes, tail="ON CONFLICT (key) DO NOTHING")
    helpdesk: UUID = ticket["helpdesk_id"]
    return helpdesk


def _text(incident: Row, newest: list[Row], *, first: bool) -> str:
    return wording.incident(
        incident["title"],
        incident["messages"],
        [{**row, "author": wording.who(row)} for row in reversed(newest)],
        first=first,
        grouping=incident["grouping"],
    )
