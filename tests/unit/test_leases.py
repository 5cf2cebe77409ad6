"""Exclusion is ours: one holder at a time, an overtaken one writes nothing, and no request for a look is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.db.database import Database, execute, fetch_all, fetch_one
from gateway.engine.leases import Held, LeaseLost, Leases, make_owner

NAME = "inbox:0"


@pytest.fixture
async def engines(database_url: str) -> AsyncIterator[tuple[Database, Database]]:
    """Two engines on one database, as two processes have them."""
    pair = Database(database_url), Database(database_url)
    try:
        yield pair
    finally:
        for one in pair:
            await one.close()


def holders(engines: tuple[Database, Database], seconds: float = 30.0) -> tuple[Leases, Leases]:
    """Two processes that want leases."""
    return Leases(engines[0], make_owner(), seconds), Leases(engines[1], make_owner(), seconds)


async def take(leases: Leases, name: str = NAME) -> Held:
    """The lease, which must be free."""
    held = await leases.take(name)
    assert held is not None
    return held


async def row(database: Database, name: str = NAME) -> Any:
    """The lease's row, with what is left of it by the database's clock."""
    async with database.read() as connection:
        return await fetch_one(
            connection,
            "SELECT *, extract(epoch FROM until - clock_timestamp())::float8 AS left FROM lease WHERE name = :name",
            name=name,
        )


async def may_write(database: Database, held: Held) -> bool:
    """Whether the holder's check lets a transaction through."""
    async with database.write() as connection:
        try:
            await held.check(connection)
        except LeaseLost:
            return False
    return True


async def test_one_holder_at_a_time_under_contention_and_every_holder_has_a_new_epoch(
    engines: tuple[Database, Database],
) -> None:
    pair = holders(engines)
    inside = 0
    epochs: list[int] = []

    async def compete(leases: Leases) -> None:
        nonlocal inside
        while len(epochs) < 40:
            held = await leases.take(NAME)
            if held is None:
                await asyncio.sleep(0.001)
                continue
            inside += 1
            assert inside == 1
            epochs.append(held.epoch)
            await asyncio.sleep(0.001)
            assert inside == 1
            inside -= 1
            await leases.give_back(held)

    await asyncio.gather(*(compete(pair[number % 2]) for number in range(16)))
    assert epochs == list(range(1, len(epochs) + 1))


async def test_of_many_who_ask_at_once_for_a_lease_nobody_ever_had_one_gets_it(
    engines: tuple[Database, Database],
) -> None:
    pair = holders(engines)
    for number in range(5):
        name = f"push:{number}"
        taken = await asyncio.gather(*(pair[one % 2].take(name) for one in range(10)))
        assert [held is None for held in taken].count(False) == 1


async def test_a_lease_that_ended_goes_to_the_next_and_the_stalled_holder_writes_nothing(
    engines: tuple[Database, Database],
) -> None:
    slow, quick = holders(engines, 0.15)
    stalled = await take(slow)
    assert await quick.take(NAME) is None
    await asyncio.sleep(0.2)
    assert not stalled.fresh()
    # nobody else wanted it: what was done under it still counts
    assert await may_write(engines[0], stalled)

    taker = await take(quick)
    assert taker.epoch == stalled.epoch + 1
    assert not await may_write(engines[0], stalled)
    with pytest.raises(LeaseLost):
        await stalled.check_fresh(engines[0])
    with pytest.raises(LeaseLost):
        await slow.prolong(stalled)
    assert await slow.give_back(stalled) is False
    assert await may_write(engines[1], taker)
    assert (await row(engines[0]))["owner"] == quick.owner


async def test_a_lease_cannot_change_hands_between_a_holders_check_and_its_commit(
    engines: tuple[Database, Database],
) -> None:
    slow, quick = holders(engines, 0.1)
    held = await take(slow)
    async with engines[0].write() as connection:
        await held.check(connection)
        await asyncio.sleep(0.15)
        taking = asyncio.create_task(quick.take(NAME))
        await asyncio.sleep(0.2)
        assert not taking.done()
        await execute(connection, "INSERT INTO fact (name, value) VALUES ('written', '{}')")
    assert await taking is not None
    assert not await may_write(engines[0], held)


async def test_what_an_overtaken_holder_was_about_to_write_is_rolled_back(engines: tuple[Database, Database]) -> None:
    slow, quick = holders(engines, 0.1)
    held = await take(slow)
    await asyncio.sleep(0.15)
    await take(quick)

    async def write() -> None:
        async with engines[0].write() as connection:
            await execute(connection, "INSERT INTO fact (name, value) VALUES ('late', '{}')")
            await held.check(connection)

    with pytest.raises(LeaseLost):
        await write()
    async with engines[1].read() as connection:
        assert await fetch_all(connection, "SELECT * FROM fact") == []


async def test_a_lease_taken_again_by_the_same_process_is_another_lease(engines: tuple[Database, Database]) -> None:
    leases, _ = holders(engines)
    first = await take(leases)
    await leases.give_back(first)
    second = await take(leases)
    assert second.epoch == first.epoch + 1
    assert not await may_write(engines[0], first)
    assert await may_write(engines[0], second)


async def test_a_process_that_holds_a_lease_does_not_get_it_twice(engines: tuple[Database, Database]) -> None:
    leases, _ = holders(engines)
    await take(leases)
    assert await leases.take(NAME) is None


async def test_the_holders_own_count_never_outlasts_the_row(engines: tuple[Database, Database]) -> None:
    leases, other = holders(engines, 2.0)

    async def blocked(seconds: float, call: Any) -> Any:
        """Make the call wait in the database, as a slow network or a busy disk would."""
        async with engines[1].write() as connection:
            await fetch_one(connection, "SELECT 1 FROM lease WHERE name = :name FOR UPDATE", name=NAME)
            waiting = asyncio.create_task(call)
            await asyncio.sleep(seconds)
        return await waiting

    async def left_of_row(held: Held) -> None:
        mine = held.until - time.monotonic()
        assert mine <= (await row(engines[0]))["left"] + 0.02  # the look itself comes later, and two clocks are read

    held = await take(leases)
    await left_of_row(held)
    await blocked(0.4, leases.prolong(held))
    assert held.until - time.monotonic() < 1.65
    await leases.give_back(held)
    await other.give_back(await take(other))
    held = await blocked(0.4, leases.take(NAME))
    assert held.until - time.monotonic() < 1.65


async def test_prolonging_begins_the_span_anew(engines: tuple[Database, Database]) -> None:
    leases, other = holders(engines, 0.4)
    held = await take(leases)
    for _ in range(4):
        await asyncio.sleep(0.2)
        await leases.prolong(held)
        assert held.fresh(0.2)
    assert await other.take(NAME) is None
    assert (await row(engines[0]))["epoch"] == held.epoch


async def test_slow_work_keeps_its_lease_and_a_stalled_process_loses_it(engines: tuple[Database, Database]) -> None:
    leases, other = holders(engines, 0.3)
    held = await take(leases)
    async with leases.kept(held):
        for _ in range(8):
            await asyncio.sleep(0.1)
            assert await other.take(NAME) is None
    await asyncio.sleep(0.35)
    async with leases.kept(await take(other)):  # held by another now: keeping it says nothing
        async with leases.kept(held):
            await asyncio.sleep(0.15)
        assert not await may_write(engines[0], held)


async def test_keeping_a_lease_survives_what_the_work_raises(engines: tuple[Database, Database]) -> None:
    leases, other = holders(engines, 0.3)
    held = await take(leases)
    with pytest.raises(ZeroDivisionError):
        async with leases.kept(held):
            raise ZeroDivisionError
    await leases.give_back(held)
    await take(other)


async def test_who_was_refused_makes_the_holder_look_again(engines: tuple[Database, Database]) -> None:
    leases, other = holders(engines)
    held = await take(leases)
    assert await leases.give_back(held) is False
    held = await take(leases)
    assert await other.take(NAME) is None
    assert await leases.give_back(held) is True
    held = await take(leases)
    assert await leases.give_back(held) is False, "one request is answered by one look"


async def test_a_request_that_meets_the_giving_back_is_not_lost(engines: tuple[Database, Database]) -> None:
    """The two meet on the row: whichever comes first, the taker gets the lease or the holder hears of it."""
    leases, other = holders(engines)
    for _ in range(60):
        held = await take(leases)
        asked, heard = await asyncio.gather(other.take(NAME), leases.give_back(held))
        assert (asked is not None) != heard
        if asked is not None:
            await other.give_back(asked)


async def test_a_request_that_waited_for_the_holders_row_is_not_lost(engines: tuple[Database, Database]) -> None:
    leases, other = holders(engines)
    held = await take(leases)
    async with engines[0].write() as connection:
        await held.check(connection)
        asking = asyncio.create_task(other.take(NAME))
        await asyncio.sleep(0.1)
        returning = asyncio.create_task(leases.give_back(held))
        await asyncio.sleep(0.1)
    asked, heard = await asking, await returning
    assert (asked is not None) != heard


async def test_no_work_is_left_lying_when_drains_and_their_wake_ups_meet_at_any_moment(
    engines: tuple[Database, Database],
) -> None:
    """Work is committed, then a drain asks for the lease: exactly as drains do it, with no tick to repair anything."""
    pair = holders(engines)
    async with engines[0].write() as connection:
        await execute(connection, "CREATE TABLE work (id serial PRIMARY KEY, done_by bigint)")

    async def drain(database: Database, leases: Leases) -> None:
        again = True
        while again:
            held = await leases.take(NAME)
            if held is None:
                return
            async with database.write() as connection:
                await held.check(connection)
                await execute(connection, "UPDATE work SET done_by = :epoch WHERE done_by IS NULL", epoch=held.epoch)
            again = await leases.give_back(held)

    async def produce(number: int) -> None:
        database, leases = engines[number % 2], pair[number % 2]
        for _ in range(12):
            async with database.write() as connection:
                await execute(connection, "INSERT INTO work (done_by) VALUES (NULL)")
            await drain(database, leases)

    await asyncio.gather(*(produce(number) for number in range(8)))
    async with engines[0].read() as connection:
        left = await fetch_one(connection, "SELECT count(*) AS n FROM work WHERE done_by IS NULL")
    assert left is not None
    assert left["n"] == 0


async def test_burying_a_dead_process_frees_what_it_held_and_nothing_else(engines: tuple[Database, Database]) -> None:
    dead, living = holders(engines)
    first, second = await take(dead, "push:1"), await take(dead, "push:2")
    kept = await take(living, "push:3")
    await living.bury(dead.owner)
    assert (await take(living, "push:1")).epoch == first.epoch + 1
    assert (await take(living, "push:2")).epoch == second.epoch + 1
    assert await dead.take("push:3") is None
    assert await may_write(engines[1], kept)
    assert not await may_write(engines[0], first)


async def test_a_process_that_dies_between_being_asked_and_looking_again_loses_no_work(
    engines: tuple[Database, Database],
) -> None:
    dying, other = holders(engines, 0.1)
    await take(dying)
    assert await other.take(NAME) is None  # the word goes to a holder that dies
    await asyncio.sleep(0.15)
    held = await take(other)  # the tick
    assert await other.give_back(held) is False


def test_no_two_processes_share_a_name() -> None:
    assert len({make_owner() for _ in range(100)}) > 90


async def test_a_connection_lost_meanwhile_does_not_cost_the_lease(engines: tuple[Database, Database]) -> None:
    leases, other = holders(engines, 0.6)
    held = await take(leases)
    async with leases.kept(held):
        async with engines[1].read() as connection:
            await execute(
                connection,
                """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE datname = current_database() AND pid <> pg_backend_pid()""",
            )
        await asyncio.sleep(1.0)
        assert await other.take(NAME) is None
        assert await may_write(engines[0], held)
