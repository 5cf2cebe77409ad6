"""A second person where it is asked for, and one approval for what goes to many."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_oversight.eyes import FourEyes, SecondPerson
from gateway_oversight.mass import MassReply, SameToMany
from gateway_schemas.decision import AgentFacts, Finding, IncidentFacts, TicketFacts
from gateway_schemas.interaction import Author
from gateway_schemas.testing.policies import NOON, ToldReader, case, message, own_post, rendered

READER = ToldReader({"our fault": "admits_liability", "idiot": "insults"})
INCIDENT = IncidentFacts(key="k", title="Depot fire", opened_at=NOON)


def eyes(**params: Any) -> SecondPerson:
    return SecondPerson(FourEyes(**params), READER)


@pytest.mark.parametrize(
    ("params", "facts", "text", "held"),
    [
        ({}, {}, "Anything.", True),
        ({"words": ["recall"]}, {}, "A Recall is under way.", True),
        ({"words": ["recall"]}, {}, "I do not recall.", True),
        ({"words": ["call"]}, {}, "A recall.", False),
        ({"signals": ["admits_liability"]}, {}, "It was our fault.", True),
        ({"signals": ["admits_liability"]}, {}, "It was the weather.", False),
        ({"tags": ["vip"]}, {"ticket": TicketFacts(id="1", tags=("vip",))}, "Hello.", True),
        ({"tags": ["vip"]}, {"ticket": TicketFacts(id="1")}, "Hello.", False),
        ({"during_incidents": True}, {"incidents": (INCIDENT,)}, "Hello.", True),
        ({"during_incidents": True}, {}, "Hello.", False),
        ({"kinds": ["review"]}, {"interaction": message()}, "Hello.", False),
    ],
)
def test_when_a_second_person_is_needed(params: Any, facts: dict[str, Any], text: str, held: bool) -> None:
    found = list(eyes(**params).review_reply(case(**facts), rendered(text)))
    assert [one.severity for one in found if isinstance(one, Finding)] == (["hold"] if held else [])


def test_many_followers_read_along() -> None:
    star = message(author=Author(external_id="s", followers=90_000))
    policy = eyes(followers_at_least=50_000)
    assert list(policy.review_reply(case(interaction=star), rendered("Hello.")))
    assert not list(policy.review_reply(case(interaction=message()), rendered("Hello.")))


def test_private_answers_are_left_alone_unless_asked_for() -> None:
    private = rendered("Hello.", visibility="private")
    assert not list(eyes().review_reply(case(), private))
    assert list(eyes(visibility=None).review_reply(case(), private))


def test_evidence_is_where_the_word_stands() -> None:
    [finding] = eyes(words=["recall"]).review_reply(case(), rendered("The recall, the Recall."))
    assert isinstance(finding, Finding)
    assert [(one.start, one.end, one.text) for one in finding.evidence] == [(4, 10, "recall"), (16, 22, "Recall")]


def test_what_was_posted_elsewhere_alarms() -> None:
    [finding] = eyes(words=["recall"]).on_own_post(case(), own_post("idiot, no recall"))
    assert isinstance(finding, Finding)
    assert finding.code == "own_post_at_risk"
    assert {one.text for one in finding.evidence} == {"recall", "idiot"}
    assert not list(eyes().on_own_post(case(), own_post("Good morning!")))


@pytest.mark.parametrize(
    ("same", "text", "held"),
    [
        (6, "We are aware of it and work on it.", True),
        (5, "We are aware of it and work on it.", False),
        (99, "Thanks!", False),
    ],
)
def test_the_same_to_many(same: int, text: str, held: bool) -> None:
    policy = SameToMany(MassReply(), None)
    agent = AgentFacts(id="ann", replies_with_same_text=same)
    assert bool(list(policy.review_reply(case(agent=agent), rendered(text)))) is held
    assert SameToMany.needs_of(MassReply(window_minutes=5)).same_text is not None
