"""A time as a person writes it on a command line: `17:00`, `yesterday`, `2h`, `2026-11-23`. Pure.

Days and times of day are those of the zone that `now` is in.
"""

import re
from datetime import date, datetime, time, timedelta

EXAMPLES = "17:00, yesterday, 'yesterday 17:00', 2h, 2026-11-23 or '2026-11-23 17:00'"

_AGO = re.compile(r"([0-9]{1,6}) ?(s|min|m|h|d|w)")
_UNITS = {"s": "seconds", "min": "minutes", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DAY = r"(?P<day>today|yesterday|[0-9]{4}-[0-9]{2}-[0-9]{2})"
_TIME = r"(?P<time>[0-9]{1,2}:[0-9]{2}(:[0-9]{2})?)"
_WRITTEN = re.compile(rf"{_DAY}|{_TIME}|{_DAY.replace('day', 'on', 1)}[ t]{_TIME.replace('time', 'at', 1)}")
_A_DAY = timedelta(days=1)


def begin(text: str, now: datetime) -> datetime:
    """Read when a span of time begins; a time of day is the last that has been. ValueError with examples."""
    return _read(text, now)[0]


def end(text: str, now: datetime, since: datetime | None = None) -> datetime:
    """Read when a span of time ends, a day being part of it; a time of day is the next after `since`.

    ValueError with examples.
    """
    found = _read(text, now)[1]
    is_time_of_day = _WRITTEN.fullmatch(text.strip().lower())
    if since is None or is_time_of_day is None or not is_time_of_day["time"]:
        return found
    first = datetime.combine(since.astimezone(now.tzinfo).date(), found.timetz())
    return first if first > since else first + _A_DAY


def _read(text: str, now: datetime) -> tuple[datetime, datetime]:
    """Return a moment twice, or the beginning and the end of a day."""
    words = text.strip().lower()
    try:
        ago = _AGO.fullmatch(words)
        if ago:
            moment = now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
            return moment, moment
        found = _WRITTEN.fullmatch(words)
        if found is None:
            moment = datetime.fromisoformat(text.strip())
            moment = moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo)
        elif found["day"]:
            day = _day(found["day"], now)
            return _at(day, time(), now), _at(day + _A_DAY, time(), now)
        elif found["time"]:
            moment = _at(now.date(), _time(found["time"]), now)
            moment = moment if moment <= now else _at(now.date() - _A_DAY, _time(found["time"]), now)
        else:
            moment = _at(_day(found["on"], now), _time(found["at"]), now)
    except (ValueError, OverflowError):
        raise ValueError(f"must be a time such as {EXAMPLES}, not {text!r}") from None
    return moment, moment


def _day(word: str, now: datetime) -> date:
    named = {"today": now.date(), "yesterday": now.date() - _A_DAY}
    return named[word] if word in named else date.fromisoformat(word)


def _time(written: str) -> time:
    return time.fromisoformat(written.zfill(8 if written.count(":") > 1 else 5))


def _at(day: date, of_day: time, now: datetime) -> datetime:
    return datetime.combine(day, of_day, now.tzinfo)
