"""Turns of crowds: how much is taken at once, and for how long the others wait."""

from __future__ import annotations

import asyncio

import pytest

from gateway.pipeline.crowds import ALONE, BEGINS_WITH, FEWEST, GIVE_WAY, IN_COMPANY, Turns


class Clock:
    """A clock that goes on when told."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


class Worker:
    """Drains so many messages a second."""

    def __init__(self, most: int = 500, pace: float = 100.0) -> None:
        self.clock = Clock()
        self.turns = Turns(most, self.clock)
        self.pace = pace
        self.taken: list[int] = []
        self.more = True

    async def drain(self, size: int) -> bool:
        self.taken.append(size)
        self.clock.at += size / self.pace
        return self.more

    async def run(self, times: int) -> list[int]:
        for _ in range(times):
            await self.turns.take(self.drain)
        return self.taken


@pytest.mark.parametrize("pace", [40.0, 400.0, 4_000.0])
async def test_a_turn_comes_to_last_as_long_as_it_may_whatever_the_pace(pace: float) -> None:
    worker = Worker(most=10_000, pace=pace)
    taken = await worker.run(12)
    assert taken[0] == int(BEGINS_WITH * ALONE)
    assert taken[-1] / pace == pytest.approx(ALONE, rel=0.1)


async def test_in_company_turns_are_shorter_and_for_a_while_only() -> None:
    worker = Worker()
    await worker.run(10)
    worker.turns.others()
    [*_, in_company] = await worker.run(1)
    assert in_company / worker.pace == pytest.approx(IN_COMPANY, rel=0.1)
    worker.clock.at += 10
    [*_, alone] = await worker.run(1)
    assert alone / worker.pace == pytest.approx(ALONE, rel=0.1)


async def test_a_turn_never_takes_more_than_a_batch_or_next_to_nothing() -> None:
    fast, slow = Worker(most=500, pace=1e6), Worker(pace=0.1)
    assert max(await fast.run(8)) == 500
    assert min(await slow.run(8)) == FEWEST


async def test_what_was_not_there_says_nothing_of_the_pace() -> None:
    worker = Worker()
    worker.more, worker.pace = False, 1e9
    assert await worker.run(5) == [int(BEGINS_WITH * ALONE)] * 5


async def test_the_next_turn_waits_until_the_last_is_threaded_but_not_for_ever() -> None:
    worker = Worker()

    async def thread() -> None:
        with worker.turns.threading():
            await asyncio.sleep(0.1)
            order.append("threaded")

    async def drain(_: int) -> bool:
        order.append("read")
        beside.append(asyncio.create_task(thread()))
        return True

    order: list[str] = []
    beside: list[asyncio.Task[None]] = []
    await worker.turns.take(drain)
    await worker.turns.take(drain)
    assert order == ["read", "threaded"] * 2
    with worker.turns.threading():
        async with asyncio.timeout(GIVE_WAY + 5):
            await worker.turns.take(worker.drain)
    await asyncio.gather(*beside)


async def test_a_drain_that_fails_gives_its_place_back() -> None:
    worker = Worker()

    async def fails(_: int) -> bool:
        raise LookupError

    for _ in range(3):
        with pytest.raises(LookupError):
            await worker.turns.take(fails)
    assert await worker.turns.take(worker.drain)
