"""From a command of the dialogue to the text the event socket wants. Pure.

Values go out raw, never percent-encoded (FreeSWITCH reads them so); therefore a line break in one would
be a second command, and is refused here whatever came before. Every execute carries its own Event-UUID,
which comes back as Application-UUID, and event-lock, without which the next one would run inside it.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from esl_voicemail.dialogue import (
    Answer,
    AskKey,
    AskNumber,
    Beep,
    HangUp,
    Pause,
    Play,
    Prepare,
    Record,
    Tell,
    Transfer,
)
from esl_voicemail.esl.frames import Headers
from esl_voicemail.model import CALL_ID, MISREAD, SILENCE_THRESHOLD

RECORD_RATE = 8000
# The name of G.722, whose 16000 samples a second its clock counts as 8000 (RFC 3551 section 4.5.2).
_HALF_CLOCK = "G722"
# Keys pressed in the greeting and not yet read are swallowed by the beep, which no key ends: a caller who
# presses # twice must not end his message before it begins. `%[...]` sets a variable for this one execution.
BEEP = "%[playback_terminators=none]tone_stream://%(500,0,1000)"

# What `myevents` would send and nobody here reads: each costs 2 to 10 KB a call.
UNREAD_EVENTS = (
    "CHANNEL_ANSWER CHANNEL_APPLICATION CHANNEL_BRIDGE CHANNEL_CREATE CHANNEL_DATA CHANNEL_DESTROY "
    "CHANNEL_EXECUTE CHANNEL_HANGUP_COMPLETE CHANNEL_ORIGINATE CHANNEL_UUID CHANNEL_OUTGOING CHANNEL_PARK "
    "CHANNEL_PROGRESS CHANNEL_PROGRESS_MEDIA CHANNEL_STATE CHANNEL_CALLSTATE CHANNEL_UNBRIDGE CHANNEL_UNPARK "
    "DETECTED_SPEECH NOTALK TALK"
)

# `socket_resume` is the dialplan's insurance until we have the call; left set, our end would cut a
# running recording off (FreeSWITCH: `record` hangs up when the channel is reset). An empty value unsets.
_VARIABLES = {
    "socket_resume": "",
    "playback_terminators": "#",
    "enable_file_write_buffering": "false",
    "record_sample_rate": str(RECORD_RATE),
}
_PREPARED = "^^;" + ";".join(f"{name}={value}" for name, value in _VARIABLES.items())

_MISREAD = re.compile(f"[{re.escape(MISREAD)}]")

# Where the switch leaves what a caller types when he is asked.
TYPED = "voicemail_typed"
_ASK_SECONDS = 8
_DIGIT_SECONDS = 5
_NUMBER_DIGITS = (5, 20)

SwitchCommand = (
    Prepare | Answer | Pause | Play | AskKey | AskNumber | Beep | Record | Tell | Transfer | HangUp
)


@dataclass(frozen=True, slots=True)
class Codec:
    """What the switch hears the caller in; `rate` is in samples a second.

    `record` compares loudness by this rate, and counts silence in packets of it as if they were samples of
    the file's rate (switch_ivr_record_file): with Opus, one of its seconds lasts a sixth.
    """

    name: str = "PCMU"
    rate: int = 8000

    @property
    def silence_threshold(self) -> int:
        """Return `record`'s argument for the mean amplitude of silence."""
        return SILENCE_THRESHOLD * max(1, self.rate // 8000)

    def silence_hits(self, seconds: int) -> int:
        """Return `record`'s argument for so many seconds of silence."""
        clock = self.rate // 2 if self.name.upper() == _HALF_CLOCK else self.rate
        return max(1, round(seconds * clock / RECORD_RATE))


def codec_in(event: Headers | None) -> Codec:
    """Return what the caller is heard in: settled by the answer, it may change with a re-invite."""
    rate = event.number("Channel-Read-Codec-Rate") if event else None
    return Codec(event.get("Channel-Read-Codec-Name"), min(rate, 192_000)) if event and rate else Codec()


def take_over(linger_seconds: int) -> list[str]:
    """Return the commands that take a call: `connect`, a linger, and only the events that are read."""
    return ["connect", f"linger {linger_seconds}", "myevents", f"nixevent {UNREAD_EVENTS}"]


def text_of(command: SwitchCommand, call_id: str, codec: Codec = Codec()) -> str:
    """Return a command as the event socket wants it, without the closing blank line."""
    match command:
        case Prepare(application_id):
            return execute(application_id, "multiset", _PREPARED)
        case Answer(application_id):
            return execute(application_id, "answer")
        case Pause(application_id, duration_ms):
            return execute(application_id, "sleep", str(duration_ms))
        case Play(application_id, paths, keys):
            ends = f"%[playback_terminators=#{keys}]" if keys else ""
            # The one end of a file_string is the end of all its parts.
            parts = "!".join(map(_sound, paths))
            return execute(application_id, "playback", ends + ("file_string://" if paths[1:] else "") + parts)
        case AskKey(application_id, path, keys):
            return _ask(application_id, path, (1, 1), f"[{keys}]")
        case AskNumber(application_id, path):
            return _ask(application_id, path, _NUMBER_DIGITS, "[0-9]+")
        case Beep(application_id):
            return execute(application_id, "playback", BEEP)
        case Record(application_id, path, max_seconds, silence_seconds):
            silence = f"{codec.silence_threshold} {codec.silence_hits(silence_seconds)}"
            return execute(application_id, "record", f"'{_sound(path)}' {max_seconds} {silence}")
        case Tell(application_id, result):
            return leave_word(application_id, result)
        case Transfer(application_id, extension):
            return execute(application_id, "transfer", extension)
        case HangUp():
            # Not the `hangup` application: event-lock would make it wait for the one that runs.
            if not CALL_ID.fullmatch(call_id):
                raise ValueError(f"not a channel UUID: {call_id!r}")
            return f"api uuid_kill {call_id} NORMAL_CLEARING"


def leave_word(application_id: str, result: str) -> str:
    """Return the command that tells the dialplan how it went, before the call is handed back.

    It unsets `socket_resume` too: with it, a call that came without `async` would be stranded for ever.
    """
    return execute(application_id, "multiset", f"^^;socket_resume=;voicemail_result={result}")


def execute(application_id: str, application: str, argument: str = "") -> str:
    """Return a `sendmsg` that executes an application; ValueError for text that would break the frame."""
    for text in (application_id, application, argument):
        if not text.isprintable():
            raise ValueError(f"a control character in {text!r} would break the command")
    said = f"execute-app-arg: {argument}\n" if argument else ""
    return (
        f"sendmsg\ncall-command: execute\nevent-lock: true\nexecute-app-name: {application}\n"
        f"{said}Event-UUID: {application_id}"
    )


def _ask(application_id: str, path: Path, digits: tuple[int, int], wanted: str) -> str:
    """Ask once; # ends what is typed. One argument more would transfer the caller when he types nothing."""
    least, most = digits
    waits = f"{_ASK_SECONDS}000 # '{_sound(path)}' silence_stream://10 {TYPED} {wanted} {_DIGIT_SECONDS}000"
    return execute(application_id, "play_and_get_digits", f"{least} {most} 1 {waits}")


def _sound(path: Path) -> str:
    text = str(path)
    if not text.startswith("/") or _MISREAD.search(text):
        raise ValueError(f"the switch would misread the path {text!r}")
    return text
