"""What is critical, what needs no ticket, what many say at once, and what caused it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from gateway_intake.causes import RootCause, RootCauseParams
from gateway_intake.surge import Surge, SurgeParams
from gateway_intake.triage import Critical, CriticalFirst, Triage, TriageParams
from gateway_schemas.decision import (
    AddTags,
    Alarm,
    CustomerFacts,
    Ignore,
    IncidentFacts,
    JoinIncident,
    OpenIncident,
    SetFields,
    SetPriority,
    TicketFacts,
    WindowFacts,
)
from gateway_schemas.interaction import Attachment, Rating
from gateway_schemas.testing.policies import NOON, ToldReader, case, message
from gateway_schemas.ticket import TicketChanged

READER = ToldReader(
    {
        "great": "praises",
        "fantastic day of non-functioning": "sarcastic",
        "why": "asks",
        "buy followers": "spam",
        "caught fire": "safety",
        "my lawyer": "legal",
        "lost": "complains",
        "KP-4711": "personal_data",
    }
)


def triage(**params: Any) -> Triage:
    return Triage(TriageParams(**params), READER)


@pytest.mark.parametrize(
    ("text", "changes", "ignored"),
    [
        ("great service", {}, True),
        ("buy followers here", {}, True),
        ("another great, fantastic day of non-functioning mail", {}, False),
        ("great, but why so late", {}, False),
        ("great, it caught fire", {}, False),
        ("nothing the reader knows", {}, False),
        ("great", {"attachments": (Attachment(url="https://files.example/a"),)}, False),
        ("great", {"rating": Rating(value=1)}, False),
        ("great", {"rating": Rating(value=5)}, True),
        ("", {"rating": Rating(value=5)}, True),
        ("", {"rating": Rating(value=2)}, False),
        ("", {}, False),
        ("great", {"recommendation": "negative"}, False),
    ],
)
def test_what_needs_no_ticket(text: str, changes: dict[str, Any], ignored: bool) -> None:
    found = list(triage().on_interaction(case(), message(text, **changes)))
    assert [type(one) for one in found] == ([Ignore] if ignored else [])


def test_what_is_not_understood_or_has_a_ticket_is_never_ignored() -> None:
    mute = Triage(TriageParams(), ToldReader({"great": "praises"}, coverage="partial"))
    assert list(mute.on_interaction(case(), message("great"))) == []
    assert list(triage().on_interaction(case(ticket=TicketFacts(id="1")), message("great"))) == []


def test_critical_things_page() -> None:
    policy = Critical(CriticalFirst(), READER)
    found = list(policy.on_interaction(case(), message("it caught fire, my lawyer will write")))
    assert SetPriority(priority="urgent") in found
    assert AddTags(tags=("critical", "critical_legal", "critical_safety")) in found
    [alarm] = [one for one in found if isinstance(one, Alarm)]
    assert (alarm.severity, alarm.code) == ("critical", "critical_safety")
    listed = case(lists={"critical_words": ("gas smell",)})
    assert any(isinstance(one, Alarm) for one in policy.on_interaction(listed, message("There is a GAS smell")))
    assert list(policy.on_interaction(case(), message("where is it"))) == []


def window(count: int, expected: float) -> WindowFacts:
    return WindowFacts(count=count, expected=expected, span=timedelta(minutes=30))


@pytest.mark.parametrize(
    ("count", "expected", "opens"),
    [(19, 0, False), (20, 0, True), (60, 20, False), (61, 20, True), (24, 8, False), (25, 8, True), (1000, 900, False)],
)
def test_what_is_a_surge(count: int, expected: float, opens: bool) -> None:
    policy = Surge(SurgeParams(), READER)
    found = list(policy.on_interaction(case(window=window(count, expected)), message()))
    assert [type(one) for one in found] == ([OpenIncident] if opens else [])


def test_the_key_of_an_incident_is_fit_for_a_tag() -> None:
    [found] = Surge(SurgeParams(), READER).on_interaction(
        case(brand="Kestrel Parcels", window=window(20, 0)), message()
    )
    assert isinstance(found, OpenIncident)
    assert found.key == "surge:kestrel-parcels:x"


def test_near_duplicates_join_and_cases_of_their_own_do_not() -> None:
    incident = IncidentFacts(
        key="surge:all:x", title="t", opened_at=NOON, members=("The app does not let me log in today",)
    )
    open_now = case(incidents=(incident,), window=window(500, 1))
    policy = Surge(SurgeParams(), READER)
    same = "the app does not let me log in"
    assert [type(one) for one in policy.on_interaction(open_now, message(same))] == [JoinIncident]
    for other in (
        message("my parcel is late"),
        message(f"{same} KP-4711"),
        message(f"{same}, my lawyer"),
        message(same, visibility="private", kind="direct_message"),
        message(same, attachments=(Attachment(url="https://files.example/a"),)),
    ):
        assert list(policy.on_interaction(open_now, other)) == []
    with_ticket = open_now.model_copy(update={"ticket": TicketFacts(id="1")})
    assert list(policy.on_interaction(with_ticket, message(same))) == []


CAUSES = {"causes": [{"name": "lost-baggage", "owner": "Ground handling", "words": ["suitcase"]}]}


def test_a_complaint_names_its_cause_and_an_agent_overrules_it() -> None:
    policy = RootCause(RootCauseParams.model_validate(CAUSES), READER)
    named = SetFields(fields={"cause": "lost-baggage", "cause_owner": "Ground handling"})
    assert named in policy.on_interaction(case(), message("you lost my suitcase"))
    assert list(policy.on_interaction(case(), message("which suitcase may I take"))) == []
    known = case(ticket=TicketFacts(id="1", fields={"cause": "weather"}))
    assert list(policy.on_interaction(known, message("you lost my suitcase"))) == []
    change = TicketChanged(ticket="1", tags=("cause:weather", "cause:lost-baggage"))
    assert named in policy.on_ticket(known, change)
    assert list(policy.on_ticket(known, TicketChanged(ticket="1", tags=("cause:weather",)))) == []
    other = TicketChanged(ticket="1", tags=("cause:something-new",))
    assert list(policy.on_ticket(known, other)) == [SetFields(fields={"cause": "something-new"})]


def test_a_repeat_is_told_to_the_owner() -> None:
    policy = RootCause(RootCauseParams.model_validate(CAUSES), READER)
    again = case(customer=CustomerFacts(id="c", causes=("lost-baggage", "weather")))
    [alarm] = [one for one in policy.on_interaction(again, message("lost my suitcase")) if isinstance(one, Alarm)]
    assert alarm.owner == "Ground handling"
