"""What of the queue waits, and since when: for a scrape, so found by index, whatever the journal's size.

A caller's mail holds his message, or the notice that he left none. A report to the operator is no such mail,
nor is the probe's.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, func, select

from esl_voicemail.journal.schema import attempts, deliveries, from_ms, to_ms, voicemails
from esl_voicemail.model import PROBE, Backlog, DeliveryState

_WAITING = (DeliveryState.QUEUED, DeliveryState.SENDING)
# What is held waits for a person, and what is dropped was one's wish.
_NOT_ACCEPTED = (*_WAITING, DeliveryState.BOUNCED, DeliveryState.EXPIRED)
_COUNTED = (*_WAITING, DeliveryState.HELD)
_CALLER_S = and_(deliveries.c.about == 0, voicemails.c.mailbox != PROBE)


def backlog(db: Connection, accepted_at: datetime | None) -> Backlog:
    """Count what is not final yet, and what is held; `accepted_at` is when a caller's mail last was."""
    states = [state.value for state in _COUNTED]
    counted = select(deliveries.c.state, func.count()).where(deliveries.c.state.in_(states))
    counts = {row[0]: row[1] for row in db.execute(counted.group_by(deliveries.c.state))}
    since = 0 if accepted_at is None else to_ms(accepted_at)
    oldest = [row.closed_at for state in _WAITING if (row := _first(db, state, 0))]
    stalled = [row.queued_at for state in _NOT_ACCEPTED if (row := _first(db, state, since))]
    return Backlog(
        dict.fromkeys(states, 0) | counts,
        from_ms(min(oldest)) if oldest else None,
        from_ms(min(stalled)) if stalled else None,
    )


def last_accepted(db: Connection) -> datetime | None:
    """Return when a caller's mail was last accepted, or None; looks back from the newest try."""
    accepted = (
        select(attempts.c.ended_at)
        .join(deliveries, deliveries.c.delivery_id == attempts.c.delivery_id)
        .join(voicemails, voicemails.c.message_id == deliveries.c.message_id)
        .where(_CALLER_S, attempts.c.result == DeliveryState.DELIVERED.value)
        .order_by(attempts.c.attempt_id.desc())
        .limit(1)
    )
    found = db.execute(accepted).scalar()
    return None if found is None else from_ms(found)


def _first(db: Connection, state: DeliveryState, since: int) -> Any:
    """Return the first that was queued after a moment and stands there."""
    found = (
        select(deliveries.c.queued_at, voicemails.c.closed_at)
        .join(voicemails, voicemails.c.message_id == deliveries.c.message_id)
        .where(_CALLER_S, deliveries.c.state == state.value, deliveries.c.queued_at > since)
    )
    return db.execute(found.order_by(deliveries.c.queued_at).limit(1)).first()
