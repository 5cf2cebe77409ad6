"""What policies set going: promises, incidents and alarms."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Body
from pydantic import Field, StringConstraints
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.api.deps import ReadsTickets, RuntimeDep, WritesTickets
from gateway.api.models import Answer, Input, Instant, Page, Reason, Since
from gateway.api.paging import Filters, PagingDep, list_page
from gateway.api.problems import conflict, invalid, not_found
from gateway.api.routes import ApiRoute
from gateway.db.database import Row, execute, fetch_one, insert_rows
from gateway.db.tables.columns import new_id
from gateway.events.announce import announce
from gateway.policy.sets import Place
from gateway.sla.clocks import apply
from gateway.sla.facts import promise_request, settle_request
from gateway_schemas.decision import MakePromise, SettlePromise

promises = APIRouter(prefix="/promises", tags=["commitments"], route_class=ApiRoute)
incidents = APIRouter(prefix="/incidents", tags=["commitments"], route_class=ApiRoute)
alarms = APIRouter(prefix="/alarms", tags=["commitments"], route_class=ApiRoute)

Quote = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
PromiseState = Literal["open", "kept", "broken", "withdrawn"]

PROMISE = """
SELECT id, ticket_id, policy, quote, detail, standing, due, review_at, reply_id, state, evidence, settled_by, made_at,
       settled_at FROM promise
"""
# Where the matter is, as policies' scopes see it when a step of one of its clocks is due.
PLACE = """
SELECT c.plugin AS source, COALESCE(said.kind, 'post') AS kind, COALESCE(said.visibility, 'public') AS visibility,
       b.name AS brand, c.name AS connection
FROM ticket t JOIN connection c ON c.id = t.connection_id LEFT JOIN brand b ON b.id = t.brand_id
     LEFT JOIN LATERAL (SELECT i.kind, i.visibility FROM interaction i WHERE i.ticket_id = t.id
         AND i.direction = 'inbound' ORDER BY i.published_at DESC, i.id DESC LIMIT 1) AS said ON true
WHERE t.id = :id
"""
INCIDENT = """
SELECT n.id, n.key, n.title, b.name AS brand, n.policy, n.tighten, n.grouping, n.ticket_id, n.opened_at, n.closed_at,
       n.closed_by, n.reason, (SELECT count(*) FROM incident_member m WHERE m.incident_id = n.id) AS messages
FROM incident n LEFT JOIN brand b ON b.id = n.brand_id
"""
ALARM = """
SELECT id, severity, code, message, policy, owner, ticket_id, interaction_id, reply_id, at, acknowledged_at,
       acknowledged_by FROM alarm
"""


class NewPromise(Input):
    """A promise that somebody made and no policy noticed."""

    ticket: UUID
    quote: Quote
    due: Instant | None = None
    review_at: Instant | None = None
    """When to look at it again, where it has no due time. Without either no clock runs for it."""
    detail: str = Field(default="", max_length=200)


class Settle(Input):
    """What became of a promise."""

    outcome: Literal["kept", "broken", "withdrawn"]
    evidence: str = Field(default="", max_length=2000)


class Close(Input):
    """Why an incident is over."""

    reason: Reason | None = None


class PromiseView(Answer):
    """Something that was promised to a customer."""

    id: UUID
    ticket_id: UUID
    policy: str
    """Which policy noticed it; `person` for one written over REST."""
    quote: str
    detail: str
    standing: str | None
    due: datetime | None
    review_at: datetime | None
    reply_id: UUID | None
    state: PromiseState
    evidence: str
    settled_by: str | None
    made_at: datetime
    settled_at: datetime | None


class IncidentView(Answer):
    """Something unusual that is or was going on."""

    id: UUID
    key: str
    title: str
    brand: str | None
    policy: str
    tighten: dict[str, str]
    grouping: bool
    ticket_id: UUID | None
    messages: int
    opened_at: datetime
    closed_at: datetime | None
    closed_by: str | None
    reason: str | None


class AlarmView(Answer):
    """Something people must know of now."""

    id: UUID
    severity: Literal["info", "warning", "critical"]
    code: str
    message: str
    policy: str | None
    owner: str | None
    ticket_id: UUID | None
    interaction_id: UUID | None
    reply_id: UUID | None
    at: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str | None


@promises.get("")
async def list_promises(
    runtime: RuntimeDep,
    _: ReadsTickets,
    paging: PagingDep,
    ticket: UUID | None = None,
    state: PromiseState | None = None,
    due_before: Since | None = None,
) -> Page[PromiseView]:
    """Promises, newest first. `state=open&due_before=…` are those to look after."""
    filters = Filters()
    filters.add("ticket_id = :ticket", ticket=ticket)
    filters.add("state = :state", state=state)
    filters.add("COALESCE(due, review_at) < :before", before=due_before)
    async with runtime.database.read() as database:
        rows, following = await list_page(database, PROMISE, filters, paging)
    return Page(items=[PromiseView(**row) for row in rows], next=following)


@promises.post("", status_code=201)
async def make_promise(runtime: RuntimeDep, caller: WritesTickets, given: NewPromise) -> PromiseView:
    """Write down a promise that somebody made elsewhere. Its clock runs as that of one found in an answer does.

    The policy in force that looks after promises (`keep_promises`) warns of it and says when it was broken; without one
    the clock is shown and breached, and nothing else comes of it.
    """
    id, now = new_id(), runtime.now()
    in_force = await runtime.policies.in_force(now)
    async with runtime.database.write() as database:
        place = await fetch_one(database, PLACE, id=given.ticket)
        if place is None:
            raise invalid("ticket", f"there is no ticket {given.ticket}")
        row = {
            "id": id,
            "key": f"person:{id}",
            "ticket_id": given.ticket,
            "policy": "person",
            "quote": given.quote,
            "detail": given.detail,
            "due": given.due,
            "review_at": given.review_at,
            "state": "open",
            "evidence": f"written down by {caller.name}",
            "made_at": now,
        }
        await insert_rows(database, "promise", [row])
        made = MakePromise(quote=given.quote, due=given.due, review_at=given.review_at, detail=given.detail)
        minder = next((one.member for one in in_force.asked("on_clock", Place(**place)) if one.needs.promises), None)
        policy, revision = (minder.policy, minder.revision) if minder is not None else ("person", None)
        start = promise_request(made, str(id), given.ticket, now, now, policy=policy, revision=revision)
        wakes = (await apply(database, runtime.calendars, [start], now)).wakes if start is not None else set()
        view = PromiseView(**await _row(database, PROMISE, id, "promise"))
    await runtime.wake(wakes)
    return view


@promises.get("/{promise_id}")
async def read_promise(runtime: RuntimeDep, _: ReadsTickets, promise_id: UUID) -> PromiseView:
    """One promise."""
    async with runtime.database.read() as database:
        return PromiseView(**await _row(database, PROMISE, promise_id, "promise"))


@promises.post("/{promise_id}/settle")
async def settle_promise(runtime: RuntimeDep, caller: WritesTickets, promise_id: UUID, given: Settle) -> PromiseView:
    """Say what became of an open promise. Nobody is warned of it any more."""
    now = runtime.now()
    async with runtime.database.write() as database:
        row = await _row(database, PROMISE, promise_id, "promise", lock=True)
        if row["state"] != "open":
            raise conflict(f"The promise is {row['state']} already.")
        await execute(
            database,
            """UPDATE promise SET state = :outcome, evidence = :evidence, settled_by = :who, settled_at = :now
               WHERE id = :id""",
            id=promise_id,
            outcome=given.outcome,
            evidence=given.evidence,
            who=caller.name,
            now=now,
        )
        settled = SettlePromise(promise=str(promise_id), outcome=given.outcome, evidence=given.evidence)
        request = settle_request(settled, row["ticket_id"], now, now, by=f"person:{caller.name}")
        applied = await apply(database, runtime.calendars, [request], now)
        if given.outcome == "broken":
            await announce(database, "promise.broken", "promise", promise_id, {}, now)
        view = PromiseView(**await _row(database, PROMISE, promise_id, "promise"))
    await runtime.wake(applied.wakes)
    return view


@incidents.get("")
async def list_incidents(
    runtime: RuntimeDep, _: ReadsTickets, paging: PagingDep, open: bool | None = None
) -> Page[IncidentView]:
    """Incidents, newest first."""
    filters = Filters()
    if open is not None:
        filters.conditions.append(f"n.closed_at IS {'' if open else 'NOT '}NULL")
    async with runtime.database.read() as database:
        rows, following = await list_page(database, INCIDENT, filters, paging, id="n.id")
    return Page(items=[IncidentView(**row) for row in rows], next=following)


@incidents.get("/{incident_id}")
async def read_incident(runtime: RuntimeDep, _: ReadsTickets, incident_id: UUID) -> IncidentView:
    """One incident."""
    async with runtime.database.read() as database:
        return IncidentView(**await _row(database, INCIDENT, incident_id, "incident", id="n.id"))


@incidents.post("/{incident_id}/close")
async def close_incident(
    runtime: RuntimeDep, caller: WritesTickets, incident_id: UUID, given: Annotated[Close | None, Body()] = None
) -> IncidentView:
    """Say that it is over: what it tightened is as it was, and the next message like it opens another."""
    async with runtime.database.write() as database:
        row = await _row(database, INCIDENT, incident_id, "incident", id="n.id", lock="n")
        if row["closed_at"] is not None:
            raise conflict("The incident is closed already.")
        await execute(
            database,
            "UPDATE incident SET closed_at = :now, closed_by = :who, reason = :reason WHERE id = :id",
            id=incident_id,
            now=runtime.now(),
            who=caller.name,
            reason=given.reason if given is not None else None,
        )
        await announce(database, "incident.closed", "incident", incident_id, {}, runtime.now())
        return IncidentView(**await _row(database, INCIDENT, incident_id, "incident", id="n.id"))


@alarms.get("")
async def list_alarms(
    runtime: RuntimeDep,
    _: ReadsTickets,
    paging: PagingDep,
    severity: Literal["info", "warning", "critical"] | None = None,
    ticket: UUID | None = None,
    acknowledged: bool | None = None,
) -> Page[AlarmView]:
    """Alarms, newest first."""
    filters = Filters()
    filters.add("severity = :severity", severity=severity)
    filters.add("ticket_id = :ticket", ticket=ticket)
    if acknowledged is not None:
        filters.conditions.append(f"acknowledged_at IS {'NOT ' if acknowledged else ''}NULL")
    async with runtime.database.read() as database:
        rows, following = await list_page(database, ALARM, filters, paging)
    return Page(items=[AlarmView(**row) for row in rows], next=following)


@alarms.post("/{alarm_id}/acknowledge")
async def acknowledge_alarm(runtime: RuntimeDep, caller: WritesTickets, alarm_id: UUID) -> AlarmView:
    """Say that somebody is on it. The first one stands."""
    async with runtime.database.write() as database:
        await execute(
            database,
            """UPDATE alarm SET acknowledged_at = :now, acknowledged_by = :who
               WHERE id = :id AND acknowledged_at IS NULL""",
            id=alarm_id,
            now=runtime.now(),
            who=caller.name,
        )
        return AlarmView(**await _row(database, ALARM, alarm_id, "alarm"))


async def _row(
    database: AsyncConnection, select: str, value: UUID, what: str, *, id: str = "id", lock: bool | str = False
) -> Row:
    tail = f" FOR UPDATE OF {lock}" if isinstance(lock, str) else " FOR UPDATE" if lock else ""
    row = await fetch_one(database, f"{select} WHERE {id} = :id{tail}", id=value)
    if row is None:
        raise not_found(what, value)
    return row
