"""Rules say what follows from a condition, and refuse to be saved where they cannot."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gateway_rule.plugin import RuleParams, RulePolicy
from gateway_schemas.decision import AddTags, Case, Finding, SetPriority, TicketFacts, TimelineEntry
from gateway_schemas.interaction import Author, Interaction, Rating, ReplyTarget
from gateway_schemas.policy import Needs
from gateway_schemas.reply import Rendered
from gateway_schemas.ticket import TicketChanged

FIXTURES = Path(__file__).parents[1] / "fixtures"
NOW = datetime(2026, 3, 12, 10, 15, tzinfo=UTC)


def rule(**params: Any) -> RulePolicy:
    """A rule with these parameters."""
    return RulePolicy(RuleParams.model_validate(params))


def review(stars: float | None) -> Interaction:
    """A review that came in."""
    return Interaction(
        external_id="1",
        revision="1",
        account="brand",
        kind="review",
        visibility="public",
        author=Author(external_id="rita", handle="rita"),
        text="The parcel was empty.",
        rating=None if stars is None else Rating(value=stars),
        published_at=NOW,
    )


def case(**more: Any) -> Case:
    """What is known besides."""
    return Case(**{"now": NOW, "source": "reviews", **more})


def test_what_follows_follows_where_the_condition_holds() -> None:
    angry = rule(**json.loads((FIXTURES / "urgent.json").read_text("utf-8")))
    assert angry.on_interaction(case(), review(1)) == (SetPriority(priority="high"), AddTags(tags=("angry",)))
    assert angry.on_interaction(case(), review(4)) == ()
    assert angry.on_interaction(case(), review(None)) == (), "without a rating there is nothing to compare"
    assert angry.on_own_post(case(), review(1)) == (), "another point"


def test_a_reply_is_judged_by_what_it_says_and_by_what_was_said() -> None:
    finding = {"severity": "hold", "code": "twice", "message": "A voucher was offered before."}
    twice = rule(
        at="review_reply",
        when='reply.text.matches("(?i)voucher") && timeline.exists(m, m.who == "agent" && m.text.contains("voucher"))',
        findings=[finding],
    )
    target = ReplyTarget(kind="review", ref="1")
    reply = Rendered(text="Here is a Voucher.", account="brand", target=target, visibility="public", length=18)
    offered = TimelineEntry(at=NOW, who="agent", visibility="private", text="Take a voucher")
    assert twice.review_reply(case(timeline=(offered,)), reply) == (Finding.model_validate(finding),)
    assert twice.review_reply(case(), reply) == ()
    assert RulePolicy.needs_of(twice.params).timeline > 0


def test_a_rule_on_what_a_person_changed() -> None:
    late = rule(
        at="on_ticket",
        when='change.status == "solved" && now - ticket.opened_at > duration("48h")',
        effects=[{"effect": "note", "text": "That took long."}],
    )
    ticket = TicketFacts(id="t", opened_at=NOW - timedelta(days=3))
    assert len(list(late.on_ticket(case(ticket=ticket), TicketChanged(ticket="7", status="solved")))) == 1
    assert late.on_ticket(case(ticket=ticket), TicketChanged(ticket="7", status="open")) == ()


@pytest.mark.parametrize(
    ("params", "field", "says"),
    [
        ({"when": "interaction.ratng.value > 1"}, ("when",), "did you mean rating? (column 13)"),
        ({"when": "interaction.text"}, ("when",), "true or false"),
        ({"when": 'interaction.text.matches("(?=a)")'}, ("when",), "the pattern cannot be used"),
        ({"when": "true", "effects": []}, (), "nothing follows"),
        (
            {"when": "true", "findings": [{"severity": "hold", "code": "c", "message": "m"}]},
            (),
            "on_interaction takes effects",
        ),
    ],
)
def test_what_cannot_work_is_refused_with_the_place(params: dict[str, Any], field: tuple[str, ...], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        RuleParams.model_validate({"effects": [{"effect": "note", "text": "x"}], **params})
    [error] = caught.value.errors()
    assert error["loc"] == field
    assert says in error["msg"]


def test_no_more_is_loaded_than_the_condition_reads() -> None:
    def read(when: str) -> Needs:
        return RulePolicy.needs_of(
            RuleParams.model_validate({"when": when, "effects": [{"effect": "note", "text": "x"}]})
        )

    assert read('source == "x"') == Needs()
    assert read("interaction.author.handle in lists.vips && customer.tickets > 2") == Needs(
        lists=("vips",), customer=True
    )
    assert read('facts["crm"].tier == "gold"') == Needs(facts=("crm",))
