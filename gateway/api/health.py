"""For load balancers and people on call."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field
from sqlalchemy.exc import SQLAlchemyError

from gateway.api.deps import RuntimeDep
from gateway.api.models import Answer
from gateway.api.problems import responses
from gateway.db.database import Database, Row, fetch_all, fetch_one
from gateway.runtime import Runtime
from gateway.security.vault import VaultError

router = APIRouter(tags=["health"])

SEEN = 60
"""Seconds after which a worker that gave no sign of life is taken to be gone; it gives one every ten."""
OVERLOOKED = timedelta(minutes=10)
"""By how much the look after a channel may be late."""
PATIENCE = 5.0
"""Seconds that a check may take: who asks wants to know now."""

Name = Literal["database", "schema", "vault", "worker", "channels", "files"]

MENDS: dict[Name, str] = {
    "database": "Start PostgreSQL, or mend GATEWAY_DATABASE_URL or the network; the gateway connects again by itself.",
    "schema": "Another version of the gateway has migrated the database: replace this process by that version.",
    "vault": "Give this process the GATEWAY_SECRET_KEY (or the data folder's secret.key) that the secrets were sealed "
    "with, and restart it.",
    "worker": "Start `gateway worker`, or `gateway serve` with GATEWAY_WORKERS above 0, and look into its log. What is "
    "received is stored and waits.",
    "channels": "GET /v1/connections tells of each why news does not reach us and what mends it (`health.channel`).",
    "files": "Make room, give the process the right to write, or mend GATEWAY_FILES_URL. Until then attachments travel "
    "as links.",
}
BLOCKING = ("database", "schema", "vault")
"""Without these a webhook can be neither verified nor stored. Without the others it can, and that matters more than
what becomes of it a moment later: to turn it away would lose it."""


class Alive(Answer):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Check(Answer):
    """One thing that was tried."""

    name: Name
    ok: bool | None
    """Null: it could not be tried, because the database is away."""
    blocking: bool
    """Whether this process is unready without it. What is not blocking leaves the door open: webhooks are stored."""
    found: str
    mend: str | None
    """What to do about it, where it is not ok."""


class Readiness(Answer):
    """Whether requests may be sent here, and whether the installation does its work."""

    ready: bool
    """The door can verify and store what it is given. With `strict`: every check is ok."""
    checks: list[Check] = Field(min_length=1)


@router.get("/healthz")
async def healthz() -> Alive:
    """Whether the process is up. Asks nothing of the database."""
    return Alive()


@router.get(
    "/readyz",
    responses={**responses(422), 503: {"model": Readiness, "description": "A check failed that must not."}},
)
async def readyz(
    runtime: RuntimeDep,
    request: Request,
    response: Response,
    strict: Annotated[
        bool, Query(description="503 as well when what is not blocking fails: for alarms, not for load balancers.")
    ] = False,
) -> Readiness:
    """Whether requests may be sent to this process, and what is wrong with the installation, each with its mend.

    Load balancers ask without `strict`: a worker that is gone, or a full disk, is no reason to turn webhooks away.
    """
    checks = [*await _database(runtime, request.app.state.schema_version), await _files(runtime)]
    ready = all(one.ok for one in checks if strict or one.blocking)
    response.status_code = 200 if ready else 503
    response.headers["Cache-Control"] = "no-store"
    return Readiness(ready=ready, checks=checks)


async def _database(runtime: Runtime, expected: str) -> list[Check]:
    """The checks that one look into the database answers."""
    try:
        async with asyncio.timeout(PATIENCE), runtime.database.read() as database:
            row = await fetch_one(
                database,
                """SELECT (SELECT version_num FROM alembic_version) AS schema,
                          (SELECT extract(epoch FROM now() - max(last_heartbeat)) FROM procrastinate_workers) AS worker,
                          (SELECT count(*) FROM lease WHERE until > now()) AS leases,
                          ARRAY(SELECT c.name || ': ' || h.code FROM channel_health h
                                JOIN connection c ON c.id = h.connection_id
                                WHERE h.state = 'unhealthy' ORDER BY h.since, c.name LIMIT 20) AS unwell,
                          (SELECT count(*) FROM channel_health WHERE next_at < :overdue) AS overlooked""",
                overdue=runtime.now() - OVERLOOKED,
            )
            sealed = await fetch_all(
                database,
                # the newest of each master key in use, which stands behind the first byte of what is sealed
                """SELECT DISTINCT ON (key) context, secrets FROM (
                       SELECT 'connection:' || id AS context, secrets, updated_at FROM connection
                       UNION ALL SELECT 'app:' || id, secrets, updated_at FROM app
                   ) AS everything
                   CROSS JOIN LATERAL (SELECT CASE get_byte(secrets, 0) WHEN 1 THEN NULL
                                                   ELSE substring(secrets FROM 2 FOR 8) END AS key) AS under
                   WHERE secrets IS NOT NULL ORDER BY key, updated_at DESC""",
            )
    except (SQLAlchemyError, OSError, TimeoutError):
        unknown = "not known while the database is away"
        return [
            _check("database", False, "does not answer"),
            *(_check(name, None, unknown) for name in ("schema", "vault", "worker", "channels")),
        ]
    assert row is not None
    current = row["schema"] == expected
    seen = row["worker"]
    return [
        _check("database", True, "answers"),
        _check("schema", current, f"{row['schema']}, this process works with {expected}"),
        _vault(runtime, sealed),
        # a lease is held for seconds and renewed by whoever works: as good a sign of life as a heartbeat
        _check(
            "worker",
            bool(row["leases"]) or (seen is not None and seen < SEEN),
            "none was ever seen" if seen is None else f"last heard of {max(0, round(seen))} s ago",
        ),
        _channels(row["unwell"], row["overlooked"]),
    ]


def _channels(unwell: list[str], overlooked: int) -> Check:
    found = ["; ".join(unwell)] if unwell else []
    if overlooked:
        found.append(f"nobody has looked after {overlooked} of them in time")
    return _check("channels", not found, "; ".join(found) or "news reaches us, as far as is known")


def _vault(runtime: Runtime, sealed: list[Row]) -> Check:
    try:
        for one in sealed:
            runtime.vault.unseal(one["secrets"], one["context"])
    except VaultError:
        return _check("vault", False, "stored secrets do not open with this process's key")
    return _check("vault", True, "stored secrets open" if sealed else "no secrets are stored yet")


async def _files(runtime: Runtime) -> Check:
    problem = await runtime.files.try_out(PATIENCE)
    return _check("files", problem is None, problem or "takes files")


def _check(name: Name, ok: bool | None, found: str) -> Check:
    return Check(name=name, ok=ok, blocking=name in BLOCKING, found=found, mend=None if ok else MENDS[name])


async def schema_version(database: Database) -> str:
    """The version of the schema, as this process found or made it at its start."""
    async with database.read() as connection:
        row = await fetch_one(connection, "SELECT version_num FROM alembic_version")
    return str(row["version_num"]) if row else ""
