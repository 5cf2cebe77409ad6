"""Conditions are checked when they are saved: names, types and cost, with the place and the nearest right word."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_schemas.conditions import NESTED_MOST, ConditionError, checked, holds, needs
from gateway_schemas.decision import Case, CustomerFacts, TicketFacts, TimelineEntry, WindowFacts
from gateway_schemas.interaction import Author, Interaction, Rating
from gateway_schemas.policy import Needs

NOW = datetime(2026, 3, 12, 10, 15, tzinfo=UTC)


def review(**more: Any) -> Interaction:
    """What came in."""
    values: dict[str, Any] = {
        **{"external_id": "1", "revision": "1", "account": "brand", "kind": "review", "visibility": "public"},
        **{"author": Author(external_id="rita", handle="rita"), "text": "the parcel", "published_at": NOW},
        **more,
    }
    return Interaction(**values)


def case(**more: Any) -> Case:
    """What is known besides."""
    return Case(**{"now": NOW, "source": "x", **more})


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ("interaction.kindd == 'post'", "Interaction has no field kindd; did you mean kind? (column 13)"),
        ("interactoin.kind == 'post'", "there is no interactoin; did you mean interaction? (column 1)"),
        ("interaction.kind == 'reveiw'", "it is never 'reveiw'; did you mean review? (column 18)"),
        ("ticket.priority in ['high', 'urgnt']", "it is never 'urgnt'; did you mean urgent?"),
        ("interaction.rating == null", "asked after with has(…)"),
        ("interaction.text > 3", "a text cannot be compared with a whole number"),
        ("interaction.rating.value == 'one'", "a number never equals a text"),
        ("interaction.text", "a condition is true or false; this is a text"),
        ("customer.tickets + 1", "a condition is true or false"),
        ("interaction.text.size() > 3", "size counts the members of a list or a map"),
        ("interaction.text.matches('(?=a)')", "the pattern cannot be used"),
        ("interaction.text.matches(interaction.title)", "a pattern that is written out"),
        ("interaction.text.matches('(a{1,1000}){1,1000}')", "the pattern cannot be used"),
        ("interaction.text.lower() == 'a'", "there is no function lower"),
        ("foo(1)", "there is no function foo"),
        ("lists[interaction.author.handle].exists(x, x == 'a')", "is written out"),
        ("timeline.all(now, true)", "now has a meaning already"),
        ("timeline.all(a, timeline.all(b, timeline.all(c, true)))", "more than 2 of"),
        ("window.count > 3 * window.expected", "write double(…) round the whole number"),
        ("now - ticket.opened_at > duration('3 days')", 'a duration is written "90m"'),
        ("!" * 40 + "true", "nested more than 24 levels"),
        ("(" * 40 + "true" + ")" * 40, "nested more than 24 levels"),
        (" || ".join(["true"] * 300), "more than 200 parts"),
        ("source in [" + ", ".join(["'a'"] * 300) + "]", "more than 200 members"),
        ("source == 'a", "a text does not end (column 11)"),
        ("source ==", "a value is needed instead of 'the end'"),
        ("source = 'a'", "'=' is not part of the language"),
        ("source == 'a'\n&& kind == 'b'", "there is no kind; did you mean interaction.kind? (line 2, column 4)"),
        ("source == '\\d'", "a backslash is written"),
        ("has(interaction)", "has asks after a field"),
        ("reply.body.a.b > 1u", "leave the u out"),
        ("", "a value is needed"),
    ],
)
def test_what_is_wrong_is_said_with_the_place(condition: str, says: str) -> None:
    with pytest.raises(ConditionError) as caught:
        checked(condition)
    assert says in str(caught.value)
    assert "column" in str(caught.value)


def test_a_place_in_several_lines_names_the_line() -> None:
    with pytest.raises(ConditionError, match=r"\(line 2, column 4\)"):
        checked("source == 'a'\n&& kind == 'b'")


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ('interaction.kind == "review" && interaction.rating.value <= 2', True),
        ("has(interaction.rating) && !has(interaction.title)", True),
        ("interaction.title.contains('x')", False),
        ("interaction.title.contains('x') || source == 'x'", True),
        ("has(ticket.assignee)", False),
        ("'vip' in ticket.tags", True),
        ("ticket.tags.exists(t, t.startsWith('v')) && !ticket.tags.all(t, t == 'vip')", True),
        ("now - ticket.opened_at > duration('24h')", True),
        ("timeline.exists(m, m.who == 'agent' && m.visibility == 'private')", True),
        ("timeline.filter(m, m.who == 'agent').size() == 1", True),
        ("facts.crm.tier == 'gold' && facts['crm'].spent > 10", True),
        ("facts.erp.late", False),
        ("interaction.author.handle in lists.vips", True),
        ("interaction.author.handle in lists.nobody", False),
        ("double(window.count) > 3.0 * window.expected", True),
        ("interaction.text.matches('(?i)PARCEL$')", True),
        ("interaction.published_at.getHours() == 10", True),
        ("customer.tickets > 2 ? brand == 'Acme' : false", True),
        ("point == 'on_interaction'", True),
        ("source in ['x', 'y'] // a remark", True),
    ],
)
def test_a_condition_holds_of_a_case(condition: str, expected: bool) -> None:
    known = case(
        brand="Acme",
        ticket=TicketFacts(id="t", tags=("vip", "late"), opened_at=NOW - timedelta(days=2)),
        timeline=(TimelineEntry(at=NOW, who="agent", visibility="private", text="Sorry"),),
        customer=CustomerFacts(id="c", tickets=3),
        window=WindowFacts(count=10, expected=2.0, span=timedelta(hours=1)),
        lists={"vips": ("rita", "bob")},
        facts={"crm": {"tier": "gold", "spent": 12.5}},
    )
    assert holds(condition, "on_interaction", known, review(rating=Rating(value=1))) is expected


def test_values_that_do_not_fit_are_an_error_and_not_an_answer() -> None:
    with pytest.raises(ConditionError, match="the values do not fit"):
        holds("facts.crm.tier > 3", "on_interaction", case(facts={"crm": {"tier": "gold"}}), review())


def test_looking_through_long_lists_within_lists_is_refused_before_it_begins() -> None:
    condition = "lists.a.all(x, lists.a.all(y, x == y))"
    assert holds(condition, "on_interaction", case(lists={"a": ("1",) * NESTED_MOST}), review())
    with pytest.raises(ConditionError, match="more than 200 members"):
        holds(condition, "on_interaction", case(lists={"a": ("1",) * (NESTED_MOST + 1)}), review())


def test_a_pattern_runs_in_linear_time() -> None:
    hostile = review(text="a" * 50_000 + "b")
    began = time.monotonic()
    assert not holds("interaction.text.matches('^(a|a)*$')", "on_interaction", case(), hostile)
    assert not holds("interaction.text.matches('(a+)+$')", "on_interaction", case(), hostile)
    assert time.monotonic() - began < 5


def test_no_more_is_needed_than_is_read() -> None:
    assert needs("source == 'x'") == Needs()
    assert needs("timeline.size() > 1 && clocks.size() > 0").model_dump(exclude_defaults=True) == {
        "timeline": 50,
        "clocks": True,
    }
    assert needs("'a' in lists.one || 'a' in lists['two']").lists == ("one", "two")


@given(st.text(alphabet="abc.()[]{}'\"!&|<>=+-*/%?: \n1230,\\", max_size=40))
def test_any_text_is_either_a_condition_or_an_error_with_a_place(text: str) -> None:
    try:
        place = len(checked(text).text)
    except ConditionError as error:
        place = error.at
    assert 0 <= place <= len(text)
