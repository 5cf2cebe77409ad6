"""Who had to go public, and whether a solved matter is solved."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from gateway_schemas.decision import AddTags, AskCustomer, CustomerFacts, Note, TicketFacts
from gateway_schemas.testing.policies import ToldReader, case, message, said
from gateway_schemas.ticket import TicketChanged
from gateway_service.followup import QUESTIONS, Asked, FollowUp
from gateway_service.parity import ChannelParity, Parity

READER = ToldReader(
    {"wrote twice": "mentions_private_contact", "thanks, solved": "says_solved", "not solved": "says_unsolved"}
)


def parity(**params: Any) -> Parity:
    return Parity(ChannelParity(**params), READER)


def asked(**params: Any) -> Asked:
    return Asked(FollowUp(**params), READER)


def test_a_public_message_after_an_unanswered_private_one_is_marked() -> None:
    waiting = case(customer=CustomerFacts(id="c", private_unanswered=2))
    found = list(parity().on_interaction(waiting, message()))
    assert AddTags(tags=("forced_public",)) in found
    assert any(isinstance(one, Note) and "2 private messages" in one.text for one in found)
    private = message(kind="direct_message", visibility="private")
    assert list(parity().on_interaction(waiting, private)) == []


def test_the_customers_own_word_marks_too() -> None:
    assert AddTags(tags=("forced_public",)) in parity().on_interaction(case(), message("I wrote twice by e-mail"))
    assert list(parity().on_interaction(case(), message())) == []
    assert not any(isinstance(one, Note) for one in parity(note=False).on_interaction(case(), message("wrote twice")))


def solved(timeline: Any, status: str = "open", **params: Any) -> list[Any]:
    state = case(ticket=TicketFacts(id="1", status=status), timeline=timeline)  # type: ignore[arg-type]
    return list(asked(**params).on_ticket(state, TicketChanged(ticket="1", status="solved")))


def test_the_question_goes_to_the_private_leg_in_the_customers_language() -> None:
    talk = said(("customer", "my number is 12"), ("agent", "done"), private=True)
    assert solved(talk) == [AskCustomer(text=QUESTIONS["en"], after=timedelta(hours=24))]
    german = tuple(entry.model_copy(update={"language": "de-AT"}) for entry in talk)
    assert solved(german)[0].text == QUESTIONS["de"]


def test_nobody_is_asked_who_said_so_was_asked_or_never_wrote_in_private() -> None:
    assert solved(said(("customer", "thanks, solved"), private=True)) == []
    assert solved(said(("customer", "hm"), ("agent", QUESTIONS["en"]), private=True)) == []
    assert solved(said(("customer", "hm"))) == []
    assert len(solved(said(("customer", "hm")), private_only=False)) == 1
    assert solved(said(("customer", "hm"), private=True), status="solved") == [], "solved before: asked before"
    assert solved(()) == []


def test_a_no_is_heard() -> None:
    state = case(ticket=TicketFacts(id="1", status="solved"))
    assert AddTags(tags=("not_solved",)) in asked().on_interaction(state, message("it is not solved at all"))
    still_open = case(ticket=TicketFacts(id="1", status="open"))
    assert list(asked().on_interaction(still_open, message("not solved"))) == []
