"""How a connection stands, and how what is observed changes that: one observation accuses, several convict.

Pure: the same observations at the same times give the same standings. A provider that stumbles for a minute must not
raise an alarm, and a channel that is dead must, within ten minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

State = Literal["unproven", "proven", "suspect", "unhealthy"]
Weight = Literal["certain", "definite", "passing", "hint"]
Concern = Literal["access", "push", "stream", "read", "other"]
Change = Literal["unhealthy", "recovered"]

AGAIN = timedelta(minutes=2)
"""Between two observations of a connection that is in doubt."""
OBSERVED = {"certain": 1, "definite": 2, "passing": 3}
"""How many observations in a row make a suspect unhealthy."""
LASTING = {"certain": timedelta(), "definite": timedelta(), "passing": timedelta(minutes=3, seconds=30)}
"""For how long at least, from the first to the last of them."""
WELL = 2
"""How many good observations in a row make an unhealthy connection well again."""

_RANK: dict[Weight, int] = {"certain": 0, "definite": 1, "passing": 2, "hint": 3}
_CONCERN: dict[Concern, int] = {"access": 0, "read": 1, "push": 2, "stream": 3, "other": 4}


@dataclass(frozen=True, slots=True)
class Symptom:
    """One thing that keeps news from reaching us, or may.

    `certain`: the host itself has stopped for it. `definite`: somebody who knows says so. `passing`: what a provider
    recovers from by itself, mostly. `hint`: shown, and a reason to look; never an alarm.
    """

    code: str
    weight: Weight
    message: str
    mend: str
    concern: Concern = "other"


@dataclass(frozen=True, slots=True)
class Standing:
    """How a connection stands."""

    state: State
    since: datetime
    symptom: Symptom | None = None
    """The strongest of what is wrong, while it is suspect or unhealthy."""
    suspected_at: datetime | None = None
    bad: int = 0
    good: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an observation makes of a standing. `change` is told to those who subscribed."""

    standing: Standing
    change: Change | None = None
    again: timedelta | None = None
    """When to look again, where it should be sooner than usual."""


def observe(before: Standing, symptoms: Sequence[Symptom], now: datetime, *, proof: bool) -> Verdict:
    """Called with everything that one look found. `proof` says that something has shown that news reaches us."""
    worst = strongest([one for one in symptoms if one.weight != "hint"])
    if worst is None:
        return _well(before, now, proof=proof)
    if before.state == "unhealthy":
        # also another reason than at first: one incident until the connection is well
        return Verdict(replace(before, symptom=worst, good=0), again=AGAIN if before.good else None)
    suspected = before.suspected_at or now
    # a stumble does not testify for what is said to be sure: that has to be seen twice itself
    confirmed = before.symptom is not None and _RANK[before.symptom.weight] <= _RANK[worst.weight]
    bad = before.bad + 1 if confirmed else 1
    if bad >= OBSERVED[worst.weight] and now - suspected >= LASTING[worst.weight]:
        return Verdict(Standing("unhealthy", now, worst, suspected, bad), change="unhealthy")
    since = before.since if before.state == "suspect" else now
    return Verdict(Standing("suspect", since, worst, suspected, bad), again=AGAIN)


def _well(before: Standing, now: datetime, *, proof: bool) -> Verdict:
    if before.state == "unhealthy":
        good = before.good + 1
        if good < WELL:
            return Verdict(replace(before, good=good), again=AGAIN)
        return Verdict(Standing("proven" if proof else "unproven", now), change="recovered")
    state: State = "proven" if proof else "unproven"
    return Verdict(Standing(state, before.since if before.state == state else now))


def strongest(symptoms: Sequence[Symptom]) -> Symptom | None:
    """The one to be told first: what is surest, and of that what stops the most."""
    return min(symptoms, key=lambda one: (_RANK[one.weight], _CONCERN[one.concern]), default=None)
