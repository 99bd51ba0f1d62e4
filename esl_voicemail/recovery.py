"""Makes the recordings folder and the journal agree after a crash, and keeps them so while serving.

Nothing here is deleted but audio past its retention, and nothing touched that is not ours by its name. Each
step can be repeated: a call gets its fate once, whoever comes first. What goes wrong with one file or row
is said, and the others go on.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from gevent.event import Event
from ulid import ULID

from esl_voicemail.clock import Clock
from esl_voicemail.config import Mailbox
from esl_voicemail.config.mailbox import DEFAULT, fallback
from esl_voicemail.errors import JournalError, RecordingError
from esl_voicemail.journal import Journal
from esl_voicemail.journal.forgetting import Kept
from esl_voicemail.journal.journal import OpenCall
from esl_voicemail.listening import heard
from esl_voicemail.model import (
    PROBE,
    Call,
    Caller,
    CallResult,
    EndedBy,
    Hearing,
    Reason,
    Recording,
    VoicemailState,
)
from esl_voicemail.spool import Seen, Spool, owner_of
from esl_voicemail.telemetry import Telemetry
from esl_voicemail.transcription import Transcription
from esl_voicemail.workers import Workers

# A row younger than this may belong to a call whose file the switch has not opened yet.
_YOUNG = timedelta(minutes=10)
# So long a recording that we may not read waits for somebody to let us; then whoever it is for is told.
_FORBIDDEN = timedelta(hours=1)
# A name may say any time; so far ahead of the clock, nobody called.
_AHEAD = timedelta(days=1)
# Nobody looks for the probe's calls once it is known what became of them.
_PROBE_RETENTION = timedelta(hours=1)
_STUCK_AT_MOST = 1000
_KNOWN_AT_ONCE = 500
_BEGIN_SECONDS = 30.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often to look: every row that is open each time, every file and old audio each `sweep_every`th.

    A recording is written every 20 ms, but for the gaps of a silent telephone, which end it by
    `silence_seconds`: `quiet_seconds` past those, nobody writes any more.
    """

    every_seconds: float = 20.0
    sweep_every: int = 30
    quiet_seconds: float = 15.0


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
        transcription: Transcription,
        clock: Clock,
        in_progress: Collection[str],
        kept: Callable[[], None],
        retention: timedelta,
        rhythm: Rhythm = Rhythm(),
    ) -> None:
        self._journal = journal
        self._spool = spool
        self._mailboxes = mailboxes
        self._workers = workers
        self._telemetry = telemetry
        self._transcription = transcription
        self._clock = clock
        self._in_progress = in_progress
        self._kept = kept
        self._retention = retention
        self._rhythm = rhythm
        self._stopping = Event()
        self._seen: dict[Seen, float] = {}
        self._said: set[str] = set()
        self._log_to_empty = True  # the last process may not have come to it

    def start(self) -> None:
        """Set right what the last process left, before the first call is taken."""
        try:
            self._round(self._old, sweeping=True)
        except (JournalError, OSError) as error:
            # A full disk, say; `run` looks again.
            self._telemetry.trouble("recovery_stopped", str(error))

    def run(self) -> None:
        """Keep looking until `stop`."""
        rounds = 0
        while not self._stopping.wait(self._rhythm.every_seconds):
            rounds += 1
            try:
                self._round(self._unchanged, sweeping=rounds % self._rhythm.sweep_every == 0)
            except (JournalError, OSError) as error:
                self._telemetry.trouble("recovery_stopped", str(error))

    def stop(self) -> None:
        """End `run` after the step it is in."""
        self._stopping.set()

    def _round(self, is_quiet: Callable[[Seen], bool], *, sweeping: bool) -> None:
        """Look at every open row that no call owns and, when sweeping, at every file and at old audio."""
        if self._workers.run(self._spool.strange):
            # An empty mount point is no proof that a call left nothing; readiness says what is wrong.
            return
        files = {seen.path: seen for seen in self._workers.run(self._spool.files)}
        now = time.monotonic()
        self._seen = {seen: self._seen.get(seen, now) for seen in files.values()}
        quiet = {path for path, seen in files.items() if is_quiet(seen)}
        left_open, unreadable = self._journal.open_calls()
        for message_id in set(unreadable) - self._said:
            self._said.add(message_id)
            self._telemetry.trouble("row_unreadable", "an open call waits for a person", message=message_id)
        self._each(left_open, lambda left: self._settle(left, files, quiet))
        if sweeping:
            self._sweep(quiet)
            self._retire()

    def _settle(self, left: OpenCall, files: Mapping[Path, Seen], quiet: Collection[Path]) -> None:
        """Give an open row that no call owns any more its fate."""
        if left.message_id in self._in_progress:
            return
        takes = self._takes(left.recording_file)
        if takes:
            if all(path in quiet for path in takes):
                self._read(left, takes)
        elif self._clock.earliest() - left.call.arrived_at > _YOUNG:
            self._discard(left)

    def _sweep(self, quiet: set[Path]) -> None:
        """Make messages of files that no row speaks of; names that are not ours are left alone."""
        owners = {path: owner_of(path) for path in quiet}
        for path in [path for path, owner in owners.items() if owner is None and path.name not in self._said]:
            self._said.add(path.name)
            self._telemetry.recovered("foreign", file=path.name, why="not a name of ours; left where it is")
        ours = [(path, owner) for path, owner in owners.items() if owner is not None]
        for start in range(0, len(ours), _KNOWN_AT_ONCE):
            part = ours[start : start + _KNOWN_AT_ONCE]
            known = self._journal.known([message_id for _, (_, message_id) in part])
            orphans = {
                owner: self._takes(path.name)
                for path, owner in part
                if owner[1] not in known and owner[1] not in self._in_progress
            }
            whole = [(owner, takes) for owner, takes in orphans.items() if quiet.issuperset(takes)]
            self._each(whole, lambda one: self._adopt(one[1], *one[0]))
            # Killed between its row and its move, the last process left it here.
            lost = [path for path, (_, message_id) in part if known.get(message_id) == VoicemailState.LOST]
            self._each((path for path in lost if path not in self._spool.forbidden), self._set_aside)

    def _set_aside(self, path: Path) -> None:
        self._workers.run(self._spool.set_aside, path)

    def _retire(self) -> None:
        """Remove audio and forget callers whose every recipient was final longer ago than the retention."""
        now = self._clock.earliest()
        self._retire_before(now - self._retention)
        self._retire_before(now - _PROBE_RETENTION, PROBE)
        if self._log_to_empty:
            # While somebody reads it, a backup say, it cannot be emptied; then at the next sweep.
            self._log_to_empty = not self._journal.empty_log()

    def _retire_before(self, before: datetime, mailbox: str | None = None) -> None:
        stuck: list[str] = []  # what cannot go must not keep the others here
        while len(stuck) < _STUCK_AT_MOST and (old := self._journal.past_retention(before, stuck, mailbox)):
            self._log_to_empty = True
            gone = [one for one in old if self._each([one], lambda one: self._forget(one, before))]
            stuck += [one.message_id for one in old if one not in gone]

    def _forget(self, one: Kept, before: datetime) -> None:
        if not self._journal.give_up(one.message_id, before, self._clock()):
            return
        self._workers.run(self._spool.remove, one.recording_file)
        self._journal.forget(one.message_id, self._clock())
        self._telemetry.service("forgotten", message=one.message_id)

    def _each(self, items: Iterable[T], work: Callable[[T], object]) -> bool:
        """Do the work for every item; one that fails is said once a process and tried again next round."""
        whole = True
        for item in items:
            try:
                work(item)
            except (OSError, RecordingError, JournalError) as error:
                whole = False
                if str(error) not in self._said:
                    self._said.add(str(error))
                    self._telemetry.trouble("recovery_stopped", str(error))
        return whole

    def _takes(self, name: str) -> list[Path]:
        """Return what is there of a call's recordings, the newest first."""
        present = {seen.path for seen in self._seen}
        return [path for path in self._spool.takes(name) if path in present]

    def _read(self, left: OpenCall, takes: Sequence[Path], kind: str = "kept") -> None:
        """Keep the newest of a call's recordings that holds a message."""
        path, *earlier = takes
        try:
            recording = self._workers.run(self._spool.admit, path)
        except RecordingError as error:
            if earlier:
                self._read(left, earlier, kind)
            else:
                self._lose(left, path, str(error))
            return
        except PermissionError as error:
            if self._clock.earliest() - left.call.arrived_at < _FORBIDDEN:
                raise
            if earlier:
                self._read(left, earlier, kind)
                return
            # The file stays, and so does what readiness says of it.
            self._close_lost(left)
            self._telemetry.recovered("lost", message=left.message_id, why=str(error))
            return
        hearing = heard(recording, left.call.mailbox, left.message_id, self._workers, self._telemetry)
        if earlier and not self._is_message(left, recording, hearing):
            self._read(left, earlier, kind)
        elif recording.duration_ms:
            # Whatever was heard: what was cut off may have been about to begin.
            self._keep(left, recording, hearing, kind)
        elif kind == "orphan":
            self._lose(left, path, f"{path.name}: holds no audio")
        else:
            # Whoever lost control of this call cannot know whether its caller spoke.
            self._discard(left)

    def _is_message(self, left: OpenCall, recording: Recording, hearing: Hearing | None) -> bool:
        """Whether what was recorded again may take the place of what was recorded before."""
        mailbox = self._mailboxes.get(left.call.mailbox)
        least_ms = (mailbox.min_seconds if mailbox else 1) * 1000
        return recording.duration_ms >= max(1, least_ms) and (hearing is None or hearing.is_speech)

    def _close_lost(self, left: OpenCall) -> None:
        if self._journal.lose(left.message_id, CallResult.RECORD_FAILED, self._clock(), left.recipients):
            self._kept()
            self._telemetry.message_closed(left.call.mailbox, VoicemailState.LOST)

    def _lose(self, left: OpenCall, path: Path, why: str) -> None:
        self._close_lost(left)
        aside = self._workers.run(self._spool.quarantine, path)
        self._telemetry.recovered("lost", message=left.message_id, why=why, to=str(aside))

    def _discard(self, left: OpenCall) -> None:
        why = CallResult.CONTROL_LOST
        if self._journal.discard(left.message_id, why, self._clock(), left.recipients):
            self._kept()
            self._telemetry.message_closed(left.call.mailbox, VoicemailState.DISCARDED)
            self._telemetry.recovered(
                "discarded", call=left.call.call_id, message=left.message_id, why=why.value
            )

    def _adopt(self, takes: Sequence[Path], mailbox: str, message_id: str) -> None:
        """Make files whose row was lost a message of its own: their names still say whose it is, and when."""
        known = self._mailboxes.get(mailbox) or fallback(self._mailboxes, mailbox)
        try:
            arrived_at = ULID.from_str(message_id).datetime
        except (ValueError, OverflowError, OSError):
            known = None
        else:
            known = known if arrived_at < self._clock.latest() + _AHEAD else None
        if known is None:
            # It stays where it is: a mailbox may come back, and then its message is not lost.
            raise RecordingError(
                f"{takes[0].name}: there is no mailbox {mailbox} any more, none named {DEFAULT}, "
                "or no such time"
            )
        nobody = Caller(number="", name="", withheld=False)
        call = Call(
            f"recovered-{message_id}", known.key, Reason.DIRECT, nobody, "", arrived_at, known.language
        )
        first = takes[-1].name
        self._journal.begin(message_id, call, first, _BEGIN_SECONDS, known.addresses)
        self._read(OpenCall(message_id, call, known.addresses, first), takes, "orphan")

    def _keep(self, left: OpenCall, recording: Recording, hearing: Hearing | None, kind: str) -> None:
        wait = self._transcription.wait_for(left.call.mailbox)
        kept = self._journal.keep(
            left.message_id,
            recording,
            EndedBy.CUT,
            left.recipients,
            now=self._clock(),
            hearing=hearing,
            due_at=wait.due_at if wait else None,
            ended_at=self._ended_at(left, recording),
        )
        if kept:
            self._transcription.take(left.message_id, left.call, recording, wait)
            self._telemetry.message_kept(left.call.mailbox, recording, EndedBy.CUT, hearing)
            self._telemetry.recovered(
                kind,
                call=left.call.call_id,
                message=left.message_id,
                recording_ms=recording.duration_ms,
                heard=hearing.content.value if hearing else None,
            )
            self._kept()

    def _ended_at(self, left: OpenCall, recording: Recording) -> datetime:
        """When the switch wrote the last of it: that was the caller's end, as near as anybody knows."""
        now = self._clock()
        written = max(seen.written for seen in self._seen if seen.path == recording.path)
        return min(now, max(left.call.arrived_at, datetime.fromtimestamp(written, UTC)))

    def _old(self, seen: Seen) -> bool:
        """At start nothing was seen before: the time of writing must do."""
        return self._clock().timestamp() - seen.written > self._quiet_seconds()

    def _unchanged(self, seen: Seen) -> bool:
        """While serving, by our own clock: neither size nor time of writing has changed for long enough."""
        return time.monotonic() - self._seen[seen] > self._quiet_seconds()

    def _quiet_seconds(self) -> float:
        longest = max(mailbox.silence_seconds for mailbox in self._mailboxes.values())
        return self._rhythm.quiet_seconds + longest
