"""Loads what threading a batch needs to know, set-based, and makes the threads that do not exist yet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import fetch_all, insert_rows
from gateway.db.tables.columns import new_id
from gateway.pipeline.invitations import named
from gateway.pipeline.leaving import in_doubt, tried
from gateway.pipeline.matters import Matters, ThreadedItem, TicketRow, conversation_with
from gateway_schemas.interaction import Interaction

DEPTH = 25
"""How far up a conversation its beginning is looked for."""

ITEM = """
    i.id AS interaction_id, i.scope, i.external_id, i.connection_id, i.account_id, i.thread_id, i.ticket_id, i.reply_id,
    i.in_reply_to, i.direction, i.origin, i.deleted_by, i.created_at, a.customer_id, a.provider,
    a.external_id AS author, a.handle, a.name, a.url AS author_url, a.avatar_url, c.brand_id, c.name AS connection_name,
    COALESCE(c.helpdesk_id, (SELECT h.id FROM connection h WHERE h.role = 'helpdesk'
        AND (h.brand_id IS NULL OR h.brand_id = c.brand_id) ORDER BY h.created_at LIMIT 1)) AS helpdesk_id
"""

PENDING = f"""
SELECT r.id AS revision_id, r.change, r.at, r.seen_at,
    CASE WHEN r.change = 'deleted' THEN i.data ELSE r.data END::text AS data, {ITEM}
FROM revision r JOIN interaction i ON i.id = r.interaction_id JOIN account a ON a.id = i.account_id
     JOIN connection c ON c.id = i.connection_id
WHERE r.shard = :shard AND r.state = 'pending' AND NOT c.paused_in
ORDER BY r.id LIMIT :limit
"""

ANCESTORS = f"""
WITH RECURSIVE up AS (
    SELECT i.id AS start, i.id, i.scope, i.in_reply_to, 0 AS depth FROM interaction i WHERE i.id = ANY(:ids)
    UNION ALL
    SELECT up.start, p.id, p.scope, p.in_reply_to, up.depth + 1 FROM up JOIN interaction p
        ON p.scope = up.scope AND p.id = COALESCE(
            (SELECT x.id FROM interaction x WHERE x.scope = up.scope AND x.external_id = up.in_reply_to),
            (SELECT x.interaction_id FROM interaction_alias x WHERE x.scope = up.scope AND x.alias = up.in_reply_to))
    WHERE up.depth < {DEPTH} AND up.in_reply_to IS NOT NULL
)
SELECT up.start, up.depth, i.data::text, i.published_at AS at, i.created_at AS seen_at, {ITEM}
FROM up JOIN interaction i ON i.id = up.id JOIN account a ON a.id = i.account_id JOIN connection c
    ON c.id = i.connection_id
WHERE up.depth > 0 ORDER BY up.start, up.depth
"""


async def load(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]], now: datetime) -> Matters:
    """Load what a batch of pending revisions needs; makes the threads that do not exist yet."""
    matters = Matters()
    rows = [{**row, "news": _news(row)} for row in rows]
    above: dict[UUID, list[Mapping[str, Any]]] = defaultdict(list)
    if answers := [row["interaction_id"] for row in rows if row["in_reply_to"]]:
        for row in await fetch_all(connection, ANCESTORS, ids=answers):
            above[row["start"]].append({**row, "news": _news(row)})
    threads, matters.roots = await _threads(connection, rows, above, now)
    matters.items = [_item(row, threads[row["interaction_id"]]) for row in rows]
    for id, ancestors in above.items():
        matters.parents[id] = [_item(row, row["thread_id"] or threads[id]) for row in ancestors]
    for one in matters.items:
        one.depth = len(above.get(one.interaction_id, ()))
    matters.items.sort(key=lambda one: (*one.order, one.revision_id))
    thread_ids = list(set(threads.values()))
    account_ids = list(
        {one.account_id for one in matters.items}
        | {one.account_id for many in matters.parents.values() for one in many}
    )
    legs = await fetch_all(
        connection,
        """SELECT false AS first, thread_id, account_id, ticket_id FROM leg
           WHERE thread_id = ANY(:threads) AND account_id = ANY(:accounts)
           UNION ALL SELECT true, first.* FROM unnest(CAST(:threads AS uuid[])) AS t (id) CROSS JOIN LATERAL (
               SELECT thread_id, account_id, ticket_id FROM leg WHERE thread_id = t.id
               ORDER BY created_at, ticket_id LIMIT 1) AS first""",
        threads=thread_ids,
        accounts=account_ids,
    )
    codes = {one.news.claim for one in matters.items if one.news.claim and one.news.visibility == "private"}
    if codes:
        matters.invitations = await named(connection, sorted(codes))
        await _whose(connection, matters)
    private = list({one.account_id for one in matters.items if one.news.visibility == "private"})
    tickets = await fetch_all(
        connection,
        """
        SELECT t.id, COALESCE(m.id, t.id) AS effective, COALESCE(m.helpdesk_id, t.helpdesk_id) AS helpdesk_id,
            t.account_id,
               COALESCE(m.status, t.status) AS status, COALESCE(m.priority, t.priority) AS priority,
               CASE WHEN m.id IS NULL THEN t.ended ELSE m.ended END AS ended, t.opened_at,
               GREATEST(t.last_inbound_at, m.last_inbound_at) AS last_inbound_at, t.brand_id,
               COALESCE(m.tags, t.tags) AS tags, COALESCE(m.fields, t.fields) AS fields,
               COALESCE(m.assignee, t.assignee) AS assignee, COALESCE(m.mark, t.mark) AS mark
        FROM ticket t LEFT JOIN ticket m ON m.id = t.merged_into
        WHERE t.id IN (
            SELECT unnest(CAST(:ids AS uuid[])) UNION ALL SELECT newest.id FROM (
                SELECT DISTINCT ON (o.account_id) o.id FROM ticket o
                WHERE o.account_id = ANY(:private) AND o.ended IS NULL
                ORDER BY o.account_id, o.last_inbound_at DESC) AS newest)
        ORDER BY t.last_inbound_at
        """,
        ids=list(
            {row["ticket_id"] for row in legs}
            | {one.ticket_id for one in matters.invitations.values()}
            | {one.ticket_id for one in matters.items if one.ticket_id is not None}
        ),
        private=private,
    )
    for row in tickets:
        ticket = TicketRow(
            id=row["effective"],
            **{
                name: row[name]
                for name in (
                    "helpdesk_id",
                    "account_id",
                    "status",
                    "priority",
                    "ended",
                    "opened_at",
                    "last_inbound_at",
                    "brand_id",
                    "fields",
                    "assignee",
                    "mark",
                )
            },
            tags=tuple(row["tags"]),
        )
        ticket.loaded = replace(ticket)
        matters.tickets[row["id"]] = matters.tickets.setdefault(row["effective"], ticket)
        if ticket.ended is None:
            matters.of_account[ticket.account_id] = matters.tickets[row["id"]]
    matters.legs = {(row["thread_id"], row["account_id"]): row["ticket_id"] for row in legs if not row["first"]}
    matters.firsts = {row["thread_id"]: row["ticket_id"] for row in legs if row["first"]}
    await _loose(connection, matters, thread_ids)
    await _early_answers(connection, matters)
    await _replies(connection, matters)
    helpdesks = await fetch_all(connection, "SELECT id, name FROM connection WHERE role = 'helpdesk'")
    matters.helpdesks = {row["name"]: row["id"] for row in helpdesks}
    if again := list({row["interaction_id"] for row in rows if row["change"] != "created"}):
        for row in await fetch_all(
            connection,
            """SELECT interaction_id, key FROM push
               WHERE interaction_id = ANY(:ids) AND kind = 'comment' AND state = 'pending' AND tries = 0""",
            ids=again,
        ):
            matters.unpushed[row["interaction_id"]] = row["key"]
    return matters


async def _threads(
    connection: AsyncConnection,
    rows: Sequence[Mapping[str, Any]],
    above: Mapping[UUID, Sequence[Mapping[str, Any]]],
    now: datetime,
) -> tuple[dict[UUID, UUID], dict[UUID, str]]:
    """The thread of each interaction and each thread's root: as the source tells it, else the top of what is stored
    above it."""
    found: dict[UUID, UUID] = {}
    named: dict[UUID, str] = {}
    roots: dict[UUID, tuple[str, str, str | None]] = {}
    for row in rows:
        if row["thread_id"] is not None:
            found[row["interaction_id"]] = row["thread_id"]
            continue
        news, top = row["news"], (above.get(row["interaction_id"]) or [row])[-1]
        root = news.root or top["news"].root or top["news"].in_reply_to or top["external_id"]
        roots[row["interaction_id"]] = (row["scope"], root, news.root_owner)
    wanted = {(scope, root): owner for scope, root, owner in roots.values()}
    if wanted:
        await insert_rows(
            connection,
            "thread",
            [
                {"id": new_id(), "scope": scope, "root": root, "root_owner": owner, "created_at": now}
                for (scope, root), owner in sorted(wanted.items(), key=lambda pair: pair[0])
            ],
            tail="ON CONFLICT (scope, root) DO NOTHING",
        )
        stored = await fetch_all(
            connection,
            """SELECT id, scope, root FROM thread
               WHERE (scope, root) IN (SELECT * FROM unnest(CAST(:scopes AS text[]), CAST(:roots AS text[])))""",
            scopes=[scope for scope, _ in wanted],
            roots=[root for _, root in wanted],
        )
        ids = {(row["scope"], row["root"]): row["id"] for row in stored}
        found |= {id: ids[(scope, root)] for id, (scope, root, _) in roots.items()}
        named = {row["id"]: row["root"] for row in stored}
    if more := list({*found.values()} - {*named}):
        rows = await fetch_all(connection, "SELECT id, root FROM thread WHERE id = ANY(:ids)", ids=more)
        named |= {row["id"]: row["root"] for row in rows}
    return found, named


async def _whose(connection: AsyncConnection, matters: Matters) -> None:
    """Whose the accounts are by now: another invitation may have joined one since its change was read."""
    rows = await fetch_all(
        connection,
        """SELECT a.id, a.customer_id, EXISTS (SELECT 1 FROM erasure e WHERE e.customer_id = a.customer_id) AS forgotten
           FROM account a WHERE a.id = ANY(:ids)""",
        ids=list({one.account_id for one in matters.items}),
    )
    customers = {row["id"]: row["customer_id"] for row in rows}
    for one in matters.items:
        one.customer_id = customers[one.account_id]
    matters.forgotten = {row["customer_id"] for row in rows if row["forgotten"]}


async def _loose(connection: AsyncConnection, matters: Matters, thread_ids: Sequence[UUID]) -> None:
    """Context that earlier batches left without a ticket, in the threads at hand."""
    in_batch = {one.interaction_id for one in matters.items}
    rows = await fetch_all(
        connection,
        f"""
        WITH loose AS (
            -- by whoever wrote it: a thread may have tens of thousands of comments
            SELECT i.id FROM unnest(CAST(:accounts AS uuid[])) AS a (id) CROSS JOIN LATERAL (
                SELECT id FROM interaction WHERE account_id = a.id AND thread_id = ANY(:threads) AND ticket_id IS NULL
                    AND deleted_at IS NULL) AS i
            UNION SELECT id FROM interaction WHERE thread_id = ANY(:threads) AND ticket_id IS NULL
                AND deleted_at IS NULL AND direction = 'outbound' AND visibility = 'private'
        )
        SELECT i.data::text, i.published_at AS at, i.created_at AS seen_at, {ITEM}
        FROM loose JOIN interaction i ON i.id = loose.id JOIN account a ON a.id = i.account_id
             JOIN connection c ON c.id = i.connection_id
        """,
        threads=list(thread_ids),
        accounts=list(
            {one.account_id for one in matters.items}
            | {one.account_id for many in matters.parents.values() for one in many}
        ),
    )
    for row in rows:
        if row["interaction_id"] not in in_batch:
            matters.loose[row["thread_id"]][row["interaction_id"]] = _item(row, row["thread_id"])


async def _early_answers(connection: AsyncConnection, matters: Matters) -> None:
    context = [one for one in matters.items if one.news.direction == "inbound" and not one.news.addressed]
    if not context:
        return
    in_batch = {one.interaction_id for one in matters.items}
    rows = await fetch_all(
        connection,
        f"""SELECT i.data::text, i.published_at AS at, i.created_at AS seen_at, {ITEM}
            FROM interaction i JOIN account a ON a.id = i.account_id JOIN connection c ON c.id = i.connection_id
            WHERE i.direction = 'outbound' AND i.ticket_id IS NULL AND i.reply_id IS NULL AND i.deleted_at IS NULL
              AND (i.scope, i.in_reply_to) IN (SELECT * FROM unnest(CAST(:scopes AS text[]), CAST(:ids AS text[])))""",
        scopes=[one.scope for one in context],
        ids=[one.external_id for one in context],
    )
    threads = {(one.scope, one.external_id): one.thread_id for one in context}
    for row in rows:
        if row["interaction_id"] not in in_batch:
            target = (row["scope"], row["in_reply_to"])
            matters.answered[target].append(_item(row, row["thread_id"] or threads[target]))


async def _replies(connection: AsyncConnection, matters: Matters) -> None:
    """Our own replies that own posts of the batch may be the echoes of."""
    own = [one for one in matters.items if one.news.direction == "outbound"]
    if not own:
        return
    rows = await fetch_all(
        connection,
        f"""
        SELECT r.id, r.ticket_id, i.scope, r.state, r.external_id, r.rendered, i.external_id AS target, t.root,
               {in_doubt("r")} AS in_doubt
        FROM reply r JOIN interaction i ON i.id = r.interaction_id LEFT JOIN thread t ON t.id = i.thread_id
        WHERE r.connection_id IN (SELECT id FROM connection WHERE plugin = ANY(:plugins)) AND i.scope = ANY(:scopes)
          AND (r.external_id = ANY(:ids) OR ({tried("r")} AND r.external_id IS NULL))
        """,
        plugins=list({one.provider for one in own}),
        scopes=list({one.scope for one in own}),
        ids=[one.external_id for one in own],
    )
    for row in rows:
        if row["external_id"] is not None:
            matters.sent[(row["scope"], row["external_id"])] = row
            continue
        # a private answer names no parent: it is known by its conversation
        rendered = row["rendered"] or {}
        private, target = rendered.get("visibility") == "private", rendered.get("target") or {}
        # a conversation that it begins has no name yet: it is known by whom it is with
        recipient = conversation_with(target["recipient"]) if private and target.get("recipient") else None
        for name in {row["root"] if private else row["target"], target.get("ref"), recipient} - {None}:
            matters.flying[(row["scope"], name)].append(row)


def _news(row: Mapping[str, Any]) -> Interaction:
    found: Interaction | None = row.get("news")
    return found or Interaction.model_validate_json(row["data"])


def _item(row: Mapping[str, Any], thread_id: UUID) -> ThreadedItem:
    return ThreadedItem(
        revision_id=row.get("revision_id", 0),
        change=row.get("change", "created"),
        at=row["at"],
        seen_at=row["seen_at"],
        news=_news(row),
        thread_id=thread_id,
        requester={
            "external_id": f"{row['provider']}:{row['author']}",
            "name": row["name"]
            or (f"@{row['handle']}" if row["handle"] else f"{row['provider']} user {row['author']}"),
            "handle": row["handle"],
            "provider": row["provider"],
            "url": row["author_url"],
            "avatar_url": row["avatar_url"],
        },
        deleted_by=row["deleted_by"] or "unknown",
        **{
            name: row[name]
            for name in (
                "interaction_id",
                "scope",
                "external_id",
                "connection_id",
                "account_id",
                "customer_id",
                "ticket_id",
                "reply_id",
                "origin",
                "provider",
                "brand_id",
                "helpdesk_id",
                "connection_name",
            )
        },
    )
