"""Drives one call: between its channel and its dialogue, then spool and journal.

Runs in the call's own greenlet and is the only one to wait for it. Decisions are the dialogue's; here they
are carried out, and what came of them is fed back.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import gevent

from esl_voicemail.config import Mailbox
from esl_voicemail.config.mailbox import DEFAULT, fallback
from esl_voicemail.dialogue import (
    STAGE_OF,
    ApplicationDone,
    Begin,
    BeginFailed,
    Begun,
    Command,
    Dialogue,
    Discard,
    HandBack,
    Input,
    Keep,
    KeepFailed,
    Kept,
    Note,
    NothingKept,
    Salvage,
    Unheard,
)
from esl_voicemail.errors import CallerGoneError, ControlLostError, JournalError, RecordingError
from esl_voicemail.esl import arrival
from esl_voicemail.esl.channel import Channel
from esl_voicemail.esl.frames import Headers
from esl_voicemail.journal import Journal
from esl_voicemail.listening import admitted_and_heard
from esl_voicemail.metrics import STAGES
from esl_voicemail.model import Call, CallResult, EndedBy, Hearing, Recording, Take, VoicemailState
from esl_voicemail.script import script_of
from esl_voicemail.spool import Spool
from esl_voicemail.telemetry import Telemetry
from esl_voicemail.transcription import Transcription
from esl_voicemail.workers import Workers

# Waiting callers hear ringing, or silence: past these, the dialplan does better.
_BEGIN_SECONDS = 5.0
_KEEP_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Desk:
    """What every call needs of the house."""

    mailboxes: Mapping[str, Mailbox]
    greeting_seconds: Mapping[str, float]
    journal: Journal
    spool: Spool
    workers: Workers
    telemetry: Telemetry
    transcription: Transcription
    clock: Callable[[], datetime]
    new_message_id: Callable[[], str]
    new_application_id: Callable[[], str]
    kept: Callable[[], None]
    trouble: Callable[[], str | None]
    in_progress: set[str] = field(default_factory=set)


class Session:
    """One call from its connect reply to its canonical line.

    `admit` is asked once the switch has answered `connect`: it returns why there is no place, or None.
    """

    def __init__(self, desk: Desk, channel: Channel, admit: Callable[[], str | None]) -> None:
        self._desk = desk
        self._channel = channel
        self._admit = admit
        self._message_id = desk.new_message_id()
        self._call: Call | None = None
        self._mailbox: Mailbox | None = None
        self._named = ""
        self._result = CallResult.FAILED
        self._why = ""
        self._recording: Recording | None = None
        self._ended_by: EndedBy | None = None
        self._hearing: Hearing | None = None
        self._noted = False
        self._handed_back = False
        self._stage = ""

    def run(self) -> None:
        """Take the call and see it to its end; nothing it raises is left unsaid."""
        started = time.monotonic()
        try:
            self._run()
        except Exception as error:  # noqa: BLE001 - one call's fault must not reach the others
            self._result = CallResult.FAILED
            self._why = f"{type(error).__name__}: {error}"
            self._desk.telemetry.crashed("call_crashed", error, call=self._channel.call_id or None)
        except gevent.GreenletExit:
            # The drain is over: the switch records on by itself, and the next server mails what it finds.
            self._why = "the service stopped before the call ended"
            if self._stage != "closing":
                recording = self._stage in ("recording", "keeping")
                self._result = CallResult.SALVAGED if recording else CallResult.CONTROL_LOST
        finally:
            self._desk.in_progress.discard(self._message_id)
            if not self._handed_back:
                self._channel.leave()
            self._move_to("")
            self._tell(round((time.monotonic() - started) * 1000))

    def _run(self) -> None:
        try:
            headers = self._channel.connect()
        except CallerGoneError as error:
            self._result, self._why = CallResult.HANGUP_BEFORE_ANSWER, str(error)
            return
        except ControlLostError as error:
            self._result, self._why = CallResult.CONTROL_LOST, str(error)
            return
        full = self._admit()
        if not full:
            self._move_to(STAGES[0])
        trouble = (CallResult.REFUSED, full) if full else self._receive_call(headers)
        if trouble:
            self._result, self._why = trouble
            self._hand_back(self._result)
            return
        self._converse()

    def _receive_call(self, headers: Headers) -> tuple[CallResult, str] | None:
        """Find the call's mailbox; return why the call cannot be taken, if it cannot."""
        desk = self._desk
        mailbox, self._named = arrival.mailbox_of(headers, desk.mailboxes)
        desk.telemetry.call_arrived(self._named)
        if headers.get("Socket-Mode") != "async" or headers.get("Control") != "full":
            return CallResult.FAILED, "the dialplan's socket action must end in `async full`"
        if mailbox is None:
            mailbox = fallback(desk.mailboxes, self._named)
            if mailbox is None:
                return CallResult.UNKNOWN_MAILBOX, f"no mailbox {self._named!r} and none named {DEFAULT!r}"
            if self._named:
                desk.telemetry.unknown_mailbox(self._named, DEFAULT, self._channel.call_id)
        try:
            self._call, self._mailbox = arrival.read_call(headers, mailbox, desk.clock()), mailbox
        except ValueError as error:
            return CallResult.FAILED, str(error)
        trouble = desk.trouble()
        return (CallResult.FAILED, trouble) if trouble else None

    def _converse(self) -> None:
        desk, (call, mailbox) = self._desk, self._of_call()
        script = script_of(call, mailbox, self._message_id, desk.spool, desk.greeting_seconds)
        dialogue = Dialogue(script, desk.new_application_id)
        self._desk.in_progress.add(self._message_id)
        happened: deque[Input] = deque()
        self._perform_all(dialogue.open(), happened)
        state, until = None, 0.0
        while not dialogue.done:
            if dialogue.state is not state:
                state, until = dialogue.state, time.monotonic() + dialogue.deadline_seconds
                self._move_to(STAGE_OF[state])
            now = happened.popleft() if happened else self._channel.receive(until)
            self._note(now)
            self._perform_all(dialogue.receive(now), happened)

    def _move_to(self, stage: str) -> None:
        if stage != self._stage:
            self._desk.telemetry.call_moved(self._channel.call_id, self._stage, stage)
            self._stage = stage

    def _note(self, happened: Input) -> None:
        if isinstance(happened, ApplicationDone) and happened.response == "FILE NOT FOUND":
            _, mailbox = self._of_call()
            self._desk.telemetry.trouble(
                "sound_missing",
                "the switch cannot read a greeting",
                mailbox=mailbox.key,
                call=self._channel.call_id,
            )

    def _perform_all(self, commands: tuple[Command, ...], happened: deque[Input]) -> None:
        for command in commands:
            came = self._perform(command)
            if came is not None:
                happened.append(came)

    def _perform(self, command: Command) -> Input | None:
        match command:
            case Begin():
                return self._begin()
            case Note(number, typed):
                self._noted = True
                self._write_down(**({"callback": number} if number else {"typed": typed}))
            case Unheard():
                self._write_down(promise=None)
            case Keep():
                return self._keep(command)
            case Discard(why):
                self._discard(why)
            case Salvage():
                self._result = CallResult.SALVAGED
                self._why = "control of the recording was lost; recovery reads the file when it is quiet"
            case HandBack(result):
                self._result = result
                self._hand_back(result)
            case _:
                self._channel.perform(command)
        return None

    def _begin(self) -> Input:
        call, mailbox = self._of_call()
        file = self._desk.spool.place(mailbox.key, self._message_id).name
        try:
            self._desk.journal.begin(self._message_id, call, file, _BEGIN_SECONDS, mailbox.addresses)
        except JournalError as error:
            self._why = str(error)
            return BeginFailed()
        return Begun()

    def _write_down(self, **learned: str | None) -> None:
        """Note what is learned of a caller; should it fail, his message is worth more than it."""
        try:
            self._desk.journal.note(self._message_id, _BEGIN_SECONDS, **learned)
        except JournalError as error:
            self._desk.telemetry.trouble("journal_refused", str(error), message=self._message_id)

    def _keep(self, keep: Keep) -> Input:
        """Make the newest recording a message that holds one."""
        desk, (call, mailbox), take = self._desk, self._of_call(), keep.take
        try:
            recording, hearing = admitted_and_heard(
                lambda hold: desk.spool.admit(take.path, hold),
                call.mailbox,
                self._message_id,
                desk.workers,
                desk.telemetry,
            )
            typed = self._noted or bool(keep.typed)
            empty = mailbox.finds_empty(recording, take.ended_by, hearing, typed=typed)
            if keep.earlier and (empty or (hearing and not hearing.is_speech)):
                return self._keep(keep.before())
            if recording.duration_ms:
                self._recording, self._ended_by, self._hearing = recording, take.ended_by, hearing
            if empty:
                self._discard(empty)
                return NothingKept()
            wait = desk.transcription.wait_for(mailbox.key)
            # Whoever delivers looks in the transaction that keeps it, and has it no sooner than we do.
            desk.kept()
            desk.journal.keep(
                self._message_id,
                recording,
                take.ended_by,
                mailbox.addresses,
                now=desk.clock(),
                typed=keep.typed,
                hearing=hearing,
                due_at=wait.due_at if wait else None,
                timeout_seconds=_KEEP_SECONDS,
            )
        except RecordingError as error:
            return self._keep(keep.before()) if keep.earlier else self._unreadable(take, str(error))
        except (OSError, JournalError) as error:
            # The audio may be whole: the row stays open, and recovery tries again.
            self._result, self._why = CallResult.SALVAGED, str(error)
            return KeepFailed()
        self._result = CallResult.RECORDED
        desk.telemetry.message_kept(call.mailbox, recording, take.ended_by, hearing)
        desk.transcription.take(self._message_id, call, recording, wait)
        return Kept()

    def _unreadable(self, take: Take, why: str) -> Input:
        """The switch recorded nothing that can be read: it could not write, or wrote something else."""
        desk, (call, mailbox) = self._desk, self._of_call()
        self._result, self._why = CallResult.RECORD_FAILED, why
        try:
            told = mailbox.told_of_empty(self._result, call.caller)
            desk.journal.lose(self._message_id, self._result, desk.clock(), told)
            desk.kept()
            desk.telemetry.message_closed(call.mailbox, VoicemailState.LOST)
            aside = desk.workers.run_within(_KEEP_SECONDS, lambda: desk.spool.set_aside(take.path), None)
            if aside:
                self._why += f"; moved to {aside}"
        except (OSError, JournalError) as error:
            self._why += f"; {error}"
        return KeepFailed()

    def _discard(self, why: CallResult) -> None:
        call, mailbox = self._of_call()
        self._result = why
        try:
            told = mailbox.told_of_empty(why, call.caller)
            self._desk.journal.discard(
                self._message_id,
                why,
                self._desk.clock(),
                told,
                recording=self._recording,
                ended_by=self._ended_by,
                hearing=self._hearing,
            )
            self._desk.kept()
            self._desk.telemetry.message_closed(call.mailbox, VoicemailState.DISCARDED)
        except JournalError as error:
            # The row stays open; recovery closes it.
            self._why = str(error)

    def _hand_back(self, result: CallResult) -> None:
        self._handed_back = True
        answer = "refused" if result in (CallResult.REFUSED, CallResult.UNKNOWN_MAILBOX) else "failed"
        self._channel.hand_back(answer, self._desk.new_application_id())

    def _of_call(self) -> tuple[Call, Mailbox]:
        if self._call is None or self._mailbox is None:
            raise TypeError("the call is not read yet")
        return self._call, self._mailbox

    def _tell(self, duration_ms: int) -> None:
        telemetry, channel = self._desk.telemetry, self._channel
        for refused in channel.commands_refused:
            telemetry.trouble("command_refused", refused, call=channel.call_id or None)
        telemetry.frames_refused(channel.frames_refused, channel.peer, channel.call_id)
        if not channel.is_call:
            telemetry.peer_refused("no_call" if channel.has_spoken else "silent", channel.peer)
            return
        telemetry.call_ended(
            self._result,
            duration_ms,
            call=self._call,
            call_id=channel.call_id,
            mailbox=self._named,
            message=self._message_id if self._recording or self._result is CallResult.SALVAGED else None,
            recording=self._recording,
            ended_by=self._ended_by,
            hearing=self._hearing,
            why=self._why,
        )
