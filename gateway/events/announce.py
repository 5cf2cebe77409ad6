"""Telling subscribers what happened: one row in the transaction that makes it so, an outbox.

An event is there if and only if the thing happened, and only where a subscription asks for its kind: else announcing is
one look at a table of a few rows. Requests are made by the station `tell`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import as_json, execute, fetch_one
from gateway.db.tables.columns import new_id
from gateway.events.facts import Found, load_facts
from gateway.events.kinds import KINDS, TEST, Kind, data_model


@dataclass(frozen=True)
class Announcement:
    """One thing that happened. `data` are the fields of its kind's news."""

    kind: str
    subject_id: UUID
    data: Mapping[str, object] = field(default_factory=dict)


async def announce(
    connection: AsyncConnection,
    kind: str,
    subject_kind: str,
    subject_id: UUID,
    data: Mapping[str, object],
    now: datetime,
) -> None:
    """Tell subscribers of one thing, in the caller's transaction.

    `kind` is one of `KINDS`, `subject_kind` what it is about, `data` the fields of the kind's news. Whatever else it
    says is read from the subject's row as it stands in this transaction. Raises ValueError for a kind, a subject or
    a field that there is not, whether or not somebody listens.
    """
    if kind in KINDS and KINDS[kind].subject != subject_kind:
        raise ValueError(f"{kind} is about a {KINDS[kind].subject}, not about a {subject_kind}")
    await announce_many(connection, [Announcement(kind, subject_id, data)], now)


async def announce_many(connection: AsyncConnection, things: Sequence[Announcement], now: datetime) -> None:
    """The same for several things, set-based: for what happens a few hundred times in one transaction."""
    for thing in {thing.kind: thing for thing in things}.values():  # of one call, those of a kind are of one making
        _check(thing)
    if not things or not await _wanted(connection, {thing.kind for thing in things}):
        return
    by_subject: dict[str, list[UUID]] = defaultdict(list)
    for thing in things:
        by_subject[KINDS[thing.kind].subject].append(thing.subject_id)
    facts: dict[tuple[str, UUID], Found] = {}
    for subject, ids in by_subject.items():
        found = await load_facts(connection, subject, ids)
        facts |= {(subject, id): one for id, one in found.items()}
    rows = []
    for thing in things:
        kind = KINDS[thing.kind]
        known = facts[kind.subject, thing.subject_id]
        data = data_model(kind.name).model_validate({**known.data, **thing.data})
        rows.append(_row(kind, thing.subject_id, known, data.model_dump(mode="json", exclude={"texts"}), now))
    await execute(connection, STORE, rows=as_json(rows), now=now)


async def announce_replies(
    connection: AsyncConnection, kind: str, ids: Iterable[UUID], now: datetime, **data: object
) -> None:
    """The same for what became of replies."""
    await announce_many(connection, [Announcement(kind, id, data) for id in ids], now)


async def announce_test(connection: AsyncConnection, subscription_id: UUID, by: str, now: datetime) -> tuple[UUID, int]:
    """An event for one subscription alone. Returns its id and its delivery's."""
    kind = KINDS[TEST]
    known = (await load_facts(connection, kind.subject, [subscription_id]))[subscription_id]
    data = data_model(TEST).model_validate({**known.data, "by": by}).model_dump(mode="json")
    row = _row(kind, subscription_id, known, data, now)
    stored = await fetch_one(connection, STORE_TEST, rows=as_json([row]), now=now, subscription=subscription_id)
    assert stored is not None
    return row["id"], stored["id"]


def _check(thing: Announcement) -> None:
    kind = KINDS.get(thing.kind)
    if kind is None:
        raise ValueError(f"there is no kind of event {thing.kind}; there are {', '.join(KINDS)}")
    kind.news.model_validate(thing.data)  # also where nobody listens: else only production would find the mistake


# a table of a few rows, read whole
WANTED = "SELECT 1 FROM subscription WHERE state <> 'paused' AND kinds && CAST(:patterns AS text[]) LIMIT 1"


async def _wanted(connection: AsyncConnection, kinds: Iterable[str]) -> bool:
    patterns = {"*", *(pattern for name in kinds for pattern in (name, KINDS[name].family))}
    return await fetch_one(connection, WANTED, patterns=sorted(patterns)) is not None


def _row(kind: Kind, subject_id: UUID, known: Found, data: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    return {
        "id": new_id(),
        "kind": kind.name,
        "family": kind.family,
        "subject_kind": kind.subject,
        "subject_id": subject_id,
        "brand_id": known.brand_id,
        "connection_id": known.connection_id,
        "data": data,
        "at": now,
    }


GIVEN = """
given AS (
    SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g (id uuid, kind text, family text, subject_kind text,
        subject_id uuid, brand_id uuid, connection_id uuid, data jsonb, at timestamptz)
)"""
PUT = """
INSERT INTO event (id, kind, subject_kind, subject_id, brand_id, connection_id, data, at)
SELECT id, kind, subject_kind, subject_id, brand_id, connection_id, data, at FROM given"""
WANTS = """
(s.kinds && ARRAY[{event}.kind, split_part({event}.kind, '.', 1) || '.*', '*']
 AND (s.brands = '{{}}' OR {event}.brand_id::text = ANY(s.brands))
 AND (s.connections = '{{}}' OR {event}.connection_id::text = ANY(s.connections)))"""
"""SQL: whether the subscription `s` asks for an event."""

# A disabled one gets nothing, but what it would have got is kept, so that it can be replayed.
STORE = f"""
WITH {GIVEN}, wanted AS (
    SELECT g.id, s.id AS subscription_id, s.state FROM given g JOIN subscription s
        ON s.state <> 'paused' AND {WANTS.format(event="g")}
), stored AS ({PUT} WHERE id IN (SELECT id FROM wanted))
INSERT INTO event_delivery (subscription_id, event_id, state, tries, due_at, replays, created_at)
SELECT subscription_id, id, 'pending', 0, :now, 0, :now FROM wanted WHERE state = 'active'
ORDER BY subscription_id, id
"""
STORE_TEST = f"""
WITH {GIVEN}, stored AS ({PUT})
INSERT INTO event_delivery (subscription_id, event_id, state, tries, due_at, replays, created_at)
SELECT :subscription, id, 'pending', 0, :now, 0, :now FROM given RETURNING id
"""
