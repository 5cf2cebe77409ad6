"""The policy type `rule`: whatever no other type covers, without code."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway_schemas import hookimpl
from gateway_schemas.conditions import Condition, holds, needs
from gateway_schemas.decision import Case, Effect, Finding, Point
from gateway_schemas.interaction import Interaction
from gateway_schemas.policy import Needs, Policy
from gateway_schemas.reply import Rendered
from gateway_schemas.ticket import TicketChanged

SPOKEN = ("review_reply", "on_own_post")


class RuleParams(BaseModel):
    """A condition, and what follows where it holds."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    at: Point = "on_interaction"
    """Where the rule acts: on what comes in, on a reply before it goes out, on the brand's own posts made elsewhere, on
    what a person changed on the ticket."""
    when: Condition
    """A condition in CEL: `interaction.kind == "review" && interaction.rating.value <= 2`."""
    findings: tuple[Finding, ...] = ()
    """What is noticed about a reply or an own post: severity, code, message and, where there is one, a suggestion."""
    effects: Annotated[tuple[Effect, ...], Field(max_length=50)] = ()
    """What is to be done. Of a reply it is done when the reply is published."""

    @model_validator(mode="after")
    def _something_follows(self) -> RuleParams:
        if not self.findings and not self.effects:
            raise ValueError("nothing follows from the condition: give findings or effects")
        if self.findings and self.at not in SPOKEN:
            raise ValueError(f"findings are about what goes out ({', '.join(SPOKEN)}); {self.at} takes effects")
        return self


class RulePolicy(Policy[RuleParams]):
    """Gives its findings and effects where its condition holds."""

    type = "rule"
    title = "Rule"
    description = (
        "A condition in CEL and what follows from it, without code: tags, a priority, a route, a hold with a message."
        " Several rules stand beside each other."
    )
    many = True
    Params = RuleParams

    @classmethod
    def needs_of(cls, params: RuleParams) -> Needs:
        """What the condition reads."""
        return needs(params.when)

    def _say(self, point: Point, case: Case, subject: Any) -> Iterable[Any]:
        if point != self.params.at or not holds(self.params.when, point, case, subject):
            return ()
        return (*self.params.findings, *self.params.effects)

    def on_interaction(self, case: Case, interaction: Interaction) -> Iterable[Effect]:
        """The rule's effects on what came in."""
        return self._say("on_interaction", case, interaction)

    def review_reply(self, case: Case, rendered: Rendered) -> Iterable[Finding | Effect]:
        """The rule's findings on a reply, and its effects once it is published."""
        return self._say("review_reply", case, rendered)

    def on_own_post(self, case: Case, post: Interaction) -> Iterable[Finding | Effect]:
        """The rule's findings and effects on a post made elsewhere."""
        return self._say("on_own_post", case, post)

    def on_ticket(self, case: Case, change: TicketChanged) -> Iterable[Effect]:
        """The rule's effects on what a person changed."""
        return self._say("on_ticket", case, change)


@hookimpl
def register_policies() -> list[type[Policy[Any]]]:
    """Called once at start."""
    return [RulePolicy]
