"""Clocks as policies see them, and what policies ask of clocks."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from gateway.sla.clock import BY_POLICY, Clock, Kind, Step, Terms
from gateway.sla.requests import Cancel, Fulfil, Start
from gateway_schemas.decision import ClockFacts, ClockStep, MakePromise, SettlePromise, StartClock, StopClock


def clock_facts(clock: Clock, now: datetime, step: str = "") -> ClockFacts:
    """What a policy may know of a clock; `step` is the name of the step that it is asked about."""
    end = clock.stopped_at if clock.stopped_at is not None else now
    return ClockFacts(
        id=str(clock.id),
        kind=clock.kind,
        policy=clock.policy,
        state=_state(clock),
        started_at=clock.started_at,
        due_at=clock.due_at,
        target=clock.terms.target,
        step=step,
        share=clock.share(end),
        label=clock.label,
        promise=clock.slot if clock.kind == "promise" else None,
    )


def _state(clock: Clock) -> Literal["running", "paused", "met", "breached", "void"]:
    match clock.state:
        case "running":
            return "running" if clock.breached_at is None else "breached"
        case "paused":
            return "paused"
        case "cancelled":
            return "void"
        case "met" | "missed":
            return "met"  # fulfilled, if late: `share` tells


def start_request(
    effect: StartClock, ticket_id: UUID, at: datetime, seen_at: datetime, *, policy: str, revision: int
) -> Start:
    """The request of a policy's effect. `at` is the time of the event that it was asked about.

    What counts as an answer is the policy's to say, by its word; a solved ticket has a resolution in any case.
    """
    terms = Terms(
        target=effect.target,
        steps=_steps(effect.steps),
        stops_on="solved" if effect.kind == "resolution" else "effect",
        pauses=effect.pause_while_waiting,
    )
    return Start(ticket_id, effect.kind, at, seen_at, terms, effect.calendar, policy, revision, label=effect.label)


def stop_request(
    effect: StopClock,
    ticket_id: UUID,
    at: datetime,
    seen_at: datetime,
    *,
    policy: str,
    written: datetime | None = None,
) -> Fulfil | Cancel:
    """The request of a policy's effect. For a reply, `at` is when it was published, until then nothing is fulfilled,
    and `written` when it was written."""
    kinds = frozenset(effect.kinds)
    if effect.outcome == "void":
        return Cancel(ticket_id, at, seen_at, f"{BY_POLICY}{policy}", kinds)
    return Fulfil(ticket_id, at, seen_at, f"{BY_POLICY}{policy}", "effect", kinds, written=written)


def promise_request(
    effect: MakePromise,
    promise: str,
    ticket_id: UUID,
    at: datetime,
    seen_at: datetime,
    *,
    policy: str,
    revision: int | None,
) -> Start | None:
    """The clock of a promise, by its id: until it is due, or to be looked at again. None without either time."""
    due = effect.due or effect.review_at
    if due is None:
        return None
    terms = Terms(due=due, steps=_steps(effect.steps), stops_on="effect", pauses=False)
    return Start(
        ticket_id, "promise", at, seen_at, terms, effect.calendar, policy, revision, slot=promise, label=effect.quote
    )


def settle_request(
    effect: SettlePromise, ticket_id: UUID, at: datetime, seen_at: datetime, *, by: str
) -> Fulfil | Cancel:
    """What a settled promise means for its clock: kept, it is fulfilled; any other is waited for no longer.

    `by` is `policy:<name>` or, over REST, `person:<name>`.
    """
    kinds: frozenset[Kind] = frozenset({"promise"})
    if effect.outcome == "kept":
        return Fulfil(ticket_id, at, seen_at, by, "effect", kinds, effect.promise)
    return Cancel(ticket_id, at, seen_at, f"{effect.outcome}: {by}", kinds, effect.promise)


def _steps(given: tuple[ClockStep, ...]) -> tuple[Step, ...]:
    return tuple(Step(one.at, one.name, one.notify) for one in given)
