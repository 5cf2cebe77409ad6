"""`mass_reply`: the same text to many waits for one approval."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from gateway_schemas.decision import Case, Effect, Finding, Severity
from gateway_schemas.policy import Needs, Policy
from gateway_schemas.reply import Rendered


class MassReply(BaseModel):
    """From how many on, and how short a text may be repeated freely."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    more_than: int = Field(
        default=5, ge=1, title="More than", description="Near-identical answers to other customers within the window."
    )
    window_minutes: int = Field(default=60, gt=0, title="Window", description="In minutes.")
    shorter_than: int = Field(
        default=25, ge=0, title="Shorter than", description="Characters; a short thank-you may be said to many."
    )


class SameToMany(Policy[MassReply]):
    """Holds the answers of a macro or a bulk change, until one approval lets them go out paced."""

    type: ClassVar[str] = "mass_reply"
    title: ClassVar[str] = "Same text to many"
    description: ClassVar[str] = (
        "Macros and bulk changes reach hundreds of people with one click, in public. From some number of "
        "near-identical answers on, the next ones wait as a group for one approval."
    )
    Params = MassReply
    needs: ClassVar[Needs] = Needs(same_text=timedelta(minutes=60))

    @classmethod
    def needs_of(cls, params: MassReply) -> Needs:
        """The window of the parameters."""
        return Needs(same_text=timedelta(minutes=params.window_minutes))

    def review_reply(self, case: Case, rendered: Rendered) -> Iterable[Finding | Effect]:
        """Hold it where many others got or are to get nearly the same."""
        same = case.agent.replies_with_same_text if case.agent else 0
        if same > self.params.more_than and len(rendered.text) >= self.params.shorter_than:
            yield Finding(
                severity=Severity.hold,
                code="mass_reply",
                message=f"{same} other customers got or are to get nearly the same answer "
                f"within {self.params.window_minutes} minutes.",
                suggestion="Approve the group once, or give each of them an answer of their own.",
            )
