"""Taking a matter offline: an invitation is a one-time code by which a private message joins the ticket it is made for.

Agents ask for one by the private note `/invite`, others over REST. Whoever uses the code first proves to be the
ticket's customer: their account is joined to the customer, and their conversation is a leg of the ticket. Later uses by
the same account join too, anybody else's begin a matter of their own. Which of two messages at once is the first, the
invitation's row decides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.connections import ConfigInvalid, Endpoint, PluginMissing, build
from gateway.db.database import Row, execute, fetch_all, fetch_one
from gateway.db.tables.columns import new_id
from gateway.pipeline import wording
from gateway.pipeline.marks import note_push
from gateway.runtime import Runtime
from gateway.security.audit import Origin, attribute
from gateway_schemas.claims import ClaimAddress, new_claim, written
from gateway_schemas.source import Source
from gateway_schemas.ticket import AgentNote

LIFE = timedelta(days=14)
"""How long an invitation can be used for the first time, unless it says otherwise."""
COMMAND = re.compile(r"\s*/invite\b")
NO_MAILBOX = (
    "there is no connection of this brand that a customer could be invited to. Connect a mailbox (plugin email)."
)

# Merged, moved, followed: the ticket that goes on with the matter. Each step is a look-up by key.
INVITED = """
WITH RECURSIVE way AS (
    SELECT v.id, v.ticket_id, 0 AS step FROM invitation v WHERE v.code = ANY(:codes)
    UNION ALL
    SELECT way.id, n.id, way.step + 1 FROM way JOIN ticket t ON t.id = way.ticket_id JOIN ticket n ON n.id = COALESCE(
        t.merged_into, t.moved_to,
        (SELECT f.id FROM ticket f WHERE f.followup_of = t.id AND f.ended IS NULL ORDER BY f.created_at LIMIT 1))
    WHERE way.step < 20
)
SELECT DISTINCT ON (v.id) v.id, v.code, v.expires_at, v.account_id, c.brand_id, v.ticket_id AS made_for,
       t.id AS ticket_id, t.customer_id, a.external_id AS claimed_by
FROM way JOIN invitation v ON v.id = way.id JOIN connection c ON c.id = v.connection_id
     JOIN ticket t ON t.id = way.ticket_id LEFT JOIN account a ON a.id = v.account_id
WHERE NOT EXISTS (SELECT 1 FROM erasure e WHERE e.customer_id = t.customer_id)
ORDER BY v.id, way.step DESC
"""

MADE = """
INSERT INTO invitation (id, ticket_id, connection_id, code, made_by, created_at, expires_at)
VALUES (:id, :ticket, :connection, :code, :by, :now, :until)
ON CONFLICT (ticket_id, connection_id) WHERE account_id IS NULL
DO UPDATE SET expires_at = GREATEST(invitation.expires_at, EXCLUDED.expires_at)
RETURNING id, connection_id, code, made_by, created_at, expires_at
"""


@dataclass
class Invitation:
    """What threading needs of an invitation."""

    id: UUID
    code: str
    brand_id: UUID | None
    made_for: UUID
    ticket_id: UUID
    """The ticket that goes on with the matter now: that which it was made for, unless that was merged or moved."""
    customer_id: UUID
    expires_at: datetime
    account_id: UUID | None
    """Who used it first."""
    claimed_by: str | None
    """What the source calls them."""


@dataclass(frozen=True)
class Claim:
    """The first use of an invitation, to be written with all else that its batch changes."""

    invitation_id: UUID
    interaction_id: UUID
    ticket_id: UUID
    account_id: UUID
    former_customer_id: UUID
    customer_id: UUID


@dataclass(frozen=True)
class Mailbox:
    """A connection that customers can be invited to."""

    id: UUID
    name: str
    brand_id: UUID | None
    address: ClaimAddress


class NoMailbox(Exception):
    """Nobody can be invited on this ticket; the message says why."""


async def mailboxes(runtime: Runtime) -> tuple[Mailbox, ...]:
    """The connections that take invitations, the oldest first. Called outside of transactions."""
    able = [name for name, plugin in runtime.registry.sources.items() if plugin.capabilities.invitations]
    async with runtime.database.read() as connection:
        rows = await fetch_all(
            connection,
            """SELECT id FROM connection WHERE role = 'source' AND plugin = ANY(:plugins) AND status = 'active'
                 AND NOT paused_in ORDER BY created_at, id""",
            plugins=able,
        )
    endpoints = await runtime.connections.load([row["id"] for row in rows])
    found = [_mailbox(runtime, endpoints[row["id"]]) for row in rows if row["id"] in endpoints]
    return tuple(one for one in found if one is not None)


def _mailbox(runtime: Runtime, endpoint: Endpoint) -> Mailbox | None:
    try:
        plugin = build(runtime.registry, endpoint, runtime.time)
    except (ConfigInvalid, PluginMissing):
        return None
    config = plugin.setup.config
    address = plugin.claim_address(config) if isinstance(plugin, Source) and config is not None else None
    return Mailbox(endpoint.id, endpoint.name, endpoint.brand_id, address) if address is not None else None


def asks(text: str) -> bool:
    """Whether a private note asks for an invitation."""
    return COMMAND.match(text) is not None


async def invite(
    connection: AsyncConnection,
    ticket: Mapping[str, Any],
    boxes: Sequence[Mailbox],
    by: str,
    now: datetime,
    life: timedelta = LIFE,
) -> tuple[Row, Mailbox]:
    """Make an invitation for a ticket (id, brand_id), or renew the one that nobody has used yet.

    It leads to the first of `boxes` that is of the ticket's brand. Raises NoMailbox.
    """
    box = next((one for one in boxes if one.brand_id == ticket["brand_id"]), None)
    if box is None:
        raise NoMailbox(NO_MAILBOX)
    [row] = await fetch_all(
        connection,
        MADE,
        id=new_id(),
        ticket=ticket["id"],
        connection=box.id,
        code=new_claim(),
        by=by,
        now=now,
        until=now + life,
    )
    return row, box


async def by_note(
    connection: AsyncConnection,
    endpoint: Endpoint,
    ticket: Mapping[str, Any],
    item: AgentNote,
    boxes: Sequence[Mailbox],
    now: datetime,
) -> set[str]:
    """A private note that begins with `/invite`, of a ticket whose row is locked; a note answers it. Returns drains."""
    if not asks(item.text):
        return set()
    name = item.author.name or item.author.external_id
    row = await fetch_one(connection, "SELECT id, brand_id FROM ticket WHERE id = :id", id=ticket["id"])
    assert row is not None
    try:
        agent = f"{endpoint.id}:{item.author.external_id}"
        await attribute(connection, Origin("invite_customer", "agent", agent, name))
        made, box = await invite(connection, row, boxes, name, now)
        text = wording.invitation(
            box.address.to(made["code"]), written(made["code"]), box.address.carries_code, made["expires_at"]
        )
    except NoMailbox as error:
        text = f"No invitation: {error}"
    await attribute(connection, None)
    drain = await note_push(connection, ticket["id"], f"a:{endpoint.id}:{item.external_id}", text, now)
    return {drain} if drain else set()


async def named(connection: AsyncConnection, codes: Sequence[str]) -> dict[str, Invitation]:
    """The invitations of these codes, but for those of customers who were forgotten or are being so."""
    return {row["code"]: Invitation(**row) for row in await fetch_all(connection, INVITED, codes=list(codes))}


async def write_claims(connection: AsyncConnection, claims: Sequence[Claim], now: datetime) -> bool:
    """Write first uses, in the order in which they were made and in the caller's transaction.

    False: something that they rest on has changed since it was read (somebody else was faster, a customer was joined
    elsewhere or is being forgotten); nothing of the transaction may stay.
    """
    customers = {id for one in claims for id in (one.customer_id, one.former_customer_id)}
    # against an erasure that is being asked for, and a second claim on the same customer
    await fetch_all(
        connection, "SELECT id FROM customer WHERE id = ANY(:ids) ORDER BY id FOR UPDATE", ids=sorted(customers)
    )
    for one in claims:
        stands = await fetch_one(
            connection,
            """SELECT 1 FROM account a, ticket t WHERE a.id = :account AND a.customer_id = :former
                 AND t.id = :ticket AND t.customer_id = :customer
                 AND NOT EXISTS (SELECT 1 FROM erasure e WHERE e.customer_id IN (:former, :customer))""",
            account=one.account_id,
            former=one.former_customer_id,
            ticket=one.ticket_id,
            customer=one.customer_id,
        )
        claimed = stands and await execute(
            connection,
            "UPDATE invitation SET account_id = :account, claimed_at = :now WHERE id = :id AND account_id IS NULL",
            id=one.invitation_id,
            account=one.account_id,
            now=now,
        )
        if not claimed:
            return False
        if one.former_customer_id != one.customer_id:
            accounts = await fetch_all(
                connection,
                "SELECT id FROM account WHERE customer_id = :former ORDER BY id FOR NO KEY UPDATE",
                former=one.former_customer_id,
            )
            joined = [row["id"] for row in accounts]
            await _give(connection, joined, one.customer_id)
            # what is left of the other is a row without a name
            await execute(connection, "UPDATE customer SET name = NULL WHERE id = :id", id=one.former_customer_id)
            await execute(
                connection,
                "UPDATE invitation SET joined = :joined, former_customer_id = :former WHERE id = :id",
                id=one.invitation_id,
                joined=joined,
                former=one.former_customer_id,
            )
    return True


async def withdraw(connection: AsyncConnection, ticket_id: UUID, invitation_id: UUID) -> bool:
    """Take an invitation of a ticket back: it cannot be used any more, and accounts that it joined are as before.

    What they wrote stays on the ticket. Returns whether there was such an invitation.
    """
    # the customers first, as when it is used
    await fetch_all(
        connection,
        """SELECT c.id FROM customer c WHERE c.id IN (
               SELECT v.former_customer_id FROM invitation v WHERE v.id = :id
               UNION SELECT t.customer_id FROM ticket t WHERE t.id = :ticket) ORDER BY c.id FOR UPDATE""",
        id=invitation_id,
        ticket=ticket_id,
    )
    row = await fetch_one(
        connection,
        "DELETE FROM invitation WHERE id = :id AND ticket_id = :ticket RETURNING joined, former_customer_id",
        id=invitation_id,
        ticket=ticket_id,
    )
    if row is None:
        return False
    if row["former_customer_id"] is not None:
        # but not one that a later invitation joined to somebody else
        rows = await fetch_all(
            connection,
            """SELECT a.id FROM account a JOIN ticket t ON t.customer_id = a.customer_id
               WHERE t.id = :ticket AND a.id = ANY(:joined) ORDER BY a.id""",
            ticket=ticket_id,
            joined=row["joined"],
        )
        await _give(connection, [one["id"] for one in rows], row["former_customer_id"])
        await execute(
            connection,
            """UPDATE customer SET name = (SELECT a.name FROM account a WHERE a.customer_id = :id AND a.name IS NOT NULL
                   ORDER BY a.id LIMIT 1) WHERE id = :id""",
            id=row["former_customer_id"],
        )
    return True


async def _give(connection: AsyncConnection, accounts: Sequence[UUID], customer_id: UUID) -> None:
    """These accounts, and so their tickets, are this customer's from now on."""
    await fetch_all(
        connection,
        "SELECT id FROM ticket WHERE account_id = ANY(:accounts) ORDER BY id FOR NO KEY UPDATE",
        accounts=list(accounts),
    )
    for table, key in (("account", "id"), ("ticket", "account_id")):
        await execute(
            connection,
            f"UPDATE {table} SET customer_id = :customer WHERE {key} = ANY(:accounts)",
            accounts=list(accounts),
            customer=customer_id,
        )
