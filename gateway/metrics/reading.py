"""Reads the whole installation's numbers in one short transaction, so that any process answers for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from gateway.connections import ConfigInvalid, Endpoint, PluginMissing
from gateway.db.database import Row, fetch_all
from gateway.metrics import statements
from gateway.net.budgets import allowed, milliseconds
from gateway.net.statements import GRAIN
from gateway.runtime import Runtime
from gateway.security.vault import VaultError

WINDOW = timedelta(minutes=5)
"""How far back "lately" reaches."""
CAP = 100_000
"""Open rows of a kind that are counted; where there are more, the count stays here."""
SAMPLE = 10_000
"""The newest rows of a table among which those of the window are looked for."""
QUANTILES = (0.5, 0.95, 0.99)
WORKER_SEEN = 60
"""Seconds after which a worker that gave no sign of life is taken to be gone; it gives one every ten."""
PATIENCE = "10s"

READ = {
    name: getattr(statements, name)
    for name in (
        "CONNECTIONS",
        "CHANNELS",
        "APPS",
        "OPEN_DELIVERIES",
        "OLDEST_DELIVERY",
        "BACKLOG",
        "SUBSCRIPTIONS",
        "EVENT_DELIVERIES",
        "CLOCKS",
        "BREACHED",
        "RECENT_DELIVERIES",
        "RECENT_ATTEMPTS",
        "RECENT_DECISIONS",
        "LATENCIES",
        "CALLS",
        "REFUSALS",
        "COSTS",
        "PROCESSES",
        "BUDGETS",
    )
}
"""Every statement of a reading by its name."""


@dataclass(frozen=True)
class Limit:
    """How many requests of one bucket may leave in any window of `seconds`."""

    key: str
    bucket: str
    per_ms: int
    allowed: int


@dataclass(frozen=True)
class Reading:
    """The rows of every statement as they stood at one moment."""

    at: datetime
    rows: Mapping[str, Sequence[Row]]
    limits: Sequence[Limit]

    def one(self, name: str) -> Row:
        """The only row of a statement."""
        return self.rows[name][0]


async def read(runtime: Runtime) -> Reading:
    """Called for each scrape. Raises DBAPIError when the database is away or does not answer in time."""
    now = runtime.now()
    given = values(now)
    rows: dict[str, Sequence[Row]] = {}
    async with runtime.database.write() as connection:
        for setting in settings():
            await connection.execute(text(setting))
        for name, statement in READ.items():
            if name == "BUDGETS":
                given["keys"] = list(owners(rows["APPS"], rows["CONNECTIONS"]))
            rows[name] = await fetch_all(connection, statement, **_needed(statement, given))
    return Reading(now, rows, await _limits(runtime, rows["CONNECTIONS"]))


def settings() -> tuple[str, ...]:
    """What the transaction of a reading begins with: one moment, nothing written, no table read from end to end."""
    return (
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
        f"SET LOCAL statement_timeout = '{PATIENCE}'",
        "SET LOCAL enable_seqscan = off",
        "SET LOCAL enable_bitmapscan = off",  # it reads all of an index before the first row, whatever the limit
        "SET LOCAL jit = off",
    )


def values(now: datetime) -> dict[str, Any]:
    """The parameters of the statements."""
    return {
        "now": now,
        "since": now - WINDOW,
        "day": now.astimezone(UTC).date(),
        "now_ms": milliseconds(now),
        "grain": GRAIN,
        "cap": CAP,
        "sample": SAMPLE,
        "quantiles": list(QUANTILES),
        "seen": WORKER_SEEN,
        "keys": [],
    }


def owners(apps: Sequence[Row], connections: Sequence[Row]) -> dict[str, str]:
    """Who owns budgets, by the ledger's key: `app:<name>`, or `<role>:<name>` of a connection without an App."""
    found = {f"app:{row['id']}": f"app:{row['name']}" for row in apps}
    return found | {
        f"connection:{row['id']}": f"{row['role']}:{row['name']}" for row in connections if row["app_id"] is None
    }


def _needed(statement: str, given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name in text(statement).compile().params}


async def _limits(runtime: Runtime, connections: Sequence[Row]) -> list[Limit]:
    """What the plugins declare, as far as their configurations can be read."""
    lowest: dict[tuple[str, str, int], int] = {}
    for endpoint in await _endpoints(runtime, [row["id"] for row in connections]):
        plugin = runtime.registry.plugin(endpoint.role, endpoint.plugin)
        if plugin is None:
            continue
        try:
            setup = runtime.connections.fresh(endpoint).setup
        except (PluginMissing, ConfigInvalid):
            continue  # its health says so
        share = plugin.allowance_of(setup.config, setup.app).share
        key = f"app:{endpoint.app_id}" if endpoint.app_id else f"connection:{endpoint.id}"
        for budget in plugin.budgets_of(setup.config, setup.app):
            place = (key, budget.bucket, max(1, round(budget.per / timedelta(milliseconds=1))))
            limit = allowed(budget, share)
            lowest[place] = min(lowest.get(place, limit), limit)
    return [Limit(*place, limit) for place, limit in sorted(lowest.items())]


async def _endpoints(runtime: Runtime, ids: list[UUID]) -> list[Endpoint]:
    try:
        return list((await runtime.connections.load(ids)).values())
    except VaultError:
        return []  # `/readyz` says so; everything else is still told
