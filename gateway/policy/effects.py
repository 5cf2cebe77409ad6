"""Carries out what policies asked for, in the transaction that records the decision.

Every row has a key of its own that names the decision's thing, policy and place: carried out twice, it is there once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID, uuid5

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import as_json, execute, execute_rows, fetch_all, fetch_one, insert_rows
from gateway.db.tables.columns import new_id
from gateway.db.tables.reply import new_reply
from gateway.events.announce import Announcement, announce_many
from gateway.policy.clocks import ClockOrder
from gateway.policy.combine import NEED_A_TICKET, PRIORITIES, Wish
from gateway.sla.clocks import apply
from gateway.sla.facts import promise_request, settle_request
from gateway.sla.requests import Request
from gateway.sla.stored import Calendars
from gateway_schemas.decision import (
    AddTags,
    Alarm,
    AskCustomer,
    JoinIncident,
    MakePromise,
    Note,
    OpenIncident,
    Route,
    SetFields,
    SetPriority,
    SettlePromise,
    StartClock,
    StopClock,
)

PROMISES = UUID("0192d0a1-7c4e-7e63-9a64-3d5d5f1d2b11")
PATIENCE = timedelta(hours=24)
"""How long a message to the customer that a policy proposed may wait to go out."""


class TicketState(Protocol):
    """A ticket's row, or what stands for it in a batch."""

    priority: str
    tags: tuple[str, ...]
    fields: dict[str, Any]


@dataclass
class TicketUpdate:
    """What the ticket's part of a decision's effects comes to."""

    payload: dict[str, Any] = field(default_factory=dict)
    """For the helpdesk: priority, add_tags, custom, group, assignee."""
    note: str | None = None
    """The notes of one decision travel in one comment."""
    lost: list[tuple[Wish, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Order:
    """One effect to carry out, with what it is about."""

    key: str
    wish: Wish
    at: datetime
    seen_at: datetime
    ticket_id: UUID | None = None
    brand_id: UUID | None = None
    interaction_id: UUID | None = None
    reply_id: UUID | None = None
    grouped: bool = False
    """For an incident: whether the message has no ticket of its own."""
    written: datetime | None = None
    """For an answer that was published `at`: when it was written."""


def orders_of(thing: str, wishes: Iterable[Wish], **about: Any) -> list[Order]:
    """The orders of one decision; `thing` names what was decided on."""
    return [
        Order(f"{thing}:{wish.policy}:{place}", wish, **about)
        for place, wish in enumerate(wishes)
        if about.get("ticket_id") is not None or not isinstance(wish.effect, NEED_A_TICKET)
    ]


def update_ticket(ticket: TicketState, wishes: Sequence[Wish], at_helpdesk: str | None) -> TicketUpdate:
    """Apply the effects on a ticket itself to its state in memory; what changes nothing is lost.

    `at_helpdesk` is the name of the helpdesk connection that has it: a ticket stays where it is.
    """
    update = TicketUpdate()
    notes: list[str] = []
    for wish in wishes:
        match wish.effect:
            case SetPriority(priority=priority):
                if PRIORITIES.index(priority) > PRIORITIES.index(ticket.priority):
                    ticket.priority = update.payload["priority"] = priority
                else:
                    update.lost.append((wish, f"the ticket's priority is {ticket.priority} already"))
            case AddTags(tags=tags):
                ticket.tags = tuple(sorted({*ticket.tags, *tags}))
                update.payload["add_tags"] = sorted({*update.payload.get("add_tags", ()), *tags})
            case SetFields(fields=fields):
                ticket.fields = {**ticket.fields, **fields}
                update.payload["custom"] = {**update.payload.get("custom", {}), **fields}
            case Route(helpdesk=helpdesk, group=group, assignee=assignee):
                if helpdesk is not None and helpdesk != at_helpdesk:
                    update.lost.append((wish, f"the ticket is with {at_helpdesk or 'no helpdesk'} already"))
                    continue
                update.payload |= {
                    name: value for name, value in (("group", group), ("assignee", assignee)) if value is not None
                }
            case Note(text=text):
                notes.append(text)
    update.note = "\n\n".join(notes) or None
    return update


async def carry_out(connection: AsyncConnection, orders: Sequence[Order], now: datetime) -> set[str]:
    """Carry out what is neither the ticket's own part nor its clocks'. Returns the drains to wake after the commit."""
    by_kind: dict[type, list[Order]] = defaultdict(list)
    for order in orders:
        by_kind[type(order.wish.effect)].append(order)
    await _make_promises(connection, by_kind[MakePromise])
    await _settle_promises(connection, by_kind[SettlePromise], now)
    await _incidents(connection, by_kind[OpenIncident], by_kind[JoinIncident], now)
    await raise_alarms(connection, [_alarm(order) for order in by_kind[Alarm]])
    wakes = await _ask_customers(connection, by_kind[AskCustomer], now)
    return wakes | ({"incidents"} if by_kind[OpenIncident] or by_kind[JoinIncident] else set())


def clock_requests(orders: Sequence[Order]) -> list[Request]:
    """What the orders ask of clocks: those of targets, and of promises that have a time.

    They are applied after all else of a transaction: whoever holds a reply may want its ticket's clocks, and nobody
    the other way round.
    """
    found: list[Request] = []
    for one in orders:
        effect, policy = one.wish.effect, one.wish.policy
        if one.ticket_id is None:
            continue
        if isinstance(effect, StartClock | StopClock):
            order = ClockOrder(one.ticket_id, effect, policy, one.wish.revision, one.at, one.seen_at, one.written)
            found.append(order.request())
        elif isinstance(effect, SettlePromise):
            found.append(settle_request(effect, one.ticket_id, one.at, one.seen_at, by=f"policy:{policy}"))
        elif isinstance(effect, MakePromise):
            id, revision = str(promise_id(one)), one.wish.revision
            made = promise_request(effect, id, one.ticket_id, one.at, one.seen_at, policy=policy, revision=revision)
            found += [made] if made is not None else []
    return found


async def carry_out_on_ticket(
    connection: AsyncConnection,
    calendars: Calendars,
    ticket_id: UUID,
    thing: str,
    orders: Sequence[Order],
    now: datetime,
) -> set[str]:
    """Carry out a decision's effects where there is no batch at hand: the ticket's own part as well."""
    return await carry_out_on_tickets(connection, calendars, [(ticket_id, thing, orders)], now)


async def carry_out_on_tickets(
    connection: AsyncConnection,
    calendars: Calendars,
    decided: Iterable[tuple[UUID, str, Sequence[Order]]],
    now: datetime,
) -> set[str]:
    """The same for several decisions, each with its ticket and what was decided on.

    Rows are locked in the order of tickets, and clocks after all of them: whoever else works on the same ones waits,
    and never for a wait of ours.
    """
    wakes: set[str] = set()
    requests: list[Request] = []
    for ticket_id, thing, orders in sorted(decided, key=lambda one: one[0]):
        about, woken = await _carry_out_on(connection, ticket_id, thing, orders, now)
        wakes |= woken
        requests += clock_requests(about)
    return wakes | (await apply(connection, calendars, requests, now)).wakes


async def _carry_out_on(
    connection: AsyncConnection, ticket_id: UUID, thing: str, orders: Sequence[Order], now: datetime
) -> tuple[list[Order], set[str]]:
    """All of a decision but its clocks. Gives the orders as they are about the ticket, and the drains to wake."""
    # no FOR UPDATE: the sweep, which holds clocks that are wanted here, writes rows that refer to the ticket
    row = await fetch_one(
        connection,
        """SELECT e.id, e.priority, e.tags, e.fields, e.helpdesk_id, e.brand_id, e.ended, h.name AS helpdesk
           FROM ticket t JOIN ticket e ON e.id = COALESCE(t.merged_into, t.id)
                LEFT JOIN connection h ON h.id = e.helpdesk_id
           WHERE t.id = :id FOR NO KEY UPDATE OF e""",
        id=ticket_id,
    )
    if row is None:
        return [], set()
    ticket = _Row(row["priority"], tuple(row["tags"]), dict(row["fields"]))
    update = update_ticket(ticket, [one.wish for one in orders], row["helpdesk"])
    if update.payload and row["ended"] is None:
        await execute(
            connection,
            """UPDATE ticket SET priority = :priority, tags = CAST(:tags AS text[]), fields = CAST(:fields AS jsonb),
                   updated_at = :now WHERE id = :id""",
            id=row["id"],
            priority=ticket.priority,
            tags=list(ticket.tags),
            fields=as_json(ticket.fields),
            now=now,
        )
    wakes: set[str] = set()
    if row["helpdesk_id"] is not None and row["ended"] is None:
        pushes = []
        if update.payload:
            pushes.append(push(f"e:{thing}", row["id"], row["helpdesk_id"], "update", update.payload, now))
        if update.note:
            pushes.append(push(f"d:{thing}", row["id"], row["helpdesk_id"], "note", note(update.note, now), now))
        await insert_rows(connection, "push", pushes, tail="ON CONFLICT (key) DO NOTHING")
        wakes |= {f"push:{row['helpdesk_id']}"} if pushes else set()
    about = [replace(one, ticket_id=row["id"], brand_id=row["brand_id"]) for one in orders]
    return about, wakes | await carry_out(connection, about, now)


@dataclass
class _Row:
    priority: str
    tags: tuple[str, ...]
    fields: dict[str, Any]


def note(text: str, at: datetime) -> dict[str, Any]:
    """The payload of a private note by the gateway."""
    return {"text": text, "author": None, "public": False, "at": at, "url": None, "attachments": []}


def push(
    key: str, ticket_id: UUID, helpdesk_id: UUID, kind: str, payload: Mapping[str, Any], now: datetime
) -> dict[str, Any]:
    """The row of one change to be told to the helpdesk."""
    return {
        "key": key,
        "ticket_id": ticket_id,
        "helpdesk_id": helpdesk_id,
        "kind": kind,
        "lane": 1,
        "payload": dict(payload),
        "interaction_id": None,
        "reply_id": None,
        "state": "pending",
        "epoch": 0,
        "tries": 0,
        "due_at": now,
        "at": now,
        "created_at": now,
    }


async def _make_promises(connection: AsyncConnection, orders: Sequence[Order]) -> None:
    await insert_rows(
        connection,
        "promise",
        [
            {
                "id": promise_id(order),
                "key": order.key,
                "ticket_id": order.ticket_id,
                "policy": order.wish.policy,
                "quote": effect.quote,
                "detail": effect.detail,
                "standing": effect.standing,
                "due": effect.due,
                "review_at": effect.review_at,
                "reply_id": order.reply_id,
                "state": "open",
                "evidence": "",
                "made_at": order.at,
            }
            for order in orders
            if isinstance(effect := order.wish.effect, MakePromise)
        ],
        tail="ON CONFLICT (key) DO NOTHING",
    )


def promise_id(order: Order) -> UUID:
    """A promise's id, before it is written: another message of the same batch may be asked about it."""
    return uuid5(PROMISES, order.key)


async def _settle_promises(connection: AsyncConnection, orders: Sequence[Order], now: datetime) -> None:
    if not orders:
        return
    settled = await fetch_all(
        connection,
        """UPDATE promise p SET state = g.outcome, evidence = g.evidence, settled_by = g.policy, settled_at = :now
           FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g (id text, outcome text, evidence text, policy text)
           WHERE p.id::text = g.id AND p.state = 'open' RETURNING p.id, p.state""",
        rows=as_json(
            [
                {
                    "id": effect.promise,
                    "outcome": effect.outcome,
                    "evidence": effect.evidence,
                    "policy": order.wish.policy,
                }
                for order in orders
                if isinstance(effect := order.wish.effect, SettlePromise)
            ]
        ),
        now=now,
    )
    broken = [Announcement("promise.broken", row["id"]) for row in settled if row["state"] == "broken"]
    await announce_many(connection, broken, now)


async def _incidents(
    connection: AsyncConnection, opened: Sequence[Order], joined: Sequence[Order], now: datetime
) -> None:
    """Open incidents, one for each key, and count messages under them."""
    if not opened and not joined:
        return
    rows: dict[str, dict[str, Any]] = {}
    for order in opened:
        effect = order.wish.effect
        assert isinstance(effect, OpenIncident)
        row = rows.setdefault(
            effect.key,
            {
                "id": new_id(),
                "key": effect.key,
                "title": effect.title,
                "brand_id": order.brand_id,
                "policy": order.wish.policy,
                "tighten": {},
                "grouping": effect.group,
                "ticket_id": order.ticket_id,
                "opened_at": order.at,
            },
        )
        row["tighten"] |= {name: severity.value for name, severity in effect.tighten.items()}
        row["ticket_id"] = row["ticket_id"] or order.ticket_id
    await insert_rows(
        connection,
        "incident",
        [rows[key] for key in sorted(rows)],
        tail="""ON CONFLICT (key) WHERE closed_at IS NULL DO UPDATE SET
            tighten = incident.tighten || EXCLUDED.tighten,
            ticket_id = COALESCE(incident.ticket_id, EXCLUDED.ticket_id)""",
    )
    fresh = await fetch_all(
        connection, "SELECT id, key FROM incident WHERE closed_at IS NULL AND key = ANY(:keys)", keys=sorted(rows)
    )
    begun = sorted(one["key"] for one in fresh if one["id"] == rows[one["key"]]["id"])
    await announce_many(connection, [Announcement("incident.opened", rows[key]["id"]) for key in begun], now)
    alarms = [
        {
            **{name: rows[key][name] for name in ("brand_id", "ticket_id", "policy")},
            "key": f"incident:{rows[key]['id']}",
            "severity": "critical",
            "code": "incident_opened",
            "message": f"{rows[key]['title']} (incident {key})",
            "at": now,
        }
        for key in begun
    ]
    await raise_alarms(connection, alarms)
    members = [
        {"key": effect.key, "interaction": one.interaction_id, "grouped": one.grouped, "at": one.at}
        for one in (*opened, *joined)
        if one.interaction_id is not None and isinstance(effect := one.wish.effect, OpenIncident | JoinIncident)
    ]
    await execute_rows(
        connection,
        """INSERT INTO incident_member (incident_id, interaction_id, grouped, at)
           SELECT DISTINCT ON (n.id, g.interaction) n.id, g.interaction, g.grouped, g.at
           FROM jsonb_to_recordset(CAST(:rows AS jsonb))
               AS g (key text, interaction uuid, grouped boolean, at timestamptz)
           JOIN incident n ON n.key = g.key AND n.closed_at IS NULL
           ON CONFLICT (incident_id, interaction_id) DO NOTHING""",
        members,
    )


def _alarm(order: Order) -> dict[str, Any]:
    effect = order.wish.effect
    assert isinstance(effect, Alarm)
    return {
        "key": order.key,
        "severity": effect.severity,
        "code": effect.code,
        "message": effect.message,
        "policy": order.wish.policy,
        "owner": effect.owner,
        "brand_id": order.brand_id,
        "ticket_id": order.ticket_id,
        "interaction_id": order.interaction_id,
        "reply_id": order.reply_id,
        "at": order.at,
    }


ALARM = ("key", "severity", "code", "message", "policy", "owner", "brand_id", "ticket_id", "interaction_id", "reply_id")


async def raise_alarms(connection: AsyncConnection, alarms: Sequence[Mapping[str, Any]]) -> None:
    """Write alarms and tell subscribers; one of a key that was raised before is not raised again."""
    rows = [{"id": new_id(), **{name: one.get(name) for name in ALARM}, "at": one["at"]} for one in alarms]
    fresh = await insert_rows(connection, "alarm", rows, tail="ON CONFLICT (key) DO NOTHING RETURNING id")
    if fresh:
        newest = max(one["at"] for one in alarms)
        await announce_many(connection, [Announcement("alarm.raised", row["id"]) for row in fresh], newest)


async def _ask_customers(connection: AsyncConnection, orders: Sequence[Order], now: datetime) -> set[str]:
    """Messages to customers become replies in the private leg; they are decided on like an agent's."""
    if not orders:
        return set()
    tickets = {
        row["id"]: row
        for row in await fetch_all(
            connection,
            "SELECT id, connection_id FROM ticket WHERE id = ANY(:ids)",
            ids=sorted({order.ticket_id for order in orders if order.ticket_id is not None}),
        )
    }
    rows = [
        new_reply(
            id=new_id(),
            ticket_id=order.ticket_id,
            connection_id=tickets[order.ticket_id]["connection_id"],
            author_id=f"policy:{order.wish.policy}",
            author_name=order.wish.policy,
            origin="policy",
            text=effect.text,
            leg="private",
            key=f"ask:{order.key}",
            due_at=now + effect.after,
            not_after=now + effect.after + PATIENCE,
            now=now,
        )
        for order in orders
        if order.ticket_id in tickets and isinstance(effect := order.wish.effect, AskCustomer)
    ]
    await insert_rows(connection, "reply", rows, tail="ON CONFLICT (key) DO NOTHING")
    return {f"reply:{row['connection_id']}" for row in rows if row["due_at"] <= now}
