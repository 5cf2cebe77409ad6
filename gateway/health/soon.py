"""Having a channel looked at sooner than it would be, where something was seen that may be a symptom."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import execute

SOON = timedelta(minutes=1)
LATELY = timedelta(minutes=7)


async def look_within(connection: AsyncConnection, id: UUID, now: datetime, *, within: timedelta = SOON) -> None:
    """Called in the transaction that stores what was seen.

    A look that is due or under way just now may see only what was there before: it comes that much later, unless the
    last one was long ago, so that nothing puts it off for ever.
    """
    await execute(
        connection,
        """UPDATE channel_health SET next_at = :soon
           WHERE connection_id = :id AND (next_at > :soon OR (next_at <= :now AND looked_at > :lately))""",
        id=id,
        now=now,
        soon=now + within,
        lately=now - LATELY,
    )
