"""Back, station 1: what agents did at the helpdesk, and which of it is an answer to a customer.

Only a person's public comment from the composer or an app publishes. Rules, merges, bulk changes, e-mail and the API
are kept on the timeline with the reason why they do not. What persons say of held answers in private notes is followed
(`/approve`, `/reject`), and `/invite` asks for a way to go on by mail. What becomes of a ticket itself is for
`ticket_states.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.connections import Endpoint
from gateway.db.database import as_json, execute, execute_rows, fetch_all, fetch_one, insert_rows
from gateway.db.tables.columns import new_id
from gateway.db.tables.reply import new_reply
from gateway.events.announce import announce_replies
from gateway.pipeline import aftermath, invitations
from gateway.pipeline.approvals import by_note
from gateway.pipeline.attach import Owner, note_files, patience
from gateway.pipeline.fetch import want
from gateway.pipeline.foreign import note_foreign
from gateway.pipeline.invitations import Mailbox
from gateway.pipeline.leaving import REPEAT
from gateway.pipeline.marks import mark_push
from gateway.pipeline.normalise import Read
from gateway.pipeline.record import revoke
from gateway.pipeline.ticket_states import CHANGEABLE, ask_again, changed
from gateway.restored import stable_id
from gateway.sla.clocks import apply
from gateway.sla.requests import Request
from gateway.sla.stored import Calendars
from gateway_schemas.interaction import Revoked, Wanted
from gateway_schemas.ticket import AgentNote, AgentReply, ForeignTicket, OwnComment, TicketChanged

ANSWERS = ("composer", "app")
OUT = ("sending", "unknown", "sent")
KNOWN = """id, ticket_id, connection_id, helpdesk_id, interaction_id, visibility, text, state, code,
    comment_revision, attachments, retract_by"""
MOVED = "moved"


async def take(
    connection: AsyncConnection,
    reads: Sequence[Read],
    now: datetime,
    ttl: timedelta,
    file_patience: float,
    calendars: Calendars,
    boxes: Sequence[Mailbox] = (),
) -> set[str]:
    """Write what helpdesks brought, in the caller's transaction. Returns the drains to wake after its commit.

    `boxes` are the connections that customers can be invited to, where a note asks for that.
    """
    wanted: list[tuple[Endpoint, Wanted, datetime]] = []
    wakes: set[str] = set()
    clocks: list[Request] = []
    unknown: list[tuple[Endpoint, TicketChanged]] = []
    tickets = await _tickets(connection, reads)
    await _stand(connection, reads)
    await note_foreign(connection, reads)
    for read in reads:
        for endpoint, item in read.news:
            if isinstance(item, Wanted):
                wanted.append((endpoint, item, read.received_at))
                continue
            if isinstance(item, Revoked):
                await revoke(connection, endpoint, item.reason, now)
                continue
            if isinstance(item, OwnComment | ForeignTicket):
                continue
            ticket = tickets.get((endpoint.id, item.ticket))
            if ticket is None:
                read.reason = read.reason or f"ticket {item.ticket} is not known as one of ours"
                if isinstance(item, TicketChanged) and item.ticket_key is not None:
                    unknown.append((endpoint, item))
            elif isinstance(item, TicketChanged) and ticket["written_on"] is not None:
                continue  # it is the other one's state that counts
            elif isinstance(item, TicketChanged):
                wakes |= await changed(connection, endpoint, ticket, item, now, ttl, clocks)
            elif isinstance(item, AgentNote):
                wakes |= await _noted(connection, endpoint, ticket, item, now, ttl, boxes)
            elif isinstance(item, AgentReply):
                wakes |= await _answered(connection, endpoint, ticket, item, now, ttl, file_patience)
    wakes |= (await apply(connection, calendars, clocks, now)).wakes
    wakes |= await ask_again(connection, unknown, now)
    return wakes | await want(connection, wanted, now)


async def _tickets(connection: AsyncConnection, reads: Sequence[Read]) -> dict[tuple[UUID, str], Mapping[str, Any]]:
    """Our tickets among those named, locked in order with their answers; rows that name them may be written
    meanwhile. One that was merged stands for the other, where what was said on it belongs now (`written_on`)."""
    named = sorted(
        {
            (str(endpoint.id), item.ticket)
            for read in reads
            for endpoint, item in read.news
            if isinstance(item, AgentReply | AgentNote | TicketChanged)
        }
    )
    if not named:
        return {}
    these = {"helpdesks": [helpdesk for helpdesk, _ in named], "ids": [id for _, id in named]}
    # answers first: whoever decides on one or has sent it holds it, and then wants its ticket
    await fetch_all(
        connection,
        """SELECT r.id FROM reply r WHERE r.ticket_id IN (
               SELECT COALESCE(t.merged_into, t.id) FROM ticket t WHERE (t.helpdesk_id, t.external_id) IN
                   (SELECT * FROM unnest(CAST(:helpdesks AS uuid[]), CAST(:ids AS text[]))))
           ORDER BY r.id FOR NO KEY UPDATE""",
        **these,
    )
    rows = await fetch_all(
        connection,
        """SELECT e.id, e.helpdesk_id, e.external_id, e.connection_id, e.status, e.tags, e.ended, e.moved_to,
               e.helpdesk_updated_at, t.external_id AS named,
               CASE WHEN t.merged_into IS NOT NULL THEN t.id END AS written_on
           FROM ticket t JOIN ticket e ON e.id = COALESCE(t.merged_into, t.id) AND e.helpdesk_id = t.helpdesk_id
           WHERE (t.helpdesk_id, t.external_id) IN
               (SELECT * FROM unnest(CAST(:helpdesks AS uuid[]), CAST(:ids AS text[])))
           ORDER BY e.id, t.id
           -- no stronger: who holds a ticket's clocks writes rows that refer to the ticket
           FOR NO KEY UPDATE OF e""",
        **these,
    )
    # several of ours may go by one number after a merge: the one that still stands for itself comes last
    return {(row["helpdesk_id"], row["named"]): row for row in sorted(rows, key=lambda row: row["written_on"] is None)}


async def _stand(connection: AsyncConnection, reads: Sequence[Read]) -> None:
    """Our own comments stand at the helpdesk since the time that it shows: what agents had seen goes by it."""
    stand = [
        {"helpdesk": endpoint.id, "key": item.key, "comment": item.external_id, "at": item.at}
        for read in reads
        for endpoint, item in read.news
        if isinstance(item, OwnComment)
    ]
    await execute_rows(
        connection,
        """UPDATE push p SET done_at = s.at, external_id = s.comment
           FROM (
               -- each by its own index; an OR of the two would look at every change there ever was
               WITH g AS MATERIALIZED (
                   SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb))
                       AS g (helpdesk uuid, key text, comment text, at timestamptz))
               SELECT o.id, g.helpdesk, g.comment, g.at FROM g JOIN push o ON o.key = g.key
               UNION
               SELECT o.id, g.helpdesk, g.comment, g.at FROM g JOIN push o ON o.change_key = g.key) AS s
           WHERE p.id = s.id AND p.helpdesk_id = s.helpdesk AND p.state IN ('done', 'job', 'in_flight')
             AND (p.done_at, p.external_id) IS DISTINCT FROM (s.at, s.comment)""",
        stand,
    )


async def _noted(
    connection: AsyncConnection,
    endpoint: Endpoint,
    ticket: Mapping[str, Any],
    item: AgentNote,
    now: datetime,
    ttl: timedelta,
    boxes: Sequence[Mailbox],
) -> set[str]:
    fresh = await insert_rows(
        connection,
        "note",
        [
            {
                "id": new_id(),
                "ticket_id": ticket["id"],
                "helpdesk_id": endpoint.id,
                "comment_id": item.external_id,
                "author_id": item.author.external_id,
                "author_name": item.author.name,
                "text": item.text,
                "at": item.at,
            }
        ],
        tail="ON CONFLICT (helpdesk_id, comment_id) DO NOTHING RETURNING id",
    )
    if not fresh:
        return set()  # told twice, it is heard once
    wakes = await by_note(connection, endpoint, ticket, item, now, ttl)
    return wakes | await invitations.by_note(connection, endpoint, ticket, item, boxes, now)


async def _answered(
    connection: AsyncConnection,
    endpoint: Endpoint,
    ticket: Mapping[str, Any],
    item: AgentReply,
    now: datetime,
    ttl: timedelta,
    file_patience: float,
) -> set[str]:
    """A comment that looks like an answer. New ones get a row each; a comment seen before changes its row at most."""
    if not item.public:
        return await _taken_back(connection, endpoint, item, now)
    if await _is_ours(connection, endpoint, item):
        return set()
    refusal = await _refusal(connection, ticket, item)
    id = new_id()
    files = [file.model_dump(mode="json") for file in item.attachments]
    fresh = await insert_rows(
        connection,
        "reply",
        [
            new_reply(
                id=id,
                ticket_id=ticket["id"],
                connection_id=ticket["connection_id"],
                helpdesk_id=endpoint.id,
                comment_id=item.external_id,
                comment_revision=item.revision,
                key=f"reply:{stable_id(endpoint.id, item.external_id)}",
                author_id=item.author.external_id,
                author_name=item.author.name,
                author_email=item.author.email,
                origin=item.origin,
                text=item.text,
                html=item.html,
                attachments={"files": files},
                leg=item.leg,
                state="cancelled" if refusal else "received",
                code=refusal[0] if refusal else None,
                reason=refusal[1] if refusal else None,
                due_at=now if refusal else now + patience(files, file_patience),
                not_after=max(item.at, now) + ttl if now - item.at < ttl else item.at + ttl,
                written_at=item.at,
                written_on=ticket["written_on"],
                now=now,
            )
        ],
        tail="ON CONFLICT (helpdesk_id, comment_id) DO NOTHING RETURNING id",
    )
    if not fresh:
        return await _changed_answer(connection, endpoint, ticket, item, now, ttl)
    if refusal is None:
        wakes = await note_files(connection, [(Owner("reply", id, endpoint.id), item.attachments)], now)
        return wakes | {f"reply:{ticket['connection_id']}"}
    if refusal[0] != MOVED:
        return set()
    await announce_replies(connection, "reply.cancelled", [id], now)
    drain = await mark_push(connection, id, "blocked", reason=refusal[1], now=now, suffix=MOVED, reopen=False)
    return {drain} if drain else set()


async def _refusal(connection: AsyncConnection, ticket: Mapping[str, Any], item: AgentReply) -> tuple[str, str] | None:
    """Why this is not an answer to be published: code and reason; None when it is one."""
    if item.origin not in ANSWERS:
        return f"origin_{item.origin}", f"written by {item.origin}, which never publishes by itself"
    if ticket["moved_to"] is None:
        return None
    there = await fetch_one(
        connection,
        """SELECT c.name, t.external_url FROM ticket t LEFT JOIN connection c ON c.id = t.helpdesk_id
           WHERE t.id = :id""",
        id=ticket["moved_to"],
    )
    where = " ".join(filter(None, (there["name"], there["external_url"]))) if there else ""
    return MOVED, f"This matter has moved to {where or 'another helpdesk'}. Please answer there."


def _may_be_out(known: Mapping[str, Any]) -> bool:
    """Whether an answer is published, or may be: then only the source can change it or take it back."""
    return known["state"] in OUT or known["code"] == REPEAT


async def _changed_answer(
    connection: AsyncConnection,
    endpoint: Endpoint,
    ticket: Mapping[str, Any],
    item: AgentReply,
    now: datetime,
    ttl: timedelta,
) -> set[str]:
    known = await fetch_one(
        connection,
        f"""SELECT {KNOWN}, author_id, editors FROM reply
            WHERE helpdesk_id = :helpdesk AND comment_id = :comment FOR UPDATE""",
        helpdesk=endpoint.id,
        comment=item.external_id,
    )
    if known is None or known["comment_revision"] == item.revision:
        return set()
    if _may_be_out(known):
        return await aftermath.amend(connection, known, item, now, ttl)
    if known["text"] == item.text or known["state"] not in CHANGEABLE:
        return set()
    editors = list(known["editors"] or ())
    if item.author.external_id not in (known["author_id"], *(one["id"] for one in editors)):
        editors.append({"id": item.author.external_id, "email": item.author.email})
    await execute(
        connection,
        """UPDATE reply SET text = :text, html = :html, comment_revision = :revision, state = 'received',
               editors = CAST(:editors AS jsonb), code = NULL, reason = NULL, approved_digest = NULL, waived = NULL,
               due_at = :now, updated_at = :now WHERE id = :id""",
        id=known["id"],
        text=item.text,
        html=item.html,
        revision=item.revision,
        editors=as_json(editors) if editors else None,
        now=now,
    )
    return {f"reply:{known['connection_id']}"}


async def _taken_back(connection: AsyncConnection, endpoint: Endpoint, item: AgentReply, now: datetime) -> set[str]:
    """The agent deleted the comment or made it private: it does not go out, and what is out is taken back.

    A held one stays held: the gateway itself made it private, and a plugin may not be able to tell.
    """
    known = await fetch_one(
        connection,
        f"SELECT {KNOWN} FROM reply WHERE helpdesk_id = :helpdesk AND comment_id = :comment FOR UPDATE",
        helpdesk=endpoint.id,
        comment=item.external_id,
    )
    if known is None or known["retract_by"] is not None:
        return set()
    await execute(
        connection,
        "UPDATE reply SET comment_revision = :revision WHERE id = :id",
        id=known["id"],
        revision=item.revision,
    )
    if _may_be_out(known):
        return await aftermath.take_back(connection, known, item.author.name or item.author.external_id, now)
    if known["state"] in ("received", "queued"):
        await execute(
            connection,
            """UPDATE reply SET state = 'cancelled', code = 'taken_back', reason = 'the agent made the comment private',
                   updated_at = :now WHERE id = :id""",
            id=known["id"],
            now=now,
        )
        await announce_replies(connection, "reply.cancelled", [known["id"]], now)
    return set()


async def _is_ours(connection: AsyncConnection, endpoint: Endpoint, item: AgentReply) -> bool:
    """A comment that the gateway wrote itself, should the plugin not have known it."""
    row = await fetch_one(
        connection,
        """SELECT 1 FROM push p JOIN ticket t ON t.id = p.ticket_id
           WHERE t.helpdesk_id = :helpdesk AND t.external_id = :ticket AND p.external_id = :comment LIMIT 1""",
        helpdesk=endpoint.id,
        ticket=item.ticket,
        comment=item.external_id,
    )
    return row is not None
