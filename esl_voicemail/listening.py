"""Has a recording listened to, within a time limit; a message is worth more than what is said of it.

It is done where the disk's work is done, not where mails are encoded: the caller waits for his thanks, and no
call waits for the mail of another. What is listened to was read a moment ago, and takes milliseconds.
"""

from collections.abc import Callable

from esl_voicemail.audio.hearing import listen
from esl_voicemail.audio.wav import Sound
from esl_voicemail.model import Hearing, Recording
from esl_voicemail.telemetry import Telemetry
from esl_voicemail.workers import Workers

_SECONDS = 5.0
_SAFE_SECONDS = 30.0

_Found = Hearing | Exception | None
_LATE: _Found = TimeoutError("not listened to in time")


def heard(
    recording: Recording, mailbox: str, message_id: str, workers: Workers, telemetry: Telemetry
) -> Hearing | None:
    """Return what a recording holds; None when it is empty, or nobody can tell in time."""
    found = workers.run_within(_SECONDS, lambda: _listened(recording), _LATE)
    return _told(found, mailbox, message_id, telemetry)


def admitted_and_heard(
    admit: Callable[[Callable[[Sound], None]], Recording],
    mailbox: str,
    message_id: str,
    workers: Workers,
    telemetry: Telemetry,
) -> tuple[Recording, Hearing | None]:
    """Return what `admit` makes safe, and what it holds; TimeoutError when it is not safe in time.

    One piece of work for a thread, as handing over twice costs more than either. What `admit` raises is
    raised; once something is safe, listening can fail or take too long, and it is returned all the same.
    `admit` is asked to hand on what it reads, lest it be read twice.
    """
    safe: list[Recording] = []
    read: list[Sound] = []

    def work() -> _Found:
        safe.append(admit(read.append))
        return _listened(safe[0], *read)

    found = workers.run_within(_SAFE_SECONDS, work, _LATE)
    if not safe:
        raise TimeoutError("the recordings folder does not answer")
    return safe[0], _told(found, mailbox, message_id, telemetry)


def _listened(recording: Recording, sound: Sound | None = None) -> _Found:
    try:
        return listen(recording.path, sound) if recording.duration_ms else None
    except Exception as error:  # noqa: BLE001 - whatever it is, the message goes out without a verdict
        return error


def _told(found: _Found, mailbox: str, message_id: str, telemetry: Telemetry) -> Hearing | None:
    if found is _LATE:
        telemetry.trouble("not_heard", str(found), message=message_id)
    elif isinstance(found, Exception):
        telemetry.crashed("not_heard", found, message=message_id)
    elif found:
        telemetry.heard(mailbox, found)
        return found
    return None
