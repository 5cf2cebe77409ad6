"""How much is to be expected at an hour of the week, learnt from what came, and how unlikely a silence is.

Pure and small: 168 counts that fade by half in four weeks. What little is known of one hour leans on what is known of
that hour of the day, and this on the whole; customers come in bursts, so silences are judged by a negative binomial
distribution and not by Poisson's, which would call every lull of a bursty channel impossible.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

HOURS = 168
HALF_LIFE = 28.0
"""Days in which what was learnt counts for half."""
LEAN_ON_DAY, LEAN_ON_ALL = 2.0, 24.0
"""For how many hours of observation the guess counts that an hour of the week, and of the day, begins with."""
LEARNT = timedelta(days=14)
"""Less than this long observed, nothing is expected."""
UNUSUAL = 1e-3
"""A silence less likely than this is shown, and a reason to look at once."""
ALARMING = 1e-6
"""A silence less likely than this is an alarm, where nobody can be asked and nothing polled."""
LONGER = 1.5
"""By how much an alarming silence outlasts the longest of late."""
_FADED = 0.5 ** (7 / HALF_LIFE)
_FADED_HOUR = 0.5 ** (1 / 24 / HALF_LIFE)
_BURSTY, _BELIEVED = 2.0, 20.0
"""The dispersion that is assumed, and for how many messages of evidence that counts."""
_LEAST = 0.1
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Silence:
    """How unlikely it is that nothing came for so long."""

    expected: float
    """How much should have come."""
    likelihood: float
    unusual: bool
    alarming: bool


@dataclass
class Expectation:
    """What one connection's traffic taught."""

    since: datetime | None = None
    """When learning began."""
    until: datetime | None = None
    """Everything before this whole hour is learnt."""
    counts: list[float] = field(default_factory=lambda: [0.0] * HOURS)
    seen: list[float] = field(default_factory=lambda: [0.0] * HOURS)
    """How often each hour of the week was observed; both fade together."""
    spread: float = 0.0
    """How far counts strayed from what was expected, in units of the variance that Poisson's law allows; summed up."""
    weight: float = 0.0
    """Over how many hours; both fade."""
    quiet: float = 0.0
    """What was expected in the whole hours since something came last."""
    longest: float = 0.0
    """The same of the longest silence that ended by itself, faded."""
    _rates: list[float] | None = field(default=None, repr=False, compare=False)

    def learn(self, hour: datetime, count: int) -> None:
        """Take in one whole hour. Hours come in order."""
        slot = _slot(hour)
        if self.since is None:
            self.since = hour
        expected = self.rates()[slot]
        if hour - self.since >= LEARNT and expected > 0:
            # a single message in an hour of hardly any is no burst
            strayed = (count - expected) ** 2 / max(expected, _LEAST)
            self.spread = self.spread * _FADED_HOUR + strayed * expected
            self.weight = self.weight * _FADED_HOUR + expected
        if count:
            # what comes spreads over its hour: between two of it, this much was expected
            share = expected / (count + 1)
            self.longest, self.quiet = max(self.longest, self.quiet + share), share
        else:
            self.quiet += expected
        self.longest *= _FADED_HOUR
        self.counts[slot] = self.counts[slot] * _FADED + count
        self.seen[slot] = self.seen[slot] * _FADED + 1.0
        self.until = hour + _HOUR
        self._rates = None

    def rates(self) -> list[float]:
        """What is expected in each hour of the week (0: Monday, midnight to one, UTC)."""
        if self._rates is None:
            counts, seen = self.counts, self.seen
            everything = sum(seen)
            whole = sum(counts) / everything if everything else 0.0
            days = [
                (sum(counts[hour::24]) + LEAN_ON_ALL * whole) / (sum(seen[hour::24]) + LEAN_ON_ALL)
                for hour in range(24)
            ]
            self._rates = [
                (counts[slot] + LEAN_ON_DAY * days[slot % 24]) / (seen[slot] + LEAN_ON_DAY) for slot in range(HOURS)
            ]
        return self._rates

    def expected(self, start: datetime, end: datetime) -> float:
        """How much should have come between two times."""
        if end <= start:
            return 0.0
        rates = self.rates()
        weeks, rest = divmod((end - start) / _HOUR, HOURS)
        found = weeks * sum(rates)
        slot, left = _slot(start), 1.0 - _fraction(start)
        while rest > 0:
            found += rates[slot] * min(rest, left)
            rest -= left
            slot, left = (slot + 1) % HOURS, 1.0
        return found

    @property
    def dispersion(self) -> float:
        """By how much counts stray more than Poisson's law has it: 1 is his, and never less is believed."""
        # until there is evidence, customers are taken to come in small bursts
        return max(1.0, (self.spread + _BURSTY * _BELIEVED) / (self.weight + _BELIEVED))

    def silence(self, quiet_since: datetime, now: datetime) -> Silence | None:
        """Whether nothing coming in between is unusual; None where too little is known to say.

        A count with mean m and variance d * m is 0 with the probability exp(-m * ln d / (d - 1)); hours are taken as
        independent. They are not, on holidays: so a silence must also outlast the longest of late, by what it cost.
        """
        if self.since is None or self.until is None or self.until - self.since < LEARNT:
            return None
        missing = self.expected(quiet_since, now)
        d = self.dispersion
        likelihood = math.exp(-missing * (math.log(d) / (d - 1) if d > 1.001 else 1.0))
        return Silence(
            expected=missing,
            likelihood=likelihood,
            unusual=likelihood < UNUSUAL and missing > self.longest,
            alarming=likelihood < ALARMING and missing > LONGER * self.longest,
        )

    def as_document(self) -> dict[str, Any]:
        """As it is stored."""
        found = {name: getattr(self, name) for name in ("spread", "weight", "quiet", "longest", "counts", "seen")}
        rounded = {k: [round(n, 4) for n in v] if isinstance(v, list) else round(v, 4) for k, v in found.items()}
        return rounded | {name: at.isoformat() if (at := getattr(self, name)) else None for name in ("since", "until")}

    @classmethod
    def of_document(cls, document: Mapping[str, Any] | None) -> Self:
        """As it was stored; of nothing, one that knows nothing."""
        if not document:
            return cls()
        times = {
            name: datetime.fromisoformat(document[name]) if document[name] else None for name in ("since", "until")
        }
        return cls(**{**document, **times})


def _slot(at: datetime) -> int:
    at = at.astimezone(UTC)
    return at.weekday() * 24 + at.hour


def _fraction(at: datetime) -> float:
    return (at.minute * 60 + at.second + at.microsecond / 1e6) / 3600
