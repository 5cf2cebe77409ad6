"""Interactions on their way in: where they come from, what is stored of them already, and which of them are no news."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.connections import Endpoint
from gateway.db.database import fetch_all
from gateway.db.tables.columns import new_id
from gateway_schemas.interaction import Interaction, version_order

Key = tuple[str, str]
"""Scope and external id."""


@dataclass
class Incoming:
    """One interaction on its way in, with where it came from."""

    key: Key
    endpoint: Endpoint
    item: Interaction
    origin: str
    delivery_id: int
    id: UUID = field(default_factory=new_id)
    account_id: UUID | None = None


@dataclass
class Known:
    """What is stored of an interaction."""

    id: UUID
    account_id: UUID
    direction: str
    revision: str
    version_at: datetime
    addressed: bool
    deleted: bool
    waits_for: str | None = None


KNOWN = """id, scope, external_id, account_id, direction, revision, version_at, addressed,
    deleted_at IS NOT NULL AS deleted"""
"""The columns that `known_of` reads."""


def known_of(row: Mapping[str, Any]) -> Known:
    """A row of the table `interaction`."""
    return Known(
        row["id"],
        row["account_id"],
        row["direction"],
        row["revision"],
        row["version_at"],
        row["addressed"],
        row["deleted"],
        row.get("waits_for"),
    )


def columns_of(one: Incoming) -> dict[str, Any]:
    """What the table `interaction` says of its newest version."""
    item = one.item
    return {
        "kind": item.kind,
        "visibility": item.visibility,
        "direction": item.direction,
        "addressed": item.addressed,
        "text": item.text,
        "in_reply_to": item.in_reply_to,
        "url": item.url,
        "revision": item.revision,
        "data": item.model_dump(mode="json"),
        "version_at": version_order(item),
    }


async def locate(connection: AsyncConnection, keys: Iterable[Key]) -> dict[Key, Known]:
    """Stored interactions by id or alias, and what their newest change waits for."""
    keys = sorted(set(keys))
    if not keys:
        return {}
    rows = await fetch_all(
        connection,
        """
        WITH asked AS (SELECT * FROM unnest(CAST(:scopes AS text[]), CAST(:ids AS text[])) AS a (scope, id)),
        found AS (
            SELECT a.scope, a.id AS asked, i.id FROM asked a JOIN interaction i ON i.scope = a.scope
                AND i.external_id = a.id
            UNION
            SELECT a.scope, a.id, x.interaction_id FROM asked a JOIN interaction_alias x ON x.scope = a.scope
                AND x.alias = a.id
        )
        SELECT f.scope, f.asked, i.id, i.account_id, i.direction, i.revision, i.version_at, i.addressed,
               i.deleted_at IS NOT NULL AS deleted,
               (SELECT max(r.waits_for) FROM revision r WHERE r.interaction_id = i.id
                   AND r.state = 'waiting') AS waits_for
        FROM found f JOIN interaction i ON i.id = f.id
        """,
        scopes=[key[0] for key in keys],
        ids=[key[1] for key in keys],
    )
    return {(row["scope"], row["asked"]): known_of(row) for row in rows}


def is_history(one: Incoming) -> bool:
    """Whether a first connect found it lying around: it is recorded and opens nothing, unless the admin wants tickets
    for it."""
    if one.origin != "poll" or not one.item.addressed:
        return False
    since = _began(one.endpoint)
    if one.endpoint.history == "tickets":
        since -= timedelta(days=one.endpoint.history_days)
    return version_order(one.item) < since


def is_unwanted(endpoint: Endpoint, origin: str, item: Interaction) -> bool:
    """Whether it is from before the connection, and the admin wants nothing of that kept."""
    return endpoint.history == "none" and origin == "poll" and version_order(item) < _began(endpoint)


def _began(endpoint: Endpoint) -> datetime:
    """What is older was there before the connection."""
    return endpoint.created_at - CLOCKS


CLOCKS = timedelta(seconds=2)
"""Providers tell times in whole seconds, of clocks that are not ours: in doubt, it is news."""
