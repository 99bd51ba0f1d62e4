"""Has a recording listened to, within a time limit; a message is worth more than what is said of it.

It is done where the disk's work is done, not where mails are encoded: the caller waits for his thanks, and no
call waits for the mail of another. What is listened to was read a moment ago, and takes milliseconds.
"""

from esl_voicemail.audio.hearing import listen
from esl_voicemail.model import Hearing, Recording
from esl_voicemail.telemetry import Telemetry
from esl_voicemail.workers import Workers

_SECONDS = 5.0


def heard(
    recording: Recording, mailbox: str, message_id: str, workers: Workers, telemetry: Telemetry
) -> Hearing | None:
    """Return what a recording holds; None when it is empty, or nobody can tell in time."""
    if not recording.duration_ms:
        return None
    try:
        hearing = workers.run_within(_SECONDS, lambda: listen(recording.path), None)
    except Exception as error:  # noqa: BLE001 - whatever it is, the message goes out without a verdict
        telemetry.crashed("not_heard", error, message=message_id)
        return None
    if hearing is None:
        telemetry.trouble("not_heard", f"not listened to within {_SECONDS:g} s", message=message_id)
    else:
        telemetry.heard(mailbox, hearing)
    return hearing
