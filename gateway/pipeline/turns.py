"""Whose turn it is at a helpdesk: which tickets' changes go next, by lane, and by thread and source in turn.

To know that, all open changes are looked at. A helpdesk that comes back after an outage has tens of thousands, so the
order found is followed for a moment, as long as more waits than can go at once.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import Row, fetch_all

AHEAD = 200
"""Tickets that are put in order beyond those that can go at once."""
FOLLOWED = 4.0
"""How long an order is followed, in times of what it took to find it: a fifth of the time goes into that at most."""
LONGEST = 0.2
"""Seconds it is followed at most."""


def _ready(among: str) -> str:
    return f"""
WITH due AS (
    SELECT ticket_id, min(lane) AS lane, min(id) AS first, max(id) AS last,
           (array_agg(thread_id ORDER BY id))[1] AS thread_id, (array_agg(source_id ORDER BY id))[1] AS source_id
    FROM push WHERE {among} AND helpdesk_id = :helpdesk AND state IN ('pending', 'in_flight', 'job')
    GROUP BY ticket_id
    -- state fields never tried may wait for company; whatever else is first must be due, or its ticket waits behind it
    HAVING bool_and(state = 'pending') AND COALESCE(
        (array_agg(due_at ORDER BY id) FILTER (WHERE kind <> 'update' OR tries > 0))[1], min(due_at)) <= :now
), turns AS (
    -- four thousand commenters under one post take turns with everybody else, and so does a flooded connection
    SELECT *, row_number() OVER (PARTITION BY lane, source_id, thread_id ORDER BY first) AS turn FROM due
)
SELECT ticket_id, lane, source_id, newest, (SELECT t.moved_to IS NOT NULL FROM ticket t WHERE t.id = ticket_id) AS moved
FROM (SELECT *, row_number() OVER (PARTITION BY lane, source_id ORDER BY turn, first) AS place,
             max(last) OVER () AS newest FROM turns) AS placed
ORDER BY lane, place, first LIMIT :limit
"""


READY = _ready("true")
STILL_READY = _ready("""ticket_id IN (
    SELECT unnest(CAST(:ids AS uuid[]))
    -- what came since for agents, and from sources that have nothing else waiting, does not wait for the next order
    UNION SELECT p.ticket_id FROM push p WHERE p.id > :newest AND p.helpdesk_id = :helpdesk AND p.state = 'pending'
        AND (p.lane = 0 OR p.source_id <> ALL(CAST(:sources AS uuid[]))))""")


class Turns:
    """The tickets whose changes are next at one helpdesk, for one drain of it."""

    def __init__(self, helpdesk_id: UUID) -> None:
        self._helpdesk = helpdesk_id
        self._order: list[UUID] = []
        self._sources: list[UUID] = []
        self._newest = 0
        self._until = 0.0

    async def next(self, connection: AsyncConnection, now: datetime, limit: int) -> list[Row]:
        """Up to so many tickets that are ready, with lane and whether the ticket was moved, in their order."""
        if time.monotonic() < self._until and len(self._order) >= limit:
            place = {id: number for number, id in enumerate(self._order[:limit])}
            given = {"ids": list(place), "sources": self._sources, "newest": self._newest}
            rows = await self._read(connection, STILL_READY, now, 2 * limit, **given)
            if sum(row["ticket_id"] in place for row in rows) == limit:
                return sorted(rows, key=lambda row: (row["lane"], place.get(row["ticket_id"], -1)))[:limit]
        began = time.monotonic()
        rows = await self._read(connection, READY, now, limit + AHEAD)
        ended = time.monotonic()
        self._order = [row["ticket_id"] for row in rows]
        self._sources = list({row["source_id"] for row in rows} - {None})
        self._newest = rows[0]["newest"] if rows else 0
        self._until = ended + min(LONGEST, FOLLOWED * (ended - began))
        return rows[:limit]

    def took(self, ids: Iterable[UUID]) -> None:
        """These are under way."""
        taken = set(ids)
        self._order = [id for id in self._order if id not in taken]

    async def _read(
        self, connection: AsyncConnection, sql: str, now: datetime, limit: int, **values: object
    ) -> list[Row]:
        return await fetch_all(connection, sql, helpdesk=self._helpdesk, now=now, limit=limit, **values)
