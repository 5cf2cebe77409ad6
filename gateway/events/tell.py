"""Telling subscribers: takes what is due for one of them and makes the requests, beside the drains.

At least once: a delivery is claimed with a deadline before its request; whoever finds the deadline passed makes the
request again, under the same `webhook-id`. Order is not promised: what failed is told later than what came after it.

Requests run beside the drains, not in them, and each receiver has few at once, a failing one a single one: neither a
slow receiver nor many of them hold up another, or anything else that a worker does.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import Database, Row, as_json, execute, fetch_all, fetch_one, insert_rows
from gateway.engine.leases import Held
from gateway.events.announce import announce
from gateway.events.facts import load_texts
from gateway.events.kinds import TEST
from gateway.events.receivers import body_of, unseal
from gateway.net.client import Target
from gateway.net.receiver import Answered, post
from gateway.policy.effects import raise_alarms
from gateway.runtime import Runtime
from gateway.security.vault import VaultError
from gateway_schemas.signatures import sign_standard

log = logging.getLogger(__name__)

SCHEDULE = tuple(timedelta(seconds=seconds) for seconds in (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400))
"""After how long a failed attempt is made again, as Standard Webhooks advises: 5 s, 5 min, 30 min, 2, 5, 10, 14, 20
and 24 h. Then it is given up: after a little more than three days."""
JITTER = 0.1
BREATHERS = (1, 2, 5, 10, 30, 60, 120, 300)
"""Seconds that a receiver gets no requests at all, by how often in a row it has failed: a backlog is no flood."""
PATIENCE = timedelta(days=5)
"""A receiver that was not reached for so long, whatever was tried, gets nothing any more."""
LEAST_FAILURES = len(SCHEDULE) + 1
"""So often in a row it must have failed by then: one event through its whole schedule."""
AT_ONCE = 8
"""Requests at once to one receiver; to one that failed last, a single one."""
ALL_AT_ONCE = 200
"""Requests at once in one process."""
RECORDING = 4
"""How many of them write down how they ended at once: the database's connections are for everybody."""
MARGIN = 3.0
"""Seconds after a request's end until it counts as lost."""


@dataclass(frozen=True)
class Telling:
    """One delivery that this process has claimed."""

    delivery_id: int
    tries: int
    subscription: Row
    event: Row
    texts: dict[str, Any] | None


class Tellers:
    """The requests to receivers that are under way in this process."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._running: set[asyncio.Task[None]] = set()
        self._of: Counter[UUID] = Counter()
        self._recording = asyncio.Semaphore(RECORDING)
        self._closing = False

    @property
    def under_way(self) -> int:
        """How many requests this process is making."""
        return len(self._running)

    async def look(self, subscription_id: UUID, held: Held) -> bool:
        """The drain `tell:<subscription>`: claim what is due and set the requests going. Never waits for them."""
        free = ALL_AT_ONCE - len(self._running)
        if free <= 0:
            return False  # the next tick looks again
        claimed = await _claim(self._runtime, held, subscription_id, free)
        self._of[subscription_id] += len(claimed)
        for telling in claimed:
            task = asyncio.create_task(self._tell(telling))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return False

    async def _tell(self, telling: Telling) -> None:
        id: UUID = telling.subscription["id"]
        try:
            answered = await request(self._runtime, telling)
            async with self._recording:
                await record(self._runtime, telling, answered)
        except SQLAlchemyError:  # told, but not written down: after the deadline it is told again
            log.exception("how telling %s ended was not recorded", telling.event["id"])
        finally:
            self._of[id] -= 1
        # a look for each that ended would cost more than telling it
        if not self._closing and self._of[id] <= AT_ONCE // 2:
            await self._runtime.wake([f"tell:{id}"])

    async def stop(self, seconds: float) -> None:
        """Wait for what is under way; what takes longer is told again by somebody else."""
        self._closing = True
        if self._running:
            _, late = await asyncio.wait(set(self._running), timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


SUBSCRIPTION = """
SELECT id, name, url, kinds, include_text, allow_private, secrets, state, failing_since, failures, wait_until
FROM subscription WHERE id = :id FOR NO KEY UPDATE
"""
# by `event_delivery_turn`, oldest due first
DUE = """
UPDATE event_delivery d SET tries = d.tries + 1,
    deadline_at = clock_timestamp() + make_interval(secs => :seconds)
FROM (SELECT id FROM event_delivery WHERE subscription_id = :id AND state = 'pending' AND due_at <= :now
          AND (deadline_at IS NULL OR deadline_at < clock_timestamp())
      ORDER BY due_at, id LIMIT :limit FOR UPDATE SKIP LOCKED) AS due, event e
WHERE d.id = due.id AND e.id = d.event_id
RETURNING d.id, d.tries, e.id AS event_id, e.kind, e.data, e.at
"""
UNDER_WAY = """
SELECT count(*) AS n FROM event_delivery
WHERE subscription_id = :id AND state = 'pending' AND deadline_at >= clock_timestamp()
"""


async def _claim(runtime: Runtime, held: Held, subscription_id: UUID, free: int) -> list[Telling]:
    now = runtime.now()
    async with runtime.database.write() as connection:
        await held.check(connection)
        subscription = await fetch_one(connection, SUBSCRIPTION, id=subscription_id)
        if subscription is None or subscription["state"] != "active":
            return []
        if subscription["wait_until"] is not None and subscription["wait_until"] > now:
            return []
        under_way = await fetch_one(connection, UNDER_WAY, id=subscription_id)
        assert under_way is not None
        room = (1 if subscription["failures"] else AT_ONCE) - under_way["n"]
        if room <= 0:
            return []
        seconds = runtime.settings.event_timeout + MARGIN
        rows = await fetch_all(connection, DUE, id=subscription_id, now=now, limit=min(room, free), seconds=seconds)
        return [await _telling(connection, subscription, row) for row in rows]


async def _telling(connection: AsyncConnection, subscription: Row, row: Row) -> Telling:
    texts = await load_texts(connection, row["kind"], row["data"]) if subscription["include_text"] else None
    event = {"id": row["event_id"], "kind": row["kind"], "data": row["data"], "at": row["at"]}
    return Telling(row["id"], row["tries"], subscription, event, texts)


async def claim_test(runtime: Runtime, connection: AsyncConnection, subscription_id: UUID, delivery_id: int) -> Telling:
    """Claim the delivery of a test, in the transaction that wrote it: nobody else makes its request."""
    subscription = await fetch_one(connection, SUBSCRIPTION, id=subscription_id)
    row = await fetch_one(
        connection,
        """UPDATE event_delivery d SET tries = 1, deadline_at = clock_timestamp() + make_interval(secs => :seconds)
           FROM event e WHERE d.id = :id AND e.id = d.event_id
           RETURNING d.id, d.tries, e.id AS event_id, e.kind, e.data, e.at""",
        id=delivery_id,
        seconds=runtime.settings.event_timeout + MARGIN,
    )
    assert subscription is not None
    assert row is not None
    return await _telling(connection, subscription, row)


async def request(runtime: Runtime, telling: Telling) -> Answered:
    """Make the request of a claimed delivery."""
    now = runtime.now()
    subscription = telling.subscription
    try:
        secrets = unseal(runtime.vault, subscription["id"], subscription["secrets"], now)
    except VaultError as error:
        return Answered("not_allowed", reason=str(error))
    body = as_json(body_of(telling.event, telling.texts)).encode()
    headers = sign_standard([one.secret for one in secrets], str(telling.event["id"]), now, body)
    headers |= {"content-type": "application/json", "accept-encoding": "identity"}
    target = Target(f"subscription:{subscription['id']}", allow_private=subscription["allow_private"])
    seconds = runtime.settings.event_timeout
    return await post(runtime.outgoing, target, subscription["url"], headers, body, now, seconds)


async def record(runtime: Runtime, telling: Telling, answered: Answered) -> None:
    """Write down how a request ended. A test is made once, and says nothing of how the receiver stands."""
    now, test = runtime.now(), telling.event["kind"] == TEST
    async with runtime.database.write() as connection:
        subscription = await fetch_one(connection, SUBSCRIPTION, id=telling.subscription["id"])
        if subscription is None:
            return  # taken away meanwhile, with all that was due to it
        await _end(connection, telling, answered, now, test=test)
        if not test and answered.outcome != "postponed":
            await _judge(connection, subscription, telling.subscription["failures"], answered, now)


async def _end(connection: AsyncConnection, telling: Telling, answered: Answered, now: datetime, *, test: bool) -> None:
    state, due, tries = "pending", now, telling.tries
    if answered.ok:
        state = "delivered"
    elif test or (answered.outcome != "postponed" and tries > len(SCHEDULE)):
        state = "failed"
    elif answered.outcome == "postponed":
        tries, due = tries - 1, now + (answered.wait or timedelta(seconds=5))
    else:
        delay = SCHEDULE[tries - 1] * random.uniform(1 - JITTER, 1 + JITTER)
        due = now + max(delay, answered.wait or timedelta())
    await execute(
        connection,
        # of two who made the request, because the first took too long, only the later one says what follows
        """UPDATE event_delivery SET state = :state, tries = :tries, due_at = :due, deadline_at = NULL,
               done_at = :done
           WHERE id = :id AND state = 'pending' AND (tries = :claimed OR CAST(:ok AS boolean))""",
        id=telling.delivery_id,
        state=state,
        tries=tries,
        due=due,
        done=None if state == "pending" else now,
        ok=answered.ok,
        claimed=telling.tries,
    )
    if answered.outcome == "postponed" and not test:
        return
    await insert_rows(
        connection,
        "event_attempt",
        [
            {
                "delivery_id": telling.delivery_id,
                "at": now,
                "outcome": answered.outcome,
                "status": answered.status,
                "reason": answered.reason,
                "body": answered.body,
                "milliseconds": answered.milliseconds,
            }
        ],
    )


async def _judge(
    connection: AsyncConnection, subscription: Row, before: int, answered: Answered, now: datetime
) -> None:
    """What an attempt says of the receiver: it works, it rests for a moment, or it is given up.

    `before` is how often in a row it had failed when the request began: those that fail together count once.
    """
    id = subscription["id"]
    if answered.ok:
        await execute(
            connection,
            """UPDATE subscription SET failures = 0, failing_since = NULL, wait_until = NULL, last_ok_at = :now,
                   last_error = NULL WHERE id = :id""",
            id=id,
            now=now,
        )
        return
    failures = max(subscription["failures"], before + 1)
    since = subscription["failing_since"] or now
    rest = timedelta(seconds=BREATHERS[min(failures, len(BREATHERS)) - 1])
    await execute(
        connection,
        """UPDATE subscription SET failures = :failures, failing_since = :since, last_error = :error,
               wait_until = GREATEST(wait_until, :until) WHERE id = :id""",
        id=id,
        failures=failures,
        since=since,
        error=answered.reason,
        until=now + max(rest, answered.wait or timedelta()),
    )
    if subscription["state"] != "active":
        return
    if answered.outcome == "gone":
        await disable(connection, subscription, f"{answered.reason} (410)", now)
    elif now - since >= PATIENCE and failures >= LEAST_FAILURES:
        reason = f"nothing but failures since {since:%Y-%m-%d %H:%M} UTC; the last one: {answered.reason}"
        await disable(connection, subscription, reason, now)


async def disable(connection: AsyncConnection, subscription: Row, reason: str, now: datetime) -> None:
    """Stop telling a receiver, and tell the others and the admins so. What is due to it is kept."""
    await execute(
        connection,
        """UPDATE subscription SET state = 'disabled', reason = :reason, stopped_at = :now, version = version + 1,
               updated_at = :now WHERE id = :id""",
        id=subscription["id"],
        reason=reason,
        now=now,
    )
    await announce(connection, "subscription.disabled", "subscription", subscription["id"], {"reason": reason}, now)
    alarm = {
        "key": f"subscription:{subscription['id']}:{now.isoformat()}",
        "severity": "critical",
        "code": "subscription_disabled",
        "message": f"The subscription {subscription['name']} gets no events any more: {reason}.",
        "at": now,
    }
    await raise_alarms(connection, [alarm])


async def drop_old_events(database: Database, before: datetime, at_once: int = 5000) -> int:
    """Remove events that happened before a time, told or not, with what is known of telling them."""
    removed = 0
    while True:
        async with database.write() as connection:
            touched = await execute(
                connection,
                "DELETE FROM event WHERE id IN (SELECT id FROM event WHERE at < :before ORDER BY at LIMIT :most)",
                before=before,
                most=at_once,
            )
        removed += touched
        if touched < at_once:
            return removed
