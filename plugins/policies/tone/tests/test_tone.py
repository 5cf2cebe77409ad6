"""Manners: what is pointed out, what is held, and what passes."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_schemas.decision import AddTags, Evidence, Finding, Note, Severity, TicketFacts
from gateway_schemas.interaction import Rating
from gateway_schemas.testing.policies import ToldReader, case, message, own_post, rendered, said
from gateway_tone.acknowledge import AcknowledgeFirst, AcknowledgeParams
from gateway_tone.argument import ArgumentParams, NoArgument
from gateway_tone.listen import ListenFirst, ListenParams

READER = ToldReader(
    {
        "terrible": "x_upset",
        "two hours": "vents",
        "too long": "acknowledges",
        "sorry": "apologises",
        "tomorrow": "next_step",
        "liable": "admits_liability",
        "your fault": "blames",
        "idiot": "insults",
        "lawyers": "threatens",
        "not true": "argues",
        "calm down": "condescends_or_excuses",
        "valued customer": "canned",
    }
)


def codes(found: Any) -> list[tuple[str, str]]:
    return [(one.code, one.severity.value) for one in found if isinstance(one, Finding)]


def acknowledging(**params: Any) -> AcknowledgeFirst:
    return AcknowledgeFirst(AcknowledgeParams(**params), READER)


UPSET = message("terrible, I waited")


@pytest.mark.parametrize(
    ("params", "reply", "expected"),
    [
        ({}, "See our FAQ.", [("not_acknowledged", "warn")]),
        ({}, "You waited too long.", []),
        ({}, "That is too long, sorry.", [("apology_without_next_step", "warn")]),
        ({}, "That is too long, sorry. I call you tomorrow.", []),
        ({"apology": "expected"}, "You waited too long.", [("apology_missing", "warn")]),
        ({"apology": "forbidden"}, "Too bad: too long, sorry, tomorrow.", [("apology_forbidden", "warn")]),
        ({"severity": "hold"}, "See our FAQ.", [("not_acknowledged", "hold")]),
        ({"when": ["safety"]}, "See our FAQ.", []),
        ({}, "We are liable, and it took too long.", [("admits_liability", "hold")]),
    ],
)
def test_the_first_answer_to_an_upset_customer(params: Any, reply: str, expected: Any) -> None:
    found = acknowledging(**params).review_reply(case(interaction=UPSET), rendered(reply))
    assert codes(found) == expected


def test_a_bad_review_asks_to_be_acknowledged_whatever_it_says() -> None:
    bad, good = message("ok", rating=Rating(value=2)), message("ok", rating=Rating(value=3))
    assert codes(acknowledging().review_reply(case(interaction=bad), rendered("Hello."))) == [
        ("not_acknowledged", "warn")
    ]
    assert not codes(acknowledging().review_reply(case(interaction=good), rendered("Hello.")))


def test_only_the_first_public_answer_must_acknowledge() -> None:
    after_public = case(interaction=UPSET, timeline=said(("agent", "It took too long.")))
    after_private = case(interaction=UPSET, timeline=said(("agent", "It took too long."), private=True))
    assert not codes(acknowledging().review_reply(after_public, rendered("See our FAQ.")))
    assert codes(acknowledging().review_reply(after_private, rendered("See our FAQ."))) == [
        ("not_acknowledged", "warn")
    ]


def test_one_apology_in_a_matter_is_enough_on_either_leg() -> None:
    again = case(interaction=message("where is it"), timeline=said(("agent", "So sorry."), private=True))
    assert codes(acknowledging().review_reply(again, rendered("sorry, tomorrow"))) == [("apologises_again", "warn")]
    assert not codes(acknowledging(apologies=2).review_reply(again, rendered("sorry, tomorrow")))


def test_liability_is_held_in_private_too_and_manners_are_not_judged_there() -> None:
    private = rendered("We are liable. sorry", visibility="private")
    assert codes(acknowledging().review_reply(case(interaction=UPSET), private)) == [("admits_liability", "hold")]


def test_a_language_nobody_reads_is_not_scolded() -> None:
    policy = AcknowledgeFirst(AcknowledgeParams(), ToldReader({"terrible": "x_upset"}, coverage="none"))
    assert not codes(policy.review_reply(case(interaction=UPSET), rendered("Ei tää")))


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("You idiot!", [("insults", "hold")]),
        ("It is your fault.", [("blames", "hold")]),
        ("Our lawyers will write.", [("threatens", "hold")]),
        ("That is not true.", [("argues", "warn")]),
        ("Now calm down.", [("condescends_or_excuses", "warn")]),
        ("Our price is 12 euros.", []),
    ],
)
def test_quarrels_in_public(reply: str, expected: Any) -> None:
    policy = NoArgument(ArgumentParams(), READER)
    found = list(policy.review_reply(case(), rendered(reply)))
    assert codes(found) == expected
    for finding in found:
        assert isinstance(finding, Finding)
        assert all(reply[one.start : one.end] == one.text for one in finding.evidence)
    assert codes(policy.on_own_post(case(), own_post(reply))) == expected


@pytest.mark.parametrize(("doubtful", "expected"), [(False, []), (True, [("argues", "warn")])])
def test_what_the_reader_is_not_sure_of_is_pointed_out_on_request_alone(doubtful: bool, expected: Any) -> None:
    reader = ToldReader({"recall it differently": "argues"}, unsure=["recall it differently"])
    policy = NoArgument(ArgumentParams(doubtful=doubtful), reader)
    assert codes(policy.review_reply(case(), rendered("We recall it differently."))) == expected


def test_blame_is_told_once_as_blame() -> None:
    class Both(ToldReader):
        def read(self, text: str, **given: Any) -> Any:
            reading = super().read(text, **given)
            double = [mark.model_copy(update={"signal": "argues"}) for mark in reading.marks]
            return reading.model_copy(update={"marks": (*reading.marks, *double)})

    policy = NoArgument(ArgumentParams(), Both({"your fault": "blames"}))
    assert codes(policy.review_reply(case(), rendered("It is your fault."))) == [("blames", "hold")]


def test_private_answers_may_disagree_but_not_insult() -> None:
    policy = NoArgument(ArgumentParams(), READER)
    assert not codes(policy.review_reply(case(), rendered("That is not true.", visibility="private")))
    assert codes(policy.review_reply(case(), rendered("You idiot.", visibility="private"))) == [("insults", "hold")]
    strict = NoArgument(ArgumentParams(private=True, argues=Severity.hold), READER)
    assert codes(strict.review_reply(case(), rendered("not true", visibility="private"))) == [("argues", "hold")]


def test_whoever_vents_is_labelled_once_and_not_answered_from_a_template() -> None:
    policy = ListenFirst(ListenParams(), READER)
    venting = message("two hours on the phone")
    first = list(policy.on_interaction(case(), venting))
    assert [type(one) for one in first] == [AddTags, Note]
    known = case(ticket=TicketFacts(id="1", tags=("listen",)))
    assert [type(one) for one in policy.on_interaction(known, venting)] == [AddTags]
    assert not list(policy.on_interaction(case(), message("when do you open?")))
    [finding] = policy.review_reply(case(interaction=venting), rendered("Dear valued customer"))
    assert isinstance(finding, Finding)
    assert finding.evidence == (Evidence(start=5, end=20, text="valued customer"),)
    assert not list(policy.review_reply(case(interaction=message("hi")), rendered("Dear valued customer")))
    assert not list(policy.review_reply(case(interaction=venting), rendered("Two hours is awful.")))


def test_parameters_name_what_they_do_not_know() -> None:
    with pytest.raises(ValueError, match="stars_at_mots"):
        AcknowledgeParams.model_validate({"stars_at_mots": 3})
