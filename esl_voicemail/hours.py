"""Business hours: whether an office is open at a moment. Pure: no clock, no configuration file."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache

import holidays

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_SPAN = re.compile(r"([a-z]{3})(?:-([a-z]{3}))?")
_TIME_SPAN = re.compile(r"(\d\d?):(\d\d)\s*-\s*(\d\d?):(\d\d)")


@dataclass(frozen=True, slots=True)
class Span:
    """Open from `start` up to `end`; an end not after the start lies on the next day."""

    start: time
    end: time


Week = tuple[tuple[Span, ...], ...]


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


@lru_cache(maxsize=64)
def public_holidays(country: str, year: int) -> frozenset[date]:
    """Return a country's public holidays (ISO 3166 code); NotImplementedError for an unknown one."""
    return frozenset(holidays.country_holidays(country, years=year))


def is_open(week: Week, country: str | None, local: datetime) -> bool:
    """Tell whether the office is open at a local moment; a night shift belongs to the day it began."""
    today, yesterday = local.date(), local.date() - timedelta(days=1)
    now = local.time()
    for span in _spans(week, country, today):
        if span.start <= now and (now < span.end or span.end <= span.start):
            return True
    return any(span.end <= span.start and now < span.end for span in _spans(week, country, yesterday))


def _spans(week: Week, country: str | None, day: date) -> tuple[Span, ...]:
    if country and day in public_holidays(country, day.year):
        return ()
    return week[day.weekday()]
