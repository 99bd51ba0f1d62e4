"""What a mail says in each language beyond its templates: reasons, endings, times, numbers. Pure."""

from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

import phonenumbers
from babel.dates import format_date, format_datetime

from esl_voicemail.model import CallResult, DeliveryState, EndedBy, Promise, Reason
from esl_voicemail.promise import NEXT_WORKING_DAY, TODAY

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

# Why there is no recording; for the reader, who knows no switch.
NO_AUDIO = {
    "pl": {
        CallResult.HANGUP_BEFORE_ANSWER: "osoba dzwoniąca rozłączyła się, zanim włączyła się poczta głosowa",
        CallResult.HANGUP_IN_GREETING: "osoba dzwoniąca rozłączyła się podczas powitania",
        CallResult.TOO_SHORT: "nagranie było za krótkie na wiadomość",
        CallResult.NO_AUDIO: "nic się nie nagrało",
        CallResult.RECORD_FAILED: "centrala telefoniczna nie zapisała nagrania",
        CallResult.SWITCH_STALLED: "centrala telefoniczna przestała odpowiadać",
        CallResult.CONTROL_LOST: "utracono kontakt z centralą telefoniczną",
    },
    "en": {
        CallResult.HANGUP_BEFORE_ANSWER: "the caller hung up before voicemail answered",
        CallResult.HANGUP_IN_GREETING: "the caller hung up during the greeting",
        CallResult.TOO_SHORT: "the recording was too short for a message",
        CallResult.NO_AUDIO: "nothing was recorded",
        CallResult.RECORD_FAILED: "the telephone switch did not save the recording",
        CallResult.SWITCH_STALLED: "the telephone switch stopped answering",
        CallResult.CONTROL_LOST: "contact with the telephone switch was lost",
    },
}
NO_AUDIO_OTHERWISE = {"pl": "nagranie nie powstało", "en": "there is no recording"}

# What became of a mail that needed a person; one may have seen to it before the report goes out.
OUTCOMES = {
    "pl": {
        DeliveryState.BOUNCED: "serwer poczty odmówił na stałe",
        DeliveryState.EXPIRED: "ponawiano do końca terminu, bez skutku",
        DeliveryState.HELD: "poczty nie da się wysłać: wymaga sprawdzenia",
        DeliveryState.QUEUED: "od tego czasu ponowiono wysyłkę",
        DeliveryState.SENDING: "od tego czasu ponowiono wysyłkę",
        DeliveryState.DELIVERED: "od tego czasu dostarczono",
        DeliveryState.DROPPED: "od tego czasu zrezygnowano z wysyłki",
    },
    "en": {
        DeliveryState.BOUNCED: "the mail server refused it for good",
        DeliveryState.EXPIRED: "tried until its time was over, in vain",
        DeliveryState.HELD: "it cannot be sent as it is: somebody has to look",
        DeliveryState.QUEUED: "it was queued again since",
        DeliveryState.SENDING: "it was queued again since",
        DeliveryState.DELIVERED: "it was delivered since",
        DeliveryState.DROPPED: "it was dropped since",
    },
}

NEEDS_A_PERSON = frozenset({DeliveryState.BOUNCED, DeliveryState.EXPIRED, DeliveryState.HELD})

# A promise by what the caller heard; the day meant stands behind, but where that is clear.
_PROMISES = {
    "pl": {TODAY: "dzisiaj", NEXT_WORKING_DAY: "następny dzień roboczy, {day}"},
    "en": {TODAY: "today", NEXT_WORKING_DAY: "the next working day, {day}"},
}
_DAY, _DAY_OF_OTHER_YEAR = "EEEE, d MMMM", "EEEE, d MMMM y"

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


def promise_words(promise: Promise, arrived: date, language: str) -> str:
    """Say when a caller was told he is called back; `arrived` is the call's day in the mailbox's zone."""
    pattern = _DAY if promise.day.year == arrived.year else _DAY_OF_OTHER_YEAR
    day = format_date(promise.day, pattern, locale=language)
    return _PROMISES[language].get(promise.kind, "{day}").format(day=day)


def duration(ms: int) -> str:
    """Write a duration in minutes and seconds, rounded; anything at all is at least a second."""
    seconds = max(1, round(ms / 1000)) if ms else 0
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
