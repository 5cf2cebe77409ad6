"""Which station runs when: a wake-up names a drain, the drain takes its lease and works until nothing is left.

Names: `inbox:<shard>` `thread:<shard>` `fetch:<connection>` `push:<helpdesk>` `reply:<source>` `send:<source>`
`poll:<connection>:<stream>` `attach:<connection>` `enrich:<enricher>` `renew:<connection>` `clock:sweep`
`decide:clocks` `calendar:<calendar>` `incidents` `traces` `tell:<subscription>` `erase:<erasure>`
`probe:<connection>`.
"""

from __future__ import annotations

import functools
import logging
import time
from uuid import UUID

from gateway.connections import ConfigInvalid, Endpoint, PluginMissing
from gateway.db.database import fetch_all
from gateway.engine.leases import Held, LeaseLost
from gateway.engine.sandbox import Sandbox
from gateway.engine.shards import INBOX_SHARDS, SHARDS, is_crowd
from gateway.events.tell import Tellers
from gateway.health.probe import begin_to_look, look
from gateway.oauth.renewal import renew_due
from gateway.pipeline.attach import attach_due
from gateway.pipeline.crowds import Turns
from gateway.pipeline.decide_clocks import decide_clock_steps
from gateway.pipeline.enrich import enrich_due
from gateway.pipeline.fetch import fetch_due
from gateway.pipeline.holds import end_holds, mind_breaker
from gateway.pipeline.inbox import drain_inbox, drain_threads
from gateway.pipeline.incidents import GROWN, tell_incidents
from gateway.pipeline.poll import poll_stream
from gateway.pipeline.push import push_due
from gateway.pipeline.redrive import redrive_due
from gateway.pipeline.render import render_due
from gateway.pipeline.send import send_due
from gateway.pipeline.waiting import release_waiting
from gateway.policy import backtest
from gateway.privacy.erase import Tools, erase_due
from gateway.restored import catch_up, doubt_replies
from gateway.runtime import Runtime
from gateway.sla.feeds import refresh_feed
from gateway.sla.sweep import drain_calendar, drain_clocks
from gateway.tracing.export import Exporter, export_traces, waiting
from gateway.tracing.logs import about

log = logging.getLogger(__name__)

YIELD_AFTER = 2.0
"""Seconds after which a drain with more to do gives its place to others and asks to be woken again."""


class Drains:
    """The stations of one worker process."""

    def __init__(self, runtime: Runtime, sandbox: Sandbox, exporter: Exporter | None = None) -> None:
        self._runtime = runtime
        self._exporter = exporter
        self._sandbox = sandbox
        self._policies = runtime.policies
        self._turns = Turns(runtime.settings.batch)
        self.tellers = Tellers(runtime)
        self.stopping = False

    async def run(self, name: str) -> None:
        """Run one drain until nothing is left, somebody else holds its lease, or others should have their turn."""
        again = True
        while again and not self.stopping:
            held = await self._runtime.leases.take(name)
            if held is None:
                return
            more = False
            try:
                async with self._runtime.leases.kept(held):
                    with about(drain=name):
                        more = await self._work(name, held)
            except LeaseLost:
                log.warning("%s: the lease was lost; its new holder goes on", name)
                return
            except (PluginMissing, ConfigInvalid) as error:
                log.warning("%s: %s", name, error)
            finally:
                again = await self._runtime.leases.give_back(held)
            if more:
                await self._runtime.wake([name])
                return

    async def _work(self, name: str, held: Held) -> bool:
        """Work for a while. Returns whether there is more."""
        began = time.monotonic()
        while True:
            more = await self._step(name, held)
            if not more or self.stopping:
                return False
            if time.monotonic() - began > YIELD_AFTER:
                return True

    async def _step(self, name: str, held: Held) -> bool:
        kind, _, rest = name.partition(":")
        if kind == "inbox":
            return await self._read(int(rest), held)
        if kind == "thread":
            return await self._thread(int(rest), held)
        if kind == "decide":
            return await decide_clock_steps(self._runtime, self._sandbox, held)
        if kind == "clock":
            return await drain_clocks(self._runtime, held)
        if kind == "traces":
            return self._exporter is not None and await export_traces(self._runtime, self._exporter, held)
        if kind == "incidents":
            return await tell_incidents(self._runtime, held)
        if kind == "calendar":
            await refresh_feed(self._runtime, UUID(rest), held)
            return await drain_calendar(self._runtime, UUID(rest), held)
        if kind == "tell":
            return await self.tellers.look(UUID(rest), held)
        if kind == "erase":
            tools = Tools(self._runtime.database, self._runtime.vault, self._runtime.files)
            return await erase_due(tools, UUID(rest), self._runtime.now(), held)
        if kind == "backtest":
            return await backtest.run(self._runtime, self._sandbox, UUID(rest), held)
        id, _, stream = rest.partition(":")
        endpoint = await self._runtime.connections.get(UUID(id))
        if endpoint is None:
            return False
        if kind == "renew":
            await self._runtime.wake(await renew_due(self._runtime, endpoint, held))
            return False
        if kind == "probe":
            return await look(self._runtime, endpoint, held)  # most of all where nothing may be done
        if not self._may_work(kind, endpoint):
            return False
        if kind == "fetch":
            return await fetch_due(self._runtime, endpoint, held)
        if kind == "enrich":
            return await enrich_due(self._runtime, endpoint, held)
        if kind == "attach":
            return await attach_due(self._runtime, self._sandbox, endpoint, held)
        if kind == "push":
            return await push_due(self._runtime, endpoint, held)
        if kind == "reply":
            return await render_due(self._runtime, self._sandbox, self._policies, endpoint, held)
        if kind == "send":
            return await send_due(self._runtime, self._policies, endpoint, held)
        return await poll_stream(self._runtime, endpoint, stream, held)

    async def _read(self, shard: int, held: Held) -> bool:
        if not is_crowd(shard):
            self._turns.others()
            return await drain_inbox(self._runtime, self._sandbox, shard, held, self._runtime.settings.batch)
        return await self._turns.take(functools.partial(drain_inbox, self._runtime, self._sandbox, shard, held))

    async def _thread(self, shard: int, held: Held) -> bool:
        with self._turns.threading():
            return await drain_threads(self._runtime, self._sandbox, self._policies, shard, held)

    def _may_work(self, kind: str, endpoint: Endpoint) -> bool:
        """A connection that is paused, blocked or without consent keeps its backlog."""
        if kind == "reply":
            return True  # deciding calls nobody
        if endpoint.status != "active":
            return False
        if endpoint.blocked_until is not None and endpoint.blocked_until > self._runtime.now():
            return False
        return not (endpoint.paused_in if kind in ("fetch", "poll", "attach") else endpoint.paused_out)


DUE = f"""
WITH open AS (
    SELECT id, role FROM connection WHERE status = 'active' AND (blocked_until IS NULL OR blocked_until <= :now)
)
SELECT 'inbox:' || s.number AS name FROM generate_series(0, {INBOX_SHARDS - 1}) AS s (number)
    WHERE EXISTS (SELECT 1 FROM delivery d WHERE d.shard = s.number AND d.state = 'pending')
UNION ALL
SELECT 'thread:' || s.number FROM generate_series(0, {SHARDS - 1}) AS s (number)
    WHERE EXISTS (SELECT 1 FROM revision r WHERE r.shard = s.number AND r.state = 'pending')
UNION ALL
SELECT 'fetch:' || id FROM open WHERE EXISTS (
    SELECT 1 FROM wanted w WHERE w.connection_id = open.id AND w.state = 'pending' AND w.due_at <= :now)
UNION ALL
SELECT 'attach:' || id FROM open WHERE EXISTS (
    SELECT 1 FROM attachment a WHERE a.connection_id = open.id AND a.state = 'pending' AND a.due_at <= :now)
UNION ALL
SELECT 'enrich:' || id FROM open WHERE role = 'enricher' AND EXISTS (
    SELECT 1 FROM enrichment e WHERE e.connection_id = open.id AND e.asked_at IS NOT NULL)
UNION ALL
SELECT 'push:' || id FROM open WHERE role = 'helpdesk' AND EXISTS (
    SELECT 1 FROM push p WHERE p.helpdesk_id = open.id AND p.state IN ('pending', 'in_flight', 'job')
        AND p.due_at <= :now
        AND (p.state <> 'in_flight' OR p.deadline_at < clock_timestamp()))
UNION ALL
SELECT 'reply:' || id FROM open WHERE role = 'source' AND EXISTS (
    SELECT 1 FROM reply r WHERE r.connection_id = open.id AND r.state = 'received' AND r.due_at <= :now)
UNION ALL
-- Minima here and for clocks, not EXISTS: each is read from a partial index, whatever the plan. An EXISTS is
-- looked for by reading the table where the plan expects many rows to be due: all of it when none is, as with a
-- thousand answers of which only a person can tell what became of them, or a million running clocks.
SELECT 'send:' || id FROM open WHERE role = 'source' AND (
    (SELECT min(r.due_at) FROM reply r WHERE r.connection_id = open.id AND r.code IS DISTINCT FROM 'needs_person'
        AND r.state IN ('queued', 'unknown', 'retracting')) <= :now
    OR (SELECT min(r.deadline_at) FROM reply r WHERE r.connection_id = open.id AND r.state = 'sending')
        < clock_timestamp())
UNION ALL
SELECT 'backtest:' || id FROM backtest WHERE state IN ('pending', 'running')
UNION ALL
SELECT 'erase:' || id FROM erasure WHERE state <> 'done' AND due_at <= :now
UNION ALL
SELECT 'poll:' || c.connection_id || ':' || c.stream FROM cursor c JOIN open ON open.id = c.connection_id
    WHERE c.next_at <= :now
UNION ALL
SELECT 'renew:' || connection_id FROM authorisation WHERE state = 'granted' AND renew_at <= :now
    AND (begun_until IS NULL OR begun_until < clock_timestamp())
UNION ALL
SELECT 'probe:' || connection_id FROM channel_health WHERE next_at <= :now
UNION ALL
SELECT 'clock:sweep' WHERE (SELECT min(next_at) FROM clock WHERE state = 'running') <= :now
UNION ALL
SELECT 'decide:clocks' WHERE EXISTS (SELECT 1 FROM clock_event WHERE handled_at IS NULL)
UNION ALL
SELECT 'incidents' WHERE EXISTS ({GROWN})
UNION ALL
SELECT 'tell:' || s.id FROM subscription s
    WHERE s.state = 'active' AND (s.wait_until IS NULL OR s.wait_until <= :now) AND EXISTS (
        SELECT 1 FROM event_delivery d WHERE d.subscription_id = s.id AND d.state = 'pending' AND d.due_at <= :now
            AND (d.deadline_at IS NULL OR d.deadline_at < clock_timestamp()))
UNION ALL
SELECT 'calendar:' || k.id FROM calendar k WHERE k.feed_due_at <= :now OR k.version > (
    SELECT min(c.calendar_version) FROM clock c WHERE c.calendar_id = k.id AND c.state IN ('running', 'paused'))
"""


async def tick(runtime: Runtime) -> None:
    """Find due rows and wake their drains: what time brings, and what a lost wake-up left behind."""
    now = runtime.now()
    wakes = await end_holds(runtime, now)
    wakes |= await redrive_due(runtime, now)
    await mind_breaker(runtime, now)
    if runtime.restored is not None:
        async with runtime.database.write() as connection:
            await catch_up(connection, runtime.restored, now)
            wakes |= await doubt_replies(connection, runtime.restored, now)
    async with runtime.database.read() as connection:
        await release_waiting(connection, now)
        await begin_to_look(connection, now)
        names = [row["name"] for row in await fetch_all(connection, DUE, now=now)]
        if runtime.settings.traces_url is not None and await waiting(connection):
            names.append("traces")
    await runtime.wake({*names, *wakes})
