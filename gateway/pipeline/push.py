"""Station 7: the helpdesk hears of it, once.

The outbox is a row per intent. A drain claims what is due, folds each ticket's rows into one change, commits that it is
in flight until a deadline, calls, and records the answer. A row found in flight after its deadline was interrupted: the
helpdesk is asked what it has before anything is repeated. Tickets run in parallel, one ticket's changes in order.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.connections import Endpoint
from gateway.db.database import execute, execute_rows, fetch_all, fetch_one
from gateway.engine.leases import Held
from gateway.net.client import Lane, calling
from gateway.pipeline import outcomes
from gateway.pipeline.changes import COMMENTING, Change, choose, fold
from gateway.pipeline.fetch import want
from gateway.pipeline.trouble import Trouble, note_attempt, note_success, note_trouble, trouble_of
from gateway.pipeline.turns import Turns
from gateway.restored import Restored, ask_apart
from gateway.runtime import Runtime
from gateway.tracing.logs import about
from gateway_schemas.helpdesk import Helpdesk
from gateway_schemas.interaction import Wanted
from gateway_schemas.reply import absent_is_proof
from gateway_schemas.ticket import Done, Failed, FoundTicket, Pending, PushIntent, PushResult

log = logging.getLogger(__name__)

MARGIN = 2.0
"""Seconds between the end of a call's time and the deadline after which others may ask about it."""
BULK_FROM = 10
"""From this many tickets waiting at once, the helpdesk's bulk operation is worth its delay."""
BULK_CALLS = 2
"""Bulk calls at once to one helpdesk. They carry a hundred changes each, and leave room for what agents wait for."""
YIELD_AFTER = 2.0
OUTER = 1.0
"""Seconds by which the last resort comes after the client's own deadline, which knows whether anything was sent."""
WAIT_HERE = timedelta(minutes=2)
"""A pause up to this long is waited for by the process that was asked for it: a limit of calls a minute leaves many
short ones, and to wait for the tick in each would leave much of the limit unused."""
LANES: tuple[Lane, Lane, Lane] = ("reply", "interactive", "backlog")

INTERRUPTED = "state = 'in_flight' AND deadline_at < clock_timestamp() AND due_at <= :now"
JOB = "state = 'job' AND due_at <= :now"
UNFINISHED = f"""
SELECT EXISTS (SELECT 1 FROM push WHERE helpdesk_id = :helpdesk AND {INTERRUPTED}) AS interrupted,
       EXISTS (SELECT 1 FROM push WHERE helpdesk_id = :helpdesk AND {JOB}) AS job
"""

TICKETS = """
SELECT t.id, t.mark, t.external_id, t.subject, t.priority, t.tags, t.ended, t.account_id,
       CASE WHEN f.ended = 'closed' THEN f.external_id END AS followup_external_id,
       jsonb_build_object('external_id', a.provider || ':' || a.external_id, 'provider', a.provider, 'handle', a.handle,
           'name', COALESCE(a.name, '@' || a.handle, a.provider || ' user ' || a.external_id), 'url', a.url,
           'avatar_url', a.avatar_url) AS requester
FROM ticket t JOIN account a ON a.id = t.account_id LEFT JOIN ticket f ON f.id = t.followup_of WHERE t.id = ANY(:ids)
"""

ROWS = """
SELECT id, key, ticket_id, kind, lane, payload, change_key, tries, epoch, started_at, job, interaction_id,
    at, doubt FROM push
WHERE ticket_id = ANY(:tickets) AND state = ANY(:states) ORDER BY ticket_id, id
"""


async def push_due(runtime: Runtime, endpoint: Endpoint, held: Held) -> bool:
    """Push what is due at one helpdesk, for a while. Returns whether there may be more."""
    plugin = runtime.connections.instance(endpoint, outgoing=runtime.outgoing)
    assert isinstance(plugin, Helpdesk)
    async with runtime.database.read() as connection:
        row = await fetch_one(connection, UNFINISHED, helpdesk=endpoint.id, now=runtime.now())
    if row is not None and row["interrupted"]:
        await _ask_after_interrupted(runtime, endpoint, plugin, held)
    if row is not None and row["job"]:
        await _resume_jobs(runtime, endpoint, plugin, held)
    turns = Turns(endpoint.id)
    running: set[asyncio.Task[bool]] = set()
    bulk: set[asyncio.Task[bool]] = set()
    began = time.monotonic()
    blocked = doubts = False
    try:
        while True:
            free = runtime.settings.max_in_flight - len(running)
            if free > 0 and not blocked and time.monotonic() - began < YIELD_AFTER:
                for changes in await _claim(runtime, turns, plugin, held, free, BULK_CALLS - len(bulk & running)):
                    if changes[0].doubted:
                        doubts = True
                        continue
                    task = asyncio.create_task(_call(runtime, endpoint, plugin, changes))
                    running.add(task)
                    bulk |= {task} if len(changes) > 1 else set()
            if not running:
                return doubts or time.monotonic() - began >= YIELD_AFTER
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            blocked = blocked or any(task.result() for task in done)
            if not held.fresh(runtime.settings.lease_seconds / 2):
                await runtime.leases.prolong(held)
    finally:
        if running:
            await asyncio.wait(running)


async def _claim(
    runtime: Runtime, turns: Turns, plugin: Helpdesk[Any], held: Held, free: int, bulk_free: int
) -> list[list[Change]]:
    """Commit that the next changes are in flight. Returns them as calls: one change each, or bulk."""
    now = runtime.now()
    until = time.monotonic() + runtime.settings.call_timeout
    size = plugin.capabilities.bulk
    async with runtime.database.write() as connection:
        await held.check(connection)
        ready = await turns.next(connection, now, free if size == 1 else max(free, BULK_FROM) + size * bulk_free)
        bulk = size > 1 and len(ready) >= BULK_FROM
        await _redirect(connection, [row["ticket_id"] for row in ready if row["moved"]])
        if bulk:
            # what agents wait for goes by itself, everything else together
            alone = [row["ticket_id"] for row in ready if row["lane"] == 0][:free]
            others = [row["ticket_id"] for row in ready if row["lane"] > 0]
            ids = alone + others[: size * min(bulk_free, free - len(alone))]
        else:
            alone = ids = [row["ticket_id"] for row in ready[:free]]
        turns.took(ids)
        changes = await _changes(
            connection, plugin, ids, held.epoch, now, until, runtime.settings.digest_above, runtime.restored
        )
        if changes:
            await _commit_in_flight(
                connection, [one for one in changes if not one.doubted], runtime.settings.call_timeout + MARGIN, now
            )
            await _commit_doubted(connection, [one for one in changes if one.doubted])
    single = [[change] for change in changes if change.ticket_id in alone or change.doubted]
    together = [change for change in changes if change.ticket_id not in alone and not change.doubted]
    return single + [together[start : start + size] for start in range(0, len(together), size)]


# What was threaded while its ticket was being moved belongs to the ticket that goes on with the matter.
REDIRECT = """
WITH moved AS (
    UPDATE push p SET ticket_id = n.id, helpdesk_id = n.helpdesk_id FROM ticket t JOIN ticket n ON n.id = t.moved_to
    WHERE t.id = ANY(:ids) AND p.ticket_id = t.id AND p.kind = 'comment' AND p.state = 'pending' AND p.tries = 0
      AND n.helpdesk_id IS NOT NULL RETURNING p.interaction_id, n.id
)
UPDATE interaction i SET ticket_id = moved.id FROM moved WHERE i.id = moved.interaction_id
"""


async def _redirect(connection: AsyncConnection, ids: Sequence[UUID]) -> None:
    """The tick wakes the other helpdesk's drain."""
    if ids:
        await execute(connection, REDIRECT, ids=list(ids))


async def _changes(
    connection: AsyncConnection,
    plugin: Helpdesk[Any],
    ids: Sequence[UUID],
    epoch: int,
    now: datetime,
    until: float,
    digest_above: int,
    restored: Restored | None,
) -> list[Change]:
    if not ids:
        return []
    tickets = {row["id"]: row for row in await fetch_all(connection, TICKETS, ids=list(ids))}
    rows: dict[UUID, list[Mapping[str, Any]]] = defaultdict(list)
    for row in await fetch_all(connection, ROWS + " FOR UPDATE", tickets=list(ids), states=["pending"]):
        rows[row["ticket_id"]].append(row)
    changes = []
    for id in ids:
        if not rows[id]:
            continue
        ticket = tickets[id]
        exists = ticket["external_id"] is not None
        doubted = False
        if restored is not None and restored.doubts_push(rows[id][0]):
            chosen = ask_apart(rows[id], exists=exists, talking=COMMENTING)
            doubted = not exists or chosen[-1]["kind"] in COMMENTING
        else:
            chosen = choose(
                rows[id],
                exists=exists,
                per_change=plugin.capabilities.comments_per_change,
                digest_above=digest_above,
            )
        key = chosen[0]["change_key"] or f"{id}:{chosen[0]['id']}:{chosen[0]['tries']}"
        try:
            change = _change(ticket, chosen, key, epoch, now, until)
            if doubted and restored is not None:
                change = replace(change, doubted=True, started_at=min(restored.since, now))
            changes.append(change)
        except (ValidationError, LookupError) as error:
            # one ticket's row that nobody can tell the helpdesk must not keep all others from being told
            log.exception("ticket %s: what is to be told makes no change", id)
            unfit = [row for row in chosen if not _fits(ticket, row, key)] or chosen
            await outcomes.unfit(connection, id, [row["id"] for row in unfit], str(error), now)
    return changes


def _fits(ticket: Mapping[str, Any], row: Mapping[str, Any], key: str) -> bool:
    try:
        fold(ticket, [row], key)
    except (ValidationError, LookupError):
        return False
    return True


def _change(
    ticket: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    key: str,
    epoch: int,
    now: datetime,
    until: float = 0.0,
) -> Change:
    return Change(
        key=key,
        ticket_id=ticket["id"],
        change=fold(ticket, rows, key),
        push_ids=tuple(row["id"] for row in rows),
        push_keys=tuple(row["key"] for row in rows),
        epoch=epoch,
        started_at=now,
        tries=rows[0]["tries"],
        lane=min(row["lane"] for row in rows),
        interaction_id=next((row["interaction_id"] for row in rows if row["interaction_id"]), None),
        until=until,
    )


async def _commit_in_flight(
    connection: AsyncConnection, changes: Sequence[Change], seconds: float, now: datetime
) -> None:
    await execute_rows(
        connection,
        """
        UPDATE push p SET state = 'in_flight', change_key = g.change_key, epoch = g.epoch, started_at = :now,
            tries = p.tries + 1,
            deadline_at = clock_timestamp() + make_interval(secs => :seconds)
        FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g (id bigint, change_key text, epoch bigint) WHERE p.id = g.id
        """,
        [{"id": id, "change_key": one.key, "epoch": one.epoch} for one in changes for id in one.push_ids],
        seconds=seconds,
        now=now,
    )


async def _commit_doubted(connection: AsyncConnection, changes: Sequence[Change]) -> None:
    """As if interrupted when the backup was taken: the helpdesk is asked before they are told."""
    await execute_rows(
        connection,
        """
        UPDATE push p SET state = 'in_flight', change_key = g.change_key, epoch = g.epoch, started_at = g.started_at,
            tries = p.tries + 1, deadline_at = clock_timestamp(), doubt = 'asking'
        FROM jsonb_to_recordset(CAST(:rows AS jsonb))
            AS g (id bigint, change_key text, epoch bigint, started_at timestamptz) WHERE p.id = g.id
        """,
        [
            {"id": id, "change_key": one.key, "epoch": one.epoch, "started_at": one.started_at}
            for one in changes
            for id in one.push_ids
        ],
    )


async def _call(runtime: Runtime, endpoint: Endpoint, plugin: Helpdesk[Any], changes: Sequence[Change]) -> bool:
    """Make one call and record how it ended. Returns whether the connection should rest."""
    started = time.monotonic()
    results: Sequence[PushResult]
    trouble: Trouble | None = None
    lane: Lane = LANES[min(change.lane for change in changes)]
    try:
        # a process that was stopped since the claim must not call: the client refuses to begin a request after `until`
        with about(trace=changes[0].interaction_id), calling(lane=lane, seconds=changes[0].until - started):
            async with asyncio.timeout(runtime.settings.call_timeout + OUTER):
                results = await plugin.push([change.change for change in changes])
    except Exception as error:  # whatever it is, it is recorded on every row of the call
        trouble = trouble_of(error)
        results = [_failed(change, trouble) for change in changes]
    milliseconds = int((time.monotonic() - started) * 1000)
    return await _record(runtime, endpoint, plugin, changes, results, trouble, milliseconds, "push")


async def _record(
    runtime: Runtime,
    endpoint: Endpoint,
    plugin: Helpdesk[Any],
    changes: Sequence[Change],
    results: Sequence[PushResult],
    trouble: Trouble | None,
    milliseconds: int,
    kind: str,
) -> bool:
    by_key = {result.key: result for result in results}
    now = runtime.now()
    wakes: set[str] = set()
    async with runtime.database.write() as connection:
        for change in sorted(changes, key=lambda one: one.ticket_id):
            result = by_key.get(change.key) or Failed(
                key=change.key, error="unknown", reason="the plugin gave no result for it"
            )
            if not await outcomes.still_ours(connection, change):
                continue
            match result:
                case Done():
                    wakes |= await outcomes.done(connection, change, result, now)
                case Pending():
                    await outcomes.pending(connection, change, result, now)
                case Failed():
                    one = Trouble(
                        result.error,
                        result.code,
                        result.reason,
                        after=result.after,
                        bucket=result.bucket,
                        moved_to=result.moved_to,
                    )
                    wakes |= await outcomes.failed(connection, change, one, now)
                    trouble = trouble or one
        if trouble is None:
            await note_success(connection, endpoint, now)
        else:
            await note_trouble(connection, endpoint, trouble, now)
        keys = [change.key for change in changes]
        await note_attempt(connection, endpoint.id, kind, keys[0], trouble, now, milliseconds, keys[1:])
    await runtime.wake(wakes)
    if trouble is not None and trouble.kind == "retry" and trouble.after is not None and trouble.after < WAIT_HERE:
        seconds = trouble.after.total_seconds()
        runtime.wake.at(f"push:{endpoint.id}", functools.partial(runtime.time.sleep, seconds))
    # where one ticket's own limit ran out (`bucket:scope`), the other tickets' changes may fare better
    return trouble is not None and trouble.kind in ("retry", "reauthorise") and ":" not in (trouble.bucket or "")


def _failed(change: Change, trouble: Trouble) -> Failed:
    kind = "rejected" if trouble.kind == "hold" else trouble.kind
    return Failed(
        key=change.key,
        error=kind,
        code=trouble.code,
        reason=trouble.reason,
        after=trouble.after,
        bucket=trouble.bucket,
        moved_to=trouble.moved_to,
    )


async def _grouped(
    connection: AsyncConnection, endpoint: Endpoint, where: str, now: datetime
) -> list[tuple[Change, Mapping[str, Any]]]:
    """Rows in flight or in jobs, as the changes they went out as."""
    keys = await fetch_all(
        connection,
        f"SELECT DISTINCT change_key, ticket_id FROM push WHERE helpdesk_id = :helpdesk AND {where} LIMIT 200",
        helpdesk=endpoint.id,
        now=now,
    )
    ids = [row["ticket_id"] for row in keys]
    tickets = {row["id"]: row for row in await fetch_all(connection, TICKETS, ids=ids)}
    rows: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in await fetch_all(connection, ROWS, tickets=ids, states=["in_flight", "job"]):
        rows[row["change_key"]].append(row)
    groups = []
    for key in keys:
        members = rows.get(key["change_key"])
        if members:
            change = _change(
                tickets[key["ticket_id"]], members, key["change_key"], members[0]["epoch"], members[0]["started_at"]
            )
            groups.append((change, members[0]))
    return groups


async def _ask_after_interrupted(runtime: Runtime, endpoint: Endpoint, plugin: Helpdesk[Any], held: Held) -> None:
    """What was in flight when its deadline passed: ask the helpdesk whether it has it, and only then go on."""
    async with runtime.database.read() as connection:
        groups = await _grouped(connection, endpoint, INTERRUPTED, runtime.now())
    wakes: set[str] = set()
    for change, first in groups:
        doubted = first["doubt"] == "asking"
        started = time.monotonic()
        found: FoundTicket | None = None
        trouble: Trouble | None = None
        try:
            async with asyncio.timeout(runtime.settings.call_timeout + OUTER):
                found = await plugin.find(PushIntent(change=change.change, started_at=change.started_at))
        except Exception as error:  # recorded; the row stays in flight and is asked after again
            trouble = trouble_of(error)
        now = runtime.now()
        proof = absent_is_proof(change.started_at, now, plugin.capabilities.index_lag)
        async with runtime.database.write() as connection:
            await held.check(connection)
            if not await outcomes.still_ours(connection, change):
                continue
            if found is None:
                assert trouble is not None
                if doubted and trouble.kind in ("closed", "moved", "gone"):
                    await outcomes.settled(connection, change, now)  # the call itself is told so, and follows it
                elif trouble.kind == "gone" and change.change.external_id is not None:
                    # whether it had come is gone with the ticket: what customers said goes on where the matter does
                    wakes |= await outcomes.failed(connection, change, trouble, now) | {f"push:{endpoint.id}"}
                else:
                    await outcomes.ask_later(connection, change, trouble, now)
                await note_trouble(connection, endpoint, trouble, now)
            else:
                await outcomes.found(connection, change, found, now, absent=proof, doubted=doubted)
                if doubted and found.external_id is not None:
                    # when its comments came to stand there, and what agents answered since: told of once more
                    again = Wanted(ref=found.external_id, kind="ticket", reason="thin", at=now)
                    wakes |= await want(connection, [(endpoint, again, now)], now)
            await note_attempt(
                connection, endpoint.id, "find", change.key, trouble, now, int((time.monotonic() - started) * 1000)
            )
        if trouble is not None and trouble.kind in ("retry", "reauthorise"):
            break
    await runtime.wake(wakes)


async def _resume_jobs(runtime: Runtime, endpoint: Endpoint, plugin: Helpdesk[Any], held: Held) -> None:
    async with runtime.database.read() as connection:
        groups = await _grouped(connection, endpoint, JOB, runtime.now())
    if not groups:
        return
    await held.check_fresh(runtime.database)
    asked = [Pending(key=change.key, job=row["job"]) for change, row in groups]
    started = time.monotonic()
    results: Sequence[PushResult]
    trouble: Trouble | None = None
    try:
        async with asyncio.timeout(runtime.settings.call_timeout + OUTER):
            results = await plugin.resume(asked)
    except Exception as error:  # recorded on every job asked for
        trouble = trouble_of(error)
        kind = "unknown" if trouble.kind == "gone" else trouble.kind
        results = (
            [Pending(key=one.key, job=one.job, after=trouble.delay(3)) for one in asked]
            if kind != "unknown"
            else [_failed(change, Trouble("unknown", trouble.code, trouble.reason)) for change, _ in groups]
        )
    await _record(
        runtime,
        endpoint,
        plugin,
        [change for change, _ in groups],
        results,
        trouble,
        int((time.monotonic() - started) * 1000),
        "resume",
    )
