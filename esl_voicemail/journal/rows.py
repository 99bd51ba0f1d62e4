"""Between rows and the values of `model`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from esl_voicemail.errors import JournalError
from esl_voicemail.journal.schema import from_ms, to_ms
from esl_voicemail.model import (
    Call,
    Caller,
    CallResult,
    Content,
    EarlierCall,
    EndedBy,
    Hearing,
    Promise,
    Reason,
    Recording,
    Voicemail,
    VoicemailState,
)


def row_of_call(call: Call) -> dict[str, Any]:
    """Return a call's columns."""
    return {
        "call_id": call.call_id,
        "mailbox": call.mailbox,
        "reason": call.reason.value,
        "caller_number": call.caller.number,
        "caller_name": call.caller.name,
        "caller_withheld": call.caller.withheld,
        "dialled": call.dialled,
        "language": call.language,
        "queue": call.queue,
        "queue_wait_seconds": call.queue_wait_seconds,
        "reference": call.reference,
        "callback": call.callback,
        "typed": call.typed,
        "promise": call.promise.kind if call.promise else None,
        "promised_day": call.promise.day if call.promise else None,
        "arrived_at": to_ms(call.arrived_at),
    }


def call_of_row(row: Any) -> Call:
    """Return the call a row holds."""
    return Call(
        call_id=row.call_id,
        mailbox=row.mailbox,
        reason=Reason(row.reason),
        caller=Caller(row.caller_number, row.caller_name, row.caller_withheld),
        dialled=row.dialled,
        arrived_at=from_ms(row.arrived_at),
        language=row.language,
        queue=row.queue,
        queue_wait_seconds=row.queue_wait_seconds,
        reference=row.reference,
        callback=row.callback,
        typed=row.typed,
        promise=None if row.promise is None else Promise(row.promise, row.promised_day),
    )


def voicemail_of_row(row: Any, recordings: Path, earlier: tuple[EarlierCall, ...] = ()) -> Voicemail:
    """Return the message a closed row holds, or the call that left none."""
    recording = None
    if row.state == VoicemailState.KEPT.value:
        recording = Recording(
            recordings / row.recording_file, row.duration_ms, row.size, row.sha256, bool(row.repaired)
        )
    return Voicemail(
        message_id=row.message_id,
        call=call_of_row(row),
        recording=recording,
        ended_by=None if row.ended_by is None else EndedBy(row.ended_by),
        closed_at=from_ms(row.closed_at),
        result=CallResult(row.result),
        hearing=hearing_of_row(row),
        transcript=row.transcript or "",
        earlier=earlier,
    )


def row_of_recording(recording: Recording | None, ended_by: EndedBy | None) -> dict[str, Any]:
    """Return a recording's columns, and what ended it."""
    if recording is None:
        return {}
    return {
        "recording_file": recording.path.name,
        "duration_ms": recording.duration_ms,
        "size": recording.size,
        "sha256": recording.sha256,
        "repaired": recording.repaired,
        "ended_by": None if ended_by is None else ended_by.value,
    }


def row_of_hearing(hearing: Hearing | None) -> dict[str, Any]:
    """Return the columns of what was heard."""
    if hearing is None:
        return {}
    return {
        "content": hearing.content.value,
        "speech_ms": hearing.speech_ms,
        "level_db": hearing.level_db,
        "clipped": hearing.clipped,
    }


def hearing_of_row(row: Any) -> Hearing | None:
    """Return what was heard in a call's recording, or None where nobody listened."""
    if row.content is None:
        return None
    return Hearing(Content(row.content), row.speech_ms, row.level_db, bool(row.clipped))


@contextmanager
def reading(row: Any) -> Iterator[None]:
    """Say which row it is that another version, or another program, has written."""
    try:
        yield
    except (ValueError, TypeError, OverflowError) as error:
        raise JournalError(f"message {row.message_id}: its row cannot be read: {error}") from error
