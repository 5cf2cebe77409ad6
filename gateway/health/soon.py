"""Having a channel looked at sooner than it would be, where something was seen that may be a symptom."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import execute

SOON = timedelta(minutes=1)


async def look_within(connection: AsyncConnection, id: UUID, now: datetime, *, within: timedelta = SOON) -> None:
    """Called in the transaction that stores what was seen.

    A look that comes sooner anyway, or is under way just now, may see only what was there before: it is followed by
    another one.
    """
    await execute(
        connection,
        """UPDATE channel_health SET next_at = LEAST(next_at, :soon), again_at = GREATEST(again_at, :soon)
           WHERE connection_id = :id""",
        id=id,
        soon=now + within,
    )
