"""Time zones, always from the IANA database that is installed with the gateway.

The machine's own database is left aside: its version differs from host to host and often cannot be told, and a decision
has to name the one that it went by.
"""

from __future__ import annotations

import importlib.resources
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from zoneinfo import ZoneInfo

import tzdata

US = 1_000_000
DAY_US = 86_400 * US
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LOOK = timedelta(hours=6)
"""How far apart offsets are looked at. No zone has changed its offset twice within so short a time since 1950."""


class UnknownZone(ValueError):
    """There is no such time zone in the IANA database."""


def tzdata_version() -> str:
    """The release of the IANA database in use: `2026a`."""
    return str(tzdata.IANA_VERSION)


@cache
def zone_names() -> frozenset[str]:
    """All names of the IANA database."""
    text = importlib.resources.files("tzdata").joinpath("zones").read_text("utf-8")
    return frozenset(text.split())


@cache
def zone(name: str) -> ZoneInfo:
    """The zone of this IANA name. Raises UnknownZone."""
    if name not in zone_names():
        raise UnknownZone(f"there is no time zone {name}")
    with importlib.resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def micros(moment: datetime) -> int:
    """Microseconds since 1970, exactly."""
    since = moment - EPOCH
    return (since.days * 86_400 + since.seconds) * US + since.microseconds


def from_micros(count: int) -> datetime:
    """The moment so many microseconds after 1970, in UTC."""
    return EPOCH + timedelta(microseconds=count)


@lru_cache(maxsize=4096)
def offsets(name: str, year: int) -> tuple[tuple[int, int, int], ...]:
    """The year (in UTC) as stretches of one offset each: begin, end and offset from UTC, in microseconds.

    Within a stretch the wall clock is UTC plus a constant, so that daylight saving needs no rule of its own: an hour
    that the wall clock shows twice lies in two stretches, one that it leaves out lies in none.
    """
    tz = zone(name)
    begin, last = datetime(year, 1, 1, tzinfo=UTC), datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC)
    found: list[tuple[int, int, int]] = []
    since, offset, before = micros(begin), _offset(tz, begin), begin
    while before < last:
        after = min(before + LOOK, last)
        if _offset(tz, after) != offset:
            change = micros(_change(tz, before, after))
            found.append((since, change, offset))
            since, offset = change, _offset(tz, after)
        before = after
    found.append((since, micros(last) + US, offset))
    return tuple(found)


def _offset(tz: ZoneInfo, moment: datetime) -> int:
    offset = moment.astimezone(tz).utcoffset()
    assert offset is not None
    return (offset.days * 86_400 + offset.seconds) * US


def _change(tz: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """The first second with the offset of `after`."""
    new = _offset(tz, after)
    low, high = int(before.timestamp()), int(after.timestamp())
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(tz, datetime.fromtimestamp(middle, UTC)) == new:
            high = middle
        else:
            low = middle
    return datetime.fromtimestamp(high, UTC)
