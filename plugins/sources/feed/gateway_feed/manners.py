"""How long a feed asks to be left alone: `ttl`, `skipHours` and `skipDays` of RSS 2.0, `sy:update…`, and Cache-Control.

Read from the bytes before the first entry, with patterns only: the page is parsed later, where a process can be killed.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import httpx2

LONGEST = timedelta(days=1)
"""However long a feed asks for, it is looked at once a day."""
_HEAD = 64 * 1024
_FIRST_ENTRY = re.compile(rb"<(?:\w{1,20}:)?(?:item|entry)[\s>]")
_FIRST_ELEMENT = re.compile(rb"<(?:\w{1,20}:)?(\w{1,40})[\s>/]")
_ROOTS = (b"rss", b"feed", b"rdf", b"channel")
_TTL = re.compile(rb"<ttl>\s{0,20}(\d{1,6})\s{0,20}</ttl>")
_PERIOD = re.compile(rb"<sy:updatePeriod>\s{0,20}(hourly|daily|weekly|monthly|yearly)\s{0,20}</sy:updatePeriod>")
_FREQUENCY = re.compile(rb"<sy:updateFrequency>\s{0,20}(\d{1,4})\s{0,20}</sy:updateFrequency>")
_HOURS = re.compile(rb"<skipHours>(.{0,2000}?)</skipHours>", re.DOTALL)
_HOUR = re.compile(rb"<hour>\s{0,20}(\d{1,2})\s{0,20}</hour>")
_DAYS = re.compile(rb"<skipDays>(.{0,1000}?)</skipDays>", re.DOTALL)
_DAY = re.compile(rb"<day>\s{0,20}([A-Za-z]{6,9})\s{0,20}</day>")
_MAX_AGE = re.compile(r"\bmax-age=(\d{1,9})\b")
_PERIODS = {b"hourly": 1, b"daily": 24, b"weekly": 24, b"monthly": 24, b"yearly": 24}
_WEEK = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def pause(body: bytes, response: httpx2.Response) -> timedelta:
    """How long what was just read is good for; nothing where nobody says."""
    head = _head(body)
    asked = [timedelta()]
    if match := _TTL.search(head):
        asked.append(timedelta(minutes=int(match[1])))
    if match := _PERIOD.search(head):
        times = _FREQUENCY.search(head)
        asked.append(timedelta(hours=_PERIODS[match[1]]) / max(1, int(times[1]) if times else 1))
    return min(max([*asked, max_age(response)]), LONGEST)


def max_age(response: httpx2.Response) -> timedelta:
    """How long the answer is good for by Cache-Control."""
    match = _MAX_AGE.search(response.headers.get("cache-control", "").lower())
    return min(timedelta(seconds=int(match[1])), LONGEST) if match else timedelta()


def skips(body: bytes) -> tuple[list[int], list[int]]:
    """Hours (GMT) and days of the week (Monday is 0) at which the feed need not be asked; none where that is always."""
    head = _head(body)
    hours = sorted({int(hour) % 24 for block in _HOURS.findall(head)[:1] for hour in _HOUR.findall(block)})
    named = [day.decode().lower() for block in _DAYS.findall(head)[:1] for day in _DAY.findall(block)]
    days = sorted({_WEEK.index(day) for day in named if day in _WEEK})
    return (hours if len(hours) < 24 else []), (days if len(days) < 7 else [])


def resting(now: datetime, hours: list[int], days: list[int]) -> bool:
    """Whether this is a time at which the feed need not be asked."""
    return now.hour in hours or now.weekday() in days


def looks_like_a_feed(body: bytes) -> bool:
    """Whether the first element is one that feeds begin with: a page of maintenance or of a log-in is none."""
    head = body[:_HEAD].replace(b"\x00", b"")
    first = _FIRST_ELEMENT.search(head)
    return first is not None and first[1].lower() in _ROOTS


def _head(body: bytes) -> bytes:
    head = body[:_HEAD]
    if b"\x00" in head[:64]:  # UTF-16 or UTF-32: the elements' names are ASCII in any encoding
        head = head.replace(b"\x00", b"")
    first = _FIRST_ENTRY.search(head)
    return head[: first.start()] if first else head
