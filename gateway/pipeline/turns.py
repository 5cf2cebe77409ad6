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
WITH open AS (
    SELECT ticket_id, min(lane) AS lane, min(id) AS first, max(id) AS last, bool_or(state <> 'pending') AS under_way,
           -- state fields never tried may wait for company; whatever else is first must be due, or its ticket waits
           COALESCE((array_agg(due_at ORDER BY id) FILTER (WHERE kind <> 'update' OR tries > 0))[1], min(due_at))
               AS due_at,
           (array_agg(thread_id ORDER BY id))[1] AS thread_id,
           COALESCE((array_agg(source_id ORDER BY id))[1], :helpdesk) AS source_id
    FROM push WHERE {among} AND helpdesk_id = :helpdesk AND state IN ('pending', 'in_flight', 'job')
    GROUP BY ticket_id
), turns AS (
    -- four thousand commenters under one post take turns with everybody else, and so does a flooded connection; what is
    -- under way has had its turn, or a flood would have every slot that comes free one at a time
    SELECT *, row_number() OVER (PARTITION BY lane, source_id, thread_id ORDER BY under_way DESC, first) AS turn
    FROM open WHERE under_way OR due_at <= :now
)
SELECT ticket_id, lane, source_id, place, newest,
       (SELECT t.moved_to IS NOT NULL FROM ticket t WHERE t.id = ticket_id) AS moved
FROM (SELECT *, row_number() OVER (PARTITION BY lane, source_id ORDER BY turn, under_way DESC, first) AS place,
             max(last) OVER () AS newest FROM turns) AS placed
WHERE NOT under_way ORDER BY lane, place, first LIMIT :limit
"""


READY = _ready("true")
STILL_READY = _ready("""ticket_id IN (
    SELECT unnest(CAST(:ids AS uuid[]))
    -- what came since for agents, and from sources that have nothing else waiting, does not wait for the next order
    UNION SELECT p.ticket_id FROM generate_series(0, 2) AS l (lane) JOIN push p ON p.lane = l.lane
        WHERE p.helpdesk_id = :helpdesk AND p.state IN ('pending', 'in_flight', 'job') AND p.id > :newest
          AND (p.lane = 0 OR COALESCE(p.source_id, :helpdesk) <> ALL(CAST(:sources AS uuid[]))))""")


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
            planned = {id: number for number, id in enumerate(self._order[:limit])}
            given = {"ids": list(planned), "sources": self._sources, "newest": self._newest}
            rows = await self._read(connection, STILL_READY, now, 2 * limit, **given)
            if sum(row["ticket_id"] in planned for row in rows) == limit:
                # one at a time of each source that has just come: the others take their turns in the next order
                chosen = [row for row in rows if row["ticket_id"] in planned or row["lane"] == 0 or row["place"] == 1]
                return sorted(chosen, key=lambda row: (row["lane"], planned.get(row["ticket_id"], -1)))[:limit]
        began = time.monotonic()
        rows = await self._read(connection, READY, now, limit + AHEAD)
        ended = time.monotonic()
        self._order = [row["ticket_id"] for row in rows]
        self._sources = list({row["source_id"] for row in rows})
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
