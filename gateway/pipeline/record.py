"""Station 4: one thing stays one thing.

Interactions are stored by identity, their changes as revisions (see `versions`), deletions as tombstones. Arriving
twice, late or over another connection changes nothing: unique constraints decide, not locks. A message whose ancestor
is being fetched waits for it, so that its ticket begins where the conversation began.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.connections import Endpoint
from gateway.db.database import as_json, execute, fetch_all, insert_rows
from gateway.db.tables.columns import new_id
from gateway.events.announce import announce
from gateway.pipeline.absence import missing_from
from gateway.pipeline.attach import Owner, note_files
from gateway.pipeline.fetch import want
from gateway.pipeline.incoming import KNOWN, Incoming, Key, Known, columns_of, is_history, is_unwanted, known_of, locate
from gateway.pipeline.normalise import Read
from gateway.pipeline.statuses import note_statuses
from gateway.pipeline.versions import write_deletions, write_versions
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
                if not is_unwanted(endpoint, read.origin, item):
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
    wakes |= await write_versions(connection, incoming, inserted, known, now, ancestor_wait)
    wakes |= await write_deletions(connection, deletions, now)
    wakes |= await note_statuses(connection, statuses, now)
    return wakes | await note_files(connection, _attached(incoming, known), now)


def _attached(incoming: Sequence[Incoming], known: dict[Key, Known]) -> list[tuple[Owner, Sequence[Attachment]]]:
    """The files of what customers tell the brand; those of context, of own posts and of old times stay where they
    are."""
    return [
        (Owner("interaction", known[one.key].id, one.endpoint.id), one.item.attachments)
        for one in incoming
        if one.item.attachments and one.item.direction == "inbound" and one.item.addressed and not is_history(one)
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
    return await write_deletions(connection, deletions, now)


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
                **columns_of(one),
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
    known = {(row["scope"], row["external_id"]): known_of(row) for row in fresh}
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
            known[row["scope"], row["external_id"]] = known_of(row)
    return inserted, known


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
