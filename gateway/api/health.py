"""For load balancers and people on call."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import Field
from sqlalchemy.exc import SQLAlchemyError

from gateway.api.deps import RuntimeDep
from gateway.api.models import Answer
from gateway.db.database import Database, fetch_one

router = APIRouter(tags=["health"])

SEEN = 60
"""Seconds after which a worker that gave no sign of life is taken to be gone; it gives one every ten."""


class Alive(Answer):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(Answer):
    """Whether requests may be sent here, and whether the rest of the installation does its work."""

    ready: bool
    """The door can store what it is given: the database answers, and has the schema this process works with."""
    database: Literal["ok", "away"]
    schema_: Literal["ok", "changed", "unknown"] = Field(alias="schema")
    """`changed`: another version of the gateway has migrated the database since; this one should be replaced."""
    worker: Literal["ok", "none seen", "unknown"]
    """`none seen`: no worker process has given a sign of life in the last minute. What is received is stored and waits;
    that is no reason to turn webhooks away, so it does not make this process unready."""


@router.get("/healthz")
async def healthz() -> Alive:
    """Whether the process is up. Asks nothing of the database."""
    return Alive()


@router.get("/readyz", responses={503: {"model": Readiness, "description": "Nothing can be stored at the moment."}})
async def readyz(runtime: RuntimeDep, request: Request, response: Response) -> Readiness:
    """Whether requests may be sent to this process, and whether a worker works."""
    try:
        async with runtime.database.read() as database:
            row = await fetch_one(
                database,
                """SELECT (SELECT version_num FROM alembic_version) AS schema,
                          EXISTS (SELECT 1 FROM procrastinate_workers
                                  WHERE last_heartbeat > now() - make_interval(secs => :seen)) AS worker""",
                seen=SEEN,
            )
    except (SQLAlchemyError, OSError):
        response.status_code = 503
        return Readiness(ready=False, database="away", schema="unknown", worker="unknown")
    assert row is not None
    current = row["schema"] == request.app.state.schema_version
    response.status_code = 200 if current else 503
    return Readiness(
        ready=current,
        database="ok",
        schema="ok" if current else "changed",
        worker="ok" if row["worker"] else "none seen",
    )


async def schema_version(database: Database) -> str:
    """The version of the schema, as this process found or made it at its start."""
    async with database.read() as connection:
        row = await fetch_one(connection, "SELECT version_num FROM alembic_version")
    return str(row["version_num"]) if row else ""
