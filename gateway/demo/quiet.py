"""Whether the gateway has something under way, read from its database.

Nothing outside can tell that everything is done: an answer that must not go out is noticed by nothing happening. What
the oracle judges by is read from the twins and over REST; this only says when to look.
"""

from __future__ import annotations

import asyncio

from sqlalchemy.exc import SQLAlchemyError

from gateway.db.database import Database, fetch_one
from gateway.db.embedded import EmbeddedPostgres, EmbeddedPostgresError
from gateway.pipeline.incidents import GROWN

UNDER_WAY = f"""
SELECT EXISTS (SELECT 1 FROM delivery WHERE state = 'pending')
    OR EXISTS (SELECT 1 FROM revision WHERE state IN ('pending', 'waiting'))
    OR EXISTS (SELECT 1 FROM wanted WHERE state = 'pending')
    OR EXISTS (SELECT 1 FROM push WHERE state IN ('in_flight', 'job') OR (state = 'pending' AND kind <> 'update'))
    OR EXISTS (SELECT 1 FROM reply WHERE state IN ('received', 'queued', 'sending', 'retracting')
               OR (state = 'unknown' AND code IS DISTINCT FROM 'needs_person'))
    OR EXISTS (SELECT 1 FROM clock_event WHERE handled_at IS NULL)
    OR EXISTS ({GROWN}) AS yes
"""

AT_ITS_SOURCE = """
SELECT EXISTS (SELECT 1 FROM reply WHERE state = 'sending'
               OR (state = 'unknown' AND code IS DISTINCT FROM 'needs_person')) AS yes
"""


class Quiet:
    """Looks at the database of a stage. A database that is away counts as busy: somebody is about to start it again."""

    def __init__(self, url: str, postgres: EmbeddedPostgres | None) -> None:
        self._postgres = postgres
        self._url = url
        self._database = Database(url, pool_size=1)

    async def close(self) -> None:
        """Close the connection."""
        await self._database.close()

    async def is_quiet(self) -> bool:
        """Whether every delivery has ended, everything is threaded and pushed, and every answer is out or given
        back."""
        return not await self._ask(UNDER_WAY)

    async def may_jump(self) -> bool:
        """Whether time may pass at once: no answer is at its source.

        Its echo waits for it by the clock, for minutes; a jump would make the gateway give up what is milliseconds
        away.
        """
        return not await self._ask(AT_ITS_SOURCE)

    async def until_quiet(self, seconds: float) -> bool:
        """Wait until it is quiet twice in a row; False when the time is up."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        calm = 0
        while calm < 2:
            calm = calm + 1 if await self.is_quiet() else 0
            if loop.time() > end:
                return False
            await asyncio.sleep(0.05)
        return True

    async def _ask(self, question: str) -> bool:
        try:
            async with self._database.read() as connection:
                row = await fetch_one(connection, question)
        except SQLAlchemyError:
            await self._find_again()
            return True
        return row is None or bool(row["yes"])

    async def _find_again(self) -> None:
        """The embedded server may have come back on another port."""
        if self._postgres is None:
            return
        try:
            url = await asyncio.to_thread(self._postgres.ensure)
        except EmbeddedPostgresError:
            return
        if url != self._url:
            await self._database.close()
            self._url, self._database = url, Database(url, pool_size=1)
