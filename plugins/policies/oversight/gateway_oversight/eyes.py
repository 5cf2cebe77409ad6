"""`four_eyes`: a second person looks at what is risky before it goes out, and at what went out elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from gateway_schemas.decision import Case, Effect, Evidence, Finding, Severity
from gateway_schemas.interaction import Interaction, Kind, Visibility
from gateway_schemas.policy import Needs, Policy
from gateway_schemas.reply import Rendered

RISKS = ("admits_liability", "threatens", "insults")


class FourEyes(BaseModel):
    """Which answers a second person approves. Each condition that is set asks for one; without any, all are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kinds: tuple[Kind, ...] = Field(
        default=(), title="Kinds", description="Of the message that is answered; empty: all."
    )
    visibility: Visibility | None = Field(default="public", title="Visibility", description="None: both.")
    tags: tuple[str, ...] = Field(default=(), title="Tags", description="A ticket with one of these.")
    followers_at_least: int | None = Field(
        default=None, gt=0, title="Followers at least", description="Of whom is answered: more people read along."
    )
    words: tuple[str, ...] = Field(
        default=(), title="Words", description="An answer, or a post, that has one of these."
    )
    signals: tuple[str, ...] = Field(
        default=(), title="Signals", description="An answer with one of these, such as admits_liability."
    )
    during_incidents: bool = Field(default=False, title="During incidents", description="While one is open.")


class SecondPerson(Policy[FourEyes]):
    """Holds an answer until somebody other than its author approves exactly this text."""

    type: ClassVar[str] = "four_eyes"
    title: ClassVar[str] = "Four eyes"
    description: ClassVar[str] = (
        "One careless post becomes a public nightmare. Under the conditions given, a second person approves "
        "exactly the rendered text; the author cannot. The brand's own posts made elsewhere are looked at by the "
        "same conditions, and raise an alarm."
    )
    default_mode: ClassVar[str] = "off"
    Params = FourEyes
    needs: ClassVar[Needs] = Needs(reader=True, incidents=True)

    def review_reply(self, case: Case, rendered: Rendered) -> Iterable[Finding | Effect]:
        """Ask for a second person where a condition holds."""
        params = self.params
        if params.visibility is not None and rendered.visibility != params.visibility:
            return
        if params.kinds and (case.interaction is None or case.interaction.kind not in params.kinds):
            return
        reasons = [*self._of_ticket(case), *self._of_text(case, rendered)]
        if not self._any() or reasons:
            why = "; ".join(reason for reason, _ in reasons) or "every answer of this kind does"
            yield Finding(
                severity=Severity.hold,
                code="second_person_needed",
                message=f"A second person has to approve it: {why}.",
                evidence=tuple(one for _, found in reasons for one in found),
                suggestion="Ask a colleague to approve it: with the private note /approve, or over REST.",
                second_person=True,
            )

    def on_own_post(self, case: Case, post: Interaction) -> Iterable[Finding | Effect]:
        """Nobody was asked: say what the post has that somebody should have looked at."""
        words = list(self._words(post.text))
        marks = [one for one in self.read_message(case, post).marks if one.signal in (*self.params.signals, *RISKS)]
        evidence = (*words, *(Evidence(start=one.start, end=one.end, text=one.text) for one in marks))
        if evidence:
            said = ", ".join(dict.fromkeys(one.text for one in evidence))
            yield Finding(
                severity=Severity.hold,
                code="own_post_at_risk",
                message=f"Posted at the source without a second pair of eyes: {said}.",
                evidence=evidence,
                suggestion="Delete or correct it now; own up where it was read.",
            )

    def _any(self) -> bool:
        params = self.params
        return bool(
            params.tags or params.words or params.signals or params.followers_at_least or params.during_incidents
        )

    def _of_ticket(self, case: Case) -> Iterable[tuple[str, tuple[Evidence, ...]]]:
        tags = [tag for tag in self.params.tags if case.ticket is not None and tag in case.ticket.tags]
        if tags:
            yield f"the ticket is tagged {', '.join(tags)}", ()
        followers = (case.interaction.author.followers if case.interaction else None) or 0
        if self.params.followers_at_least is not None and followers >= self.params.followers_at_least:
            yield f"{followers} people follow the customer", ()
        if self.params.during_incidents and case.incidents:
            yield f"the incident {case.incidents[0].title} is open", ()

    def _of_text(self, case: Case, rendered: Rendered) -> Iterable[tuple[str, tuple[Evidence, ...]]]:
        for found in self._words(rendered.text):
            yield f'it says "{found.text}"', (found,)
        for mark in self.read_reply(case, rendered).of(*self.params.signals) if self.params.signals else ():
            evidence = Evidence(start=mark.start, end=mark.end, text=mark.text)
            yield f"it {mark.signal.replace('_', ' ')}", (evidence,)

    def _words(self, text: str) -> Iterable[Evidence]:
        for word in self.params.words:
            for match in re.finditer(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE):
                yield Evidence(start=match.start(), end=match.end(), text=match.group())
