"""Response times: which clocks start, what stops them, and what happens as they run out."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from gateway_schemas.decision import (
    AddTags,
    Alarm,
    ClockFacts,
    Finding,
    Note,
    SetPriority,
    StartClock,
    StopClock,
    TicketFacts,
)
from gateway_schemas.interaction import Author, Rating
from gateway_schemas.testing.policies import NOON, ToldReader, case, message, own_post, rendered, said
from gateway_schemas.ticket import TicketChanged
from gateway_service.response import ResponseSla, ResponseTime

READER = ToldReader({"sorry": "acknowledges", "DM us": "invites_private", "tomorrow": "next_step", "Thanks!": "canned"})


def policy(**params: Any) -> ResponseTime:
    return ResponseTime(ResponseSla(**params), READER)


def clock(kind: Any = "first_response", **changes: Any) -> ClockFacts:
    values: dict[str, Any] = {
        "id": kind,
        "kind": kind,
        "policy": "response-sla",
        "state": "running",
        "started_at": NOON,
        "due_at": NOON + timedelta(hours=1),
        "target": timedelta(hours=1),
    }
    return ClockFacts(**{**values, **changes})


def started(effects: Any) -> dict[str, int]:
    return {one.kind: int(one.target.total_seconds() // 60) for one in effects if isinstance(one, StartClock)}


def stopped(effects: Any) -> set[str]:
    return {kind for one in effects if isinstance(one, StopClock) for kind in one.kinds}


@pytest.mark.parametrize(
    ("changes", "minutes"),
    [
        ({}, 60),
        ({"kind": "direct_message", "visibility": "private"}, 60),
        ({"kind": "review", "rating": Rating(value=1)}, 1440),
        ({"kind": "review", "rating": Rating(value=3)}, 2880),
        ({"kind": "review", "rating": Rating(value=5)}, 2880),
        ({"kind": "review", "rating": Rating(value=5), "text": ""}, None),
        ({"kind": "review", "rating": Rating(value=9, best=10, worst=0), "text": ""}, None),
        ({"kind": "review", "rating": None, "recommendation": "negative"}, 2880),
    ],
)
def test_the_first_response_by_what_came_in(changes: dict[str, Any], minutes: int | None) -> None:
    found = started(policy().on_interaction(case(), message(**changes)))
    assert found == ({} if minutes is None else {"first_response": minutes})


def test_public_and_private_have_the_same_target() -> None:
    public = list(policy().on_interaction(case(), message()))
    private = list(policy().on_interaction(case(), message(kind="direct_message", visibility="private")))
    assert public == private


def test_after_an_answer_the_next_response_is_owed() -> None:
    earlier = said(("customer", "late"), ("agent", "sorry"))
    assert started(policy().on_interaction(case(timeline=earlier), message())) == {"next_response": 240}


def test_a_second_message_before_any_answer_keeps_the_first_response() -> None:
    earlier = said(("customer", "late"))
    running = case(timeline=earlier, clocks=(clock(),))
    assert started(policy().on_interaction(running, message())) == {"first_response": 60}


def test_an_answer_that_was_given_later_than_the_message_answers_nothing_before_it() -> None:
    earlier = said(("agent", "something else"))
    arrived_late = message(published_at=NOON - timedelta(hours=3))
    assert started(policy().on_interaction(case(timeline=earlier), arrived_late)) == {"first_response": 60}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A new one leaves today.", {"first_response", "next_response", "acknowledged", "substantive_answer"}),
        ("So sorry to hear that.", {"first_response", "next_response", "acknowledged"}),
        (
            "So sorry, a new one comes tomorrow.",
            {"first_response", "next_response", "acknowledged", "substantive_answer"},
        ),
        ("Please DM us.", set()),
        ("So sorry! Please DM us.", {"acknowledged"}),
        (
            "It comes tomorrow; DM us for the number.",
            {"first_response", "next_response", "acknowledged", "substantive_answer"},
        ),
        ("Thanks!", set()),
    ],
)
def test_what_an_answer_fulfils(text: str, expected: set[str]) -> None:
    asked = case(clocks=(clock(), clock("acknowledged"), clock("substantive_answer")))
    found = list(policy().review_reply(asked, rendered(text)))
    assert stopped(found) == expected
    goes_on = [one for one in found if isinstance(one, Finding)]
    assert bool(goes_on) == ("first_response" not in expected)
    assert all(one.severity == "allow" for one in goes_on)


def test_a_language_nobody_reads_fulfils() -> None:
    mute = ResponseTime(ResponseSla(), ToldReader(coverage="none"))
    assert "first_response" in stopped(mute.review_reply(case(clocks=(clock(),)), rendered("Прошу прощения")))


def test_an_answer_at_the_source_counts_and_a_post_of_its_own_does_not() -> None:
    asked = case(clocks=(clock(),))
    assert "first_response" in stopped(policy().on_own_post(asked, own_post("A new one leaves.", in_reply_to="m1")))
    assert stopped(policy().on_own_post(asked, own_post("We deliver on Sundays."))) == set()


def test_solving_ends_resolution_and_voids_what_nobody_waits_for() -> None:
    asked = case(ticket=TicketFacts(id="1", status="open"), clocks=(clock(), clock("resolution")))
    stops = {one.kinds: one.outcome for one in policy().on_ticket(asked, TicketChanged(ticket="1", status="solved"))}  # type: ignore[union-attr]
    assert stops == {("resolution",): "met", ("first_response", "next_response"): "void"}


def test_reopening_gives_the_same_span_again() -> None:
    # eight hours of a calendar that was closed over night: when it was due says nothing of how long it was given
    ended = clock("resolution", state="met", due_at=NOON + timedelta(hours=24), target=timedelta(hours=8))
    asked = case(ticket=TicketFacts(id="1", status="solved"), clocks=(ended,))
    assert started(policy().on_ticket(asked, TicketChanged(ticket="1", status="open"))) == {"resolution": 480}


def test_another_priority_measures_anew() -> None:
    asked = case(ticket=TicketFacts(id="1", priority="normal"), clocks=(clock(), clock("acknowledged")))
    change = TicketChanged(ticket="1", priority="urgent")
    assert started(policy(priorities={"urgent": 0.25}).on_ticket(asked, change)) == {"first_response": 15}
    assert started(policy().on_ticket(asked, change)) == {}


def test_the_steps_of_a_clock() -> None:
    warning = list(policy().on_clock(case(), clock(step="warning", share=0.75)))
    assert [type(one) for one in warning] == [AddTags]
    breach = list(policy().on_clock(case(), clock(step="breach", share=1.0)))
    assert [type(one) for one in breach] == [AddTags, SetPriority, Note, Alarm]
    assert breach[0] == AddTags(tags=("sla_breach",))
    assert list(policy().on_clock(case(), clock(step="of another revision"))) == []


def test_followers_change_nothing_unless_one_says_what_that_does() -> None:
    loud = message(author=Author(external_id="star", followers=2_000_000))
    assert started(policy().on_interaction(case(), loud)) == {"first_response": 60}
    with pytest.raises(ValidationError, match="teach people to shout"):
        policy(followers={"at_least": 1000, "factor": 0.5})
    faster = policy(followers={"at_least": 1000, "factor": 0.5, "teaches_people_to_shout": True})
    assert started(faster.on_interaction(case(), loud)) == {"first_response": 30}


def test_regulations_count_calendar_days_from_the_complaint() -> None:
    airline = policy(regulations=[{"kind": "acknowledged", "days": 30, "rule": "14 CFR 259.7"}])
    effects = [one for one in airline.on_interaction(case(), message()) if isinstance(one, StartClock)]
    assert {one.kind: one.target for one in effects}["acknowledged"] == timedelta(days=30)
    later = case(timeline=said(("agent", "sorry")))
    assert "acknowledged" not in started(airline.on_interaction(later, message()))
