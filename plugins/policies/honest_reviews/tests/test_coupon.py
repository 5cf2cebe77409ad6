"""The rule over a whole conversation, with a reader that finds what it is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from gateway_honest_reviews.coupon import NoCouponForRetraction, NoCouponParams
from gateway_schemas.decision import Case, Finding, Severity, TimelineEntry
from gateway_schemas.reading import Reading
from gateway_schemas.testing.policies import ToldReader, case, message, own_post, rendered, said

READER = ToldReader(
    {
        "if you delete it you get a voucher": "incentive_for_retraction",
        "a voucher": "incentive_offered",
        "please delete it": "retraction_requested",
        "deal": "agrees",
        "refund sent": "grants_value",
        "no way": "declines",
        "forget the voucher": "withdraws_offer",
        "voucher and I delete it": "proposes_trade",
        "if you are happy, review us": "x_review_gating",
        "what do I get": "x_asks_price",
        "with no ties": "x_untied",
    }
)


def judge(reply: str, changes: dict[str, Any] | None = None, **params: Any) -> list[Finding]:
    policy = NoCouponForRetraction(NoCouponParams(**params), READER)
    return list(policy.review_reply(case(**(changes or {})), rendered(reply)))  # type: ignore[arg-type]


def after(*lines: tuple[Any, str], private: bool = False) -> dict[str, Sequence[TimelineEntry]]:
    return {"timeline": said(*lines, private=private)}


def test_both_halves_in_one_reply_block() -> None:
    (finding,) = judge("if you delete it you get a voucher")
    assert (finding.severity, finding.code) == (Severity.block, "incentive_for_retraction")
    assert finding.suggestion is not None
    assert "up to you" in finding.suggestion
    assert finding.rule


@pytest.mark.parametrize(
    ("lines", "reply"),
    [
        ([("agent", "a voucher for you")], "please delete it"),
        ([("agent", "please delete it")], "a voucher for you"),
        ([("agent", "a voucher for you"), ("customer", "thanks"), ("agent", "any news?")], "please delete it"),
        ([("customer", "voucher and I delete it")], "deal"),
        ([("customer", "voucher and I delete it"), ("agent", "one moment")], "a voucher for you"),
        ([("agent", "forget the voucher"), ("agent", "a voucher after all")], "please delete it"),
    ],
)
@pytest.mark.parametrize("private", [True, False])
def test_the_other_half_may_stand_earlier_in_either_leg(lines: list[Any], reply: str, private: bool) -> None:
    (finding,) = judge(reply, after(*lines, private=private))
    assert (finding.severity, finding.code) == (Severity.block, "incentive_for_retraction")
    here, there = finding.evidence
    assert (here.where, there.where) == ("reply", "earlier")
    assert there.index is not None
    assert lines[there.index][1][there.start : there.end] == there.text
    assert ("private" if private else "public") in finding.message


@pytest.mark.parametrize(
    ("lines", "reply"),
    [
        ([], "a voucher for you"),
        ([], "please delete it"),
        ([("agent", "a voucher for you"), ("agent", "forget the voucher")], "please delete it"),
        ([("agent", "a voucher for you")], "forget the voucher, please delete it"),
        ([("customer", "voucher and I delete it")], "no way"),
        ([("customer", "voucher and I delete it"), ("agent", "no way")], "deal"),
        ([("bystander", "voucher and I delete it")], "deal"),
        ([("customer", "a voucher was rejected")], "please delete it"),
        ([("customer", "hello")], "deal"),
    ],
)
def test_goodwill_refusal_and_what_was_taken_back_pass(lines: list[Any], reply: str) -> None:
    assert judge(reply, after(*lines)) == []


def test_money_that_a_customer_made_a_condition_waits_for_a_person() -> None:
    (finding,) = judge("refund sent", after(("customer", "voucher and I delete it")))
    assert (finding.severity, finding.code) == (Severity.hold, "incentive_for_retraction")


def test_a_proposal_in_the_message_itself_counts_without_a_timeline() -> None:
    (finding,) = judge("deal", {"interaction": message("voucher and I delete it")})
    assert [one.where for one in finding.evidence] == ["reply", "interaction"]


def test_a_message_that_is_also_in_the_timeline_counts_once() -> None:
    asked = message("voucher and I delete it")
    timeline = (*said(("customer", asked.text)), *said(("agent", "no way")))
    assert judge("deal", {"interaction": asked, "timeline": timeline}) == []


def test_it_looks_back_no_further_than_it_is_told() -> None:
    lines = [("agent", "a voucher for you"), *[("customer", "hm")] * 3]
    assert judge("please delete it", after(*lines), look_back=3) == []
    assert judge("please delete it", after(*lines), look_back=4)
    assert judge("please delete it", after(*lines), look_back=0) == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"source": "google_business"}, "Google Maps"),
        ({"source": "trustpilot"}, "Trustpilot"),
        ({"interaction": message(url="https://www.yelp.com/biz/inn")}, "Yelp"),
        ({"interaction": message(url="https://play.google.com/store/apps")}, "Google Play"),
        ({"interaction": message(url="https://notyelp.com/biz")}, "not for sale"),
        ({"interaction": message(url="http://[broken")}, "not for sale"),
        ({"timezone": "America/New_York"}, "465.4"),
        ({"timezone": "Europe/London"}, "DMCC"),
        ({"timezone": "Europe/Berlin"}, "UCPD"),
        ({"timezone": "America/Sao_Paulo"}, "not for sale"),
    ],
)
def test_the_rule_that_applies_is_named(changes: dict[str, Any], says: str) -> None:
    (finding,) = judge("if you delete it you get a voucher", changes)
    assert says in (finding.rule or "")


def test_asking_without_value_warns_where_the_platform_forbids_it() -> None:
    (finding,) = judge("please delete it", {"source": "trustpilot"})
    assert (finding.severity, finding.code) == (Severity.warn, "retraction_requested")
    assert judge("please delete it", {"source": "google_business"}) == []


def test_asking_only_happy_customers_holds() -> None:
    (finding,) = judge("if you are happy, review us", {"source": "google_business"})
    assert (finding.severity, finding.code) == (Severity.hold, "review_gating")


def test_a_platform_can_be_left_out_and_the_severity_chosen() -> None:
    assert judge("if you delete it you get a voucher", allowed_on=("other",)) == []
    assert judge("if you delete it you get a voucher", severity="hold")[0].severity is Severity.hold


def test_a_language_that_cannot_be_read_is_said() -> None:
    policy = NoCouponForRetraction(NoCouponParams(), ToldReader(coverage="none"))
    (finding,) = policy.review_reply(case(), rendered("hm"))
    assert isinstance(finding, Finding)
    assert (finding.code, finding.coverage, finding.severity) == ("language_not_covered", "none", Severity.allow)


def test_own_posts_alarm() -> None:
    policy = NoCouponForRetraction(NoCouponParams(), READER)
    (finding,) = policy.on_own_post(case(), own_post("if you delete it you get a voucher"))
    assert isinstance(finding, Finding)
    assert finding.code == "incentive_for_retraction"


def test_without_a_reader_nothing_is_claimed() -> None:
    (finding,) = NoCouponForRetraction(NoCouponParams()).review_reply(Case.model_validate(case()), rendered("deal"))
    assert isinstance(finding, Finding)
    assert finding.code == "language_not_covered"


def test_an_answer_to_what_a_change_brings_is_held() -> None:
    asked = after(("agent", "please delete it"), ("customer", "what do I get?"))
    (finding,) = judge("a full tank", asked)
    assert (finding.severity, finding.evidence[0].where) == (Severity.hold, "earlier")
    assert judge("no way", asked) == []
    assert judge("a voucher with no ties", asked) == []


class Doubtful(ToldReader):
    """A reader that gives each trade it is told of a detail."""

    def __init__(self, detail: str) -> None:
        super().__init__({"all yours": "incentive_for_retraction", "please delete it": "retraction_requested"})
        self.detail = detail

    def read(self, text: str, **given: Any) -> Reading:
        reading = super().read(text, **given)
        marks = tuple(mark.model_copy(update={"detail": self.detail}) for mark in reading.marks)
        return reading.model_copy(update={"marks": marks})


@pytest.mark.parametrize(
    ("detail", "severity", "says"),
    [
        ("likely", Severity.hold, "reads like"),
        ("doubted", Severity.hold, "does not read like"),
        ("sure", Severity.block, "offers"),
    ],
)
def test_where_words_and_examples_disagree_a_person_looks(detail: str, severity: Severity, says: str) -> None:
    policy = NoCouponForRetraction(NoCouponParams(), Doubtful(detail))
    (finding,) = policy.review_reply(case(source="google_business"), rendered("all yours"))
    assert isinstance(finding, Finding)
    assert (finding.severity, finding.code) == (severity, "incentive_for_retraction")
    assert says in finding.message
    assert [one.text for one in finding.evidence] == ["all yours"]
    assert "Google Maps" in (finding.rule or "")
    assert finding.suggestion


def test_a_trade_over_two_messages_is_blocked_however_its_second_half_reads() -> None:
    class Both(Doubtful):
        def __init__(self) -> None:
            super().__init__("likely")
            self.words = {**self.words, "a voucher": "incentive_offered"}

    policy = NoCouponForRetraction(NoCouponParams(), Both())
    changes = after(("agent", "a voucher for you"))
    (finding,) = policy.review_reply(case(**changes), rendered("all yours, please delete it"))  # type: ignore[arg-type]
    assert isinstance(finding, Finding)
    assert finding.severity is Severity.block
    assert [one.where for one in finding.evidence] == ["reply", "earlier"]
