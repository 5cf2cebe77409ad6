"""Which target a message falls under: by kind, rating, text, visibility and priority."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway_schemas.decision import ClockStep
from gateway_schemas.interaction import Interaction, Kind, Visibility
from gateway_schemas.ticket import Priority


class Settings(BaseModel):
    """Base of parameters: strict about names it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Target(Settings):
    """How fast messages of some sort are answered. The first target whose conditions hold is taken."""

    kinds: tuple[Kind, ...] = Field(default=(), title="Kinds", description="Of messages; empty: all.")
    visibility: Visibility | None = Field(
        default=None,
        title="Visibility",
        description="Leave it open: who asks in private waits no longer than who goes public.",
    )
    rating_at_most: float | None = Field(default=None, title="Rating at most", description="Stars out of five.")
    rating_above: float | None = Field(default=None, title="Rating above", description="Stars out of five.")
    with_text: bool | None = Field(default=None, title="With text", description="Only with words, or only without.")
    first_minutes: int | None = Field(
        default=None, gt=0, title="First response", description="In minutes; none: no target."
    )
    next_minutes: int | None = Field(default=None, gt=0, title="Next response", description="In minutes.")
    resolution_minutes: int | None = Field(default=None, gt=0, title="Resolution", description="In minutes.")

    def covers(self, message: Interaction) -> bool:
        """Whether the message is of this sort. A message without a rating has none that is high or low."""
        stars = five_stars(message)
        if self.kinds and message.kind not in self.kinds:
            return False
        if self.visibility is not None and message.visibility != self.visibility:
            return False
        if self.rating_at_most is not None and (stars is None or stars > self.rating_at_most):
            return False
        if self.rating_above is not None and (stars is None or stars <= self.rating_above):
            return False
        return self.with_text is None or bool(message.text.strip()) == self.with_text


class Regulation(Settings):
    """A time that a law or a regulator sets, such as 14 CFR 259.7 for complaints to US airlines: 30 and 60 days."""

    kind: Literal["acknowledged", "substantive_answer"] = Field(title="What is owed")
    days: int = Field(gt=0, title="Within", description="Calendar days from the complaint.")
    rule: str = Field(min_length=1, title="Rule", description="Its name, for the ticket.")


class Escalation(Settings):
    """What happens when a share of the target has passed."""

    at: float = Field(gt=0, title="Share", description="Of the target: 0.75 before it is due, 1 the breach, 1.5 after.")
    name: str = Field(pattern="^[a-z][a-z0-9_]*$", title="Name", description="Shows in tags as sla_<name>.")
    priority: Priority | None = Field(default=None, title="Priority", description="At least this from then on.")
    notify: tuple[str, ...] = Field(default=(), title="Notify", description="Names of subscriptions.")
    alarm: Literal["info", "warning", "critical"] | None = Field(default=None, title="Alarm")


class Followers(Settings):
    """A shorter target for accounts with many followers."""

    at_least: int = Field(gt=0, title="Followers at least")
    factor: float = Field(gt=0, lt=1, title="Factor", description="Of the target.")
    teaches_people_to_shout: bool = Field(
        default=False,
        title="We know that this teaches people to shout",
        description="Answers that come faster to the loud are noticed. Say true to have it all the same.",
    )

    @model_validator(mode="after")
    def _said(self) -> Self:
        if not self.teaches_people_to_shout:
            raise ValueError(
                "faster answers for followers teach people to shout: set teaches_people_to_shout to true to have them"
            )
        return self


DEFAULTS = (
    Target(kinds=("review",), rating_at_most=2, first_minutes=1440, next_minutes=1440),
    Target(kinds=("review",), rating_above=3.5, with_text=False),
    Target(kinds=("review",), first_minutes=2880, next_minutes=2880),
    Target(first_minutes=60, next_minutes=240),
)
"""About half of all customers expect an answer within the hour, on reviews within one to seven days."""

STEPS = (
    Escalation(at=0.75, name="warning"),
    Escalation(at=1, name="breach", priority="high", alarm="warning"),
    Escalation(at=2, name="escalation", priority="urgent", alarm="critical"),
)


def five_stars(message: Interaction) -> float | None:
    """The rating on a scale from one to five; None without one, or on a scale without a span."""
    rating = message.rating
    if rating is None or rating.best == rating.worst:
        return None
    return 1 + 4 * (rating.value - rating.worst) / (rating.best - rating.worst)


def target_of(targets: tuple[Target, ...], message: Interaction) -> Target | None:
    """The first target that covers the message."""
    return next((target for target in targets if target.covers(message)), None)


def steps_of(escalations: tuple[Escalation, ...]) -> tuple[ClockStep, ...]:
    """Escalations as the steps of a clock, in their order of time."""
    ordered = sorted(escalations, key=lambda one: one.at)
    return tuple(ClockStep(at=one.at, name=one.name, notify=one.notify) for one in ordered)


def minutes(count: float) -> timedelta:
    """A span; never less than a minute."""
    return timedelta(minutes=max(1.0, count))
