"""What a row of the table says, and how it stands to its budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One row: what was measured, its floor of the same run, and the budget it is held to."""

    row: str
    measured: str
    floor: str
    ratio: float | None
    budget: str
    met: bool
    numbers: dict[str, Any] = field(default_factory=dict)
    """The figures behind the words, for `--json`."""

    def document(self) -> dict[str, Any]:
        """As `--json` writes it."""
        plain = asdict(self)
        return {**{name: plain[name] for name in ("ratio", "budget", "met")}, **plain["numbers"]}


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def milliseconds(values: Sequence[float]) -> dict[str, float]:
    """p50, p99 and the longest of durations in seconds, as milliseconds."""
    shares = {"p50_ms": 0.5, "p99_ms": 0.99, "longest_ms": 1.0}
    return {name: round(percentile(values, share) * 1000, 1) for name, share in shares.items()}
