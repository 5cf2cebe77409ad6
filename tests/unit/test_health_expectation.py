"""Months of ordinary traffic raise no alarms, and dead channels do: the pure judges of health, on a clock of their own.

What is ordinary here: busy days and nights, bursts, one message in two months, holidays, pushes that never come,
providers that stumble for minutes, probes that fail by chance. The judges are those of production; only the traffic is
made up, from seeds.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import pytest

from gateway.health.expectation import HOURS, LEARNT, Expectation
from gateway.health.standing import Standing, Symptom, observe
from gateway.health.symptoms import Facts, Lane, of_facts, of_findings
from gateway_schemas.plugin import HealthFinding

START = datetime(2026, 1, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAYS = 100
MONTHS = (DAYS - 30) / 30
"""The first month teaches."""


def wave(hour: int) -> float:
    """Few at night, many in the evening; 1 on average."""
    return max(0.03, 1 + 1.1 * math.sin((hour - 11) / 24 * 2 * math.pi))


RATES: dict[str, Callable[[datetime], float]] = {
    "busy": lambda at: 8 * wave(at.hour) * (0.6 if at.weekday() > 4 else 1),
    "office hours": lambda at: 4 if at.weekday() < 5 and 8 <= at.hour < 18 else 0.02,
    "one a day": lambda at: wave(at.hour) / 24,
    "one a week": lambda at: 1 / HOURS,
    "one in two months": lambda at: 1 / 24 / 60,
    "bursts": lambda at: 0.3 * wave(at.hour),
    "grows": lambda at: 0.2 * wave(at.hour) * (1 + (at - START).days / 30),
    "fades": lambda at: 4 * wave(at.hour) * 0.98 ** (at - START).days,
}
"""Messages an hour, by the kind of channel."""


@dataclass
class Traffic:
    """What came to one channel, hour by hour."""

    times: list[datetime]
    hours: dict[datetime, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for at in self.times:
            hour = at.replace(minute=0, second=0, microsecond=0)
            self.hours[hour] = self.hours.get(hour, 0) + 1


def traffic(kind: str, seed: int, days: int = DAYS) -> Traffic:
    """Ordinary traffic, with a holiday a month on which next to nothing comes, and a long weekend."""
    dice = random.Random(f"{kind} {seed}")
    free: set[date] = {
        (START + timedelta(days=dice.randrange(30 * month, 30 * month + 30))).date() for month in range(9)
    }
    free |= {(START + timedelta(days=65 + day)).date() for day in range(4)}
    times: list[datetime] = []
    for number in range(days * 24):
        hour = START + HOUR * number
        rate = RATES[kind](hour) * (0.04 if hour.date() in free else 1)
        if kind == "bursts":
            rate *= dice.gammavariate(0.25, 4)
        for _ in range(poisson(rate, dice)):
            times.append(hour + HOUR * dice.random())
    return Traffic(sorted(times))


def poisson(rate: float, dice: random.Random) -> int:
    """A number of events."""
    count, left, least = 0, dice.random(), math.exp(-rate)
    while left > least:
        count, left = count + 1, left * dice.random()
    return count


def silences(given: Traffic, days: int = DAYS) -> Iterator[tuple[datetime, datetime, Expectation]]:
    """Every silence, with what had been learnt by its end: where it is least likely."""
    expectation, hour, last = Expectation(), START, START
    for at in [*given.times, START + timedelta(days=days)]:
        while hour + HOUR <= at:
            expectation.learn(hour, given.hours.get(hour, 0))
            hour += HOUR
        yield last, at, expectation
        last = at


@pytest.mark.parametrize("kind", RATES)
def test_ordinary_traffic_alarms_at_most_once_a_month_by_its_silence(kind: str) -> None:
    for seed in range(2):
        alarms = hints = 0
        for since, at, expectation in silences(traffic(kind, seed)):
            silence = expectation.silence(since, at)
            if silence is not None:
                alarms += silence.alarming
                hints += silence.unusual
        print(f"{kind}: {alarms / MONTHS:.2f} alarms and {hints / MONTHS:.2f} hints a month")
        assert alarms <= MONTHS
        assert hints <= 4 * MONTHS


@pytest.mark.parametrize(
    ("kind", "within"), [("busy", 12), ("office hours", 72), ("one a day", 21 * 24), ("bursts", 120)]
)
def test_a_silence_that_does_not_end_is_an_alarm(kind: str, within: int) -> None:
    for seed in range(2):
        *_, (_, _, expectation) = silences(traffic(kind, seed, 60), 60)
        tuesday = START + timedelta(days=64, hours=9)
        heard = next(hours for hours in range(1, 2000) if alarming(expectation, tuesday, tuesday + HOUR * hours))
        print(f"{kind}: after {heard} hours")
        assert heard <= within


def alarming(expectation: Expectation, since: datetime, at: datetime) -> bool:
    """Whether it is."""
    silence = expectation.silence(since, at)
    return silence is not None and silence.alarming


def test_nothing_is_expected_of_what_is_hardly_known() -> None:
    expectation = Expectation()
    for number in range(int(LEARNT / HOUR) - 1):
        expectation.learn(START + HOUR * number, 5)
    now = START + LEARNT
    assert expectation.silence(now, now + timedelta(days=30)) is None


def test_what_was_learnt_survives_being_stored() -> None:
    expectation = Expectation()
    for number in range(1000):
        expectation.learn(START + HOUR * number, number % 7)
    again = Expectation.of_document(expectation.as_document())
    since, now = START + HOUR * 1000, START + HOUR * 1010.5
    assert again.expected(since, now) == pytest.approx(expectation.expected(since, now), rel=1e-3)
    assert again.until == expectation.until
    assert Expectation.of_document(None) == Expectation()


def test_what_is_expected_adds_up() -> None:
    expectation = Expectation()
    for number in range(HOURS * 3):
        expectation.learn(START + HOUR * number, number % 5)
    since = START + timedelta(days=30, hours=5, minutes=17)
    middle, until = since + HOUR * 3.4, since + HOUR * (HOURS + 20)
    parts = expectation.expected(since, middle) + expectation.expected(middle, until)
    assert parts == pytest.approx(expectation.expected(since, until))
    assert expectation.expected(until, since) == 0


# a month of looks


@dataclass
class Weather:
    """What goes wrong by itself, at a provider that is well on the whole."""

    dice: random.Random
    down_until: datetime = START
    failures: int = 0

    def stumbles(self, now: datetime, step: timedelta) -> bool:
        """Twice a day, for up to three minutes."""
        if now >= self.down_until and self.dice.random() < step / timedelta(hours=12):
            self.down_until = now + timedelta(minutes=self.dice.uniform(0, 3))
        return now < self.down_until


def two_months_of_looks(kind: str, seed: int, days: int = 60) -> int:
    """How many alarms a channel with pushes and polls raises in two months of ordinary weather."""
    dice = random.Random(seed)
    weather = Weather(dice)
    standing = Standing("unproven", START)
    now, alarms, failures, missed = START, 0, 0, 0
    times = iter(traffic(kind, seed, days).times)
    coming = next(times, None)
    while now < START + timedelta(days=days):
        step = timedelta(minutes=2 if standing.state == "suspect" else 5) * dice.uniform(0.9, 1)
        now += step
        while coming is not None and coming <= now:
            # one push in two hundred is lost, for good; the next that arrives shows that others do not
            missed = missed + 1 if dice.random() < 1 / 200 else 0
            coming = next(times, None)
        down = weather.stumbles(now, step)
        failures = failures + 1 if down else 0
        lane = Lane("news", now + timedelta(minutes=1), now, failures, "retry: 503" if down else None)
        facts = Facts(START, "active", lanes=[lane], polls=True, push_expected=True, missed=missed)
        findings = []
        if dice.random() < 1 / 500:
            findings.append(
                HealthFinding(severity="error", code="odd", message="an odd answer", mend="", concern="push")
            )
        symptoms = [*of_findings(facts, findings), *of_facts(facts, now)]
        if down:
            symptoms.append(Symptom("retry", "passing", "503", "", "read"))
        verdict = observe(standing, symptoms, now, proof=True)
        standing = verdict.standing
        alarms += verdict.change == "unhealthy"
    return alarms


@pytest.mark.parametrize("kind", ["busy", "one a day", "one in two months"])
def test_two_months_of_stumbling_providers_raise_at_most_two_alarms(kind: str) -> None:
    counted = [two_months_of_looks(kind, seed) for seed in range(2)]
    print(f"{kind}: {counted} alarms in two months")
    assert max(counted) <= 2


# the judge


DEFINITE = Symptom("webhook_missing", "definite", "m", "mend", "push")
PASSING = Symptom("poll_failing", "passing", "m", "mend", "read")
CERTAIN = Symptom("needs_authorisation", "certain", "m", "mend", "access")
HINT = Symptom("odd", "hint", "m", "mend")


def judged(symptoms: list[list[Symptom]], step: timedelta = timedelta(minutes=2)) -> list[tuple[str, str | None]]:
    """States and changes of a line of looks."""
    standing, now, found = Standing("proven", START), START, []
    for one in symptoms:
        verdict = observe(standing, one, now, proof=True)
        standing = verdict.standing
        found.append((standing.state, verdict.change))
        now += step
    return found


def test_one_look_accuses_and_the_next_convicts() -> None:
    assert judged([[DEFINITE], [], [DEFINITE], [DEFINITE], [DEFINITE]]) == [
        ("suspect", None),
        ("proven", None),
        ("suspect", None),
        ("unhealthy", "unhealthy"),
        ("unhealthy", None),
    ]


def test_what_passes_by_itself_has_minutes_to_do_so() -> None:
    assert [state for state, _ in judged([[PASSING]] * 3)] == ["suspect", "suspect", "unhealthy"]
    assert [state for state, _ in judged([[PASSING]] * 3, timedelta(minutes=1))] == ["suspect"] * 3


def test_a_stumble_does_not_testify_for_what_is_said_to_be_sure() -> None:
    assert judged([[PASSING], [DEFINITE], []]) == [("suspect", None), ("suspect", None), ("proven", None)]


def test_what_we_stopped_for_ourselves_needs_no_second_look() -> None:
    assert judged([[CERTAIN]]) == [("unhealthy", "unhealthy")]


def test_a_hint_is_no_accusation() -> None:
    assert judged([[HINT]] * 5) == [("proven", None)] * 5


def test_recovery_takes_two_good_looks_and_is_told_once() -> None:
    line = [[CERTAIN], [], [DEFINITE], [], [], []]
    assert judged(line) == [
        ("unhealthy", "unhealthy"),
        ("unhealthy", None),
        ("unhealthy", None),
        ("unhealthy", None),
        ("proven", "recovered"),
        ("proven", None),
    ]
