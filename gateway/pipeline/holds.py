"""What time brings to held replies: the end that their policies chose, and the breaker when too much is held."""

from __future__ import annotations

from datetime import datetime, timedelta

from gateway.db.database import as_json, execute, fetch_all, fetch_one
from gateway.db.tables.columns import new_id
from gateway.events.announce import announce_replies
from gateway.pipeline.marks import mark_push
from gateway.pipeline.verdicts import waivers_for
from gateway.policy.effects import raise_alarms
from gateway.runtime import Runtime

AT_ONCE = 100
NOBODY = "nobody in time, as the policy allows"
"""Who approved what its policies let go when nobody looked."""


async def end_holds(runtime: Runtime, now: datetime) -> set[str]:
    """Let held replies that nobody looked at in time meet what their policies chose. Returns the drains to wake."""
    wakes: set[str] = set()
    async with runtime.database.write() as connection:
        rows = await fetch_all(
            connection,
            """SELECT r.id, r.findings, r.ticket_id, r.connection_id, r.on_timeout, r.reason, t.brand_id, r.hold_until
               FROM reply r JOIN ticket t ON t.id = r.ticket_id WHERE r.state = 'held' AND r.hold_until <= :now
               ORDER BY r.id LIMIT :most FOR UPDATE OF r SKIP LOCKED""",
            now=now,
            most=AT_ONCE,
        )
        for row in rows:
            if row["on_timeout"] == "reject":
                reason = "Nobody approved it in time."
                await execute(
                    connection,
                    """UPDATE reply SET state = 'cancelled', code = 'not_approved', reason = :reason, hold_until = NULL,
                           updated_at = :now WHERE id = :id""",
                    id=row["id"],
                    reason=reason,
                    now=now,
                )
                await announce_replies(connection, "reply.rejected", [row["id"]], now)
                drain = await mark_push(connection, row["id"], "blocked", reason=reason, now=now, suffix="not_approved")
                wakes |= {drain} if drain else set()
            elif row["on_timeout"] == "allow":
                await execute(
                    connection,
                    """UPDATE reply SET state = 'received', approved_digest = COALESCE(digest, 'any'), code = NULL,
                           reason = NULL, waived = CAST(:waived AS jsonb), approved_at = :now,
                           approved_by = :nobody, hold_until = NULL, due_at = :now,
                           not_after = GREATEST(not_after, :later), updated_at = :now
                       WHERE id = :id""",
                    id=row["id"],
                    now=now,
                    waived=as_json(waivers_for(row["findings"] or ())),
                    later=now + timedelta(hours=runtime.settings.reply_ttl_hours),
                    nobody=NOBODY,
                )
                await announce_replies(connection, "reply.approved", [row["id"]], now, by=NOBODY)
                wakes.add(f"reply:{row['connection_id']}")
            else:
                await execute(connection, "UPDATE reply SET hold_until = NULL WHERE id = :id", id=row["id"])
        await raise_alarms(
            connection,
            [
                {
                    "key": f"hold:{row['id']}:{row['hold_until'].isoformat()}",
                    "severity": "critical",
                    "code": "hold_not_looked_at",
                    "message": f"Nobody looked at a held reply in time. It is held because: {row['reason']}",
                    "brand_id": row["brand_id"],
                    "ticket_id": row["ticket_id"],
                    "reply_id": row["id"],
                    "at": now,
                }
                for row in rows
                if row["on_timeout"] == "escalate"
            ],
        )
    return wakes


# the newest decision of each reply of the window, by the partial index on the time of such decisions
SHARE = """
SELECT count(*) AS total, count(*) FILTER (WHERE for_tone) AS held
FROM (SELECT DISTINCT ON (thing_id) for_tone FROM decision
      WHERE point = 'review_reply' AND at > :since ORDER BY thing_id, id DESC) AS newest
"""


async def mind_breaker(runtime: Runtime, now: datetime) -> None:
    """Turn policies of manners to warnings while they hold too large a share of replies, and back at half of it.

    What they would hold is counted also while they only warn.
    """
    in_force = await runtime.policies.in_force(now)
    if not in_force.softened and not any(one.tone and one.member.mode == "on" for one in in_force.policies):
        return
    settings = runtime.settings
    async with runtime.database.read() as connection:
        found = await fetch_one(connection, SHARE, since=now - timedelta(minutes=settings.hold_window))
        open = await fetch_one(connection, "SELECT id FROM tone_breaker WHERE reset_at IS NULL")
    assert found is not None
    share = found["held"] / found["total"] if found["total"] >= settings.hold_least else 0.0
    if open is None and share > settings.hold_share:
        await _trip(runtime, found["held"], found["total"], now)
    elif open is not None and share <= settings.hold_share / 2:
        async with runtime.database.write() as connection:
            await execute(
                connection,
                "UPDATE tone_breaker SET reset_at = :now WHERE id = :id AND reset_at IS NULL",
                id=open["id"],
                now=now,
            )
            alarm = {
                "key": f"breaker:{open['id']}:reset",
                "severity": "info",
                "code": "manners_hold_again",
                "message": "Policies of manners hold again: few replies would be held now.",
                "at": now,
            }
            await raise_alarms(connection, [alarm])


async def _trip(runtime: Runtime, held: int, total: int, now: datetime) -> None:
    id = new_id()
    async with runtime.database.write() as connection:
        fresh = await fetch_all(
            connection,
            """INSERT INTO tone_breaker (id, tripped_at, held, total) VALUES (:id, :now, :held, :total)
               ON CONFLICT ((reset_at IS NULL)) WHERE reset_at IS NULL DO NOTHING RETURNING id""",
            id=id,
            now=now,
            held=held,
            total=total,
        )
        if not fresh:
            return  # another worker saw it first
        message = (
            f"Policies of manners held {held} of the last {total} replies and only warn until fewer would be held."
            " Look at what they find: GET /v1/decisions?verdict=hold"
        )
        alarm = {
            "key": f"breaker:{id}",
            "severity": "critical",
            "code": "manners_only_warn",
            "message": message,
            "at": now,
        }
        await raise_alarms(connection, [alarm])
