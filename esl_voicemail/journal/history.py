"""How often a caller called before; read by index, however large the journal."""

from typing import Any

from sqlalchemy import Connection, bindparam, literal_column, select

from esl_voicemail.journal.schema import from_ms, voicemails
from esl_voicemail.journal.statement import Statement
from esl_voicemail.model import EarlierCall, VoicemailState

# The day of a call begins at most this long before it, in any zone, clocks set back that day included.
_BEFORE_MS = 25 * 3_600_000
_MOST = 200

_EARLIER = Statement(
    select(voicemails.c.arrived_at, voicemails.c.state)
    .where(
        voicemails.c.caller_number == bindparam("number"),
        voicemails.c.arrived_at.between(bindparam("since"), bindparam("until")),
        # The plus keeps SQLite from another index, by which a mailbox's every call of the day is read.
        literal_column("+voicemails.mailbox") == bindparam("mailbox"),
        voicemails.c.message_id != bindparam("but"),
    )
    .order_by(voicemails.c.arrived_at.desc())
    .limit(_MOST)
)


def earlier_calls(db: Connection, row: Any) -> tuple[EarlierCall, ...]:
    """Return the calls of a row's caller to its mailbox in the day before it, the oldest first.

    None where the caller has no number, as nobody can tell one such caller from the next.
    """
    if not row.caller_number or row.caller_withheld:
        return ()
    found = _EARLIER.rows(
        db,
        number=row.caller_number,
        since=row.arrived_at - _BEFORE_MS,
        until=row.arrived_at,
        mailbox=row.mailbox,
        but=row.message_id,
    )
    return tuple(
        EarlierCall(from_ms(one.arrived_at), one.state == VoicemailState.KEPT.value)
        for one in reversed(found)
    )
