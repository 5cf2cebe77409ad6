"""What agents do to an answer after it went out: a changed text is amended at the source, a deleted one taken back.

A changed text is a reply of its own that names the one it amends, and passes every policy like any other. Where the
source can do neither, the agent is told that what is published stands.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.connections import Endpoint
from gateway.db.database import execute, fetch_all, fetch_one, insert_rows
from gateway.db.tables.columns import new_id
from gateway.db.tables.reply import new_reply
from gateway.engine.leases import Held
from gateway.events.announce import announce_replies
from gateway.net.client import calling
from gateway.pipeline.marks import note_push
from gateway.pipeline.stops import STOPPED, STOPPED_CODE, StopGate
from gateway.pipeline.trouble import Trouble, note_attempt, note_trouble, trouble_of
from gateway.runtime import Runtime
from gateway_schemas.reply import Sent
from gateway_schemas.source import Source
from gateway_schemas.ticket import AgentReply

STANDS = "The answer was changed here after it had gone out; the published one is unchanged."
TAKEN_BACK = "The answer was taken back here after it had gone out; the published one still stands."
SLOT = "gateway@1:one_slot"
"""What was waived by whoever let an answer take the place of another."""
OPEN = "('received', 'queued', 'held', 'blocked')"


async def amend(
    connection: AsyncConnection, known: Mapping[str, Any], item: AgentReply, now: datetime, ttl: timedelta
) -> set[str]:
    """An agent changed the text of an answer that is out or on its way out. Its row is locked. Returns drains."""
    await execute(
        connection,
        "UPDATE reply SET comment_revision = :revision WHERE id = :id",
        id=known["id"],
        revision=item.revision,
    )
    if known["text"] == item.text:
        # changed back: what was to change it is void
        rows = await fetch_all(
            connection,
            f"""UPDATE reply SET state = 'cancelled', code = 'changed_back', updated_at = :now,
                    reason = 'the agent changed the text back' WHERE amends = :id AND state IN {OPEN} RETURNING id""",
            id=known["id"],
            now=now,
        )
        await announce_replies(connection, "reply.cancelled", [row["id"] for row in rows], now)
        return set()
    touched = await execute(
        connection,
        f"""UPDATE reply SET text = :text, html = :html, state = 'received', code = NULL, reason = NULL,
                approved_digest = NULL, waived = NULL, due_at = :now, updated_at = :now
            WHERE amends = :id AND state IN {OPEN}""",
        id=known["id"],
        text=item.text,
        html=item.html,
        now=now,
    )
    if not touched:
        id = new_id()
        await insert_rows(
            connection,
            "reply",
            [
                new_reply(
                    id=id,
                    ticket_id=known["ticket_id"],
                    connection_id=known["connection_id"],
                    helpdesk_id=known["helpdesk_id"],
                    author_id=item.author.external_id,
                    author_name=item.author.name,
                    author_email=item.author.email,
                    origin=item.origin,
                    text=item.text,
                    html=item.html,
                    attachments=known["attachments"],
                    leg=known["visibility"],
                    interaction_id=known["interaction_id"],
                    amends=known["id"],
                    due_at=now,
                    not_after=now + ttl,
                    now=now,
                )
            ],
        )
    return {f"reply:{known['connection_id']}"}


async def take_back(connection: AsyncConnection, known: Mapping[str, Any], who: str, now: datetime) -> set[str]:
    """An agent deleted an answer, or made it private, that is out or on its way out. Its row is locked."""
    await execute(
        connection,
        """UPDATE reply SET retract_by = :who, due_at = CASE WHEN state = 'sent' THEN :now ELSE due_at END,
               state = CASE WHEN state = 'sent' THEN 'retracting' ELSE state END, updated_at = :now WHERE id = :id""",
        id=known["id"],
        who=who,
        now=now,
    )
    rows = await fetch_all(
        connection,
        f"""UPDATE reply SET state = 'cancelled', code = 'taken_back', reason = 'the agent took the answer back',
                updated_at = :now WHERE amends = :id AND state IN {OPEN} RETURNING id""",
        id=known["id"],
        now=now,
    )
    await announce_replies(connection, "reply.cancelled", [row["id"] for row in rows], now)
    return {f"send:{known['connection_id']}"}


async def follow_sent(connection: AsyncConnection, reply_id: UUID, now: datetime) -> set[str]:
    """Called once a reply is proven to be out: what it took the place of is out no more. Returns drains to wake."""
    reply = await fetch_one(
        connection,
        "SELECT id, amends, interaction_id, retract_by, connection_id, waived FROM reply WHERE id = :id",
        id=reply_id,
    )
    if reply is None:
        return set()
    if reply["amends"] is not None:
        await execute(
            connection,
            """UPDATE reply o SET text = a.text, html = a.html, rendered = a.rendered, digest = a.digest,
                   external_id = a.external_id, url = COALESCE(a.url, o.url), updated_at = :now
               FROM reply a WHERE a.id = :id AND o.id = a.amends""",
            id=reply_id,
            now=now,
        )
        return set()
    if any(one["finding"] == SLOT for one in reply["waived"] or ()):
        rows = await fetch_all(
            connection,
            """UPDATE reply SET state = 'retracted', code = 'replaced', reason = 'a newer answer took its place',
                   updated_at = :now
               WHERE interaction_id = :target AND id <> :id AND state = 'sent' AND amends IS NULL RETURNING id""",
            target=reply["interaction_id"],
            id=reply_id,
            now=now,
        )
        await announce_replies(connection, "reply.retracted", [row["id"] for row in rows], now)
    if reply["retract_by"] is not None:
        await execute(
            connection,
            "UPDATE reply SET state = 'retracting', due_at = :now WHERE id = :id AND state = 'sent'",
            id=reply_id,
            now=now,
        )
        return {f"send:{reply['connection_id']}"}
    return set()


RETRACTING = f"""
SELECT r.id, r.ticket_id, r.external_id, r.url, r.sent_at, r.tries, r.retract_by
FROM reply r JOIN ticket t ON t.id = r.ticket_id JOIN connection c ON c.id = r.connection_id
WHERE r.connection_id = :connection AND r.state = 'retracting' AND r.due_at <= :now AND NOT c.paused_out
  AND NOT {STOPPED}
ORDER BY r.due_at LIMIT 20
"""


async def retract_due(runtime: Runtime, endpoint: Endpoint, source: Source[Any], held: Held) -> None:
    """Delete at the source what agents took back at the helpdesk. Deleting twice is harmless, so trying again is."""
    async with runtime.database.read() as connection:
        rows = await fetch_all(connection, RETRACTING, connection=endpoint.id, now=runtime.now())
    for row in rows:
        await held.check_fresh(runtime.database)
        started = time.monotonic()
        trouble: Trouble | None = None
        try:
            if not source.capabilities.delete:
                trouble = Trouble("rejected", "no_delete", f"{endpoint.plugin} cannot delete what was published")
            else:
                gate = StopGate(runtime.database, row["id"])
                with calling(lane="reply", seconds=runtime.settings.call_timeout, gate=gate):
                    async with asyncio.timeout(runtime.settings.call_timeout + 1):
                        await source.retract(Sent(external_id=row["external_id"], url=row["url"]))
        except Exception as error:  # recorded on the reply
            trouble = trouble_of(error)
        now = runtime.now()
        async with runtime.database.write() as connection:
            await held.check(connection)
            wakes = await _retracted(connection, row, trouble, now)
            if trouble is not None and trouble.code != STOPPED_CODE:
                await note_trouble(connection, endpoint, trouble, now)
            await note_attempt(
                connection,
                endpoint.id,
                "retract",
                str(row["id"]),
                trouble,
                now,
                int((time.monotonic() - started) * 1000),
            )
        await runtime.wake(wakes)


async def _retracted(
    connection: AsyncConnection, row: Mapping[str, Any], trouble: Trouble | None, now: datetime
) -> set[str]:
    again = trouble is not None and trouble.kind in ("retry", "reauthorise", "unknown")
    gone = trouble is None or trouble.kind == "gone"  # somebody was faster
    if again and trouble is not None:
        await execute(
            connection,
            """UPDATE reply SET due_at = :due, tries = tries + 1, code = :code, reason = :reason, updated_at = :now
               WHERE id = :id AND state = 'retracting'""",
            id=row["id"],
            due=now + trouble.delay(row["tries"] + 1),
            code=trouble.code,
            reason=trouble.reason,
            now=now,
        )
        return set()
    touched = await execute(
        connection,
        """UPDATE reply SET state = :state, code = :code, reason = :reason, updated_at = :now
           WHERE id = :id AND state = 'retracting'""",
        id=row["id"],
        state="retracted" if gone else "sent",
        code=None if gone or trouble is None else trouble.code,
        reason=f"taken back by {row['retract_by']}" if gone else TAKEN_BACK,
        now=now,
    )
    if touched and gone:
        await announce_replies(connection, "reply.retracted", [row["id"]], now)
    fields: dict[str, Any] = {"fields": {"state": "none"}}
    text = None
    if trouble is not None and not gone:
        text, fields = f"{TAKEN_BACK} {trouble.reason}. {row['url'] or ''}".strip(), {}
    drain = await note_push(connection, row["ticket_id"], f"b:{row['id']}", text, now, reply_id=row["id"], **fields)
    return {drain} if drain else set()
