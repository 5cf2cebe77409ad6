"""`no_coupon_for_retraction`: nothing of value for removing, changing, withholding or improving a review or post."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from gateway_honest_reviews import rules, wording
from gateway_honest_reviews.conversation import BEYOND, Conversation, Half
from gateway_schemas.decision import Case, Effect, Evidence, Finding, Severity
from gateway_schemas.interaction import Interaction
from gateway_schemas.policy import Needs, Policy
from gateway_schemas.reading import Mark, Reading
from gateway_schemas.reply import Rendered

LOOK_BACK = 50
DOUBTS = {
    "untied_in_words": "It says that there are no strings, and asks for a change of the review all the same.",
    "hinted": "It hints at something of value beside what the customer wrote.",
    "doubted": "Its words are those of a trade for the review, but on the whole it does not read like one.",
    "likely": "It reads like value in exchange for a change of the review.",
}
"""What to say of a trade that a person should look at, by the detail of its mark."""
UNSAID = ("likely", "sure")
"""Details of a trade that no rule has words for: its mark alone shows where it is."""
Trade = tuple[Severity, str, tuple[Evidence, ...], str]
"""Severity, message, evidence and suggestion of a trade that was found."""


class NoCouponParams(BaseModel):
    """How strict, how far back, and where asking without value is forbidden too."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    severity: Severity = Field(
        default=Severity.block, title="Severity", description="Of value tied to a change of a review or post."
    )
    unclear_severity: Severity = Field(
        default=Severity.hold,
        title="Severity where words and deed disagree",
        description="Of a gift without strings next to a request, of hints, of money owed that was demanded, and of "
        "what reads like a trade but for the words.",
    )
    look_back: int = Field(
        default=20,
        ge=0,
        le=LOOK_BACK,
        title="Look back",
        description="Earlier messages of the matter, public and private, in which the other half may stand.",
    )
    ask_severity: Severity = Field(
        default=Severity.warn, title="Severity of asking", description="Of asking for a change with no value in sight."
    )
    ask_forbidden_on: tuple[rules.Platform, ...] = Field(
        default=("trustpilot", "google_play"),
        title="Asking is forbidden on",
        description="Platforms whose terms forbid asking for a change even without value.",
    )
    gating_severity: Severity = Field(
        default=Severity.hold, title="Severity of gating", description="Of asking only happy customers for reviews."
    )
    allowed_on: tuple[rules.Platform, ...] = Field(
        default=(), title="Not applied on", description="Platforms where this policy says nothing."
    )
    jurisdictions: tuple[rules.Jurisdiction, ...] = Field(
        default=(),
        title="Jurisdictions",
        description="Laws to name beside the platform's terms; empty: by the brand's time zone.",
    )
    uncovered_severity: Severity = Field(
        default=Severity.allow,
        title="Severity in other languages",
        description="Of an answer in a language that cannot be read, or only in part.",
    )


class NoCouponForRetraction(Policy[NoCouponParams]):
    """Reads the reply with the conversation around it, both legs, for the two halves of a trade."""

    type: ClassVar[str] = "no_coupon_for_retraction"
    title: ClassVar[str] = "No coupon for retraction"
    description: ClassVar[str] = (
        "Offering something for a review that is removed, changed, withheld or improved insults the customer, deceives "
        "readers and breaks the platforms' terms. Stops it in one answer, across the public and the private leg, and "
        "when the customer proposes it. Goodwill without a condition, money owed and a refusal pass."
    )
    Params = NoCouponParams
    needs: ClassVar[Needs] = Needs(timeline=LOOK_BACK, reader=True)

    def review_reply(self, case: Case, rendered: Rendered) -> Iterable[Finding | Effect]:
        """Find the two halves of a trade, else a request that the platform forbids."""
        reading = self.read_reply(case, rendered)
        yield from self._judge(case, reading, Conversation.around_reply(self, case, self.params.look_back))

    def on_own_post(self, case: Case, post: Interaction) -> Iterable[Finding | Effect]:
        """The same for what was posted elsewhere: it is out, so this alarms."""
        yield from self._judge(case, self.read_message(case, post), Conversation())

    def _judge(self, case: Case, reading: Reading, conversation: Conversation) -> Iterator[Finding]:
        platform = rules.platform(case)
        if platform in self.params.allowed_on:
            return
        if reading.coverage != "full":
            yield self._uncovered(reading)
        found = [self._in_one(reading), self._across(reading, conversation)]
        trade = max(filter(None, found), key=lambda each: each[0].rank, default=None)
        if trade is not None:
            severity, message, evidence, suggestion = trade
            yield Finding(
                severity=severity,
                code="incentive_for_retraction",
                message=message,
                evidence=evidence,
                suggestion=suggestion,
                rule=rules.trade_rule(case, self.params.jurisdictions),
                coverage=reading.coverage,
            )
            return
        yield from self._asking(platform, reading)

    def _in_one(self, reading: Reading) -> Trade | None:
        """Both halves in the text itself."""
        ties = reading.of("incentive_for_retraction")
        if not ties:
            return None
        words = all(tie.detail not in UNSAID for tie in ties)
        halves = (reading.of("incentive_offered", "retraction_requested") if words else ()) or ties
        doubt = next((DOUBTS[tie.detail] for tie in ties if tie.detail in DOUBTS), None)
        doubtful = doubt is not None and all(tie.detail in DOUBTS for tie in ties)
        message = (
            doubt if doubtful and doubt else "It offers something of value for a change of what the customer wrote."
        )
        severity = self.params.unclear_severity if doubtful else self.params.severity
        evidence = tuple(Evidence(start=mark.start, end=mark.end, text=mark.text) for mark in halves)
        return severity, message, evidence, wording.untied(reading.language)

    def _across(self, reading: Reading, conversation: Conversation) -> Trade | None:
        """One half in the text, the other earlier in the conversation."""
        if reading.of("withdraws_offer", "x_untied"):
            return None
        asks = reading.of("retraction_requested") or _change_hinted(reading, conversation)
        if asks and (offer := conversation.offer):
            message = f"It asks for a change of the review after something of value was offered{offer.place}."
            evidence = (*_here(asks[0]), *offer.evidence)
            return self.params.severity, message, evidence, wording.no_request(reading.language)
        if asks and (value := conversation.value):
            message = f"It asks for a change of the review after something of value was named{value.place}."
            evidence = (*_here(asks[0]), *value.evidence)
            return self.params.unclear_severity, message, evidence, wording.no_request(reading.language)
        gives = reading.of("incentive_offered") or _value_hinted(reading, conversation)
        if gives and (request := conversation.request):
            message = f"It offers something of value after a change of the review was asked for{request.place}."
            evidence = (*_here(gives[0]), *request.evidence)
            return self.params.severity, message, evidence, wording.untied(reading.language)
        if conversation.haggling and conversation.request and not reading.has("declines"):
            message = f"It answers a customer who asks what a change of the review brings{conversation.request.place}."
            evidence = conversation.request.evidence
            return self.params.unclear_severity, message, evidence, wording.untied(reading.language)
        if (proposal := conversation.proposal) and not reading.has("declines"):
            return self._agreeing(reading, proposal)
        return None

    def _agreeing(self, reading: Reading, proposal: Half) -> Trade | None:
        """The customer proposed it: consent, or something beyond what is owed, closes the deal."""
        accepted = reading.of("agrees", "incentive_offered")
        given = reading.of("grants_value") or tuple(
            mark
            for mark in reading.of("x_value_hinted", "x_change_hinted")
            if mark.detail in (*BEYOND, "asked", "named")
        )
        if not accepted and not given:
            return None
        mark = (accepted or given)[0]
        message = f"It accepts the customer's proposal to trade the review for something of value{proposal.place}."
        if not accepted:
            message = (
                f"It gives what the customer demanded for the review{proposal.place}, and does not say that it is owed."
            )
        severity = self.params.severity if accepted else self.params.unclear_severity
        return severity, message, (*_here(mark), *proposal.evidence), wording.no_trade(reading.language)

    def _asking(self, platform: rules.Platform, reading: Reading) -> Iterator[Finding]:
        if gates := reading.of("x_review_gating"):
            yield Finding(
                severity=self.params.gating_severity,
                code="review_gating",
                message="It asks for a review only if the customer is happy.",
                evidence=_here(gates[0]),
                suggestion=wording.for_anybody(reading.language),
                rule=rules.GATING[platform],
                coverage=reading.coverage,
            )
        asks = reading.of("retraction_requested")
        if asks and platform in self.params.ask_forbidden_on:
            yield Finding(
                severity=self.params.ask_severity,
                code="retraction_requested",
                message="It asks for a change of what the customer wrote, which this platform forbids.",
                evidence=_here(asks[0]),
                suggestion=wording.no_request(reading.language),
                rule=rules.ASKING[platform],
                coverage=reading.coverage,
            )

    def _uncovered(self, reading: Reading) -> Finding:
        how = "only in part" if reading.coverage == "partial" else "not at all"
        return Finding(
            severity=self.params.uncovered_severity,
            code="language_not_covered",
            message=f"The language of this text is understood {how}: a trade may have gone unnoticed.",
            coverage=reading.coverage,
        )


def _change_hinted(reading: Reading, conversation: Conversation) -> tuple[Mark, ...]:
    """A change named without a request for it. One that does not say of what (`once it's live`) counts where the brand
    named both halves before."""
    both = conversation.offer is not None and conversation.request is not None
    return tuple(mark for mark in reading.of("x_change_hinted") if mark.detail != "alone" or both)


def _value_hinted(reading: Reading, conversation: Conversation) -> tuple[Mark, ...]:
    """Value named without an offer of it. Money that may be owed counts where the brand named both halves before, or
    the customer asked for a price. After both halves, word that it is on its way is enough: `it's in your inbox`."""
    any_kind = conversation.offer is not None or conversation.haggling
    if conversation.offer is not None and (given := reading.of("x_given")):
        return given
    return tuple(mark for mark in reading.of("x_value_hinted") if any_kind or mark.detail in BEYOND)


def _here(mark: Mark) -> tuple[Evidence, ...]:
    return (Evidence(start=mark.start, end=mark.end, text=mark.text),)
