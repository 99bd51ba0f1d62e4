"""What goes when its time is over, or when a caller asks: who called. That somebody called stays.

The audio goes first, then the row forgets: killed in between, the row still knows what to do again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, exists, not_, or_, select, update

from esl_voicemail.journal.schema import deliveries, to_ms, voicemails
from esl_voicemail.model import DeliveryState, VoicemailState

_UNSETTLED = (DeliveryState.QUEUED, DeliveryState.SENDING, DeliveryState.HELD)


@dataclass(frozen=True, slots=True)
class Kept:
    """A closed call that is not forgotten yet, and the name of its recording, which may be gone."""

    message_id: str
    recording_file: str


def past_retention(db: Connection, before: datetime, most: int) -> list[Kept]:
    """Return calls closed, and their every recipient final, before that time; held mails keep theirs."""
    pending = exists().where(
        deliveries.c.message_id == voicemails.c.message_id,
        or_(deliveries.c.state.in_(_UNSETTLED), deliveries.c.finished_at >= to_ms(before)),
    )
    statement = (
        select(voicemails.c.message_id, voicemails.c.recording_file)
        .where(
            voicemails.c.forgotten_at.is_(None),
            voicemails.c.closed_at < to_ms(before),
            voicemails.c.state != VoicemailState.OPEN.value,
            not_(pending),
        )
        .order_by(voicemails.c.closed_at)
        .limit(most)
    )
    return [Kept(row.message_id, row.recording_file) for row in db.execute(statement)]


def drop(db: Connection, message_ids: Sequence[str], now: datetime) -> int:
    """Settle every mail of these calls that is not final, so that none is sent any more; return how many."""
    return db.execute(
        update(deliveries)
        .where(deliveries.c.message_id.in_(message_ids), deliveries.c.state.in_(_UNSETTLED))
        .values(state=DeliveryState.DROPPED.value, finished_at=to_ms(now), reply="the caller was erased")
    ).rowcount


def forget(db: Connection, message_id: str, now: datetime) -> None:
    """Blank all that says who called; what happened, when and to which mailbox stays."""
    db.execute(
        update(voicemails)
        .where(voicemails.c.message_id == message_id, voicemails.c.state != VoicemailState.OPEN.value)
        .values(
            caller_number="",
            caller_name="",
            reference="",
            audio_removed_at=to_ms(now),
            forgotten_at=to_ms(now),
        )
    )
