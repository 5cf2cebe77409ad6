"""Wake-ups: how a process that has committed work tells whoever is free to do it.

procrastinate carries the word and spreads it over all workers. It is a word and nothing more: the work itself is in our
own tables, and a wake-up lost is made good by the next tick, which looks for due rows.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence

import procrastinate
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException

log = logging.getLogger(__name__)

QUEUE = "drains"
COALESCE = 0.010
"""At most one wake-up per drain and process in this many seconds."""

PRIORITY = {
    "send": 30,
    "reply": 20,
    "thread": 10,
    "inbox": 10,
    "fetch": 10,
    "renew": 10,
    "push": 5,
    "clock": 5,
    "decide": 5,
    "incidents": 5,
    "erase": 0,
    "calendar": 0,
    "tell": 0,
    "poll": 0,
    "listen": 0,
    "probe": -5,
}


TOLD = "SELECT queueing_lock AS name FROM procrastinate_jobs WHERE queueing_lock = ANY(%(names)s) AND status = 'todo'"
"""Words that wait to be taken up: whoever takes one up looks at the rows after this moment."""


def make_jobs(conninfo: str) -> procrastinate.App:
    """The job engine. Tasks are added by the worker; a process that only defers names them."""
    connector = procrastinate.PsycopgConnector(
        conninfo=conninfo,
        min_size=1,
        max_size=4,
        timeout=5.0,  # a wake-up that cannot be sent by then is left to the tick
        # a word that a crash of the database swallows is made good by the tick: nobody waits for the disk to have it
        kwargs={"application_name": "helpdesk-gateway-jobs", "options": "-c synchronous_commit=off"},
    )
    return procrastinate.App(connector=connector)


class Wake:
    """Defers one job per drain name, after the commit, on the job engine's own connection.

    A worker that has a hand free takes on itself what it would have told others of: `nearby`, where it is set, says
    whether it does. The lease keeps two from doing the same.
    """

    def __init__(self, jobs: procrastinate.App) -> None:
        self._jobs = jobs
        self.nearby: Callable[[str], bool] | None = None
        self._last: dict[str, float] = {}
        self._later: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._waits: dict[str, asyncio.Task[None]] = {}

    async def __call__(self, names: Iterable[str]) -> None:
        """Wake these drains. Never raises: the rows are committed, and the tick finds what a lost word leaves."""
        due = []
        for name in sorted(set(names) - self._later):  # theirs goes out after this moment: it says it for us too
            wait = self._last.get(name, 0.0) + COALESCE - time.monotonic()
            if wait <= 0:
                due.append(name)
            else:
                self._later.add(name)
                task = asyncio.create_task(self._defer_later(name, wait))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        await self._defer(due)

    async def _defer_later(self, name: str, wait: float) -> None:
        await asyncio.sleep(wait)
        self._later.discard(name)  # before the word is sent: work committed while it is under way needs another
        await self._defer([name])

    async def _defer(self, names: Sequence[str]) -> None:
        far = []
        for name in names:
            self._last[name] = time.monotonic()
            if self.nearby is None or not self.nearby(name):
                far.append(name)
        try:
            if len(far) > 1:  # in a flood most have been told: to ask once is cheaper than to be refused each time
                told = await self._jobs.connector.execute_query_all_async(TOLD, names=far)
                far = [name for name in far if name not in {row["name"] for row in told}]
            for name in far:
                with contextlib.suppress(AlreadyEnqueued):  # somebody was faster: the same word
                    await self._jobs.configure_task(
                        "drain", queue=QUEUE, queueing_lock=name, priority=PRIORITY.get(name.partition(":")[0], 0)
                    ).defer_async(name=name)
        except ConnectorException as error:
            log.warning("wake-ups of %s were not sent (%s); the tick will find the rows", ", ".join(far), error)

    def at(self, name: str, wait: Callable[[], Awaitable[None]]) -> None:
        """Wake a drain once `wait` is over, in this process: sooner and more exactly than by the tick.

        One wait is kept for each name, the newest: it knows the most. If the process ends, the tick wakes it.
        """
        earlier = self._waits.pop(name, None)
        if earlier is not None:
            earlier.cancel()

        async def then() -> None:
            await wait()
            if self._waits.get(name) is asyncio.current_task():
                del self._waits[name]
            await self([name])

        self._waits[name] = asyncio.create_task(then())

    async def settle(self) -> None:
        """Wait until every delayed wake-up has gone out."""
        for waiting in self._waits.values():
            waiting.cancel()
        await asyncio.gather(*self._waits.values(), return_exceptions=True)
        await asyncio.gather(*self._tasks)
