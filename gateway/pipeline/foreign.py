"""What polls show of tickets that are not ours: times to compare with, of which no ticket and no clock comes."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import execute_rows
from gateway.pipeline.normalise import Read
from gateway_schemas.ticket import ForeignTicket

# Keys in order, so that two batches cannot deadlock.
STORE = """
INSERT INTO foreign_ticket AS f (helpdesk_id, external_id, channel, began_at, answered_at, solved_at, reopened, deleted,
                                 changed_at)
SELECT helpdesk, ticket, channel, created_at, first_answered_at, solved_at, reopened, deleted, updated_at
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g (helpdesk uuid, ticket text, channel text, created_at timestamptz,
    first_answered_at timestamptz, solved_at timestamptz, reopened int, deleted boolean, updated_at timestamptz)
ORDER BY helpdesk, ticket
ON CONFLICT (helpdesk_id, external_id) DO UPDATE SET channel = excluded.channel, began_at = excluded.began_at,
    answered_at = COALESCE(f.answered_at, excluded.answered_at), solved_at = excluded.solved_at,
    reopened = GREATEST(f.reopened, excluded.reopened), deleted = excluded.deleted, changed_at = excluded.changed_at
WHERE excluded.changed_at >= f.changed_at
"""


async def note_foreign(connection: AsyncConnection, reads: Sequence[Read]) -> None:
    """Write the newest state of each, in the caller's transaction."""
    newest: dict[tuple[UUID, str], ForeignTicket] = {}
    for read in reads:
        for endpoint, item in read.news:
            if isinstance(item, ForeignTicket):
                known = newest.get((endpoint.id, item.ticket))
                if known is None or known.updated_at <= item.updated_at:
                    newest[endpoint.id, item.ticket] = item
    if newest:
        rows = [{"helpdesk": helpdesk, **item.model_dump(mode="json")} for (helpdesk, _), item in newest.items()]
        await execute_rows(connection, STORE, rows)
