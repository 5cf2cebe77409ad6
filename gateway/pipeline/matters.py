"""What threading a batch needs to know, loaded set-based: threads, legs, tickets, parents and waiting context."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import fetch_all, insert_rows
from gateway.db.tables.columns import new_id
from gateway.pipeline.invitations import Invitation, named
from gateway.pipeline.leaving import in_doubt, tried
from gateway.restored import Restored, stable_id
from gateway_schemas.interaction import Interaction

JOIN_WITHIN = timedelta(days=14)
"""A direct message joins a matter of the same customer in which something happened within this span."""
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


@dataclass
class ThreadedItem:
    """One change of one interaction with what is stored around it."""

    revision_id: int
    change: str
    at: datetime
    seen_at: datetime
    news: Interaction
    interaction_id: UUID
    scope: str
    external_id: str
    connection_id: UUID
    account_id: UUID
    customer_id: UUID
    thread_id: UUID
    ticket_id: UUID | None
    reply_id: UUID | None
    origin: str
    deleted_by: str
    provider: str
    brand_id: UUID | None
    helpdesk_id: UUID | None
    connection_name: str
    requester: dict[str, Any]
    depth: int = 0
    """How many stored posts it stands below: posts of one moment are told from the top."""

    @property
    def name(self) -> UUID:
        """What names it in marks at helpdesks: the same whenever and wherever it is recorded."""
        return stable_id(self.scope, self.external_id)

    @property
    def order(self) -> tuple[datetime, int, int, str]:
        """Sorts a conversation as it was written, also where the source's clock is too coarse to tell."""
        return (self.at, self.depth, len(self.external_id), self.external_id)


@dataclass
class TicketRow:
    """What threading needs of a ticket."""

    id: UUID
    helpdesk_id: UUID | None
    account_id: UUID
    status: str
    priority: str
    ended: str | None
    opened_at: datetime
    last_inbound_at: datetime
    brand_id: UUID | None
    tags: tuple[str, ...] = ()
    fields: dict[str, Any] = field(default_factory=dict)
    assignee: str | None = None
    reopen: bool = False
    mark: str | None = None
    loaded: TicketRow | None = None
    """As it was read; None for one that this batch opens."""


@dataclass
class Matters:
    """The state a batch is folded over."""

    items: list[ThreadedItem] = field(default_factory=list)
    tickets: dict[UUID, TicketRow] = field(default_factory=dict)
    legs: dict[tuple[UUID, UUID], UUID] = field(default_factory=dict)
    firsts: dict[UUID, UUID] = field(default_factory=dict)
    """The first ticket of each thread."""
    parents: dict[UUID, list[ThreadedItem]] = field(default_factory=dict)
    """Ancestors of each interaction, nearest first."""
    loose: dict[UUID, dict[UUID, ThreadedItem]] = field(default_factory=lambda: defaultdict(dict))
    """Interactions of a thread that belong to no ticket yet."""
    answered: dict[tuple[str, str], list[ThreadedItem]] = field(default_factory=lambda: defaultdict(list))
    """Answers the brand gave at the source to posts that were not stored then, by what they answer."""
    of_account: dict[UUID, TicketRow] = field(default_factory=dict)
    sent: dict[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    """Replies that are out, by scope and external id: another connection may see them before their own does."""
    flying: dict[tuple[str, str], list[Mapping[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    unpushed: dict[UUID, str] = field(default_factory=dict)
    """Keys of comments not pushed yet, by interaction."""
    roots: dict[UUID, str] = field(default_factory=dict)
    """What the source calls each thread."""
    restored: Restored | None = None
    helpdesks: dict[str, UUID] = field(default_factory=dict)
    """Helpdesk connections by name, for policies that route."""
    invitations: dict[str, Invitation] = field(default_factory=dict)
    """Those that messages of the batch claim, by code."""
    forgotten: set[UUID] = field(default_factory=set)
    """Customers who are being erased."""

    def fork(self) -> Matters:
        """A copy for one fold: what a fold changes is copied, the rest is shared."""
        rows: dict[int, TicketRow] = {}
        things: dict[int, ThreadedItem] = {}

        def row(one: TicketRow) -> TicketRow:
            return rows.setdefault(id(one), replace(one))

        def item(one: ThreadedItem) -> ThreadedItem:
            return things.setdefault(id(one), replace(one))

        return replace(
            self,
            items=[item(one) for one in self.items],
            tickets={id: row(one) for id, one in self.tickets.items()},
            legs=dict(self.legs),
            firsts=dict(self.firsts),
            parents={id: [item(one) for one in above] for id, above in self.parents.items()},
            loose=defaultdict(
                dict, {id: {key: item(one) for key, one in some.items()} for id, some in self.loose.items()}
            ),
            answered=defaultdict(list, {key: [item(one) for one in some] for key, some in self.answered.items()}),
            of_account={id: row(one) for id, one in self.of_account.items()},
            invitations={code: replace(one) for code, one in self.invitations.items()},
        )

    def ticket_of(self, thread_id: UUID, account_id: UUID) -> TicketRow | None:
        """The ticket of a customer in a thread."""
        id = self.legs.get((thread_id, account_id))
        return self.tickets.get(id) if id else None

    def first_ticket(self, thread_id: UUID) -> TicketRow | None:
        """The ticket that the thread began with."""
        id = self.firsts.get(thread_id)
        return self.tickets.get(id) if id else None

    def open_matter(self, item: ThreadedItem) -> TicketRow | None:
        """The customer's newest open matter, for a direct message to join."""
        ticket = self.of_account.get(item.account_id)
        if ticket is None or ticket.ended or item.at - ticket.last_inbound_at > JOIN_WITHIN:
            return None
        return ticket if ticket.brand_id == item.brand_id else None

    def invitation(self, item: ThreadedItem) -> Invitation | None:
        """The invitation whose code the message carries; never one of another brand."""
        found = self.invitations.get(item.news.claim) if item.news.claim else None
        return found if found is not None and found.brand_id == item.brand_id else None

    def join(self, former: UUID, customer_id: UUID) -> None:
        """Two customers have proven to be one."""
        for item in (*self.items, *(one for above in self.parents.values() for one in above)):
            if item.customer_id == former:
                item.customer_id = customer_id
        for invitation in self.invitations.values():
            if invitation.customer_id == former:
                invitation.customer_id = customer_id

    def add_ticket(self, ticket: TicketRow) -> None:
        """Let later items of the batch see a new ticket."""
        self.tickets[ticket.id] = ticket
        self.of_account[ticket.account_id] = ticket

    def parent(self, item: ThreadedItem) -> ThreadedItem | None:
        """What the item answers, when it is stored."""
        above = self.parents.get(item.interaction_id)
        return above[0] if above else None

    def unclaimed(self, item: ThreadedItem) -> None:
        """Remember an item that belongs to no ticket, for one that is opened later."""
        self.loose[item.thread_id][item.interaction_id] = item

    def claim(self, item: ThreadedItem) -> list[ThreadedItem]:
        """What the same customer wrote in this thread before there was a ticket, and the brand's own in a private
        one."""
        mine = [
            one
            for one in self.loose.get(item.thread_id, {}).values()
            if one.interaction_id != item.interaction_id
            and (
                (one.account_id == item.account_id and one.news.direction == "inbound")
                or (one.news.direction == "outbound" and item.news.visibility == "private")
            )
        ]
        for one in mine:
            del self.loose[item.thread_id][one.interaction_id]
        return mine

    def context_above(self, item: ThreadedItem) -> list[ThreadedItem]:
        """Other people's posts that the item answers to and that are on no ticket, oldest first."""
        above = self.parents.get(item.interaction_id, [])
        return [one for one in reversed(above) if one.account_id != item.account_id and one.ticket_id is None][-5:]

    def early_answers(self, item: ThreadedItem) -> list[ThreadedItem]:
        """Answers of the brand that were told before what they answer could be fetched."""
        return self.answered.pop((item.scope, item.external_id), [])

    def reply_sent_as(self, item: ThreadedItem) -> Mapping[str, Any] | None:
        """The reply of ours that was published under this id."""
        return self.sent.get((item.scope, item.external_id))

    def replies_in_flight(self, item: ThreadedItem) -> list[Mapping[str, Any]]:
        """Replies to the same target that may be out already."""
        if item.news.visibility != "private":
            named = [item.news.in_reply_to]
        else:
            target = item.news.reply_target
            named = [item.news.root, _to(target.recipient) if target is not None and target.recipient else None]
        found = {row["id"]: row for name in named if name for row in self.flying.get((item.scope, name), [])}
        return list(found.values())


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
           UNION ALL (SELECT DISTINCT ON (thread_id) true, thread_id, account_id, ticket_id FROM leg
                      WHERE thread_id = ANY(:threads) ORDER BY thread_id, created_at, ticket_id)""",
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
        WHERE t.id = ANY(:ids) OR t.id IN (
            SELECT DISTINCT ON (o.account_id) o.id FROM ticket o
            WHERE o.account_id = ANY(:private) AND o.ended IS NULL ORDER BY o.account_id, o.last_inbound_at DESC)
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
        f"""SELECT i.data::text, i.published_at AS at, i.created_at AS seen_at, {ITEM}
            FROM interaction i JOIN account a ON a.id = i.account_id JOIN connection c ON c.id = i.connection_id
            WHERE i.thread_id = ANY(:threads) AND i.ticket_id IS NULL AND i.deleted_at IS NULL
              AND (i.account_id = ANY(:accounts) OR (i.direction = 'outbound' AND i.visibility = 'private'))""",
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
        recipient = _to(target["recipient"]) if private and target.get("recipient") else None
        for name in {row["root"] if private else row["target"], target.get("ref"), recipient} - {None}:
            matters.flying[(row["scope"], name)].append(row)


def _to(recipient: str) -> str:
    """Names who a conversation is with, where ids of conversations are told as well."""
    return f"to {recipient}"


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
