"""What a whole listing does not have any more: sources that do not tell of deletions let them be seen this way."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import fetch_all
from gateway_schemas.interaction import Listing, Wanted

MOST = 500
"""At most this many are asked for because of one listing. When more are missing, the listing is what is wrong."""


async def missing_from(connection: AsyncConnection, scope: str, listing: Listing, now: datetime) -> list[Wanted]:
    """What is stored of the listing's subject and stretch and is not in it, to be looked at once more.

    Absence alone deletes nothing: a thing may have changed while the listing was read, and so have left the part that
    was still to come for the part that had been read.
    """
    rows = await fetch_all(
        connection,
        # interaction_of_subject holds reviews that are not deleted, in order of change: a stretch is one range of it
        """
        SELECT external_id FROM interaction
        WHERE scope = :scope AND data -> 'subject' ->> 'external_id' = :subject AND kind = 'review'
          AND direction = 'inbound' AND deleted_at IS NULL AND version_at < :before
          AND (CAST(:after AS timestamptz) IS NULL OR version_at > :after)
          AND NOT (external_id = ANY(:present))
        ORDER BY version_at DESC LIMIT :most
        """,
        scope=scope,
        subject=listing.subject,
        before=listing.before,
        after=listing.after,
        present=list(listing.present),
        most=MOST,
    )
    return [Wanted(ref=row["external_id"], reason="refresh", account=listing.account, at=now) for row in rows]
