"""What a revision of a policy says: how it acts, where it applies, and what happens when it cannot be asked."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from gateway_schemas.conditions import Condition
from gateway_schemas.decision import Severity
from gateway_schemas.interaction import Kind, Visibility

Mode = Literal["on", "shadow", "off"]
Word = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class Part(BaseModel):
    """A part of a revision: immutable, and strict about names it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Scope(Part):
    """Where a policy applies. An empty part covers everything."""

    brands: tuple[Word, ...] = ()
    """Names of brands."""
    sources: tuple[Word, ...] = ()
    """Source plugins: `x`, `google_business`."""
    connections: tuple[Word, ...] = ()
    """Names of source connections."""
    kinds: tuple[Kind, ...] = ()
    visibility: tuple[Visibility, ...] = ()
    languages: tuple[Word, ...] = ()
    """BCP 47, by the primary subtag: `de` covers `de-CH`. A text whose language nobody can tell is covered."""
    when: Condition | None = None
    """A condition in CEL on the case; see the documentation of conditions."""


class OnTimeout(Part):
    """What happens to a reply held by this policy that nobody looks at in time."""

    action: Literal["escalate", "reject", "allow"] = "escalate"
    """`escalate` raises an alarm and goes on holding, `reject` takes the reply back, `allow` lets it go out."""
    minutes: int | None = Field(default=240, ge=1, le=60 * 24 * 90)
    """How long is waited, by the calendar; null waits for ever."""
    calendar: Word = "always"


class Content(Part):
    """All that a revision says."""

    mode: Mode = "on"
    """In `shadow` everything is recorded and nothing is done."""
    params: dict[str, Any] = {}
    """The type's parameters; `GET /v1/policy-types` has their JSON Schema."""
    scope: Scope = Scope()
    order: int = Field(default=100, ge=0, le=10_000)
    """The explicit order of policies: of several routes, or values for one field, the lowest order wins."""
    on_error: Severity = Severity.hold
    """What a reply meets when this policy cannot be asked. What comes in passes all the same."""
    on_uncovered: Severity = Severity.warn
    """What a reply meets when the policy reads texts, and nobody can read its language."""
    on_timeout: OnTimeout = OnTimeout()
