"""`listen_first`: a customer who vents without asking for anything needs to be read, not answered from a template."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from pydantic import Field

from gateway_schemas.decision import AddTags, Case, Effect, Finding, Note, Severity
from gateway_schemas.interaction import Interaction
from gateway_schemas.policy import Needs, Policy
from gateway_schemas.reply import Rendered
from gateway_tone.shared import Params, evidence


class ListenParams(Params):
    """How such a customer is labelled, and what the agent is told."""

    tag: str = Field(default="listen", min_length=1, title="Tag", description="Of the ticket.")
    note: str = Field(
        default="They tell what went wrong and ask for nothing. Answer to what they wrote, in words of your own; there "
        "is no hurry to offer something.",
        title="Note",
        description="For the agent, once per matter; empty: none.",
    )
    severity: Severity = Field(
        default=Severity.warn, title="Severity", description="Of a canned answer to somebody who vents."
    )


class ListenFirst(Policy[ListenParams]):
    """Labels who wants to be heard, and points out a template sent to them."""

    type: ClassVar[str] = "listen_first"
    title: ClassVar[str] = "Listen first"
    description: ClassVar[str] = (
        "Sometimes a customer only wants to be heard. Whoever complains and asks for nothing is labelled, and an "
        "answer to them that would fit anybody is pointed out."
    )
    tone: ClassVar[bool] = True
    Params = ListenParams
    needs: ClassVar[Needs] = Needs(reader=True)

    def on_interaction(self, case: Case, interaction: Interaction) -> Iterable[Effect]:
        """Label the ticket of somebody who vents, and tell the agent once."""
        if not self.read_message(case, interaction).has("vents"):
            return
        yield AddTags(tags=(self.params.tag,))
        if self.params.note and (case.ticket is None or self.params.tag not in case.ticket.tags):
            yield Note(text=self.params.note)

    def review_reply(self, case: Case, rendered: Rendered) -> Iterable[Finding | Effect]:
        """Point out a template that answers somebody who vents."""
        if case.interaction is None or not self.read_message(case, case.interaction).has("vents"):
            return
        reading = self.read_reply(case, rendered)
        if canned := reading.of("canned"):
            yield Finding(
                severity=self.params.severity,
                code="canned_to_venting",
                message="They only tell what happened, and this answer would fit anybody.",
                evidence=evidence(canned[0]),
                suggestion="Take up one thing that they wrote.",
                coverage=reading.coverage,
            )
