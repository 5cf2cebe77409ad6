"""Changes that wait: for the post they answer to be fetched, for the reply that they may be the echo of, or for facts
about whoever wrote them.

Whoever brings what is waited for and whoever begins to wait may commit at the same moment, and neither sees the other.
So nobody releases inside of a transaction: each looks after its own commit, and the tick looks once more.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import fetch_all
from gateway.engine.shards import SHARD_SQL
from gateway.pipeline.leaving import in_doubt

FACTS = "facts:"
"""What a change waits for whose author enrichers are being asked about begins with this; the account's id follows."""

UUID_SHAPE = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
RELEASE = f"""
UPDATE revision r SET state = 'pending', waits_for = NULL, wait_until = NULL,
    -- the brand's answers are threaded by whoever threads the customer they answer
    shard = COALESCE((SELECT {SHARD_SQL.format("p.account_id")} FROM interaction i JOIN interaction p
                          ON p.scope = i.scope AND p.external_id = i.in_reply_to
                      WHERE i.id = r.interaction_id AND i.direction = 'outbound'), r.shard)
WHERE r.state = 'waiting' AND (
    r.wait_until <= :now
    OR EXISTS (
        -- it has come, under its own id or another it goes by, and waits for nothing itself
        SELECT 1 FROM interaction i WHERE i.scope = r.scope
            AND i.id = COALESCE(
                (SELECT d.id FROM interaction d WHERE d.scope = r.scope AND d.external_id = r.waits_for),
                (SELECT x.interaction_id FROM interaction_alias x WHERE x.scope = r.scope AND x.alias = r.waits_for))
            AND NOT EXISTS (SELECT 1 FROM revision w WHERE w.interaction_id = i.id AND w.state = 'waiting'))
    OR EXISTS (
        -- it will not come
        SELECT 1 FROM interaction i JOIN wanted w ON w.connection_id = i.connection_id AND w.ref = r.waits_for
        WHERE i.id = r.interaction_id AND w.state IN ('gone', 'failed'))
    OR EXISTS (
        -- by the answer's id: looked for by its name, it would be every answer there ever was
        SELECT 1 FROM reply p
        WHERE p.id = CASE WHEN r.waits_for ~ '^reply:{UUID_SHAPE}$' THEN CAST(substr(r.waits_for, 7) AS uuid) END
            AND (NOT {in_doubt("p")} OR p.code = 'needs_person'))
    OR (r.waits_for LIKE '{FACTS}%' AND NOT EXISTS (
        SELECT 1 FROM enrichment e WHERE '{FACTS}' || e.account_id = r.waits_for AND e.asked_at IS NOT NULL
            AND e.answer_by > :now))
)
RETURNING r.shard
"""


async def release_waiting(connection: AsyncConnection, now: datetime) -> set[str]:
    """Let go of everything whose reason to wait is over. Returns the drains to wake.

    Costs one look at an index of waiting rows, of which there are few at any time.
    """
    wakes: set[str] = set()
    while rows := await fetch_all(connection, RELEASE, now=now):
        # what was let go may have been waited for in its turn
        wakes |= {f"thread:{row['shard']}" for row in rows}
    return wakes
