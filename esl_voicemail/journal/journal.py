"""What the service writes into the journal and asks of it, each verb one transaction.

A state that is final stays final: every update names the state it starts from.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, and_, exists, func, insert, not_, select, update

from esl_voicemail.errors import JournalError
from esl_voicemail.journal.engine import migrate, open_engine
from esl_voicemail.journal.rows import call_of_row, row_of_call, voicemail_of_row
from esl_voicemail.journal.schema import attempts, deliveries, from_ms, to_ms, voicemails
from esl_voicemail.journal.writer import Writer
from esl_voicemail.model import (
    Attempt,
    Backlog,
    Bounced,
    Call,
    CallResult,
    Deferred,
    Delivered,
    DeliveryState,
    EndedBy,
    Expired,
    Held,
    Recording,
    Verdict,
    VoicemailState,
)

CRASHES_AT_MOST = 3

_FINAL: dict[type, DeliveryState] = {
    Delivered: DeliveryState.DELIVERED,
    Bounced: DeliveryState.BOUNCED,
    Expired: DeliveryState.EXPIRED,
    Held: DeliveryState.HELD,
}


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A call whose row is open: in progress, or left behind by a crash."""

    message_id: str
    call: Call
    recipients: tuple[str, ...]
    recording_file: str


class Journal:
    """The running service's journal; every call waits for the disk, none holds the event loop."""

    def __init__(self, url: str, recordings: Path) -> None:
        engine = open_engine(url, writing=True)
        migrate(engine)
        self._writer = Writer(engine)
        self._recordings = recordings

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
        """Write a call's row, open, with whom its message will be for, should we not live to see it."""
        row = {
            "message_id": message_id,
            "state": VoicemailState.OPEN.value,
            "recipients": json.dumps(list(recipients)),
            "recording_file": recording_file,
        }
        statement = insert(voicemails).values(**row, **row_of_call(call))
        self._writer.write(lambda db: (db.execute(statement), None)[1], timeout_seconds)

    def keep(
        self,
        message_id: str,
        recording: Recording,
        ended_by: EndedBy,
        recipients: Sequence[str],
        *,
        now: datetime,
        timeout_seconds: float | None = None,
    ) -> bool:
        """Turn an open call into a kept message with one queued delivery a recipient.

        Returns whether this changed anything: a call that is closed already stays as it is.
        """

        def work(db: Connection) -> bool:
            changes = {
                "recording_file": recording.path.name,
                "duration_ms": recording.duration_ms,
                "size": recording.size,
                "sha256": recording.sha256,
                "repaired": recording.repaired,
                "ended_by": ended_by.value,
                "result": CallResult.RECORDED.value,
            }
            if not _close(db, message_id, VoicemailState.KEPT, now, changes):
                return False
            row = {
                "message_id": message_id,
                "state": DeliveryState.QUEUED.value,
                "attempts": 0,
                "crashes": 0,
                "queued_at": to_ms(now),
                "due_at": to_ms(now),
            }
            db.execute(insert(deliveries), [{**row, "recipient": recipient} for recipient in recipients])
            return True

        return self._writer.write(work, timeout_seconds)

    def discard(self, message_id: str, why: CallResult, now: datetime) -> bool:
        """Close an open call that left no message; its trace stays."""
        return self._writer.write(
            lambda db: _close(db, message_id, VoicemailState.DISCARDED, now, {"result": why.value})
        )

    def lose(self, message_id: str, now: datetime) -> bool:
        """Close an open call whose recording cannot be read."""
        changes = {"result": CallResult.RECORD_FAILED.value}
        return self._writer.write(lambda db: _close(db, message_id, VoicemailState.LOST, now, changes))

    def open_calls(self) -> list[OpenCall]:
        """Return the calls whose rows are open, oldest first."""
        statement = select(voicemails).where(voicemails.c.state == VoicemailState.OPEN.value)
        statement = statement.order_by(voicemails.c.arrived_at)
        rows = self._writer.write(lambda db: db.execute(statement).all())
        return [
            OpenCall(row.message_id, call_of_row(row), tuple(json.loads(row.recipients)), row.recording_file)
            for row in rows
        ]

    def known(self, message_ids: Sequence[str]) -> set[str]:
        """Return which of these messages have a row; ask for a few hundred at a time."""
        statement = select(voicemails.c.message_id).where(voicemails.c.message_id.in_(message_ids))
        return set(self._writer.write(lambda db: db.execute(statement).scalars().all()))

    def claim(self, most: int, now: datetime, lease: timedelta) -> list[Attempt]:
        """Lease the deliveries that are due, oldest due first, and count the attempt."""

        def work(db: Connection) -> list[Attempt]:
            due = (
                select(deliveries, voicemails)
                .join(voicemails, voicemails.c.message_id == deliveries.c.message_id)
                .where(deliveries.c.state == DeliveryState.QUEUED.value, deliveries.c.due_at <= to_ms(now))
                .order_by(deliveries.c.due_at)
                .limit(most)
                .with_for_update(skip_locked=True, of=deliveries)
            )
            rows = db.execute(due).all()
            until = now + lease
            db.execute(
                update(deliveries)
                .where(deliveries.c.delivery_id.in_([row.delivery_id for row in rows]))
                .values(
                    state=DeliveryState.SENDING.value,
                    lease_until=to_ms(until),
                    attempts=deliveries.c.attempts + 1,
                )
            )
            return [
                Attempt(
                    delivery_id=row.delivery_id,
                    voicemail=voicemail_of_row(row, self._recordings),
                    recipient=row.recipient,
                    number=row.attempts + 1,
                    queued_at=from_ms(row.queued_at),
                    lease=until,
                )
                for row in rows
            ]

        return self._writer.write(work)

    def next_due(self) -> datetime | None:
        """Return when the next queued delivery is due, or None when nothing is queued."""
        statement = select(func.min(deliveries.c.due_at)).where(
            deliveries.c.state == DeliveryState.QUEUED.value
        )
        due = self._writer.write(lambda db: db.execute(statement).scalar())
        return None if due is None else from_ms(due)

    def mark(
        self,
        attempt: Attempt,
        verdict: Verdict,
        now: datetime,
        duration_ms: int,
        due_at: datetime | None = None,
    ) -> bool:
        """Record an attempt and its verdict; a Deferred one needs `due_at`, when to try again.

        Returns whether the delivery's state changed: not when the lease was lost meanwhile.
        """
        state = _FINAL.get(type(verdict), DeliveryState.QUEUED)
        if isinstance(verdict, Deferred) and due_at is None:
            raise JournalError("a deferred delivery needs the time of its next try")

        def work(db: Connection) -> bool:
            changes = {
                "state": state.value,
                "code": verdict.code,
                "reply": verdict.reply,
                "lease_until": None,
            }
            if due_at is not None and state is DeliveryState.QUEUED:
                changes |= {"due_at": to_ms(due_at), "crashes": 0}
            else:
                changes["finished_at"] = to_ms(now)
            changed = db.execute(
                update(deliveries)
                .where(
                    deliveries.c.delivery_id == attempt.delivery_id,
                    deliveries.c.state == DeliveryState.SENDING.value,
                    deliveries.c.attempts == attempt.number,
                )
                .values(**changes)
            ).rowcount
            result = "deferred" if state is DeliveryState.QUEUED else state.value
            db.execute(
                insert(attempts).values(
                    delivery_id=attempt.delivery_id,
                    number=attempt.number,
                    ended_at=to_ms(now),
                    duration_ms=duration_ms,
                    result=result,
                    code=verdict.code,
                    reply=verdict.reply,
                )
            )
            return bool(changed)

        return self._writer.write(work)

    def release_leases(self, now: datetime, *, everyone: bool) -> tuple[int, int]:
        """Queue again what was being sent when its sender died; after three crashes hold it.

        `everyone` voids leases that still run, as a server may that has just locked the storage. Returns
        how many were queued and how many held.
        """

        def work(db: Connection) -> tuple[int, int]:
            dead = deliveries.c.state == DeliveryState.SENDING.value
            if not everyone:
                dead = and_(dead, deliveries.c.lease_until < to_ms(now))
            crashed_often = deliveries.c.crashes + 1 >= CRASHES_AT_MOST
            held = db.execute(
                update(deliveries)
                .where(dead, crashed_often)
                .values(
                    state=DeliveryState.HELD.value,
                    crashes=deliveries.c.crashes + 1,
                    reply=f"the service crashed {CRASHES_AT_MOST} times while sending this",
                    lease_until=None,
                    finished_at=to_ms(now),
                )
            ).rowcount
            queued = db.execute(
                update(deliveries)
                .where(dead)
                .values(
                    state=DeliveryState.QUEUED.value,
                    crashes=deliveries.c.crashes + 1,
                    due_at=to_ms(now),
                    lease_until=None,
                )
            ).rowcount
            return queued, held

        return self._writer.write(work)

    def past_retention(self, before: datetime, most: int = 100) -> list[tuple[str, Path]]:
        """Return messages whose every recipient was final before that time and whose audio is still kept."""
        later = deliveries.alias()
        pending = exists().where(
            later.c.message_id == voicemails.c.message_id,
            (later.c.finished_at.is_(None))
            | (later.c.finished_at >= to_ms(before))
            | (later.c.state == DeliveryState.HELD.value),
        )
        statement = (
            select(voicemails.c.message_id, voicemails.c.recording_file)
            .where(
                voicemails.c.state.in_([VoicemailState.KEPT.value, VoicemailState.DISCARDED.value]),
                voicemails.c.closed_at < to_ms(before),
                voicemails.c.audio_removed_at.is_(None),
                not_(pending),
            )
            .limit(most)
        )
        rows = self._writer.write(lambda db: db.execute(statement).all())
        return [(row.message_id, self._recordings / row.recording_file) for row in rows]

    def audio_removed(self, message_id: str, now: datetime) -> None:
        """Note that a message's audio is gone; call it after the unlink, which may be repeated."""
        statement = update(voicemails).where(voicemails.c.message_id == message_id)
        statement = statement.values(audio_removed_at=to_ms(now))
        self._writer.write(lambda db: (db.execute(statement), None)[1])

    def backlog(self) -> Backlog:
        """Count what is not final yet, and what is held; read by index, whatever the journal's size."""
        unfinished = [DeliveryState.QUEUED.value, DeliveryState.SENDING.value, DeliveryState.HELD.value]
        statement = (
            select(deliveries.c.state, func.count(), func.min(deliveries.c.queued_at))
            .where(deliveries.c.state.in_(unfinished))
            .group_by(deliveries.c.state)
        )
        rows = self._writer.write(lambda db: db.execute(statement).all())
        counts = dict.fromkeys(unfinished, 0) | {row[0]: row[1] for row in rows}
        ages = [row[2] for row in rows if row[0] != DeliveryState.HELD.value]
        return Backlog(counts, from_ms(min(ages)) if ages else None)


def _close(
    db: Connection, message_id: str, state: VoicemailState, now: datetime, changes: Mapping[str, object]
) -> bool:
    """Give an open row its one fate; False when it has one already, JournalError when there is no row."""
    done = db.execute(
        update(voicemails)
        .where(voicemails.c.message_id == message_id, voicemails.c.state == VoicemailState.OPEN.value)
        .values(state=state.value, closed_at=to_ms(now), **changes)
    ).rowcount
    if not done and not db.execute(select(exists().where(voicemails.c.message_id == message_id))).scalar():
        raise JournalError(f"no call {message_id} in the journal")
    return bool(done)
