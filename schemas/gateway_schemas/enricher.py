"""The class an enricher subclasses: facts from elsewhere (loyalty tier, order state) that policies may use."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import timedelta
from typing import Any

from gateway_schemas.decision import Case
from gateway_schemas.plugin import C, Health, Plugin

MOST_BYTES = 16 * 1024
"""What an enricher says, written as JSON, may take no more."""


class Enricher(Plugin[C], ABC):
    """Asked before the policies about whoever wrote; what it says is stored in the case, so decisions stay
    reproducible.

    One instance per connection. The connection's name is what policies call it: `facts.<name>` in conditions, and in
    `Needs.facts`. Messages wait for the answer, at most as long as `deadline`; nobody else's do.
    """

    deadline: timedelta = timedelta(seconds=2)
    """How long a message waits for the answer."""
    cache: timedelta = timedelta(minutes=10)
    """How long an answer holds for everything the same account writes."""

    @abstractmethod
    async def enrich(self, case: Case) -> dict[str, Any]:
        """Called once per account and cache span, with the message that it wrote: facts by name, as JSON values.

        Raises the errors of `gateway_schemas.errors` as every call does. What fails or takes too long is answered by
        what was known last, or by `default`.
        """

    def default(self) -> dict[str, Any]:
        """What stands in where nothing is known and the deadline passes or the call fails."""
        return {}

    async def check(self) -> Health:
        """Called by a person who wants to know whether it works."""
        return Health(ok=True)
