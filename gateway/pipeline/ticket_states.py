"""What helpdesks show of a ticket as a whole: its state, its tags, that it was merged, closed or deleted.

A state older than the one known changes nothing, and what the helpdesk has still to be told stays as it is. Merging,
closing and deleting by persons is followed; the tags `gw_approve` and `reply:…` say what becomes of held answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.connections import Endpoint
from gateway.db.database import execute, fetch_all, fetch_one
from gateway.db.tables.ticket import solving
from gateway.events.announce import announce, announce_replies
from gateway.pipeline.approvals import by_tag
from gateway.pipeline.fetch import want
from gateway.pipeline.succession import follow_merge
from gateway.pipeline.tags import LEG_TAGS
from gateway.security.audit import Origin, attribute
from gateway.sla.news import status_changed
from gateway.sla.requests import Request
from gateway_schemas.interaction import Wanted
from gateway_schemas.ticket import TicketChanged

CHANGEABLE = ("received", "queued", "held", "blocked")
SOLVING = solving("CAST(:status AS text)", "COALESCE(CAST(:updated AS timestamptz), :now)")


async def changed(
    connection: AsyncConnection,
    endpoint: Endpoint,
    ticket: Mapping[str, Any],
    item: TicketChanged,
    now: datetime,
    ttl: timedelta,
    clocks: list[Request],
) -> set[str]:
    """Write a ticket's new state; what it asks of clocks is added to `clocks`. Returns the drains to wake."""
    seen = ticket["helpdesk_updated_at"]
    if item.updated_at is not None and seen is not None and item.updated_at < seen:
        return set()  # an older state that arrives late
    if item.merged_into is not None:
        await follow_merge(connection, ticket["id"], item.merged_into, now)
        return {f"push:{ticket['helpdesk_id']}", f"reply:{ticket['connection_id']}"}
    clocks += status_changed(ticket["id"], item.status, item.updated_at or now, now, deleted=item.deleted)
    ended = "deleted" if item.deleted else "closed" if item.status == "closed" else None
    ending = ended is not None and await fetch_one(
        connection, "SELECT 1 FROM ticket WHERE id = :id AND ended IS NULL AND moved_to IS NULL", id=ticket["id"]
    )
    told, added, removed = await _still_to_be_told(connection, ticket["id"])
    await execute(
        connection,
        f"""UPDATE ticket SET status = COALESCE(:status, status), {SOLVING}, priority = COALESCE(:priority, priority),
               tags = COALESCE(CAST(:tags AS text[]), tags), assignee = COALESCE(:assignee, assignee),
               ended = CASE WHEN moved_to IS NULL THEN :ended ELSE ended END,
               helpdesk_updated_at = COALESCE(:updated, helpdesk_updated_at), updated_at = :now
           WHERE id = :id""",
        id=ticket["id"],
        status=item.status,
        priority=None if "priority" in told else item.priority,
        tags=None if item.tags is None else sorted({*item.tags, *added} - removed),
        assignee=item.assignee.name or item.assignee.external_id if item.assignee else None,
        ended=ended,
        updated=item.updated_at,
        now=now,
    )
    if ending:
        await announce(connection, "ticket.closed", "ticket", ticket["id"], {"ended": ended}, now)
    if item.deleted:
        await _drop_answers(connection, ticket["id"], now)
    if item.tags is None:
        return set()
    wakes = await _leg_chosen(connection, endpoint, ticket, item.tags, now)
    return wakes | await by_tag(connection, endpoint, ticket, item.tags, item.updated_at or now, now, ttl)


async def _still_to_be_told(connection: AsyncConnection, ticket_id: UUID) -> tuple[set[str], set[str], set[str]]:
    """What the helpdesk has not been told yet of a ticket, which its own state therefore does not show: the names, and
    the tags that are added and removed."""
    rows = await fetch_all(
        connection,
        """SELECT payload FROM push WHERE ticket_id = :id AND state IN ('pending', 'in_flight', 'job') ORDER BY id""",
        id=ticket_id,
    )
    names: set[str] = set()
    added: set[str] = set()
    removed: set[str] = set()
    for row in rows:
        names |= {name for name, value in row["payload"].items() if value is not None}
        added = (added | set(row["payload"].get("add_tags", ()))) - set(row["payload"].get("remove_tags", ()))
        removed = (removed | set(row["payload"].get("remove_tags", ()))) - set(row["payload"].get("add_tags", ()))
    return names, added, removed


async def _drop_answers(connection: AsyncConnection, ticket_id: UUID, now: datetime) -> None:
    """A person deleted the ticket: what had not gone out by then does not go out."""
    rows = await fetch_all(
        connection,
        """UPDATE reply SET state = 'cancelled', code = 'ticket_deleted', updated_at = :now,
               reason = 'the ticket was deleted at the helpdesk' WHERE ticket_id = :id AND state = ANY(:states)
           RETURNING id""",
        id=ticket_id,
        states=list(CHANGEABLE),
        now=now,
    )
    await announce_replies(connection, "reply.cancelled", [row["id"] for row in rows], now)


async def _leg_chosen(
    connection: AsyncConnection, endpoint: Endpoint, ticket: Mapping[str, Any], tags: Sequence[str], now: datetime
) -> set[str]:
    """An agent tags the ticket with the leg that an answer held for doubt about it is meant for."""
    legs = {LEG_TAGS[tag] for tag in tags if tag in LEG_TAGS and tag not in ticket["tags"]}
    if len(legs) != 1:
        return set()
    leg = legs.pop()
    who = f"somebody who set the tag for the {leg} leg"
    await attribute(connection, Origin("choose_leg", "agent", str(endpoint.id), who))
    rows = await fetch_all(
        connection,
        """UPDATE reply SET leg = :leg, state = 'received', code = NULL, reason = NULL, due_at = :now, updated_at = :now
           WHERE ticket_id = :id AND state = 'held' AND code IN ('newer_message', 'more_public') AND leg IS NULL
           RETURNING connection_id""",
        id=ticket["id"],
        leg=leg,
        now=now,
    )
    await attribute(connection, None)
    return {f"reply:{row['connection_id']}" for row in rows}


async def ask_again(
    connection: AsyncConnection, unknown: Sequence[tuple[Endpoint, TicketChanged]], now: datetime
) -> set[str]:
    """A ticket bears our key, and its creation is still to be answered, or its outcome unknown: which of ours it is
    will be known soon, and what agents did there is read then. It is asked for again after as long as that has taken
    so far, and in half a minute at the latest."""
    if not unknown:
        return set()
    rows = await fetch_all(
        connection,
        """SELECT g.place, max(COALESCE(p.started_at, p.created_at)) AS since
           FROM unnest(CAST(:helpdesks AS uuid[]), CAST(:keys AS text[])) WITH ORDINALITY AS g (helpdesk, key, place)
           JOIN push p ON p.helpdesk_id = g.helpdesk AND p.state IN ('pending', 'in_flight', 'job')
           JOIN ticket t ON t.id = p.ticket_id AND t.external_id IS NULL
               AND COALESCE(t.mark, 'gateway:' || t.id) = g.key
           GROUP BY g.place ORDER BY g.place""",
        helpdesks=[endpoint.id for endpoint, _ in unknown],
        keys=[item.ticket_key for _, item in unknown],
    )
    wakes: set[str] = set()
    for row in rows:
        endpoint, item = unknown[row["place"] - 1]
        again = Wanted(ref=item.ticket, kind="ticket", reason="thin", account=endpoint.account)
        due = now + min(max(now - row["since"], timedelta(seconds=1)), timedelta(seconds=30))
        wakes |= await want(connection, [(endpoint, again, now)], now, due=due)
    return wakes
