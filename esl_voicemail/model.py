"""The values that travel between rooms; no behaviour beyond checks and cleaning.

Text that a caller or a switch chose enters only through `one_line`, so nothing further down has to
ask again whether it holds a line break.
"""

import re
import unicodedata
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path

# Of whoever calls by a longer name, a SIP address say, no more is kept.
CALLER_NUMBER_CHARACTERS = 40

CALL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")
# Mean amplitude below which 20 ms count as silence, mod_voicemail's own default.
SILENCE_THRESHOLD = 200
# What FreeSWITCH reads in an argument: quotes, variables, parameters, the parts of a file_string.
MISREAD = "'\"\\${}!"
# How often a caller may record, with what he recorded first.
TAKES_AT_MOST = 3
# Of what a caller types while he speaks: an order or a case number.
TYPED_AT_MOST = 30
# The mailbox of the probe's calls; nobody else's may have its name.
PROBE = "voicemail-probe"
MAILBOX_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")

# Categories that break a line, hide text or turn its direction: controls, surrogates, private use,
# unassigned code points, line and paragraph separators.
_UNPRINTABLE = {"Cc", "Cs", "Co", "Cn", "Zl", "Zp"}
_DIRECTION = set(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C, 0xFEFF)))
# Letters that show nothing; a name of these alone would be a blank line.
_INVISIBLE = set("\u00ad\u115f\u1160\u180e\u200b\u2060\u2061\u2062\u2063\u2064\u2800\u3164\uffa0")
_DROPPED = _DIRECTION | _INVISIBLE


def one_line(text: str, limit: int) -> str:
    """Return text as one printable line of at most `limit` characters, spaces folded, NFC."""
    if len(text) <= limit and _is_clean(text):
        return text.strip()
    # Marks of direction go first: what stood on both sides of one may compose.
    text = "".join(c for c in text[: limit * 8] if c not in _DROPPED)
    clean = (
        " " if unicodedata.category(c) in _UNPRINTABLE else c for c in unicodedata.normalize("NFC", text)
    )
    line = " ".join("".join(clean).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def _is_clean(text: str) -> bool:
    """Whether a text is one line but for blanks around it, as most are; of all blanks only U+0020 prints."""
    return (
        text.isprintable()
        and "  " not in text
        and (text.isascii() or (_DROPPED.isdisjoint(text) and unicodedata.is_normalized("NFC", text)))
    )


class Reason(StrEnum):
    """Why the call came to voicemail; the values are those a dialplan sets in `voicemail_reason`."""

    NO_ANSWER = "no-answer"
    BUSY = "busy"
    UNAVAILABLE = "unavailable"
    QUEUE_TIMEOUT = "queue-timeout"
    AFTER_HOURS = "after-hours"
    DIRECT = "direct"


class EndedBy(StrEnum):
    """What ended a recording."""

    KEY = "key"
    HANG_UP = "hang-up"
    SILENCE = "silence"
    LIMIT = "limit"
    CUT = "cut"  # the switch, its disk or the connection to it failed


class VoicemailState(StrEnum):
    """Where a call's row stands; only `open` may still change."""

    OPEN = "open"
    KEPT = "kept"
    DISCARDED = "discarded"
    LOST = "lost"


class DeliveryState(StrEnum):
    """Where the mail to one recipient stands; from the third on final, until a person says otherwise."""

    QUEUED = "queued"
    SENDING = "sending"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    EXPIRED = "expired"
    HELD = "held"
    DROPPED = "dropped"  # by a person, or with all that was known of a caller


class CallResult(StrEnum):
    """How a call ended, as counted in `voicemail_calls_total` and said on its canonical log line."""

    RECORDED = "recorded"
    SALVAGED = "salvaged"  # control was lost: the file waits for recovery
    TOO_SHORT = "too_short"
    NO_SPEECH = "no_speech"  # noise, a tone or silence
    NO_AUDIO = "no_audio"
    HANGUP_BEFORE_ANSWER = "hangup_before_answer"
    HANGUP_IN_GREETING = "hangup_in_greeting"
    OPERATOR = "operator"  # he asked for a person, and was sent to one
    RECORD_FAILED = "record_failed"
    SWITCH_STALLED = "switch_stalled"
    CONTROL_LOST = "control_lost"
    UNKNOWN_MAILBOX = "unknown_mailbox"
    REFUSED = "refused"
    FAILED = "failed"


class TranscriptResult(StrEnum):
    """What came of having a message written down, as counted in `voicemail_transcripts_total`."""

    WRITTEN = "written"
    EMPTY = "empty"  # the program printed nothing
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    TOO_LATE = "too_late"  # it was nobody's turn before the mails went


class ProbeStage(StrEnum):
    """Where a probe came to its end, from the call to its mail."""

    START = "start"  # the probe itself could not run
    REACH = "reach"  # nobody answers: the service, or the switch
    CALL = "call"  # not taken, or not recorded
    RECORDING = "recording"  # no message, or not of what was said
    DELIVERY = "delivery"  # not accepted in time
    MAIL = "mail"  # not in the Maildir, or not with what was said


# Left a recording that is no message, unless a person says otherwise.
EMPTY = frozenset({CallResult.TOO_SHORT, CallResult.NO_SPEECH})
# Left no message through no fault of the caller's: somebody is told, whatever a mailbox says of empty calls.
TECHNICAL = frozenset({CallResult.RECORD_FAILED, CallResult.SWITCH_STALLED, CallResult.CONTROL_LOST})


@dataclass(frozen=True, slots=True)
class Caller:
    """Who called; number and name are one line each, empty when withheld or unknown."""

    number: str
    name: str
    withheld: bool


@dataclass(frozen=True, slots=True)
class Promise:
    """What a caller is told: `today`, a weekday (`mon` to `sun`) or `next-working-day`; and the day meant."""

    kind: str
    day: date


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it arrived; `call_id` is FreeSWITCH's channel UUID, unchanged.

    `callback` is the number that a caller without one left, `typed` what he typed while he spoke, both known
    only later; `promise` is what he was told of when somebody calls back.
    """

    call_id: str
    mailbox: str
    reason: Reason
    caller: Caller
    dialled: str
    arrived_at: datetime
    language: str
    queue: str = ""
    queue_wait_seconds: int | None = None
    reference: str = ""
    callback: str = ""
    typed: str = ""
    promise: Promise | None = None

    def __post_init__(self) -> None:
        if not CALL_ID.fullmatch(self.call_id):
            raise ValueError(f"not a channel UUID: {self.call_id[:80]!r}")
        if self.arrived_at.tzinfo is None:
            raise ValueError("arrived_at must carry its zone")


@dataclass(frozen=True, slots=True)
class Take:
    """What the switch says of a recording that ended; the file is not looked at yet.

    `typed` is what the caller typed meanwhile.
    """

    path: Path
    duration_ms: int
    ended_by: EndedBy
    typed: str = ""


@dataclass(frozen=True, slots=True)
class Recording:
    """An audio file that is readable and on disk for good."""

    path: Path
    duration_ms: int
    size: int
    sha256: str
    repaired: bool = False


class Content(StrEnum):
    """What a recording holds for the most part."""

    SPEECH = "speech"
    SILENCE = "silence"
    NOISE = "noise"
    BUSY_TONE = "busy-tone"
    FAX_TONE = "fax-tone"


@dataclass(frozen=True, slots=True)
class Hearing:
    """What was heard in a recording: how long somebody speaks, and how loud that is.

    `level_db` is the level of the speech, of all of it where nobody speaks, in dB below full scale (RMS);
    None of digital silence. `clipped` says that it was too loud for the line.
    """

    content: Content
    speech_ms: int
    level_db: float | None
    clipped: bool

    @property
    def is_speech(self) -> bool:
        """Whether somebody speaks."""
        return self.content is Content.SPEECH


@dataclass(frozen=True, slots=True)
class EarlierCall:
    """A call that the same caller made before, and whether it left a message."""

    arrived_at: datetime
    message: bool


@dataclass(frozen=True, slots=True)
class Voicemail:
    """A call that somebody is mailed of: with its recording, or, where there is none, `result` says why.

    `hearing` is None where nobody listened, `transcript` empty where nothing was written down. `earlier` are
    the caller's calls of the day before, to the same mailbox, the oldest first.
    """

    message_id: str
    call: Call
    recording: Recording | None
    ended_by: EndedBy | None
    closed_at: datetime
    result: CallResult = CallResult.RECORDED
    hearing: Hearing | None = None
    transcript: str = ""
    earlier: tuple[EarlierCall, ...] = ()


@dataclass(frozen=True, slots=True)
class Undelivered:
    """A delivery that came to nothing, as the operator is told of it."""

    recipient: str
    state: DeliveryState
    code: int | None
    reply: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to bring one voicemail to one recipient; `number` counts from 1.

    `mail_domain` ends the Message-ID, the same on every try. With `undelivered` it is no voicemail but the
    report, to the operator, that somebody else did not get it. `suspect`: the service crashed twice while
    this was being sent.
    """

    delivery_id: int
    voicemail: Voicemail
    recipient: str
    number: int
    queued_at: datetime
    mail_domain: str
    undelivered: Undelivered | None = None
    suspect: bool = False


@dataclass(frozen=True, slots=True)
class Backlog:
    """How much waits for delivery, by state, and since when callers' mails do.

    `oldest` is the end of the caller whose mail was queued first; `stalled_since` is when the first was
    queued of those that came after one was last accepted, and were not themselves.
    """

    counts: dict[str, int]
    oldest: datetime | None
    stalled_since: datetime | None
