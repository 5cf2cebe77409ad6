"""For load balancers and people on call."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Response
from sqlalchemy.exc import SQLAlchemyError

from gateway.api.deps import RuntimeDep
from gateway.api.models import Answer
from gateway.db.database import fetch_one

router = APIRouter(tags=["health"])


class Alive(Answer):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(Answer):
    """Whether this installation can do its work, and what is missing where it cannot."""

    ready: bool
    database: Literal["ok", "away"]
    worker: Literal["ok", "none seen"]
    """Whether a worker process has given a sign of life in the last 30 seconds. The door stores without one."""


@router.get("/healthz")
async def healthz() -> Alive:
    """Whether the process is up. Asks nothing of the database."""
    return Alive()


@router.get("/readyz", responses={503: {"model": Readiness, "description": "Something is missing."}})
async def readyz(runtime: RuntimeDep, response: Response) -> Readiness:
    """Whether the database answers and a worker works."""
    try:
        async with runtime.database.read() as database:
            row = await fetch_one(
                database,
                """SELECT EXISTS (SELECT 1 FROM procrastinate_workers
                                  WHERE last_heartbeat > now() - interval '30 seconds') AS worker""",
            )
    except (SQLAlchemyError, OSError):
        response.status_code = 503
        return Readiness(ready=False, database="away", worker="none seen")
    worker = bool(row and row["worker"])
    response.status_code = 200 if worker else 503
    return Readiness(ready=worker, database="ok", worker="ok" if worker else "none seen")
