"""Tickets and clocks in bulk, for tests and measurements that do not care how they came about."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from gateway.db.database import fetch_all
from gateway.runtime import Runtime
from gateway.sla.clock import Clock, Terms
from gateway.sla.clocks import Applied, apply
from gateway.sla.requests import Request, Start
from gateway.sla.rows import load

TICKETS = """
WITH numbers AS (SELECT n, gen_random_uuid() AS customer, gen_random_uuid() AS account, gen_random_uuid() AS ticket
        FROM generate_series(1, :count) AS n),
    customers AS (INSERT INTO customer (id, created_at) SELECT customer, :now FROM numbers RETURNING id),
    accounts AS (
        INSERT INTO account (id, provider, scope, external_id, customer_id, created_at, updated_at)
        SELECT account, 'inbound', '', account::text, customer, :now, :now FROM numbers RETURNING id)
INSERT INTO ticket (id, connection_id, helpdesk_id, account_id, customer_id, subject, status, priority, tags, opened_at,
    last_inbound_at, created_at, updated_at)
SELECT ticket, :source, :helpdesk, account, customer, 'late', 'new', 'normal', '{}', :now, :now, :now, :now FROM numbers
RETURNING id
"""


async def add_tickets(
    runtime: Runtime, source: UUID, count: int, now: datetime, *, helpdesk: UUID | None = None
) -> list[UUID]:
    """So many tickets, each of a customer of its own."""
    async with runtime.database.write() as connection:
        rows = await fetch_all(connection, TICKETS, count=count, now=now, source=source, helpdesk=helpdesk)
    return [row["id"] for row in rows]


async def ask(runtime: Runtime, requests: Sequence[Request], now: datetime) -> Applied:
    """Apply requests in a transaction of their own."""
    async with runtime.database.write() as connection:
        return await apply(connection, runtime.calendars, requests, now)


async def clocks_of(runtime: Runtime, ticket: UUID) -> list[Clock]:
    """A ticket's clocks."""
    async with runtime.database.read() as connection:
        return await load(connection, runtime.calendars, "WHERE ticket_id = :id ORDER BY id", id=ticket)


def started(ticket: UUID, at: datetime, minutes: float = 60, **more: Any) -> Start:
    """A request to start a clock of so many minutes."""
    terms = more.pop("terms", None) or Terms(timedelta(minutes=minutes))
    return Start(ticket, more.pop("kind", "first_response"), at, more.pop("seen_at", at), terms, **more)
