"""The journal read by the command line, beside a running service or without one; it writes nothing."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, Select, or_, select
from sqlalchemy.exc import SQLAlchemyError

from esl_voicemail.errors import JournalError
from esl_voicemail.journal.engine import expect_current, expect_one, open_engine, refused, url_of
from esl_voicemail.journal.history import earlier_calls
from esl_voicemail.journal.listing import Summary, Wanted, newest_ids, page, summaries, written
from esl_voicemail.journal.rows import reading, voicemail_of_row
from esl_voicemail.journal.schema import attempts, deliveries, from_ms, voicemails
from esl_voicemail.model import Voicemail, VoicemailState

EVERY = Wanted()
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class TriedOnce:
    """One attempt, with the server's own words."""

    number: int
    ended_at: datetime
    duration_ms: int
    result: str
    code: int | None
    reply: str


@dataclass(frozen=True, slots=True)
class ToRecipient:
    """Where the mail to one recipient stands, why, and how it came there.

    `about` is, of a report to the operator, who did not get the message.
    """

    recipient: str
    about: str | None
    state: str
    queued_at: datetime
    due_at: datetime
    finished_at: datetime | None
    code: int | None
    reply: str | None
    attempts: tuple[TriedOnce, ...]


@dataclass(frozen=True, slots=True)
class Story:
    """All that the journal knows of one call."""

    summary: Summary
    recording: Path | None
    size: int | None
    sha256: str | None
    ended_by: str | None
    repaired: bool
    transcript: str
    closed_at: datetime | None
    audio_removed_at: datetime | None
    deliveries: tuple[ToRecipient, ...]


class JournalReader:
    """Reads a storage directory's journal; JournalError when there is none or it cannot be read."""

    def __init__(self, directory: Path, recordings: Path) -> None:
        expect_one(directory)
        self._engine = open_engine(url_of(directory), writing=False)
        self._recordings = recordings

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            # Tables of another version make strange errors; what is the matter is the version.
            with suppress(SQLAlchemyError):
                expect_current(self._engine)
            raise refused(self._engine, "cannot be read", error) from error

    def close(self) -> None:
        """Let the database go."""
        self._engine.dispose()

    def find(self, wanted: Wanted = EVERY, at_once: int = _AT_ONCE) -> Iterator[Summary | JournalError]:
        """Find calls, newest first; an error stands for one that cannot be shown, and says why.

        They are read some at a time, so whoever takes long to look at them keeps nobody from the journal.
        """
        last: Row[Any] | None = None
        while True:
            with self._connected() as db:
                rows = page(db, wanted, min(at_once, _AT_ONCE), last)
                found = list(summaries(db, rows))
            yield from found
            if len(rows) < min(at_once, _AT_ONCE):
                return
            last = rows[-1]

    def newest(self, wanted: Wanted, most: int) -> list[tuple[str, datetime]]:
        """Return the ids of the newest calls that are asked for, newest first, and when each came."""
        with self._connected() as db:
            return newest_ids(db, wanted, most)

    def written(self, number: str, ending: str) -> set[str]:
        """Return, as they are written, the numbers that may be this one, by the digits it ends in."""
        with self._connected() as db:
            return written(db, number, ending)

    def show(self, name: str) -> Story | None:
        """Return the story of a message by its id, or of the newest of a call's by the call's UUID."""
        with self._connected() as db:
            row = db.execute(_named(name)).first()
            if row is None:
                return None
            (summary,) = summaries(db, [row])
            if isinstance(summary, JournalError):
                raise summary
            with reading(row):
                return self._story(db, row, summary)

    def voicemail(self, name: str) -> Voicemail | None:
        """Return a closed call, with its message or without one, by its message's id or its own UUID."""
        closed = voicemails.c.state != VoicemailState.OPEN.value
        with self._connected() as db:
            row = db.execute(_named(name).where(closed)).first()
            if row is None:
                return None
            with reading(row):
                return voicemail_of_row(row, self._recordings, earlier_calls(db, row))

    def _story(self, db: Connection, row: Row[Any], summary: Summary) -> Story:
        to = db.execute(
            select(deliveries)
            .where(deliveries.c.message_id == row.message_id)
            .order_by(deliveries.c.delivery_id)
        ).all()
        recipients = {one.delivery_id: one.recipient for one in to}
        tried: dict[int, list[TriedOnce]] = {one.delivery_id: [] for one in to}
        for one in db.execute(
            select(attempts).where(attempts.c.delivery_id.in_(tried)).order_by(attempts.c.attempt_id)
        ):
            tried[one.delivery_id].append(
                TriedOnce(one.number, from_ms(one.ended_at), one.duration_ms, one.result, one.code, one.reply)
            )
        return Story(
            summary=summary,
            recording=self._recordings / row.recording_file,
            size=row.size,
            sha256=row.sha256,
            ended_by=row.ended_by,
            repaired=bool(row.repaired),
            transcript=row.transcript or "",
            closed_at=_moment(row.closed_at),
            audio_removed_at=_moment(row.audio_removed_at),
            deliveries=tuple(
                ToRecipient(
                    one.recipient,
                    recipients.get(one.about),
                    one.state,
                    from_ms(one.queued_at),
                    from_ms(one.due_at),
                    _moment(one.finished_at),
                    one.code,
                    one.reply,
                    tuple(tried[one.delivery_id]),
                )
                for one in to
            ),
        )


def _named(name: str) -> Select[Any]:
    named = or_(voicemails.c.message_id == name.upper(), voicemails.c.call_id == name)
    return select(voicemails).where(named).order_by(voicemails.c.arrived_at.desc()).limit(1)


def _moment(ms: int | None) -> datetime | None:
    return None if ms is None else from_ms(ms)
