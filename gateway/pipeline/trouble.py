"""What went wrong with a call, in the words of recovery, and how it shows on the connection."""

from __future__ import annotations

import contextlib
import logging
import random
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.connections import ConfigInvalid, Endpoint, PluginMissing
from gateway.db.database import Database, execute, insert_rows
from gateway.events.announce import announce
from gateway.oauth.stored import hasten
from gateway.security.redaction import redacted
from gateway_schemas import errors

log = logging.getLogger(__name__)

Recovery = Literal["retry", "reauthorise", "unknown", "hold", "rejected", "closed", "moved", "gone"]

BACKOFF = (1, 2, 5, 10, 20, 40, 60, 120, 300, 600)
"""Seconds before the next try, where the provider asked for nothing."""


@dataclass(frozen=True)
class Trouble:
    """A failed call."""

    kind: Recovery
    code: str
    reason: str
    after: timedelta | None = None
    moved_to: str | None = None
    bucket: str | None = None

    def delay(self, tries: int) -> timedelta:
        """How long to wait before try number `tries` + 1; a little random, so that a crowd does not come back at
        once."""
        if self.after is not None:
            return self.after
        return timedelta(seconds=BACKOFF[min(tries, len(BACKOFF)) - 1] * random.uniform(0.9, 1.1))


def trouble_of(error: Exception) -> Trouble:
    """Name the recovery from an exception. What a plugin did not mean to raise is its bug: tried again, and said so.

    Its reason is stored and shown: a provider that quotes our request in its answer must not put a secret into it.
    """
    trouble = _trouble_of(error)
    return replace(trouble, code=redacted(trouble.code), reason=redacted(trouble.reason))


def _trouble_of(error: Exception) -> Trouble:
    match error:
        case errors.Retry():
            return Trouble("retry", error.code, error.reason, after=error.after, bucket=error.bucket)
        case errors.Reauthorise():
            return Trouble("reauthorise", error.code, error.reason)
        case errors.Unknown():
            return Trouble("unknown", error.code, error.reason)
        case errors.Hold():
            return Trouble("hold", error.code, error.reason)
        case errors.Moved():
            return Trouble("moved", error.code, error.reason, moved_to=error.to)
        case errors.Closed():
            return Trouble("closed", error.code, error.reason)
        case errors.Gone():
            return Trouble("gone", error.code, error.reason)
        case errors.GatewayError():
            return Trouble("rejected", error.code, error.reason)
        case PluginMissing() | ConfigInvalid():
            return Trouble("retry", "misconfigured", str(error), after=timedelta(seconds=30))
        case TimeoutError():
            return Trouble("unknown", "timeout", "no answer within the call's time")
        case _:
            where = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{where.filename.rsplit('/', 1)[-1]}:{where.lineno}"
            return Trouble("unknown", "plugin_bug", f"{type(error).__name__} in {where.name} ({place})")


async def note_trouble(connection: AsyncConnection, endpoint: Endpoint, trouble: Trouble, now: datetime) -> None:
    """Show on the connection that it is in trouble; block its calls where the provider asked for a pause."""
    if trouble.kind == "reauthorise":
        if await hasten(connection, endpoint.id, endpoint.version, now):
            return
        stopped = await execute(
            connection,
            # a call that was made with credentials that have been renewed meanwhile says nothing of the new ones
            """UPDATE connection c SET status = 'needs_authorisation', status_reason = :reason, version = version + 1
               WHERE id = :id AND status = 'active'
                 AND c.version + COALESCE((SELECT a.version FROM app a WHERE a.id = c.app_id), 0)
                     + COALESCE((SELECT g.generation FROM authorisation g WHERE g.connection_id = c.id), 0)
                     = :version""",
            id=endpoint.id,
            reason=trouble.reason,
            version=endpoint.version,
        )
        if stopped:
            log.error("connection %s (%s) needs authorisation: %s", endpoint.id, endpoint.name, trouble.reason)
            news = {"code": trouble.code, "reason": trouble.reason}
            await announce(connection, "connection.needs_authorisation", "connection", endpoint.id, news, now)
        return
    if trouble.kind != "retry":
        return
    await execute(
        connection,
        """UPDATE connection SET failures = failures + 1, blocked_reason = :reason,
               blocked_until = GREATEST(blocked_until, :until) WHERE id = :id""",
        id=endpoint.id,
        reason=f"{trouble.code}: {trouble.reason}",
        # a budget of one kind of call blocks that kind alone; it is enforced where calls leave
        until=now + trouble.after if trouble.after is not None and trouble.bucket is None else now,
    )


async def note_fault(database: Database, drain: str, error: Exception) -> None:
    """Show on the connection that a drain of its work broke, of a fault of our own or of the database.

    Its rows are as they were and are tried again; without this only the log would say why nothing moves.
    """
    kind, _, id = drain.partition(":")
    with contextlib.suppress(ValueError, SQLAlchemyError):  # no connection's drain; the database is away
        async with database.write() as connection:
            await execute(
                connection,
                "UPDATE connection SET failures = failures + 1, blocked_reason = :reason WHERE id = :id",
                id=UUID(id),
                reason=f"internal: {kind} broke with {type(error).__name__}; the worker's log has the details",
            )


async def note_success(connection: AsyncConnection, endpoint: Endpoint, now: datetime) -> None:
    """Show on the connection that it works. Written at most every ten seconds, unless it was in trouble."""
    await execute(
        connection,
        """UPDATE connection SET failures = 0, blocked_until = NULL, blocked_reason = NULL, last_ok_at = :now
           WHERE id = :id AND (failures > 0 OR last_ok_at IS NULL OR last_ok_at < :lately)""",
        id=endpoint.id,
        now=now,
        lately=now - timedelta(seconds=10),
    )


async def note_attempt(
    connection: AsyncConnection,
    connection_id: UUID,
    kind: str,
    thing_id: str,
    trouble: Trouble | None,
    now: datetime,
    milliseconds: int,
    also: Sequence[str] = (),
) -> None:
    """Write one try at a provider to the log of attempts; `also` are the other things that shared the call."""
    await insert_rows(
        connection,
        "attempt",
        [
            {
                "at": now,
                "connection_id": connection_id,
                "kind": kind,
                "thing_id": thing_id,
                "outcome": trouble.kind if trouble else "ok",
                "code": trouble.code if trouble else None,
                "reason": trouble.reason if trouble else None,
                "milliseconds": milliseconds,
                "also": list(also) or None,
            }
        ],
    )
