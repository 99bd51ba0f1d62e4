"""What becomes of the deliveries that were picked to be sent: each attempt counted, each mail read whole.

Which ones they are is said in `picking`.
"""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, update

from esl_voicemail.journal.history import earlier_calls
from esl_voicemail.journal.picking import CRASHES_AT_MOST
from esl_voicemail.journal.rows import voicemail_of_row
from esl_voicemail.journal.schema import deliveries, from_ms, to_ms, voicemails
from esl_voicemail.journal.statement import Statement
from esl_voicemail.model import Attempt, DeliveryState, Undelivered, Voicemail

_MINE = deliveries.c.delivery_id == bindparam("mail")
_FAILED = deliveries.alias()

_CLAIM = Statement(
    update(deliveries)
    .where(_MINE)
    .values(
        state=DeliveryState.SENDING.value,
        attempts=deliveries.c.attempts + 1,
        mail_domain=func.coalesce(deliveries.c.mail_domain, bindparam("domain")),
    )
)
# A delivery with its call and, of a report, the delivery it is about.
_CLAIMED = Statement(
    select(
        voicemails,
        deliveries.c.delivery_id,
        deliveries.c.recipient,
        deliveries.c.attempts,
        deliveries.c.crashes,
        deliveries.c.queued_at,
        deliveries.c.mail_domain,
        _FAILED.c.recipient.label("failed_recipient"),
        _FAILED.c.state.label("failed_state"),
        _FAILED.c.code.label("failed_code"),
        _FAILED.c.reply.label("failed_reply"),
    )
    .join(voicemails, voicemails.c.message_id == deliveries.c.message_id)
    .outerjoin(_FAILED, _FAILED.c.delivery_id == deliveries.c.about)
    .where(_MINE)
)
_MESSAGE = Statement(select(deliveries.c.message_id).where(_MINE))


def begin_attempts(
    db: Connection, ids: Iterable[int], mail_domain: str, recordings: Path, now: datetime
) -> tuple[list[Attempt], list[tuple[str, str]]]:
    """Return the attempts in the order of `ids`, and which messages cannot be read and are held, and why."""
    found: list[Attempt] = []
    held: list[tuple[str, str]] = []
    messages: dict[str, Voicemail] = {}
    for delivery_id in ids:
        _CLAIM.execute(db, mail=delivery_id, domain=mail_domain)
        try:
            [row] = _CLAIMED.rows(db, mail=delivery_id)
            if row.message_id not in messages:
                earlier = earlier_calls(db, row)
                messages[row.message_id] = voicemail_of_row(row, recordings, earlier)
            found.append(_attempt(row, messages[row.message_id]))
        except (ValueError, TypeError, OverflowError) as error:
            message_id = _MESSAGE.scalar(db, mail=delivery_id)
            held.append((message_id, f"its row cannot be read: {error}"))
            hold(db, delivery_id, now, held[-1][1])
    return found, held


def _attempt(row: Any, voicemail: Voicemail) -> Attempt:
    failed = row.failed_recipient
    return Attempt(
        delivery_id=row.delivery_id,
        voicemail=voicemail,
        recipient=row.recipient,
        number=row.attempts,
        queued_at=from_ms(row.queued_at),
        mail_domain=row.mail_domain,
        suspect=row.crashes >= CRASHES_AT_MOST - 1,
        undelivered=None
        if failed is None
        else Undelivered(failed, DeliveryState(row.failed_state), row.failed_code, row.failed_reply or ""),
    )


def hold(db: Connection, delivery_id: int, now: datetime, why: str) -> None:
    """Hold a delivery that nobody was able to send, until a person looks."""
    db.execute(
        update(deliveries)
        .where(deliveries.c.delivery_id == delivery_id)
        .values(
            state=DeliveryState.HELD.value,
            crashes=deliveries.c.crashes + 1,
            code=None,
            reply=why[:400],
            finished_at=to_ms(now),
        )
    )
