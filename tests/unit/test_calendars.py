"""Calendars against an oracle that looks at every minute by the wall clock, and the vectors of vendors."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate

import holidays
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sla.calendars import Calendar, NeverDue
from gateway.sla.hours import ALWAYS, WEEKDAYS, Hours, HoursInvalid, Region, check_region, check_zone, read_week
from gateway.sla.zones import tzdata_version, zone, zone_names

BERLIN = zone("Europe/Berlin")
OFFICE = {day: [["09:00", "17:00"]] for day in WEEKDAYS[:5]}
MINUTE = timedelta(minutes=1)

# What changes its clocks, in either hemisphere, by half an hour, at midnight, across the date line or not at all.
ZONES = (
    *(
        "Europe/Berlin",
        "America/New_York",
        "Europe/London",
        "Australia/Lord_Howe",
        "America/Santiago",
        "Asia/Kathmandu",
    ),
    *("Pacific/Apia", "Africa/Casablanca", "America/St_Johns", "Asia/Beirut", "Africa/Cairo", "Antarctica/Troll"),
    *("America/Havana", "Asia/Tokyo", "UTC", "Pacific/Chatham"),
)
REGIONS = (None, None, Region("DE", "BY"), Region("US", "CA"), Region("GB", "SCT"), Region("JP"), Region("CL"))
WINDOW = 12 * 24 * 60
"""Minutes of the oracle's window."""


def office(timezone: str = "Europe/Berlin", **more: object) -> Calendar:
    """Monday to Friday, nine to five."""
    return Calendar(Hours(timezone, read_week(OFFICE), **more))  # type: ignore[arg-type]


def some_hours(chance: random.Random) -> Hours:
    """Random hours: split days, whole days, days that end at midnight, closed days."""
    week: list[tuple[tuple[int, int], ...]] = []
    for _ in WEEKDAYS:
        edges = sorted(chance.sample(range(0, 1441, chance.choice((1, 5, 30))), 2 * chance.randint(0, 3)))
        periods = tuple(zip(edges[::2], edges[1::2], strict=True))
        week.append(chance.choice((periods, periods, ((0, 1440),), ((540, 720), (780, 1440)), ((0, 90), (120, 200)))))
    if not any(week):
        week[chance.randrange(7)] = ((60, 180),)
    return Hours(chance.choice(ZONES), tuple(week), region=chance.choice(REGIONS))


def some_window(chance: random.Random, name: str) -> datetime:
    """A moment some days before a change of the clocks, where the zone has one in that year, else any."""
    year = chance.randint(2018, 2032)
    begin = datetime(year, 1, 1, tzinfo=UTC) + timedelta(minutes=chance.randrange(360 * 1440))
    tz = zone(name)
    changes = [
        day
        for day in (datetime(year, 1, 1, tzinfo=UTC) + timedelta(days=number) for number in range(350))
        if day.astimezone(tz).utcoffset() != (day + timedelta(days=1)).astimezone(tz).utcoffset()
    ]
    if changes and chance.random() < 0.8:
        begin = chance.choice(changes) - timedelta(minutes=chance.randrange(6 * 1440))
    return begin


def open_minutes(hours: Hours, begin: datetime) -> list[bool]:
    """For every minute of the window whether it is open, by asking the wall clock: the oracle.

    It shares the database of zones with the calendar, whose releases tell futures differently, and nothing else.
    """
    tz = zone(hours.timezone)
    closed = set(hours.closed)
    if hours.region is not None:
        closed |= set(
            holidays.country_holidays(
                hours.region.country, subdiv=hours.region.subdivision, years=range(begin.year - 1, begin.year + 2)
            )
        )
    found = []
    for number in range(WINDOW):
        wall = (begin + number * MINUTE).astimezone(tz)
        now = wall.hour * 60 + wall.minute
        periods = hours.week[wall.weekday()]
        found.append(wall.date() not in closed and any(opens <= now < closes for opens, closes in periods))
    return found


def mismatches(seed: int, calendars: int, cases: int) -> list[str]:
    """What calendar and oracle tell differently, of so many cases in each of so many random calendars."""
    chance = random.Random(seed)
    wrong: list[str] = []
    for _ in range(calendars):
        hours = some_hours(chance)
        begin = some_window(chance, hours.timezone)
        if chance.random() < 0.5:
            local = begin.astimezone(zone(hours.timezone)).date()
            closed = frozenset(local + timedelta(days=chance.randrange(12)) for _ in range(3))
            hours = Hours(hours.timezone, hours.week, closed, hours.region)
        calendar = Calendar(hours)
        flags = open_minutes(hours, begin)
        before = [0, *accumulate(flags)]
        ends = [number + 1 for number, is_open in enumerate(flags) if is_open]
        for _ in range(cases):
            start = chance.randrange(WINDOW)
            end = chance.randrange(start, WINDOW + 1)
            counted = before[end] - before[start]
            told = calendar.elapsed(begin + start * MINUTE, begin + end * MINUTE)
            if told != counted * MINUTE:
                wrong.append(f"{hours} elapsed {begin + start * MINUTE} {begin + end * MINUTE}: {told}, not {counted}")
            left = before[WINDOW] - before[start]
            if left:
                target = chance.randint(1, left)
                expected = begin + ends[before[start] + target - 1] * MINUTE
                due = calendar.due(begin + start * MINUTE, target * MINUTE)
                if due != expected:
                    wrong.append(f"{hours} due {begin + start * MINUTE} + {target}: {due}, not {expected}")
    return wrong


@pytest.mark.parametrize("seed", range(8))
def test_no_case_differs_from_a_count_of_every_minute(seed: int) -> None:
    """8 times 60 calendars times 50 moments, each asked for `due` and `elapsed`: 24,000 cases of either."""
    assert mismatches(seed, calendars=60, cases=50) == []


@pytest.mark.parametrize(
    ("minutes", "start", "due"),
    [
        (30, "2026-03-13 16:45", "2026-03-16 09:15"),
        (60, "2026-03-13 16:30", "2026-03-16 09:30"),
        (15, "2026-03-13 16:45", "2026-03-13 17:00"),  # ends exactly at closing time
        (480, "2026-03-13 09:00", "2026-03-13 17:00"),
        (60, "2026-03-14 11:00", "2026-03-16 10:00"),  # starts while closed
        (60, "2026-03-13 17:00", "2026-03-16 10:00"),  # starts at closing time
        (60, "2026-03-13 09:00", "2026-03-13 10:00"),  # starts at opening time
        (1, "2026-03-12 08:59", "2026-03-12 09:01"),
    ],
)
def test_the_vectors_of_vendors_and_the_edges_of_a_day(minutes: int, start: str, due: str) -> None:
    calendar = office()
    begin, end = (datetime.fromisoformat(text).replace(tzinfo=BERLIN) for text in (start, due))
    assert calendar.due(begin, minutes * MINUTE) == end
    assert calendar.elapsed(begin, end) == minutes * MINUTE


def test_a_night_in_which_the_clocks_change_counts_what_really_passes() -> None:
    night = Calendar(Hours("Europe/Berlin", read_week({"sunday": [["00:00", "06:00"]]})))
    spring, autumn = (datetime(2026, month, day, tzinfo=BERLIN) for month, day in ((3, 29), (10, 25)))
    assert night.elapsed(spring, spring + timedelta(days=1)) == timedelta(hours=5)
    assert night.elapsed(autumn, autumn + timedelta(days=1)) == timedelta(hours=7)
    # half past two comes twice: an hour later by the clock that all share
    twice = Calendar(Hours("Europe/Berlin", read_week({"sunday": [["02:00", "02:30"]]})))
    first = datetime(2026, 10, 25, 2, 0, tzinfo=BERLIN)
    assert twice.due(first, 45 * MINUTE) == datetime(2026, 10, 25, 1, 15, tzinfo=UTC)
    # and in spring not at all
    assert twice.elapsed(spring, spring + timedelta(days=1)) == timedelta()


def test_a_date_that_the_zone_leaves_out_does_not_exist() -> None:
    samoa = Calendar(Hours("Pacific/Apia", (((0, 1440),),) * 7, closed=frozenset([date(2012, 1, 1)])))
    begin = datetime(2011, 12, 29, 12, tzinfo=zone("Pacific/Apia"))
    assert samoa.due(begin, timedelta(days=1)) == datetime(2011, 12, 31, 12, tzinfo=zone("Pacific/Apia"))


def test_holidays_of_a_region_of_its_own_and_of_a_feed_are_closed() -> None:
    calendar = office(
        region=Region("DE", "BY"), closed=frozenset([date(2026, 12, 24)]), fed=frozenset([date(2026, 12, 28)])
    )
    start = datetime(2026, 12, 23, 16, tzinfo=BERLIN)
    assert calendar.due(start, timedelta(hours=2)) == datetime(2026, 12, 29, 10, tzinfo=BERLIN)
    epiphany = datetime(2026, 1, 6, 9, tzinfo=BERLIN)
    assert calendar.due(epiphany, timedelta(hours=1)).date() == date(2026, 1, 7)
    assert office(region=Region("DE")).due(epiphany, timedelta(hours=1)).date() == date(2026, 1, 6)


def test_years_ahead_cost_a_search_and_no_walk() -> None:
    calendar = office(region=Region("DE", "BY"))
    start = datetime(2026, 3, 13, 9, tzinfo=BERLIN)
    due = calendar.due(start, timedelta(hours=40_000))
    assert due.year == 2046
    assert calendar.elapsed(start, due) == timedelta(hours=40_000)
    years = dict(calendar._years)
    assert calendar.due(start, timedelta(hours=40_001)) > due
    assert calendar._years == years, "what was worked out once is kept"


def test_what_never_comes_is_said() -> None:
    mondays = Calendar(Hours("UTC", read_week({"monday": [["09:00", "09:01"]]})))
    with pytest.raises(NeverDue, match="within 100 years"):
        mondays.due(datetime(2026, 1, 1, tzinfo=UTC), timedelta(days=30))
    with pytest.raises(NeverDue):
        Calendar(ALWAYS).due(datetime(2026, 1, 1, tzinfo=UTC), timedelta(days=365 * 9000))


def test_always_is_the_passing_of_time() -> None:
    start = datetime(2026, 3, 29, 1, 59, 59, 5, tzinfo=BERLIN)
    assert Calendar(ALWAYS).due(start, timedelta(hours=5)) - start.astimezone(UTC) == timedelta(hours=5)
    assert Calendar(ALWAYS).elapsed(start, start) == timedelta()
    # the same by way of the years: whole days in any zone are all time there is
    everything = Calendar(Hours("America/Santiago", ALWAYS.week, closed=frozenset([date(1971, 1, 1)])))
    assert everything.due(start, timedelta(days=400)) == start.astimezone(UTC) + timedelta(days=400)


moments = st.integers(0, 10**10).map(lambda tenths: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=tenths / 30))
spans = st.timedeltas(timedelta(microseconds=1), timedelta(days=60))
shapes = st.sampled_from([office(name, region=region) for name in ZONES[:6] for region in REGIONS[1:4]])


@given(shapes, moments, spans)
def test_what_is_due_has_passed_exactly_and_a_moment_before_it_has_not(
    calendar: Calendar, start: datetime, target: timedelta
) -> None:
    due = calendar.due(start, target)
    assert calendar.elapsed(start, due) == target
    assert calendar.elapsed(start, due - timedelta(microseconds=1)) < target
    assert calendar.due(start, timedelta()) == start


@given(shapes, moments, spans, spans)
def test_time_adds_up(calendar: Calendar, start: datetime, one: timedelta, other: timedelta) -> None:
    middle, end = start + one, start + one + other
    assert calendar.elapsed(start, end) == calendar.elapsed(start, middle) + calendar.elapsed(middle, end)
    assert calendar.due(calendar.due(start, one), other) == calendar.due(start, one + other)
    assert calendar.elapsed(end, start) == timedelta()


@pytest.mark.parametrize(
    ("hours", "field", "fix"),
    [
        ({}, "hours", "add some"),
        ({"monday": []}, "hours", "add some"),
        ({"mon": [["09:00", "17:00"]]}, "hours.mon", "monday"),
        ({"monday": [["09:00"]]}, "hours.monday.0", '["09:00", "17:00"]'),
        ({"monday": [["9:00", "17:00"]]}, "hours.monday.0.0", "HH:MM"),
        ({"monday": [["09:00", "24:01"]]}, "hours.monday.0.1", "24:00"),
        ({"monday": [["09:00", "09:60"]]}, "hours.monday.0.1", "HH:MM"),
        ({"monday": [["09:00", "٠٩:00"]]}, "hours.monday.0.1", "HH:MM"),
        ({"monday": [["09:00", "09:00"]]}, "hours.monday.0", "end it after it begins"),
        ({"monday": [["09:00", "00:00"]]}, "hours.monday.0", '["09:00", "24:00"]'),
        ({"sunday": [["22:00", "06:00"]]}, "hours.sunday.0", '["00:00", "06:00"] on monday'),
        ({"monday": [["13:00", "17:00"], ["09:00", "13:30"]]}, "hours.monday.0", "join"),
    ],
)
def test_hours_that_cannot_be_kept_name_the_field_and_the_mend(
    hours: dict[str, list[list[str]]], field: str, fix: str
) -> None:
    with pytest.raises(HoursInvalid) as error:
        read_week(hours)
    assert error.value.field == field
    assert fix in (error.value.fix or "")


def test_unknown_zones_and_regions_name_the_mend() -> None:
    for wrong, call in (("timezone", lambda: check_zone("Mars/Olympus")), ("timezone", lambda: check_zone("../UTC"))):
        with pytest.raises(HoursInvalid) as error:
            call()
        assert error.value.field == wrong
    with pytest.raises(HoursInvalid, match="no holidays are known of 'XX'"):
        check_region(Region("XX"))
    with pytest.raises(HoursInvalid) as error:
        check_region(Region("DE", "XX"))
    assert error.value.field == "holiday_region.subdivision"
    assert "BY" in (error.value.fix or "")


def test_zones_come_from_the_database_that_decisions_name() -> None:
    assert tzdata_version()
    assert {"Europe/Berlin", "UTC", "America/New_York"} <= zone_names()
    assert zone("Europe/Berlin").key == "Europe/Berlin"
