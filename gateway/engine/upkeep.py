"""Housekeeping: partitions ahead of time, jobs of workers that died, and answers that are no longer asked for."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import procrastinate
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from gateway.db.database import Database

log = logging.getLogger(__name__)

PARTITIONED = ("delivery", "attempt")
AHEAD = 2
LOCK_TIMEOUT = "500ms"


async def make_partitions(database: Database, now: datetime) -> None:
    """Make this week's and the next weeks' partitions. What falls outside of them lands in the default partition."""
    monday = (now - timedelta(days=now.weekday())).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=UTC)
    for table in PARTITIONED:
        for week in range(AHEAD + 1):
            start = monday + timedelta(weeks=week)
            name = f"{table}_p{start:%Y%m%d}"
            try:
                async with database.write() as connection:
                    # the door's INSERTs queue up behind a partition that waits for a long query (a backup): better no
                    # partition now than a door that stands still
                    await connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
                    await connection.execute(text("SELECT pg_advisory_xact_lock(7226513402)"))
                    await connection.execute(
                        text(
                            f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF {table} FOR VALUES "
                            f"FROM ('{start:%Y-%m-%d}+00') TO ('{start + timedelta(weeks=1):%Y-%m-%d}+00')"
                        )
                    )
            except DBAPIError as error:
                # rows of that week are in the default partition already: they stay there until retention takes them;
                # or somebody holds the table, and the next hour tries again
                log.debug("partition %s was not made: %s", name, type(error.orig).__name__)


async def drop_stalled_jobs(jobs: procrastinate.App) -> None:
    """Remove the wake-ups that died with their worker; the rows they were about are found by the tick."""
    for job in await jobs.job_manager.get_stalled_jobs(seconds_since_heartbeat=60):
        await jobs.job_manager.finish_job(job, status=procrastinate.jobs.Status.FAILED, delete_job=True)


async def drop_old_answers(database: Database) -> None:
    """Remove the answers kept for repeated requests, a day after the first one."""
    async with database.write() as connection:
        await connection.execute(
            text("DELETE FROM idempotent_answer WHERE created_at < clock_timestamp() - interval '1 day'")
        )
