"""How often a caller called before; read by index, however large the journal."""

from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, literal_column, select

from esl_voicemail.journal.schema import from_ms, to_ms, voicemails
from esl_voicemail.model import EarlierCall, VoicemailState

# The day of a call begins at most this long before it, in any zone, clocks set back that day included.
_BEFORE = timedelta(hours=25)
_MOST = 200


def earlier_calls(db: Connection, row: Row[Any]) -> tuple[EarlierCall, ...]:
    """Return the calls of a row's caller to its mailbox in the day before it, the oldest first.

    None where the caller has no number, as nobody can tell one such caller from the next.
    """
    if not row.caller_number or row.caller_withheld:
        return ()
    since = to_ms(from_ms(row.arrived_at) - _BEFORE)
    statement = (
        select(voicemails.c.arrived_at, voicemails.c.state)
        .where(
            voicemails.c.caller_number == row.caller_number,
            voicemails.c.arrived_at.between(since, row.arrived_at),
            # The plus keeps SQLite from another index, by which a mailbox's every call of the day is read.
            literal_column("+voicemails.mailbox") == row.mailbox,
            voicemails.c.message_id != row.message_id,
        )
        .order_by(voicemails.c.arrived_at.desc())
        .limit(_MOST)
    )
    found = db.execute(statement).all()
    return tuple(
        EarlierCall(from_ms(one.arrived_at), one.state == VoicemailState.KEPT.value)
        for one in reversed(found)
    )
