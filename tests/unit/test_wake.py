"""A wake-up is a word and nothing more: sent once per moment, never an error, never lost without the tick."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from gateway.db.database import Database, execute, fetch_all
from gateway.engine.upkeep import drop_stalled_jobs
from gateway.engine.wake import COALESCE, QUEUE, Wake, make_jobs
from support.postgres import database_url as postgres_url

JOBS = (
    "SELECT id, args->>'name' AS name, status::text, priority, queueing_lock, lock FROM procrastinate_jobs ORDER BY id"
)


class Office:
    """The job engine of one process on a database of its own."""

    def __init__(self, url: str) -> None:
        self.database = Database(url)
        self.app = make_jobs(self.database.conninfo)
        self.wake = Wake(self.app)

    async def jobs(self) -> list[Any]:
        """What is in the queue."""
        async with self.database.read() as connection:
            return await fetch_all(connection, JOBS)

    async def names(self) -> list[str]:
        """Whom the queue wakes."""
        return [row["name"] for row in await self.jobs()]


@pytest.fixture
async def office(database_url: str) -> AsyncIterator[Office]:
    """An open job engine."""
    made = Office(database_url)
    async with made.app.open_async():
        yield made
        await made.wake.settle()
    await made.database.close()


class Listener:
    """A real worker that writes down what it is woken for."""

    def __init__(self, office: Office, *, work: float = 0.0, concurrency: int = 8, polling: float = 1.0) -> None:
        self.heard: list[tuple[str, float]] = []
        self.release = asyncio.Event()
        self.release.set()
        self._office, self._concurrency, self._polling = office, concurrency, polling

        @office.app.task(name="drain", queue=QUEUE)
        async def drain(name: str) -> None:
            self.heard.append((name, time.monotonic()))
            await asyncio.sleep(work)
            await self.release.wait()

    async def __aenter__(self) -> Listener:
        self._task = asyncio.create_task(
            self._office.app.run_worker_async(
                queues=[QUEUE],
                concurrency=self._concurrency,
                delete_jobs="always",
                fetch_job_polling_interval=self._polling,
                install_signal_handlers=False,
            )
        )
        await asyncio.sleep(0.3)  # it listens
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release.set()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def until(self, count: int, seconds: float = 10.0) -> list[str]:
        """Wait until so many words have come."""
        end = time.monotonic() + seconds
        while len(self.heard) < count and time.monotonic() < end:
            await asyncio.sleep(0.01)
        return [name for name, _ in self.heard]


async def test_a_worker_hears_it_at_once(office: Office) -> None:
    """By the notification, not by the polling that makes a lost one good."""
    async with Listener(office, polling=60.0) as listener:
        await office.wake(["inbox:3"])
        assert await listener.until(1, seconds=30.0) == ["inbox:3"]
    await asyncio.sleep(0.1)
    assert await office.names() == []


async def test_a_burst_for_one_drain_is_a_word_every_ten_milliseconds_at_most(office: Office) -> None:
    async with Listener(office) as listener:
        calls, began = 0, time.monotonic()
        while time.monotonic() - began < 0.5:
            await office.wake(["inbox:1"])
            calls += 1
            await asyncio.sleep(0)
        await office.wake.settle()
        took = time.monotonic() - began
        await asyncio.sleep(0.3)
        assert calls > 200
        assert 2 <= len(listener.heard) <= took / COALESCE + 1


async def test_a_word_that_waits_is_not_overtaken_by_another(office: Office) -> None:
    """The loop was busy for longer than the wait: the delayed word goes out now and speaks for both."""
    sent: list[str] = []
    office.wake.nearby = lambda name: not sent.append(name)  # type: ignore[func-returns-value]
    await office.wake(["inbox:1"])
    await office.wake(["inbox:1"])
    time.sleep(COALESCE * 2)  # noqa: ASYNC251
    await office.wake(["inbox:1"])
    await office.wake.settle()
    assert len(sent) == 2


async def test_the_last_word_of_a_burst_is_not_swallowed(office: Office) -> None:
    """Work committed right after a word went out needs another one that comes after it."""
    async with Listener(office) as listener:
        for _ in range(10):
            before = len(listener.heard)
            await office.wake(["inbox:1"])
            await listener.until(before + 1)
            committed = time.monotonic()
            await office.wake(["inbox:1"])
            await office.wake.settle()
            await listener.until(before + 2)
            assert listener.heard[-1][1] >= committed


async def test_a_word_asked_for_while_one_is_under_way_goes_out_too(database_url: str) -> None:
    """The first word's INSERT may have been read before our commit; only a later one certainly comes after."""
    office = Office(database_url)
    async with office.app.open_async():
        async with office.database.write() as connection:
            await execute(connection, "LOCK TABLE procrastinate_jobs IN EXCLUSIVE MODE")
            first = asyncio.create_task(office.wake(["inbox:1"]))
            await asyncio.sleep(0.05)
            second = asyncio.create_task(office.wake(["inbox:1"]))
            await asyncio.sleep(0.05)
            assert not first.done()
        await asyncio.gather(first, second)
        await office.wake.settle()
        assert await office.names() == ["inbox:1"]  # one waits to be fetched; the other met its queueing lock
    await office.database.close()


async def test_settling_waits_for_words_that_are_just_being_sent(database_url: str) -> None:
    office = Office(database_url)
    async with office.app.open_async():
        async with office.database.write() as connection:
            await execute(connection, "LOCK TABLE procrastinate_jobs IN EXCLUSIVE MODE")
            first = asyncio.create_task(office.wake(["inbox:1"]))
            await asyncio.sleep(0)
            await office.wake(["inbox:1"])  # so soon after the first: later
            await asyncio.sleep(COALESCE * 5)  # now it is on its way, and waits for the table
            settling = asyncio.create_task(office.wake.settle())
            await asyncio.sleep(0.1)
            assert not settling.done()
        await asyncio.gather(first, settling)
        assert await office.names() == ["inbox:1"]
    await office.database.close()


async def test_many_drains_are_woken_by_one_call_each_with_its_lane(office: Office) -> None:
    names = ["send:s", "reply:s", "inbox:1", "push:h", "poll:c:mentions", "inbox:1", "thread:2"]
    await office.wake(names)
    jobs = await office.jobs()
    assert sorted(job["name"] for job in jobs) == sorted(set(names))
    priority = {job["name"].partition(":")[0]: job["priority"] for job in jobs}
    assert priority["send"] > priority["reply"] > priority["inbox"] > priority["push"] > priority["poll"]
    assert {job["lock"] for job in jobs} == {None}, "a job engine's lock is neither exclusion nor quick"


async def test_a_word_that_waits_already_is_enough(office: Office) -> None:
    other = Wake(office.app)  # another process
    await office.wake(["push:1"])
    await other(["push:1"])
    await asyncio.sleep(COALESCE * 2)
    await office.wake(["push:1"])
    assert await office.names() == ["push:1"]


async def test_a_drain_that_runs_can_be_woken_again_once(office: Office) -> None:
    """Work committed after a running drain's last look needs a job of its own; a third one would say no more."""
    async with Listener(office, concurrency=1) as listener:
        listener.release.clear()
        await office.wake(["push:1"])
        await listener.until(1)
        for _ in range(3):
            await asyncio.sleep(COALESCE * 2)
            await office.wake(["push:1"])
        assert [job["status"] for job in await office.jobs()] == ["doing", "todo"]
        listener.release.set()
        await listener.until(2)
        await asyncio.sleep(0.3)
        assert len(listener.heard) == 2


async def test_a_second_word_for_a_running_drain_does_not_wait_for_it(office: Office) -> None:
    """The lease excludes, and makes the first look again; a job that waited behind a lock would start seconds late."""
    async with Listener(office) as listener:
        listener.release.clear()
        await office.wake(["push:1"])
        await listener.until(1)
        await asyncio.sleep(COALESCE * 2)
        await office.wake(["push:1"])
        assert len(await listener.until(2, seconds=2.0)) == 2


async def test_two_workers_share_the_words_and_none_is_heard_twice(database_url: str) -> None:
    offices = [Office(database_url), Office(database_url)]
    async with offices[0].app.open_async(), offices[1].app.open_async():
        listeners = [Listener(one, work=0.02) for one in offices]
        async with listeners[0], listeners[1]:
            await offices[0].wake([f"push:{number}" for number in range(40)])
            for _ in range(200):
                if sum(len(one.heard) for one in listeners) >= 40:
                    break
                await asyncio.sleep(0.05)
        heard = [name for one in listeners for name, _ in one.heard]
    assert sorted(heard) == sorted(f"push:{number}" for number in range(40))
    for one in offices:
        await one.database.close()


async def close_to_everybody(url: str) -> None:
    """Refuse new connections to a database, and end those there are."""
    name = urlsplit(url).path.removeprefix("/")
    admin = postgres_url(url, "postgres")
    async with await psycopg.AsyncConnection.connect(admin, autocommit=True) as connection:
        await connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])


async def test_a_database_that_is_away_raises_nothing_and_holds_nobody_up_for_long(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    office = Office(database_url)
    async with office.app.open_async():
        await office.database.close()
        await close_to_everybody(database_url)
        began = time.monotonic()
        with caplog.at_level(logging.CRITICAL, "psycopg.pool"), caplog.at_level(logging.WARNING, "gateway"):
            await office.wake(["inbox:1"])
            await office.wake.settle()
        assert time.monotonic() - began < 20, "the pool's own patience is 30"
        assert "wake-ups of inbox:1 were not sent" in caplog.text


async def test_a_job_engine_without_its_tables_raises_nothing(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    async with await psycopg.AsyncConnection.connect(office.database.conninfo, autocommit=True) as connection:
        await connection.execute("ALTER TABLE procrastinate_jobs RENAME TO gone")
    await office.wake(["inbox:1"])
    assert "the tick will find the rows" in caplog.text


async def test_words_that_died_with_their_worker_are_cleared_away(office: Office) -> None:
    await office.wake(["push:1", "push:2"])
    async with office.database.write() as connection:
        await fetch_all(
            connection,
            """WITH w AS (INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '5 minutes')
                          RETURNING id)
               UPDATE procrastinate_jobs SET status = 'doing', worker_id = w.id FROM w
               WHERE args->>'name' = 'push:1' RETURNING 1""",
        )
    await drop_stalled_jobs(office.app)
    assert await office.names() == ["push:2"]


async def test_of_several_only_those_are_told_that_no_word_waits_for(office: Office) -> None:
    """A word that waits is enough; one that is taken up already looked too early, and another is sent."""
    await office.wake(["thread:1", "thread:2"])
    async with office.database.write() as connection:
        await execute(connection, "UPDATE procrastinate_jobs SET status = 'doing' WHERE queueing_lock = 'thread:2'")
    await asyncio.sleep(COALESCE * 1.5)
    await office.wake(["thread:1", "thread:2", "thread:3"])
    assert await office.names() == ["thread:1", "thread:2", "thread:2", "thread:3"]
