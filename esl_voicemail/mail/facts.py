"""What a template may say of a call: every text one line, empty where there is nothing. Pure.

The names are those of the templates' variables; docs/templates.md explains each.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from esl_voicemail.config import Mailbox
from esl_voicemail.mail import words
from esl_voicemail.mail.forms import duration, duration_words, hour, moment, telephone
from esl_voicemail.model import EMPTY, TECHNICAL, Attempt, CallResult, Content, Voicemail

# Who left in the greeting did not hear what comes at its end.
_BEFORE_THE_PROMISE = {
    CallResult.HANGUP_BEFORE_ANSWER,
    CallResult.HANGUP_IN_GREETING,
    CallResult.CONTROL_LOST,
}


@dataclass(frozen=True, slots=True)
class Facts:
    """The variables of a mail's templates."""

    kind: str
    language: str
    mailbox: str
    mailbox_key: str
    caller_name: str
    caller_number: str
    caller_national: str
    withheld: bool
    callback: str
    to_call: str
    call_link: str
    dialled: str
    reason: str
    reason_key: str
    queue: str
    waited: str
    reference: str
    digits: str
    promise: str
    time: str
    hour: str
    call_of_day: int
    again: str
    last_message: str
    duration: str
    duration_words: str
    speech: str
    ending: str
    cut_short: bool
    heard: str
    clipped: bool
    transcript: str
    left_out: str
    threaded: bool
    why_no_audio: str
    recorded: bool
    undelivered_to: str
    outcome: str
    given_up: bool
    server_code: int | None
    server_said: str
    message_id: str
    call_id: str


def kind_of(attempt: Attempt) -> str:
    """Return which of the four mails it is: voicemail, empty, failed, or undelivered."""
    if attempt.undelivered:
        return "undelivered"
    if attempt.voicemail.recording:
        return "voicemail"
    return "failed" if attempt.voicemail.result in TECHNICAL else "empty"


def facts_of(attempt: Attempt, mailbox: Mailbox, left_out: str | None, *, threaded: bool = False) -> Facts:
    """Gather what is to be said; `left_out` is where the audio is kept that the mail could not carry."""
    voicemail, failed = attempt.voicemail, attempt.undelivered
    call, recording, hearing = voicemail.call, voicemail.recording, voicemail.hearing
    language, zone = mailbox.language, mailbox.timezone
    number = telephone("" if call.caller.withheld else call.caller.number, mailbox.region)
    callback = telephone(call.callback, mailbox.region)
    of_day, last_message = _day_of(voicemail, mailbox)
    promised = call.promise if voicemail.result not in _BEFORE_THE_PROMISE else None
    return Facts(
        kind=kind_of(attempt),
        language=language,
        mailbox=mailbox.name,
        mailbox_key=mailbox.key,
        caller_name=call.caller.name,
        caller_number=number.shown,
        caller_national=number.national,
        withheld=call.caller.withheld,
        callback=callback.shown,
        to_call=callback.shown or number.shown,
        call_link=callback.link or number.link,
        dialled=_dialled(call.dialled, mailbox.region),
        reason=words.reason(call, language),
        reason_key=call.reason.value,
        queue=call.queue,
        waited=duration(call.queue_wait_seconds * 1000) if call.queue_wait_seconds else "",
        reference=call.reference,
        digits=call.typed,
        promise=words.promised(promised, call.arrived_at.astimezone(zone).date(), language)
        if promised
        else "",
        time=moment(call.arrived_at, zone, language),
        hour=hour(call.arrived_at, zone),
        call_of_day=of_day,
        again=words.again(of_day, last_message, zone, language),
        last_message=hour(last_message, zone) if last_message else "",
        duration=duration(recording.duration_ms) if recording else "",
        duration_words=duration_words(recording.duration_ms, language) if recording else "",
        speech=duration(hearing.speech_ms) if hearing else "",
        ending=words.ENDINGS[language][voicemail.ended_by] if voicemail.ended_by and recording else "",
        cut_short=voicemail.ended_by in words.CUT_SHORT,
        heard=words.HEARD[language][hearing.content]
        if hearing and hearing.content is not Content.SPEECH
        else "",
        clipped=hearing is not None and hearing.clipped,
        transcript=voicemail.transcript,
        left_out=left_out or "",
        threaded=threaded,
        why_no_audio=words.why_no_audio(voicemail.result, language),
        recorded=voicemail.result in EMPTY,
        undelivered_to=failed.recipient if failed else "",
        outcome=words.OUTCOMES[language][failed.state] if failed else "",
        given_up=failed is not None and failed.state in words.NEEDS_A_PERSON,
        server_code=failed.code if failed else None,
        server_said=f"{failed.code or ''} {failed.reply}".strip() if failed else "",
        message_id=voicemail.message_id,
        call_id=call.call_id,
    )


@lru_cache(maxsize=256)
def _dialled(number: str, region: str) -> str:
    """Write one of our own numbers, of which there are few."""
    return telephone(number, region).shown


def _day_of(voicemail: Voicemail, mailbox: Mailbox) -> tuple[int, datetime | None]:
    """Return which call of its caller's day this is, and when the last message before it came that day."""
    today = voicemail.call.arrived_at.astimezone(mailbox.timezone).date()
    earlier = [
        one for one in voicemail.earlier if one.arrived_at.astimezone(mailbox.timezone).date() == today
    ]
    messages = [one.arrived_at for one in earlier if one.message]
    return len(earlier) + 1, max(messages, default=None)
