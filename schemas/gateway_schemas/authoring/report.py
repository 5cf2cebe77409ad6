"""What the check says of a plugin: to a person, to a machine, and in the file that the plugin carries.

`quality.json` holds the level and how each rule stands, without versions, dates or counts: it changes when the plugin's
quality does, and a test fails when it is not what the check says.
"""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass
from typing import Any, Literal

from gateway_schemas.authoring import rules_of_code, rules_of_package  # noqa: F401  (they put themselves on the list)
from gateway_schemas.authoring.kit import KitRun
from gateway_schemas.authoring.package import Package
from gateway_schemas.authoring.rules import LEVELS, RULES, Level, Rule

FILE = "quality.json"
State = Literal["pass", "fail", "exempt"]


@dataclass(frozen=True)
class Outcome:
    """How one rule stands."""

    rule: Rule
    state: State
    found: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Report:
    """How a plugin stands."""

    package: Package
    outcomes: tuple[Outcome, ...]
    kit: KitRun | None

    @property
    def level(self) -> Level | None:
        """The highest level that it has; None where even the lowest is missed."""
        reached: Level | None = None
        for level in LEVELS:
            if any(one.state == "fail" for one in self.outcomes if one.rule.level == level):
                return reached
            reached = level
        return reached

    @property
    def ok(self) -> bool:
        """Whether no rule fails."""
        return all(one.state != "fail" for one in self.outcomes)

    def has(self, level: Level) -> bool:
        """Whether it has this level, or a higher one."""
        order = list(LEVELS)
        return self.level is not None and order.index(self.level) >= order.index(level)

    def carried(self) -> str:
        """The text of `quality.json`."""
        document = {
            "plugins": {one.name: one.role for one in self.package.registered},
            "level": self.level,
            "rules": {
                one.rule.id: one.state if one.state != "exempt" else {"exempt": one.reason} for one in self.outcomes
            },
        }
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

    def as_json(self) -> dict[str, Any]:
        """All of it, for a machine."""
        return {
            "distribution": self.package.project.get("name"),
            "plugins": [{"role": one.role, "name": one.name} for one in self.package.registered],
            "level": self.level,
            "ok": self.ok,
            "rules": [
                {
                    "id": one.rule.id,
                    "level": one.rule.level,
                    "title": one.rule.title,
                    "state": one.state,
                    "found": list(one.found),
                    **({"reason": one.reason} if one.reason else {}),
                    **({"mend": one.rule.why} if one.state == "fail" else {}),
                }
                for one in self.outcomes
            ],
            "kit": None if self.kit is None else self.kit.as_json(),
        }

    def as_text(self) -> str:
        """All of it, for a person."""
        lines = [f"{self.package.project.get('name')}: {_registered(self.package)}", ""]
        for level, promise in LEVELS.items():
            lines += [f"{level}: {promise}"]
            for one in self.outcomes:
                if one.rule.level != level:
                    continue
                mark = {"pass": "ok  ", "fail": "FAIL", "exempt": "-   "}[one.state]
                lines.append(f"  {mark} {one.rule.title} ({one.rule.id})")
                if one.state == "exempt":
                    lines.append(f"         exempt: {one.reason}")
                lines += [f"         {found}" for found in one.found]
                if one.state == "fail":
                    lines += textwrap.wrap(one.rule.why, 110, initial_indent="       > ", subsequent_indent="       > ")
            lines.append("")
        if self.kit is not None:
            lines += [*self.kit.as_lines(), ""]
        lines.append(f"level: {self.level or 'none'}")
        return "\n".join(lines)


def evaluate(package: Package, kit: KitRun | None) -> Report:
    """Ask every rule that is about what the plugin registers. Without `kit` the kit's own rule counts as passed: then
    whoever asks runs the contract tests otherwise."""
    outcomes = []
    for rule in sorted(RULES.values(), key=lambda rule: list(LEVELS).index(rule.level)):
        if not rule.applies(package):
            continue
        found = tuple(rule.check(package))
        if rule.id == "contract_passes" and kit is not None:
            found = tuple(kit.failures)
        reason = package.exempt.get(rule.id, "")
        if reason and rule.exemptible and found:
            outcomes.append(Outcome(rule, "exempt", (), reason))
        else:
            outcomes.append(Outcome(rule, "fail" if found else "pass", found))
    unknown = [name for name in package.exempt if name not in RULES or not RULES[name].exemptible]
    if unknown:
        rule = RULES["registers"]
        places = tuple(f"pyproject.toml: no rule {name} can be exempt" for name in unknown)
        outcomes = [Outcome(rule, "fail", (*one.found, *places)) if one.rule is rule else one for one in outcomes]
    return Report(package, tuple(outcomes), kit)


def _registered(package: Package) -> str:
    return ", ".join(f"{one.role} {one.name}" for one in package.registered)
