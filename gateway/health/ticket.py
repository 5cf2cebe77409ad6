"""A ticket at the helpdesk for as long as a channel is not well, where its connection asks for one.

One for each incident, by its id: it is made with the alarm, told when the reason changes, and solved at the
recovery, where somebody has taken it. Whatever is repeated after a crash has the same keys and comes to nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.connections import Endpoint
from gateway.db.database import Row, execute, fetch_one, insert_rows
from gateway.db.tables.columns import new_id
from gateway.health.standing import Standing, Symptom, Verdict
from gateway.pipeline.wording import channel_recovered, channel_unwell
from gateway.policy.effects import note, push

SCOPE = "gateway"
TAG = "gw_channel"


async def tell_ticket(
    connection: AsyncConnection,
    endpoint: Endpoint,
    row: Row,
    incident: UUID | None,
    before: Standing,
    verdict: Verdict,
    now: datetime,
) -> set[str]:
    """Called with every verdict, in its transaction. Returns the drain to wake."""
    if incident is None:
        return set()
    symptom, earlier = verdict.standing.symptom, before.symptom
    if verdict.change == "unhealthy" and symptom is not None:
        if not row["health_ticket"] or row["helpdesk_id"] is None or endpoint.role != "source":
            return set()
        await _open(connection, row, incident, symptom, now)
        return await _tell(connection, incident, "unhealthy", channel_unwell(row["name"], symptom), now)
    if verdict.change == "recovered":
        text = channel_recovered(row["name"], before.since, now)
        return await _tell(connection, incident, "recovered", text, now, solve=True)
    if symptom is not None and earlier is not None and symptom.code != earlier.code:
        return await _tell(connection, incident, symptom.code, channel_unwell(row["name"], symptom), now)
    return set()


async def _open(connection: AsyncConnection, row: Row, incident: UUID, symptom: Symptom, now: datetime) -> None:
    account = await _account(connection, row, now)
    await execute(
        connection,
        """INSERT INTO ticket (id, brand_id, connection_id, helpdesk_id, account_id, customer_id, subject, status,
               priority, tags, fields, opened_at, last_inbound_at, created_at, updated_at)
           VALUES (:id, :brand, :connection, :helpdesk, :account, :customer, :subject, 'new', 'high', :tags, '{}',
               :now, :now, :now, :now) ON CONFLICT (id) DO NOTHING""",
        id=incident,
        brand=row["brand_id"],
        connection=row["id"],
        helpdesk=row["helpdesk_id"],
        account=account["id"],
        customer=account["customer_id"],
        subject=f"The channel {row['name']} is not well: {symptom.code}",
        tags=[TAG],
        now=now,
    )


async def _account(connection: AsyncConnection, row: Row, now: datetime) -> Row:
    """Who such tickets are from: the channel itself, which is nobody's account at the provider."""
    id, customer = new_id(), new_id()
    made = await fetch_one(
        connection,
        """WITH customer AS (
               INSERT INTO customer (id, name, created_at) SELECT :customer, :name, :now
               WHERE NOT EXISTS (SELECT 1 FROM account WHERE scope = :scope AND external_id = :external)
           )
           INSERT INTO account (id, scope, external_id, customer_id, provider, name, created_at, updated_at)
           SELECT :id, :scope, :external, :customer, :scope, :name, :now, :now
           WHERE NOT EXISTS (SELECT 1 FROM account WHERE scope = :scope AND external_id = :external)
           RETURNING id, customer_id""",
        id=id,
        customer=customer,
        scope=SCOPE,
        external=f"channel:{row['id']}",
        name=f"Channel {row['name']}",
        now=now,
    )
    if made is None:
        made = await fetch_one(
            connection,
            "SELECT id, customer_id FROM account WHERE scope = :scope AND external_id = :external",
            scope=SCOPE,
            external=f"channel:{row['id']}",
        )
    assert made is not None
    return made


async def _tell(
    connection: AsyncConnection, incident: UUID, what: str, text: str, now: datetime, *, solve: bool = False
) -> set[str]:
    ticket = await fetch_one(
        connection,
        """SELECT e.id, e.helpdesk_id, e.ended, e.assignee
           FROM ticket t JOIN ticket e ON e.id = COALESCE(t.merged_into, t.id) WHERE t.id = :id""",
        id=incident,
    )
    if ticket is None or ticket["helpdesk_id"] is None or ticket["ended"] is not None:
        return set()
    if solve and ticket["assignee"] is None:
        text += "\nNobody has taken this ticket, so it is left to you to solve it."
    rows = [push(f"h:{incident}:{what}", ticket["id"], ticket["helpdesk_id"], "note", note(text, now), now)]
    if solve:
        payload: dict[str, Any] = {"remove_tags": [TAG]}
        if ticket["assignee"] is not None:
            payload["status"] = "solved"  # helpdesks refuse to solve what is nobody's (Zendesk)
        rows.append(push(f"h:{incident}:solve", ticket["id"], ticket["helpdesk_id"], "update", payload, now))
    await insert_rows(connection, "push", rows, tail="ON CONFLICT (key) DO NOTHING")
    return {f"push:{ticket['helpdesk_id']}"}
