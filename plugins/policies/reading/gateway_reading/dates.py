"""When something is due: a small grammar of days, dates, spans of time and times of day, one for all languages.

A pack's `promise.toml` names the words (`day_1 = ["tomorrow"]`, `unit_hour = ["hour*"]`); here is how they combine.
What has no time of day is due at the end of its day; `before Friday` is due when Friday begins; a week ends on Sunday
(ISO 8601); days on which nobody works are Saturday and Sunday.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from gateway_reading.prepared import Prepared

END = time(23, 59, 59)
PARTS = {"morning": time(12), "noon": time(12), "afternoon": time(18), "evening": END, "midnight": END}
LONG_PAST = 45
"""A date without a year that lies at most so many days back is meant as past, else as next year's."""
FARTHEST = 400
"""Days ahead, beyond which nothing is taken for a promise."""

_OPENING = frozenset(
    {"within", "this", "following", "end", "same", "today", "day", "dateword", "weekday", "month", "number"}
    | {"next", "before", "clock", "hour12"}
)
"""Kinds of words with which a moment may begin, beside a number and the words that say `by`."""
_UNITS = ("minute", "hour", "business_day", "day", "week", "month")


@dataclass(frozen=True, slots=True)
class When:
    """A moment named in a text: its tokens `first` up to, not including, `last`, and what it comes to."""

    first: int
    last: int
    due: datetime
    kind: str
    """`day`, `weekday`, `date`, `span`, `period` or `clock`."""
    led: bool = True
    """False for a period that nothing marks as a limit (`this week`)."""


class Words:
    """The time words of a text by where they begin."""

    def __init__(self, prepared: Prepared) -> None:
        self.tokens = prepared.tokens
        self._longest: dict[tuple[str, int], tuple[str, int]] = {}
        self._opening = {index for index, token in enumerate(self.tokens) if token.kind == "number"}
        for concept, spans in prepared.found.items():
            if concept.startswith("promise."):
                kind, _, value = concept.removeprefix("promise.").partition("_")
                for span in spans:
                    longest = self._longest.get((kind, span.first))
                    if longest is None or span.last > longest[1]:
                        self._longest[kind, span.first] = (value, span.last)
                if kind in _OPENING:
                    self._opening.update([span.first for span in spans])

    def starts(self) -> list[int]:
        """The tokens at which a moment may begin: with its first word, or with one before it that says `by`."""
        return sorted({*self._opening, *(at for kind, at in self._longest if kind == "by")})

    def opens(self, at: int) -> bool:
        """Whether what begins here may be the first word of a moment."""
        return at in self._opening

    def take(self, kind: str, at: int) -> tuple[str, int] | None:
        """The value and the end of the longest word of this kind that begins here."""
        return self._longest.get((kind, at))

    def skip(self, kind: str, at: int) -> int:
        """Past a word of this kind, where there is one."""
        found = self.take(kind, at)
        return found[1] if found else at

    def number(self, at: int) -> tuple[int, int] | None:
        """A whole number below 1000, in digits or as a word of the pack, and its end."""
        if at >= len(self.tokens):
            return None
        token = self.tokens[at]
        if token.kind == "number":
            return (int(token.form), at + 1) if token.form.isdigit() and len(token.form) <= 3 else None
        if (found := self.take("number", at)) is not None:
            return int(found[0]), found[1]
        return None


def moments(prepared: Prepared, at: datetime) -> Iterator[When]:
    """The moments a text names that lie ahead of `at`, which is given in the zone where days are counted."""
    grammar = _Grammar(prepared, at)
    position = 0
    for start in grammar.words.starts():
        if start < position:
            continue
        if (found := grammar.parse(start)) is not None and found.last > found.first:
            position = found.last
            grammar.named = found.due.date()
            if at - timedelta(minutes=1) <= found.due <= at + timedelta(days=FARTHEST):
                yield found


class _Grammar:
    def __init__(self, prepared: Prepared, at: datetime) -> None:
        self.words = Words(prepared)
        self.tokens = prepared.tokens
        self.language = (prepared.language or "").split("-")[0].lower()
        self.at = at
        self.today = at.date()
        self.named = self.today
        """The day named last, which `the same afternoon` means."""

    def parse(self, start: int) -> When | None:
        """The longest moment that begins at this token, with the words before it that say `by` or `before`."""
        lead = self.words.take("by", start)
        before = self.words.take("before", start)
        begin = before[1] if before else lead[1] if lead else start
        firsts = [first for first in dict.fromkeys((start, begin)) if self.words.opens(first)]
        if not firsts:
            return None
        for parse in (self._span, self._period, self._day, self._date, self._weekday, self._clock):
            for first in firsts:
                found = parse(first, before is not None and first == begin, first != start)
                if found is not None and found.last > first:
                    return When(start, found.last, found.due, found.kind, found.led or first != start)
        return None

    def _end(self, day: date, moment: time = END) -> datetime:
        return datetime.combine(day, moment, self.at.tzinfo)

    def _on(self, day: date, last: int, before: bool, kind: str, first: int) -> When:
        """A day with what follows it: a part of the day or a time."""
        if (clock := self._time(last)) is not None:
            return When(first, clock[1], self._end(day, clock[0]), kind)
        part = self.words.take("part", self.words.skip("of", last))
        if part is not None:
            if (clock := self._time(part[1], part=part[0])) is not None:
                return When(first, clock[1], self._end(day, clock[0]), kind)
            return When(first, part[1], self._end(day, PARTS[part[0]]), kind)
        return When(first, last, self._end(day, time(0) if before else END), kind)

    def _span(self, first: int, before: bool, led: bool) -> When | None:
        """`within 48 hours`, `in the next 2-3 business days`."""
        within = self.words.take("within", first)
        if within is None:
            return None
        number = self.words.number(within[1])
        if number is None and (hour := self.words.take("hour", within[1])) is not None:
            return When(first, hour[1], self.at + timedelta(hours=1), "span")  # `within the hour`
        if number is None:
            return None
        amount, position = number
        to = self.words.skip("to", position)
        if to < len(self.tokens) and self.tokens[to].form == "/":
            to += 1
        if (to > position or (to < len(self.tokens) and self.tokens[to].glue in "-–")) and (
            upper := self.words.number(to)
        ) is not None:
            amount, position = upper
        position = self.words.skip("next", position)
        unit = self.words.take("unit", position)
        if unit is None:
            return None
        name, last = unit
        if name == "hour" and self.tokens[position].glue == "" and self.words.take("before", first) is not None:
            return None  # `avant 21h` is a time of day
        last = self.words.skip("next", last)
        if name == "business_day" or (name == "day" and self.words.take("working", last)):
            return When(first, self.words.skip("working", last), self._end(self._working(amount)), "span")
        if name == "minute" or name == "hour":
            length = timedelta(minutes=amount) if name == "minute" else timedelta(hours=amount)
            return When(first, last, self.at + length, "span")
        days = amount * {"day": 1, "week": 7, "month": 30}[name]
        return When(first, last, self._end(self.today + timedelta(days=days)), "span")

    def _working(self, amount: int) -> date:
        day = self.today
        for _ in range(min(amount, FARTHEST)):
            day += timedelta(days=1)
            while day.weekday() > 4:
                day += timedelta(days=1)
        return day

    def _period(self, first: int, before: bool, led: bool) -> When | None:
        """`by the end of the week`, `this week`, `next month`, `during the day`."""
        ending = self.words.take("end", first)
        position = ending[1] if ending else first
        if (this := self.words.take("this", position)) is not None:
            return When(
                first, this[1], self._close(this[0], 0), "period", ending is not None or this[0] in ("day", "weekend")
            )
        if (following := self.words.take("following", position)) is not None:
            return When(first, following[1], self._close(following[0], 1), "period", ending is not None)
        if ending is not None and (period := self.words.take("period", position)) is not None:
            return When(first, period[1], self._close(period[0], 0), "period")
        if (
            ending is not None
            and (ahead := self.words.take("next", position)) is not None
            and (period := self.words.take("period", ahead[1])) is not None
        ):
            return When(first, period[1], self._close(period[0], 1), "period")  # `by the end of next week`
        if ending is not None and (month := self.words.take("month", position)) is not None:
            number = int(month[0])
            year = self.today.year + (number < self.today.month)
            return When(first, month[1], self._end(_last_of(year, number)), "period")
        return None

    def _close(self, period: str, ahead: int) -> datetime:
        """When a period ends, or the one after it."""
        today = self.today
        if period == "day":
            return self._end(today + timedelta(days=ahead))
        if period in ("week", "weekend"):
            return self._end(today + timedelta(days=6 - today.weekday() + 7 * ahead))
        if period == "workweek":
            return self._end(today + timedelta(days=(4 - today.weekday()) % 7 + 7 * ahead))
        if period == "month":
            month = today.month - 1 + ahead
            return self._end(_last_of(today.year + month // 12, month % 12 + 1))
        return self._end(date(today.year + ahead, 12, 31))

    def _day(self, first: int, before: bool, led: bool) -> When | None:
        """`tomorrow morning`, `tonight`, `the day after tomorrow at 3 pm`, and `the same afternoon` as a day named."""
        if (same := self.words.take("same", first)) is not None:
            return When(first, same[1], self._end(self.named, PARTS.get(same[0], END)), "day")
        if (part := self.words.take("today", first)) is not None:
            if (clock := self._time(part[1], part=part[0])) is not None:
                return When(first, clock[1], self._end(self.today, clock[0]), "day")
            return When(first, part[1], self._end(self.today, PARTS[part[0]]), "day")
        day = self.words.take("day", first)
        if day is None:
            return None
        return self._on(self.today + timedelta(days=int(day[0])), day[1], before, "day", first)

    def _date(self, first: int, before: bool, led: bool) -> When | None:
        """`14 March`, `March 14th`, `20/03`, `2026-03-14`, `the 20th`."""
        position = self.words.skip("dateword", first)
        if (weekday := self.words.take("weekday", position)) is not None:  # `Friday, 20 March`
            position = self.words.skip("dateword", weekday[1])
        found = self._numeric(position) or self._named(position) or self._ordinal(position, led or position > first)
        if found is None:
            return None
        day, last = found
        return self._on(day, last, before, "date", first)

    def _named(self, at: int) -> tuple[date, int] | None:
        if (month := self.words.take("month", at)) is not None:
            number = self.words.number(self.words.skip("dateword", month[1]))
            if number is None:
                return None
            return self._year(int(month[0]), number[0], self.words.skip("ordinal", number[1]))
        number = self.words.number(at)
        if number is None:
            return None
        position = self.words.skip("of", self.words.skip("ordinal", number[1]))
        month = self.words.take("month", position)
        return self._year(int(month[0]), number[0], month[1]) if month else None

    def _year(self, month: int, day: int, last: int) -> tuple[date, int] | None:
        position = self.words.skip("of", last)
        if (
            position < len(self.tokens)
            and self.tokens[position].form.isdigit()
            and len(self.tokens[position].form) == 4
        ):
            found = _day_of(int(self.tokens[position].form), month, day)
            return (found, position + 1) if found else None
        found = _day_of(self.today.year, month, day)
        if found is None:
            return None
        if (self.today - found).days > LONG_PAST:
            found = _day_of(self.today.year + 1, month, day)
        return (found, last) if found else None

    def _numeric(self, at: int) -> tuple[date, int] | None:
        """Days and months as numbers; day first but where only the other way makes a date, or English has it sooner."""
        pieces: list[int] = []
        position = at
        widths: list[int] = []
        while position < len(self.tokens) and len(pieces) < 3:
            token = self.tokens[position]
            if token.form == "/" and pieces:
                position += 1
                continue
            if token.kind != "number" or (pieces and token.glue not in ("", "-", ".")):
                break
            if pieces and token.glue == "" and self.tokens[position - 1].form != "/":
                break
            parts = token.form.split(".")
            if not all(part.isdigit() for part in parts):
                break
            pieces += [int(part) for part in parts]
            widths += [len(part) for part in parts]
            position += 1
        if (
            len(pieces) < 2
            or len(pieces) > 3
            or (len(pieces) == 2 and "." in self.tokens[at].form and self.language == "en")
        ):
            return None
        if position == at + 1 and len(pieces) == 2 and self.language != "de":
            return None  # `3.5` is a number; only German writes dates so
        if widths[0] == 4:
            found = _day_of(pieces[0], pieces[1], pieces[2]) if len(pieces) == 3 else None
            return (found, position) if found else None
        if len(pieces) == 2 and self.words.take("unit", position) is not None:
            return None
        year = None
        if len(pieces) == 3:
            year = pieces[2] if widths[2] == 4 else 2000 + pieces[2]
        candidates = []
        for day, month in ((pieces[0], pieces[1]), (pieces[1], pieces[0])):
            if year is not None:
                candidates.append(_day_of(year, month, day))
            else:
                dated = self._year(month, day, position)
                candidates.append(dated[0] if dated else None)
        first, second = candidates
        if first is None or (self.language == "en" and second is not None and self.today <= second < first):
            return (second, position) if second else None
        return first, position

    def _ordinal(self, at: int, led: bool) -> tuple[date, int] | None:
        """`by the 20th`: a day of this month or the next, only where a word before or after says that it is one."""
        number = self.words.number(at)
        if number is None or not 1 <= number[0] <= 31 or self.tokens[at].kind != "number":
            return None
        ordinal = self.words.take("ordinal", number[1])
        marked = self.words.take("dayword", at - 1) is not None if at else False
        if not (ordinal or marked) or (ordinal and not led and not marked):
            return None
        last = ordinal[1] if ordinal else number[1]
        if last < len(self.tokens) and self.tokens[last].kind == "number":
            return None  # a telephone number
        if self.words.take("unit", last) is not None or self.words.take("oclock", last) is not None:
            return None
        found = _day_of(self.today.year, self.today.month, number[0])
        if found is None or found < self.today:
            ahead = self.today.month % 12 + 1
            found = _day_of(self.today.year + (ahead == 1), ahead, number[0])
        return (found, last) if found else None

    def _weekday(self, first: int, before: bool, led: bool) -> When | None:
        """`Friday`, `next Tuesday`, `mardi prochain`: in the week after, where the language means it so."""
        following = self.words.take("next", first)
        position = following[1] if following else self.words.skip("dateword", first)
        weekday = self.words.take("weekday", position)
        if weekday is None:
            return None
        last = weekday[1]
        if (after := self.words.take("next", last)) is not None:
            following, last = after, after[1]
        ahead = (int(weekday[0]) - self.today.weekday()) % 7
        if ahead == 0:
            ahead = 7
        if following is not None and following[0] == "week" and ahead <= 6 - self.today.weekday():
            ahead += 7
        return self._on(self.today + timedelta(days=ahead), last, before, "weekday", first)

    def _clock(self, first: int, before: bool, led: bool) -> When | None:
        """`by 5 pm`, and what day it is of where one follows (`at 3 pm tomorrow`)."""
        clock = self._time(first, led=led)
        if clock is None:
            return None
        moment, last = clock
        position = self.words.skip("by", last)
        if (day := self.words.take("day", position)) is not None:
            return When(first, day[1], self._end(self.today + timedelta(days=int(day[0])), moment), "clock")
        if (part := self.words.take("today", position)) is not None:
            return When(first, part[1], self._end(self.today, moment), "clock")
        if (on := self._weekday(position, False, True)) is not None:
            return When(first, on.last, self._end(on.due.date(), moment), "clock")
        due = self._end(self.today, moment)
        return When(first, last, due if due > self.at else due + timedelta(days=1), "clock")

    def _time(self, first: int, *, part: str | None = None, led: bool = False) -> tuple[time, int] | None:
        """A time of day, with the word before it that says so (`at`, `um`, `a las`) or the one after (`pm`, `Uhr`).

        `part` is the part of the day that was named before it (`tonight at eight`); `led`: a word before it sets a
        limit, so that the part of the day after it makes a number an hour (`by eight tonight`).
        """
        position = self.words.skip("before", first)
        at = self.words.take("clock", position) or (self.words.take("before", first) if position > first else None)
        position = max(position, at[1]) if at else position
        if position < len(self.tokens) and (noon := self.words.take("hour12", position)) is not None:
            return (PARTS["noon"], noon[1]) if at or position > first else None
        if (found := self._hour(position)) is None:
            return None
        hour, minute, last, marked = found
        spelled = self.tokens[position].kind != "number"
        if (oclock := self.words.take("oclock", last)) is not None:
            last, marked = oclock[1], True
            if (
                last < len(self.tokens)
                and self.tokens[last].glue == ""
                and (more := self.words.number(last)) is not None
            ):
                minute, last = more  # `18h30`
        half = self.words.take("half", last)
        after = self.words.take("today", last)
        named = part or (after[0] if after and (marked or at is not None or led) else None)
        if half is not None:
            last, marked = half[1], True
            hour += 12 if half[0] == "pm" and hour < 12 else -12 if half[0] == "am" and hour == 12 else 0
        elif named in ("afternoon", "evening") and 0 < hour < 12:
            hour, marked = hour + 12, marked or part is None or at is not None
        elif at is not None and hour < 7 and not oclock and self.words.take("part", last) is None:
            hour += 12  # `at 5` is in the afternoon
        if not (marked or (at is not None and not spelled)) or hour > 24 or minute > 59:
            return None
        if not marked and self.words.take("unit", last) is not None:
            return None
        return (END if hour == 24 else time(hour, minute)), last

    def _hour(self, at: int) -> tuple[int, int, int, bool] | None:
        """Hour, minute, the end of both, and whether a colon marks them as a time; in digits or as a word."""
        if at >= len(self.tokens):
            return None
        if self.tokens[at].kind != "number":
            number = self.words.number(at)
            return (number[0], 0, number[1], False) if number is not None else None
        hours, _, minutes = self.tokens[at].form.replace(".", ":").partition(":")
        if not (hours.isdigit() and len(hours) <= 2 and (not minutes or (minutes.isdigit() and len(minutes) == 2))):
            return None
        return int(hours), int(minutes or 0), at + 1, bool(minutes) and ":" in self.tokens[at].form


def _day_of(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _last_of(year: int, month: int) -> date:
    return date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)
