"""What an event says of its subject: read in the transaction that announces it. And the texts, read when it is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import Row, fetch_all, fetch_one


@dataclass(frozen=True)
class Found:
    """A subject's facts, and what subscriptions choose events by."""

    data: Mapping[str, Any] = field(default_factory=dict)
    brand_id: UUID | None = None
    connection_id: UUID | None = None


TICKET = """t.id AS ticket_id, b.name AS brand, c.name AS connection, c.id AS connection_id, c.plugin AS source,
    h.name AS helpdesk, t.external_id AS helpdesk_ticket_id, t.external_url AS ticket_url, t.status, t.priority, t.tags,
    t.customer_id, t.opened_at, t.brand_id"""
OF_TICKET = """JOIN connection c ON c.id = t.connection_id LEFT JOIN connection h ON h.id = t.helpdesk_id
    LEFT JOIN brand b ON b.id = t.brand_id"""

SUBJECTS: dict[str, str] = {
    "ticket": f"SELECT t.id AS subject, {TICKET} FROM ticket t {OF_TICKET} WHERE t.id = ANY(:ids)",
    "clock": f"""SELECT k.id AS subject, {TICKET}, k.id AS clock_id, k.kind AS clock, k.policy, k.due_at, k.breached_at
        FROM clock k JOIN ticket t ON t.id = k.ticket_id {OF_TICKET} WHERE k.id = ANY(:ids)""",
    "promise": f"""SELECT p.id AS subject, {TICKET}, p.id AS promise_id, p.policy, p.standing, p.due, p.state,
            p.settled_by, p.made_at
        FROM promise p JOIN ticket t ON t.id = p.ticket_id {OF_TICKET} WHERE p.id = ANY(:ids)""",
    "reply": """SELECT r.id AS subject, r.id AS reply_id, r.ticket_id, r.interaction_id, b.name AS brand,
            c.name AS connection, c.id AS connection_id, c.plugin AS source, h.name AS helpdesk,
            t.external_id AS helpdesk_ticket_id, t.external_url AS ticket_url, r.comment_id, r.visibility, r.origin,
            r.state, r.code, r.digest, r.amends, r.group_id, r.external_id, r.url, r.written_at, r.sent_at, t.brand_id
        FROM reply r JOIN ticket t ON t.id = r.ticket_id JOIN connection c ON c.id = r.connection_id
            LEFT JOIN connection h ON h.id = t.helpdesk_id LEFT JOIN brand b ON b.id = t.brand_id
        WHERE r.id = ANY(:ids)""",
    "incident": """SELECT n.id AS subject, n.id AS incident_id, n.key, n.title, b.name AS brand, n.policy, n.ticket_id,
            n.opened_at, n.closed_at, n.closed_by, n.brand_id
        FROM incident n LEFT JOIN brand b ON b.id = n.brand_id WHERE n.id = ANY(:ids)""",
    "alarm": """SELECT a.id AS subject, a.id AS alarm_id, a.severity, a.code, a.policy, a.owner, b.name AS brand,
            a.ticket_id, a.reply_id, a.brand_id
        FROM alarm a LEFT JOIN brand b ON b.id = a.brand_id WHERE a.id = ANY(:ids)""",
    "connection": """SELECT c.id AS subject, c.id AS connection_id, c.name AS connection, c.role, c.plugin,
            b.name AS brand, c.status, c.brand_id
        FROM connection c LEFT JOIN brand b ON b.id = c.brand_id WHERE c.id = ANY(:ids)""",
    "policy": """SELECT p.id AS subject, p.id AS policy_id, p.name AS policy, p.type AS policy_type, b.name AS brand,
            p.brand_id
        FROM policy p LEFT JOIN brand b ON b.id = p.brand_id WHERE p.id = ANY(:ids)""",
    "outbound_pause": """SELECT p.id AS subject, p.scope, p.scope_id, p.reason, p.paused_by, p.since, p.lifted_by,
            p.released,
            CASE p.scope WHEN 'brand' THEN p.scope_id END AS brand_id,
            CASE p.scope WHEN 'connection' THEN p.scope_id END AS for_connection
        FROM outbound_pause p WHERE p.id = ANY(:ids)""",
    "subscription": """SELECT s.id AS subject, s.id AS subscription_id, s.name AS subscription, s.url, s.state
        FROM subscription s WHERE s.id = ANY(:ids)""",
    "erasure": """SELECT e.id AS subject, e.customer_id, e.requested_by AS by FROM erasure e WHERE e.id = ANY(:ids)""",
}
"""How the facts of each kind of subject are read. A subject that has no row has none."""

APART = ("subject", "brand_id", "for_connection")


async def load_facts(connection: AsyncConnection, subject: str, ids: Sequence[UUID]) -> dict[UUID, Found]:
    """The facts of these subjects, in the caller's transaction. Each has its row there."""
    statement = SUBJECTS.get(subject)
    if statement is None:
        return {id: Found() for id in ids}
    rows = await fetch_all(connection, statement, ids=sorted(set(ids)))
    return {row["subject"]: _found(subject, row) for row in rows}


def _found(subject: str, row: Row) -> Found:
    data = {name: value for name, value in row.items() if name not in APART}
    if subject == "subscription":
        data["host"] = urlsplit(data.pop("url")).hostname or ""
    brand_id, connection_id = row.get("brand_id"), row.get("for_connection") or row.get("connection_id")
    return Found(data, brand_id and UUID(str(brand_id)), connection_id and UUID(str(connection_id)))


TEXTS = """
SELECT said.text AS message, said.author, r.reply, r.reason, p.quote
FROM (SELECT CAST(:ticket AS uuid) AS ticket_id) AS x
LEFT JOIN LATERAL (SELECT COALESCE(rendered ->> 'text', text) AS reply, reason FROM reply
    WHERE id = CAST(:reply AS uuid)) AS r ON true
LEFT JOIN LATERAL (SELECT quote FROM promise WHERE id = CAST(:promise AS uuid)) AS p ON true
LEFT JOIN LATERAL (SELECT i.text, COALESCE('@' || a.handle, a.name) AS author
    FROM interaction i JOIN account a ON a.id = i.account_id
    WHERE i.deleted_at IS NULL AND CASE WHEN CAST(:interaction AS uuid) IS NOT NULL
        THEN i.id = CAST(:interaction AS uuid) ELSE i.ticket_id = x.ticket_id AND i.direction = 'inbound' END
    ORDER BY CASE WHEN :first THEN i.published_at END, i.published_at DESC, i.id DESC LIMIT 1) AS said ON true
"""
"""By primary keys, and the messages of one ticket by `interaction_timeline`."""


async def load_texts(connection: AsyncConnection, kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """What people wrote in the matter of an event, as it stands now."""
    if kind == "alarm.raised":
        row = await fetch_one(connection, "SELECT message AS reason FROM alarm WHERE id = :id", id=data["alarm_id"])
    else:
        row = await fetch_one(
            connection,
            TEXTS,
            ticket=data.get("ticket_id"),
            reply=data.get("reply_id"),
            promise=data.get("promise_id"),
            interaction=data.get("interaction_id"),
            first=kind == "ticket.created",
        )
    return dict(row) if row is not None else {}
