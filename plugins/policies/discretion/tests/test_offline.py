"""What belongs in private: what is asked for, what is told, and when a private way is due."""

from __future__ import annotations

import time
from typing import Any

import pytest

from gateway_discretion.offline import OfflineParams, TakeItOffline
from gateway_discretion.secrets import identifying
from gateway_schemas.decision import Finding, Note, TimelineEntry
from gateway_schemas.interaction import Author
from gateway_schemas.testing.policies import NOON, ToldReader, case, message, rendered, said

READER = ToldReader(
    {
        "your order number": "asks_personal_data_publicly",
        "DM": "invites_private",
        "broken": "complains",
        "works again": "says_solved",
        "+44 7700": "personal_data",
        "your treatment": "x_confirms_customer",
    }
)


def policy(**params: Any) -> TakeItOffline:
    return TakeItOffline(OfflineParams(**params), READER)


def codes(found: Any) -> list[tuple[str, str]]:
    return [(one.code, one.severity.value) for one in found if isinstance(one, Finding)]


def test_asking_for_personal_data_in_public_is_held() -> None:
    reply = rendered("Tell us your order number.")
    [finding] = policy().review_reply(case(), reply)
    assert isinstance(finding, Finding)
    assert (finding.code, finding.severity) == ("asks_personal_data_publicly", "hold")
    assert finding.evidence[0].text == "your order number"
    assert "direct message" in (finding.suggestion or "")
    assert not list(policy().review_reply(case(), rendered("Tell us your order number.", visibility="private")))


PRIVATE = said(
    (
        "customer",
        "Order 4471-88213, I paid €129.90. Write to ian.holt@example.com or 12 Mill Lane. My name is Ian Holt",
    ),
    private=True,
)


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        ("Order 4471-88213 is on its way.", "4471-88213"),
        ("Order 447188213 is on its way.", "447188213"),
        ("We refunded 129.90 € today.", "129.90 €"),
        ("We wrote to Ian.Holt@example.com.", "Ian.Holt@example.com"),
        ("A courier comes to 12 Mill Lane.", "12 Mill Lane"),
        ("Hi Ian, it is on its way.", "Ian"),
    ],
)
def test_what_is_known_only_privately_does_not_go_out_in_public(reply: str, told: str) -> None:
    [finding] = policy().review_reply(case(timeline=PRIVATE), rendered(reply))
    assert isinstance(finding, Finding)
    assert (finding.code, finding.severity) == ("private_in_public", "hold")
    here, there = finding.evidence
    assert (here.where, here.text, reply[here.start : here.end]) == ("reply", told, told)
    assert (there.where, there.index) == ("earlier", 0)
    assert PRIVATE[0].text[there.start : there.end] == there.text
    assert not list(policy().review_reply(case(timeline=PRIVATE), rendered(reply, visibility="private")))


@pytest.mark.parametrize(
    "reply",
    [
        "Hi Rita, it ships on 2026-03-14 at 10:30.",
        "It costs 12.50 € and 5 € postage.",
        "We open at 9.",
        "Call 0800 555 0100.",
    ],
)
def test_what_was_never_private_may_be_said(reply: str) -> None:
    assert not list(policy().review_reply(case(timeline=PRIVATE), rendered(reply)))


def test_what_was_said_in_public_too_may_be_repeated() -> None:
    public = said(("customer", "Ian here, order 447188213, 129.90 EUR lost"))
    together = case(timeline=(*public, *PRIVATE), interaction=message("and now?"))
    assert not list(policy().review_reply(together, rendered("Hi Ian, order 4471-88213: your €129.90 are on the way.")))


def test_the_name_of_the_private_account_is_private_unless_it_is_the_public_one() -> None:
    private = message("hello", visibility="private", author=Author(external_id="p", name="Ian Holt"))
    entry = TimelineEntry(at=NOON, who="customer", visibility="private", text="hello", interaction=private)
    stranger = message("hi", author=Author(external_id="q", handle="winelover", name="Wine Lover"))
    same = message("hi", author=Author(external_id="q", handle="ianholt", name="Ian Holt"))
    told = policy().review_reply(case(timeline=(entry,), interaction=stranger), rendered("Hi Ian!"))
    assert codes(told) == [("private_in_public", "hold")]
    assert not codes(policy().review_reply(case(timeline=(entry,), interaction=same), rendered("Hi Ian!")))


def test_kinds_can_be_left_out() -> None:
    assert not codes(policy(leak_kinds=["email"]).review_reply(case(timeline=PRIVATE), rendered("Hi Ian, 129.90 €.")))


def test_a_private_way_is_due_after_some_public_answers() -> None:
    twice = said(("customer", "broken"), ("agent", "Try this."), ("customer", "no"), ("agent", "Try that."))
    still = case(timeline=twice, interaction=message("still broken"))
    assert codes(policy().review_reply(still, rendered("And this?"))) == [("no_private_way", "warn")]
    assert not codes(policy().review_reply(still, rendered("Please DM us.")))
    assert not codes(policy(offer_after=3).review_reply(still, rendered("And this?")))
    thanks = case(timeline=twice, interaction=message("great"))
    assert not codes(policy().review_reply(thanks, rendered("You are welcome.")))
    offered = said(("agent", "Please DM us."), ("agent", "Try that."))
    assert not codes(policy().review_reply(case(timeline=offered, interaction=message("broken")), rendered("Hm.")))


def test_a_private_way_is_due_when_the_customer_exposed_themselves() -> None:
    exposed = case(interaction=message("call me: +44 7700 900123"))
    [finding] = policy().review_reply(exposed, rendered("We will."))
    assert isinstance(finding, Finding)
    assert (finding.code, finding.evidence[0].where) == ("no_private_way", "interaction")


def test_after_a_private_fix_a_closing_line_is_suggested() -> None:
    solved = message("it works again", visibility="private")
    began = said(("customer", "broken"), ("agent", "Please DM us."))
    assert not [one for one in policy().on_interaction(case(), solved) if isinstance(one, Note)]
    [note] = policy().on_interaction(case(timeline=(*began, *said(("agent", "Fixed."), private=True))), solved)
    assert isinstance(note, Note)
    assert "closing line" in note.text
    assert not list(policy(closing_line=False).on_interaction(case(timeline=began), solved))
    assert not list(policy().on_interaction(case(timeline=began), message("it works again")))


def test_regulated_brands_confirm_nobody() -> None:
    reply = rendered("We are glad that your treatment went well.")
    assert not codes(policy().review_reply(case(), reply))
    assert codes(policy(regulated=True).review_reply(case(), reply)) == [("confirms_customer", "hold")]


@pytest.mark.parametrize("text", ["1-" * 20_000, "A1/" * 20_000, "Ab " * 20_000, "1 (" * 20_000, "€1." * 20_000])
def test_hostile_texts_take_linear_time(text: str) -> None:
    def cost(size: int) -> float:
        begun = time.process_time()
        list(identifying(text[:size]))
        return time.process_time() - begun

    assert cost(40_000) < 8 * cost(10_000) + 0.2
