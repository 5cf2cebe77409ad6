"""Near-identical answers to many customers wait together for one person's word, and then go out one after another."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import Row, execute, fetch_all, fetch_one
from gateway.db.tables.columns import new_id
from gateway.pipeline.alike import ALIKE, bands_of, likeness, name_of
from gateway.pipeline.approvals import COLUMNS, Refused, approve, end
from gateway.pipeline.people import Who
from gateway.pipeline.verdicts import host_finding
from gateway.pipeline.verdicts import name_of as finding_name
from gateway.runtime import Runtime
from gateway.settings import Settings

MASS = "mass_reply"
"""The code of findings that put an answer into a group: the gateway's own, or a policy's."""
LOOKED_AT = 500
"""The most candidates that are compared; of a flood the newest will do."""

CANDIDATES = """
SELECT r.id, r.ticket_id, r.connection_id, r.state, r.group_id, r.approved_digest,
       COALESCE(r.rendered ->> 'text', r.text) AS text
FROM reply r
WHERE r.bands && CAST(:bands AS text[]) AND r.created_at > :since AND r.ticket_id <> :ticket AND r.amends IS NULL
  AND r.state IN ('received', 'queued', 'held', 'sending', 'unknown', 'sent')
ORDER BY r.created_at DESC LIMIT :limit
"""


@dataclass(frozen=True)
class Alike:
    """Near-identical answers to other customers, within the window."""

    rows: Sequence[Row] = ()

    @property
    def tickets(self) -> int:
        """On how many other tickets."""
        return len({row["ticket_id"] for row in self.rows})


async def find_alike(connection: AsyncConnection, ticket_id: UUID, text: str, since: datetime) -> Alike:
    """The answers to others since then that say nearly the same as `text`. One look at an index, then at a few rows."""
    bands = bands_of(text)
    if not bands:
        return Alike()
    rows = await fetch_all(connection, CANDIDATES, bands=bands, since=since, ticket=ticket_id, limit=LOOKED_AT)
    return Alike([row for row in rows if likeness(row["text"], text) >= ALIKE])


def window(settings: Settings, now: datetime) -> datetime:
    """Since when near-identical answers are counted."""
    return now - timedelta(minutes=settings.mass_reply_minutes)


def mass_finding(settings: Settings, alike: Alike) -> dict[str, Any] | None:
    """The finding that this answer is one too many of its kind."""
    if not settings.mass_replies or alike.tickets + 1 < settings.mass_replies:
        return None
    return host_finding(
        MASS,
        f"Nearly the same answer goes to {alike.tickets + 1} customers within {settings.mass_reply_minutes:g} minutes. "
        "They wait together for one approval.",
    )


async def covering(connection: AsyncConnection, alike: Alike, text: str, since: datetime) -> UUID | None:
    """The approved group that an answer with exactly these words goes out with, if there is one."""
    if not any(row["group_id"] for row in alike.rows):
        return None
    row = await fetch_one(
        connection,
        """SELECT id FROM reply_group WHERE id = ANY(:ids) AND state = 'approved' AND :name = ANY(words)
               AND last_at > :since ORDER BY decided_at DESC LIMIT 1""",
        ids=list({row["group_id"] for row in alike.rows} - {None}),
        name=name_of(text),
        since=since,
    )
    return row["id"] if row else None


async def turn(connection: AsyncConnection, group_id: UUID, settings: Settings, now: datetime) -> datetime | None:
    """Whether one of an approved group may leave now, in the caller's transaction: None, and the next waits its turn;
    else when to ask again."""
    touched = await execute(
        connection,
        """UPDATE reply_group SET last_at = :now, next_at = CAST(:now AS timestamptz) + make_interval(secs => :pace)
           WHERE id = :id AND (next_at IS NULL OR next_at <= :now)""",
        id=group_id,
        now=now,
        pace=settings.mass_reply_pace,
    )
    if touched:
        return None
    row = await fetch_one(connection, "SELECT next_at FROM reply_group WHERE id = :id", id=group_id)
    found: datetime = row["next_at"] if row else now
    return found


async def join(
    connection: AsyncConnection, settings: Settings, reply: Row, text: str, alike: Alike, now: datetime
) -> set[str]:
    """Put a held answer into its group, in the caller's transaction; others still queued are looked at anew.

    Returns the drains to wake.
    """
    # two connections may hold the first of a kind at the same moment: they take turns
    await execute(connection, "SELECT pg_advisory_xact_lock(hashtext('reply_group'))")
    rows = await fetch_all(
        connection,
        """SELECT DISTINCT g.id, g.sample, g.opened_at FROM reply_group g JOIN reply r ON r.group_id = g.id
           WHERE r.bands && CAST(:bands AS text[]) AND g.state = 'held' AND g.last_at > :since
           ORDER BY g.opened_at DESC""",
        bands=bands_of(text),
        since=window(settings, now),
    )
    group_id: UUID | None = next((row["id"] for row in rows if likeness(row["sample"], text) >= ALIKE), None)
    if group_id is None:
        group_id = new_id()
        await execute(
            connection,
            """INSERT INTO reply_group (id, state, sample, words, opened_at, last_at)
               VALUES (:id, 'held', :sample, '{}', :now, :now)""",
            id=group_id,
            sample=text,
            now=now,
        )
    await execute(connection, "UPDATE reply SET group_id = :group WHERE id = :id", group=group_id, id=reply["id"])
    await execute(connection, "UPDATE reply_group SET last_at = :now WHERE id = :id", id=group_id, now=now)
    again = await fetch_all(
        connection,
        """UPDATE reply SET state = 'received', updated_at = :now
           WHERE id = ANY(:ids) AND state = 'queued' AND code IS NULL AND group_id IS NULL
             AND approved_digest IS NULL RETURNING connection_id""",
        ids=sorted(row["id"] for row in alike.rows if row["state"] == "queued"),
        now=now,
    )
    return {f"reply:{row['connection_id']}" for row in again}


MEMBERS = f"""
SELECT {COLUMNS}, COALESCE(r.rendered ->> 'text', r.text) AS text FROM reply r
WHERE r.group_id = :id AND r.state = 'held' ORDER BY r.written_at, r.id
"""


def digest_of(members: Sequence[Row]) -> str:
    """Names what an approval of the group lets go: the rendered digests of all that wait in it."""
    return hashlib.sha256(" ".join(sorted(str(one["digest"]) for one in members)).encode()).hexdigest()


async def release(
    connection: AsyncConnection, runtime: Runtime, group_id: UUID, by: Who, digest: str, now: datetime
) -> set[str]:
    """One approval for all that wait in a group. Other reasons to hold one of them still hold it. Raises Refused."""
    members = await _decide(connection, group_id, digest)
    wakes: set[str] = set()
    settings = runtime.settings
    for member in members:
        names = [finding_name(one) for one in member["findings"] or () if one["code"] == MASS]
        wakes |= await approve(
            connection,
            member,
            by,
            now,
            timedelta(hours=settings.reply_ttl_hours),
            digest=member["digest"],
            findings=names,
        )
    await _close(
        connection,
        group_id,
        "approved",
        by.name,
        None,
        now,
        words=sorted({name_of(one["text"]) for one in members}),
        next_at=now,
    )
    return wakes


async def refuse(connection: AsyncConnection, group_id: UUID, by: Who, reason: str | None, now: datetime) -> set[str]:
    """None of a group goes out; each agent reads why. Raises Refused."""
    wakes: set[str] = set()
    why = f"rejected by {by.name}" + (f": {reason}" if reason else "")
    for member in await _decide(connection, group_id, None):
        wakes |= await end(connection, member["id"], "rejected", why, now)
    await _close(connection, group_id, "rejected", by.name, reason, now)
    return wakes


async def _decide(connection: AsyncConnection, group_id: UUID, digest: str | None) -> list[Row]:
    """The group's held members, locked, if it still waits and is what was looked at."""
    group = await fetch_one(connection, "SELECT state FROM reply_group WHERE id = :id FOR UPDATE", id=group_id)
    if group is None:
        raise Refused("There is no such group.")
    if group["state"] != "held":
        raise Refused(f"The group was {group['state']} already.")
    members = await fetch_all(connection, MEMBERS + " FOR UPDATE OF r", id=group_id)
    if digest is not None and digest != digest_of(members):
        raise Refused("The group has changed since you looked; read it again.", field="digest")
    return members


async def _close(
    connection: AsyncConnection,
    group_id: UUID,
    state: str,
    by: str,
    reason: str | None,
    now: datetime,
    *,
    words: Sequence[str] = (),
    next_at: datetime | None = None,
) -> None:
    await execute(
        connection,
        """UPDATE reply_group SET state = :state, decided_by = :by, reason = :reason, decided_at = :now, last_at = :now,
               words = :words, next_at = :next WHERE id = :id""",
        id=group_id,
        state=state,
        by=by,
        reason=reason,
        now=now,
        words=list(words),
        next=next_at,
    )
