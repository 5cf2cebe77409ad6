"""Promises: made when published, kept, broken, and worse the second time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from gateway_schemas.decision import (
    AddTags,
    Alarm,
    ClockFacts,
    CustomerFacts,
    MakePromise,
    Note,
    PromiseFacts,
    SetFields,
    SetPriority,
    SettlePromise,
    TicketFacts,
)
from gateway_schemas.testing.policies import NOON, ToldReader, case, message, own_post, rendered
from gateway_schemas.ticket import TicketChanged
from gateway_service.promises import KeepPromises, KeptPromises

FRIDAY = NOON + timedelta(days=1)
READER = ToldReader(
    {
        "as promised": "x_as_promised",
        "lost": "complains",
        "all good now": "says_solved",
        "still nothing": "says_unsolved",
    },
    {"a refund by Friday": FRIDAY, "we'll fix this": None},
)
STANDING = {"name": "baggage-24h", "text": "Your bag within 24 hours.", "words": ["bag", "suitcase"]}


def policy(**params: Any) -> KeptPromises:
    return KeptPromises(KeepPromises(**params), READER)


def promise(**changes: Any) -> PromiseFacts:
    values: dict[str, Any] = {"id": "p1", "quote": "a refund by Friday", "made_at": NOON, "due": FRIDAY}
    return PromiseFacts(**{**values, **changes})


def clock(step: str, **changes: Any) -> ClockFacts:
    values: dict[str, Any] = {"id": "c", "kind": "promise", "policy": "keep-promises", "state": "running"}
    return ClockFacts(**{**values, "started_at": NOON, "step": step, "promise": "p1", **changes})


def settled(effects: Any) -> list[str]:
    return [one.outcome for one in effects if isinstance(one, SettlePromise)]


def test_a_dated_and_an_undated_promise() -> None:
    made = list(policy().review_reply(case(), rendered("You get a refund by Friday, and we'll fix this.")))
    assert [(one.quote, one.due, one.review_at) for one in made if isinstance(one, MakePromise)] == [
        ("a refund by Friday", FRIDAY, None),
        ("we'll fix this", None, NOON + timedelta(days=7)),
    ]


def test_what_is_promised_already_is_not_promised_twice() -> None:
    assert list(policy().review_reply(case(promises=(promise(),)), rendered("As said: a refund by Friday."))) == []


def test_a_promise_at_the_source_binds_where_there_is_a_matter() -> None:
    post = own_post("we'll fix this", in_reply_to="m1")
    assert list(policy().on_own_post(case(), post)) == []
    assert len(list(policy().on_own_post(case(ticket=TicketFacts(id="1")), post))) == 1


def test_an_answer_that_says_so_keeps_the_promise() -> None:
    done = "The money has gone out, as promised."
    assert settled(policy().review_reply(case(promises=(promise(),)), rendered(done))) == ["kept"]
    assert settled(policy().review_reply(case(), rendered(done))) == []
    late = case(now=FRIDAY + timedelta(minutes=1), promises=(promise(),))
    assert settled(policy().review_reply(late, rendered(done))) == [], "the clock breaks it"
    other = case(promises=(promise(), promise(id="p2", quote="we'll fix this", due=None)))
    assert settled(policy().review_reply(other, rendered(done))) == [], "which one, a person says"
    more = "As to the lamp, as promised: a refund by Friday."
    assert settled(policy().review_reply(case(promises=(promise(quote="a call"),)), rendered(more))) == []
    post = own_post(done, in_reply_to="m1")
    assert settled(policy().on_own_post(case(ticket=TicketFacts(id="1"), promises=(promise(),)), post)) == ["kept"]


def test_solved_in_time_is_kept_and_too_late_is_not() -> None:
    asked = case(promises=(promise(),))
    in_time = TicketChanged(ticket="1", status="solved", updated_at=FRIDAY)
    late = TicketChanged(ticket="1", status="solved", updated_at=FRIDAY + timedelta(hours=1))
    assert settled(policy().on_ticket(asked, in_time)) == ["kept"]
    assert settled(policy().on_ticket(asked, late)) == []


def test_the_customers_word() -> None:
    overdue = case(now=FRIDAY + timedelta(hours=2), promises=(promise(),))
    assert settled(policy().on_interaction(overdue, message("all good now"))) == ["kept"]
    assert settled(policy().on_interaction(overdue, message("still nothing"))) == ["broken"]
    assert settled(policy().on_interaction(case(promises=(promise(),)), message("still nothing"))) == []


def test_a_broken_promise_and_a_second_one() -> None:
    asked = case(promises=(promise(),), customer=CustomerFacts(id="c"))
    first = list(policy().on_clock(asked, clock("breach")))
    assert [type(one) for one in first] == [SettlePromise, AddTags, SetPriority, Note, Alarm]
    assert first[2] == SetPriority(priority="high")
    again = case(promises=(promise(),), customer=CustomerFacts(id="c", promises_broken=1))
    second = list(policy().on_clock(again, clock("breach")))
    assert second[2] == SetPriority(priority="urgent")
    assert isinstance(second[4], Alarm)
    assert second[4].severity == "critical"


def test_a_warning_breaks_nothing_and_what_is_settled_says_nothing() -> None:
    assert settled(policy().on_clock(case(promises=(promise(),)), clock("warning"))) == []
    assert list(policy().on_clock(case(promises=(promise(state="kept"),)), clock("breach"))) == []
    assert list(policy().on_clock(case(), clock("breach"))) == []


def test_a_step_that_is_not_the_policys_own_goes_by_the_time_that_passed() -> None:
    """The clock of a promise that a person wrote down has the usual steps, whatever they are called here."""
    mine = policy(escalations=[{"at": 1, "name": "breach"}])
    asked = case(promises=(promise(),))
    early = clock("warning").model_copy(update={"share": 0.75})
    assert settled(mine.on_clock(asked, early)) == []
    assert settled(mine.on_clock(asked, early.model_copy(update={"share": 1.0}))) == ["broken"]


def test_an_undated_promise_is_looked_at_and_not_broken() -> None:
    found = list(policy().on_clock(case(promises=(promise(due=None),)), clock("breach")))
    assert settled(found) == []
    assert AddTags(tags=("promise_review",)) in found


def test_which_standing_promise_broke() -> None:
    airline = policy(standing=[STANDING])
    found = list(airline.on_interaction(case(), message("You lost my suitcase")))
    assert SetFields(fields={"broken_promise": "baggage-24h"}) in found
    assert list(airline.on_interaction(case(), message("Which bag may I take along?"))) == []
    assert list(airline.on_interaction(case(), message("You lost my bagel"))) == [], "whole words only"
