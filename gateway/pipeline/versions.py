"""The versions of an interaction: as it first came, its edits (also those back to earlier words), its deletion.

Each is a row, written once, and threading's work: one that arrives late is history and done, one whose ancestor is
being fetched waits for it, all others are pending.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import as_json, execute, fetch_all, insert_rows
from gateway.engine.shards import shard_of
from gateway.pipeline.incoming import Incoming, Key, Known, columns_of, is_history, locate
from gateway_schemas.interaction import Deletion, Interaction, version_order


async def write_versions(
    connection: AsyncConnection,
    incoming: Sequence[Incoming],
    inserted: set[Key],
    known: dict[Key, Known],
    now: datetime,
    ancestor_wait: float,
) -> set[str]:
    """Write each change, and bring stored interactions to their newest version."""
    parents = await locate(connection, [(one.key[0], one.item.in_reply_to) for one in incoming if one.item.in_reply_to])
    fetching = await _being_fetched(connection, incoming, parents)
    waiting: dict[Key, str] = {key: parent.waits_for for key, parent in parents.items() if parent.waits_for}
    rows: dict[tuple[UUID, str], dict[str, Any]] = {}
    newer: dict[Key, Incoming] = {}
    touched: dict[UUID, datetime] = {}
    upgraded: list[UUID] = []
    seen: set[Key] = set()
    earlier = await _earlier_words(connection, incoming, known)
    for one in sorted(incoming, key=lambda one: (version_order(one.item), one.key)):
        stored = known[one.key]
        first = one.key in inserted and one.key not in seen
        seen.add(one.key)
        if one.item.revision != stored.revision:
            named = (stored.id, one.item.revision)
            if said(stored.revision) == one.item.revision:
                one.item = one.item.model_copy(update={"revision": stored.revision})
            elif version_order(one.item) > stored.version_at and (named in earlier or named in rows):
                one.item = one.item.model_copy(update={"revision": said_again(one.item)})
        if one.item.addressed and not stored.addressed:
            upgraded.append(stored.id)
            stored.addressed = True
        state, waits_for = "pending", None
        if stored.deleted:
            state = "done"
        elif not first and version_order(one.item) < stored.version_at and one.item.revision != stored.revision:
            state = "done"  # an older version that arrives late is history, not news
        elif one.item.in_reply_to is not None:
            parent = (one.key[0], one.item.in_reply_to)
            waits_for = waiting.get(parent) or (
                one.item.in_reply_to if (one.endpoint.id, parent[1]) in fetching else None
            )
            if waits_for:
                state = "waiting"
                waiting[one.key] = waits_for
        if not first and version_order(one.item) >= stored.version_at and one.item.revision != stored.revision:
            newer[one.key] = one
            stored.revision, stored.version_at = one.item.revision, version_order(one.item)
        if not first and one.item.revision == stored.revision and version_order(one.item) > stored.version_at:
            stored.version_at = touched[stored.id] = version_order(one.item)
        if (stored.id, one.item.revision) in rows:
            continue  # told twice within the batch
        rows[(stored.id, one.item.revision)] = {
            "interaction_id": stored.id,
            "scope": one.key[0],
            "revision": one.item.revision,
            "change": "created" if first else "edited",
            "data": one.item.model_dump(mode="json"),
            "at": one.item.published_at if first else version_order(one.item),
            "shard": _shard(one, stored, parents),
            "state": "done" if state == "pending" and is_history(one) else state,
            "waits_for": waits_for,
            "wait_until": now + timedelta(seconds=ancestor_wait) if waits_for else None,
            "delivery_id": one.delivery_id,
            "seen_at": now,
        }
    fresh = await insert_rows(
        connection,
        "revision",
        list(rows.values()),
        tail="ON CONFLICT (interaction_id, revision) DO NOTHING RETURNING interaction_id, revision, shard, state",
    )
    wrote = {(row["interaction_id"], row["revision"]) for row in fresh}
    for key, one in sorted(newer.items()):
        if (known[key].id, one.item.revision) in wrote:
            await _bring_up_to_date(connection, known[key].id, one)
    if touched:
        # the source calls it changed and it reads the same: it is only known to have stood so for longer
        await execute(
            connection,
            """UPDATE interaction i SET version_at = GREATEST(i.version_at, g.at)
               FROM unnest(CAST(:ids AS uuid[]), CAST(:times AS timestamptz[])) AS g (id, at) WHERE i.id = g.id""",
            ids=list(touched),
            times=list(touched.values()),
        )
    wakes = {f"thread:{row['shard']}" for row in fresh if row["state"] == "pending"}
    if upgraded:
        # context that turns out to be addressed to the brand after all is threaded once more, now as such
        again = await fetch_all(
            connection,
            """WITH up AS (UPDATE interaction SET addressed = true,
                   data = jsonb_set(data, '{addressed}', 'true') WHERE id = ANY(:ids) AND NOT addressed RETURNING id)
               UPDATE revision r SET data = jsonb_set(r.data, '{addressed}', 'true'),
                   state = CASE WHEN r.state = 'done' THEN 'pending' ELSE r.state END
               FROM up, interaction i WHERE r.interaction_id = up.id AND i.id = up.id AND r.revision = i.revision
                 AND r.change <> 'deleted' RETURNING r.shard""",
            ids=upgraded,
        )
        wakes |= {f"thread:{row['shard']}" for row in again}
    return wakes


async def _earlier_words(
    connection: AsyncConnection, incoming: Sequence[Incoming], known: dict[Key, Known]
) -> set[tuple[UUID, str]]:
    """Which of the edits say what an earlier version of theirs said.

    Sources that number no versions name one by a hash of its words: an edit back to earlier words comes under a name
    that is stored, and would be taken for the earlier version told twice.
    """
    edits = [one for one in incoming if version_order(one.item) > known[one.key].version_at]
    if not edits:
        return set()
    rows = await fetch_all(
        connection,
        """SELECT interaction_id, revision FROM revision
           WHERE (interaction_id, revision) IN (SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:said AS text[])))""",
        ids=[known[one.key].id for one in edits],
        said=[one.item.revision for one in edits],
    )
    return {(row["interaction_id"], row["revision"]) for row in rows}


def said_again(item: Interaction) -> str:
    """The name of a version that says once more what an earlier one said: with the time, as often as it is told."""
    return f"{item.revision}~{version_order(item).astimezone(UTC).isoformat()}"


def said(revision: str) -> str:
    """What the source calls a version."""
    return AGAIN.sub("", revision)


AGAIN = re.compile(r"~\d{4}-\d\d-\d\dT[\d:.]+\+00:00$")


def _shard(one: Incoming, stored: Known, parents: dict[Key, Known]) -> int:
    if one.item.direction == "outbound" and one.item.in_reply_to is not None:
        parent = parents.get((one.key[0], one.item.in_reply_to))
        if parent is not None:
            return shard_of(parent.account_id)
    return shard_of(stored.account_id)


async def _bring_up_to_date(connection: AsyncConnection, id: UUID, one: Incoming) -> None:
    current = columns_of(one)
    current.pop("addressed")
    await execute(
        connection,
        """UPDATE interaction SET text = :text, in_reply_to = :in_reply_to, url = :url, revision = :revision,
               data = CAST(:data AS jsonb), version_at = :version_at, revisions = revisions + 1
           WHERE id = :id""",
        id=id,
        **{name: current[name] for name in ("text", "in_reply_to", "url", "revision", "version_at")},
        data=as_json(current["data"]),
    )


async def _being_fetched(
    connection: AsyncConnection, incoming: Sequence[Incoming], parents: dict[Key, Known]
) -> set[tuple[UUID, str]]:
    missing = {
        (one.endpoint.id, one.item.in_reply_to)
        for one in incoming
        if one.item.in_reply_to is not None and (one.key[0], one.item.in_reply_to) not in parents
    }
    if not missing:
        return set()
    rows = await fetch_all(
        connection,
        """SELECT connection_id, ref FROM wanted WHERE state = 'pending' AND (connection_id, ref) IN
           (SELECT * FROM unnest(CAST(:connections AS uuid[]), CAST(:refs AS text[])))""",
        connections=[connection_id for connection_id, _ in missing],
        refs=[ref for _, ref in missing],
    )
    return {(row["connection_id"], row["ref"]) for row in rows}


async def write_deletions(
    connection: AsyncConnection, deletions: Sequence[tuple[Key, Deletion]], now: datetime
) -> set[str]:
    """Mark deleted interactions and tell threading, once."""
    when = {key: (item.deleted_at or now, item.by) for key, item in deletions}
    found = await locate(connection, when)
    wakes: set[str] = set()
    for key in sorted(found):
        stored, (at, by) = found[key], when[key]
        if stored.deleted:
            continue
        await execute(
            connection,
            "UPDATE interaction SET deleted_at = :at, deleted_by = :by WHERE id = :id AND deleted_at IS NULL",
            id=stored.id,
            at=at,
            by=by,
        )
        fresh = await insert_rows(
            connection,
            "revision",
            [
                {
                    "interaction_id": stored.id,
                    "scope": key[0],
                    "revision": "deleted",
                    "change": "deleted",
                    "data": {"by": by},
                    "at": at,
                    "shard": shard_of(stored.account_id),
                    "state": "pending",
                    "seen_at": now,
                }
            ],
            tail="ON CONFLICT (interaction_id, revision) DO NOTHING RETURNING shard",
        )
        wakes |= {f"thread:{row['shard']}" for row in fresh}
    return wakes
