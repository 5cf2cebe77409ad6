"""Renewing tokens before they end: the drain `renew:<connection>`.

A refresh token of a provider that rotates is good for one use, and two who use it at once may end the consent. So a
renewal is claimed on its row for as long as its request can be under way, in a commit before the request, on top of the
drain's lease; and what comes back is written only if the token that was used is still the one in force, which needs no
lease: whoever holds an answer must not lose it.

A process that dies between the provider's answer and that commit has lost the answer. When the claim has ended, the
same refresh token is used again. Providers that keep it, or take it again for a while, answer; one that does neither
says `invalid_grant`, and the connection needs authorisation: nobody but a person can mend that.
"""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import timedelta
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError

from gateway.connections import ConfigInvalid, Endpoint, PluginMissing
from gateway.db.database import Row, execute, fetch_one
from gateway.engine.leases import Held
from gateway.events.announce import announce
from gateway.net.client import calling
from gateway.oauth.flow import NotConnected, declared_with_client, token_endpoint
from gateway.oauth.stored import RENEWING, as_tokens, keep, open_tokens
from gateway.pipeline.trouble import Trouble, note_attempt, trouble_of
from gateway.registry import Connected
from gateway.runtime import Runtime
from gateway_schemas.errors import Reauthorise, Retry
from gateway_schemas.oauth import OAuth, OAuthTokens

log = logging.getLogger(__name__)

MEND = "POST /v1/connections/{id}/authorize connects it again"

OUTER = 1.0
MARGIN = 2.0
"""Seconds after the end of a renewal's time in which nobody begins another: clocks of processes and the wire differ."""

WRITE_AGAIN = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
"""Seconds between tries to write down what a provider has given."""


async def renew_due(runtime: Runtime, endpoint: Endpoint, held: Held) -> set[str]:
    """Renew a connection's tokens if that is due. Returns the drains that can go on now."""
    started = time.monotonic()
    until = started + runtime.settings.call_timeout  # from before the claim, so that it never outlasts it
    row = await _claim(runtime, endpoint.id, held)
    if row is None:
        return set()
    declared: OAuth | None = None
    tokens: OAuthTokens | None = None
    trouble: Trouble | None = None
    try:

        async def in_time() -> None:
            # a process that was stopped since the claim must not use the token: somebody else may have by now
            if time.monotonic() >= until:
                raise Retry("the time for renewing was over before the request was sent", code="late")

        # the configuration as it is at this generation, so that an App's new secret is used at once
        fresh = (await runtime.connections.load([endpoint.id])).get(endpoint.id, endpoint)
        plugin = runtime.connections.fresh(fresh, outgoing=runtime.outgoing)
        declared = await declared_with_client(runtime, fresh, plugin, None)
        with calling(lane="interactive", seconds=until - time.monotonic(), gate=in_time):
            async with asyncio.timeout(runtime.settings.call_timeout + OUTER):
                tokens = await _renewed(runtime, fresh, plugin, declared, row)
    except (PluginMissing, ConfigInvalid, NotConnected) as error:
        trouble = Trouble("retry", "misconfigured", str(error), after=timedelta(minutes=10))
    except Exception as error:  # recorded on the row; the token in force stays
        trouble = trouble_of(error)
    milliseconds = int((time.monotonic() - started) * 1000)
    if tokens is not None and declared is not None:
        return await _kept_surely(runtime, fresh, declared, tokens, row, milliseconds)
    assert trouble is not None
    await _failed(runtime, endpoint, trouble, row, milliseconds)
    return set()


async def _claim(runtime: Runtime, id: UUID, held: Held) -> Row | None:
    """Commit that a renewal with this generation's token begins. None where none is due, or one may be under way."""
    async with runtime.database.write() as connection:
        await held.check(connection)
        return await fetch_one(
            connection,
            """UPDATE authorisation SET begun_until = clock_timestamp() + make_interval(secs => :seconds)
               WHERE connection_id = :id AND state = 'granted' AND renew_at <= :now
                 AND (begun_until IS NULL OR begun_until < clock_timestamp())
               RETURNING generation, tokens, failures, access_expires_at""",
            id=id,
            now=runtime.now(),
            seconds=runtime.settings.call_timeout + OUTER + MARGIN,
        )


async def _renewed(runtime: Runtime, endpoint: Endpoint, plugin: Connected, declared: OAuth, row: Row) -> OAuthTokens:
    tokens = as_tokens(open_tokens(runtime.vault, endpoint.id, row["tokens"]))
    if declared.renewal == "plugin":
        return await plugin.oauth_renewed(tokens)
    if tokens.refresh is None:
        raise Reauthorise("there is no refresh token", code="no_refresh_token")
    return await token_endpoint(runtime, endpoint, declared, "").refresh(tokens.refresh)


async def _kept_surely(
    runtime: Runtime, endpoint: Endpoint, declared: OAuth, tokens: OAuthTokens, row: Row, milliseconds: int
) -> set[str]:
    """Write what the provider gave, also over a while in which the database is away: it may not be given again."""
    for wait in WRITE_AGAIN:
        try:
            return await _kept(runtime, endpoint, declared, tokens, row, milliseconds)
        except (SQLAlchemyError, OSError) as error:
            log.warning("%s: renewed tokens could not be written yet (%s)", endpoint.id, type(error).__name__)
            await asyncio.sleep(wait)
    return await _kept(runtime, endpoint, declared, tokens, row, milliseconds)


async def _kept(
    runtime: Runtime, endpoint: Endpoint, declared: OAuth, tokens: OAuthTokens, row: Row, milliseconds: int
) -> set[str]:
    now = runtime.now()
    async with runtime.database.write() as connection:
        if not await keep(connection, runtime.vault, endpoint.id, declared, tokens, now, after=row["generation"]):
            # authorised anew while this was under way: the newer consent stands
            log.warning("%s: renewed tokens came after newer ones and were dropped", endpoint.id)
            return set()
        # what rested until the refused token was renewed, or stopped because it could not be, goes on
        await execute(
            connection,
            """UPDATE connection SET
                   status = CASE WHEN status = 'needs_authorisation' AND :was_failing THEN 'active' ELSE status END,
                   status_reason = CASE WHEN status = 'needs_authorisation' AND :was_failing THEN NULL
                                        ELSE status_reason END,
                   blocked_until = CASE WHEN blocked_reason = :renewing THEN NULL ELSE blocked_until END,
                   failures = CASE WHEN blocked_reason = :renewing THEN 0 ELSE failures END,
                   blocked_reason = CASE WHEN blocked_reason = :renewing THEN NULL ELSE blocked_reason END
               WHERE id = :id""",
            id=endpoint.id,
            renewing=RENEWING,
            was_failing=row["failures"] > 0,
        )
        await note_attempt(connection, endpoint.id, "renew", str(endpoint.id), None, now, milliseconds)
    runtime.connections.forget(endpoint.id)
    return wakes_of(runtime, endpoint)


async def _failed(runtime: Runtime, endpoint: Endpoint, trouble: Trouble, row: Row, milliseconds: int) -> None:
    now = runtime.now()
    over = trouble.kind == "reauthorise"
    async with runtime.database.write() as connection:
        touched = await execute(
            connection,
            # what was broken off may still be under way at the provider: the claim then runs its time
            """UPDATE authorisation SET failures = failures + 1, reason = :reason,
                   begun_until = CASE WHEN :open THEN begun_until END,
                   state = CASE WHEN :over THEN 'refused' ELSE state END,
                   renew_at = CASE WHEN :over THEN NULL ELSE :again END
               WHERE connection_id = :id AND generation = :generation AND state = 'granted'""",
            id=endpoint.id,
            generation=row["generation"],
            reason=f"{trouble.code}: {trouble.reason}",
            over=over,
            open=trouble.kind == "unknown" or trouble.code == "interrupted",
            again=now + trouble.delay(row["failures"] + 1),
        )
        if not touched:
            return  # authorised anew meanwhile
        await note_attempt(connection, endpoint.id, "renew", str(endpoint.id), trouble, now, milliseconds)
        # an App whose secret is refused keeps its connections at work for as long as their tokens live
        ended = trouble.kind == "rejected" and row["access_expires_at"] is not None and row["access_expires_at"] <= now
        if over or ended:
            stopped = await execute(
                connection,
                """UPDATE connection SET status = 'needs_authorisation', status_reason = :reason, version = version + 1
                   WHERE id = :id AND status <> 'needs_authorisation'""",
                id=endpoint.id,
                reason=trouble.reason,
            )
            if stopped:
                news = {"code": trouble.code, "reason": trouble.reason, "mend": MEND.format(id=endpoint.id)}
                await announce(connection, "connection.needs_authorisation", "connection", endpoint.id, news, now)
    runtime.connections.forget(endpoint.id)
    if over:
        log.error(
            "connection %s (%s) needs authorisation: %s; its work has stopped and waits. %s",
            endpoint.id,
            endpoint.name,
            trouble.reason,
            MEND.format(id=endpoint.id),
        )
    else:
        log.warning("connection %s (%s): its token was not renewed: %s", endpoint.id, endpoint.name, trouble.reason)


def wakes_of(runtime: Runtime, endpoint: Endpoint) -> set[str]:
    """The drains that have work when a connection's token is there again."""
    kinds = {"source": ("fetch", "attach", "reply", "send"), "helpdesk": ("fetch", "push")}.get(endpoint.role, ())
    streams = runtime.registry.streams(endpoint.role, endpoint.plugin)
    return {*(f"{kind}:{endpoint.id}" for kind in kinds), *(f"poll:{endpoint.id}:{stream}" for stream in streams)}
