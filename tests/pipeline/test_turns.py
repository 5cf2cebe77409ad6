"""Whose turn it is at a helpdesk with a backlog: an order is followed for a moment, what is ready is looked up."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from bench.filling import clone
from gateway.pipeline import turns as module
from gateway.pipeline.turns import AHEAD, Turns
from pipeline.conftest import Line, LineFactory

BACKLOG = AHEAD + 60


async def piled_up(line: Line) -> None:
    """As many tickets that the helpdesk has not heard of, one change each."""
    line.x.add_user("mira")
    line.x.post("mira", "@AcmeSupport my parcel is late")
    await line.settle()
    await line.pause_helpdesk()
    url = line.gateway.runtime.database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    await clone(url, BACKLOG, customers=10, waiting=True)


async def next_ones(line: Line, turns: Turns, limit: int) -> list[UUID]:
    return [row["ticket_id"] for row in await rows(line, turns, limit)]


async def rows(line: Line, turns: Turns, limit: int) -> list[Any]:
    async with line.gateway.runtime.database.write() as connection:
        return await turns.next(connection, line.gateway.runtime.now(), limit)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST", 1e9)
    monkeypatch.setattr(module, "FOLLOWED", 1e9)


async def test_an_order_that_is_followed_is_the_one_that_looking_at_everything_gives(make_line: LineFactory) -> None:
    async with make_line() as line:
        await piled_up(line)
        turns = Turns(line.helpdesk)
        for _ in range(BACKLOG // 7 + 1):
            followed = await next_ones(line, turns, 7)
            assert followed == await next_ones(line, Turns(line.helpdesk), 7)
            turns.took(followed)
            await line.gateway.execute("UPDATE push SET state = 'done' WHERE ticket_id = ANY(:ids)", ids=followed)
        assert await next_ones(line, turns, 7) == []


async def test_what_became_of_a_ticket_since_the_order_was_found_counts(make_line: LineFactory) -> None:
    async with make_line() as line:
        await piled_up(line)
        turns = Turns(line.helpdesk)
        first, second, third, fourth, fifth, *_ = await next_ones(line, turns, 8)
        for change in (
            "UPDATE push SET state = 'in_flight' WHERE ticket_id = :id",
            "UPDATE push SET due_at = now() + interval '1 hour' WHERE ticket_id = :id",
            "UPDATE push SET helpdesk_id = (SELECT id FROM connection WHERE role = 'source') WHERE ticket_id = :id",
        ):
            [found, *_] = await next_ones(line, turns, 8)
            await line.gateway.execute(change, id=found)
            assert found not in await next_ones(line, turns, 8)
        await line.gateway.execute("UPDATE ticket SET moved_to = :other WHERE id = :id", id=fourth, other=fifth)
        assert {row["ticket_id"]: row["moved"] for row in await rows(line, turns, 2)} == {fourth: True, fifth: False}
        assert not {first, second, third} & set(await next_ones(line, turns, BACKLOG))


async def test_a_change_in_the_order_waits_until_the_order_is_found_anew(
    make_line: LineFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_line() as line:
        await piled_up(line)
        turns = Turns(line.helpdesk)
        order = await next_ones(line, turns, AHEAD)
        urgent = (await next_ones(line, Turns(line.helpdesk), BACKLOG))[-1]
        await line.gateway.execute("UPDATE push SET lane = 0 WHERE ticket_id = :id", id=urgent)
        assert await next_ones(line, turns, 5) == order[:5], "the order is followed"
        turns.took(order)
        assert (await next_ones(line, turns, 5))[0] != urgent, "five more were in the order"
        turns.took(order[: AHEAD + 3])
        assert (await next_ones(line, turns, AHEAD))[0] == urgent, "an order that is too short is found anew"

        monkeypatch.setattr(module, "LONGEST", 0.0)
        turns = Turns(line.helpdesk)
        assert (await next_ones(line, turns, 5))[0] == urgent
        await line.gateway.execute("UPDATE push SET lane = 2 WHERE ticket_id = :id", id=urgent)
        assert urgent not in await next_ones(line, turns, 5)


@pytest.mark.parametrize(
    ("change", "first"),
    [
        ("source_id = (SELECT id FROM connection WHERE role = 'helpdesk')", True),
        ("lane = 0", True),
        ("lane = lane", False),
        ("lane = lane + 1, source_id = (SELECT id FROM connection WHERE role = 'helpdesk')", False),
    ],
    ids=["another-source", "for-an-agent", "of-the-flood", "of-less-haste"],
)
async def test_what_comes_in_meanwhile_waits_only_behind_what_it_would_wait_for_anyway(
    make_line: LineFactory, change: str, first: bool
) -> None:
    async with make_line() as line:
        await piled_up(line)
        turns = Turns(line.helpdesk)
        order = await next_ones(line, turns, 5)
        newest = (await next_ones(line, Turns(line.helpdesk), BACKLOG))[-1]
        await line.gateway.execute(
            f"UPDATE push SET id = id + 1000000, {change} WHERE ticket_id = :id AND state = 'pending'", id=newest
        )
        assert await next_ones(line, turns, 5) == ([newest, *order[:4]] if first else order)
        turns.took([newest, *order[:2]] if first else order[:2])
        assert (await next_ones(line, turns, 3))[0] == (newest if first else order[2])
        await line.gateway.execute("UPDATE push SET state = 'in_flight' WHERE ticket_id = :id", id=newest)
        assert (await next_ones(line, turns, 3))[0] == order[2]


OTHER = "source_id = (SELECT id FROM connection WHERE role = 'helpdesk')"
UNDER_WAY = "UPDATE push SET state = 'in_flight' WHERE ticket_id = :id AND state = 'pending'"


@pytest.mark.parametrize("other", [OTHER, "thread_id = gen_random_uuid()"], ids=["source", "thread"])
async def test_one_slot_at_a_time_the_others_have_their_turn(make_line: LineFactory, other: str) -> None:
    """What is under way counts as served; else each slot that comes free would go to the flood's oldest."""
    async with make_line() as line:
        await piled_up(line)
        one = "SELECT thread_id FROM push WHERE state = 'pending' LIMIT 1"
        await line.gateway.execute(f"UPDATE push SET thread_id = ({one}) WHERE state = 'pending'")
        newest = (await next_ones(line, Turns(line.helpdesk), BACKLOG))[-1]
        await line.gateway.execute(f"UPDATE push SET {other} WHERE ticket_id = :id AND state = 'pending'", id=newest)
        served = []
        for _ in range(3):
            [id] = await next_ones(line, Turns(line.helpdesk), 1)
            served.append(id)
            await line.gateway.execute(UNDER_WAY, id=id)
        assert served[1] == newest


async def test_a_burst_of_another_source_takes_turns_with_the_order(make_line: LineFactory) -> None:
    async with make_line() as line:
        await piled_up(line)
        turns = Turns(line.helpdesk)
        order = await next_ones(line, turns, 5)
        burst = (await next_ones(line, Turns(line.helpdesk), BACKLOG))[-10:]
        await line.gateway.execute(
            f"UPDATE push SET id = id + 1000000, {OTHER} WHERE ticket_id = ANY(:ids) AND state = 'pending'", ids=burst
        )
        assert await next_ones(line, turns, 5) == [burst[0], *order[:4]]
        turns.took([burst[0], order[0]])
        for id in (burst[0], order[0]):
            await line.gateway.execute(UNDER_WAY, id=id)
        assert not set(await next_ones(line, turns, 4)) & set(burst), "one of it is under way"
        assert set(await next_ones(line, Turns(line.helpdesk), 4)) & set(burst), "an order found anew has its turn"
