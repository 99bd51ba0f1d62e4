"""Which deliveries are the next to be sent: what is due, and what may not be sent beside others."""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from itertools import chain, zip_longest
from operator import attrgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, bindparam, literal_column, not_, or_, select, union_all

from esl_voicemail.journal.schema import deliveries, to_ms
from esl_voicemail.journal.statement import Statement
from esl_voicemail.model import DeliveryState

CRASHES_AT_MOST = 3
# Further ahead than any schedule goes: such a due time was written by a clock that was set back since.
_NOT_OURS = timedelta(hours=3)
# How long others may go first before one that has to be sent alone.
_SUSPECT_PATIENCE = timedelta(minutes=1)
# As the index of these says it, word for word.
_SUSPECT = deliveries.c.crashes >= literal_column(str(CRASHES_AT_MOST - 1))
# Held or dropped by hand, it may still be under way.
_NOT_FINAL = (DeliveryState.QUEUED, DeliveryState.SENDING, DeliveryState.HELD, DeliveryState.DROPPED)
_SUSPECTS = Statement(
    select(deliveries.c.delivery_id, deliveries.c.state, deliveries.c.due_at)
    .where(_SUSPECT, or_(*(deliveries.c.state == state.value for state in _NOT_FINAL)))
    .order_by(deliveries.c.delivery_id)
)

_QUEUED = and_(deliveries.c.state == DeliveryState.QUEUED.value, not_(_SUSPECT))
_REACHED, _NEVER_OURS = deliveries.c.due_at <= bindparam("now"), deliveries.c.due_at > bindparam("not_ours")
_AGE, _DUE, _NUMBER = deliveries.c.queued_at, deliveries.c.due_at, deliveries.c.delivery_id
_FOUND = select(_NUMBER, _AGE, _DUE).where(_QUEUED)
# One arm a range of the index: both in one condition, whatever waits for its time would be read as well.
_SOME = Statement(
    union_all(_FOUND.where(_REACHED), _FOUND.where(_NEVER_OURS)).limit(bindparam("most")),
)
_READY = _FOUND.where(or_(_REACHED, _NEVER_OURS)).limit(bindparam("most"))


class _Order(NamedTuple):
    """An order of deliveries, for the database where more are due than are wanted, and else for us."""

    statement: Statement
    by: Callable[[Any], Any]
    backwards: bool = False


_DUE_FIRST = _Order(Statement(_READY.order_by(_DUE, _NUMBER)), attrgetter("due_at", "delivery_id"))
_BY_AGE = attrgetter("queued_at", "delivery_id")
_OLDEST = _Order(Statement(_READY.order_by(_AGE, _NUMBER)), _BY_AGE)
_NEWEST = _Order(Statement(_READY.order_by(_AGE.desc(), _NUMBER.desc())), _BY_AGE, backwards=True)


def suspects(db: Connection) -> Sequence[Any]:
    """Return what crashed the service twice, or was there when it did, and is not final, the oldest first."""
    return _SUSPECTS.rows(db)


def alone(found: Iterable[Any], under_way: Collection[int]) -> list[int]:
    """Return the suspect that is the next to be sent, which it is when nothing else is."""
    if under_way:
        return []
    return [one.delivery_id for one in found if one.state == DeliveryState.QUEUED][:1]


def in_the_way(found: Iterable[Any], under_way: Collection[int], now: datetime) -> bool:
    """Whether a suspect is being sent, or has waited for long to be.

    Nothing may share its fate; and if others came in between for ever, it would never go.
    """
    long_ago = to_ms(now - _SUSPECT_PATIENCE)
    return bool(under_way) and any(
        one.delivery_id in under_way or (one.state == DeliveryState.QUEUED and one.due_at <= long_ago)
        for one in found
    )


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
    ready = {"now": to_ms(now), "not_ours": to_ms(now + _NOT_OURS)}
    wanted = most + len(under_way)
    some = _SOME.rows(db, most=wanted + 1, **ready) if most else []
    if not some:
        return []

    def first(order: _Order) -> list[int]:
        if len(some) > wanted:
            found = order.statement.rows(db, most=wanted, **ready)
        else:
            found = sorted(some, key=order.by, reverse=order.backwards)
        return [one.delivery_id for one in found if one.delivery_id not in under_way][:most]

    if by_due:
        return first(_DUE_FIRST)
    oldest, newest = first(_OLDEST), first(_NEWEST)
    ends = (newest, oldest) if newest_first else (oldest, newest)
    in_turn = [one for one in chain.from_iterable(zip_longest(*ends)) if one is not None]
    return list(dict.fromkeys(in_turn))[:most]
