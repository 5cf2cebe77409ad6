"""Station 4: one thing stays one thing.

Interactions are stored by identity, their changes as revisions, deletions as tombstones. Arriving twice, late or over
another connection changes nothing: unique constraints decide, not locks. A message whose ancestor is being fetched
waits for it, so that its ticket begins where the conversation began.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.connections import Endpoint
from gateway.db.database import as_json, execute, fetch_all, insert_rows
from gateway.db.tables.columns import new_id
from gateway.engine.shards import shard_of
from gateway.events.announce import announce
from gateway.pipeline.absence import missing_from
from gateway.pipeline.attach import Owner, note_files
from gateway.pipeline.fetch import want
from gateway.pipeline.normalise import Read
from gateway.pipeline.statuses import note_statuses
from gateway.registry import Registry
from gateway_schemas.interaction import (
    Attachment,
    Deletion,
    Interaction,
    Listing,
    Revoked,
    SendStatus,
    Wanted,
    version_order,
)

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


def scope_of(registry: Registry, endpoint: Endpoint) -> str:
    """Where this plugin's external ids are unique."""
    plugin = registry.sources.get(endpoint.plugin)
    if plugin is not None and plugin.capabilities.identity == "account":
        return endpoint.scope
    return endpoint.plugin


async def record(
    connection: AsyncConnection,
    registry: Registry,
    reads: Sequence[Read],
    now: datetime,
    ancestor_wait: float,
    ancestor_depth: int,
) -> set[str]:
    """Write everything sources brought, in the caller's transaction. Returns the drains to wake after its commit."""
    incoming: list[Incoming] = []
    deletions: list[tuple[Key, Deletion]] = []
    wanted: list[tuple[Endpoint, Wanted, datetime]] = []
    listings: list[tuple[str, Endpoint, Listing]] = []
    statuses: list[tuple[Endpoint, SendStatus]] = []
    for read in reads:
        for endpoint, item in read.news:
            scope = scope_of(registry, endpoint)
            if isinstance(item, Interaction):
                if not _unwanted(endpoint, read.origin, item):
                    incoming.append(Incoming((scope, item.external_id), endpoint, item, read.origin, read.id))
            elif isinstance(item, Deletion):
                deletions.append(((scope, item.external_id), item))
            elif isinstance(item, Wanted):
                wanted.append((endpoint, item, read.received_at))
            elif isinstance(item, Listing):
                listings.append((scope, endpoint, item))
            elif isinstance(item, Revoked):
                await revoke(connection, endpoint, item.reason, now)
            elif isinstance(item, SendStatus):
                statuses.append((endpoint, item))
    incoming.sort(key=lambda one: (one.key, version_order(one.item)))
    await _canonical(connection, incoming)
    await _accounts(connection, incoming, now)
    await _entomb(connection, deletions, now)
    inserted, known = await _interactions(connection, incoming, now)
    await _aliases(connection, incoming, known)
    for scope, endpoint, listing in listings:
        wanted += [(endpoint, item, now) for item in await missing_from(connection, scope, listing, now)]
    depths = await _depths(connection, reads)
    within = [
        one
        for one in await _unrecorded(connection, registry, wanted)
        if one[1].reason != "ancestor" or depths.get((one[0].id, one[1].ref), 0) < ancestor_depth
    ]
    wakes = await want(connection, within, now, depths)
    wakes |= await _revisions(connection, incoming, inserted, known, now, ancestor_wait)
    wakes |= await _deleted_revisions(connection, deletions, now)
    wakes |= await note_statuses(connection, statuses, now)
    return wakes | await note_files(connection, _attached(incoming, known), now)


def _attached(incoming: Sequence[Incoming], known: dict[Key, Known]) -> list[tuple[Owner, Sequence[Attachment]]]:
    """The files of what customers tell the brand; those of context, of own posts and of old times stay where they
    are."""
    return [
        (Owner("interaction", known[one.key].id, one.endpoint.id), one.item.attachments)
        for one in incoming
        if one.item.attachments
        and one.item.direction == "inbound"
        and one.item.addressed
        and _history(one, "pending") == "pending"
    ]


async def _canonical(connection: AsyncConnection, incoming: Sequence[Incoming]) -> None:
    """An edited post may come under a newer id that a stored one already goes by."""
    rows = await fetch_all(
        connection,
        """SELECT a.scope, a.alias, i.external_id FROM interaction_alias a JOIN interaction i ON i.id = a.interaction_id
           WHERE (a.scope, a.alias) IN (SELECT * FROM unnest(CAST(:scopes AS text[]), CAST(:ids AS text[])))""",
        scopes=[one.key[0] for one in incoming],
        ids=[one.key[1] for one in incoming],
    )
    canonical = {(row["scope"], row["alias"]): row["external_id"] for row in rows}
    for one in incoming:
        one.key = (one.key[0], canonical.get(one.key, one.key[1]))


async def _accounts(connection: AsyncConnection, incoming: Sequence[Incoming], now: datetime) -> None:
    """Make or refresh the authors' accounts; a new account is a new customer until proof joins it to another."""
    newest: dict[Key, Incoming] = {}
    for one in incoming:
        newest[(one.key[0], one.item.author.external_id)] = one
    if not newest:
        return
    rows = [
        {
            "id": new_id(),
            "customer_id": new_id(),
            "scope": scope,
            "external_id": external_id,
            "provider": one.endpoint.plugin,
            **{
                name: getattr(one.item.author, name)
                for name in ("handle", "name", "url", "avatar_url", "followers", "verified")
            },
            "created_at": now,
            "updated_at": now,
        }
        for (scope, external_id), one in sorted(newest.items())
    ]
    # a refresh touches only rows that change: the brand's own account is in every batch, and must not serialise them
    stored = await fetch_all(
        connection,
        """
        WITH given AS (SELECT * FROM jsonb_populate_recordset(NULL::account, CAST(:rows AS jsonb))),
        fresh AS (
            INSERT INTO account SELECT g.* FROM given g ON CONFLICT (scope, external_id) DO NOTHING
            RETURNING id, scope, external_id, customer_id, name, created_at
        ),
        people AS (INSERT INTO customer (id, name, created_at) SELECT customer_id, name, created_at FROM fresh),
        changed AS (
            UPDATE account a SET handle = COALESCE(g.handle, a.handle), name = COALESCE(g.name, a.name),
                url = COALESCE(g.url, a.url), avatar_url = COALESCE(g.avatar_url, a.avatar_url),
                followers = COALESCE(g.followers, a.followers), verified = COALESCE(g.verified, a.verified),
                updated_at = g.updated_at
            FROM given g WHERE a.scope = g.scope AND a.external_id = g.external_id
                AND (COALESCE(g.handle, a.handle), COALESCE(g.name, a.name), COALESCE(g.url, a.url))
                    IS DISTINCT FROM (a.handle, a.name, a.url)
        )
        SELECT id, scope, external_id FROM fresh
        UNION ALL
        SELECT a.id, a.scope, a.external_id FROM account a JOIN given g ON a.scope = g.scope
            AND a.external_id = g.external_id
        """,
        rows=as_json(rows),
    )
    ids = {(row["scope"], row["external_id"]): row["id"] for row in stored}
    lost = [row for row in rows if (row["scope"], row["external_id"]) not in ids]
    if lost:
        # another batch committed the same new account after this statement's snapshot: it is there now
        for row in await fetch_all(
            connection,
            """SELECT id, scope, external_id FROM account
               WHERE (scope, external_id) IN (SELECT * FROM unnest(CAST(:scopes AS text[]), CAST(:ids AS text[])))""",
            scopes=[row["scope"] for row in lost],
            ids=[row["external_id"] for row in lost],
        ):
            ids[(row["scope"], row["external_id"])] = row["id"]
    for one in incoming:
        one.account_id = ids[(one.key[0], one.item.author.external_id)]


async def bury(connection: AsyncConnection, deletions: Sequence[tuple[Key, Deletion]], now: datetime) -> set[str]:
    """Note that things are gone at their source, in the caller's transaction: what a delivery would tell, told by us.

    Returns the drains to wake after the commit.
    """
    await _entomb(connection, deletions, now)
    return await _deleted_revisions(connection, deletions, now)


async def _entomb(connection: AsyncConnection, deletions: Sequence[tuple[Key, Deletion]], now: datetime) -> None:
    """Remember every deletion, also of things not seen yet."""
    rows = {
        key: {"scope": key[0], "external_id": key[1], "deleted_at": item.deleted_at or now, "deleted_by": item.by}
        for key, item in deletions
    }
    await insert_rows(
        connection, "tombstone", [rows[key] for key in sorted(rows)], tail="ON CONFLICT (scope, external_id) DO NOTHING"
    )


async def _interactions(
    connection: AsyncConnection, incoming: Sequence[Incoming], now: datetime
) -> tuple[set[Key], dict[Key, Known]]:
    """Insert what is new and lock what is known. Keys in order, so that two batches cannot deadlock."""
    newest = {one.key: one for one in incoming}
    if not newest:
        return set(), {}
    keys = sorted(newest)
    scopes, ids = [key[0] for key in keys], [key[1] for key in keys]
    tombs = {
        (row["scope"], row["external_id"]): row
        for row in await fetch_all(
            connection,
            """SELECT scope, external_id, deleted_at, deleted_by FROM tombstone
               WHERE (scope, external_id) IN (SELECT * FROM unnest(CAST(:scopes AS text[]), CAST(:ids AS text[])))""",
            scopes=scopes,
            ids=ids,
        )
    }
    rows = []
    for key in keys:
        one = newest[key]
        tomb = tombs.get(key)
        rows.append(
            {
                "id": one.id,
                "scope": key[0],
                "external_id": key[1],
                "connection_id": one.endpoint.id,
                "account_id": one.account_id,
                **_current(one),
                "origin": one.origin,
                "revisions": 1,
                "published_at": one.item.published_at,
                "deleted_at": tomb["deleted_at"] if tomb else None,
                "deleted_by": tomb["deleted_by"] if tomb else None,
                "created_at": now,
            }
        )
    fresh = await insert_rows(
        connection,
        "interaction",
        rows,
        tail=f"ON CONFLICT (scope, external_id) DO NOTHING RETURNING {KNOWN}",
    )
    known = {(row["scope"], row["external_id"]): _known(row) for row in fresh}
    inserted = set(known)
    if seen := [key for key in keys if key not in inserted]:
        for row in await fetch_all(
            connection,
            f"""SELECT {KNOWN} FROM interaction
               WHERE (scope, external_id) IN (SELECT * FROM unnest(CAST(:scopes AS text[]), CAST(:ids AS text[])))
               ORDER BY scope, external_id FOR UPDATE""",
            scopes=[key[0] for key in seen],
            ids=[key[1] for key in seen],
        ):
            known[row["scope"], row["external_id"]] = _known(row)
    return inserted, known


KNOWN = """id, scope, external_id, account_id, direction, revision, version_at, addressed,
    deleted_at IS NOT NULL AS deleted"""


def _known(row: Mapping[str, Any]) -> Known:
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


def _current(one: Incoming) -> dict[str, Any]:
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


async def _aliases(connection: AsyncConnection, incoming: Sequence[Incoming], known: dict[Key, Known]) -> None:
    rows: dict[Key, dict[str, Any]] = {}
    for one in incoming:
        for alias in (*one.item.supersedes, one.item.external_id, one.item.revision):
            if alias != one.key[1] and (alias in one.item.supersedes or one.item.supersedes):
                rows[(one.key[0], alias)] = {"scope": one.key[0], "alias": alias, "interaction_id": known[one.key].id}
    await insert_rows(
        connection,
        "interaction_alias",
        [rows[key] for key in sorted(rows)],
        tail="ON CONFLICT (scope, alias) DO NOTHING",
    )


async def _unrecorded(
    connection: AsyncConnection, registry: Registry, wanted: Sequence[tuple[Endpoint, Wanted, datetime]]
) -> list[tuple[Endpoint, Wanted, datetime]]:
    """Leave out ancestors that are stored already, perhaps since this very batch."""
    ancestors = [(scope_of(registry, endpoint), item.ref) for endpoint, item, _ in wanted if item.reason == "ancestor"]
    stored = set(await locate(connection, ancestors))
    return [
        (endpoint, item, seen)
        for endpoint, item, seen in wanted
        if item.reason != "ancestor" or (scope_of(registry, endpoint), item.ref) not in stored
    ]


async def _depths(connection: AsyncConnection, reads: Sequence[Read]) -> dict[tuple[UUID, str], int]:
    """How many fetches led to each ancestor that a fetched delivery wants: one more than to what it brought.

    A delivery may bring posts of many conversations; only those of the ancestor's own count.
    """
    below: dict[tuple[UUID, str], set[str]] = {}
    for read in (read for read in reads if read.origin == "fetch"):
        posts = [(endpoint.id, item) for endpoint, item in read.news if isinstance(item, Interaction)]
        for endpoint, item in read.news:
            if isinstance(item, Wanted) and item.reason == "ancestor":
                roots = {post.root for id, post in posts if id == endpoint.id and post.in_reply_to == item.ref}
                near = {post.external_id for id, post in posts if id == endpoint.id and post.root in roots}
                below.setdefault((endpoint.id, item.ref), set()).update(near)
    if not below:
        return {}
    rows = await fetch_all(
        connection,
        """SELECT connection_id, ref, depth FROM wanted WHERE connection_id = ANY(:connections) AND ref = ANY(:refs)""",
        connections=list({id for id, _ in below}),
        refs=list(set().union(*below.values())),
    )
    known = {(row["connection_id"], row["ref"]): int(row["depth"]) for row in rows}
    return {key: 1 + max((known.get((key[0], ref), 0) for ref in refs), default=0) for key, refs in below.items()}


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
    return {(row["scope"], row["asked"]): _known(row) for row in rows}


async def _revisions(
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
            "state": _history(one, state),
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


def _history(one: Incoming, state: str) -> str:
    """What a first connect finds lying around is recorded and opens nothing, unless the admin wants tickets for it."""
    if state != "pending" or one.origin != "poll" or not one.item.addressed:
        return state
    since = _began(one.endpoint)
    if one.endpoint.history == "tickets":
        since -= timedelta(days=one.endpoint.history_days)
    return "done" if version_order(one.item) < since else state


def _unwanted(endpoint: Endpoint, origin: str, item: Interaction) -> bool:
    """Whether it is from before the connection, and the admin wants nothing of that kept."""
    return endpoint.history == "none" and origin == "poll" and version_order(item) < _began(endpoint)


def _began(endpoint: Endpoint) -> datetime:
    """What is older was there before the connection."""
    return endpoint.created_at - CLOCKS


CLOCKS = timedelta(seconds=2)
"""Providers tell times in whole seconds, of clocks that are not ours: in doubt, it is news."""


def _shard(one: Incoming, stored: Known, parents: dict[Key, Known]) -> int:
    if one.item.direction == "outbound" and one.item.in_reply_to is not None:
        parent = parents.get((one.key[0], one.item.in_reply_to))
        if parent is not None:
            return shard_of(parent.account_id)
    return shard_of(stored.account_id)


async def _bring_up_to_date(connection: AsyncConnection, id: UUID, one: Incoming) -> None:
    current = _current(one)
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


async def _deleted_revisions(
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


async def revoke(connection: AsyncConnection, endpoint: Endpoint, reason: str, now: datetime) -> None:
    """The provider withdrew the account's consent: stop its work, keep its backlog, say so."""
    stopped = await execute(
        connection,
        """UPDATE connection SET status = 'needs_authorisation', status_reason = :reason, version = version + 1
           WHERE id = :id AND status <> 'needs_authorisation'""",
        id=endpoint.id,
        reason=reason,
    )
    if stopped:
        news = {"code": "revoked", "reason": reason}
        await announce(connection, "connection.needs_authorisation", "connection", endpoint.id, news, now)
