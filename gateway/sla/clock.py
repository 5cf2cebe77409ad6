"""One clock, in memory: how its plan follows from its terms, its stretches and its calendar, and what happens to it.

Pure: nothing here reads the time or the database. A clock keeps the stretches in which it ran, so whatever arrives late
is put where it belongs and everything after it is worked out anew; what was told of a step that turns out not to have
been due is taken back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from gateway.sla.calendars import Calendar, NeverDue

Kind = Literal["first_response", "next_response", "resolution", "acknowledged", "substantive_answer", "promise"]
StopsOn = Literal["answer", "solved", "effect"]
State = Literal["running", "paused", "met", "missed", "cancelled"]
EventKind = Literal["warned", "breached", "escalated", "voided", "met"]

REOPENED_SHARE = 10
"""A clock that is reopened runs for at least this part of its target: a tenth."""
CLOSED = "the ticket was closed at the helpdesk"
BY_POLICY = "policy:"
"""Why clocks are cancelled when nobody waits for an answer any more: the first by the gateway, the second by the policy
named after it. What was written by then still goes out."""
ASKED = 100
"""How many later messages a clock remembers."""


@dataclass(frozen=True)
class Step:
    """What is due when a share of the target has passed: below 1 a warning, at 1 the breach, above an escalation."""

    share: float
    name: str
    notify: tuple[str, ...] = ()

    @property
    def kind(self) -> EventKind:
        """The event that tells of it."""
        return "warned" if self.share < 1 else "breached" if self.share == 1 else "escalated"


BREACH = Step(1.0, "breach")
STEPS = (Step(0.75, "warning"), BREACH)


@dataclass(frozen=True)
class Terms:
    """What a clock measures and how it is to behave.

    Either `target`, a span of the calendar's time, or `due`, a time that pauses do not move. `steps` are put in order,
    and always have the breach.
    """

    target: timedelta | None = None
    due: datetime | None = None
    steps: tuple[Step, ...] = STEPS
    stops_on: StopsOn = "answer"
    pauses: bool = True

    def __post_init__(self) -> None:
        if (self.target is None) == (self.due is None):
            raise ValueError("a clock has either a target or a due time")
        if self.target is not None and self.target <= timedelta():
            raise ValueError("a target is longer than nothing")
        steps = {one.share: one for one in (BREACH, *self.steps)}
        if min(steps) <= 0:
            raise ValueError("a step is due after the start")
        object.__setattr__(self, "steps", tuple(steps[share] for share in sorted(steps)))

    @property
    def breach(self) -> int:
        """The number of the step that is the breach."""
        return 1 + sum(1 for one in self.steps if one.share < 1)


@dataclass
class ClockEvent:
    """Something to be told of a clock."""

    kind: EventKind
    step: int
    round: int
    at: datetime
    data: dict[str, Any]


@dataclass
class Clock:
    """A clock with its plan. The methods change it and note in `events` what is to be told."""

    id: UUID
    ticket_id: UUID
    kind: Kind
    terms: Terms
    calendar: Calendar
    calendar_id: UUID
    calendar_version: int
    started_at: datetime
    policy: str = ""
    revision: int | None = None
    slot: str = ""
    label: str = ""
    credit: timedelta = timedelta()
    running_since: datetime | None = None
    stretches: list[tuple[datetime, datetime]] = field(default_factory=list)
    asked: list[datetime] = field(default_factory=list)
    state: State = "running"
    due_at: datetime | None = None
    next_at: datetime | None = None
    step: int = 0
    round: int = 0
    breached_at: datetime | None = None
    stopped_at: datetime | None = None
    stopped_by: str | None = None
    reason: str | None = None
    remark: str | None = None
    is_new: bool = False
    changed: bool = False
    events: list[ClockEvent] = field(default_factory=list)

    @property
    def open(self) -> bool:
        """Whether it goes on."""
        return self.state in ("running", "paused")

    @property
    def target(self) -> timedelta:
        """The span it measures, with what it was given on top."""
        assert self.terms.target is not None
        return self.terms.target + self.credit

    def start(self, at: datetime, now: datetime) -> None:
        """Let it run from this moment, for the first time."""
        self.started_at = self.running_since = at
        self.is_new = True
        self.settle(now)

    def start_again(self, at: datetime, now: datetime) -> None:
        """Let it run anew after it was cancelled."""
        self.started_at = self.running_since = at
        self.state, self.stretches, self.asked, self.credit = "running", [], [], timedelta()
        self.stopped_at = self.stopped_by = self.reason = self.breached_at = None
        self.step, self.round = 0, self.round + 1
        self.settle(now)

    def follow(self, id: UUID, asked: Sequence[datetime], now: datetime) -> Clock:
        """The clock for messages that came after what this one was stopped by."""
        after = Clock(
            id=id,
            ticket_id=self.ticket_id,
            kind=self.kind,
            terms=self.terms,
            calendar=self.calendar,
            calendar_id=self.calendar_id,
            calendar_version=self.calendar_version,
            started_at=asked[0],
            policy=self.policy,
            revision=self.revision,
            slot=asked[0].isoformat(),
            asked=list(asked[1:]),
        )
        after.start(asked[0], now)
        return after

    def start_earlier(self, at: datetime, now: datetime) -> None:
        """An earlier message that it is for has come in late."""
        if self.kind == "next_response":
            self.asked = sorted({*self.asked, self.started_at})[:ASKED]
        if self.stretches:
            self.stretches[0] = (at, self.stretches[0][1])
        else:
            self.running_since = at
        self.started_at = at
        self.settle(now)

    def ask(self, at: datetime) -> None:
        """Another message that the same answer will be for."""
        if at != self.started_at and at not in self.asked and len(self.asked) < ASKED:
            self.asked = sorted([*self.asked, at])
            self.changed = True

    def fulfil(self, at: datetime, by: str, now: datetime) -> list[datetime]:
        """Stop it: answered at `at`, which may be before it was paused, breached or stopped. It may have been cancelled
        since, for its ticket was solved or closed: the time until the answer counts all the same.

        Returns the messages that came after that and still want an answer.
        """
        if self.state == "cancelled" and self.stretches and self.stretches[-1][1] == self.stopped_at:
            *self.stretches, (self.running_since, _) = self.stretches
        self._run_until(at)
        self.stopped_at, self.stopped_by, self.reason = at, by, None
        self.state = "met"  # unless settling finds it late
        left = [one for one in self.asked if one > at]
        self.asked = [one for one in self.asked if one <= at]
        self.settle(now)
        return left

    def pause(self, at: datetime, reason: str, now: datetime) -> None:
        """Let it stand still from this moment."""
        if self.state == "paused":
            return
        assert self.running_since is not None
        self._run_until(max(at, self.running_since))
        self.state, self.reason = "paused", reason
        self.settle(now)

    def resume(self, at: datetime, now: datetime) -> None:
        """Let it run again."""
        if self.state != "paused":
            return
        self.running_since = max(at, self.stretches[-1][1] if self.stretches else self.started_at)
        self.state, self.reason = "running", None
        self.settle(now)

    def reopen(self, at: datetime, now: datetime) -> None:
        """What was thought done is not: go on with the time that was left, and with no less than a tenth of it all.

        The time between does not count. A clock that was missed stays breached.
        """
        assert self.stopped_at is not None
        if self.state == "met" and self.terms.target is not None:
            least = timedelta(seconds=max(60, int(self.terms.target.total_seconds()) // REOPENED_SHARE))
            left = self.target - self.used()
            self.credit += timedelta(seconds=max(0, math.ceil((least - left).total_seconds())))
            self.round += 1  # it may be met once more
        self.running_since = max(at, self.stopped_at)
        self.stopped_at = self.stopped_by = None
        self.state = "running"
        self.settle(now)

    def cancel(self, at: datetime, reason: str) -> None:
        """It counts for nothing any more."""
        self._run_until(max(at, self.started_at))
        self.state, self.reason = "cancelled", reason
        self.stopped_at, self.next_at, self.changed = at, None, True

    def retarget(self, terms: Terms, now: datetime, *, calendar: tuple[UUID, int, Calendar] | None = None) -> None:
        """Measure by other terms, from the start."""
        if calendar is not None:
            self.calendar_id, self.calendar_version, self.calendar = calendar
        self.terms = terms
        self.settle(now)

    def settle(self, now: datetime) -> None:
        """Work out the plan anew, and take back what was told of steps that turn out not to have been due."""
        self.changed = True
        steps, breach = self.plan(), self.terms.breach
        if self.open or self.stopped_at is None:
            reached = sum(1 for at in steps if at is not None and at <= now)
        else:
            # what ended at the very moment it was due ended in time
            reached = sum(1 for at in steps if at is not None and at < self.stopped_at)
            self.state = "missed" if reached >= breach else "met"
        if min(reached, breach) < min(self.step, breach) or (self.open and reached < self.step):
            if reached < breach and self.breached_at is not None:
                self._tell("voided", 0, now, was=self.breached_at)
                self.breached_at = None
            self.round += 1
            self.step = reached
        if self.state == "missed" and self.step < breach:
            # it ended too late before the sweep had seen it; nobody needs an escalation of what was answered
            self._step_to(steps, breach)
        if self.state == "met":
            assert self.stopped_at is not None
            self._tell("met", 0, self.stopped_at)
        self._schedule(steps)

    def sweep(self, now: datetime) -> None:
        """Tell of the strongest step that is due by now, and of that alone."""
        steps = self.plan()
        reached = sum(1 for at in steps if at is not None and at <= now)
        if self.state == "running" and reached > self.step:
            self._step_to(steps, reached)
        self._schedule(steps)
        self.changed = True

    def plan(self) -> list[datetime | None]:
        """When each step is due. None: not while things stay as they are."""
        steps = [self._due_at(one.share) for one in self.terms.steps]
        self.due_at = steps[self.terms.breach - 1]
        return steps

    def share(self, at: datetime) -> float:
        """How much of the target has passed by this moment; 1 is the breach."""
        if self.terms.due is not None:
            whole, passed = self._span(), self.calendar.elapsed(self.started_at, at)
        else:
            whole, passed = self.target, self.used()
            if self.running_since is not None:
                passed += self.calendar.elapsed(self.running_since, at)
        return passed / whole if whole else 1.0

    def used(self) -> timedelta:
        """How much of the calendar's time it has run in the stretches that are over."""
        return sum((self.calendar.elapsed(begin, end) for begin, end in self.stretches), timedelta())

    def _step_to(self, steps: Sequence[datetime | None], reached: int) -> None:
        """Tell of step number `reached`, the strongest that is due; the weaker ones before it are skipped."""
        at, step = steps[reached - 1], self.terms.steps[reached - 1]
        assert at is not None
        if reached >= self.terms.breach and self.breached_at is None:
            self.breached_at = self.due_at
        skipped = [one.name for one in self.terms.steps[self.step : reached - 1]]
        details = {"name": step.name, "share": step.share, "notify": list(step.notify)}
        self._tell(step.kind, reached, at, **details, **({"skipped": skipped} if skipped else {}))
        self.step = reached

    def _schedule(self, steps: Sequence[datetime | None]) -> None:
        ahead = steps[self.step :] if self.state == "running" else []
        self.next_at = ahead[0] if ahead else None

    def _due_at(self, share: float) -> datetime | None:
        """When this share of the target has passed."""
        if self.terms.due is None:
            return self._used_up(self.target * share)
        if share == 1:
            return self.terms.due
        try:
            if share < 1:
                return min(self.terms.due, self.calendar.due(self.started_at, self._span() * share))
            return self.calendar.due(self.terms.due, self._span() * (share - 1))
        except NeverDue:
            return None

    def _span(self) -> timedelta:
        assert self.terms.due is not None
        return self.calendar.elapsed(self.started_at, self.terms.due)

    def _used_up(self, amount: timedelta) -> datetime | None:
        """When it has run for so much of the calendar's time; None while it stands still before that.

        For a clock that is over: when it would have, had it gone on.
        """
        for begin, end in self.stretches:
            passed = self.calendar.elapsed(begin, end)
            if amount <= passed:
                return self.calendar.due(begin, amount)
            amount -= passed
        since = self.running_since if self.open else self.stopped_at
        if since is None:
            return None
        try:
            return self.calendar.due(since, amount)
        except NeverDue:
            self.remark = self.remark or "the calendar does not have so much open time"
            return None

    def _run_until(self, at: datetime) -> None:
        """End the running stretch, or cut off what it ran beyond this moment."""
        if self.running_since is not None:
            self.stretches = [*self.stretches, (self.running_since, at)]
            self.running_since = None
        self.stretches = [(begin, min(end, at)) for begin, end in self.stretches if begin < at]

    def _tell(self, kind: EventKind, step: int, at: datetime, **data: Any) -> None:
        self.events.append(ClockEvent(kind, step, self.round, at, {"due_at": self.due_at, **data}))


def copy_of(clock: Clock, **changes: Any) -> Clock:
    """A clock like this one, for trying something out."""
    return replace(clock, stretches=list(clock.stretches), asked=list(clock.asked), events=[], **changes)
