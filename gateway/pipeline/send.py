"""Back, station 4: the answer goes out, at most once.

`sending` is committed with a deadline before the call; right before the first byte leaves, deadline and stops are
looked at once more; the call's time ends before the deadline. Until then nobody else touches the row, and afterwards
only the source may say what became of it (see `unknown_replies`).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.connections import Endpoint
from gateway.db.database import Row, execute, fetch_all
from gateway.engine.leases import Held
from gateway.events.announce import announce_replies
from gateway.net.client import calling
from gateway.pipeline import groups
from gateway.pipeline.aftermath import retract_due
from gateway.pipeline.decide import still_stands
from gateway.pipeline.leaving import HEARD_BY, REPEAT, may_leave
from gateway.pipeline.marks import mark_push
from gateway.pipeline.published import note_sent
from gateway.pipeline.stops import STOPPED, STOPPED_CODE, StopGate
from gateway.pipeline.trouble import Trouble, note_attempt, note_success, note_trouble, trouble_of
from gateway.pipeline.unknown_replies import ask_after_unknown
from gateway.pipeline.waiting import release_waiting
from gateway.policy.sets import PolicySets
from gateway.restored import WAITS, doubt_replies, waiting
from gateway.runtime import Runtime
from gateway.tracing.logs import about
from gateway_schemas.reply import Rendered, Sent
from gateway_schemas.source import Source

MARGIN = 3.0
"""Seconds between the end of a call's time and the deadline after which `find` may be asked."""
YIELD_AFTER = 2.0
OUTER = 1.0
"""Seconds by which the last resort comes after the client's own deadline, which knows whether anything was sent."""
# The head of each ticket that may go now. It is nobody else's turn while the head waits: for a decision, a file, or the
# end of a delay. Helpdesks tell time in whole seconds, so within one it is the order in which answers were read.
READY = f"""
SELECT r.id
FROM reply r JOIN ticket t ON t.id = r.ticket_id JOIN connection c ON c.id = r.connection_id
WHERE r.connection_id = :connection AND r.state = 'queued' AND r.due_at <= :now AND NOT c.paused_out AND NOT {STOPPED}
  AND NOT EXISTS (SELECT 1 FROM reply o WHERE o.ticket_id = r.ticket_id AND (
      (o.state IN ('sending', 'unknown') AND o.code IS DISTINCT FROM 'needs_person')
      OR (o.state IN ('received', 'queued') AND o.connection_id = r.connection_id
          AND (o.written_at, o.created_at, o.id) < (r.written_at, r.created_at, r.id))))
  AND NOT {WAITS}
ORDER BY r.written_at, r.created_at, r.id LIMIT :limit
"""

# Locked, so that what is looked at here is what leaves: an edit, an approval or a rejection comes before or after.
LOCKED = f"""
SELECT r.id, r.ticket_id, r.key, r.code, r.rendered, r.decided_on, r.not_after, r.tries, r.amends, r.group_id,
       r.interaction_id, i.deleted_at,
       {HEARD_BY} AS heard_now, o.state AS amended_state, o.external_id AS amended_id, o.url AS amended_url,
       o.sent_at AS amended_at
FROM reply r LEFT JOIN interaction i ON i.id = r.interaction_id LEFT JOIN reply o ON o.id = r.amends
WHERE r.id = ANY(:ids) AND r.state = 'queued' ORDER BY r.id FOR UPDATE OF r SKIP LOCKED
"""


@dataclass(frozen=True)
class Flight:
    """One reply on its way out."""

    id: UUID
    ticket_id: UUID
    key: str
    rendered: Rendered
    epoch: int
    tries: int
    started_at: datetime
    until: float
    """By the monotonic clock, from before the claim was written: the call ends by then, before the row's deadline."""
    amends: Sent | None = None
    """What is out already and gets another text."""
    interaction_id: UUID | None = None
    """What it answers."""
    repeats: bool = False
    """Whether it may be out already: see `REPEAT`."""


async def send_due(runtime: Runtime, policies: PolicySets, endpoint: Endpoint, held: Held) -> bool:
    """Send what is decided and due on one connection, for a while. Returns whether there may be more."""
    source = runtime.connections.instance(endpoint, outgoing=runtime.outgoing)
    assert isinstance(source, Source)
    await ask_after_unknown(runtime, endpoint, source, held)
    await retract_due(runtime, endpoint, source, held)
    running: set[asyncio.Task[bool]] = set()
    began = time.monotonic()
    blocked = False
    try:
        while True:
            free = runtime.settings.max_in_flight - len(running)
            if free > 0 and not blocked and time.monotonic() - began < YIELD_AFTER:
                flights = await _claim(runtime, policies, endpoint, held, free)
                running |= {asyncio.create_task(_fly(runtime, endpoint, source, flight)) for flight in flights}
            if not running:
                return time.monotonic() - began >= YIELD_AFTER
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            blocked = blocked or any(task.result() for task in done)
            if not held.fresh(runtime.settings.lease_seconds / 2):
                await runtime.leases.prolong(held)
    finally:
        if running:
            await asyncio.wait(running)


async def _claim(runtime: Runtime, policies: PolicySets, endpoint: Endpoint, held: Held, free: int) -> list[Flight]:
    """Commit `sending` for the next replies; hold or decide anew what has become stale meanwhile."""
    now = runtime.now()
    in_force = await policies.in_force(now)
    flights: list[Flight] = []
    wakes: set[str] = set()
    seconds = runtime.settings.call_timeout + MARGIN
    until = time.monotonic() + runtime.settings.call_timeout
    async with runtime.database.write() as connection:
        await held.check(connection)
        ready = await fetch_all(
            connection, READY, connection=endpoint.id, now=now, limit=free, **waiting(runtime.restored, now)
        )
        if ready and not policies.is_newest(in_force):
            ready = []  # another set came into force meanwhile: look again with that one
            wakes.add(f"send:{endpoint.id}")
        if ready and runtime.restored is not None:
            wakes |= await doubt_replies(connection, runtime.restored, now)
        for row in await fetch_all(connection, LOCKED, ids=[one["id"] for one in ready]):
            leave = may_leave(row, still_stands(row["decided_on"] or {}, in_force, now), now)
            wait = None
            if leave.how == "go" and row["group_id"] is not None:
                wait = await groups.turn(connection, row["group_id"], runtime.settings, now)
            if wait is not None:
                await execute(connection, "UPDATE reply SET due_at = :due WHERE id = :id", id=row["id"], due=wait)
            elif leave.how == "go":
                await _take_off(connection, row, held, seconds, now, flights, until)
            elif leave.how == "again":
                await execute(
                    connection,
                    "UPDATE reply SET state = 'received', updated_at = :now WHERE id = :id",
                    id=row["id"],
                    now=now,
                )
                wakes.add(f"reply:{endpoint.id}")
            else:
                wakes |= await _hold(connection, row["id"], leave.code or "", leave.reason or "", now)
                wakes.add(f"send:{endpoint.id}")  # the next one's turn
    await runtime.wake(wakes)
    return flights


async def _take_off(
    connection: AsyncConnection,
    row: Row,
    held: Held,
    seconds: float,
    now: datetime,
    flights: list[Flight],
    until: float,
) -> None:
    """Commit `sending`, with the deadline until which nobody else touches the reply."""
    touched = await execute(
        connection,
        """UPDATE reply SET state = 'sending', epoch = :epoch, tries = tries + 1, started_at = :now, code = NULL,
               reason = NULL, deadline_at = clock_timestamp() + make_interval(secs => :seconds), updated_at = :now
           WHERE id = :id AND state = 'queued'""",
        id=row["id"],
        epoch=held.epoch,
        now=now,
        seconds=seconds,
    )
    if touched:
        rendered = Rendered.model_validate(row["rendered"])
        out = None
        if row["amended_id"] is not None:
            out = Sent(external_id=row["amended_id"], url=row["amended_url"], sent_at=row["amended_at"])
        flights.append(
            Flight(
                row["id"],
                row["ticket_id"],
                row["key"],
                rendered,
                held.epoch,
                row["tries"] + 1,
                now,
                until,
                out,
                row["interaction_id"],
                repeats=row["code"] == REPEAT,
            )
        )


async def _fly(runtime: Runtime, endpoint: Endpoint, source: Source[Any], flight: Flight) -> bool:
    """Make the call and record how it ended. Returns whether the connection should rest."""
    started = time.monotonic()
    sent: Sent | None = None
    trouble: Trouble | None = None
    try:
        # a process that was stopped since the claim must not send: the client begins no request after `until`
        gate = StopGate(runtime.database, flight.id)
        with (
            about(trace=flight.interaction_id),
            calling(lane="reply", seconds=flight.until - time.monotonic(), gate=gate),
        ):
            async with asyncio.timeout(runtime.settings.call_timeout + OUTER):
                if flight.amends is None:
                    sent = await source.send(flight.rendered, flight.key)
                else:
                    sent = await source.amend(flight.amends, flight.rendered)
    except Exception as error:  # whatever it is, it is recorded on the reply
        trouble = trouble_of(error)
    now = runtime.now()
    wakes: set[str] = set()
    async with runtime.database.write() as connection:
        if sent is not None:
            wakes |= await note_sent(
                connection,
                runtime,
                endpoint,
                flight.id,
                sent.external_id,
                sent.url,
                sent.sent_at or now,
                now,
                flight.epoch,
                under_review=sent.pending,
            )
            await note_success(connection, endpoint, now)
        else:
            assert trouble is not None
            wakes |= await _not_sent(connection, flight, trouble, now)
            if trouble.code != STOPPED_CODE:
                await note_trouble(connection, endpoint, trouble, now)
        await note_attempt(
            connection, endpoint.id, "send", str(flight.id), trouble, now, int((time.monotonic() - started) * 1000)
        )
    async with runtime.database.read() as connection:
        wakes |= await release_waiting(connection, now)
    await runtime.wake(wakes)
    return trouble is not None and trouble.kind in ("retry", "reauthorise") and trouble.code != STOPPED_CODE


async def _not_sent(connection: AsyncConnection, flight: Flight, trouble: Trouble, now: datetime) -> set[str]:
    state = {"unknown": "unknown", "retry": "queued", "reauthorise": "queued", "hold": "held"}.get(
        trouble.kind, "failed"
    )
    if state == "unknown" and flight.amends is not None:
        state = "queued"  # writing the same text over itself again changes nothing
    delay = timedelta(seconds=2) if state == "unknown" else trouble.delay(flight.tries)
    touched = await execute(
        connection,
        """UPDATE reply SET state = :state, code = :code, reason = :reason, due_at = :due, updated_at = :now
           WHERE id = :id AND state = 'sending' AND epoch = :epoch""",
        id=flight.id,
        epoch=flight.epoch,
        state=state,
        code=REPEAT if state == "queued" and flight.repeats else trouble.code,
        reason=trouble.reason,
        due=now + delay,
        now=now,
    )
    if not touched or state not in ("failed", "held"):
        return set()
    await announce_replies(connection, f"reply.{state}", [flight.id], now)
    drain = await mark_push(connection, flight.id, state, reason=trouble.reason, now=now, suffix=str(flight.tries))
    return {drain} if drain else set()


async def _hold(connection: AsyncConnection, reply_id: UUID, code: str, reason: str, now: datetime) -> set[str]:
    await execute(
        connection,
        """UPDATE reply SET state = 'held', code = :code, reason = :reason, findings = NULL, updated_at = :now
           WHERE id = :id""",
        id=reply_id,
        code=code,
        reason=reason,
        now=now,
    )
    await announce_replies(connection, "reply.held", [reply_id], now)
    drain = await mark_push(connection, reply_id, "held", reason=reason, now=now, suffix=f"{code}:{now.isoformat()}")
    return {drain} if drain else set()
