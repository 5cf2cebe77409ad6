"""Several policies, one decision: who wins, and what is recorded of those who lose."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.engine.judge import Said
from gateway.policy.combine import Combined, Stance, Waived, Wish, combine
from gateway.policy.sets import Active, Member, ordered
from gateway_schemas.decision import (
    AddTags,
    Alarm,
    Finding,
    Ignore,
    JoinIncident,
    Note,
    Route,
    SetFields,
    SetPriority,
    SettlePromise,
    Severity,
    StartClock,
)
from gateway_schemas.policy import Needs

NOW = datetime(2026, 3, 12, 10, 15, tzinfo=UTC)


def active(policy: str, *, tone: bool = False, **changes: Any) -> Active:
    """A policy of a set."""
    values: dict[str, Any] = {
        **{"policy": policy, "type": "t", "type_version": "1", "revision": 1, "params": {}, "mode": "on"},
        **{"on_error": "hold", "scope": {}},
        **changes,
    }
    return Active(Member(**values), Needs(), frozenset(), tone)


def finding(severity: str, code: str = "code", **more: Any) -> Finding:
    """Something noticed."""
    return Finding(severity=Severity(severity), code=code, message=f"{code}!", **more)


def said(point: str, *by: tuple[Active, Any], stance: Stance | None = None) -> Combined:
    """The decision on what policies said: values, or a whole `Said`."""
    asked = [(one, values if isinstance(values, Said) else Said(tuple(values))) for one, values in by]
    return combine(point, asked, stance or Stance())


def outcomes(found: Combined) -> list[tuple[str, str, str | None]]:
    """Who asked for which effect, and why it was lost."""
    return [(wish.policy, wish.effect.effect, wish.lost) for wish in found.wishes]


def test_the_strictest_finding_is_the_verdict_and_all_are_recorded() -> None:
    found = said("review_reply", (active("a"), [finding("warn")]), (active("b"), [finding("block"), finding("hold")]))
    assert found.severity is Severity.block
    assert [one["severity"] for one in found.findings] == ["warn", "block", "hold"]
    assert said("review_reply", (active("a"), [])).severity is Severity.allow


def test_a_shadow_policy_is_recorded_and_counts_for_nothing() -> None:
    shadow = active("a", mode="shadow")
    found = said("review_reply", (shadow, [finding("block"), AddTags(tags=("x",))]))
    assert found.severity is Severity.allow
    assert found.findings[0]["mode"] == "shadow"
    assert outcomes(found) == [("a", "add_tags", "the policy is in shadow mode")]


@pytest.mark.parametrize("on_error", ["allow", "warn", "hold", "block"])
def test_outbound_a_policy_that_cannot_be_asked_does_what_its_revision_says(on_error: str) -> None:
    broken = Said(code="plugin_bug", reason="ValueError in f (x.py:1)")
    found = said("review_reply", (active("a", on_error=on_error), broken))
    assert (found.severity.value, found.findings[0]["code"]) == (on_error, "policy_error")


def test_inbound_a_policy_that_cannot_be_asked_changes_nothing_and_is_recorded() -> None:
    found = said(
        "on_interaction", (active("a"), Said(code="deadline", reason="too long")), (active("b"), [Note(text="x")])
    )
    assert found.errors[0]["error"] == "deadline: too long"
    assert outcomes(found) == [("b", "note", None)]


def test_the_highest_priority_wins_and_tags_are_united() -> None:
    found = said(
        "on_interaction",
        (active("a"), [SetPriority(priority="high"), AddTags(tags=("x",))]),
        (active("b"), [SetPriority(priority="urgent"), AddTags(tags=("y",))]),
    )
    assert outcomes(found) == [
        ("a", "set_priority", "b asks for urgent"),
        ("a", "add_tags", None),
        ("b", "set_priority", None),
        ("b", "add_tags", None),
    ]


def test_of_routes_and_values_the_first_in_the_explicit_order_wins() -> None:
    policies = ordered([active("z", order=1), active("a", order=2)])
    assert [one.member.policy for one in policies] == ["z", "a"]
    found = said(
        "on_interaction",
        (policies[0], [Route(group="one"), SetFields(fields={"cause": "delay"})]),
        (policies[1], [Route(group="two"), SetFields(fields={"cause": "damage", "owner": "ann"})]),
    )
    assert outcomes(found) == [
        ("z", "route", None),
        ("z", "set_fields", None),
        ("a", "route", "another route comes first: that of z"),
        ("a", "set_fields", None),
        ("a", "set_fields", "z says what cause is"),
    ]
    assert [wish.effect for wish in found.applied if isinstance(wish.effect, SetFields)] == [
        SetFields(fields={"cause": "delay"}),
        SetFields(fields={"owner": "ann"}),
    ]


def test_ignoring_loses_to_whatever_wants_a_ticket_and_not_to_a_clock() -> None:
    ignore, clock = Ignore(reason="spam"), StartClock(kind="first_response", target=timedelta(hours=1))
    found = said("on_interaction", (active("a"), [ignore]), (active("b"), [AddTags(tags=("x",))]))
    assert outcomes(found)[0] == ("a", "ignore", "b wants a ticket (add_tags)")
    assert outcomes(said("on_interaction", (active("a"), [ignore]), (active("b"), [clock])))[0][2] is None
    shadow = active("c", mode="shadow")
    assert outcomes(said("on_interaction", (active("a"), [ignore]), (shadow, [Note(text="x")])))[0][2] is None


@pytest.mark.parametrize(
    "insists",
    [SetPriority(priority="urgent"), Route(group="g"), Alarm(severity="critical", code="safety", message="m")],
    ids=lambda one: one.effect,
)
def test_what_is_urgent_is_never_counted_under_an_incident(insists: Any) -> None:
    found = said("on_interaction", (active("a"), [JoinIncident(key="k")]), (active("b"), [insists]))
    assert outcomes(found)[0] == ("a", "join_incident", "b wants a ticket of its own for it")
    found = said("on_interaction", (active("a"), [JoinIncident(key="k")]), (active("b"), [SetPriority(priority="low")]))
    assert outcomes(found)[0][2] is None


def test_a_waiver_silences_one_policy_and_says_on_whose_word() -> None:
    until = NOW + timedelta(hours=1)
    stance = Stance(waived={"a": Waived(until, "agreed with legal", "ann")})
    found = said(
        "review_reply",
        (active("a"), [finding("block"), Note(text="x")]),
        (active("b"), [finding("warn")]),
        stance=stance,
    )
    assert (found.severity, found.until) == (Severity.warn, until)
    assert found.findings[0]["waived"] == {"by": "ann", "reason": "agreed with legal", "until": until}
    assert outcomes(found) == [("a", "note", "waived by ann: agreed with legal")]


def test_while_too_much_is_held_manners_only_warn_and_an_incident_is_stricter_still() -> None:
    manners, rule = active("manners", tone=True), active("rule")
    found = said("review_reply", (manners, [finding("hold")]), (rule, [finding("warn")]), stance=Stance(softened=True))
    assert found.severity is Severity.warn
    assert (found.findings[0]["was"], found.for_tone) == ("hold", True)
    stance = Stance({"outage": {"rule": "hold", "manners": "block"}}, softened=True)
    found = said("review_reply", (manners, [finding("hold")]), (rule, [finding("warn")]), stance=stance)
    assert [one["severity"] for one in found.findings] == ["block", "hold"]
    assert found.findings[1]["because"] == "the incident outage is open"


def test_the_breaker_counts_what_manners_alone_would_hold() -> None:
    manners = active("m", tone=True)
    assert said("review_reply", (manners, [finding("hold")])).for_tone
    assert not said("review_reply", (manners, [finding("hold")]), (active("r"), [finding("hold")])).for_tone
    assert not said("review_reply", (manners, [finding("warn")])).for_tone


def test_a_language_nobody_reads_is_said_once_by_the_strictest() -> None:
    unread = Said((), coverage="none")
    policies = (active("a", on_uncovered="warn"), active("b", on_uncovered="hold"), active("c", on_uncovered="allow"))
    found = said("review_reply", *((one, unread) for one in policies))
    assert (found.severity, found.coverage) == (Severity.hold, "none")
    [one] = found.findings
    assert (one["policy"], one["code"], one["also"]) == ("b", "language_not_covered", ["a", "c"])


def test_what_the_scope_did_not_cover_is_not_in_the_decision() -> None:
    assert said("review_reply", (active("a"), Said(asked=False))).findings == ()


def test_an_effect_comes_back_from_the_decision_as_it_was() -> None:
    wish = Wish("a", "t", 3, SettlePromise(promise="p", outcome="broken", evidence="late"))
    assert Wish.of(wish.document()) == wish


EFFECTS = st.sampled_from(
    [
        SetPriority(priority="high"),
        SetPriority(priority="low"),
        AddTags(tags=("x",)),
        Ignore(reason="r"),
        JoinIncident(key="k"),
        Route(group="g"),
        SetFields(fields={"cause": "a"}),
        SetFields(fields={"cause": "b"}),
        Alarm(severity="critical", code="c", message="m"),
    ]
)


@given(st.lists(st.lists(EFFECTS, max_size=3), max_size=5))
def test_whatever_is_asked_for_one_thing_is_done(wanted: list[list[Any]]) -> None:
    found = said("on_interaction", *((active(str(number)), values) for number, values in enumerate(wanted)))
    done = [wish.effect for wish in found.applied]
    asked = [value for values in wanted for value in values]
    assert sum(isinstance(one, SetPriority) for one in done) == min(
        1, sum(isinstance(one, SetPriority) for one in asked)
    )
    assert sum(isinstance(one, Route) for one in done) <= 1
    assert len([name for one in done if isinstance(one, SetFields) for name in one.fields]) <= 1
    if any(isinstance(one, Ignore) for one in done):
        assert not any(isinstance(one, SetPriority | AddTags | SetFields | Route | JoinIncident) for one in done)
    assert len(found.wishes) >= len(asked), "nothing that was asked for goes unrecorded"
    assert all(wish.lost for wish in found.wishes if wish not in found.applied)


def test_a_post_in_a_language_nobody_reads_raises_no_alarm() -> None:
    found = said("on_own_post", (active("a", on_uncovered="block"), Said((), coverage="none")))
    assert (found.severity, found.findings[0]["code"]) == (Severity.allow, "language_not_covered")
