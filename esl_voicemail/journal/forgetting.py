"""What goes when its time is over, or when a caller asks: who called. That somebody called stays.

The row says that the audio goes, the audio goes, then the row forgets: killed in between, it still knows
what to do again.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    exists,
    func,
    not_,
    or_,
    select,
    true,
    update,
)

from esl_voicemail.journal.schema import attempts, deliveries, from_ms, to_ms, voicemails
from esl_voicemail.model import DeliveryState, VoicemailState

_UNSETTLED = (DeliveryState.QUEUED, DeliveryState.SENDING, DeliveryState.HELD)


@dataclass(frozen=True, slots=True)
class Kept:
    """A closed call that is not forgotten yet, and the name of its recording, which may be gone."""

    message_id: str
    recording_file: str


@dataclass(frozen=True, slots=True)
class Remembered:
    """A call whose row still says which number called, or which one its caller left."""

    message_id: str
    mailbox: str
    number: str
    callback: str
    arrived_at: datetime
    is_open: bool
    recording_file: str


@dataclass(frozen=True, slots=True)
class Mail:
    """Where one mail of a call stood when it was looked at; `is_report` tells one to the operator."""

    recipient: str
    state: DeliveryState
    is_report: bool


def past_retention(
    db: Connection, before: datetime, but: Collection[str], mailbox: str | None, most: int
) -> list[Kept]:
    """Return calls closed, and their every recipient final, before that time; held mails keep theirs."""
    # Said in the statement itself, as only so the probe's own index is found.
    one: ColumnElement[str] = bindparam("mailbox", mailbox, literal_execute=True)
    whose = true() if mailbox is None else voicemails.c.mailbox == one
    statement = (
        select(voicemails.c.message_id, voicemails.c.recording_file)
        .where(_past(before), whose, voicemails.c.message_id.not_in(but))
        .order_by(voicemails.c.closed_at)
        .limit(most)
    )
    return [Kept(row.message_id, row.recording_file) for row in db.execute(statement)]


def give_up(db: Connection, message_id: str, before: datetime, now: datetime) -> bool:
    """Say that a call's audio goes now, so that nobody queues its mails again; False when somebody has."""
    return bool(
        db.execute(
            update(voicemails)
            .where(voicemails.c.message_id == message_id, _past(before))
            .values(audio_removed_at=func.coalesce(voicemails.c.audio_removed_at, to_ms(now)))
        ).rowcount
    )


def _past(before: datetime) -> ColumnElement[bool]:
    pending = exists().where(
        deliveries.c.message_id == voicemails.c.message_id,
        or_(deliveries.c.state.in_(_UNSETTLED), deliveries.c.finished_at >= to_ms(before)),
    )
    return and_(
        voicemails.c.forgotten_at.is_(None),
        voicemails.c.closed_at < to_ms(before),
        voicemails.c.state != VoicemailState.OPEN.value,
        not_(pending),
    )


def remembered(db: Connection) -> list[Remembered]:
    """Return the calls whose number is known, oldest first."""
    known = or_(voicemails.c.caller_number != "", voicemails.c.callback != "")
    statement = select(voicemails).where(known).order_by(voicemails.c.arrived_at)
    return [
        Remembered(
            row.message_id,
            row.mailbox,
            row.caller_number,
            row.callback,
            from_ms(row.arrived_at),
            row.state == VoicemailState.OPEN.value,
            row.recording_file,
        )
        for row in db.execute(statement)
    ]


def drop(db: Connection, message_ids: Iterable[str], now: datetime) -> dict[str, list[Mail]]:
    """Settle every mail of these calls that is not final, so that none is sent any more.

    Returns where the mails of each call stood before.
    """
    found: dict[str, list[Mail]] = {}
    for message_id in message_ids:
        of_call = deliveries.c.message_id == message_id
        rows = db.execute(select(deliveries).where(of_call).order_by(deliveries.c.delivery_id))
        found[message_id] = [
            Mail(row.recipient, DeliveryState(row.state), is_report=row.about != 0) for row in rows
        ]
        db.execute(
            update(deliveries)
            .where(of_call, deliveries.c.state.in_(_UNSETTLED))
            .values(
                state=DeliveryState.DROPPED.value,
                finished_at=to_ms(now),
                code=None,
                reply="the caller was erased",
            )
        )
    return found


def forget(db: Connection, message_id: str, now: datetime) -> None:
    """Blank all that says who called; what happened, when and to which mailbox stays.

    A server's words may quote the caller, so of them only the code stays.
    """
    closed = db.execute(
        update(voicemails)
        .where(voicemails.c.message_id == message_id, voicemails.c.state != VoicemailState.OPEN.value)
        .values(
            caller_number="",
            caller_name="",
            reference="",
            callback="",
            typed="",
            transcript=None,
            audio_removed_at=func.coalesce(voicemails.c.audio_removed_at, to_ms(now)),
            forgotten_at=to_ms(now),
        )
    ).rowcount
    if not closed:
        return
    mails = select(deliveries.c.delivery_id).where(deliveries.c.message_id == message_id)
    db.execute(update(attempts).where(attempts.c.delivery_id.in_(mails)).values(reply=""))
    db.execute(update(deliveries).where(deliveries.c.message_id == message_id).values(reply=""))
