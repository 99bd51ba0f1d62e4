"""Business hours, public holidays and closed days: whether an office is open at a moment.

Pure: no clock, no configuration file.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from itertools import groupby

import holidays

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_SPAN = re.compile(r"([a-z]{3})(?:-([a-z]{3}))?")
_TIME_SPAN = re.compile(r"(\d\d?):(\d\d)\s*-\s*(\d\d?):(\d\d)")
_CLOSED = re.compile(r"((?:[0-9]{4}-)?[0-9]{2}-[0-9]{2})(?:\s*\.\.\s*((?:[0-9]{4}-)?[0-9]{2}-[0-9]{2}))?")
_LEAP_YEAR = 2000  # a day of every year is kept as this year's


@dataclass(frozen=True, slots=True)
class Span:
    """Open from `start` up to `end`; an end not after the start lies on the next day."""

    start: time
    end: time


Week = tuple[tuple[Span, ...], ...]


@dataclass(frozen=True, slots=True)
class ClosedDays:
    """Days without opening hours, from the first to the last; a yearly one may cross New Year."""

    first: date
    last: date
    yearly: bool = False

    def __contains__(self, day: date) -> bool:
        if not self.yearly:
            return self.first <= day <= self.last
        day = day.replace(year=_LEAP_YEAR)
        if self.first <= self.last:
            return self.first <= day <= self.last
        return day >= self.first or day <= self.last

    def dates(self) -> list[date]:
        """Return every day of it; of a yearly one, those of a leap year."""
        spans = [(self.first, self.last)]
        if self.first > self.last:  # across New Year
            spans = [(date(_LEAP_YEAR, 1, 1), self.last), (self.first, date(_LEAP_YEAR, 12, 31))]
        return [first + timedelta(n) for first, last in spans for n in range((last - first).days + 1)]

    def __str__(self) -> str:
        ends = [f"{day:%m-%d}" if self.yearly else day.isoformat() for day in (self.first, self.last)]
        return "..".join(dict.fromkeys(ends))


def parse_week(hours: Mapping[str, str]) -> Week:
    """Read `{"mon-fri": "08:00-12:00, 13:00-16:00"}`; a ValueError says which part is wrong."""
    week: list[list[Span]] = [[] for _ in DAYS]
    for days, spans in hours.items():
        for day in _days(days):
            week[day].extend(_span(part) for part in spans.split(",") if part.strip())
    return tuple(tuple(spans) for spans in week)


def _days(text: str) -> list[int]:
    found = _DAY_SPAN.fullmatch(text.strip().lower())
    if not found or any(day and day not in DAYS for day in found.groups()):
        raise ValueError(f"{text!r} is no day or span of days: write mon, or mon-fri")
    first = DAYS.index(found[1])
    last = DAYS.index(found[2]) if found[2] else first
    return [(first + n) % 7 for n in range((last - first) % 7 + 1)]


def _span(text: str) -> Span:
    found = _TIME_SPAN.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{text.strip()!r} is no span of time: write 08:00-16:00")
    hour, minute, end_hour, end_minute = map(int, found.groups())
    if (end_hour, end_minute) == (24, 0):
        end_hour = 0
    try:
        return Span(time(hour, minute), time(end_hour, end_minute))
    except ValueError:
        raise ValueError(f"{text.strip()!r} names a time that no clock shows") from None


def write_week(week: Week) -> dict[str, str]:
    """Write a week as `parse_week` reads it, neighbouring days with the same hours together."""
    texts = [
        ", ".join(
            f"{one.start:%H:%M}-{'24:00' if one.end == time() else f'{one.end:%H:%M}'}" for one in spans
        )
        for spans in week
    ]
    written: dict[str, str] = {}
    for text, days in groupby(range(len(DAYS)), key=texts.__getitem__):
        first, *more = [DAYS[day] for day in days]
        if text:
            written[f"{first}-{more[-1]}" if more else first] = text
    return written


def parse_closed(text: str) -> ClosedDays:
    """Read `2026-12-24`, `2026-12-24..2026-12-31`, or the same without a year for every year."""
    found = _CLOSED.fullmatch(text.strip())
    ends = [found[1], found[2] or found[1]] if found else []
    if len({len(end) for end in ends}) != 1:
        raise ValueError(
            f"{text!r} is no day: write 2026-12-24, 2026-12-24..2026-12-31, or 12-24 for every year"
        )
    yearly = len(ends[0]) == len("12-24")
    try:
        first, last = (date.fromisoformat(f"{_LEAP_YEAR}-{end}" if yearly else end) for end in ends)
    except ValueError:
        raise ValueError(f"{text!r} names a day that no calendar shows") from None
    if last < first and not yearly:
        raise ValueError(f"{text!r} ends before it begins")
    return ClosedDays(first, last, yearly)


@lru_cache(maxsize=64)
def public_holidays(country: str, year: int) -> frozenset[date]:
    """Return a country's public holidays (ISO 3166 code); NotImplementedError for an unknown one."""
    return frozenset(holidays.country_holidays(country, years=year))


def is_closed(country: str | None, closed: Collection[ClosedDays], day: date) -> bool:
    """Tell whether a day is a public holiday or one of the office's own closed days."""
    return bool(country and day in public_holidays(country, day.year)) or any(day in days for days in closed)


def opening(week: Week, country: str | None, closed: Collection[ClosedDays], day: date) -> tuple[Span, ...]:
    """Return the hours that begin on a day; none on a holiday or a closed day."""
    return () if is_closed(country, closed, day) else week[day.weekday()]


def is_open(week: Week, country: str | None, local: datetime, closed: Collection[ClosedDays] = ()) -> bool:
    """Tell whether the office is open at a local moment; a night shift belongs to the day it began."""
    today, yesterday = local.date(), local.date() - timedelta(days=1)
    now = local.time()
    for span in opening(week, country, closed, today):
        if span.start <= now and (now < span.end or span.end <= span.start):
            return True
    return any(
        span.end <= span.start and now < span.end for span in opening(week, country, closed, yesterday)
    )
