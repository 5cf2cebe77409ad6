"""The class an enricher subclasses: facts from elsewhere (loyalty tier, order state) that policies may use."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import timedelta
from typing import Any, ClassVar

from gateway_schemas.decision import Case
from gateway_schemas.plugin import C, Plugin


class Enricher(Plugin[C], ABC):
    """Asked before the policies, under a deadline; what it says is stored in the case, so decisions stay
    reproducible."""

    deadline: ClassVar[timedelta] = timedelta(seconds=2)
    cache: ClassVar[timedelta] = timedelta(minutes=10)

    @abstractmethod
    async def enrich(self, case: Case) -> dict[str, Any]:
        """Called once per case and cache span: facts by name."""

    def default(self) -> dict[str, Any]:
        """What stands in when the deadline passes or the call fails."""
        return {}
