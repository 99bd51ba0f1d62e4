"""What a mail says in each language beyond its templates: reasons, endings, outcomes. Pure."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

from esl_voicemail.mail.forms import day, duration, hour, ordinal
from esl_voicemail.model import Call, CallResult, Content, DeliveryState, EndedBy, Promise, Reason
from esl_voicemail.promise import NEXT_WORKING_DAY, TODAY

REASONS = {
    "pl": {
        Reason.NO_ANSWER: "nikt nie odebrał",
        Reason.BUSY: "linia była zajęta",
        Reason.UNAVAILABLE: "telefon był nieosiągalny",
        Reason.QUEUE_TIMEOUT: "zbyt długie oczekiwanie w kolejce",
        Reason.AFTER_HOURS: "poza godzinami pracy",
        Reason.DIRECT: "połączenie bezpośrednio z pocztą głosową",
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
_IN_QUEUE = {"pl": "czekanie w kolejce {queue}: {waited}", "en": "waited {waited} in the queue {queue}"}
_QUEUE = {"pl": "kolejka {queue}", "en": "queue {queue}"}
_WAITED = {"pl": "czas oczekiwania {waited}", "en": "waited {waited}"}

ENDINGS = {
    "pl": {
        EndedBy.KEY: "klawiszem",
        EndedBy.HANG_UP: "rozłączeniem się osoby dzwoniącej",
        EndedBy.SILENCE: "ciszą",
        EndedBy.LIMIT: "ucięte po osiągnięciu limitu czasu",
        EndedBy.CUT: "przerwane przez awarię",
    },
    "en": {
        EndedBy.KEY: "by a key",
        EndedBy.HANG_UP: "by the caller hanging up",
        EndedBy.SILENCE: "by silence",
        EndedBy.LIMIT: "cut at the time limit",
        EndedBy.CUT: "cut off by a fault",
    },
}
# The caller had more to say, perhaps.
CUT_SHORT = frozenset({EndedBy.LIMIT, EndedBy.CUT})

HEARD = {
    "pl": {
        Content.SPEECH: "mowa",
        Content.SILENCE: "tylko cisza",
        Content.NOISE: "tylko szum",
        Content.BUSY_TONE: "tylko sygnał zajętości",
        Content.FAX_TONE: "tylko sygnał faksu",
    },
    "en": {
        Content.SPEECH: "speech",
        Content.SILENCE: "nothing but silence",
        Content.NOISE: "nothing but noise",
        Content.BUSY_TONE: "nothing but a busy tone",
        Content.FAX_TONE: "nothing but a fax tone",
    },
}

# Why there is no recording; for the reader, who knows no switch.
_NO_AUDIO = {
    "pl": {
        CallResult.HANGUP_BEFORE_ANSWER: "osoba dzwoniąca rozłączyła się, zanim włączyła się poczta głosowa",
        CallResult.HANGUP_IN_GREETING: "osoba dzwoniąca rozłączyła się podczas powitania",
        CallResult.TOO_SHORT: "nagranie było za krótkie na wiadomość",
        CallResult.NO_SPEECH: "w nagraniu jest za mało mowy na wiadomość",
        CallResult.NO_AUDIO: "nic się nie nagrało",
        CallResult.RECORD_FAILED: "centrala telefoniczna nie zapisała nagrania",
        CallResult.SWITCH_STALLED: "centrala telefoniczna przestała odpowiadać",
        CallResult.CONTROL_LOST: "utracono kontakt z centralą telefoniczną",
    },
    "en": {
        CallResult.HANGUP_BEFORE_ANSWER: "the caller hung up before voicemail answered",
        CallResult.HANGUP_IN_GREETING: "the caller hung up during the greeting",
        CallResult.TOO_SHORT: "the recording was too short for a message",
        CallResult.NO_SPEECH: "there is too little speech in the recording for a message",
        CallResult.NO_AUDIO: "nothing was recorded",
        CallResult.RECORD_FAILED: "the telephone switch did not save the recording",
        CallResult.SWITCH_STALLED: "the telephone switch stopped answering",
        CallResult.CONTROL_LOST: "contact with the telephone switch was lost",
    },
}
_NO_AUDIO_OTHERWISE = {"pl": "nagranie nie powstało", "en": "there is no recording"}

# What became of a mail that needed a person; one may have seen to it before the report goes out.
OUTCOMES = {
    "pl": {
        DeliveryState.BOUNCED: "serwer poczty odmówił na stałe",
        DeliveryState.EXPIRED: "próbowano do końca terminu, bez skutku",
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

# In the names of files, which are in plain letters.
WITHHELD = {"pl": "zastrzezony", "en": "withheld"}
UNKNOWN = {"pl": "nieznany", "en": "unknown"}

NEEDS_A_PERSON = frozenset({DeliveryState.BOUNCED, DeliveryState.EXPIRED, DeliveryState.HELD})

# A promise by what the caller heard; the day meant stands behind, but where that is clear.
_PROMISES = {
    "pl": {TODAY: "dzisiaj", NEXT_WORKING_DAY: "następny dzień roboczy, {day}"},
    "en": {TODAY: "today", NEXT_WORKING_DAY: "the next working day, {day}"},
}

_AGAIN = {"pl": "{which} połączenie dzisiaj", "en": "{which} call today"}
_LAST_MESSAGE = {"pl": "ostatnia wiadomość {at}", "en": "last message {at}"}


def reason(call: Call, language: str) -> str:
    """Say why a call came to voicemail, with its queue and how long it waited there."""
    waited = duration(call.queue_wait_seconds * 1000) if call.queue_wait_seconds else ""
    if call.reason is Reason.QUEUE_TIMEOUT and call.queue and waited:
        return _IN_QUEUE[language].format(queue=call.queue, waited=waited)
    said = [REASONS[language][call.reason]]
    said += [_QUEUE[language].format(queue=call.queue)] if call.queue else []
    said += [_WAITED[language].format(waited=waited)] if waited else []
    return ", ".join(said)


def why_no_audio(result: CallResult, language: str) -> str:
    """Say why there is no recording."""
    return _NO_AUDIO[language].get(result, _NO_AUDIO_OTHERWISE[language])


def promised(made: Promise, arrived: date, language: str) -> str:
    """Say when a caller was told he is called back; `arrived` is the call's day in the mailbox's zone."""
    return _PROMISES[language].get(made.kind, "{day}").format(day=day(made.day, arrived, language))


def again(number: int, last_message: datetime | None, zone: ZoneInfo, language: str) -> str:
    """Say which call of the day it is, and when the last message before came; nothing of a first."""
    if number < 2:
        return ""
    said = [_AGAIN[language].format(which=ordinal(number, language))]
    if last_message:
        said.append(_LAST_MESSAGE[language].format(at=hour(last_message, zone)))
    return ", ".join(said)
