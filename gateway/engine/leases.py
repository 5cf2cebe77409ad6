"""The right to work on one shard or lane: a row with an owner, an epoch and an end.

A job engine's lock is no exclusion: a holder that stalls is recovered while it still runs, and both act. Here every
write of a holder checks the epoch, so that a holder that was overtaken writes nothing. Ends are in the database's own
time, which no stalled process and no virtual clock can bend.

Nothing waits for the disk here (`synchronous_commit` off): the log is written in order, so whatever a holder commits
for good takes its lease to the disk before it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import Database, execute, fetch_one

log = logging.getLogger(__name__)


class LeaseLost(Exception):
    """Somebody else holds the lease by now; whatever this holder was about to write is not written."""


def make_owner() -> str:
    """A name for this process that no other process, past or present, has."""
    return f"{os.uname().nodename}:{os.getpid()}:{time.time_ns()}"


@dataclass
class Held:
    """A lease in hand."""

    name: str
    owner: str
    epoch: int
    until: float
    """End by this process's monotonic clock, counted from before the row was written: never later than the row's."""

    def fresh(self, margin: float = 0.0) -> bool:
        """Whether at least `margin` seconds are left."""
        return time.monotonic() + margin < self.until

    async def check(self, connection: AsyncConnection) -> None:
        """Lock the row and make sure it is still ours, inside the transaction that writes. Raises LeaseLost."""
        row = await fetch_one(
            connection,
            "SELECT 1 FROM lease WHERE name = :name AND epoch = :epoch AND owner = :owner FOR SHARE",
            name=self.name,
            epoch=self.epoch,
            owner=self.owner,
        )
        if row is None:
            raise LeaseLost(self.name)

    async def check_fresh(self, database: Database) -> None:
        """The same, where nothing is written in between. Raises LeaseLost."""
        async with database.write() as connection:
            await self.check(connection)


async def end_lease(connection: AsyncConnection, name: str) -> None:
    """Take a lease from whoever holds it, whose work has come to a standstill: what they write is refused."""
    await execute(
        connection,
        "UPDATE lease SET epoch = epoch + 1, until = '-infinity' WHERE name = :name",
        name=name,
    )


class Leases:
    """Takes, prolongs and gives back leases for one process."""

    def __init__(self, database: Database, owner: str, seconds: float) -> None:
        self._database = database
        self.owner = owner
        self.seconds = seconds

    async def take(self, name: str) -> Held | None:
        """The lease, if it is free or has ended; a new holder gets a new epoch.

        None when somebody holds it: the holder is told to look again after giving it back, so that work committed
        after its last look is not left lying.
        """
        began = time.monotonic()
        async with self._database.read() as connection:
            row = await fetch_one(
                connection,
                """
                INSERT INTO lease AS l (name, owner, epoch, until, again)
                VALUES (:name, :owner, 1, clock_timestamp() + make_interval(secs => :seconds), false)
                ON CONFLICT (name) DO UPDATE
                SET owner = CASE WHEN l.until < now() THEN EXCLUDED.owner ELSE l.owner END,
                    epoch = CASE WHEN l.until < now() THEN l.epoch + 1 ELSE l.epoch END,
                    until = CASE WHEN l.until < now() THEN EXCLUDED.until ELSE l.until END,
                    again = l.until >= now()
                RETURNING epoch, NOT again AS taken, set_config('synchronous_commit', 'off', true)
                """,
                name=name,
                owner=self.owner,
                seconds=self.seconds,
            )
        assert row is not None
        return Held(name, self.owner, row["epoch"], began + self.seconds) if row["taken"] else None

    async def prolong(self, held: Held) -> None:
        """Begin the span anew. Raises LeaseLost."""
        began = time.monotonic()
        async with self._database.read() as connection:
            touched = await execute(
                connection,
                """UPDATE lease SET until = clock_timestamp() + make_interval(secs => :seconds)
                   WHERE name = :name AND epoch = :epoch AND owner = :owner
                   RETURNING set_config('synchronous_commit', 'off', true)""",
                name=held.name,
                epoch=held.epoch,
                owner=held.owner,
                seconds=self.seconds,
            )
        if not touched:
            raise LeaseLost(held.name)
        held.until = began + self.seconds

    @contextlib.asynccontextmanager
    async def kept(self, held: Held) -> AsyncIterator[None]:
        """Prolong the lease in time for as long as this is entered, so that slow work is not begun again by another.

        A process that stalls prolongs nothing: its lease ends, and what it writes later is refused.
        """
        over = asyncio.Event()
        keeping = asyncio.create_task(self._keep(held, over))
        try:
            yield
        finally:
            over.set()
            await keeping

    async def _keep(self, held: Held, over: asyncio.Event) -> None:
        while True:
            try:
                async with asyncio.timeout(self.seconds / 3):
                    await over.wait()
                return
            except TimeoutError:
                pass
            try:
                await self.prolong(held)
            except LeaseLost:
                return  # the next write says so
            except DBAPIError as error:
                log.warning("%s: the lease was not prolonged (%s)", held.name, type(error.orig).__name__)

    async def give_back(self, held: Held) -> bool:
        """End it now, so that the next holder need not wait. Returns whether somebody asked for it meanwhile."""
        async with self._database.read() as connection:
            row = await fetch_one(
                connection,
                """
                WITH before AS (
                    SELECT name, again FROM lease
                    WHERE name = :name AND epoch = :epoch AND owner = :owner FOR UPDATE
                )
                UPDATE lease l SET until = '-infinity', again = false FROM before b WHERE l.name = b.name
                RETURNING b.again, set_config('synchronous_commit', 'off', true)
                """,
                name=held.name,
                epoch=held.epoch,
                owner=held.owner,
            )
        return bool(row and row["again"])

    async def bury(self, owner: str) -> None:
        """End every lease of a process that is proven dead (its parent has reaped it)."""
        async with self._database.read() as connection:
            await execute(connection, "UPDATE lease SET until = '-infinity' WHERE owner = :owner", owner=owner)
