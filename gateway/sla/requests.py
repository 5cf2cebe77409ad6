"""What can be asked of clocks. A policy's effects and the pipeline's own news become these."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from gateway.sla.clock import Kind, StopsOn, Terms

AHEAD = timedelta(minutes=5)
"""By how much a source's clock may be ahead of ours before its time is not believed."""
BEHIND = timedelta(days=31)
"""How old an event may be when it arrives before its time is not believed."""


def bounded(at: datetime, seen_at: datetime) -> tuple[datetime, str | None]:
    """An event's time as a clock takes it, and what to say when that is not the time given.

    `seen_at` is when the gateway learned of it. A time further ahead than 5 minutes or further back than 31 days is
    nonsense or history: the clock goes by the arrival instead.
    """
    at = at.astimezone(UTC)
    if at > seen_at + AHEAD:
        return seen_at, f"the source's time {at:%Y-%m-%d %H:%M:%S}Z lies ahead of its arrival, which counts instead"
    if at < seen_at - BEHIND:
        return seen_at, f"the source's time {at:%Y-%m-%d %H:%M:%S}Z lies far before its arrival, which counts instead"
    return at, None


@dataclass(frozen=True)
class Start:
    """Start a clock at an event's time; one that runs for it already goes on, by these terms.

    A ticket has one clock of each kind and policy; `next_response` has one per answer, `promise` one per `slot`. An
    event earlier than the clock's start moves the start back; one within what an answer covered starts nothing; one
    after a `resolution` reopens it.
    """

    ticket_id: UUID
    kind: Kind
    at: datetime
    seen_at: datetime
    terms: Terms
    calendar: str = "always"
    policy: str = ""
    revision: int | None = None
    slot: str = ""
    label: str = ""


@dataclass(frozen=True)
class Fulfil:
    """Stop what something that happened at `at` fulfils: exactly the kinds named, else the clocks that stop `on` it.

    An answer that is older than the one that stopped a clock takes its place.
    """

    ticket_id: UUID
    at: datetime
    seen_at: datetime
    by: str
    """`reply:<id>`, `interaction:<id>`, `ticket:<status>` or `policy:<name>`."""
    on: StopsOn = "answer"
    kinds: frozenset[Kind] = frozenset()
    slot: str | None = None
    written: datetime | None = None
    """When the answer was written that came out `at`, where that was before. A clock that was cancelled since, for its
    ticket was solved or closed, counts again: whoever answers and solves in one step has answered."""


@dataclass(frozen=True)
class Pause:
    """Let clocks stand still: those that pause, or exactly the kinds named."""

    ticket_id: UUID
    at: datetime
    seen_at: datetime
    reason: str
    kinds: frozenset[Kind] = frozenset()


@dataclass(frozen=True)
class Resume:
    """Let what is paused run again; with `reopen`, also a `resolution` that ended when the ticket was solved."""

    ticket_id: UUID
    at: datetime
    seen_at: datetime
    kinds: frozenset[Kind] = frozenset()
    reopen: bool = False


@dataclass(frozen=True)
class Cancel:
    """End open clocks that count for nothing any more: of the kinds named, or all. What began after `at` goes on: a
    message that came after its ticket was solved is not answered by that, though the solving is read later."""

    ticket_id: UUID
    at: datetime
    seen_at: datetime
    reason: str
    kinds: frozenset[Kind] = frozenset()
    slot: str | None = None


@dataclass(frozen=True)
class Retarget:
    """Measure open clocks of a kind and policy by other terms, from their start."""

    ticket_id: UUID
    kind: Kind
    at: datetime
    seen_at: datetime
    terms: Terms
    calendar: str = "always"
    policy: str = ""
    slot: str | None = None


Request = Start | Fulfil | Pause | Resume | Cancel | Retarget
