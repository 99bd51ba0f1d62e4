"""What a person changes in the journal, beside a running service or without one.

What is asked of one message is one transaction. The service looks at its queue every few seconds and finds
what was changed. The schema is left as it is.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from sqlalchemy import ColumnElement, Connection, Row, and_, func, literal, or_, select, update
from sqlalchemy.exc import SQLAlchemyError

from esl_voicemail.errors import JournalError
from esl_voicemail.journal import forgetting
from esl_voicemail.journal.engine import (
    empty_log,
    expect_current,
    expect_one,
    open_engine,
    refused,
    rewrite_owed,
    url_of,
)
from esl_voicemail.journal.forgetting import Mail, Remembered
from esl_voicemail.journal.queue import enqueue
from esl_voicemail.journal.rows import row_of_recording
from esl_voicemail.journal.schema import deliveries, from_ms, to_ms, voicemails
from esl_voicemail.model import EMPTY, CallResult, DeliveryState, EndedBy, Recording, VoicemailState

# The service waits for each transaction to end, and needs its turn between two.
_AT_ONCE, _PAUSE_SECONDS = 100, 0.05
_TRIES, _BETWEEN_TRIES_SECONDS = 8, 0.2

_QUEUED, _SENDING, _HELD = DeliveryState.QUEUED, DeliveryState.SENDING, DeliveryState.HELD
_BOUNCED, _EXPIRED, _DROPPED = DeliveryState.BOUNCED, DeliveryState.EXPIRED, DeliveryState.DROPPED

# Under its Message-ID a mail program would take the message for the notice again. One that is being sent
# ends as what it was: the attempt that is marked is not the newest any more.
_INSTEAD_OF_A_NOTICE = {
    "state": _QUEUED.value,
    "attempts": deliveries.c.attempts + 1,
    "mail_domain": literal("message.") + deliveries.c.mail_domain,
    "code": None,
    "reply": None,
}


@dataclass(frozen=True, slots=True)
class Verb:
    """What may be asked of a message's mails: from which states it leads, and where to."""

    name: str
    starts: frozenset[DeliveryState]
    end: DeliveryState


RETRY = Verb("retry", frozenset({_QUEUED, _BOUNCED, _EXPIRED, _HELD, _DROPPED}), _QUEUED)
HOLD = Verb("hold", frozenset({_QUEUED, _SENDING}), _HELD)
RELEASE = Verb("release", frozenset({_HELD}), _QUEUED)
DROP = Verb("drop", frozenset({_QUEUED, _SENDING, _HELD, _BOUNCED, _EXPIRED}), _DROPPED)


@dataclass(frozen=True, slots=True)
class Changed:
    """One mail as it was and as it is now; `after` is None where it was left alone.

    `about` is, of a report to the operator, who did not get the message. `left` says why it was left alone
    where its state does not.
    """

    message_id: str
    recipient: str
    about: str | None
    before: DeliveryState
    after: DeliveryState | None
    left: str = ""


class JournalEditor:
    """A storage directory's journal, open for a person's changes.

    JournalError when there is none, or it is another version's; StorageBusyError when it stays locked.
    """

    def __init__(self, directory: Path, recordings: Path) -> None:
        expect_one(directory)
        self._url = url_of(directory)
        self._engine = open_engine(self._url, writing=True)
        self._recordings = recordings
        with self._refusals():
            expect_current(self._engine)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Let the database go."""
        self._engine.dispose()

    def change(self, name: str, verb: Verb, now: datetime, to: str | None = None) -> list[Changed] | None:
        """Do as asked with the mails of a message, or of the newest of a call's; None for an unknown name.

        `to` narrows it to one recipient. JournalError when there is no such mail, or nothing to send.
        """
        with self._transaction() as db:
            call = db.execute(_named(name)).first()
            if call is None:
                return None
            mails = db.execute(_mails(deliveries.c.message_id == call.message_id)).all()
            if not mails:
                raise JournalError(f"message {call.message_id}: there are no mails of it")
            wanted = [mail for mail in mails if to is None or mail.recipient.lower() == to.lower()]
            if not wanted:
                known = ", ".join(dict.fromkeys(mail.recipient for mail in mails))
                raise JournalError(f"message {call.message_id}: no mail to {to!r}; there are {known}")
            unsendable = self._unsendable(call) if verb.end is _QUEUED else ""
            if unsendable:
                raise JournalError(f"message {call.message_id}: {unsendable}")
            return [_change(db, mail, verb, now) for mail in wanted]

    def keep(self, message_id: str, recording: Recording, now: datetime) -> list[str]:
        """Make a message of a call that was discarded with its recording; return who is mailed it.

        JournalError when there is no such call any more.
        """
        discarded = and_(
            voicemails.c.message_id == message_id,
            voicemails.c.state == VoicemailState.DISCARDED.value,
            voicemails.c.result.in_([result.value for result in EMPTY]),
            voicemails.c.audio_removed_at.is_(None),
        )
        with self._transaction() as db:
            call = db.execute(select(voicemails).where(discarded)).first()
            if call is None:
                raise JournalError(f"message {message_id}: is none that was discarded, or not any more")
            kept = row_of_recording(recording, EndedBy(call.ended_by) if call.ended_by else None)
            kept |= {"state": VoicemailState.KEPT.value, "result": CallResult.RECORDED.value}
            db.execute(update(voicemails).where(discarded).values(**kept))
            recipients: list[str] = json.loads(call.recipients)
            of_call = and_(deliveries.c.message_id == message_id, deliveries.c.about == 0)
            noticed = set(db.execute(select(deliveries.c.recipient).where(of_call)).scalars())
            db.execute(update(deliveries).where(of_call).values(**_INSTEAD_OF_A_NOTICE, **_queued(now)))
            enqueue(db, message_id, [to for to in recipients if to not in noticed], now)
            return list(dict.fromkeys([*recipients, *noticed]))

    def change_all(
        self, state: DeliveryState, verb: Verb, now: datetime, to: str | None = None
    ) -> tuple[int, Iterator[Changed]]:
        """Return how many mails stand there, and each as it is done with as asked, oldest first.

        They are changed as they are gone through, some hundred in a transaction. `to` narrows it to one
        recipient. What has nothing left to send is left alone.
        """
        there = deliveries.c.state == state.value
        if to is not None:
            there = and_(there, func.lower(deliveries.c.recipient) == to.lower())
        with self._transaction() as db:
            found = select(deliveries.c.delivery_id).where(there).order_by(deliveries.c.delivery_id)
            ids = db.execute(found).scalars().all()
        # Whatever happens to one in the meantime, a person or the service had a reason for it.
        return len(ids), self._change_each(ids, replace(verb, starts=frozenset({state})), now)

    def _change_each(self, ids: Sequence[int], verb: Verb, now: datetime) -> Iterator[Changed]:
        for start in range(0, len(ids), _AT_ONCE):
            time.sleep(_PAUSE_SECONDS if start else 0)
            with self._transaction() as db:
                changed = self._change_some(db, ids[start : start + _AT_ONCE], verb, now)
            yield from changed

    def _change_some(self, db: Connection, ids: Sequence[int], verb: Verb, now: datetime) -> list[Changed]:
        mails = db.execute(_mails(deliveries.c.delivery_id.in_(ids))).all()
        wanted = voicemails.c.message_id.in_({mail.message_id for mail in mails})
        unsendable = {
            call.message_id: self._unsendable(call) if verb.end is _QUEUED else ""
            for call in db.execute(select(voicemails).where(wanted))
        }
        return [_change(db, mail, verb, now, unsendable[mail.message_id]) for mail in mails]

    def remembered(self) -> list[Remembered]:
        """Return the calls whose number is known, oldest first."""
        # Read beside the service's writing: of a large journal this takes its time.
        engine = open_engine(self._url, writing=False)
        with self._refusals(), closing(engine.connect()) as db:
            return forgetting.remembered(db)

    def drop(self, message_ids: Iterable[str], now: datetime) -> Mapping[str, list[Mail]]:
        """Settle every mail of these calls that is not final; return where each call's stood before."""
        with self._transaction() as db:
            return forgetting.drop(db, message_ids, now)

    def forget(self, message_id: str, now: datetime) -> None:
        """Remove who called from a call's row; call it after the unlink of its audio."""
        with self._transaction() as db:
            forgetting.forget(db, message_id, now)

    def leave_no_trace(self) -> str:
        """Empty the write-ahead log, which repeats what rows said before; return why it cannot be, if so.

        Others read it for a moment all the time; for longer only a backup does, or a person.
        """
        for _ in range(_TRIES):
            if empty_log(self._engine):
                break
            time.sleep(_BETWEEN_TRIES_SECONDS)
        else:
            return (
                "the journal's write-ahead log, which is read just now, still holds what was erased; "
                "run it again to empty it"
            )
        if rewrite_owed(self._engine):
            return (
                "the journal's file still holds what a first version removed; make room on its disk for a "
                "second copy and restart the service, which writes it anew"
            )
        return ""

    def _unsendable(self, call: Row[Any]) -> str:
        """Return why nothing of a call can be sent any more; empty when it can."""
        if call.forgotten_at is not None:
            forgotten_at = from_ms(call.forgotten_at).isoformat()
            return f"was forgotten at {forgotten_at}; there is nothing left to send"
        if call.audio_removed_at is not None:
            return "its retention is over; nothing is left to send"
        path = self._recordings / call.recording_file
        if call.state == VoicemailState.KEPT.value and not path.is_file():
            return f"its recording {path} is gone"
        return ""

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._refusals(), self._engine.begin() as db:
            yield db

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            raise refused(self._engine, "cannot be written", error) from error


def _named(name: str) -> Any:
    """The row of a message by its id, or of the newest of a call's by the call's UUID."""
    return (
        select(voicemails)
        .where(or_(voicemails.c.message_id == name.upper(), voicemails.c.call_id == name))
        .order_by(voicemails.c.arrived_at.desc())
        .limit(1)
    )


def _mails(wanted: ColumnElement[bool]) -> Any:
    """Mails, each report with whom it is about."""
    failed = deliveries.alias()
    return (
        select(deliveries, failed.c.recipient.label("failed_recipient"))
        .outerjoin(failed, failed.c.delivery_id == deliveries.c.about)
        .where(wanted)
        .order_by(deliveries.c.delivery_id)
    )


def _queued(now: datetime) -> dict[str, object]:
    return {"queued_at": to_ms(now), "due_at": to_ms(now), "crashes": 0, "finished_at": None}


def _change(db: Connection, mail: Row[Any], verb: Verb, now: datetime, unsendable: str = "") -> Changed:
    before = DeliveryState(mail.state)
    known = mail.message_id, mail.recipient, mail.failed_recipient, before
    if unsendable or before not in verb.starts:
        return Changed(*known, None, unsendable)
    if verb.end is _QUEUED:
        # What the server said last stays until the next try; the time to give up is counted anew.
        values = _queued(now)
    else:
        values = {"code": None, "reply": f"{verb.end} by hand", "finished_at": to_ms(now)}
    db.execute(
        update(deliveries)
        .where(deliveries.c.delivery_id == mail.delivery_id)
        .values(state=verb.end.value, **values)
    )
    return Changed(*known, verb.end)
