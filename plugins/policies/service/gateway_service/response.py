"""`response_sla`: answer within minutes, around the clock, in private as fast as in public."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import ClassVar

from pydantic import Field

from gateway_schemas.decision import (
    AddTags,
    Alarm,
    Case,
    ClockFacts,
    ClockKind,
    Effect,
    Finding,
    Note,
    SetPriority,
    Severity,
    StartClock,
    StopClock,
)
from gateway_schemas.interaction import Interaction
from gateway_schemas.policy import Needs, Policy
from gateway_schemas.reading import Reading
from gateway_schemas.reply import Rendered
from gateway_schemas.ticket import Priority, TicketChanged
from gateway_service.targets import (
    DEFAULTS,
    STEPS,
    Escalation,
    Followers,
    Regulation,
    Settings,
    Target,
    minutes,
    steps_of,
    target_of,
)

RESPONSES: tuple[ClockKind, ...] = ("first_response", "next_response")


class ResponseSla(Settings):
    """Targets, the hours they count in, and what happens as they pass."""

    targets: tuple[Target, ...] = Field(
        default=DEFAULTS, title="Targets", description="The first whose conditions hold is taken; none: no clock."
    )
    calendar: str = Field(default="always", title="Calendar", description="Its name; `always` counts all hours.")
    pause_while_waiting: bool = Field(
        default=True,
        title="Pause while waiting",
        description="Whether resolution stands still while the customer is asked.",
    )
    priorities: dict[Priority, float] = Field(
        default_factory=dict,
        title="Factors by priority",
        description="Of the target, such as {'urgent': 0.5}. A changed priority measures running clocks anew.",
    )
    escalations: tuple[Escalation, ...] = Field(default=STEPS, title="Escalations")
    regulations: tuple[Regulation, ...] = Field(
        default=(), title="Regulations", description="Times that a law sets, counted in calendar days."
    )
    followers: Followers | None = Field(
        default=None, title="Followers", description="None: how many follow somebody changes nothing."
    )


class ResponseTime(Policy[ResponseSla]):
    """Starts, stops and re-targets the clocks of a matter, and says what is due when they run out."""

    type: ClassVar[str] = "response_sla"
    title: ClassVar[str] = "Response times"
    description: ClassVar[str] = (
        "Targets for the first and the next response and for resolution, the same in public and in private. A "
        "request to write in private and a canned text do not count as an answer. Warns, notes the breach, "
        "escalates."
    )
    Params = ResponseSla
    needs: ClassVar[Needs] = Needs(timeline=20, reader=True, clocks=True)

    def on_interaction(self, case: Case, interaction: Interaction) -> Iterable[Effect]:
        """Start what this message is owed: a first response, or the next one, once the brand has spoken."""
        target = target_of(self.params.targets, interaction)
        if target is None:
            return
        answered = any(entry.who == "agent" and entry.at <= interaction.published_at for entry in case.timeline)
        first = not answered or any(clock.kind == "first_response" and _open(clock) for clock in case.clocks)
        kind: ClockKind = "first_response" if first else "next_response"
        count = target.first_minutes if first else target.next_minutes
        factor = self._factor(case, interaction)
        if count is not None:
            yield self._clock(kind, minutes(count * factor), pause=False)
        if target.resolution_minutes is not None and not any(clock.kind == "resolution" for clock in case.clocks):
            span = minutes(target.resolution_minutes * factor)
            yield self._clock("resolution", span, pause=self.params.pause_while_waiting)
        if not answered:
            for regulation in self.params.regulations:
                yield StartClock(
                    kind=regulation.kind,
                    target=timedelta(days=regulation.days),
                    pause_while_waiting=False,
                    steps=steps_of(self.params.escalations),
                    label=regulation.rule,
                )

    def review_reply(self, case: Case, rendered: Rendered) -> Iterable[Finding | Effect]:
        """What the answer fulfils, once it is published."""
        yield from self._answered(self.read_reply(case, rendered), case.clocks)

    def on_own_post(self, case: Case, post: Interaction) -> Iterable[Finding | Effect]:
        """An answer that was given at the source itself stops the clock too."""
        if post.in_reply_to is not None or post.kind == "direct_message":
            yield from self._answered(self.read_message(case, post), case.clocks)

    def on_ticket(self, case: Case, change: TicketChanged) -> Iterable[Effect]:
        """Solving ends what runs, reopening begins it again, another priority measures it anew."""
        before = case.ticket.status if case.ticket else None
        running = [clock for clock in case.clocks if _open(clock)]
        if change.status in ("solved", "closed"):
            if any(clock.kind == "resolution" for clock in running):
                yield StopClock(kinds=("resolution",))
            if any(clock.kind in RESPONSES for clock in running):
                yield StopClock(kinds=RESPONSES, outcome="void")  # nobody waits for an answer any more
        elif change.status in ("new", "open") and before in ("solved", "closed"):
            ended = next((clock for clock in case.clocks if clock.kind == "resolution" and clock.target), None)
            if ended is not None and ended.target is not None:
                yield self._clock("resolution", ended.target, pause=self.params.pause_while_waiting)
        if change.priority is not None and case.ticket is not None and change.priority != case.ticket.priority:
            yield from self._measured_anew(case, change.priority)

    def on_clock(self, case: Case, clock: ClockFacts) -> Iterable[Effect]:
        """Say on the ticket, and to whom the step names, that time is running out or has run out."""
        step = next((one for one in self.params.escalations if one.name == clock.step), None)
        if step is None:
            return
        yield AddTags(tags=(f"sla_{step.name}",))
        if step.priority is not None:
            yield SetPriority(priority=step.priority)
        what = f"{clock.kind.replace('_', ' ')}{f' ({clock.label})' if clock.label else ''}"
        due = f"{clock.due_at:%Y-%m-%d %H:%M} UTC" if clock.due_at else "no time"
        if step.at >= 1:
            yield Note(text=f"The {what} was due at {due}: {step.name}, {clock.share:.0%} of the time has passed.")
        if step.alarm is not None:
            message = f"{what}: {step.name} after {clock.share:.0%} of the time, due at {due}"
            yield Alarm(severity=step.alarm, code=f"sla_{step.name}", message=message)

    def _answered(self, reading: Reading, clocks: tuple[ClockFacts, ...]) -> Iterable[Finding | Effect]:
        running = {clock.kind for clock in clocks if _open(clock)}
        elsewhere = reading.has("invites_private") and not reading.has("next_step")
        if running & set(RESPONSES) and (elsewhere or reading.has("canned")):
            why = "only asks to write in private" if elsewhere else "is a text that would fit anybody"
            marks = reading.of("invites_private" if elsewhere else "canned")
            quote = f' ("{marks[0].text}")' if marks else ""
            message = f"It {why}{quote}: the response time goes on until the matter itself is answered."
            yield Finding(
                severity=Severity.allow, code="response_time_goes_on", message=message, coverage=reading.coverage
            )
            if "acknowledged" in running and reading.has("acknowledges"):
                yield StopClock(kinds=("acknowledged",))
            return
        kinds: tuple[ClockKind, ...] = (*RESPONSES, "acknowledged")
        if reading.coverage == "none" or reading.has("next_step") or not reading.has("acknowledges"):
            kinds = (*kinds, "substantive_answer")
        yield StopClock(kinds=kinds)

    def _measured_anew(self, case: Case, priority: Priority) -> Iterable[Effect]:
        assert case.ticket is not None
        before = self.params.priorities.get(case.ticket.priority, 1.0)
        factor = self.params.priorities.get(priority, 1.0) / before
        if factor == 1.0:
            return
        for clock in case.clocks:
            if _open(clock) and clock.kind in (*RESPONSES, "resolution") and clock.target is not None:
                pause = clock.kind == "resolution" and self.params.pause_while_waiting
                yield self._clock(clock.kind, clock.target * factor, pause=pause)

    def _factor(self, case: Case, message: Interaction) -> float:
        factor = self.params.priorities.get(case.ticket.priority, 1.0) if case.ticket else 1.0
        loud = self.params.followers
        if loud is not None and (message.author.followers or 0) >= loud.at_least:
            factor *= loud.factor
        return factor

    def _clock(self, kind: ClockKind, span: timedelta, *, pause: bool) -> StartClock:
        return StartClock(
            kind=kind,
            target=span,
            calendar=self.params.calendar,
            pause_while_waiting=pause,
            steps=steps_of(self.params.escalations),
        )


def _open(clock: ClockFacts) -> bool:
    return clock.state in ("running", "paused", "breached")
