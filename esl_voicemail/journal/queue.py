"""The queue of mails: one row a recipient, claimed, sent and marked; each verb one transaction.

A final state changes only when a person says so, or when a server turns out to have taken the mail.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, and_, bindparam, exists, func, insert, literal, not_, select, update

from esl_voicemail.errors import JournalError
from esl_voicemail.journal import waiting
from esl_voicemail.journal.claiming import begin_attempts, hold
from esl_voicemail.journal.picking import CRASHES_AT_MOST, alone, due, in_the_way, suspects
from esl_voicemail.journal.schema import attempts, deliveries, from_ms, to_ms, voicemails
from esl_voicemail.journal.statement import Statement
from esl_voicemail.journal.writer import Writer
from esl_voicemail.model import Attempt, Backlog, DeliveryState
from esl_voicemail.verdict import Bounced, Deferred, Delivered, Expired, Held, Verdict

_FINAL: dict[type, DeliveryState] = {
    Delivered: DeliveryState.DELIVERED,
    Bounced: DeliveryState.BOUNCED,
    Expired: DeliveryState.EXPIRED,
    Held: DeliveryState.HELD,
}
_COUNTED_SECONDS = 3.0
_NEEDS_A_PERSON = (DeliveryState.BOUNCED, DeliveryState.EXPIRED, DeliveryState.HELD)

_TRY = and_(deliveries.c.delivery_id == bindparam("mail"), deliveries.c.attempts == bindparam("attempt"))

_QUEUE = Statement(insert(deliveries))
_FORGOTTEN = Statement(
    select(voicemails.c.forgotten_at).where(voicemails.c.message_id == bindparam("message"))
)
_DELIVERED = Statement(update(deliveries).where(_TRY, deliveries.c.state != DeliveryState.DELIVERED.value))
_SETTLED = Statement(update(deliveries).where(_TRY, deliveries.c.state == DeliveryState.SENDING.value))
_TRIED = Statement(insert(attempts))
_NEXT_DUE = Statement(
    select(func.min(deliveries.c.due_at)).where(deliveries.c.state == DeliveryState.QUEUED.value)
)


class Queue:
    """The running service's queue; every call waits for the disk, none holds the event loop."""

    def __init__(self, writer: Writer, recordings: Path) -> None:
        self._writer = writer
        self._recordings = recordings

    def claim(
        self,
        most: int,
        now: datetime,
        mail_domain: str,
        *,
        newest_first: bool = False,
        under_way: Collection[int] = (),
        asking: bool = False,
        unreadable: Callable[[str, str], None] | None = None,
    ) -> list[Attempt]:
        """Take deliveries that are due, the oldest and the newest in turn, and count the attempt.

        Not those `under_way`: held and released by hand in mid-sending, they wait for that to end. What only
        asks whether a server is back goes in order of its due time, so that no mail asks for all the others.
        The first claim settles the domain of a mail's Message-ID. A row that cannot be read is held, and
        `unreadable` told of its message and why.
        """

        def work(db: Connection) -> tuple[list[Attempt], list[tuple[str, str]]]:
            apart = suspects(db)
            if in_the_way(apart, under_way, now):
                return [], []
            ids = alone(apart, under_way) or due(
                db, most, now, under_way, newest_first=newest_first, by_due=asking
            )
            return begin_attempts(db, ids, mail_domain, self._recordings, now)

        claimed, held = self._writer.write(work)
        if unreadable is not None:
            for message_id, why in held:
                unreadable(message_id, why)
        return claimed

    def next_due(self) -> datetime | None:
        """Return when the next queued delivery is due, or None when nothing is queued."""
        due = self._writer.write(_NEXT_DUE.scalar)
        return None if due is None else from_ms(due)

    def mark(
        self,
        attempt: Attempt,
        verdict: Verdict,
        now: datetime,
        duration_ms: int,
        due_at: datetime | None = None,
        *,
        operator: str | None = None,
    ) -> bool:
        """Record an attempt and its verdict; a Deferred one needs `due_at`, when to try again.

        Where somebody does not get a voicemail, a report to the operator is queued, once. Returns whether
        the delivery's state changed: not when a person has settled it meanwhile, unless the server took it.
        """
        state = _FINAL.get(type(verdict), DeliveryState.QUEUED)
        if isinstance(verdict, Deferred) and due_at is None:
            raise JournalError("a deferred delivery needs the time of its next try")

        def work(db: Connection) -> bool:
            # A server may quote the caller, who was forgotten while this was under way.
            forgotten = _FORGOTTEN.scalar(db, message=attempt.voicemail.message_id)
            reply = verdict.reply if forgotten is None else ""
            changes = {"state": state.value, "code": verdict.code, "reply": reply}
            if due_at is not None and state is DeliveryState.QUEUED:
                changes |= {"due_at": to_ms(due_at), "crashes": 0}
            else:
                changes["finished_at"] = to_ms(now)
            settle = _DELIVERED if isinstance(verdict, Delivered) else _SETTLED
            changed = settle.execute(db, mail=attempt.delivery_id, attempt=attempt.number, **changes)
            _TRIED.execute(
                db,
                delivery_id=attempt.delivery_id,
                number=attempt.number,
                ended_at=to_ms(now),
                duration_ms=duration_ms,
                result="deferred" if state is DeliveryState.QUEUED else state.value,
                code=verdict.code,
                reply=reply,
            )
            if changed and state in _NEEDS_A_PERSON:
                _report(db, [attempt.delivery_id], operator, now)
            return bool(changed)

        return self._writer.write(work)

    def reclaim(
        self, under_way: Collection[int], now: datetime, *, crashed: bool, operator: str | None = None
    ) -> tuple[int, int]:
        """Queue again what is marked as being sent and is not; return how many were queued and how many held.

        `crashed`: the process that was sending died; what has seen that three times is held. Only the
        server that holds the storage's lock may ask, and it knows what is under way.
        """

        def work(db: Connection) -> tuple[int, int]:
            dead = and_(
                deliveries.c.state == DeliveryState.SENDING.value, deliveries.c.delivery_id.not_in(under_way)
            )
            held: Sequence[int] = []
            if crashed:
                often = and_(dead, deliveries.c.crashes + 1 >= CRASHES_AT_MOST)
                held = db.execute(select(deliveries.c.delivery_id).where(often)).scalars().all()
            for delivery_id in held:
                hold(db, delivery_id, now, f"the service crashed {CRASHES_AT_MOST} times while sending this")
            _report(db, held, operator, now)
            queued = db.execute(
                update(deliveries)
                .where(dead)
                .values(
                    state=DeliveryState.QUEUED.value,
                    crashes=deliveries.c.crashes + (1 if crashed else 0),
                    due_at=to_ms(now),
                )
            ).rowcount
            return queued, len(held)

        return self._writer.write(work)

    def backlog(self, accepted_at: datetime | None = None) -> Backlog:
        """Count what waits; `accepted_at` is when a caller's mail was last accepted.

        JournalError when that takes longer than a scraper would wait.
        """
        return self._writer.write(lambda db: waiting.backlog(db, accepted_at), _COUNTED_SECONDS)

    def last_accepted(self) -> datetime | None:
        """Return when a caller's mail was last accepted, by this process or one before it."""
        return self._writer.write(waiting.last_accepted)


def enqueue(
    db: Connection,
    message_id: str,
    recipients: Sequence[str],
    now: datetime,
    due_at: datetime | None = None,
) -> None:
    """Queue one delivery a recipient, due at once or at a later time."""
    row = {**_new(now), "due_at": to_ms(due_at or now), "message_id": message_id, "about": 0}
    for recipient in recipients:
        _QUEUE.execute(db, recipient=recipient, **row)


def hasten(db: Connection, message_id: str, due_at: datetime, now: datetime) -> None:
    """Make the mails of a message due that were to wait until `due_at`; nobody has touched those since."""
    db.execute(
        update(deliveries)
        .where(
            deliveries.c.message_id == message_id,
            deliveries.c.about == 0,
            deliveries.c.state == DeliveryState.QUEUED.value,
            deliveries.c.attempts == 0,
            deliveries.c.due_at == to_ms(due_at),
        )
        .values(due_at=to_ms(now))
    )


def _new(now: datetime) -> dict[str, Any]:
    return {
        "state": DeliveryState.QUEUED.value,
        "attempts": 0,
        "crashes": 0,
        "queued_at": to_ms(now),
        "due_at": to_ms(now),
    }


def _report(db: Connection, delivery_ids: Sequence[int], operator: str | None, now: datetime) -> None:
    """Queue a report of each to the operator, once; of a report that fails itself nobody is told by mail."""
    if operator is None or not delivery_ids:
        return
    told = deliveries.alias()
    columns = {
        **{name: literal(value) for name, value in _new(now).items()},
        "message_id": deliveries.c.message_id,
        "recipient": literal(operator),
        "about": deliveries.c.delivery_id,
    }
    statement = select(*columns.values()).where(
        deliveries.c.delivery_id.in_(delivery_ids),
        deliveries.c.about == 0,
        # By message, as only that has an index.
        not_(
            exists().where(
                told.c.message_id == deliveries.c.message_id, told.c.about == deliveries.c.delivery_id
            )
        ),
    )
    db.execute(insert(deliveries).from_select(list(columns), statement))
