"""One source of time for the gateway, its workers, the twins and the signatures between them.

In production it is the machine's clock. A demo or a replay of old data runs all of its processes on a shared file that
holds an offset and a speed, so that a Friday evening of 2020 can be played in a minute and every timer, signature
window and time stamp agrees on what time it is.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import struct
import time as _time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

_SEQUENCE = struct.Struct("<Q")  # odd while the anchors are being written
_ANCHORS = struct.Struct("<ddd")  # real anchor, virtual anchor, speed


class TimeSource(Protocol):
    """Tells the time and waits in it."""

    def now(self) -> datetime:
        """The current time, aware, in UTC."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` of this source's time."""


class SystemTime:
    """The machine's clock."""

    def now(self) -> datetime:
        """The current time, aware, in UTC."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        await asyncio.sleep(max(0.0, seconds))


class SharedTime:
    """Virtual time in a small memory-mapped file that any number of processes share.

    `now = virtual anchor + (real now - real anchor) * speed`. Speed 0 stands still and moves by `jump` alone.
    One process writes (the demo, a replay, a test); the others read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        descriptor = os.open(self.path, os.O_RDWR)
        try:
            self._map = mmap.mmap(descriptor, _SEQUENCE.size + _ANCHORS.size)
        finally:
            os.close(descriptor)

    @classmethod
    def create(cls, path: str | os.PathLike[str], *, at: datetime, speed: float = 1.0) -> SharedTime:
        """Make the file, starting at `at`; an existing file is overwritten."""
        Path(path).write_bytes(_SEQUENCE.pack(0) + _ANCHORS.pack(_time.time(), at.timestamp(), speed))
        return cls(path)

    def _read(self) -> tuple[float, float, float]:
        # whole fields are copied: `pack_into` writes zeros first, and a reader would take those for an even sequence
        start = _SEQUENCE.size
        while True:
            before = self._map[:start]
            anchors = self._map[start : start + _ANCHORS.size]
            if before == self._map[:start] and before[0] % 2 == 0:
                return _ANCHORS.unpack(anchors)

    def _write(self, real: float, virtual: float, speed: float) -> None:
        start = _SEQUENCE.size
        sequence: int = _SEQUENCE.unpack(self._map[:start])[0]
        self._map[:start] = _SEQUENCE.pack(sequence + 1)
        self._map[start : start + _ANCHORS.size] = _ANCHORS.pack(real, virtual, speed)
        self._map[:start] = _SEQUENCE.pack(sequence + 2)

    def _at(self, real_now: float) -> float:
        real, virtual, speed = self._read()
        return virtual + (real_now - real) * speed

    def now(self) -> datetime:
        """The current virtual time, aware, in UTC."""
        return datetime.fromtimestamp(self._at(_time.time()), UTC)

    @property
    def speed(self) -> float:
        """Virtual seconds per real second."""
        return self._read()[2]

    def jump(self, to: datetime) -> None:
        """Set the virtual time to `to`; going back is ignored, because timers may already have fired."""
        real = _time.time()
        if to.timestamp() > self._at(real):
            self._write(real, to.timestamp(), self.speed)

    def set_speed(self, speed: float) -> None:
        """Go on from the current virtual time at `speed`. Raises ValueError below 0: time does not run back."""
        if not speed >= 0:
            raise ValueError("the speed of time is 0 or more")
        real = _time.time()
        self._write(real, self._at(real), speed)

    async def sleep(self, seconds: float) -> None:
        """Return once `seconds` of virtual time have passed; looks again often enough to follow a jump."""
        until = self.now() + timedelta(seconds=seconds)
        while (left := (until - self.now()).total_seconds()) > 0:
            speed = self.speed
            await asyncio.sleep(min(0.05, left / speed) if speed > 0 else 0.05)


def open_time(path: str | None) -> TimeSource:
    """The shared time at `path`, or the machine's clock when there is none."""
    return SharedTime(path) if path else SystemTime()
