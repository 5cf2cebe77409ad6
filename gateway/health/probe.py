"""Looking after the channels: does news still reach us, and if not, since when, why, and what mends it.

Each connection has a row that says when it is looked at next. A look reads what the gateway has seen itself, asks the
provider by the plugin's `probe`, and writes one verdict in one transaction: the standing, what is told to subscribers,
the ticket, and the polls that fill the gap. A look that is interrupted has written nothing and is repeated.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.connections import ConfigInvalid, Endpoint, PluginMissing
from gateway.db.database import execute
from gateway.engine.leases import Held
from gateway.health.facts import seen_of, unknown_of
from gateway.health.symptoms import Facts, Lane
from gateway.health.verdict import Asked, Look, record_look
from gateway.net.client import calling
from gateway.pipeline.trouble import trouble_of
from gateway.runtime import Runtime
from gateway_schemas.enricher import Enricher
from gateway_schemas.helpdesk import Helpdesk
from gateway_schemas.plugin import Probing
from gateway_schemas.source import Source

OUTER = 1.0
"""Seconds by which the last resort comes after the client's own deadline."""
SETTLED = timedelta(seconds=60)
"""How old something at the provider must be before it is missed."""
UNPROBED = ("rate_budget", "rate_blocked", "cost_budget", "budget_unavailable")
"""The budget keeps back the probe, which says nothing of the channel."""

BEGIN = """
INSERT INTO channel_health (connection_id, state, since, bad, good, findings, next_at, missed, refused, quiet)
SELECT c.id, 'unproven', :now, 0, 0, '{"items": []}',
       -- not all at once: a start finds all of them without a row
       :now + make_interval(secs => 60 + 240 * (('x' || right(c.id::text, 6))::bit(24)::int / 16777216.0)),
       0, 0, false
FROM connection c
WHERE c.role <> 'enricher' AND NOT EXISTS (SELECT 1 FROM channel_health h WHERE h.connection_id = c.id)
ON CONFLICT DO NOTHING
"""
"""Begins to look after connections that are new. Few rows, and none to write nearly always."""


async def begin_to_look(connection: AsyncConnection, now: datetime) -> None:
    """Called by every tick: new connections are looked after from now on."""
    await execute(connection, BEGIN, now=now)


async def note_installed(connection: AsyncConnection, id: UUID, door: str, now: datetime) -> None:
    """Called after an install: the provider pushes to this address from now on; a look soon sees whether it does."""
    await begin_to_look(connection, now)
    await execute(
        connection,
        "UPDATE channel_health SET door = :door WHERE connection_id = :id",
        id=id,
        door=door,
    )
    await look_soon(connection, id, now)


async def look_soon(connection: AsyncConnection, id: UUID, now: datetime) -> None:
    """Called when a person has changed a connection, or the App of some: see within a minute what came of it.

    What was missed or refused before speaks of how it was before.
    """
    await execute(
        connection,
        """UPDATE channel_health h SET next_at = :soon, counts_from = :now,
               refused = COALESCE((SELECT sum(r.count) FROM refusal r
                   WHERE r.endpoint_id IN (c.id, c.app_id) AND r.code <> 'too_large'), 0)
           FROM connection c WHERE c.id = h.connection_id AND (c.id = :id OR c.app_id = :id)""",
        id=id,
        now=now,
        soon=now + SETTLED,
    )


async def look(runtime: Runtime, endpoint: Endpoint, held: Held) -> bool:
    """The drain `probe:<connection>`. Returns False: the next look is due later."""
    now = runtime.now()
    async with runtime.database.read() as connection:
        seen = await seen_of(connection, endpoint, now)
    if seen is None or seen.health["next_at"] > now:
        return False
    plugin, error = _plugin(runtime, endpoint, seen.health["door"])
    probing = _probing(plugin)
    facts = seen.facts(plugin, error, now)
    asked = await _ask(runtime, plugin, facts, probing, now)
    found = Look(now, seen, facts, asked, probing.every or Probing().every)
    if plugin is not None and asked.newest:
        await _compare(runtime, endpoint, found)
    await runtime.wake(await record_look(runtime, endpoint, held, found))
    return False


def _plugin(
    runtime: Runtime, endpoint: Endpoint, door: str | None
) -> tuple[Source[Any] | Helpdesk[Any] | None, str | None]:
    try:
        made = runtime.connections.fresh(endpoint, outgoing=runtime.outgoing, door=door)
    except (PluginMissing, ConfigInvalid) as error:
        return None, str(error)
    assert not isinstance(made, Enricher)
    return made, None


def _probing(plugin: Source[Any] | Helpdesk[Any] | None) -> Probing:
    if plugin is None or plugin.setup.config is None:
        return Probing()
    return plugin.probing_of(plugin.setup.config, plugin.setup.app)


async def _ask(
    runtime: Runtime, plugin: Source[Any] | Helpdesk[Any] | None, facts: Facts, probing: Probing, now: datetime
) -> Asked:
    """Ask the provider, where that makes sense: not while it asked for a pause, refused us, or a person paused."""
    blocked = facts.blocked_until is not None and facts.blocked_until > now
    if plugin is None or facts.status != "active" or facts.paused or blocked or not probing.every:
        return Asked()
    seconds = runtime.settings.call_timeout * 2
    try:
        with calling(lane="probe", seconds=seconds):
            async with asyncio.timeout(seconds + OUTER):
                return Asked(health=await plugin.probe(), called=True)
    except Exception as error:  # recorded on the connection's health
        trouble = trouble_of(error)
        return Asked(trouble=None if trouble.code in UNPROBED else trouble, called=trouble.code not in UNPROBED)


async def _compare(runtime: Runtime, endpoint: Endpoint, found: Look) -> None:
    """The strongest proof: is what is newest there also here? What is not has until the next look to be polled."""
    created = found.facts.created_at
    due = [one for one in found.asked.newest if created < one.at <= found.now - SETTLED]
    async with runtime.database.read() as connection:
        found.behind = await unknown_of(connection, runtime.registry, endpoint, [one.external_id for one in due])
    before = found.seen.health["findings"].get("behind") or ()
    looked = found.seen.health["looked_at"]
    if looked is not None and all(_in_vain(lane, looked) for lane in found.facts.lanes):
        found.lost = [id for id in found.behind if id in before]


def _in_vain(lane: Lane, since: datetime) -> bool:
    """Whether a poll since then went well, to its end; or is refused again and again where a look is answered."""
    went_well = lane.polled_at is not None and lane.polled_at >= since and lane.next_at > lane.polled_at
    return went_well or lane.failures > 1
