"""One clock: its plan, and what late, early and repeated news do to it. No database."""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.db.tables.calendar import ALWAYS_ID
from gateway.sla.calendars import Calendar
from gateway.sla.clock import Clock, Step, Terms
from gateway.sla.clocks import _answer, _change, _start, _Ticket, _Use
from gateway.sla.facts import clock_facts, promise_request, settle_request, start_request, stop_request
from gateway.sla.hours import ALWAYS, WEEKDAYS, Hours, read_week
from gateway.sla.news import answered, customer_returned, status_changed
from gateway.sla.requests import Cancel, Fulfil, Start, bounded
from gateway.sla.told import told_of
from gateway.sla.zones import zone
from gateway_schemas.decision import ClockStep, MakePromise, SettlePromise, StartClock, StopClock

NOON = datetime(2026, 3, 12, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
TARGET = Terms(HOUR, steps=(Step(0.75, "warning"), Step(1.5, "team lead"), Step(2.0, "manager", ("ops",))))
BERLIN = zone("Europe/Berlin")
OFFICE = Calendar(Hours("Europe/Berlin", read_week({day: [["09:00", "17:00"]] for day in WEEKDAYS[:5]})))


def at(minutes: float) -> datetime:
    """So many minutes after noon."""
    return NOON + timedelta(minutes=minutes)


def clock(terms: Terms = TARGET, calendar: Calendar | None = None, start: datetime = NOON, **more: Any) -> Clock:
    """A clock that has just been started."""
    made = Clock(
        id=uuid4(),
        ticket_id=uuid4(),
        kind=more.pop("kind", "first_response"),
        terms=terms,
        calendar=calendar or Calendar(ALWAYS),
        calendar_id=ALWAYS_ID,
        calendar_version=1,
        started_at=start,
        **more,
    )
    made.start(start, start)
    return made


def told(one: Clock) -> list[tuple[str, int]]:
    """The events of a clock since this was asked last."""
    found = [(event.kind, event.step) for event in one.events]
    one.events.clear()
    return found


def test_steps_are_told_of_one_by_one_and_once() -> None:
    one = clock()
    assert (one.due_at, one.next_at) == (at(60), at(45))
    one.sweep(at(44))
    assert told(one) == []
    one.sweep(at(45))
    one.sweep(at(46))
    assert told(one) == [("warned", 1)]
    assert one.next_at == at(60)
    one.sweep(at(60))
    assert told(one) == [("breached", 2)]
    assert one.breached_at == at(60)
    one.sweep(at(90))
    one.sweep(at(120))
    assert told(one) == [("escalated", 3), ("escalated", 4)]
    assert one.next_at is None


def test_after_an_outage_only_the_strongest_step_is_told_of() -> None:
    one = clock()
    one.sweep(at(600))
    (event,) = one.events
    assert (event.kind, event.step, event.at) == ("escalated", 4, at(120))
    assert event.data["skipped"] == ["warning", "breach", "team lead"]
    assert (event.data["name"], event.data["notify"], event.data["due_at"]) == ("manager", ["ops"], at(60))
    assert one.breached_at == at(60)


def test_an_answer_in_time_meets_the_target_and_one_too_late_misses_it() -> None:
    one, other = clock(), clock()
    one.fulfil(at(60), "reply:1", at(61))
    assert (one.state, one.breached_at, told(one)) == ("met", None, [("met", 0)])
    other.fulfil(at(61), "reply:1", at(61))
    assert (other.state, other.breached_at, told(other)) == ("missed", at(60), [("breached", 2)])
    assert one.next_at is other.next_at is None


def test_a_target_used_up_at_closing_time_is_missed_by_an_answer_before_the_next_opening() -> None:
    friday = datetime(2026, 3, 13, 16, 0, tzinfo=BERLIN)
    one = clock(Terms(HOUR), OFFICE, friday)
    one.fulfil(datetime(2026, 3, 16, 8, 0, tzinfo=BERLIN), "reply:1", friday + 3 * 24 * HOUR)
    assert (one.state, one.breached_at) == ("missed", datetime(2026, 3, 13, 17, 0, tzinfo=BERLIN))


def test_an_earlier_answer_that_arrives_late_voids_a_false_breach() -> None:
    one = clock()
    one.sweep(at(60))
    assert told(one) == [("breached", 2)]
    one.fulfil(at(40), "interaction:1", at(70))
    assert (one.state, one.stopped_at, one.breached_at) == ("met", at(40), None)
    assert told(one) == [("voided", 0), ("met", 0)]


def test_an_earlier_answer_takes_the_place_of_a_later_one() -> None:
    one = clock()
    one.fulfil(at(80), "reply:2", at(80))
    assert told(one) == [("breached", 2)]
    one.fulfil(at(40), "reply:1", at(90))
    assert (one.state, one.stopped_at, one.stopped_by) == ("met", at(40), "reply:1")
    assert told(one) == [("voided", 0), ("met", 0)]


def test_waiting_for_the_customer_does_not_count() -> None:
    one = clock()
    one.pause(at(50), "waiting for the customer", at(50))
    assert (one.state, one.due_at, one.next_at) == ("paused", None, None)
    one.sweep(at(500))
    assert told(one) == []
    one.resume(at(500), at(500))
    assert one.due_at == at(510)
    one.sweep(at(500))
    assert (told(one), one.next_at) == ([("warned", 1)], at(510))
    one.fulfil(at(505), "reply:1", at(505))
    assert one.state == "met"


def test_a_pause_that_is_told_late_voids_what_ran_out_during_it() -> None:
    one = clock()
    one.sweep(at(60))
    told(one)
    one.pause(at(30), "waiting for the customer", at(65))
    assert (one.breached_at, told(one)) == (None, [("voided", 0)])
    one.resume(at(100), at(100))
    assert one.due_at == at(130)
    one.sweep(at(130))
    assert told(one) == [("breached", 2)], "it may be told of again when it really happens"


def test_pauses_over_a_change_of_the_clocks_leave_the_hours_right() -> None:
    night = Calendar(Hours("Europe/Berlin", (((0, 1440),),) * 7))
    start = datetime(2026, 3, 28, 22, 0, tzinfo=BERLIN)
    one = clock(Terms(timedelta(hours=6)), night, start)
    one.pause(datetime(2026, 3, 29, 1, 30, tzinfo=BERLIN), "waiting", start)
    one.resume(datetime(2026, 3, 29, 3, 30, tzinfo=BERLIN), start)  # half an hour later
    assert one.due_at == datetime(2026, 3, 29, 6, 0, tzinfo=BERLIN)
    autumn = datetime(2026, 10, 24, 22, 0, tzinfo=BERLIN)
    other = clock(Terms(timedelta(hours=6)), night, autumn)
    other.pause(datetime(2026, 10, 25, 1, 30, tzinfo=BERLIN), "waiting", autumn)
    other.resume(datetime(2026, 10, 25, 3, 30, tzinfo=BERLIN), autumn)
    assert other.due_at == datetime(2026, 10, 25, 6, 0, tzinfo=BERLIN)
    assert other.used() == timedelta(hours=3.5)


def test_reopening_goes_on_with_what_was_left_and_breaches_nothing_at_once() -> None:
    one = clock(Terms(10 * HOUR), kind="resolution")
    one.fulfil(at(120), "ticket:solved", at(120))
    one.reopen(at(6000), at(6000))
    assert (one.state, one.due_at) == ("running", at(6000 + 480))
    one.fulfil(one.due_at, "ticket:solved", one.due_at)
    assert one.state == "met"
    one.reopen(at(9000), at(9000))
    assert one.due_at == at(9060), "a tenth of the target at least"
    one.sweep(at(9001))
    assert "breached" not in {kind for kind, _ in told(one)}


def test_reopening_what_was_missed_tells_of_no_second_breach() -> None:
    one = clock(kind="resolution")
    one.sweep(at(60))
    one.fulfil(at(70), "ticket:solved", at(70))
    told(one)
    one.reopen(at(100), at(100))
    assert (one.state, one.breached_at) == ("running", at(60))
    one.sweep(at(101))
    assert told(one) == []
    assert one.next_at == at(120), "the escalation goes by time that ran"


def test_another_priority_measures_from_the_start() -> None:
    one = clock(Terms(4 * HOUR))
    one.retarget(Terms(HOUR), at(30))
    assert one.due_at == at(60)
    one.retarget(Terms(timedelta(minutes=10)), at(30))
    one.sweep(at(30))
    assert told(one) == [("breached", 2)]
    one.retarget(Terms(4 * HOUR), at(31))
    assert (told(one), one.breached_at, one.next_at) == ([("voided", 0)], None, at(180))


def test_a_named_due_time_is_moved_by_nothing() -> None:
    promised = Terms(due=at(24 * 60), stops_on="effect", steps=(Step(0.5, "half"), Step(1.5, "late")))
    one = clock(promised, kind="promise", label="by tomorrow")
    assert (one.due_at, one.next_at) == (at(24 * 60), at(12 * 60))
    one.sweep(at(24 * 60))
    assert told(one) == [("breached", 2)]
    assert one.next_at == at(36 * 60)
    closed = clock(Terms(due=datetime(2026, 3, 14, 12, tzinfo=UTC)), OFFICE, datetime(2026, 3, 13, 15, tzinfo=UTC))
    assert closed.due_at == datetime(2026, 3, 14, 12, tzinfo=UTC), "also outside of the hours"


@pytest.mark.parametrize(
    "terms", [{}, {"target": HOUR, "due": NOON}, {"target": -HOUR}, {"target": HOUR, "steps": (Step(0, "at once"),)}]
)
def test_terms_that_mean_nothing_are_refused(terms: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"a clock has|a target is|a step is"):
        Terms(**terms)


def test_nonsense_times_give_way_to_the_arrival_and_it_is_said() -> None:
    assert bounded(at(-60), NOON) == (at(-60), None)
    assert bounded(at(4), NOON) == (at(4), None)
    for nonsense in (at(10), datetime(2100, 1, 1, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC), at(-60 * 24 * 32)):
        taken, remark = bounded(nonsense, NOON)
        assert taken == NOON
        assert "arrival" in (remark or "")


@dataclass
class Matter:
    """A ticket without a database."""

    ticket: _Ticket

    def ask(self, minutes: float, kind: Any = "next_response", terms: Terms = TARGET) -> str | None:
        """The customer wrote."""
        start = Start(self.ticket.id, kind, at(minutes), at(minutes), terms)
        return _start(self.ticket, start, _Use(ALWAYS_ID, 1, Calendar(ALWAYS), None), at(0))

    def answer(self, minutes: float, *, written: float | None = None) -> None:
        """The brand answered."""
        begun = at(minutes if written is None else written)
        _change(self.ticket, answered(self.ticket.id, at(minutes), at(minutes), f"reply:{minutes}", begun), at(0))

    def status(self, status: Any, minutes: float) -> None:
        """The ticket's status changed at the helpdesk."""
        for one in status_changed(self.ticket.id, status, at(minutes), at(minutes)):
            assert not isinstance(one, Start)
            _change(self.ticket, one, at(minutes))  # type: ignore[arg-type]

    def spans(self) -> list[tuple[datetime, datetime | None]]:
        """From when to when each clock ran."""
        return sorted((one.started_at, one.stopped_at) for one in self.ticket.clocks)


def matter(owner: str = "gateway") -> Matter:
    """A ticket without clocks."""
    return Matter(_Ticket(uuid4(), owner, None))


@given(
    st.lists(st.tuples(st.sampled_from("qa"), st.integers(1, 400)), max_size=14, unique_by=lambda one: one[1]),
    st.randoms(use_true_random=False),
)
def test_questions_and_answers_give_the_same_clocks_in_whatever_order_they_arrive(
    told: list[tuple[str, int]], chance: random.Random
) -> None:
    """The oracle reads the conversation once, from above."""
    expected: list[tuple[datetime, datetime | None]] = []
    asked: int | None = None
    for kind, minute in sorted(told, key=lambda one: one[1]):
        if kind == "q" and asked is None:
            asked = minute
        elif kind == "a" and asked is not None:
            expected.append((at(asked), at(minute)))
            asked = None
    if asked is not None:
        expected.append((at(asked), None))
    arrived = list(told)
    chance.shuffle(arrived)
    arrived += [one for one in arrived if chance.random() < 0.3]  # and some come twice
    here = matter()
    for kind, minute in arrived:
        here.ask(minute) if kind == "q" else here.answer(minute)
    assert here.spans() == expected
    for one in here.ticket.clocks:
        late = one.stopped_at is not None and one.stopped_at - one.started_at > HOUR
        assert one.state == ("running" if one.stopped_at is None else "missed" if late else "met")
        assert (one.breached_at is not None) == late


def test_a_first_response_is_owed_once_and_from_the_earliest_message() -> None:
    here = matter()
    here.ask(10, "first_response")
    here.ask(20, "first_response")
    here.ask(5, "first_response")
    here.answer(30)
    here.ask(40, "first_response")
    assert here.spans() == [(at(5), at(30))]


def test_a_solved_ticket_stands_still_and_a_customer_who_returns_lets_it_go_on() -> None:
    here = matter()
    here.ask(0, "first_response")
    here.ask(0, "resolution", Terms(10 * HOUR, stops_on="solved"))
    here.ask(0, "acknowledged", Terms(20 * HOUR, stops_on="effect", pauses=False))
    here.status("solved", 30)
    states = {one.kind: one.state for one in here.ticket.clocks}
    assert states == {"first_response": "paused", "resolution": "met", "acknowledged": "running"}
    _change(here.ticket, customer_returned(here.ticket.id, at(300), at(300)), at(300))
    due = {one.kind: one.due_at for one in here.ticket.clocks}
    assert due["first_response"] == at(330)
    assert due["resolution"] == at(300 + 570)
    here.status("open", 301)
    here.status("waiting", 310)
    here.status("waiting", 311)
    here.status("closed", 400)
    states = {one.kind: one.state for one in here.ticket.clocks}
    assert states == {"first_response": "cancelled", "resolution": "met", "acknowledged": "running"}


@pytest.mark.parametrize("status", ["closed", "solved"])
@pytest.mark.parametrize(("minutes", "state"), [(10.1, "met"), (300.0, "missed")])
def test_an_answer_on_its_way_when_its_ticket_ended_counts_once_it_is_out(
    status: str, minutes: float, state: str
) -> None:
    here = matter()
    here.ask(0, "first_response")
    if status == "closed":
        here.status("closed", 10)
    else:
        void = StopClock(kinds=("first_response",), outcome="void")
        _change(here.ticket, stop_request(void, here.ticket.id, at(10), at(10), policy="sla"), at(10))
    (one,) = here.ticket.clocks
    assert (one.state, one.stopped_at) == ("cancelled", at(10))
    here.answer(minutes, written=10)
    assert (one.state, one.stopped_at, one.stretches) == (state, at(minutes), [(at(0), at(minutes))])
    assert one.reason is None


def test_time_in_which_the_customer_was_waited_for_does_not_count_for_an_answer_after_the_closing() -> None:
    here = matter()
    here.ask(0, "first_response")
    here.status("waiting", 10)
    here.status("closed", 100)
    here.answer(300, written=99)
    (one,) = here.ticket.clocks
    assert (one.state, one.stretches) == ("met", [(at(0), at(10))])


def test_an_answer_revives_no_clock_that_was_cancelled_for_another_reason() -> None:
    here = matter()
    here.ask(0, "first_response")
    _change(here.ticket, Cancel(here.ticket.id, at(10), at(10), "the ticket was deleted at the helpdesk"), at(10))
    here.answer(11, written=9)
    assert [one.state for one in here.ticket.clocks] == ["cancelled"]


def test_an_answer_at_the_source_that_is_learned_of_after_the_ticket_ended_counts() -> None:
    here = matter()
    here.ask(0, "first_response")
    here.status("closed", 10)
    _change(here.ticket, answered(here.ticket.id, at(9), at(11), "interaction:1"), at(11))
    (one,) = here.ticket.clocks
    assert (one.state, one.stopped_at) == ("met", at(9))


def test_the_end_of_a_ticket_that_is_read_late_leaves_the_clock_of_a_later_message() -> None:
    here = matter()
    here.ask(20, "first_response")
    here.status("closed", 10)
    void = StopClock(kinds=("first_response",), outcome="void")
    _change(here.ticket, stop_request(void, here.ticket.id, at(10), at(21), policy="sla"), at(21))
    assert [one.state for one in here.ticket.clocks] == ["running"]


def test_an_answer_that_was_written_after_the_ticket_ended_revives_no_clock() -> None:
    here = matter()
    here.ask(0, "first_response")
    here.status("closed", 10)
    here.answer(12, written=11)
    assert [one.state for one in here.ticket.clocks] == ["cancelled"]


@pytest.mark.parametrize(
    ("owner", "kinds"),
    [("gateway", {"first_response", "promise"}), ("helpdesk", {"promise"}), ("none", set())],
)
def test_the_gateway_runs_no_second_clock_where_others_own_them(owner: str, kinds: set[str]) -> None:
    here = matter(owner)
    refused = {kind: here.ask(0, kind) for kind in ("first_response", "promise")}
    assert {one.kind for one in here.ticket.clocks} == kinds
    assert {kind for kind, reason in refused.items() if reason == f"sla_owner: {owner}"} == set(refused) - kinds


def test_a_state_told_in_whole_seconds_counts_for_what_began_within_the_second() -> None:
    here = matter()
    here.ask(0.005, "first_response")
    here.status("waiting", 0)
    (one,) = here.ticket.clocks
    assert (one.state, one.stretches) == ("paused", [])
    here.status("open", 10)
    assert one.due_at == at(70)
    here.answer(9)
    assert one.state == "met"


def test_an_old_word_does_not_end_a_resolution_that_was_reopened_since() -> None:
    here = matter()
    effect = Terms(10 * HOUR, stops_on="effect")
    here.ask(0, "resolution", effect)
    solved = Fulfil(here.ticket.id, at(60), at(60), "policy:sla", "effect", frozenset({"resolution"}))
    _change(here.ticket, solved, at(60))
    (one,) = here.ticket.clocks
    here.ask(100, "resolution", effect)
    assert (one.state, one.due_at) == ("running", at(100 + 540))
    _change(here.ticket, solved, at(110))  # told a second time
    _answer(here.ticket, one, at(110))  # and looked for by the sweep
    assert one.state == "running"
    _change(here.ticket, dataclasses.replace(solved, at=at(120), seen_at=at(120)), at(120))
    _change(here.ticket, solved, at(130))
    assert (one.state, one.stopped_at) == ("met", at(120))


def test_named_kinds_alone_are_fulfilled_where_kinds_are_named() -> None:
    here = matter()
    here.ask(0, "first_response")
    here.ask(0, "substantive_answer", Terms(HOUR, stops_on="effect"))
    here.answer(10)
    effect = Fulfil(here.ticket.id, at(20), at(20), "policy:x", "effect", frozenset({"substantive_answer"}))
    assert [one.state for one in here.ticket.clocks] == ["met", "running"]
    _change(here.ticket, effect, at(20))
    assert [one.stopped_at for one in here.ticket.clocks] == [at(10), at(20)]


def test_agents_are_told_the_worst_state_and_the_next_due_time() -> None:
    one, other = clock(), clock(Terms(3 * HOUR), kind="resolution")
    assert told_of([]) is None
    assert (told_of([other, one]).sla, told_of([other, one]).next_due) == ("first_response: running", at(60))  # type: ignore[union-attr]
    one.sweep(at(45))
    assert told_of([one, other]).sla == "first_response: warned"  # type: ignore[union-attr]
    one.sweep(at(60))
    found = told_of([other, one])
    assert found is not None
    assert (found.sla, found.next_due) == ("first_response: breached", at(180))
    one.fulfil(at(61), "reply:1", at(61))
    other.fulfil(at(62), "ticket:solved", at(62))
    found = told_of([one, other])
    assert found is not None
    assert (found.sla, found.next_due) == ("resolution: met", None)


def test_policies_see_clocks_in_the_contracts_words_and_their_effects_become_requests() -> None:
    here = matter()
    effect = StartClock(
        kind="first_response", target=HOUR, calendar="always", steps=(ClockStep(at=0.5, name="half", notify=("a",)),)
    )
    start = start_request(effect, here.ticket.id, at(0), at(0), policy="sla", revision=2)
    assert (start.terms.steps, start.terms.stops_on) == ((Step(0.5, "half", ("a",)), Step(1.0, "breach")), "effect")
    assert _start(here.ticket, start, _Use(ALWAYS_ID, 1, Calendar(ALWAYS), None), at(0)) is None
    (one,) = here.ticket.clocks
    here.answer(10)
    facts = clock_facts(one, at(30), "half")
    assert (facts.state, facts.share, facts.target, facts.step, facts.promise) == ("running", 0.5, HOUR, "half", None)
    one.sweep(at(60))
    assert clock_facts(one, at(90)).state == "breached"
    stop = StopClock(kinds=("first_response",))
    _change(here.ticket, stop_request(stop, here.ticket.id, at(50), at(95), policy="sla"), at(95))
    assert (clock_facts(one, at(99)).state, one.stopped_by, one.breached_at) == ("met", "policy:sla", None)
    void = stop_request(StopClock(kinds=("first_response",), outcome="void"), one.ticket_id, at(0), at(0), policy="sla")
    assert isinstance(void, Cancel)
    promise = MakePromise(quote="by Friday", due=at(600))
    made = promise_request(promise, "p1", here.ticket.id, at(0), at(0), policy="keep", revision=1)
    assert made is not None
    assert (made.slot, made.label, made.terms.due, made.terms.pauses) == ("p1", "by Friday", at(600), False)
    _start(here.ticket, made, _Use(ALWAYS_ID, 1, Calendar(ALWAYS), None), at(0))
    other = dataclasses.replace(made, slot="p2")
    _start(here.ticket, other, _Use(ALWAYS_ID, 1, Calendar(ALWAYS), None), at(0))
    for promise_id, outcome in (("p1", "kept"), ("p2", "withdrawn")):
        settle = SettlePromise(promise=promise_id, outcome=outcome)  # type: ignore[arg-type]
        _change(here.ticket, settle_request(settle, here.ticket.id, at(30), at(30), by="policy:keep"), at(30))
    assert [(one.slot, one.state) for one in here.ticket.clocks[1:]] == [("p1", "met"), ("p2", "cancelled")]
    undated = MakePromise(quote="soon")
    assert promise_request(undated, "p2", here.ticket.id, at(0), at(0), policy="keep", revision=1) is None
