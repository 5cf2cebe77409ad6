"""How Apps and connections fare: doors, refusals, backlog and cursors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from fastapi import Request
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.api.models import Answer
from gateway.db.database import fetch_all
from gateway.registry import Registry
from gateway.runtime import Runtime
from gateway.security.overlap import retired

REMEMBERED = timedelta(days=7)
"""How far back refusals are shown."""


class RefusalView(Answer):
    """Requests that the door turned away in the last seven days."""

    code: str
    """`too_large`, `too_slow`, or the plugin's word for what was wrong with the signature."""
    count: int
    last_at: datetime


class RetiredView(Answer):
    """Secrets that were replaced, with which the provider may still sign."""

    fields: list[str]
    """Their names in the configuration."""
    valid_until: datetime
    last_used_at: datetime | None
    """When a request was last signed with one of them, to the minute: null long after the provider was told the new
    one means that they can go."""


class Backlog(Answer):
    """What waits."""

    deliveries: int = 0
    """Received and not read yet."""
    failed: int = 0
    """Deliveries that failed and can be replayed."""
    wanted: int = 0
    """Named by deliveries and still to be fetched."""
    pushes: int = 0
    """Changes that the helpdesk has not got yet."""
    replies: int = 0
    """Replies on their way out."""
    held: int = 0
    """Replies that wait for a person."""


class CursorView(Answer):
    """How far one stream was polled."""

    stream: str
    cursor: dict[str, Any] | None
    """The plugin's own; null before the first poll."""
    polled_at: datetime | None
    next_at: datetime
    failures: int
    reason: str | None
    """Why the last poll failed."""


class StreamView(Answer):
    """How the provider's stream is followed. Without it, polling brings the same, later."""

    following: bool
    """Whether a process follows it now."""
    since: datetime
    """When it was begun last."""
    hinted_at: datetime | None
    """When it last said that something is new, within ten seconds."""
    next_at: datetime
    """It is not begun again before this."""
    failures: int
    """How often in a row it ended or broke without a word."""
    reason: str | None
    """How it ended last."""


class ProblemView(Answer):
    """One thing that is wrong or will be, and the mend."""

    severity: Literal["info", "warning", "error"]
    code: str
    message: str
    mend: str
    concern: str = "other"
    """What it keeps from working: `access`, `push`, `stream`, `read` or `other`."""


class ChannelView(Answer):
    """Whether news reaches us, by what flows and by looking every few minutes."""

    state: Literal["unproven", "proven", "suspect", "unhealthy"]
    """`proven`: something has shown it, and nothing speaks against it. `suspect`: something does, and is looked into.
    `unhealthy`: it is sure; those who subscribed were told. `unproven`: nothing has come yet."""
    since: datetime
    reason: ProblemView | None
    """The strongest of what is wrong, while it is suspect or unhealthy."""
    problems: list[ProblemView]
    """Everything that was found at the last look, warnings too."""
    proven_at: datetime | None
    """When news was last shown to reach us."""
    proven_by: Literal["push", "stream", "poll", "probe"] | None
    """By what: something that the provider pushed, its stream, a poll, or a look at the provider."""
    missed: int
    """Things that only polling found since the provider pushed something last."""
    looked_at: datetime | None
    probed_at: datetime | None
    """When the provider was asked last; it is not while a person paused the connection or the provider refuses it."""
    next_look_at: datetime
    repaired_at: datetime | None
    """When polling was last ordered to fill a gap."""
    expires_at: datetime | None
    """When its access ends, by what the provider says, if that is soon."""
    unusually_silent: bool
    """Whether less came than its hours of the week led to expect. By itself no alarm."""
    ticket: UUID | None
    """The ticket that tells of it at the helpdesk, while it is unhealthy and `health_ticket` is set."""


class HealthView(Answer):
    """How a connection fares, as last seen. `POST …/check` asks the provider."""

    ok: bool
    """Active, not blocked, not failing, and its plugin is there."""
    status: str
    """`active`, `needs_authorisation` or `broken`."""
    status_reason: str | None
    paused_in: bool
    paused_out: bool
    blocked_until: datetime | None
    blocked_reason: str | None
    failures: int
    """Calls that failed in a row."""
    last_ok_at: datetime | None
    plugin_error: str | None
    """Why the plugin cannot be used, if it cannot."""
    backlog: Backlog
    cursors: list[CursorView]
    stream: StreamView | None
    """Of sources that listen to one, once it was begun."""
    refusals: list[RefusalView]
    channel: ChannelView | None
    """Null for enrichers, and until the first look has been planned, a second after it was made."""


def shares_door(registry: Registry, plugin: str) -> bool:
    """Whether all accounts of an App deliver to one callback, the App's."""
    source = registry.sources.get(plugin)
    return source is not None and source.capabilities.shared_webhook


def door_id(registry: Registry, row: Mapping[str, Any]) -> UUID:
    """The App or connection whose door a connection's deliveries come to."""
    shared = row["role"] == "source" and row["app_id"] is not None and shares_door(registry, row["plugin"])
    found: UUID = row["app_id"] if shared else row["id"]
    return found


def door_url(runtime: Runtime, request: Request, id: UUID) -> str:
    """The door's address from outside: GATEWAY_PUBLIC_URL, else the address this request came to."""
    base = runtime.settings.public_url or str(request.base_url)
    return f"{base.rstrip('/')}/hooks/{id}"


async def retired_of(connection: AsyncConnection, ids: Sequence[UUID], now: datetime) -> dict[UUID, list[RetiredView]]:
    """The replaced secrets of Apps and connections that are still accepted."""
    found: dict[UUID, list[RetiredView]] = defaultdict(list)
    for row in await retired(connection, ids, now):
        found[row["endpoint_id"]].append(
            RetiredView(**{name: row[name] for name in ("fields", "valid_until", "last_used_at")})
        )
    return found


async def refusals_of(connection: AsyncConnection, ids: Sequence[UUID], now: datetime) -> dict[UUID, list[RefusalView]]:
    """What the doors of these ids turned away."""
    rows = await fetch_all(
        connection,
        """SELECT endpoint_id, code, sum(count)::bigint AS count, max(last_at) AS last_at FROM refusal
           WHERE endpoint_id = ANY(:ids) AND day >= :since GROUP BY endpoint_id, code ORDER BY code""",
        ids=list(ids),
        since=(now - REMEMBERED).date(),
    )
    found: dict[UUID, list[RefusalView]] = defaultdict(list)
    for row in rows:
        found[row["endpoint_id"]].append(RefusalView(code=row["code"], count=row["count"], last_at=row["last_at"]))
    return found


# Each count reads a partial index of open rows, so it costs by what waits and not by what was.
BACKLOG = """
SELECT c.id,
    (SELECT count(*) FROM delivery d WHERE d.state = 'pending'
        AND (d.connection_id = c.id OR (d.connection_id IS NULL AND d.app_id = c.door))) AS deliveries,
    (SELECT count(*) FROM delivery d WHERE d.state = 'failed'
        AND (d.connection_id = c.id OR (d.connection_id IS NULL AND d.app_id = c.door))) AS failed,
    (SELECT count(*) FROM wanted w WHERE w.connection_id = c.id AND w.state = 'pending') AS wanted,
    (SELECT count(*) FROM push p WHERE p.helpdesk_id = c.id AND p.state IN ('pending', 'in_flight', 'job')) AS pushes,
    (SELECT count(*) FROM reply r WHERE r.connection_id = c.id
        AND r.state IN ('received', 'queued', 'sending', 'unknown')) AS replies,
    (SELECT count(*) FROM reply r WHERE r.connection_id = c.id AND r.state = 'held') AS held
FROM unnest(CAST(:ids AS uuid[]), CAST(:doors AS uuid[])) AS c (id, door)
"""


async def health_of(
    connection: AsyncConnection, runtime: Runtime, rows: Sequence[Mapping[str, Any]]
) -> dict[UUID, HealthView]:
    """The health of these connection rows."""
    now = runtime.now()
    ids = [row["id"] for row in rows]
    doors = {row["id"]: door_id(runtime.registry, row) for row in rows}
    backlogs = {
        row["id"]: Backlog(**{name: row[name] for name in Backlog.model_fields})
        for row in await fetch_all(connection, BACKLOG, ids=ids, doors=[doors[id] for id in ids])
    }
    cursors: dict[UUID, list[CursorView]] = defaultdict(list)
    for row in await fetch_all(
        connection,
        """SELECT connection_id, stream, cursor, polled_at, next_at, failures, reason FROM cursor
           WHERE connection_id = ANY(:ids) ORDER BY connection_id, stream""",
        ids=ids,
    ):
        cursors[row["connection_id"]].append(CursorView(**{name: row[name] for name in CursorView.model_fields}))
    streams = {
        row["connection_id"]: StreamView(**{name: row[name] for name in StreamView.model_fields})
        for row in await fetch_all(
            connection,
            """SELECT l.connection_id, l.since, l.hinted_at, l.next_at, l.failures, l.reason,
                      EXISTS (SELECT 1 FROM lease WHERE name = 'listen:' || l.connection_id
                              AND until >= now()) AS following
               FROM listener l WHERE l.connection_id = ANY(:ids)""",
            ids=ids,
        )
    }
    channels = {
        row["connection_id"]: _channel(row)
        for row in await fetch_all(
            connection,
            """SELECT h.*, t.id AS ticket FROM channel_health h LEFT JOIN ticket t ON t.id = h.incident_id
               WHERE h.connection_id = ANY(:ids)""",
            ids=ids,
        )
    }
    refusals = await refusals_of(connection, sorted({*ids, *doors.values()}), now)
    return {
        row["id"]: _health(
            row,
            runtime,
            backlogs[row["id"]],
            cursors[row["id"]],
            streams.get(row["id"]),
            refusals.get(doors[row["id"]], []),
            channels.get(row["id"]),
            now,
        )
        for row in rows
    }


def _health(
    row: Mapping[str, Any],
    runtime: Runtime,
    backlog: Backlog,
    cursors: list[CursorView],
    stream: StreamView | None,
    refusals: list[RefusalView],
    channel: ChannelView | None,
    now: datetime,
) -> HealthView:
    plugin_error = None
    if runtime.registry.plugin(row["role"], row["plugin"]) is None:
        broken = [one.error for one in runtime.registry.listed if one.name == row["plugin"] and not one.ok]
        plugin_error = broken[0] if broken else "it is not installed"
    blocked = row["blocked_until"] is not None and row["blocked_until"] > now
    return HealthView(
        ok=row["status"] == "active"
        and not blocked
        and not row["failures"]
        and plugin_error is None
        and not any(cursor.failures for cursor in cursors)
        and not (stream and stream.failures),
        **{
            name: row[name] for name in ("status", "status_reason", "paused_in", "paused_out", "failures", "last_ok_at")
        },
        blocked_until=row["blocked_until"] if blocked else None,
        blocked_reason=row["blocked_reason"] if blocked or row["failures"] else None,
        plugin_error=plugin_error,
        backlog=backlog,
        cursors=cursors,
        stream=stream,
        refusals=refusals,
        channel=channel,
    )


def _channel(row: Mapping[str, Any]) -> ChannelView:
    reason = None
    if row["code"] is not None:
        severity: Literal["warning", "error"] = "error" if row["state"] == "unhealthy" else "warning"
        reason = ProblemView(
            severity=severity,
            code=row["code"],
            message=row["message"],
            mend=row["mend"].replace("{id}", str(row["connection_id"])),
            concern=row["concern"],
        )
    names = (
        "state",
        "since",
        "proven_at",
        "proven_by",
        "missed",
        "looked_at",
        "probed_at",
        "repaired_at",
        "expires_at",
    )
    return ChannelView(
        **{name: row[name] for name in names},
        reason=reason,
        problems=[
            ProblemView(**{name: one[name] for name in ProblemView.model_fields if name in one})
            for one in row["findings"].get("items") or ()
        ],
        next_look_at=row["next_at"],
        unusually_silent=row["quiet"],
        ticket=row["ticket"],
    )
