"""Which deliveries are the next to be sent: what is due, and what may not be sent beside others."""

from collections.abc import Collection
from datetime import datetime, timedelta
from itertools import chain, zip_longest

from sqlalchemy import Connection, and_, exists, not_, or_, select

from esl_voicemail.journal.schema import deliveries, to_ms
from esl_voicemail.model import DeliveryState

CRASHES_AT_MOST = 3
# Further ahead than any schedule goes: such a due time was written by a clock that was set back since.
_NOT_OURS = timedelta(hours=3)
# How long others may go first before one that has to be sent alone.
_SUSPECT_PATIENCE = timedelta(minutes=1)
_SUSPECT = deliveries.c.crashes >= CRASHES_AT_MOST - 1


def suspects(db: Connection, under_way: Collection[int], now: datetime) -> bool:
    """Whether something that crashed the service twice is being sent, or has waited for long to be.

    Nothing may share its fate; and if others came in between for ever, it would never go.
    """
    sent = and_(deliveries.c.delivery_id.in_(under_way), _SUSPECT)
    waits = and_(
        deliveries.c.state == DeliveryState.QUEUED.value,
        _SUSPECT,
        deliveries.c.due_at <= to_ms(now - _SUSPECT_PATIENCE),
    )
    return bool(under_way) and bool(db.execute(select(exists().where(or_(sent, waits)))).scalar())


def alone(db: Connection, under_way: Collection[int]) -> list[int]:
    """Return one that crashed the service twice, or was there when it crashed, when nothing else is sent."""
    if under_way:
        return []
    suspect = and_(deliveries.c.state == DeliveryState.QUEUED.value, _SUSPECT)
    found = select(deliveries.c.delivery_id).where(suspect).order_by(deliveries.c.delivery_id).limit(1)
    return list(db.execute(found).scalars().all())


def due(
    db: Connection,
    most: int,
    now: datetime,
    under_way: Collection[int],
    *,
    newest_first: bool,
    by_due: bool,
) -> list[int]:
    """After an outage the oldest has waited longest, and the newest is what somebody waits for now."""
    ready = and_(
        deliveries.c.state == DeliveryState.QUEUED.value,
        or_(deliveries.c.due_at <= to_ms(now), deliveries.c.due_at > to_ms(now + _NOT_OURS)),
        deliveries.c.delivery_id.not_in(under_way),
        not_(_SUSPECT),
    )
    if not most or not db.execute(select(exists().where(ready))).scalar():
        return []
    found = select(deliveries.c.delivery_id).where(ready).limit(most)
    age, number = deliveries.c.queued_at, deliveries.c.delivery_id
    oldest = db.execute(found.order_by(deliveries.c.due_at if by_due else age, number)).scalars().all()
    if by_due:
        return list(oldest)
    newest = db.execute(found.order_by(age.desc(), number.desc())).scalars().all()
    ends = (newest, oldest) if newest_first else (oldest, newest)
    in_turn = [one for one in chain.from_iterable(zip_longest(*ends)) if one is not None]
    return list(dict.fromkeys(in_turn))[:most]
