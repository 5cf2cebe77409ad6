"""Counting time in a calendar: when a target is due, and how much time has passed.

A moment is open when the wall clock of the calendar's zone shows a time within one of the day's periods and the date is
not closed. Time passes while it is open, and as much as really passes: a night in which the clocks go back counts its
hour twice, one in which they go forward counts an hour less.

A target that is used up exactly at closing time is due at closing time, not at the next opening. What begins while
closed counts from the next opening.

The open stretches of a year are worked out once and kept with their running sum, so that a question costs a search in
each year it touches, however many minutes lie between.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from gateway.sla.hours import ALWAYS, MIDNIGHT, Hours, public_holidays
from gateway.sla.zones import DAY_US, US, from_micros, micros, offsets, zone

MINUTE_US = 60 * US
HORIZON = 100
"""Years ahead that a due time is looked for."""


class NeverDue(ValueError):
    """So much open time does not come within the horizon."""


@dataclass(frozen=True)
class _Year:
    """The open stretches of one year in UTC, as microseconds since 1970."""

    opens: list[int]
    closes: list[int]
    before: list[int]
    """Open time of the year before each stretch."""
    total: int

    def passed(self, at: int) -> int:
        """Open time of the year before this moment."""
        place = bisect_right(self.opens, at) - 1
        if place < 0:
            return 0
        return self.before[place] + min(at, self.closes[place]) - self.opens[place]

    def reached(self, amount: int) -> int:
        """The first moment by which so much (more than nothing) of the year's open time has passed."""
        place = bisect_right(self.before, amount - 1) - 1
        return self.opens[place] + amount - self.before[place]


class Calendar:
    """Counts time by one definition. Immutable but for what it remembers of years; safe to share between threads."""

    def __init__(self, hours: Hours) -> None:
        self.hours = hours
        self._always = hours.week == ALWAYS.week and not (hours.closed or hours.region or hours.fed)
        self._years: dict[int, _Year] = {}

    @property
    def zone(self) -> ZoneInfo:
        """The time zone whose wall clock it goes by."""
        return zone(self.hours.timezone)

    def due(self, start: datetime, target: timedelta) -> datetime:
        """When so much time has passed since `start`, in UTC; nothing at all is due at the start.

        Raises NeverDue where that is not within 100 years.
        """
        begin, left = micros(start), target // timedelta(microseconds=1)
        year = from_micros(begin).year
        if left <= 0:
            return from_micros(begin)
        if self._always:
            return _always(start, target)
        left += self._year(year).passed(begin)
        for ahead in range(min(HORIZON, MAXYEAR - 1 - year)):
            table = self._year(year + ahead)
            if left <= table.total:
                return from_micros(table.reached(left))
            left -= table.total
        raise NeverDue(f"{target} of open time do not pass within {HORIZON} years after {start:%Y-%m-%d}")

    def elapsed(self, start: datetime, end: datetime) -> timedelta:
        """How much time passes between two moments; nothing when the end is not after the start."""
        if end <= start:
            return timedelta()
        if self._always:
            return end - start
        begin, stop = micros(start), micros(end)
        first, last = from_micros(begin).year, from_micros(stop).year
        found = self._year(last).passed(stop) - self._year(first).passed(begin)
        found += sum(self._year(year).total for year in range(first, last))
        return timedelta(microseconds=found)

    def is_open(self, at: datetime) -> bool:
        """Whether time passes at this moment."""
        return self.elapsed(at, at + timedelta(microseconds=1)) > timedelta()

    def _year(self, year: int) -> _Year:
        table = self._years.get(year)
        if table is None:
            table = self._years[year] = _open_stretches(self.hours, year)
        return table


def _always(start: datetime, target: timedelta) -> datetime:
    try:
        return start.astimezone(UTC) + target
    except OverflowError as error:
        raise NeverDue(f"{target} after {start:%Y-%m-%d} is beyond all calendars") from error


def _open_stretches(hours: Hours, year: int) -> _Year:
    closed = hours.closed | hours.fed | public_holidays(hours.region, (year - 1, year, year + 1))
    opens: list[int] = []
    closes: list[int] = []
    for begin, end, offset in offsets(hours.timezone, year):
        # within the stretch, local time is UTC plus the offset: walk its local days and clip them to it
        first, last = (begin + offset) // DAY_US, (end + offset - 1) // DAY_US
        for day in range(first, last + 1):
            local = date.fromordinal(day + _ORDINAL_1970)
            if local in closed:
                continue
            midnight = day * DAY_US - offset
            for start, stop in hours.week[local.weekday()]:
                since = max(begin, midnight + start * MINUTE_US)
                until = min(end, midnight + stop * MINUTE_US)
                if since >= until:
                    continue
                if closes and closes[-1] == since:
                    closes[-1] = until
                else:
                    opens.append(since)
                    closes.append(until)
    before: list[int] = []
    total = 0
    for since, until in zip(opens, closes, strict=True):
        before.append(total)
        total += until - since
    return _Year(opens, closes, before, total)


_ORDINAL_1970 = date(1970, 1, 1).toordinal()

assert MIDNIGHT * MINUTE_US == DAY_US
