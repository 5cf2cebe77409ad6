"""One call stops everything outbound in a scope, within a second, however many processes send."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import Database, Row, fetch_all, fetch_one
from gateway.events.announce import announce, announce_replies
from gateway.pipeline.marks import mark_push
from gateway_schemas.errors import Retry

STOPPED_CODE = "stopped"
FRESH = 0.25
"""Seconds that a look at the stops may be old when the first byte leaves. Well below the promised second, for what a
busy machine adds."""

# Of reply `r`, its ticket `t` and its connection `c`. Stops in force are few, so this reads a handful of rows.
STOPPED = """
EXISTS (SELECT 1 FROM outbound_pause p WHERE p.lifted_at IS NULL AND (p.scope = 'all'
    OR (p.scope = 'brand' AND p.scope_id = t.brand_id::text) OR (p.scope = 'source' AND p.scope_id = c.plugin)
    OR (p.scope = 'connection' AND p.scope_id = c.id::text) OR (p.scope = 'tag' AND p.scope_id = ANY(t.tags))
    OR (p.scope = 'incident' AND 'incident:' || p.scope_id = ANY(t.tags))))
"""

Released = Literal["none", "approved", "all"]


class StopGate:
    """Asked right before a request of a reply leaves: raises Retry when the reply is in the scope of a stop.

    Between claiming a reply and sending it lie budgets, connections and a busy event loop; a stop counts until the last
    moment.
    """

    def __init__(self, database: Database, reply_id: UUID) -> None:
        self._database = database
        self._reply_id = reply_id

    async def __call__(self) -> None:
        """Look until a look is fresh."""
        while True:
            began = time.monotonic()
            try:
                async with self._database.read() as connection:
                    row = await fetch_one(
                        connection,
                        f"""SELECT c.paused_out OR {STOPPED} AS stopped
                            FROM reply r JOIN ticket t ON t.id = r.ticket_id JOIN connection c ON c.id = r.connection_id
                            WHERE r.id = :id""",
                        id=self._reply_id,
                    )
            except DBAPIError as error:  # who cannot look does not send
                raise Retry("the stops could not be looked at", code=STOPPED_CODE) from error
            if row is None or row["stopped"]:
                raise Retry("everything outbound is stopped here", code=STOPPED_CODE)
            if time.monotonic() - began < FRESH:
                return


async def lift(
    connection: AsyncConnection, scope: str, scope_id: str, released: Released, who: str, now: datetime
) -> tuple[Row | None, set[str]]:
    """Lift a stop, in the caller's transaction. What waited and is not `released` is held for a person.

    Returns the lifted stop, None where there is none, and the drains to wake.
    """
    row = await fetch_one(
        connection,
        """UPDATE outbound_pause SET lifted_at = :now, lifted_by = :who, released = :released
           WHERE scope = :scope AND scope_id = :id AND lifted_at IS NULL
           RETURNING id, scope, scope_id, reason, paused_by, since, lifted_at, lifted_by, released""",
        scope=scope,
        id=scope_id,
        who=who,
        released=released,
        now=now,
    )
    wakes: set[str] = set()
    if row is None:
        return None, wakes
    await announce(connection, "outbound.resumed", "outbound_pause", row["id"], {}, now)
    if released != "all":
        wakes |= await _hold(connection, row, released, now)
    waiting = await fetch_all(
        connection,
        "SELECT DISTINCT connection_id FROM reply WHERE state IN ('received', 'queued', 'retracting')",
    )
    for one in waiting:
        wakes |= {f"reply:{one['connection_id']}", f"send:{one['connection_id']}"}
    return row, wakes


# In one transaction with the lifting: no sender sees the stop lifted and the reply still queued.
HOLD = """
UPDATE reply r SET state = 'held', code = 'stopped', findings = NULL, updated_at = :now,
    reason = 'It waited through a stop of everything outbound, and was not released with it.'
FROM ticket t, connection c
WHERE t.id = r.ticket_id AND c.id = r.connection_id AND r.state IN ('received', 'queued')
  AND (r.code IS DISTINCT FROM 'repeat') AND {scope} AND {kept} RETURNING r.id
"""
SCOPES = {
    "all": "true",
    "brand": "t.brand_id::text = :scope_id",
    "source": "c.plugin = :scope_id",
    "connection": "c.id::text = :scope_id",
    "tag": ":scope_id = ANY(t.tags)",
    "incident": "'incident:' || :scope_id = ANY(t.tags)",
}
KEPT = {"none": "true", "approved": "r.approved_digest IS NULL"}


async def _hold(connection: AsyncConnection, stop: Row, released: Released, now: datetime) -> set[str]:
    values: dict[str, Any] = {} if stop["scope"] == "all" else {"scope_id": stop["scope_id"]}
    statement = HOLD.format(scope=SCOPES[stop["scope"]], kept=KEPT[released])
    wakes: set[str] = set()
    rows = await fetch_all(connection, statement, now=now, **values)
    await announce_replies(connection, "reply.held", [row["id"] for row in rows], now)
    for row in rows:
        reason = f"Everything outbound was stopped ({stop['reason'] or 'no reason given'}); it needs a person's word."
        drain = await mark_push(connection, row["id"], "held", reason=reason, now=now, suffix=f"stopped:{stop['id']}")
        wakes |= {drain} if drain else set()
    return wakes
