"""What the service writes of its calls into the journal and asks of it, each verb one transaction.

A state that is final stays final: every update names the state it starts from.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, and_, bindparam, exists, insert, select, update

from esl_voicemail.errors import JournalError
from esl_voicemail.journal.engine import migrate, open_engine
from esl_voicemail.journal.forgetting import Kept, forget, give_up, past_retention
from esl_voicemail.journal.queue import Queue, enqueue, hasten
from esl_voicemail.journal.rows import call_of_row, row_of_call, row_of_hearing, row_of_recording
from esl_voicemail.journal.schema import to_ms, voicemails
from esl_voicemail.journal.statement import Statement
from esl_voicemail.journal.writer import Writer
from esl_voicemail.model import Call, CallResult, EndedBy, Hearing, Recording, VoicemailState


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A call whose row is open: in progress, or left behind by a crash."""

    message_id: str
    call: Call
    recipients: tuple[str, ...]
    recording_file: str


_BEGIN = Statement(insert(voicemails))
_OPEN = and_(voicemails.c.message_id == bindparam("message"), voicemails.c.state == VoicemailState.OPEN.value)
_CLOSE = Statement(update(voicemails).where(_OPEN))


class Journal:
    """The running service's journal; every call waits for the disk, none holds the event loop.

    `queue` is where the mails of it stand; `committed` hears how many seconds each commit took.
    """

    def __init__(self, url: str, recordings: Path, committed: Callable[[float], None] | None = None) -> None:
        engine = open_engine(url, writing=True)
        migrate(engine)
        self._writer = Writer(engine, committed)
        self.queue = Queue(self._writer, recordings)

    def close(self) -> None:
        """Finish what is under way and close the database."""
        self._writer.close()

    def begin(
        self,
        message_id: str,
        call: Call,
        recording_file: str,
        timeout_seconds: float,
        recipients: Sequence[str] = (),
    ) -> None:
        """Write a call's row, open, with whom its message will be for, should we not live to see it.

        JournalError when it is not there in time; should it be written later, it is closed as a call that
        was handed back, of which nobody is told.
        """
        row = {
            "message_id": message_id,
            "state": VoicemailState.OPEN.value,
            "recipients": json.dumps(list(recipients)),
            "recording_file": recording_file,
        }
        self._writer.write(
            lambda db: (_BEGIN.execute(db, **row, **row_of_call(call)), None)[1],
            timeout_seconds,
            too_late=lambda db: _abandon(db, message_id, call.arrived_at),
        )

    def keep(
        self,
        message_id: str,
        recording: Recording,
        ended_by: EndedBy,
        recipients: Sequence[str],
        *,
        now: datetime,
        typed: str = "",
        hearing: Hearing | None = None,
        due_at: datetime | None = None,
        ended_at: datetime | None = None,
        timeout_seconds: float | None = None,
    ) -> bool:
        """Turn an open call into a kept message with one queued delivery a recipient.

        `typed` is what the caller typed while he spoke, `hearing` what was heard of him. The mails are due
        at once, or at `due_at`. The call closes now, or at `ended_at`, where nobody noticed its end. Returns
        whether this changed anything: a call that is closed already stays as it is.
        """

        def work(db: Connection) -> bool:
            changes = {
                **row_of_recording(recording, ended_by),
                **({"typed": typed} if typed else {}),
                **row_of_hearing(hearing),
                "result": CallResult.RECORDED.value,
            }
            if not _close(db, message_id, VoicemailState.KEPT, ended_at or now, changes):
                return False
            enqueue(db, message_id, recipients, now, due_at)
            return True

        return self._writer.write(work, timeout_seconds)

    def transcribe(self, message_id: str, transcript: str, due_at: datetime, now: datetime) -> bool:
        """Write down what was said in a message, and send the mails that were to wait for it until `due_at`.

        With an empty transcript they only wait no longer. Returns whether it was written: not where the
        caller is forgotten.
        """
        kept = voicemails.c.state == VoicemailState.KEPT.value
        ours = (voicemails.c.message_id == message_id, kept, voicemails.c.forgotten_at.is_(None))
        statement = update(voicemails).where(*ours).values(transcript=transcript)

        def work(db: Connection) -> bool:
            hasten(db, message_id, due_at, now)
            return bool(transcript) and bool(db.execute(statement).rowcount)

        return self._writer.write(work)

    def note(self, message_id: str, timeout_seconds: float, **learned: str | None) -> None:
        """Write down what is learned of an open call: `callback`, `typed`, or None as its `promise`."""
        if "promise" in learned:
            learned["promised_day"] = None
        statement = (
            update(voicemails)
            .where(voicemails.c.message_id == message_id, voicemails.c.state == VoicemailState.OPEN.value)
            .values(**learned)
        )
        self._writer.write(lambda db: (db.execute(statement), None)[1], timeout_seconds)

    def discard(
        self,
        message_id: str,
        why: CallResult,
        now: datetime,
        told: Sequence[str] = (),
        *,
        recording: Recording | None = None,
        ended_by: EndedBy | None = None,
        hearing: Hearing | None = None,
    ) -> bool:
        """Close an open call that left no message, with a notice to those who are told; its trace stays.

        So does its recording, where there is one: a person may make a message of it.
        """
        audio = row_of_recording(recording, ended_by) | row_of_hearing(hearing)
        return self._close_empty(message_id, VoicemailState.DISCARDED, why, now, told, **audio)

    def lose(self, message_id: str, why: CallResult, now: datetime, told: Sequence[str] = ()) -> bool:
        """Close an open call whose recording cannot be read, with a notice to those who are told."""
        return self._close_empty(message_id, VoicemailState.LOST, why, now, told)

    def _close_empty(
        self,
        message_id: str,
        state: VoicemailState,
        why: CallResult,
        now: datetime,
        told: Sequence[str],
        **audio: object,
    ) -> bool:
        def work(db: Connection) -> bool:
            if not _close(db, message_id, state, now, {"result": why.value, **audio}):
                return False
            enqueue(db, message_id, told, now)
            return True

        return self._writer.write(work)

    def open_calls(self) -> tuple[list[OpenCall], list[str]]:
        """Return the calls whose rows are open, oldest first, and the messages whose rows cannot be read."""
        return self._writer.write(_open_calls)

    def known(self, message_ids: Sequence[str]) -> dict[str, str]:
        """Return the states of those of these messages that have a row; ask for a few hundred at a time."""
        statement = select(voicemails.c.message_id, voicemails.c.state)
        statement = statement.where(voicemails.c.message_id.in_(message_ids))
        rows = self._writer.write(lambda db: db.execute(statement).all())
        return {row.message_id: row.state for row in rows}

    def past_retention(
        self, before: datetime, but: Collection[str] = (), mailbox: str | None = None, most: int = 100
    ) -> list[Kept]:
        """Return calls whose every recipient was final before that time and that are not forgotten yet.

        `but` are messages to leave out; with `mailbox` only that one's count.
        """
        return self._writer.write(lambda db: past_retention(db, before, but, mailbox, most))

    def give_up(self, message_id: str, before: datetime, now: datetime) -> bool:
        """Say that a call's audio goes now; False when one of its mails was queued again meanwhile."""
        return self._writer.write(lambda db: give_up(db, message_id, before, now))

    def forget(self, message_id: str, now: datetime) -> None:
        """Remove who called from a call's row; call it after the unlink of its audio."""
        self._writer.write(lambda db: forget(db, message_id, now))

    def empty_log(self) -> bool:
        """Let go of what the log of the database still says of forgotten callers; False while it is read."""
        return self._writer.empty_log()


def _open_calls(db: Connection) -> tuple[list[OpenCall], list[str]]:
    """Read them here, on the writer's thread: of thousands of calls that takes its time."""
    statement = select(voicemails).where(voicemails.c.state == VoicemailState.OPEN.value)
    found, unreadable = [], []
    for row in db.execute(statement.order_by(voicemails.c.arrived_at)):
        try:
            recipients = tuple(json.loads(row.recipients))
            found.append(OpenCall(row.message_id, call_of_row(row), recipients, row.recording_file))
        except (ValueError, TypeError, OverflowError):
            unreadable.append(row.message_id)
    return found, unreadable


def _abandon(db: Connection, message_id: str, now: datetime) -> None:
    """Close a call that the dialplan has again, if its row came to be after all."""
    with suppress(JournalError):
        _close(db, message_id, VoicemailState.DISCARDED, now, {"result": CallResult.FAILED.value})


def _close(
    db: Connection, message_id: str, state: VoicemailState, now: datetime, changes: Mapping[str, object]
) -> bool:
    """Give an open row its one fate; False when it has one already, JournalError when there is no row."""
    done = _CLOSE.execute(db, message=message_id, state=state.value, closed_at=to_ms(now), **changes)
    if not done and not db.execute(select(exists().where(voicemails.c.message_id == message_id))).scalar():
        raise JournalError(f"no call {message_id} in the journal")
    return bool(done)
