"""The quality list: what a rule is, and which level a plugin has.

A rule without a checker is not a rule. Each is a function that reads a plugin's folder and yields what is wrong, as
`file:line what`. A plugin has a level when it passes every rule of that level and of those below it; a rule that cannot
fit is exempt with a reason, in `pyproject.toml`:

    [tool.helpdesk-gateway.exempt]
    budgets = "the provider documents no limits"
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from gateway_schemas.authoring.package import Package, Role

Level = Literal["bronze", "silver", "gold"]
LEVELS: dict[Level, str] = {
    "bronze": "It keeps the contract: the host can load it, and the kit finds nothing.",
    "silver": "It can be run in production: nothing hidden, and everything it reads has been seen by a test.",
    "gold": "Others can work on it: typed, described, and playable without an account at the provider.",
}
Checker = Callable[[Package], Iterator[str]]
ALL: frozenset[Role] = frozenset({"source", "helpdesk", "policy", "enricher", "reader"})


@dataclass(frozen=True)
class Rule:
    """One line of the quality list."""

    id: str
    level: Level
    title: str
    roles: frozenset[Role]
    exemptible: bool
    check: Checker

    @property
    def why(self) -> str:
        """What it is for, and how to mend it."""
        return inspect.cleandoc(self.check.__doc__ or "")

    def applies(self, package: Package) -> bool:
        """Whether the plugin registers anything that this is about."""
        return any(one.role in self.roles for one in package.registered)


RULES: dict[str, Rule] = {}


def rule(
    level: Level, title: str, *, roles: frozenset[Role] = ALL, exemptible: bool = False
) -> Callable[[Checker], Checker]:
    """Put a checker on the list, under its function's name."""

    def put(check: Checker) -> Checker:
        name: str = check.__name__
        RULES[name] = Rule(name, level, title, roles, exemptible, check)
        return check

    return put
