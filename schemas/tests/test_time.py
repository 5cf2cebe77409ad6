"""One source of time for many processes: they agree, it never runs back, and waiting follows its jumps."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway_schemas.time import SharedTime, SystemTime, open_time

FRIDAY = datetime(2020, 3, 13, 18, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def near(one: datetime, other: datetime, seconds: float = 0.5) -> bool:
    """Whether two moments are about the same."""
    return abs((one - other).total_seconds()) < seconds


def test_without_a_file_it_is_the_machines_clock() -> None:
    source = open_time(None)
    assert isinstance(source, SystemTime)
    assert near(source.now(), datetime.now(UTC))
    assert source.now().tzinfo is UTC


def test_a_file_that_is_not_there_is_not_made_up(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_time(str(tmp_path / "none"))


def test_it_begins_where_it_was_told_and_runs_at_its_speed(tmp_path: Path) -> None:
    before = time.monotonic()
    source = SharedTime.create(tmp_path / "time", at=FRIDAY, speed=600)
    after = time.monotonic()
    time.sleep(0.2)
    least = time.monotonic() - after
    passed = (source.now() - FRIDAY).total_seconds()
    most = time.monotonic() - before
    assert least * 600 - 1 <= passed <= most * 600 + 1
    assert source.speed == 600
    assert source.now().tzinfo is UTC


def test_standing_still_it_moves_by_jumps_alone(tmp_path: Path) -> None:
    source = SharedTime.create(tmp_path / "time", at=FRIDAY, speed=0)
    time.sleep(0.05)
    assert source.now() == FRIDAY
    source.jump(FRIDAY + MINUTE)
    assert source.now() == FRIDAY + MINUTE


def test_going_back_is_ignored(tmp_path: Path) -> None:
    source = SharedTime.create(tmp_path / "time", at=FRIDAY, speed=0)
    source.jump(FRIDAY - MINUTE)
    source.jump(FRIDAY)
    assert source.now() == FRIDAY
    with pytest.raises(ValueError, match="0 or more"):
        source.set_speed(-1)
    with pytest.raises(ValueError, match="0 or more"):
        source.set_speed(float("nan"))
    assert (source.now(), source.speed) == (FRIDAY, 0)


def test_changing_the_speed_does_not_move_the_time(tmp_path: Path) -> None:
    source = SharedTime.create(tmp_path / "time", at=FRIDAY, speed=3600)
    for _ in range(200):
        before = source.now()
        source.set_speed(0)
        stopped = source.now()
        source.set_speed(3600)
        assert before <= stopped <= source.now()
    assert near(source.now(), FRIDAY, 3600)


def test_all_who_opened_the_file_agree(tmp_path: Path) -> None:
    source = SharedTime.create(tmp_path / "time", at=FRIDAY, speed=0)
    others = [open_time(str(tmp_path / "time")) for _ in range(3)]
    for minute in range(1, 300):  # past the first byte of the sequence
        source.jump(FRIDAY + minute * MINUTE)
        assert {one.now() for one in others} == {FRIDAY + minute * MINUTE}


def _follow(path: str, ready: Any, go: Any, answers: Any) -> None:
    source = open_time(path)
    ready.set()
    go.wait()
    answers.put(source.now())


def _watch(path: str, ready: Any, over: Any, answers: Any) -> None:
    source = SharedTime(path)
    read, wrong, last = 0, [], source.now()
    ready.set()
    while not over.is_set():
        for _ in range(1000):
            now = source.now()
            read += 1
            if not last <= now <= FRIDAY + timedelta(days=3650) or source.speed != 1.0:
                wrong.append((str(last), str(now)))
            last = now
    answers.put((read, wrong[:3]))


def test_another_process_follows_a_jump_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    source = SharedTime.create(tmp_path / "time", at=FRIDAY, speed=0)
    ready, go, answers = context.Event(), context.Event(), context.Queue()
    process = context.Process(target=_follow, args=(str(source.path), ready, go, answers))
    process.start()
    assert ready.wait(30)
    source.jump(FRIDAY + MINUTE)
    go.set()
    assert answers.get(timeout=30) == FRIDAY + MINUTE
    process.join()


def test_a_reader_never_sees_half_of_a_change(tmp_path: Path) -> None:
    """A writer that does nothing else, and a reader that does nothing else, for two seconds."""
    context = multiprocessing.get_context("spawn")
    source = SharedTime.create(tmp_path / "time", at=FRIDAY, speed=1.0)
    ready, over, answers = context.Event(), context.Event(), context.Queue()
    process = context.Process(target=_watch, args=(str(source.path), ready, over, answers))
    process.start()
    assert ready.wait(30)
    end, written = time.monotonic() + 2, 0
    while time.monotonic() < end:
        for _ in range(1000):
            written += 1
            source.jump(FRIDAY + timedelta(seconds=10 * written))
    over.set()
    read, wrong = answers.get(timeout=30)
    process.join()
    assert not wrong
    assert read > 10_000
    assert written > 10_000


async def test_waiting_follows_a_jump(tmp_path: Path) -> None:
    source = SharedTime.create(tmp_path / "time", at=FRIDAY, speed=0)
    waiting = asyncio.create_task(source.sleep(3600))
    await asyncio.sleep(0.1)
    source.jump(FRIDAY + timedelta(minutes=59))
    await asyncio.sleep(0.15)
    assert not waiting.done()
    source.jump(FRIDAY + timedelta(minutes=60))
    async with asyncio.timeout(1):
        await waiting


async def test_waiting_is_as_long_as_the_speed_makes_it(tmp_path: Path) -> None:
    source = SharedTime.create(tmp_path / "time", at=FRIDAY, speed=3600)
    async with asyncio.timeout(1):
        await source.sleep(720)  # a fifth of a second
    assert source.now() >= FRIDAY + timedelta(seconds=720)


async def test_waiting_goes_on_when_a_clock_that_stood_still_runs(tmp_path: Path) -> None:
    source = SharedTime.create(tmp_path / "time", at=FRIDAY, speed=0)
    waiting = asyncio.create_task(source.sleep(60))
    await asyncio.sleep(0.1)
    source.set_speed(6000)
    async with asyncio.timeout(1):
        await waiting


@pytest.mark.parametrize("seconds", [0, -5])
async def test_there_is_nothing_to_wait_for_in_the_past(tmp_path: Path, seconds: float) -> None:
    async with asyncio.timeout(1):
        await SharedTime.create(tmp_path / "time", at=FRIDAY, speed=0).sleep(seconds)
        await SystemTime().sleep(seconds)
