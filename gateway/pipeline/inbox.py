"""Ties the inbound stations together: normalise → record or reply, and thread → decide → outbox rows.

A batch that fails on its data is split to single items, so that one poisoned item ends failed with a reason and all
others go through.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.connections import Endpoint
from gateway.db.database import as_json, execute, execute_rows, fetch_all, insert_rows, is_data_error
from gateway.db.tables.ticket import solving
from gateway.engine.leases import Held
from gateway.engine.sandbox import Sandbox
from gateway.events.announce import Announcement, announce_many, announce_replies
from gateway.pipeline import matters_stored, reply
from gateway.pipeline.attach import join_files
from gateway.pipeline.decide import apply_on_publication, decide_inbound
from gateway.pipeline.decide_changes import decide_changes, write_changes
from gateway.pipeline.enrich import wait_for_facts
from gateway.pipeline.invitations import asks, mailboxes, write_claims
from gateway.pipeline.leaving import tried
from gateway.pipeline.matters import Matters, ThreadedItem, TicketRow
from gateway.pipeline.normalise import Read, read_pending
from gateway.pipeline.published import after_sent, published
from gateway.pipeline.record import record
from gateway.pipeline.thread_plan import Plan
from gateway.pipeline.waiting import release_waiting
from gateway.policy.combine import PRIORITIES
from gateway.policy.effects import carry_out, clock_requests, raise_alarms
from gateway.policy.sets import PolicySetInForce, PolicySets
from gateway.privacy.marks import Marks, empty, keep_out
from gateway.runtime import Runtime
from gateway.sla.clocks import apply
from gateway_schemas.ticket import AgentNote

log = logging.getLogger(__name__)


async def drain_inbox(runtime: Runtime, sandbox: Sandbox, shard: int, held: Held, limit: int) -> bool:
    """Normalise and record the oldest pending deliveries of a shard. Returns whether there may be more."""
    reads = await read_pending(runtime, sandbox, shard, limit)
    if not reads:
        return False
    await _write_reads(runtime, sandbox, held, reads)
    return len(reads) == limit


async def _write_reads(runtime: Runtime, sandbox: Sandbox, held: Held, reads: Sequence[Read]) -> None:
    now = runtime.now()
    try:
        followed = await decide_changes(runtime, sandbox, [read for read in reads if read.role == "helpdesk"], now)
        invites = any(isinstance(item, AgentNote) and asks(item.text) for read in reads for _, item in read.news)
        boxes = await mailboxes(runtime) if invites else ()
        async with runtime.database.write() as connection:
            await held.check(connection)
            emptied = await keep_out(connection, Marks(runtime.vault), runtime.registry, reads)
            wakes = await record(
                connection,
                runtime.registry,
                [read for read in reads if read.role == "source"],
                now,
                runtime.settings.ancestor_wait,
                runtime.settings.ancestor_depth,
            )
            wakes |= await reply.take(
                connection,
                [read for read in reads if read.role == "helpdesk"],
                now,
                timedelta(hours=runtime.settings.reply_ttl_hours),
                runtime.settings.file_patience,
                runtime.calendars,
                boxes,
            )
            wakes |= await write_changes(connection, runtime.calendars, followed, now)
            await _end(connection, reads, now)
            if any(read.role == "helpdesk" for read in reads):
                await runtime.audit.seal(connection)  # an agent may have approved or rejected an answer
            await empty(connection, emptied)
    except DBAPIError as error:
        if not is_data_error(error):
            raise
        if len(reads) > 1:
            for read in reads:
                await _write_reads(runtime, sandbox, held, [read])
            return
        log.warning("delivery %s failed on its data: %s", reads[0].id, type(error.orig).__name__)
        reads[0].fail(f"the database refused its data: {type(error.orig).__name__}")
        async with runtime.database.write() as connection:
            await held.check(connection)
            await _end(connection, reads, now)
        return
    await runtime.wake(wakes)
    async with runtime.database.read() as connection:
        released = await release_waiting(connection, now)
    await runtime.wake(released)


async def _end(connection: AsyncConnection, reads: Sequence[Read], now: Any) -> None:
    """Every delivery ends processed, ignored with a reason, or failed with a reason."""
    await execute_rows(
        connection,
        """UPDATE delivery d SET state = g.state, reason = g.reason, processed_at = :now, attempts = attempts + 1
           FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g (id bigint, received_at timestamptz, state text,
               reason text)
           WHERE d.id = g.id AND d.received_at = g.received_at""",
        [
            {"id": read.id, "received_at": read.received_at, "state": read.state, "reason": read.reason}
            for read in reads
        ],
        now=now,
    )


TRIES = 5
"""How often a batch that was overtaken is threaded anew at once; then the next tick finds it."""


class Overtaken(Exception):
    """What a batch rests on has changed since it was read, and it is threaded anew: a comment that an edit was to
    rewrite has gone out, or somebody else was the first to use an invitation."""


async def drain_threads(runtime: Runtime, sandbox: Sandbox, policies: PolicySets, shard: int, held: Held) -> bool:
    """Thread and decide the oldest pending changes of a shard. Returns whether there may be more."""
    async with runtime.database.read() as connection:
        rows = await fetch_all(connection, matters_stored.PENDING, shard=shard, limit=runtime.settings.batch)
    if not rows:
        return False
    await _write_threads(runtime, sandbox, policies, held, rows)
    return len(rows) == runtime.settings.batch


async def _write_threads(
    runtime: Runtime, sandbox: Sandbox, policies: PolicySets, held: Held, rows: Sequence[Mapping[str, Any]]
) -> None:
    """Anew where they are overtaken, a few times, and each alone where the database refuses the data of one."""
    for _ in range(TRIES):
        now = runtime.now()
        in_force = await policies.in_force(now)
        rows = await wait_for_facts(runtime, in_force, held, rows, now)  # who waits is not among them any more
        if not rows:
            return
        try:
            await _thread(runtime, sandbox, in_force, held, rows, now)
        except Overtaken:
            continue
        except DBAPIError as error:
            if not is_data_error(error):
                raise
            if len(rows) == 1:
                await _refused(runtime, held, rows[0], type(error.orig).__name__)
            else:
                for row in rows:
                    await _write_threads(runtime, sandbox, policies, held, [row])
        return
    log.warning("revision %s and what comes with it was overtaken again and again", rows[0]["revision_id"])


async def _refused(runtime: Runtime, held: Held, row: Mapping[str, Any], why: str) -> None:
    """The database refuses the data of a change: it ends failed, and nothing else waits for it."""
    log.warning("revision %s failed on its data: %s", row["revision_id"], why)
    async with runtime.database.write() as connection:
        await held.check(connection)
        await execute(
            connection,
            "UPDATE revision SET state = 'failed', reason = :reason WHERE id = :id",
            id=row["revision_id"],
            reason=f"the database refused its data: {why}",
        )


async def _thread(
    runtime: Runtime,
    sandbox: Sandbox,
    in_force: PolicySetInForce,
    held: Held,
    rows: Sequence[Mapping[str, Any]],
    now: datetime,
) -> None:
    async with runtime.database.write() as connection:
        matters = await matters_stored.load(connection, rows, now)
    matters.restored = runtime.restored
    patience = timedelta(seconds=runtime.settings.file_patience)
    decided = await decide_inbound(runtime.database, runtime.calendars, sandbox, in_force, matters, now, patience)
    # before the transaction: who holds one connection of the pool must not wait for another
    proving = {echo.connection_id for echo in decided.plan.proven.values()}
    sources = {id: await runtime.connections.get(id) for id in sorted(proving)}
    async with runtime.database.write() as connection:
        await held.check(connection)
        wakes = await _write_plan(connection, runtime, matters, decided.plan, sources)
        await insert_rows(connection, "decision", decided.decisions)
    await runtime.wake(wakes)


async def _write_plan(
    connection: AsyncConnection,
    runtime: Runtime,
    matters: Matters,
    plan: Plan,
    sources: Mapping[UUID, Endpoint | None],
) -> set[str]:
    """One transaction for all that a batch changes, set-based, rows in order of their keys."""
    if plan.claims and not await write_claims(connection, plan.claims, plan.now):
        raise Overtaken
    opened = [_opened(row, plan.changed_tickets.get(id), plan.now) for id, row in plan.tickets.items()]
    await insert_rows(connection, "ticket", opened)
    await insert_rows(
        connection,
        "leg",
        [plan.legs[key] for key in sorted(plan.legs)],
        tail="ON CONFLICT (thread_id, account_id) DO UPDATE SET ticket_id = EXCLUDED.ticket_id",
    )
    threads = {one.interaction_id: one.thread_id for one in matters.items}
    await execute_rows(
        connection,
        """UPDATE interaction i SET thread_id = g.thread_id, ticket_id = COALESCE(g.ticket_id, i.ticket_id),
               reply_id = COALESCE(g.reply_id, i.reply_id)
           FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g (id uuid, thread_id uuid, ticket_id uuid, reply_id uuid)
           WHERE i.id = g.id""",
        [
            {"id": id, "thread_id": threads.get(id), "ticket_id": None, "reply_id": None, **plan.placed.get(id, {})}
            for id in sorted({*threads, *plan.placed})
        ],
    )
    await execute_rows(
        connection,
        # the helpdesk's word and a second account's messages on the ticket have other holders: theirs stays beside ours
        f"""UPDATE ticket t SET status = g.status, {solving("g.status", ":now")},
               priority = CASE WHEN array_position(CAST(:ranks AS text[]), g.priority)
                   > array_position(CAST(:ranks AS text[]), t.priority) THEN g.priority ELSE t.priority END,
               last_inbound_at = GREATEST(t.last_inbound_at, g.last_inbound_at),
               tags = ARRAY(SELECT DISTINCT unnest(t.tags || g.tags) ORDER BY 1), fields = t.fields || g.fields,
               updated_at = :now
           FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g (id uuid, status text, priority text,
               last_inbound_at timestamptz, tags text[], fields jsonb) WHERE t.id = g.id""",
        [{"id": id, **_change(row)} for id, row in sorted(plan.changed_tickets.items()) if id not in plan.tickets],
        ranks=list(PRIORITIES),
        now=plan.now,
    )
    await insert_rows(connection, "push", list(plan.pushes.values()), tail="ON CONFLICT (key) DO NOTHING")
    for key, payload in sorted(plan.rewritten.items()):
        touched = await execute(
            connection,
            """UPDATE push SET payload = payload || CAST(:payload AS jsonb)
               WHERE key = :key AND state = 'pending' AND tries = 0""",
            key=key,
            payload=as_json(payload),
        )
        if not touched and key not in plan.pushes:
            raise Overtaken
    told = {row["interaction_id"] for row in plan.pushes.values() if row["payload"].get("attachments")}
    wakes = await join_files(connection, sorted(one for one in told if one is not None), plan.now)
    await raise_alarms(connection, plan.alarms)
    wakes |= await carry_out(connection, plan.orders, plan.now)
    for reply_id, echo in sorted(plan.proven.items()):
        wakes |= await _proven(connection, runtime, sources[echo.connection_id], reply_id, echo, plan)
    # after the replies: whoever holds a reply may want its ticket's clocks, and nobody the other way round
    wakes |= (await apply(connection, runtime.calendars, [*plan.clocks, *clock_requests(plan.orders)], plan.now)).wakes
    for revision_id, (waits_for, until) in sorted(plan.parked.items()):
        await execute(
            connection,
            "UPDATE revision SET state = 'waiting', waits_for = :waits_for, wait_until = :until WHERE id = :id",
            id=revision_id,
            waits_for=waits_for,
            until=until,
        )
    await execute_rows(
        connection,
        """UPDATE revision r SET state = 'done', reason = g.reason
           FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g (id bigint, reason text) WHERE r.id = g.id""",
        [{"id": id, "reason": reason} for id, reason in sorted(plan.done.items())],
    )
    news = [Announcement("ticket.created", row["id"], {"followup_of": row["followup_of"]}) for row in opened]
    await announce_many(connection, news, plan.now)
    return wakes | {f"push:{row['helpdesk_id']}" for row in plan.pushes.values()}


def _opened(row: Mapping[str, Any], after: TicketRow | None, now: datetime) -> dict[str, Any]:
    """A new ticket as it is at the end of its batch, policies and later messages included."""
    state = _state(after) if after is not None else {"fields": {}}
    solved_at = now if state.get("status") in ("solved", "closed") else None
    return {**row, **state, "solved_at": solved_at}


def _state(row: TicketRow) -> dict[str, Any]:
    return {
        "status": row.status,
        "priority": row.priority,
        "last_inbound_at": row.last_inbound_at,
        "tags": row.tags,
        "fields": row.fields,
    }


def _change(row: TicketRow) -> dict[str, Any]:
    """What a batch did to a ticket that was there before: policies raise the priority, add tags, and set fields."""
    before = row.loaded
    assert before is not None
    return {
        **_state(row),
        "priority": row.priority if row.priority != before.priority else None,
        "tags": [tag for tag in row.tags if tag not in before.tags],
        "fields": {
            name: value
            for name, value in row.fields.items()
            if name not in before.fields or before.fields[name] != value
        },
    }


async def _proven(
    connection: AsyncConnection,
    runtime: Runtime,
    endpoint: Endpoint | None,
    reply_id: UUID,
    echo: ThreadedItem,
    plan: Plan,
) -> set[str]:
    touched = await execute(
        connection,
        f"""UPDATE reply r SET state = 'sent', external_id = :external, url = :url, sent_at = :at, code = NULL,
               reason = NULL,
               updated_at = :now WHERE id = :id AND {tried("r")} AND external_id IS NULL""",
        id=reply_id,
        external=echo.external_id,
        url=echo.news.url,
        at=echo.news.published_at,
        now=plan.now,
    )
    if not touched or endpoint is None:
        return set()
    plan.clocks.append(await published(connection, reply_id, plan.now))
    await announce_replies(connection, "reply.published", [reply_id], plan.now)
    wakes = await apply_on_publication(connection, runtime.calendars, reply_id, echo.news.published_at, plan.now)
    return wakes | await after_sent(
        connection, runtime.registry, endpoint, reply_id, echo.external_id, echo.news.url, plan.now, was_marked=False
    )
