"""What a calendar is made of, as somebody wrote it down: a zone, the week's hours, and the days that are closed."""

from __future__ import annotations

import functools
import importlib.metadata
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import holidays

from gateway.sla.zones import UnknownZone, zone

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MIDNIGHT = 24 * 60
"""The minute of the day at which it ends, written `24:00`."""

Period = tuple[int, int]
"""Open from this minute of the day until before that one; both by the wall clock."""


class HoursInvalid(ValueError):
    """A calendar that cannot be kept: names the field, what is wrong with it and how to mend it."""

    def __init__(self, field: str, message: str, fix: str | None = None) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message
        self.fix = fix


@dataclass(frozen=True)
class Region:
    """A country's or a subdivision's public holidays, by their ISO 3166 codes."""

    country: str
    subdivision: str | None = None


@dataclass(frozen=True)
class Hours:
    """A calendar's definition. Equal definitions count time alike, as long as the zone and holiday data are the same.

    `closed` are dates of its own, `fed` those that its iCalendar feed gave; a closed date is closed all day.
    """

    timezone: str
    week: tuple[tuple[Period, ...], ...]
    closed: frozenset[date] = frozenset()
    region: Region | None = None
    fed: frozenset[date] = frozenset()


ALWAYS = Hours("UTC", (((0, MIDNIGHT),),) * 7)


def read_week(hours: Mapping[str, Sequence[Sequence[str]]]) -> tuple[tuple[Period, ...], ...]:
    """The week's periods from `{"monday": [["09:00", "12:00"], ["13:00", "24:00"]]}`; a day left out is closed.

    Raises HoursInvalid for what is no time of day, for periods that overlap or end before they begin (one over midnight
    is two: whether its second half belongs to a holiday must be seen), and for a week without any open hours.
    """
    for day in hours:
        if day not in WEEKDAYS:
            raise HoursInvalid(f"hours.{day}", "is not a day of the week", f"there are {', '.join(WEEKDAYS)}")
    week = tuple(_read_day(day, hours.get(day, ())) for day in WEEKDAYS)
    if not any(week):
        raise HoursInvalid(
            "hours", "no day has open hours, so no time would ever pass", 'add some: {"monday": [["09:00", "17:00"]]}'
        )
    return week


def _read_day(day: str, given: Sequence[Sequence[str]]) -> tuple[Period, ...]:
    periods: list[tuple[Period, int]] = []
    for number, pair in enumerate(given):
        field = f"hours.{day}.{number}"
        if len(pair) != 2:
            raise HoursInvalid(field, "is not a pair of opening and closing time", 'write ["09:00", "17:00"]')
        opens, closes = _minute(f"{field}.0", pair[0]), _minute(f"{field}.1", pair[1])
        if closes <= opens:
            tomorrow = WEEKDAYS[(WEEKDAYS.index(day) + 1) % 7]
            fix = "end it after it begins"
            if closes == 0:
                fix = f'write the end of the day as 24:00: ["{pair[0]}", "24:00"]'
            elif closes < opens:
                halves = f'["{pair[0]}", "24:00"] on {day}, ["00:00", "{pair[1]}"] on {tomorrow}'
                fix = f"split a period over midnight: {halves}"
            raise HoursInvalid(field, f"ends at {pair[1]}, not after it begins at {pair[0]}", fix)
        periods.append(((opens, closes), number))
    periods.sort()
    for (before, _), (after, number) in itertools.pairwise(periods):
        if after[0] < before[1]:
            raise HoursInvalid(
                f"hours.{day}.{number}", f"overlaps {clock(before[0])} to {clock(before[1])}", "join the two"
            )
    return tuple(period for period, _ in periods)


def _minute(field: str, text: str) -> int:
    hour, colon, minute = text.partition(":")
    if colon and all(len(part) == 2 and part.isascii() and part.isdecimal() for part in (hour, minute)):
        found = int(hour) * 60 + int(minute)
        if int(minute) < 60 and found <= MIDNIGHT:
            return found
    raise HoursInvalid(field, f"{text[:20]!r} is no time of day", "write HH:MM, from 00:00 to 24:00")


def clock(minute: int) -> str:
    """A minute of the day as it is written: `09:00`."""
    return f"{minute // 60:02}:{minute % 60:02}"


def write_week(week: Sequence[Sequence[Period]]) -> dict[str, list[list[str]]]:
    """The week's periods as they are written; days without any are left out."""
    return {
        day: [[clock(opens), clock(closes)] for opens, closes in periods]
        for day, periods in zip(WEEKDAYS, week, strict=True)
        if periods
    }


def check_zone(name: str) -> str:
    """The name of a zone that exists. Raises HoursInvalid."""
    try:
        zone(name)
    except UnknownZone as error:
        raise HoursInvalid("timezone", str(error), "take a name of the IANA database, such as Europe/Berlin") from error
    return name


def check_region(region: Region) -> Region:
    """A region whose holidays are known. Raises HoursInvalid."""
    known = _regions()
    if region.country not in known:
        fix = "give an ISO 3166-1 code of two letters, such as DE, or list the dates in `holidays`"
        raise HoursInvalid("holiday_region.country", f"no holidays are known of {region.country!r}", fix)
    divisions = known[region.country]
    if region.subdivision is not None and region.subdivision not in divisions:
        fix = f"there are {', '.join(divisions)}" if divisions else "leave it out"
        raise HoursInvalid(
            "holiday_region.subdivision",
            f"{region.country} has no {region.subdivision!r} with holidays of its own",
            fix,
        )
    return region


@functools.cache
def _regions() -> dict[str, list[str]]:
    return {
        country: list(divisions)
        for country, divisions in holidays.list_supported_countries(include_aliases=False).items()
        if len(country) == 2
    }


def holiday_data_version() -> str:
    """The release of the holiday data in use."""
    return importlib.metadata.version("holidays")


def public_holidays(region: Region | None, years: Iterable[int]) -> frozenset[date]:
    """The public holidays of these years, those observed on another day included."""
    if region is None:
        return frozenset()
    found = holidays.country_holidays(region.country, subdiv=region.subdivision, years=list(years), language="en_US")
    return frozenset(found)
