"""The conductor: order, dependence, and a clock that does not run away from what is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.demo.conductor import Conductor, NotSeen, Step
from gateway_schemas.time import SharedTime

START = datetime(2026, 3, 6, 18, 0, tzinfo=UTC)


def minutes(number: float) -> datetime:
    return START + timedelta(minutes=number)


async def always() -> bool:
    return True


@pytest.fixture
def clock(tmp_path: Path) -> SharedTime:
    return SharedTime.create(tmp_path / "time", at=START, speed=0.0)


def doing(log: list[str], name: str, gate: asyncio.Event | None = None) -> Callable[[], Awaitable[None]]:
    async def do() -> None:
        log.append(name)
        if gate is not None:
            await gate.wait()

    return do


async def test_the_clock_goes_from_step_to_step(clock: SharedTime) -> None:
    seen: list[datetime] = []

    async def look() -> None:
        seen.append(clock.now())

    await Conductor(clock, always).play([Step(minutes(90), look), Step(minutes(5), look)])
    assert seen == [minutes(5), minutes(90)] or seen == [minutes(90), minutes(90)]
    assert clock.now() == minutes(90)


async def test_a_step_waits_for_those_before_it_and_others_do_not(clock: SharedTime) -> None:
    log: list[str] = []
    gate = asyncio.Event()
    first = Step(minutes(0), doing(log, "first", gate))
    second = Step(minutes(1), doing(log, "second"), (first,))

    async def open_the_gate() -> None:
        log.append("third")
        gate.set()

    await asyncio.wait_for(Conductor(clock, always).play([first, second, Step(minutes(2), open_the_gate)]), 5)
    assert log == ["first", "third", "second"]


async def test_the_clock_stays_near_the_oldest_unfinished_step(clock: SharedTime) -> None:
    log: list[str] = []
    gate = asyncio.Event()
    near, far = Step(minutes(50), doing(log, "near")), Step(minutes(70), doing(log, "far"))
    slow = Step(minutes(0), doing(log, "slow", gate))
    playing = asyncio.create_task(Conductor(clock, always, slack=timedelta(hours=1)).play([slow, near, far]))
    while not near.done:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.02)
    assert (log, clock.now()) == (["slow", "near"], minutes(50))
    gate.set()
    await asyncio.wait_for(playing, 5)
    assert clock.now() == minutes(70)


async def test_the_clock_does_not_pass_what_a_step_must_come_before(clock: SharedTime) -> None:
    log: list[str] = []
    gate = asyncio.Event()
    answer = Step(minutes(0), doing(log, "answer", gate), before=minutes(10))
    other = Step(minutes(11), doing(log, "other"))
    playing = asyncio.create_task(Conductor(clock, always).play([answer, other]))
    await asyncio.sleep(0.02)
    assert (log, clock.now()) == (["answer"], minutes(0))
    gate.set()
    await asyncio.wait_for(playing, 5)


async def test_no_jump_without_leave(clock: SharedTime) -> None:
    asked: list[datetime] = []

    async def leave() -> bool:
        asked.append(clock.now())
        return len(asked) == 3

    log: list[str] = []
    steps = [Step(minutes(0.25), doing(log, "soon")), Step(minutes(60), doing(log, "late"))]
    await asyncio.wait_for(Conductor(clock, leave).play(steps), 5)
    assert asked == [minutes(0.25)] * 3, "half a minute passes at once without asking"
    assert log == ["soon", "late"]


async def test_what_follows_a_failure_is_not_played(clock: SharedTime) -> None:
    log: list[str] = []

    async def fail() -> None:
        raise NotSeen("nothing came")

    first = Step(minutes(0), fail)
    second = Step(minutes(1), doing(log, "second"), (first,))
    other = Step(minutes(2), doing(log, "other"))
    await Conductor(clock, always).play([first, second, other])
    assert log == ["other"]
    assert (first.failure, second.failure, other.failure) == ("nothing came", "not played: nothing came", None)


async def test_an_error_of_ours_ends_the_play_and_everything_in_it(clock: SharedTime) -> None:
    gate = asyncio.Event()
    ended: list[str] = []

    async def wait() -> None:
        try:
            await gate.wait()
        finally:
            ended.append("waiting")

    async def break_down() -> None:
        raise KeyError("ours")

    with pytest.raises(KeyError):
        await Conductor(clock, always).play([Step(minutes(0), wait), Step(minutes(0), break_down)])
    assert ended == ["waiting"]


async def test_a_pace_spreads_the_steps_over_real_time(clock: SharedTime) -> None:
    log: list[str] = []
    loop = asyncio.get_running_loop()
    began = loop.time()
    steps = [Step(minutes(0), doing(log, "a")), Step(minutes(10), doing(log, "b"))]
    await Conductor(clock, always, pace=6000.0).play(steps)
    assert loop.time() - began >= 0.1
