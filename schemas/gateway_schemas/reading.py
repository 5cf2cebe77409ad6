"""Understanding text: what a reader notices in a message, for policies to judge.

A reader knows languages; a policy knows rules. The host makes one reader per process and hands it to every policy that
declares `needs.reader`, so that each text is read once however many policies ask. Reading is offline, deterministic and
pure: equal text, language, time and reader version give an equal reading, and every decision names that version.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from pydantic import AwareDatetime, Field

from gateway_schemas.base import Model
from gateway_schemas.plugin import CONTRACT

Coverage = Literal["full", "partial", "none"]

SIGNALS: dict[str, str] = {
    # what a reply may do
    "incentive_offered": (
        "Offers, grants or promises something of value beyond what is owed: a voucher, a discount, money, a gift,"
        " an upgrade, a waived fee, a prize draw, a donation. Returning what is owed (a refund of a faulty order)"
        " is none."
    ),
    "retraction_requested": (
        "Asks the customer to remove, change, soften, re-rate or withhold a review or post, or to write a "
        "positive one. Asking to delete one's own personal data from a post is none."
    ),
    "incentive_for_retraction": "Ties the two within this text: value in exchange for the change, in whatever words.",
    "acknowledges": (
        "Recognises the customer's problem: names it, restates it, or says that it should not have happened."
    ),
    "apologises": (
        "Says sorry for what happened, in the company's own name. Sorry to hear that counts; sorry but no does not."
    ),
    "argues": (
        "Disputes the customer's account, blames them, doubts their honesty, insults, threatens. A factual "
        "correction, a warning of fraud and a plain refusal are none."
    ),
    "condescends_or_excuses": (
        "Lectures on the reasons of the failure, belittles the problem, or talks down to the customer."
    ),
    "invites_private": "Offers or asks to go on where others do not read: direct message, e-mail, telephone, a form.",
    "asks_personal_data_publicly": (
        "Asks for data that identifies a person or account (order number, e-mail address, telephone, address, "
        "date of birth, card) without saying to send it privately. Only told of public texts."
    ),
    "blames": "Puts the fault on the customer.",
    "insults": "Uses a slur, an insult or mockery against the customer.",
    "threatens": "Announces legal steps, a ban or another disadvantage.",
    "admits_liability": "Accepts legal responsibility or fault for damage, injury or a breach.",
    "next_step": "Says what happens next, who does it, or by when; an alternative offered counts.",
    "agrees": "Accepts what the other side proposed (done, deal, agreed, as you wish).",
    "grants_value": "Says that something of value has been given (50 € sent, the voucher is in your inbox).",
    "declines": "Refuses a proposal, or says that the company does not do such things.",
    "withdraws_offer": "Takes an earlier offer back, or unties it from any condition.",
    "canned": "Says nothing of this customer's matter: a template that would fit anybody, or only points elsewhere.",
    # what a customer may do
    "complains": "Tells of something that went wrong, in whatever tone.",
    "praises": "Expresses satisfaction and nothing else.",
    "asks": "Asks a question or for something to be done.",
    "sarcastic": "Praises in words what the context shows to be a complaint.",
    "vents": "Complains without asking for anything.",
    "proposes_trade": (
        "Offers to remove, change or withhold a review or post for something of value, or asks what it is worth."
    ),
    "spam": "Advertises, phishes or floods, and speaks to nobody.",
    "says_solved": "Says that the matter is solved.",
    "says_unsolved": "Says that the matter is not solved, or has come back.",
    "mentions_private_contact": "Says that they wrote, called or messaged before and were not answered.",
    "safety": "Tells of danger, injury, illness, fire or a hazard.",
    "legal": "Mentions a lawyer, a court, a regulator or a claim for damages.",
    "self_harm": "Speaks of hurting themselves or of not wanting to live.",
    "minor": "Concerns a child or a person under age.",
    "personal_data": "Contains data that identifies a person or account: a number, an address, a date of birth.",
}
"""The signals every reader tells of, with their definitions. A reader may add its own under `x_…`."""


class Mark(Model):
    """One signal found in a text. Offsets are code points into the text as given, before any normalisation."""

    signal: str
    start: int = Field(ge=0)
    end: int = Field(ge=0)
    text: str
    detail: str = ""
    """What kind, where a signal has kinds: `voucher`, `removal`, `re_rating`, `order_number`, …"""
    sure: bool = True
    """False where it is more likely than not, and yet too often wrong in ordinary texts to correct somebody for it."""


class Promised(Model):
    """A commitment in a text: what was said, and by when it is due."""

    quote: str
    start: int = Field(ge=0)
    end: int = Field(ge=0)
    due: AwareDatetime | None = None
    """Resolved from `at`; None for an undated promise."""
    detail: str = ""
    """What is promised, where that is told apart: `refund`, `delivery`, `contact`, `repair`, …"""


class Reading(Model):
    """What a reader noticed in one text."""

    language: str | None = None
    """BCP 47: as given, unless the text is plainly in another language; else as recognised; None when neither."""
    coverage: Coverage = "none"
    """`full`: the language is known and all signals are looked for; `partial`: some; `none`: nothing can be said."""
    marks: tuple[Mark, ...] = ()
    promises: tuple[Promised, ...] = ()

    def has(self, signal: str) -> bool:
        """Whether the signal was found."""
        return any(mark.signal == signal for mark in self.marks)

    def of(self, *signals: str) -> tuple[Mark, ...]:
        """The marks of these signals, in the order of the text."""
        return tuple(mark for mark in self.marks if mark.signal in signals)


class Reader(ABC):
    """Reads texts of the languages it knows. One instance per process, no state but caches."""

    name: ClassVar[str]
    version: ClassVar[str]
    """Changes when any reading changes: code, language packs, dictionaries. Stored with each decision."""
    contract: ClassVar[int] = CONTRACT
    languages: ClassVar[dict[str, Coverage]]
    """Primary language subtags it knows, and how well."""

    @abstractmethod
    def read(
        self,
        text: str,
        *,
        speaker: Literal["brand", "customer"],
        at: AwareDatetime,
        language: str | None = None,
        visibility: Literal["public", "private"] = "public",
        timezone: str = "UTC",
    ) -> Reading:
        """Called for each text a policy asks about. `at` is when it was or will be said: promises resolve from it.

        `language` is the source's word, or None; `timezone` an IANA name, for "by Friday". Never raises for any text.
        """


NOTHING_READ = Reading()
"""The reading of a text that nobody can read: coverage none."""
