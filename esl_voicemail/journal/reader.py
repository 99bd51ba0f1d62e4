"""The journal read by the command line, beside a running service or without one; it writes nothing."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, case, func, or_, select
from sqlalchemy.exc import SQLAlchemyError

from esl_voicemail.errors import JournalError
from esl_voicemail.journal.engine import expect_current, expect_one, open_engine, refused, url_of
from esl_voicemail.journal.history import earlier_calls
from esl_voicemail.journal.rows import call_of_row, hearing_of_row, voicemail_of_row
from esl_voicemail.journal.schema import attempts, deliveries, from_ms, voicemails
from esl_voicemail.model import PROBE, Call, DeliveryState, Hearing, Voicemail, VoicemailState


@dataclass(frozen=True, slots=True)
class Summary:
    """One line of `messages list`; `deliveries` counts the recipients by the state of their mail.

    Reports to the operator are no recipients'. Once `forgotten_at` is set, nothing says who called.
    """

    message_id: str
    call: Call
    state: str
    result: str | None
    duration_ms: int | None
    hearing: Hearing | None
    forgotten_at: datetime | None
    deliveries: Mapping[str, int]

    @property
    def recipients(self) -> int:
        """How many the message is for."""
        return sum(self.deliveries.values())

    @property
    def delivered(self) -> int:
        """How many have it."""
        return self.deliveries.get(DeliveryState.DELIVERED.value, 0)


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

    def list(self, most: int = 50, *, probes: bool = False) -> tuple[list[Summary], list[str]]:
        """Return the newest calls, newest first, and why any of them cannot be shown, one line each.

        `probes`: those of the probe too.
        """
        statement = _summaries().order_by(voicemails.c.arrived_at.desc()).limit(most)
        if not probes:
            statement = statement.where(voicemails.c.mailbox != PROBE)
        found: list[Summary] = []
        unreadable: list[str] = []
        with self._connected() as db:
            for row in db.execute(statement):
                try:
                    found.append(_summary(row))
                except JournalError as error:
                    unreadable.append(str(error))
        return found, unreadable

    def show(self, name: str) -> Story | None:
        """Return the story of a message by its id, or of the newest of a call's by the call's UUID."""
        statement = _summaries().where(
            or_(voicemails.c.message_id == name.upper(), voicemails.c.call_id == name)
        )
        with self._connected() as db:
            row = db.execute(statement.order_by(voicemails.c.arrived_at.desc()).limit(1)).first()
            if row is None:
                return None
            with _reading(row):
                return self._story(db, row)

    def voicemail(self, name: str) -> Voicemail | None:
        """Return a closed call, with its message or without one, by its message's id or its own UUID."""
        statement = (
            select(voicemails)
            .where(or_(voicemails.c.message_id == name.upper(), voicemails.c.call_id == name))
            .where(voicemails.c.state != VoicemailState.OPEN.value)
            .order_by(voicemails.c.arrived_at.desc())
            .limit(1)
        )
        with self._connected() as db:
            row = db.execute(statement).first()
            if row is None:
                return None
            with _reading(row):
                return voicemail_of_row(row, self._recordings, earlier_calls(db, row))

    def _story(self, db: Connection, row: Row[Any]) -> Story:
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
            summary=_summary(row),
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


def _summaries() -> Any:
    to = deliveries.alias()
    counts = (
        select(
            to.c.message_id,
            *(
                func.sum(case((to.c.state == state.value, 1), else_=0)).label(f"to_{state}")
                for state in DeliveryState
            ),
        )
        .where(to.c.about == 0)
        .group_by(to.c.message_id)
        .subquery()
    )
    columns = (counts.c[f"to_{state}"] for state in DeliveryState)
    return select(voicemails, *columns).outerjoin(counts, counts.c.message_id == voicemails.c.message_id)


@contextmanager
def _reading(row: Row[Any]) -> Iterator[None]:
    """Say which row it is that another version, or another program, has written."""
    try:
        yield
    except (ValueError, TypeError, OverflowError) as error:
        raise JournalError(f"message {row.message_id}: its row cannot be read: {error}") from error


def _summary(row: Row[Any]) -> Summary:
    with _reading(row):
        return Summary(
            message_id=row.message_id,
            call=call_of_row(row),
            state=row.state,
            result=row.result,
            duration_ms=row.duration_ms,
            hearing=hearing_of_row(row),
            forgotten_at=_moment(row.forgotten_at),
            deliveries={
                state.value: count for state in DeliveryState if (count := getattr(row, f"to_{state}"))
            },
        )


def _moment(ms: int | None) -> datetime | None:
    return None if ms is None else from_ms(ms)
