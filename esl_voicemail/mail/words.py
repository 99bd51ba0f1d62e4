"""What a mail says in each language beyond its templates: reasons, endings, times, numbers. Pure."""

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import phonenumbers
from babel.dates import format_datetime

from esl_voicemail.model import EndedBy, Reason

REASONS = {
    "pl": {
        Reason.NO_ANSWER: "nikt nie odebrał",
        Reason.BUSY: "linia była zajęta",
        Reason.UNAVAILABLE: "telefon był nieosiągalny",
        Reason.QUEUE_TIMEOUT: "zbyt długie oczekiwanie w kolejce",
        Reason.AFTER_HOURS: "poza godzinami pracy",
        Reason.DIRECT: "połączenie prosto na pocztę głosową",
    },
    "en": {
        Reason.NO_ANSWER: "nobody answered",
        Reason.BUSY: "the line was busy",
        Reason.UNAVAILABLE: "the telephone could not be reached",
        Reason.QUEUE_TIMEOUT: "waited too long in the queue",
        Reason.AFTER_HOURS: "outside business hours",
        Reason.DIRECT: "called voicemail directly",
    },
}

# Only endings that the reader must know of: how a message usually ends is no news.
ENDINGS = {
    "pl": {
        EndedBy.LIMIT: "nagranie przerwano po osiągnięciu limitu czasu",
        EndedBy.CUT: "nagranie zostało przerwane przez awarię",
    },
    "en": {
        EndedBy.LIMIT: "the recording was cut at the time limit",
        EndedBy.CUT: "the recording was cut off by a fault",
    },
}

_TIMES = {"pl": "EEEE, d MMMM y, HH:mm (xxx)", "en": "EEEE, d MMMM y, HH:mm (xxx)"}


@dataclass(frozen=True, slots=True)
class Telephone:
    """A caller's number as shown, and as a `tel:` link; the link is empty when it cannot be dialled."""

    shown: str
    link: str


def telephone(number: str, region: str) -> Telephone:
    """Write a number in its international form, read by the region's habits (E.123, RFC 3966)."""
    try:
        parsed = phonenumbers.parse(number, region)
    except phonenumbers.NumberParseException:
        return Telephone(number, "")
    if not phonenumbers.is_valid_number(parsed):
        digits = number.removeprefix("+")
        return Telephone(number, f"tel:{number}" if digits.isascii() and digits.isdecimal() else "")
    shown = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
    return Telephone(shown, phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.RFC3966))


def moment(at: datetime, zone: ZoneInfo, language: str) -> str:
    """Write a moment in a zone: weekday, date, hour and the zone's offset."""
    return format_datetime(at.astimezone(zone), _TIMES[language], locale=language)


def duration(ms: int) -> str:
    """Write a duration in minutes and seconds, rounded; anything at all is at least a second."""
    seconds = max(1, round(ms / 1000)) if ms else 0
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
