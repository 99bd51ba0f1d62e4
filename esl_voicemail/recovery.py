"""Makes the recordings folder and the journal agree after a crash, and keeps them so while serving.

Nothing here is deleted but audio past its retention. Each step can be repeated: a call gets its fate once,
whoever comes first.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import gevent
from gevent.event import Event

from esl_voicemail.config import Mailbox, mailbox_of
from esl_voicemail.errors import JournalError, RecordingError
from esl_voicemail.journal import Journal
from esl_voicemail.journal.journal import OpenCall
from esl_voicemail.model import Call, Caller, CallResult, EndedBy, Reason, Recording, VoicemailState
from esl_voicemail.spool import Spool, owner_of
from esl_voicemail.telemetry import Telemetry
from esl_voicemail.workers import Workers

# Recording writes every 20 ms, silence included, so a file untouched this long is written by nobody.
QUIET = timedelta(seconds=15)
# A row younger than this may belong to a call whose file the switch has not opened yet.
_YOUNG = timedelta(minutes=10)
_EVERY_SECONDS = 20.0
_SWEEP_EVERY = 30
_KNOWN_AT_ONCE = 500


class Recovery:
    """Looks for what a crash left behind, and for audio whose time is over."""

    def __init__(
        self,
        journal: Journal,
        spool: Spool,
        mailboxes: Mapping[str, Mailbox],
        workers: Workers,
        telemetry: Telemetry,
        *,
        clock: Callable[[], datetime],
        in_progress: Collection[str],
        kept: Callable[[], None],
        retention: timedelta,
    ) -> None:
        self._journal = journal
        self._spool = spool
        self._mailboxes = mailboxes
        self._workers = workers
        self._telemetry = telemetry
        self._clock = clock
        self._in_progress = in_progress
        self._kept = kept
        self._retention = retention
        self._stopping = Event()

    def start(self) -> None:
        """Set right what the last process left, before the first call is taken."""
        self._release_leases(everyone=True)
        self.look()
        self.sweep()

    def run(self) -> None:
        """Keep looking until `stop`."""
        rounds = 0
        while not self._stopping.wait(_EVERY_SECONDS):
            rounds += 1
            try:
                self._release_leases(everyone=False)
                self.look()
                if rounds % _SWEEP_EVERY == 0:
                    self.sweep()
                    self.retire()
            except (JournalError, OSError) as error:
                self._telemetry.trouble("recovery_stopped", str(error))

    def stop(self) -> None:
        """End `run` after the step it is in."""
        self._stopping.set()

    def look(self) -> None:
        """Give every open row that no call owns any more its fate."""
        left_behind = [
            left for left in self._journal.open_calls() if left.message_id not in self._in_progress
        ]
        written = dict(self._files()) if left_behind else {}
        for left in left_behind:
            self._settle(left, written.get(self._spool.recordings / left.recording_file))
            gevent.sleep(0)

    def sweep(self) -> None:
        """Find files that no row speaks of: ours become messages, foreign ones are set aside."""
        quiet = [path for path, written in self._files() if self._is_quiet(written)]
        owners = {path: owner_of(path) for path in quiet}
        for path in [path for path, owner in owners.items() if owner is None]:
            aside = self._workers.run(self._spool.quarantine, path)
            self._telemetry.recovered("foreign", file=path.name, to=str(aside))
        ours = [(path, owner) for path, owner in owners.items() if owner is not None]
        for start in range(0, len(ours), _KNOWN_AT_ONCE):
            part = ours[start : start + _KNOWN_AT_ONCE]
            known = self._journal.known([message_id for _, (_, message_id) in part])
            for path, (mailbox, message_id) in part:
                if message_id not in known and message_id not in self._in_progress:
                    self._adopt(path, mailbox, message_id)

    def retire(self) -> None:
        """Remove audio whose every recipient was final longer ago than the retention."""
        for message_id, path in self._journal.past_retention(self._clock() - self._retention):
            self._workers.run(path.unlink, missing_ok=True)
            self._journal.audio_removed(message_id, self._clock())
            self._telemetry.service("audio_removed", message=message_id)

    def _release_leases(self, *, everyone: bool) -> None:
        queued, held = self._journal.release_leases(self._clock(), everyone=everyone)
        if queued:
            self._telemetry.recovered("requeued", queued)
        if held:
            self._telemetry.recovered("held", held)

    def _settle(self, left: OpenCall, written: float | None) -> None:
        if written is None:
            if self._clock() - left.call.arrived_at > _YOUNG:
                self._discard(left, CallResult.CONTROL_LOST)
        elif self._is_quiet(written):
            self._read(left, self._spool.recordings / left.recording_file)

    def _read(self, left: OpenCall, path: Path) -> None:
        try:
            recording = self._workers.run(self._spool.admit, path)
        except RecordingError as error:
            aside = self._workers.run(self._spool.quarantine, path)
            if self._journal.lose(left.message_id, self._clock()):
                self._telemetry.message_closed(left.call.mailbox, VoicemailState.LOST)
                self._telemetry.recovered("lost", message=left.message_id, why=str(error), to=str(aside))
            return
        if recording.duration_ms == 0:
            self._discard(left, CallResult.NO_AUDIO)
        else:
            self._keep(left.message_id, left.call, recording, "kept")

    def _discard(self, left: OpenCall, why: CallResult) -> None:
        if self._journal.discard(left.message_id, why, self._clock()):
            self._telemetry.message_closed(left.call.mailbox, VoicemailState.DISCARDED)
            self._telemetry.recovered("discarded", message=left.message_id, why=why.value)

    def _adopt(self, path: Path, mailbox: str, message_id: str) -> None:
        """Make a file whose row was lost a message of its own: its name still says whose it is."""
        known = mailbox_of(self._mailboxes, mailbox)
        try:
            recording = self._workers.run(self._spool.admit, path)
        except RecordingError as error:
            aside = self._workers.run(self._spool.quarantine, path)
            self._telemetry.recovered("lost", message=message_id, why=str(error), to=str(aside))
            return
        if recording.duration_ms == 0:
            return
        nobody = Caller(number="", name="", withheld=False)
        call = Call(
            f"recovered-{message_id}", known.key, Reason.DIRECT, nobody, "", self._clock(), known.language
        )
        self._journal.begin(message_id, call, path.name, 30)
        self._keep(message_id, call, recording, "orphan")

    def _keep(self, message_id: str, call: Call, recording: Recording, kind: str) -> None:
        mailbox = mailbox_of(self._mailboxes, call.mailbox)
        recipients = [recipient.address for recipient in mailbox.recipients]
        if self._journal.keep(message_id, recording, EndedBy.CUT, recipients, now=self._clock()):
            self._telemetry.message_kept(call.mailbox, recording, EndedBy.CUT)
            self._telemetry.recovered(
                kind, message=message_id, call=call.call_id, recording_ms=recording.duration_ms
            )
            self._kept()

    def _files(self) -> list[tuple[Path, float]]:
        return self._workers.run(self._spool.files)

    def _is_quiet(self, written: float) -> bool:
        # A time in the future is a clock that was set back: it says nothing, so age counts either way.
        return abs(self._clock().timestamp() - written) > QUIET.total_seconds()
