"""What goes wrong at a twin: faults of single requests, a random schedule of them, webhooks, the clock."""

from __future__ import annotations

import hashlib
import random
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar, Literal

from pydantic import ConfigDict

from gateway_schemas.time import SystemTime, TimeSource

FaultKind = Literal["status_before", "status_after", "timeout_after", "drop_after", "latency"]
_STRICT = ConfigDict(extra="forbid")


@dataclass
class Fault:
    """One way a request goes wrong.

    `status_before` answers at once without effect; `status_after` does the work and then answers `status`;
    `timeout_after` does the work and answers only after `seconds`; `drop_after` does the work and breaks the connection
    off in the middle of the answer; `latency` waits `seconds` and goes on.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    kind: FaultKind
    path: str = ".*"
    method: str = ".*"
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    seconds: float = 30.0
    times: int | None = 1
    """How many requests it strikes; None strikes until removed."""

    def strikes(self, method: str, path: str) -> bool:
        """Whether this request is struck; counts down."""
        if self.times == 0 or not re.fullmatch(self.method, method) or not re.search(self.path, path):
            return False
        if self.times is not None:
            self.times -= 1
        return True


@dataclass
class FaultSchedule:
    """Random faults that a seed repeats.

    Whether and how the n-th request of a method and path is struck depends on the seed alone, not on what other
    requests came between: two runs of concurrent clients meet the same faults. No request of one method and path is
    struck more than `in_a_row` times running, so that whoever tries again gets through.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    seed: int = 0
    share: float = 0.1
    """The probability that a request is struck."""
    kinds: tuple[FaultKind, ...] = ("status_before", "status_after", "timeout_after", "drop_after", "latency")
    statuses: tuple[int, ...] = (429, 500, 502, 503)
    """What `status_before` answers; `status_after` takes those from 500 on, because a 429 has no effect."""
    seconds: float = 2.0
    """The longest `latency` and `timeout_after`, and the Retry-After of a 429."""
    path: str = ".*"
    method: str = ".*"
    in_a_row: int = 2

    def __post_init__(self) -> None:
        self._seen: Counter[tuple[str, str]] = Counter()
        self._running: Counter[tuple[str, str]] = Counter()

    def strike(self, method: str, path: str) -> Fault | None:
        """Called for every request: the fault that it meets, if any."""
        if not re.fullmatch(self.method, method) or not re.search(self.path, path):
            return None
        key = (method, path)
        self._seen[key] += 1
        dice = random.Random(hashlib.sha256(f"{self.seed} {method} {path} {self._seen[key]}".encode()).digest())
        if dice.random() >= self.share or self._running[key] >= self.in_a_row:
            self._running[key] = 0
            return None
        self._running[key] += 1
        kind = dice.choice(self.kinds)
        errors = [status for status in self.statuses if status >= 500] or [500]
        status = dice.choice(self.statuses if kind == "status_before" else errors)
        headers = {"retry-after": str(max(1, round(self.seconds)))} if status == 429 else {}
        return Fault(kind, status=status, headers=headers, seconds=dice.random() * self.seconds)


@dataclass
class WebhookFaults:
    """How the twin's webhooks misbehave. Shares are probabilities per delivery."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    duplicate: float = 0.0
    drop: float = 0.0
    delay: float = 0.0
    """Up to this many seconds, at random, so that deliveries overtake each other."""
    paused: bool = False


class SkewedTime:
    """A provider's clock that goes wrong by `by`: `XTwin(time=SkewedTime(clock, timedelta(minutes=-7)))`."""

    def __init__(self, time: TimeSource | None = None, by: timedelta = timedelta()) -> None:
        self.right: TimeSource = time or SystemTime()
        self.by = by

    def now(self) -> datetime:
        """The time that the provider believes it is."""
        return self.right.now() + self.by

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        await self.right.sleep(seconds)
