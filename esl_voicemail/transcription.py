"""Has messages written down before they are mailed, where their mailbox names a program for that.

A message is kept with its mails due as late as they may be; what is here only hastens them. So whatever
becomes of a program, or of us, a mail goes out by itself at that time.
"""

import re
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import gevent
from gevent.event import Event
from gevent.pool import Group

from esl_voicemail import program
from esl_voicemail.clock import Clock
from esl_voicemail.config import Mailbox
from esl_voicemail.config.transcriber import Transcriber
from esl_voicemail.errors import JournalError, ProgramError, ProgramTimeoutError
from esl_voicemail.journal import Journal
from esl_voicemail.model import Call, Recording, TranscriptResult, one_line
from esl_voicemail.telemetry import Telemetry
from esl_voicemail.workers import Workers

# Nobody says more in an hour.
_CHARACTERS_AT_MOST = 10_000
_STOP_SECONDS = 10.0
# ECMA-48: colours and the like, and titles of windows.
_TERMINAL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\))")


@dataclass(frozen=True, slots=True)
class Wait:
    """What mails wait for, and until when at most."""

    transcriber: Transcriber
    due_at: datetime


@dataclass(frozen=True, slots=True)
class _Kept:
    """A message whose mails wait until `due_at`."""

    message_id: str
    call: Call
    recording: Recording
    transcriber: Transcriber
    due_at: datetime


@dataclass(frozen=True, slots=True)
class _Outcome:
    result: TranscriptResult
    transcript: str = ""
    why: str = ""


@dataclass(slots=True)
class _Lane:
    """The places of one transcriber. The newest that waits goes first: it has most of its time left.

    In a row, when more comes than can be written down, everybody's time would be over when he is first.
    """

    free: int
    waiting: dict[Event, None] = field(default_factory=dict)

    def enter(self, seconds: float) -> bool:
        if self.free:
            self.free -= 1
            return True
        mine = Event()
        self.waiting[mine] = None
        try:
            mine.wait(max(0.0, seconds))
        finally:
            is_in = mine not in self.waiting
            self.waiting.pop(mine, None)
        return is_in

    def leave(self) -> None:
        if self.waiting:
            self.waiting.popitem()[0].set()
        else:
            self.free += 1


class Transcription:
    """Has kept messages written down, beside each other as their transcribers allow."""

    def __init__(
        self,
        journal: Journal,
        mailboxes: Mapping[str, Mailbox],
        workers: Workers,
        telemetry: Telemetry,
        *,
        clock: Clock,
        written: Callable[[], None],
    ) -> None:
        self._journal = journal
        self._mailboxes = mailboxes
        self._workers = workers
        self._telemetry = telemetry
        self._clock = clock
        self._written = written
        self._lanes: dict[Transcriber, _Lane] = {}
        self._under_way = Group()
        self._stopping = False

    def wait_for(self, mailbox: str) -> Wait | None:
        """Return what the mails of a message kept now are to wait for; None where nothing is written down."""
        found = self._mailboxes.get(mailbox)
        if found is None or found.transcriber is None:
            return None
        # By the time that mails are claimed by.
        return Wait(found.transcriber, self._clock.latest() + timedelta(seconds=found.transcriber.seconds))

    def take(self, message_id: str, call: Call, recording: Recording, wait: Wait | None) -> None:
        """Begin to have a kept message written down, whose mails wait so."""
        if wait and not self._stopping:
            kept = _Kept(message_id, call, recording, wait.transcriber, wait.due_at)
            self._under_way.spawn(self._attend, kept)

    def stop(self) -> None:
        """End every program; the mails that waited for it are due now."""
        self._stopping = True
        self._under_way.kill(timeout=_STOP_SECONDS)

    def _attend(self, kept: _Kept) -> None:
        lane = self._lanes.setdefault(kept.transcriber, _Lane(kept.transcriber.at_once))
        started, is_in = time.monotonic(), False
        try:
            is_in = lane.enter(self._seconds_left(kept))
            started = time.monotonic()
            outcome = self._listen(kept) if is_in else _Outcome(TranscriptResult.TOO_LATE)
        except gevent.GreenletExit:
            outcome = _Outcome(TranscriptResult.FAILED, why="the service stops")
        except Exception as error:  # noqa: BLE001 - one message's fault must not reach the others
            self._telemetry.crashed("transcript_crashed", error, message=kept.message_id)
            outcome = _Outcome(TranscriptResult.FAILED, why=f"{type(error).__name__}: {error}")
        finally:
            if is_in:
                lane.leave()
        duration_ms = round((time.monotonic() - started) * 1000)
        self._write(kept, outcome)
        self._telemetry.transcript(
            outcome.result, duration_ms, call=kept.call, message=kept.message_id, why=outcome.why
        )

    def _listen(self, kept: _Kept) -> _Outcome:
        one = kept.transcriber
        command = one.filled(kept.recording.path, kept.call.language)
        try:
            opened = self._workers.run(kept.recording.path.open, "rb") if one.reads_input else nullcontext()
            with opened as audio:
                printed = program.run(command, one.folder, max(0.0, self._seconds_left(kept)), audio)
        except ProgramTimeoutError as error:
            return _Outcome(TranscriptResult.TIMED_OUT, why=str(error))
        except (ProgramError, OSError) as error:
            return _Outcome(TranscriptResult.FAILED, why=str(error))
        transcript = cleaned(printed)
        return _Outcome(TranscriptResult.WRITTEN if transcript else TranscriptResult.EMPTY, transcript)

    def _seconds_left(self, kept: _Kept) -> float:
        return (kept.due_at - self._clock.latest()).total_seconds()

    def _write(self, kept: _Kept, outcome: _Outcome) -> None:
        """Without the journal the mails wait no longer than they would anyway."""
        try:
            self._journal.transcribe(kept.message_id, outcome.transcript, kept.due_at, self._clock.latest())
        except JournalError as error:
            self._telemetry.trouble("journal_refused", str(error), message=kept.message_id)
        self._written()


def cleaned(printed: bytes) -> str:
    """Return what a program printed as lines that can be shown, without empty ones, and not too many."""
    text = _TERMINAL.sub("", printed.decode(errors="replace"))
    lines = (one_line(line, _CHARACTERS_AT_MOST) for line in text.splitlines())
    transcript = "\n".join(filter(None, lines))
    if len(transcript) <= _CHARACTERS_AT_MOST:
        return transcript
    return transcript[: _CHARACTERS_AT_MOST - 1].rstrip() + "…"
