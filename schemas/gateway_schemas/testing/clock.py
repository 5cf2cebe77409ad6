"""A clock for tests: it stands still until a test moves it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

EVENING = datetime(2026, 11, 22, 23, 40, 12, 250_000, tzinfo=UTC)
"""Twenty minutes before midnight in UTC, and not on a whole second: a plugin that reads a local time gets another
day."""


class StillTime:
    """Time that moves when a test says so; waiting in it moves it too, at once."""

    def __init__(self, at: datetime = EVENING) -> None:
        self.at = at

    def now(self) -> datetime:
        """The time as last set."""
        return self.at

    async def sleep(self, seconds: float) -> None:
        """Move on by `seconds` and let other tasks run."""
        self.at += timedelta(seconds=max(0.0, seconds))
        await asyncio.sleep(0)

    def pass_by(self, amount: timedelta | None = None, /, **parts: float) -> None:
        """Move on: `time.pass_by(minutes=5)`."""
        self.at += amount if amount is not None else timedelta(**parts)
