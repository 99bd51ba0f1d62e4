"""A storage directory with calls in it, written by the real journal, for what is done to them afterwards."""

import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ulid import ULID

from esl_voicemail.checks import spool_of
from esl_voicemail.clock import Clock
from esl_voicemail.config import load
from esl_voicemail.journal import Journal, JournalReader
from esl_voicemail.journal.engine import FILE, url_of
from esl_voicemail.journal.reader import Story
from esl_voicemail.log import Log
from esl_voicemail.model import Attempt, Call, Caller, CallResult, EndedBy, Reason
from esl_voicemail.recovery import Recovery
from esl_voicemail.telemetry import Telemetry
from esl_voicemail.transcription import Transcription
from esl_voicemail.verdict import Verdict
from esl_voicemail.workers import Workers
from tests.support.speech import save, tone

CALLER = "+48601234567"
NAME = "Zenobia Łącka"
ANNA, JAN, OPERATOR = "anna@example.com", "jan@example.com", "ops@example.com"
CONFIG = f"""\
storage: {{retention_days: 30}}
defaults: {{region: PL, attachment: wav}}
mailboxes:
  sales: {{recipients: [{ANNA}, {JAN}]}}
  berlin: {{recipients: [{JAN}], region: DE}}
"""
RETENTION = timedelta(days=30)


class Archive:
    """What a service has written, and what one would do next; a test may set its clock ahead."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "voicemail.yaml").write_text(CONFIG)
        self.config = load(folder / "voicemail.yaml")
        self.config.directory.mkdir()
        self.config.recordings.mkdir()
        self.spool = spool_of(self.config)
        self.spool.take()
        self.journal = Journal(url_of(self.config.directory), self.config.recordings)
        self.moved = timedelta()
        self._clock = Clock(self.now, lambda: time.monotonic() + self.moved.total_seconds())
        self._workers = Workers(1)

    def close(self) -> None:
        self.journal.close()
        self._workers.close()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.moved

    # --- what a service writes -------------------------------------------------------------------------

    def open(self, number: str = CALLER, mailbox: str = "sales", name: str = NAME) -> tuple[str, Path]:
        """A call in progress, and where its recording goes."""
        message_id = str(ULID())
        caller = Caller(number, name, withheld=False)
        call = Call(
            f"call-{message_id}", mailbox, Reason.BUSY, caller, "1", self.now(), "pl", reference="order 77-Q"
        )
        path = self.spool.place(mailbox, message_id)
        self.journal.begin(message_id, call, path.name, 10)
        return message_id, path

    def keep(
        self,
        number: str = CALLER,
        mailbox: str = "sales",
        name: str = NAME,
        to: Sequence[str] = (ANNA, JAN),
    ) -> str:
        """A message, its mails queued."""
        message_id, path = self.open(number, mailbox, name)
        recording = self.spool.admit(save(path, tone(1.0)))
        assert self.journal.keep(message_id, recording, EndedBy.KEY, to, now=self.now())
        return message_id

    def discard(self, number: str = CALLER, told: Sequence[str] = ()) -> str:
        """A call that left nothing, and a notice of it to those who are told."""
        message_id, _ = self.open(number)
        assert self.journal.discard(message_id, CallResult.RECORD_FAILED, self.now(), told)
        return message_id

    def lose(self, number: str = CALLER) -> tuple[str, Path]:
        """A call whose recording could not be read, and where it was put aside."""
        message_id, path = self.open(number)
        path.write_bytes(b"no audio, but a caller's all the same")
        assert self.journal.lose(message_id, CallResult.RECORD_FAILED, self.now())
        return message_id, self.spool.quarantine(path)

    def claim(self, most: int = 1000) -> list[Attempt]:
        return self.journal.queue.claim(most, self.now(), "example.com")

    def settle(self, verdict: Verdict, *, operator: str | None = None) -> None:
        """Give every mail that is queued this verdict."""
        for attempt in self.claim():
            assert self.journal.queue.mark(attempt, verdict, self.now(), 5, operator=operator)

    def recover(self) -> None:
        """What a service does at its start: retention is part of it."""
        telemetry = Telemetry(self.config.mailboxes, self.now, log=Log(lambda line: None, self.now))
        mailboxes, workers = self.config.mailboxes, self._workers
        Recovery(
            self.journal,
            self.spool,
            mailboxes,
            workers,
            telemetry,
            transcription=Transcription(
                self.journal, mailboxes, workers, telemetry, clock=self._clock, written=lambda: None
            ),
            clock=self._clock,
            in_progress=set(),
            kept=lambda: None,
            retention=RETENTION,
        ).start()

    # --- what is there ---------------------------------------------------------------------------------

    def story(self, message_id: str) -> Story:
        found = JournalReader(self.config.directory, self.config.recordings).show(message_id)
        assert found is not None
        return found

    def states(self, message_id: str) -> dict[str, str]:
        return {to.recipient: to.state for to in self.story(message_id).deliveries}

    def audio(self, message_id: str) -> bool:
        folders = (self.spool.recordings, self.spool.corrupt)
        return any(path for folder in folders if folder.exists() for path in folder.glob(f"*{message_id}*"))

    def sql(self, statement: str, *values: Any) -> list[Any]:
        """Reach below the journal, for what only time or a fault brings about."""
        with closing(sqlite3.connect(self.config.directory / FILE)) as database, database:
            return database.execute(statement, values).fetchall()

    def traces(self, *words: str) -> list[str]:
        """Return which words the bytes of the journal's files still hold, and in which file."""
        return traces(self.config.directory, *words)


def traces(directory: Path, *words: str) -> list[str]:
    """Return which words the bytes of a journal's files hold, and in which file."""
    files = {path.name: path.read_bytes() for path in directory.glob(f"{FILE}*")}
    assert files
    return [f"{word} in {name}" for name, held in files.items() for word in words if word.encode() in held]
