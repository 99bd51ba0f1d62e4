"""Numbers, times and durations as a reader of a language writes them. Pure."""

import re
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

import phonenumbers
from babel import Locale
from babel.dates import format_date
from babel.units import format_unit

_DAY, _DAY_OF_OTHER_YEAR = "EEEE, d MMMM", "EEEE, d MMMM y"
_NUMBER = re.compile(r"\+?[0-9][0-9 ()./-]*")
_SEPARATORS = re.compile(r"[^0-9+]+")
_ENGLISH_ORDINALS = {"one": "st", "two": "nd", "few": "rd", "other": "th"}


@dataclass(frozen=True, slots=True)
class Telephone:
    """A number as shown to the world, as dialled within its country, and as a `tel:` link.

    `national` is empty for a number of another country than the mailbox's, `link` for what cannot be dialled.
    """

    shown: str
    national: str
    link: str


def telephone(number: str, region: str) -> Telephone:
    """Write a number in its forms, read by the region's habits (E.123, RFC 3966).

    What has more than a number in it, such as a SIP user's name, stays as it is: anybody may choose that.
    """
    if not _NUMBER.fullmatch(number):
        return Telephone(number, "", "")
    try:
        parsed = phonenumbers.parse(number, region)
    except phonenumbers.NumberParseException:
        return Telephone(number, "", "")
    if not phonenumbers.is_valid_number(parsed):
        digits = number.removeprefix("+")
        return Telephone(number, "", f"tel:{number}" if digits.isascii() and digits.isdecimal() else "")
    forms = phonenumbers.PhoneNumberFormat
    at_home = parsed.country_code == phonenumbers.country_code_for_region(region)
    shown = phonenumbers.format_number(parsed, forms.INTERNATIONAL)
    return Telephone(
        shown,
        phonenumbers.format_number(parsed, forms.NATIONAL) if at_home else "",
        f"tel:{_SEPARATORS.sub('-', shown)}",
    )


def moment(at: datetime, zone: ZoneInfo, language: str) -> str:
    """Write a moment in a zone: weekday, date, hour and the zone's offset."""
    local = at.astimezone(zone)
    offset = local.isoformat(timespec="minutes")[16:]
    return f"{_date(local.date(), _DAY_OF_OTHER_YEAR, language)}, {local:%H:%M} ({offset})"


def hour(at: datetime, zone: ZoneInfo) -> str:
    """Write the hour and minute of a moment in a zone, in figures that all languages share."""
    return f"{at.astimezone(zone):%H:%M}"


def day(meant: date, today: date, language: str) -> str:
    """Write a day with its weekday, and its year where that is not today's."""
    return _date(meant, _DAY if meant.year == today.year else _DAY_OF_OTHER_YEAR, language)


@lru_cache(maxsize=32)
def _date(day_: date, pattern: str, language: str) -> str:
    """Write a day; most mails are of today's calls."""
    return format_date(day_, pattern, locale=language)


def duration(ms: int) -> str:
    """Write a duration in minutes and seconds, rounded; anything at all is at least a second.

    From an hour on, in hours and minutes.
    """
    hours, minutes, seconds = _parts(ms)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def duration_words(ms: int, language: str) -> str:
    """Write a duration as it is spoken: `1 minuta 3 sekundy`, `1 minute 3 seconds`."""
    hours, minutes, seconds = _parts(ms)
    units = [("duration-hour", hours), ("duration-minute", minutes), ("duration-second", seconds)]
    units = units[:2] if hours else units
    said = [_counted(count, unit, language) for unit, count in units if count]
    return " ".join(said) or _counted(0, "duration-second", language)


@lru_cache(maxsize=512)
def _counted(count: int, unit: str, language: str) -> str:
    return format_unit(count, unit, "long", locale=language)


def ordinal(number: int, language: str) -> str:
    """Write which one in a row: `3.` in Polish, `3rd` in English."""
    if language == "en":
        return f"{number}{_ENGLISH_ORDINALS[Locale(language).ordinal_form(number)]}"
    return f"{number}."


def _parts(ms: int) -> tuple[int, int, int]:
    seconds = max(1, round(ms / 1000)) if ms else 0
    minutes, seconds = divmod(seconds, 60)
    return *divmod(minutes, 60), seconds
