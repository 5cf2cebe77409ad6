"""What is asked of clocks, applied to many tickets at once inside the caller's transaction.

A policy's effects and the pipeline's own news become requests: a clock is started, fulfilled, paused, resumed,
cancelled or measured by other terms. Requests carry the source's time and are applied in that order, also to clocks
that have gone on since: whatever arrives late changes what was.

Locks: the rows of the clocks, in order of their ids; nobody who holds them waits for anybody else's rows.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID, uuid5

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import execute, fetch_all, insert_rows
from gateway.db.tables.columns import new_id
from gateway.sla.calendars import Calendar
from gateway.sla.clock import BY_POLICY, CLOSED, Clock, copy_of
from gateway.sla.requests import Cancel, Fulfil, Pause, Request, Resume, Retarget, Start, bounded
from gateway.sla.rows import load, write
from gateway.sla.stored import Calendars
from gateway.sla.told import tell_helpdesks, told_of

OWNED = frozenset({"first_response", "next_response", "resolution"})
"""Kinds that a helpdesk has targets of its own for."""


@dataclass(frozen=True)
class Refused:
    """A clock that was not started, and why."""

    request: Start
    reason: str


@dataclass
class Applied:
    """What became of requests."""

    refused: list[Refused] = field(default_factory=list)
    wakes: set[str] = field(default_factory=set)
    """Drains to wake after the commit."""


@dataclass
class _Ticket:
    """A ticket's clocks while requests are applied to them."""

    id: UUID
    owner: str
    """Whose clocks count: `gateway`, `helpdesk` or `none`."""
    helpdesk_id: UUID | None
    clocks: list[Clock] = field(default_factory=list)
    fulfilments: list[Fulfil] = field(default_factory=list)
    """What is known to have fulfilled something here, in order."""


TICKETS = """
SELECT t.id AS named, e.id, e.helpdesk_id,
       CASE WHEN 'none' IN (c.sla_owner, h.sla_owner) THEN 'none'
            WHEN 'helpdesk' IN (c.sla_owner, h.sla_owner) THEN 'helpdesk' ELSE 'gateway' END AS owner
FROM ticket t JOIN ticket e ON e.id = COALESCE(t.merged_into, t.id) JOIN connection c ON c.id = e.connection_id
     LEFT JOIN connection h ON h.id = e.helpdesk_id
WHERE t.id = ANY(:ids)
"""


FULFILMENTS = """
SELECT ticket_id, at, by, "on", kinds FROM fulfilment WHERE ticket_id = ANY(:ids) AND at > :since ORDER BY at, by
"""


async def apply(
    connection: AsyncConnection, calendars: Calendars, requests: Iterable[Request], now: datetime
) -> Applied:
    """Apply requests in the caller's transaction. What was merged at the helpdesk counts for where it was merged into.

    A calendar that is gone is replaced by `always`, the strictest, and the clock says so.
    """
    applied = Applied()
    asked = sorted(requests, key=lambda one: bounded(one.at, one.seen_at)[0])
    if not asked:
        return applied
    tickets = await _tickets(connection, calendars, sorted({one.ticket_id for one in asked}))
    named = await calendars.named(
        connection, {one.calendar for one in asked if isinstance(one, Start | Retarget)} | {"always"}
    )
    known = await calendars.of(connection, set(named.values()))
    starts = [one for one in asked if isinstance(one, Start) and one.ticket_id in tickets]
    starting = {tickets[one.ticket_id].id: tickets[one.ticket_id] for one in starts}
    await _load_fulfilments(connection, starting, [bounded(one.at, one.seen_at)[0] for one in starts])
    told = {ticket.id: told_of(ticket.clocks) for ticket in tickets.values()}
    for one in asked:
        ticket = tickets.get(one.ticket_id)
        if ticket is None:
            continue
        if isinstance(one, Start | Retarget):
            key = named.get(one.calendar, named["always"])
            missing = f"there is no calendar {one.calendar} any more; all time counts"
            use = _Use(*key, known[key], None if one.calendar in named else missing)
            if isinstance(one, Retarget):
                _retarget(ticket, one, use, now)
            elif (refusal := _start(ticket, one, use, now)) is not None:
                applied.refused.append(Refused(one, refusal))
        else:
            _change(ticket, one, now)
    unique = {ticket.id: ticket for ticket in tickets.values()}.values()
    await write(connection, [clock for ticket in unique for clock in ticket.clocks], now)
    fulfilments = [one for one in asked if isinstance(one, Fulfil) and one.ticket_id in tickets]
    await _keep_fulfilments(
        connection, [(tickets[one.ticket_id].id, bounded(one.at, one.seen_at)[0], one) for one in fulfilments]
    )
    news = [(ticket, told_of(ticket.clocks)) for ticket in unique]
    changed = [(ticket.id, ticket.helpdesk_id, state) for ticket, state in news if state != told[ticket.id]]
    applied.wakes = await tell_helpdesks(connection, changed, now)
    return applied


@dataclass(frozen=True)
class _Use:
    """The calendar that a clock is to count in."""

    id: UUID
    version: int
    calendar: Calendar
    remark: str | None


async def _load_fulfilments(
    connection: AsyncConnection, tickets: Mapping[UUID, _Ticket], since: Iterable[datetime]
) -> None:
    earliest = min(since, default=None)
    if earliest is None:
        return
    for row in await fetch_all(connection, FULFILMENTS, ids=sorted(tickets), since=earliest):
        known = Fulfil(row["ticket_id"], row["at"], row["at"], row["by"], row["on"], frozenset(row["kinds"]))
        tickets[row["ticket_id"]].fulfilments.append(known)


async def catch_up(connection: AsyncConnection, clocks: Sequence[Clock], now: datetime) -> list[Clock]:
    """Stop those of these clocks that something has fulfilled already, whose transaction did not see them.

    A clock and what fulfils it may be committed at the same moment by two processes. What fulfils is kept, so whoever
    is about to tell of a step looks once more. Returns the clocks of messages that came after it.
    """
    tickets = {clock.ticket_id: _Ticket(clock.ticket_id, "gateway", None) for clock in clocks}
    await _load_fulfilments(connection, tickets, [clock.started_at for clock in clocks])
    for clock in clocks:
        _answer(tickets[clock.ticket_id], clock, now)
    return [clock for ticket in tickets.values() for clock in ticket.clocks]


async def _keep_fulfilments(connection: AsyncConnection, found: Iterable[tuple[UUID, datetime, Fulfil]]) -> None:
    rows = {
        (ticket, at, one.by, one.on): sorted(one.kinds)
        for ticket, at, one in found
        if one.on != "solved" and one.slot is None
    }
    columns = ("ticket_id", "at", "by", "on")
    values = [{**dict(zip(columns, key, strict=True)), "kinds": rows[key]} for key in sorted(rows)]
    await insert_rows(connection, "fulfilment", values, tail="ON CONFLICT DO NOTHING")


def is_ours(owner: str, kind: str) -> bool:
    """Whether the gateway runs clocks of this kind where `owner` says whose clocks count.

    Where they are the helpdesk's, the gateway runs no second one for what helpdesks have targets for.
    """
    return owner == "gateway" or (owner == "helpdesk" and kind not in OWNED)


async def disown(connection: AsyncConnection, connection_id: UUID, owner: str, now: datetime) -> None:
    """Cancel the open clocks of a connection whose clocks are not the gateway's any more, in the caller's
    transaction. What starts at this very moment is cancelled by the sweep."""
    await execute(
        connection,
        """UPDATE clock SET state = 'cancelled', reason = :reason, running_since = NULL, next_at = NULL,
               stopped_at = :now, updated_at = :now
           WHERE id IN (SELECT c.id FROM clock c JOIN ticket t ON t.id = c.ticket_id
               WHERE :connection IN (t.connection_id, t.helpdesk_id) AND c.state IN ('running', 'paused')
                   AND (:owner = 'none' OR c.kind = ANY(:owned)) ORDER BY c.id FOR UPDATE OF c)""",
        connection=connection_id,
        owner=owner,
        owned=sorted(OWNED),
        reason=f"sla_owner: {owner}",
        now=now,
    )


async def _tickets(connection: AsyncConnection, calendars: Calendars, ids: list[UUID]) -> dict[UUID, _Ticket]:
    """The tickets by the ids they were named by; two names of one ticket give one object."""
    found: dict[UUID, _Ticket] = {}
    by_name: dict[UUID, _Ticket] = {}
    for row in await fetch_all(connection, TICKETS, ids=ids):
        ticket = found.setdefault(row["id"], _Ticket(row["id"], row["owner"], row["helpdesk_id"]))
        by_name[row["named"]] = ticket
    for clock in await load(
        connection, calendars, "WHERE ticket_id = ANY(:ids) ORDER BY id FOR UPDATE", ids=sorted(found)
    ):
        found[clock.ticket_id].clocks.append(clock)
    return by_name


def _start(ticket: _Ticket, one: Start, use: _Use, now: datetime) -> str | None:
    """Start a clock or let one go on; why not, where it is not for the gateway to run."""
    if not is_ours(ticket.owner, one.kind):
        return f"sla_owner: {ticket.owner}"
    at, remark = bounded(one.at, one.seen_at)
    clock = _clock_for(ticket, one, at)
    if clock is None:
        clock = Clock(
            id=new_id(),
            ticket_id=ticket.id,
            kind=one.kind,
            terms=one.terms,
            calendar=use.calendar,
            calendar_id=use.id,
            calendar_version=use.version,
            started_at=at,
            policy=one.policy,
            revision=one.revision,
            slot=at.isoformat() if one.kind == "next_response" else one.slot,
            label=one.label,
            remark=use.remark or remark,
        )
        ticket.clocks.append(clock)
        clock.start(at, now)
        _answer(ticket, clock, now)
    elif clock.state == "cancelled":
        clock.terms, clock.remark = one.terms, use.remark or remark
        clock.calendar_id, clock.calendar_version, clock.calendar = use.id, use.version, use.calendar
        clock.start_again(at, now)
        _answer(ticket, clock, now)
    elif one.kind == "resolution" and clock.stopped_at is not None and clock.stopped_at <= at:
        clock.reopen(at, now)
    else:
        if clock.open and (clock.terms, clock.calendar_id) != (one.terms, use.id):
            clock.revision = one.revision
            clock.retarget(one.terms, now, calendar=(use.id, use.version, use.calendar))
        if at < clock.started_at:
            clock.start_earlier(at, now)
            _answer(ticket, clock, now)
        elif one.kind == "next_response":
            clock.ask(at)
    return None


def _clock_for(ticket: _Ticket, one: Start, at: datetime) -> Clock | None:
    """The clock that this start belongs to already: for `next_response` the first one that was not over by then."""
    same = [clock for clock in ticket.clocks if (clock.kind, clock.policy) == (one.kind, one.policy)]
    if one.kind != "next_response":
        return next((clock for clock in same if clock.slot == one.slot), None)
    ahead = [clock for clock in same if clock.stopped_at is None or clock.stopped_at > at]
    found = min((one for one in ahead if one.state != "cancelled"), key=lambda clock: clock.started_at, default=None)
    return found or next((clock for clock in same if clock.slot == at.isoformat()), None)


def _retarget(ticket: _Ticket, one: Retarget, use: _Use, now: datetime) -> None:
    for clock in ticket.clocks:
        same = (clock.kind, clock.policy) == (one.kind, one.policy) and one.slot in (None, clock.slot)
        if clock.open and same:
            clock.retarget(one.terms, now, calendar=(use.id, use.version, use.calendar))
            clock.remark = use.remark or clock.remark


def _change(ticket: _Ticket, one: Fulfil | Pause | Resume | Cancel, now: datetime) -> None:
    at, _ = bounded(one.at, one.seen_at)
    if isinstance(one, Fulfil) and one.on != "solved" and one.slot is None:
        bisect.insort(ticket.fulfilments, replace(one, at=at), key=lambda known: known.at)
    for clock in list(ticket.clocks):
        match one:
            case Fulfil() if _is_fulfilled(clock, one, at):
                _fulfil(ticket, clock, max(at, clock.started_at), one.by, now)
            case Pause() if clock.state == "running" and clock.terms.due is None and _had_begun(clock, at):
                if clock.kind in one.kinds or (clock.terms.pauses and not one.kinds):
                    clock.pause(at, one.reason, now)
            case Resume() if clock.kind in one.kinds or not one.kinds:
                if clock.state == "paused":
                    clock.resume(at, now)
                elif one.reopen and _was_solved(clock, at):
                    clock.reopen(at, now)
            case Cancel() if clock.open and _had_begun(clock, at) and one.slot in (None, clock.slot):
                if clock.kind in one.kinds or not one.kinds:
                    clock.cancel(at, one.reason)


def _had_begun(clock: Clock, at: datetime) -> bool:
    """Whether a clock had been started, or started again, when a ticket's state changed: helpdesks tell that time in
    whole seconds."""
    ends = [end for _, end in clock.stretches]
    return (clock.running_since or max(ends, default=clock.started_at)).replace(microsecond=0) <= at


def _is_fulfilled(clock: Clock, one: Fulfil, at: datetime) -> bool:
    if one.slot is not None and clock.slot != one.slot:
        return False
    if clock.kind not in one.kinds if one.kinds else clock.terms.stops_on != one.on:
        return False
    if clock.kind == "resolution":
        # it may be reopened, so the newest word counts, and one from before that is over
        return clock.open and _had_begun(clock, at)
    if clock.open:
        return clock.started_at <= at
    if clock.state == "cancelled":
        return _was_answered(clock, one.written or at)
    # an answer that took longer to arrive than a later one
    earlier = clock.stopped_at is not None and clock.started_at <= at < clock.stopped_at
    return earlier and clock.state in ("met", "missed")


def _was_answered(clock: Clock, written: datetime) -> bool:
    """Whether a clock that was cancelled because nobody waits any more had its answer written by then: helpdesks tell
    time in whole seconds."""
    if clock.stopped_at is None or not (clock.reason or "").startswith((CLOSED, BY_POLICY)):
        return False
    return clock.started_at.replace(microsecond=0) <= written <= clock.stopped_at


def _fulfil(ticket: _Ticket, clock: Clock, at: datetime, by: str, now: datetime) -> None:
    before = (clock.stopped_at, clock.stopped_by)
    left = clock.fulfil(at, by, now)
    if clock.kind != "next_response" or not left:
        return
    # messages that the answer cannot have been for, because they came after it
    after = clock.follow(new_id(), left, now)
    ticket.clocks.append(after)
    if before[0] is not None:
        _fulfil(ticket, after, before[0], before[1] or by, now)
    _answer(ticket, after, now)


def _answer(ticket: _Ticket, clock: Clock, now: datetime) -> None:
    """Stop a clock by the first thing after its start that fulfils it and is known already: it overtook what it is
    for."""
    for one in ticket.fulfilments:
        if one.at > clock.started_at and _is_fulfilled(clock, one, one.at):
            _fulfil(ticket, clock, one.at, one.by, now)
            return


def _was_solved(clock: Clock, at: datetime) -> bool:
    solved = clock.stopped_at is not None and clock.stopped_at <= at and (clock.stopped_by or "").startswith("ticket:")
    return solved and clock.kind == "resolution" and clock.state in ("met", "missed")


@dataclass(frozen=True)
class Foresight:
    """What clocks will be once requests are applied, for who must know before anything is written."""

    uses: Mapping[str, _Use]
    """By name: every calendar as it is now."""
    owners: Mapping[UUID | None, str]
    """Whose clocks count at each connection."""

    @classmethod
    async def load(cls, connection: AsyncConnection, calendars: Calendars) -> Foresight:
        """With the calendars and connections of this moment."""
        rows = await fetch_all(connection, "SELECT id, name, version FROM calendar WHERE deleted_at IS NULL")
        known = await calendars.of(connection, {(row["id"], row["version"]) for row in rows})
        keys = {row["name"]: (row["id"], row["version"]) for row in rows}
        owners = await fetch_all(connection, "SELECT id, sla_owner FROM connection")
        return cls(
            {name: _Use(*key, known[key], None) for name, key in keys.items()},
            {row["id"]: row["sla_owner"] for row in owners},
        )

    def after(
        self,
        clocks: Sequence[Clock],
        request: Request,
        connection_id: UUID | None,
        helpdesk_id: UUID | None,
        now: datetime,
    ) -> list[Clock]:
        """A ticket's clocks after one more request; those given are left as they are. Equal requests give equal ids."""
        said = {self.owners.get(connection_id), self.owners.get(helpdesk_id)}
        owner = next((one for one in ("none", "helpdesk") if one in said), "gateway")
        ticket = _Ticket(request.ticket_id, owner, helpdesk_id, [copy_of(clock) for clock in clocks])
        known = {clock.id for clock in clocks}
        if isinstance(request, Start):
            _start(ticket, request, self.uses.get(request.calendar, self.uses["always"]), now)
        elif not isinstance(request, Retarget):
            _change(ticket, request, now)
        for clock in ticket.clocks:
            if clock.id not in known:
                clock.id = uuid5(clock.ticket_id, f"{clock.kind}:{clock.policy}:{clock.slot}")
        return ticket.clocks
