"""What the database knows of a connection's health: what came, by which way, what was turned away, what is late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.connections import Endpoint
from gateway.db.database import Row, fetch_all, fetch_one
from gateway.health.expectation import Expectation
from gateway.health.symptoms import HEARD_WITHIN, Facts, Follower, Lane
from gateway.pipeline.record import scope_of
from gateway.registry import Registry
from gateway_schemas.helpdesk import Helpdesk
from gateway_schemas.source import Source

LATE = timedelta(seconds=30)
"""What polling finds younger than this may be on its way as a push."""
SKEW = timedelta(minutes=1)
"""How far a provider's clock may be from ours."""
REACH = timedelta(days=7)
"""How old something may be that counts as missed by push."""
LEARN_AT_MOST = timedelta(days=60)
_HOUR = timedelta(hours=1)

CONNECTION = """
SELECT c.id, c.name, c.status, c.status_reason, c.paused_in, c.blocked_until, c.blocked_reason, c.created_at, c.app_id,
       c.helpdesk_id, c.brand_id, c.health_ticket
FROM connection c WHERE c.id = :id
"""

# Plan: `interaction_window`, one range of it: from the last thing that was pushed on, so few rows while pushing works.
# What was pushed may have been fetched: thin webhooks only name things.
CAME = """
WITH came AS (
    SELECT origin, created_at, published_at FROM interaction
    WHERE connection_id = :id AND published_at >= :since AND direction = 'inbound'
), pushed AS (
    SELECT max(created_at) AS at, max(published_at) AS of FROM came WHERE origin <> 'poll'
), unpushed AS (
    SELECT c.created_at, c.published_at FROM came c CROSS JOIN pushed p
    WHERE c.origin = 'poll' AND c.published_at >= :counts_from AND (p.of IS NULL OR c.published_at > p.of)
)
SELECT (SELECT at FROM pushed) AS pushed_at, (SELECT min(published_at) FROM unpushed) AS missed_from,
       (SELECT count(*) FROM unpushed WHERE created_at - published_at > :late) AS missed
"""

# What was published while the stream was followed, and recorded without a hint then or since. Plan: as above.
LISTENER = """
WITH l AS (
    SELECT *, GREATEST(hinted_at, since, :reach) + :late AS heard
    FROM listener WHERE connection_id = :id
)
SELECT l.since, l.next_at, l.failures, l.reason, l.hinted_at,
       EXISTS (SELECT 1 FROM lease WHERE name = 'listen:' || l.connection_id AND until >= now()) AS following,
       (SELECT count(*) FROM interaction i
        WHERE i.connection_id = l.connection_id AND i.published_at > l.heard AND i.direction = 'inbound'
          AND i.origin = 'poll' AND i.created_at > l.heard AND i.created_at <= :settled) AS unheard
FROM l
"""

NEWEST = """
SELECT published_at FROM interaction WHERE connection_id = :id AND direction = 'inbound'
ORDER BY published_at DESC LIMIT 1
"""


@dataclass
class Seen:
    """What was read for one look."""

    row: Row
    """Of the connection."""
    health: Row
    lanes: list[Lane]
    follower: Follower | None
    hinted_at: datetime | None
    pushed_at: datetime | None
    missed: int
    missed_from: datetime | None
    refused_total: int
    refused_before: int
    refused_at: datetime | None
    newest_at: datetime | None
    expectation: Expectation

    def facts(self, plugin: Source[Any] | Helpdesk[Any] | None, error: str | None, now: datetime) -> Facts:
        """As the pure functions take them."""
        source = plugin if isinstance(plugin, Source) else None
        capabilities = plugin.capabilities if plugin is not None else None
        row = self.row
        wanted = {*(capabilities.streams if capabilities is not None and capabilities.poll else ())}
        quiet_since = max(self.newest_at or row["created_at"], row["created_at"])
        return Facts(
            created_at=row["created_at"],
            status=row["status"],
            status_reason=row["status_reason"],
            plugin_error=error,
            paused=row["paused_in"],
            blocked_until=row["blocked_until"],
            blocked_reason=row["blocked_reason"],
            lanes=[lane for lane in self.lanes if lane.stream in wanted],
            follower=(self.follower or Follower(False, None, None, 0, None))
            if source is not None and source.capabilities.listen
            else None,
            proven=self.health["proven_at"] is not None,
            helpdesk=isinstance(plugin, Helpdesk),
            polls=capabilities is not None and capabilities.poll,
            push_expected=capabilities is not None
            and capabilities.webhook
            and (self.health["door"] is not None or self.pushed_at is not None),
            missed=self.missed,
            refused=self._refused(polls=capabilities is not None and capabilities.poll),
            silence=self.expectation.silence(quiet_since, now) if source is not None else None,
        )

    def _refused(self, *, polls: bool) -> int:
        """Where polling shows what the door turned away, only what was turned away then: strangers knock too."""
        count = self.refused_total - self.refused_before
        if not polls:
            return count
        if self.missed_from is None or self.refused_at is None:
            return 0
        return count if self.refused_at >= self.missed_from - SKEW else 0


async def seen_of(connection: AsyncConnection, endpoint: Endpoint, now: datetime) -> Seen | None:
    """Read everything; None for a connection that is not looked after."""
    id = endpoint.id
    health = await fetch_one(connection, "SELECT * FROM channel_health WHERE connection_id = :id", id=id)
    row = await fetch_one(connection, CONNECTION, id=id)
    if health is None or row is None:
        return None
    lanes = [
        Lane(**one)
        for one in await fetch_all(
            connection,
            "SELECT stream, next_at, polled_at, failures, reason FROM cursor WHERE connection_id = :id ORDER BY stream",
            id=id,
        )
    ]
    listener = await fetch_one(
        connection,
        LISTENER,
        id=id,
        late=LATE,
        reach=now - REACH,
        settled=now - HEARD_WITHIN,
    )
    counts_from = max(row["created_at"], health["counts_from"] or row["created_at"], now - REACH)
    last = health["pushed_at"]
    came = await fetch_one(
        connection,
        CAME,
        id=id,
        late=LATE,
        since=counts_from if last is None else max(last - _HOUR, now - REACH),
        counts_from=counts_from,
    )
    assert came is not None
    pushed_at = max(filter(None, (came["pushed_at"], last)), default=None)
    refused = await fetch_one(
        connection,
        """SELECT COALESCE(sum(count), 0)::bigint AS total, max(last_at) AS last_at FROM refusal
           WHERE endpoint_id = ANY(:doors) AND code <> 'too_large'""",
        doors=[one for one in (id, row["app_id"]) if one is not None],
    )
    assert refused is not None
    total, last_at = refused["total"], refused["last_at"]
    # something was accepted since, or the counts of old days were dropped: what was refused before says nothing
    accepted = (
        health["looked_at"] is None
        or total < health["refused"]
        or (pushed_at is not None and last_at is not None and pushed_at > last_at)
    )
    newest = await fetch_one(connection, NEWEST, id=id)
    return Seen(
        row=row,
        health=health,
        lanes=lanes,
        follower=Follower(
            **{k: listener[k] for k in ("following", "since", "next_at", "failures", "reason", "unheard")}
        )
        if listener is not None
        else None,
        hinted_at=listener["hinted_at"] if listener is not None else None,
        pushed_at=pushed_at,
        missed=came["missed"],
        missed_from=came["missed_from"],
        refused_total=total,
        refused_before=total if accepted else health["refused"],
        refused_at=last_at,
        newest_at=newest["published_at"] if newest is not None else None,
        expectation=Expectation.of_document(health["expectation"]),
    )


async def unknown_of(
    connection: AsyncConnection, registry: Registry, endpoint: Endpoint, ids: Sequence[str]
) -> list[str]:
    """Which of these ids at the provider are not recorded, by whatever name, and not known as deleted."""
    rows = await fetch_all(
        connection,
        """SELECT given.id FROM unnest(CAST(:ids AS text[])) WITH ORDINALITY AS given (id, place)
           WHERE NOT EXISTS (SELECT 1 FROM interaction WHERE scope = :scope AND external_id = given.id)
             AND NOT EXISTS (SELECT 1 FROM interaction_alias WHERE scope = :scope AND alias = given.id)
             AND NOT EXISTS (SELECT 1 FROM tombstone WHERE scope = :scope AND external_id = given.id)
           ORDER BY given.place""",
        ids=list(ids),
        scope=scope_of(registry, endpoint),
    )
    return [row["id"] for row in rows]


async def learn(
    connection: AsyncConnection, id: UUID, expectation: Expectation, created_at: datetime, now: datetime
) -> Expectation:
    """Take in the whole hours that have passed since: what came in them, by the source's time."""
    end = _hour(now) - _HOUR  # what is told late belongs to its hour too
    start = expectation.until or max(_hour(created_at) + _HOUR, end - LEARN_AT_MOST)
    if start >= end:
        return expectation
    rows = await fetch_all(
        connection,
        """SELECT date_trunc('hour', published_at) AS hour, count(*) AS count FROM interaction
           WHERE connection_id = :id AND published_at >= :start AND published_at < :end AND direction = 'inbound'
           GROUP BY 1""",
        id=id,
        start=start,
        end=end,
    )
    counts = {row["hour"]: row["count"] for row in rows}
    while start < end:
        expectation.learn(start, counts.get(start, 0))
        start += _HOUR
    return expectation


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)
