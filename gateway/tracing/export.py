"""The drain `traces`: hands finished work to an OpenTelemetry collector.

Spans are written from the record and not while the work is done. The line carries nothing for them and waits for
nobody, a trace is whole whichever processes had a hand in it, and what was killed in the middle is told once it is
done.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import Row, as_json, execute, fetch_all, fetch_one
from gateway.engine.leases import Held
from gateway.runtime import Runtime
from gateway.settings import Settings
from gateway.tracing import statements
from gateway.tracing.spans import Span, answered, keys_until, told

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

CURSOR = "traces"
"""The fact that holds the last attempt told of."""
SETTLED = timedelta(seconds=5)
"""How old an attempt is before it is read: transactions that overlap commit out of the order of their ids."""
SINCE = timedelta(minutes=1)
BATCH = 500
KINDS = {"internal": 0, "client": 2, "consumer": 4}


class TracesUnavailable(Exception):
    """GATEWAY_TRACES_URL is set, and the libraries for it are not installed: `helpdesk-gateway[traces]`."""


class Exporter(Protocol):
    """Takes spans. Returns whether they arrived."""

    def export(self, spans: Sequence[Span]) -> bool:
        """Blocking."""
        ...


class Collector:
    """An OTLP collector over HTTP. Raises TracesUnavailable when made without its libraries."""

    def __init__(self, url: str, headers: dict[str, str] | None = None) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        except ImportError as error:
            raise TracesUnavailable(TracesUnavailable.__doc__) from error
        self._exporter = OTLPSpanExporter(endpoint=url, headers=headers, timeout=10)

    def export(self, spans: Sequence[Span]) -> bool:
        """Send; what the collector refuses is logged by its library."""
        from opentelemetry.sdk.trace.export import SpanExportResult

        return self._exporter.export([_readable(span) for span in spans]) is SpanExportResult.SUCCESS


def open_exporter(settings: Settings) -> Exporter | None:
    """What GATEWAY_TRACES_URL names, or None. Raises TracesUnavailable."""
    if settings.traces_url is None:
        return None
    given = settings.traces_headers.get_secret_value() if settings.traces_headers else ""
    headers = dict(part.strip().split("=", 1) for part in given.split(",") if "=" in part)
    return Collector(settings.traces_url, headers)


async def waiting(connection: AsyncConnection) -> bool:
    """Whether there is anything to tell."""
    found = await fetch_one(
        connection,
        """SELECT 1 AS one FROM attempt
           WHERE id > COALESCE((SELECT CAST(value->>'attempt' AS bigint) FROM fact WHERE name = :name), 0) LIMIT 1""",
        name=CURSOR,
    )
    return found is not None


async def export_traces(runtime: Runtime, exporter: Exporter, held: Held) -> bool:
    """Tell the collector of what ended since the last time. Returns whether there is more.

    The cursor moves once the collector has taken the spans; interrupted between the two, they are sent again under the
    same identifiers. A collector that is away loses nothing within the retention of attempts.
    """
    async with runtime.database.read() as connection:
        fact = await fetch_one(connection, "SELECT value FROM fact WHERE name = :name", name=CURSOR)
        now = runtime.now()
        cursor = fact["value"]["attempt"] if fact else await _beginning(connection, now)
        tried = await fetch_all(connection, statements.TRIED, cursor=cursor, until=now - SETTLED, most=BATCH)
        spans = await _spans(connection, tried, now) if tried else []
    if not tried and fact:
        return False
    if spans and not await asyncio.to_thread(exporter.export, spans):
        return False
    async with runtime.database.write() as connection:
        await held.check(connection)
        await execute(
            connection,
            """INSERT INTO fact (name, value) VALUES (:name, CAST(:value AS jsonb))
               ON CONFLICT (name) DO UPDATE SET value = excluded.value""",
            name=CURSOR,
            value=as_json({"attempt": tried[-1]["id"] if tried else cursor}),
        )
    return len(tried) == BATCH


async def _beginning(connection: AsyncConnection, now: datetime) -> int:
    """Where it begins when it is switched on: with the last minute."""
    newest = await fetch_one(connection, statements.NEWEST, until=now - SINCE)
    return int(newest["id"]) if newest else 0


async def _spans(connection: AsyncConnection, tried: Sequence[Row], now: datetime) -> list[Span]:
    keys, tickets, replies = set[str](), set[UUID](), set[UUID]()
    for thing in (thing for row in tried for thing in _things(row)):
        head, _, rest = thing.partition(":")
        try:
            id = UUID(head)
        except ValueError:
            continue  # a poll's stream, a fetch's address
        if rest:
            keys.add(thing)
            tickets.add(id)
        else:
            replies.add(id)
    pushes = await fetch_all(connection, statements.TOLD, tickets=list(tickets), keys=list(keys), now=now)
    answers = await fetch_all(connection, statements.ANSWERED, ids=list(replies))
    things = [key for push in pushes for key in keys_until(push["change_key"])] + [
        str(reply["id"]) for reply in answers
    ]
    earlier = await fetch_all(connection, statements.CALLS, things=things)
    calls: defaultdict[str, list[Row]] = defaultdict(list)
    for call in {row["id"]: row for row in (*earlier, *tried)}.values():
        for thing in _things(call):
            calls[thing].append(call)
    decisions: defaultdict[UUID, list[Row]] = defaultdict(list)
    for decision in await fetch_all(connection, statements.DECIDED, ids=[reply["id"] for reply in answers]):
        decisions[decision["thing_id"]].append(decision)
    return told(pushes, calls) + answered(answers, decisions, calls)


def _things(attempt: Row) -> list[str]:
    """Everything that one call was made for: several tickets' changes may share it."""
    return [attempt["thing_id"], *(attempt["also"] or ())]


def _readable(span: Span) -> ReadableSpan:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

    def context(id: int) -> SpanContext:
        return SpanContext(span.trace.int, id, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))

    return ReadableSpan(
        span.name,
        context(span.id),
        context(span.parent) if span.parent is not None else None,
        Resource({"service.name": "helpdesk-gateway"}),
        dict(span.attributes),
        kind=SpanKind(KINDS[span.kind]),
        status=Status(StatusCode.ERROR, span.error) if span.error else Status(StatusCode.UNSET),
        start_time=int(span.begun.timestamp() * 1e9),
        end_time=int(span.ended.timestamp() * 1e9),
        instrumentation_scope=InstrumentationScope("gateway.tracing"),
    )
