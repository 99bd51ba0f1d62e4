"""Invented calls for each kind of mail: what `render --sample` shows and `check` tries templates with."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from esl_voicemail.audio import wav
from esl_voicemail.config import Config, Mailbox, mailbox_of
from esl_voicemail.model import (
    Attempt,
    Call,
    Caller,
    CallResult,
    Content,
    DeliveryState,
    EarlierCall,
    EndedBy,
    Hearing,
    Reason,
    Recording,
    Undelivered,
    Voicemail,
)

SAMPLE = Path(__file__).parent / "trial" / "caller.wav"
KINDS = ("voicemail", "empty", "failed", "undelivered")

_RESULTS = {"empty": CallResult.HANGUP_IN_GREETING, "failed": CallResult.RECORD_FAILED}
_REFUSED = 550, "5.1.1 no such user"


def sample(config: Config, mailbox: str, now: datetime, kind: str = "voicemail") -> Attempt:
    """Return the first try to send an invented mail of a kind to the first recipient of a mailbox."""
    told = first_attempt(config, _voicemail(config.mailboxes[mailbox], now))
    if kind in _RESULTS:
        return replace(told, voicemail=_without_audio(told.voicemail, _RESULTS[kind]))
    if kind == "undelivered":
        return replace(told, undelivered=Undelivered(told.recipient, DeliveryState.BOUNCED, *_REFUSED))
    return told


def first_attempt(config: Config, voicemail: Voicemail) -> Attempt:
    """Return what the first try to mail it to the first recipient of its mailbox would be."""
    mailbox = mailbox_of(config.mailboxes, voicemail.call.mailbox)
    return Attempt(
        delivery_id=0,
        voicemail=voicemail,
        recipient=mailbox.recipients[0].address,
        number=1,
        queued_at=voicemail.closed_at,
        mail_domain=config.mail.sender.domain,
    )


def every_sort(config: Config, mailbox: str) -> Iterator[Attempt]:
    """Yield mails of every kind, of a call of which all is known and of one of which next to nothing is."""
    full, box = sample(config, mailbox, datetime.now(UTC)), config.mailboxes[mailbox]
    nobody = Call("0", mailbox, Reason.DIRECT, Caller("", "", True), "", full.queued_at, box.language)
    for voicemail in (full.voicemail, replace(full.voicemail, call=nobody, hearing=None, earlier=())):
        for ended_by in EndedBy:
            yield replace(full, voicemail=replace(voicemail, ended_by=ended_by))
        for content in Content:
            heard = Hearing(content, 0, None, clipped=True)
            yield replace(full, voicemail=replace(voicemail, hearing=heard, transcript="Dzień dobry."))
        for result in CallResult:
            yield replace(full, voicemail=_without_audio(voicemail, result))
        for state in DeliveryState:
            for code in (550, None):
                failed = Undelivered(full.recipient, state, code, _REFUSED[1])
                yield replace(full, voicemail=voicemail, undelivered=failed)


def _voicemail(mailbox: Mailbox, now: datetime) -> Voicemail:
    promised = mailbox.promised(now)
    call = Call(
        call_id="00000000-0000-4000-8000-000000000000",
        mailbox=mailbox.key,
        reason=Reason.QUEUE_TIMEOUT,
        caller=Caller("+48601234567", "Jan Kowalski", withheld=False),
        dialled=next(iter(mailbox.numbers), ""),
        arrived_at=now,
        language=mailbox.language,
        queue=mailbox.name,
        queue_wait_seconds=63,
        reference="A-1742",
        typed="1742",
        promise=promised[1] if promised else None,
    )
    shape = wav.inspect(SAMPLE)
    return Voicemail(
        message_id="00000000000000000000000000",
        call=call,
        recording=Recording(SAMPLE, shape.duration_ms, SAMPLE.stat().st_size, ""),
        ended_by=EndedBy.HANG_UP,
        closed_at=now,
        hearing=Hearing(Content.SPEECH, shape.duration_ms * 3 // 4, -23.0, clipped=False),
        earlier=tuple(EarlierCall(now - timedelta(minutes=minutes), message=True) for minutes in (9, 2)),
    )


def _without_audio(voicemail: Voicemail, result: CallResult) -> Voicemail:
    return replace(voicemail, recording=None, ended_by=None, hearing=None, result=result)
