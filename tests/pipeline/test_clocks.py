"""Clocks in the database: started, stopped, swept by several workers, and following their calendars."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from gateway.db.database import fetch_all
from gateway.db.tables.columns import new_id
from gateway.pipeline.drains import DUE
from gateway.pipeline.succession import follow_merge, follow_up
from gateway.policy.combine import Wish
from gateway.policy.effects import carry_out_on_ticket, orders_of
from gateway.runtime import Runtime
from gateway.sla.clock import Step, Terms
from gateway.sla.clocks import apply, disown
from gateway.sla.news import answered, status_changed
from gateway.sla.requests import Fulfil, Retarget
from gateway.sla.stored import write_version
from gateway.sla.sweep import replan_calendar, sweep_due
from gateway_schemas.decision import AddTags
from support.clocks import add_tickets, ask, clocks_of, started
from support.gateway import Gateway

NOON = datetime(2026, 3, 12, 12, 0, tzinfo=UTC)
DESK = {"base_url": "http://127.0.0.1:9", "email": "a@example.com", "api_token": "t"}
STEPS = (Step(0.75, "warning"), Step(2.0, "manager"))


def at(minutes: float) -> datetime:
    """So many minutes after noon."""
    return NOON + timedelta(minutes=minutes)


@pytest.fixture
def gateway(runtime: Runtime) -> Gateway:
    """The rows of an installation that nobody works on."""
    return Gateway(runtime)


@pytest.fixture
async def source(gateway: Gateway) -> UUID:
    """A source connection with a helpdesk."""
    helpdesk = await gateway.add_connection("helpdesk", "zendesk", DESK)
    secret = "whsec_" + "A" * 43 + "="
    return await gateway.add_connection("source", "inbound", {"signing_secrets": [secret]}, helpdesk=helpdesk)


async def tickets(gateway: Gateway, source: UUID, count: int = 1) -> list[UUID]:
    """Tickets of the source at its helpdesk."""
    helpdesk = await gateway.value("SELECT helpdesk_id FROM connection WHERE id = :id", id=source)
    return await add_tickets(gateway.runtime, source, count, NOON, helpdesk=helpdesk)


async def sweep(gateway: Gateway, now: datetime, limit: int = 500) -> int:
    """One transaction of the sweep; how many clocks it took a step of."""
    async with gateway.runtime.database.write() as connection:
        return (await sweep_due(connection, gateway.runtime.calendars, now, limit)).clocks


async def events(gateway: Gateway) -> list[tuple[str, int]]:
    """What was told, in order."""
    return [(row["kind"], row["step"]) for row in await gateway.rows("SELECT kind, step FROM clock_event ORDER BY id")]


async def fields(gateway: Gateway) -> list[dict[str, Any]]:
    """What the helpdesk is to show of the clocks, in order."""
    return [row["payload"]["fields"] for row in await gateway.rows("SELECT payload FROM push ORDER BY id")]


async def due_drains(gateway: Gateway, now: datetime) -> set[str]:
    """The drains of clocks and calendars that a tick would wake."""
    async with gateway.runtime.database.read() as connection:
        names = {row["name"] for row in await fetch_all(connection, DUE, now=now)}
    return {name for name in names if name.startswith(("clock:", "calendar:"))}


async def office(gateway: Gateway, **hours: list[list[str]]) -> UUID:
    """A calendar `office` in UTC; called again, its next version."""
    definition = {"timezone": "UTC", "hours": hours}
    row = await gateway.rows("SELECT id, version FROM calendar WHERE name = 'office'")
    id, version = (row[0]["id"], row[0]["version"]) if row else (new_id(), 0)
    if not row:
        await gateway.execute(
            """INSERT INTO calendar (id, name, version, allow_private, created_at, updated_at)
               VALUES (:id, 'office', 0, '{}', :now, :now)""",
            id=id,
            now=NOON,
        )
    async with gateway.runtime.database.write() as connection:
        await write_version(connection, id, version + 1, definition, "test", NOON)
    return id


async def test_a_clock_is_read_back_as_it_was_written(gateway: Gateway, source: UUID) -> None:
    (ticket,) = await tickets(gateway, source)
    terms = Terms(timedelta(hours=1, seconds=0.5), steps=STEPS, stops_on="solved", pauses=False)
    more = {"kind": "promise", "terms": terms, "policy": "keep", "revision": 3, "slot": "7", "label": "by Friday"}
    await ask(gateway.runtime, [started(ticket, at(0), **more)], at(1))
    await ask(
        gateway.runtime,
        [started(ticket, at(5), kind="next_response"), started(ticket, at(9), kind="next_response")],
        at(9),
    )
    promise, following = await clocks_of(gateway.runtime, ticket)
    assert (promise.terms, promise.policy, promise.revision, promise.label) == (terms, "keep", 3, "by Friday")
    assert (promise.started_at, promise.running_since, promise.calendar_version) == (at(0), at(0), 1)
    assert (following.asked, following.slot) == ([at(9)], at(5).isoformat())
    for status, minutes in (("waiting", 10), ("open", 20), ("waiting", 30)):
        await ask(gateway.runtime, status_changed(ticket, status, at(minutes), at(minutes)), at(minutes))  # type: ignore[arg-type]
    _, following = await clocks_of(gateway.runtime, ticket)
    assert (following.state, following.stretches) == ("paused", [(at(5), at(10)), (at(20), at(30))])
    assert await gateway.value("SELECT next_at FROM clock WHERE state = 'paused'") is None


async def test_workers_that_sweep_at_the_same_time_tell_of_each_step_once(gateway: Gateway, source: UUID) -> None:
    many = await tickets(gateway, source, 60)
    await ask(gateway.runtime, [started(ticket, at(0)) for ticket in many], at(0))

    async def worker() -> int:
        done = 0
        while taken := await sweep(gateway, at(61), limit=7):
            done += taken
        return done

    assert sum(await asyncio.gather(*(worker() for _ in range(4)))) == 60
    assert await events(gateway) == [("breached", 2)] * 60
    assert await gateway.value("SELECT count(DISTINCT clock_id) FROM clock_event") == 60
    assert await sweep(gateway, at(61)) == 0


async def test_a_second_worker_waits_for_nobody_and_repeats_nothing(gateway: Gateway, source: UUID) -> None:
    first, second = await tickets(gateway, source, 2)
    await ask(gateway.runtime, [started(first, at(0)), started(second, at(0))], at(0))
    async with gateway.runtime.database.write() as slow:
        assert (await sweep_due(slow, gateway.runtime.calendars, at(61), 1)).clocks == 1
        async with asyncio.timeout(5):
            assert await sweep(gateway, at(61)) == 1, "the row that is taken is skipped"
    # a worker that lost its memory of the step finds the event there already
    await gateway.execute("UPDATE clock SET step = 0, next_at = due_at, breached_at = NULL")
    assert await sweep(gateway, at(62)) == 2
    assert await events(gateway) == [("breached", 2)] * 2


async def test_after_an_outage_each_clock_tells_of_its_strongest_step_alone(gateway: Gateway, source: UUID) -> None:
    first, second = await tickets(gateway, source, 2)
    terms = Terms(timedelta(hours=1), steps=STEPS)
    await ask(gateway.runtime, [started(first, at(0), terms=terms), started(second, at(50), terms=terms)], at(50))
    await sweep(gateway, at(130))
    rows = await gateway.rows("SELECT ticket_id, kind, step, at, data FROM clock_event ORDER BY step DESC")
    assert [(row["ticket_id"], row["kind"], row["at"]) for row in rows] == [
        (first, "escalated", at(120)),
        (second, "breached", at(110)),
    ]
    assert [row["data"]["skipped"] for row in rows] == [["warning", "breach"], ["warning"]]


async def test_an_earlier_answer_that_arrives_late_voids_a_false_breach(gateway: Gateway, source: UUID) -> None:
    (ticket,) = await tickets(gateway, source)
    await ask(gateway.runtime, [started(ticket, at(0))], at(0))
    await sweep(gateway, at(60))
    applied = await ask(gateway.runtime, [answered(ticket, at(40), at(70), "interaction:x")], at(70))
    assert await events(gateway) == [("breached", 2), ("voided", 0), ("met", 0)]
    assert applied.wakes == set(), "good news wait for company"
    assert await fields(gateway) == [
        {"sla": "first_response: running", "next_due": "2026-03-12T13:00:00Z"},
        {"sla": "first_response: breached", "next_due": None},
        {"sla": "first_response: met", "next_due": None},
    ]
    assert await gateway.value("SELECT breached_at FROM clock") is None


async def test_what_happened_in_one_batch_is_what_happened_one_by_one(gateway: Gateway, source: UUID) -> None:
    together, apart = await tickets(gateway, source, 2)

    def news(ticket: UUID) -> list[Any]:
        return [
            started(ticket, at(0), kind="next_response"),
            answered(ticket, at(10), at(90), "reply:1"),
            started(ticket, at(20), kind="next_response"),
            answered(ticket, at(85), at(90), "reply:2"),
        ]

    await ask(gateway.runtime, list(reversed(news(together))), at(90))
    for one in news(apart):
        await ask(gateway.runtime, [one], at(90))

    async def found(ticket: UUID) -> list[Any]:
        clocks = await clocks_of(gateway.runtime, ticket)
        return [(one.started_at, one.stopped_at, one.stopped_by, one.state) for one in clocks]

    assert await found(together) == await found(apart)
    assert [one[3] for one in await found(apart)] == ["met", "missed"]


@pytest.mark.parametrize("on", ["answer", "effect"])
async def test_a_message_that_was_overtaken_by_its_answer_owes_nothing(gateway: Gateway, source: UUID, on: Any) -> None:
    (ticket,) = await tickets(gateway, source)
    kinds = frozenset({"next_response"}) if on == "effect" else frozenset()
    fulfilled = Fulfil(ticket, at(10), at(11), "policy:sla", on, kinds)  # type: ignore[arg-type]
    await ask(gateway.runtime, [fulfilled], at(11))
    terms = Terms(timedelta(hours=1), stops_on=on)
    asked = [started(ticket, at(minutes), kind="next_response", seen_at=at(90), terms=terms) for minutes in (0, 20)]
    await ask(gateway.runtime, asked, at(90))
    found = [(one.started_at, one.state, one.stopped_at) for one in await clocks_of(gateway.runtime, ticket)]
    assert found == [(at(0), "met", at(10)), (at(20), "running", None)]


async def test_an_answer_and_its_clock_that_are_committed_at_the_same_moment_meet(
    gateway: Gateway, source: UUID
) -> None:
    (ticket,) = await tickets(gateway, source)
    runtime = gateway.runtime
    async with runtime.database.write() as one, runtime.database.write() as other:
        await apply(one, runtime.calendars, [started(ticket, at(0), kind="next_response")], at(0))
        await apply(other, runtime.calendars, [answered(ticket, at(10), at(10), "reply:1")], at(10))
    assert [clock.state for clock in await clocks_of(runtime, ticket)] == ["running"], "neither saw the other"
    await ask(runtime, [started(ticket, at(20), kind="next_response")], at(20))
    assert await sweep(gateway, at(45)) == 1
    found = [(clock.started_at, clock.state, clock.due_at) for clock in await clocks_of(runtime, ticket)]
    assert found == [(at(0), "met", at(60)), (at(20), "running", at(80))]
    assert await events(gateway) == [("met", 0)]


async def test_two_processes_that_start_the_same_clock_start_one(gateway: Gateway, source: UUID) -> None:
    (ticket,) = await tickets(gateway, source)
    await asyncio.gather(*(ask(gateway.runtime, [started(ticket, at(0))], at(0)) for _ in range(5)))
    assert len(await clocks_of(gateway.runtime, ticket)) == 1


async def test_open_clocks_follow_their_calendar_before_any_step_is_told_of(gateway: Gateway, source: UUID) -> None:
    calendar = await office(gateway, thursday=[["09:00", "17:00"]])
    ticket, other = await tickets(gateway, source, 2)
    given = [started(one, at(0), calendar="office") for one in (ticket, other)]
    await ask(gateway.runtime, given, at(0))
    await sweep(gateway, at(60))
    assert await events(gateway) == [("breached", 2)] * 2
    assert await due_drains(gateway, at(61)) == set()
    await office(gateway, thursday=[["09:00", "12:30"], ["16:00", "17:00"]])  # 12 March 2026 is a Thursday
    assert await due_drains(gateway, at(61)) == {f"calendar:{calendar}"}
    async with gateway.runtime.database.write() as connection:
        assert (await replan_calendar(connection, gateway.runtime.calendars, calendar, at(61), 500)).clocks == 2
    assert await due_drains(gateway, at(61)) == set()
    rows = await gateway.rows("SELECT due_at, next_at, calendar_version, breached_at FROM clock")
    assert {tuple(row.values()) for row in rows} == {(at(270), at(255), 2, None)}
    assert (await events(gateway))[2:] == [("voided", 0)] * 2
    # one that was due by hours that are over is planned anew by the sweep itself
    await gateway.execute("UPDATE clock SET next_at = :at WHERE ticket_id = :id", at=at(62), id=ticket)
    await office(gateway, thursday=[["09:00", "12:05"]])
    assert await sweep(gateway, at(62)) == 1
    assert await gateway.value("SELECT due_at FROM clock WHERE ticket_id = :id", id=ticket) > at(5 * 24 * 60)
    assert len(await events(gateway)) == 4


async def test_a_calendar_that_is_gone_gives_way_to_all_time_and_it_is_said(gateway: Gateway, source: UUID) -> None:
    (ticket,) = await tickets(gateway, source)
    await ask(
        gateway.runtime, [started(ticket, datetime(2100, 1, 1, tzinfo=UTC), calendar="gone", seen_at=at(0))], at(0)
    )
    (clock,) = await clocks_of(gateway.runtime, ticket)
    assert (clock.due_at, clock.started_at) == (at(60), at(0))
    assert "no calendar gone" in (clock.remark or "")


async def test_another_target_measures_a_running_clock_from_its_start(gateway: Gateway, source: UUID) -> None:
    (ticket,) = await tickets(gateway, source)
    await ask(gateway.runtime, [started(ticket, at(0), 240, policy="sla")], at(0))
    await ask(gateway.runtime, [started(ticket, at(30), 60, policy="sla")], at(30))
    assert [one.due_at for one in await clocks_of(gateway.runtime, ticket)] == [at(60)]
    terms = Terms(timedelta(minutes=20))
    await ask(gateway.runtime, [Retarget(ticket, "first_response", at(31), at(31), terms, policy="sla")], at(31))
    assert [one.due_at for one in await clocks_of(gateway.runtime, ticket)] == [at(20)]
    await sweep(gateway, at(31))
    assert await events(gateway) == [("breached", 2)]


@pytest.mark.parametrize("side", ["source", "helpdesk"])
async def test_where_the_helpdesk_owns_the_clocks_no_second_one_runs(gateway: Gateway, source: UUID, side: str) -> None:
    helpdesk = await gateway.value("SELECT helpdesk_id FROM connection WHERE id = :id", id=source)
    owner = source if side == "source" else helpdesk
    ticket, other = await tickets(gateway, source, 2)
    running = [started(ticket, at(0)), started(ticket, at(0), kind="acknowledged"), started(other, at(0))]
    await ask(gateway.runtime, running, at(0))
    await gateway.execute("UPDATE connection SET sla_owner = 'helpdesk' WHERE id = :id", id=owner)
    applied = await ask(gateway.runtime, [started(other, at(1), kind="resolution")], at(1))
    assert [one.reason for one in applied.refused] == ["sla_owner: helpdesk"]
    # what was started at the very moment of the change is ended by the sweep
    assert await sweep(gateway, at(60)) == 3
    assert await events(gateway) == [("breached", 2)]
    assert {(one.kind, one.state) for one in await clocks_of(gateway.runtime, ticket)} == {
        ("first_response", "cancelled"),
        ("acknowledged", "running"),
    }
    async with gateway.runtime.database.write() as connection:
        await disown(connection, owner, "none", at(61))
    assert await gateway.value("SELECT count(*) FROM clock WHERE state <> 'cancelled'") == 0


async def test_clocks_follow_their_matter_to_the_ticket_that_goes_on_with_it(gateway: Gateway, source: UUID) -> None:
    merged, into, closed = await tickets(gateway, source, 3)
    await gateway.execute("UPDATE ticket SET external_id = '8' WHERE id = :id", id=into)
    terms = Terms(due=at(600), stops_on="effect")
    promise = started(closed, at(0), kind="promise", terms=terms, slot="1")
    given = [started(merged, at(0)), started(merged, at(0), kind="resolution"), started(into, at(5)), promise]
    await ask(gateway.runtime, given, at(5))
    async with gateway.runtime.database.write() as connection:
        await follow_merge(connection, merged, "8", at(6))
        fresh = await follow_up(connection, closed, "closed", at(6))
    found = await clocks_of(gateway.runtime, into)
    assert {(one.kind, one.state, one.started_at) for one in found} == {
        ("first_response", "running", at(5)),
        ("resolution", "running", at(0)),
    }
    assert [one.state for one in await clocks_of(gateway.runtime, merged)] == ["cancelled"]
    assert [one.label for one in await clocks_of(gateway.runtime, fresh)] == [""]
    # what names the merged ticket means the one that goes on
    await ask(gateway.runtime, [answered(merged, at(10), at(10), "reply:1")], at(10))
    (response,) = [one for one in await clocks_of(gateway.runtime, into) if one.kind == "first_response"]
    assert response.state == "met"


async def test_the_sweep_and_who_decides_on_its_tickets_never_wait_for_each_other(
    gateway: Gateway, source: UUID
) -> None:
    (ticket,) = await tickets(gateway, source)
    await ask(gateway.runtime, [started(ticket, at(0))], at(0))
    wish = Wish("sla", "response_sla", 1, AddTags(tags=("late",)))
    orders = orders_of("c:1", [wish], at=at(50), seen_at=at(50), ticket_id=ticket, brand_id=None)
    async with gateway.runtime.database.write() as deciding:
        await carry_out_on_ticket(deciding, gateway.runtime.calendars, ticket, "c:1", orders, at(50))
        async with asyncio.timeout(5):  # the ticket's row is held, and its clocks will be wanted
            assert await sweep(gateway, at(50)) == 1
        await apply(deciding, gateway.runtime.calendars, [answered(ticket, at(50), at(50), "reply:1")], at(50))
    assert await events(gateway) == [("warned", 1), ("met", 0)]


async def test_the_tick_wakes_the_sweep_when_a_step_is_due_and_not_before(gateway: Gateway, source: UUID) -> None:
    ticket, waiting = await tickets(gateway, source, 2)
    await ask(gateway.runtime, [started(ticket, at(0)), started(waiting, at(0))], at(0))
    await ask(gateway.runtime, status_changed(waiting, "waiting", at(1), at(1)), at(1))
    assert "clock:sweep" not in await due_drains(gateway, at(44))
    assert "clock:sweep" in await due_drains(gateway, at(45))
    await sweep(gateway, at(45))
    assert "clock:sweep" not in await due_drains(gateway, at(46))
