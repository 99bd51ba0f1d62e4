"""Calls found by mailbox, number, state and time, the newest first; read by index, a page at a time."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    exists,
    false,
    func,
    literal_column,
    or_,
    select,
    text,
)

from esl_voicemail.errors import JournalError
from esl_voicemail.journal.rows import call_of_row, hearing_of_row, reading
from esl_voicemail.journal.schema import deliveries, from_ms, to_ms, voicemails
from esl_voicemail.model import PROBE, Call, DeliveryState, Hearing, VoicemailState

# As the partial index says it, word for word.
_LEFT_A_NUMBER = text("voicemails.callback != ''")
_BEYOND_ASCII = "*[^ -~]*"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which calls are asked for; what is None or empty asks for nothing.

    A call is in a state when its row is, or one of its mails. `numbers` are numbers as they were written, of
    who called or as he left them. `since` is part of the time asked for, `until` is not. `probes` asks for
    the probe's calls too.
    """

    mailbox: str | None = None
    numbers: Collection[str] | None = None
    states: Collection[VoicemailState | DeliveryState] = ()
    since: datetime | None = None
    until: datetime | None = None
    message_ids: Collection[str] | None = None
    probes: bool = False


@dataclass(frozen=True, slots=True)
class Summary:
    """One line of `messages list`; `deliveries` counts the recipients by the state of their mail.

    `reports` counts the reports to the operator, which are no recipients' mails. Once `forgotten_at` is set,
    nothing says who called.
    """

    message_id: str
    call: Call
    state: str
    result: str | None
    duration_ms: int | None
    hearing: Hearing | None
    forgotten_at: datetime | None
    deliveries: Mapping[str, int]
    reports: Mapping[str, int]

    @property
    def recipients(self) -> int:
        """How many the message is for."""
        return sum(self.deliveries.values())

    @property
    def delivered(self) -> int:
        """How many have it."""
        return self.deliveries.get(DeliveryState.DELIVERED.value, 0)


def page(db: Connection, wanted: Wanted, most: int, after: Row[Any] | None = None) -> list[Row[Any]]:
    """Return the newest rows that are asked for, or those that follow the last one of the page before."""
    statement = select(voicemails).where(*_asked(wanted))
    if after is not None:
        statement = statement.where(
            voicemails.c.arrived_at <= after.arrived_at,
            or_(voicemails.c.arrived_at < after.arrived_at, voicemails.c.message_id < after.message_id),
        )
    newest_first = voicemails.c.arrived_at.desc(), voicemails.c.message_id.desc()
    return list(db.execute(statement.order_by(*newest_first).limit(most)))


def newest_ids(db: Connection, wanted: Wanted, most: int) -> list[tuple[str, datetime]]:
    """Return of the newest rows that are asked for which they are, and when they came."""
    statement = select(voicemails.c.message_id, voicemails.c.arrived_at).where(*_asked(wanted))
    rows = db.execute(statement.order_by(voicemails.c.arrived_at.desc()).limit(most))
    return [(row.message_id, from_ms(row.arrived_at)) for row in rows]


def written(db: Connection, number: str, ending: str) -> set[str]:
    """Return the numbers that may mean this one, by its last digits; which do is still to be looked at."""
    between = f"%{'%'.join(ending)}%"
    found: set[str] = set()
    for column, told in ((voicemails.c.caller_number, None), (voicemails.c.callback, _LEFT_A_NUMBER)):
        like = [column.like(between)] if ending else []
        # Digits of other scripts are digits too, and SQLite knows the case of ASCII letters alone.
        may_be = or_(*like, func.lower(column) == number.lower(), column.op("GLOB")(_BEYOND_ASCII))
        statement = select(column).where(may_be).distinct()
        found |= set(db.scalars(statement if told is None else statement.where(told)))
    return found


def summaries(db: Connection, rows: Iterable[Row[Any]]) -> Iterator[Summary | JournalError]:
    """Return what rows say, in their order; an error stands for one that cannot be read, and says why."""
    rows = list(rows)
    mails = _mails(db, [row.message_id for row in rows]) if rows else {}
    for row in rows:
        try:
            yield _summary(row, *mails.get(row.message_id, ({}, {})))
        except JournalError as error:
            yield error


def _asked(wanted: Wanted) -> Iterator[ColumnElement[bool]]:
    if wanted.mailbox is not None:
        yield voicemails.c.mailbox == wanted.mailbox
    elif not wanted.probes:
        # No index finds what is not: the others are for what is asked for.
        yield literal_column("+voicemails.mailbox") != PROBE
    if wanted.numbers is not None:
        yield or_(
            voicemails.c.caller_number.in_(wanted.numbers),
            and_(_LEFT_A_NUMBER, voicemails.c.callback.in_(wanted.numbers)),
        )
    if wanted.states:
        yield _in_state(wanted.states)
    if wanted.since is not None:
        yield voicemails.c.arrived_at >= to_ms(wanted.since)
    if wanted.until is not None:
        yield voicemails.c.arrived_at < to_ms(wanted.until)
    if wanted.message_ids is not None:
        yield voicemails.c.message_id.in_(wanted.message_ids)


def _in_state(states: Collection[VoicemailState | DeliveryState]) -> ColumnElement[bool]:
    of_calls = [state.value for state in states if isinstance(state, VoicemailState)]
    of_mails = {state for state in states if isinstance(state, DeliveryState)}
    found: list[ColumnElement[bool]] = [voicemails.c.state.in_(of_calls)] if of_calls else []
    # Nearly every mail is delivered, so those are met soon; the others are few, so those are gathered.
    if DeliveryState.DELIVERED in of_mails:
        found.append(
            exists().where(
                deliveries.c.message_id == voicemails.c.message_id,
                # The plus keeps SQLite from gathering all of a state first (sqlite.org/optoverview.html, 4).
                literal_column("+deliveries.state") == DeliveryState.DELIVERED.value,
            )
        )
    few = [state.value for state in of_mails - {DeliveryState.DELIVERED}]
    if few:
        found.append(
            voicemails.c.message_id.in_(select(deliveries.c.message_id).where(deliveries.c.state.in_(few)))
        )
    return or_(false(), *found)


def _mails(
    db: Connection, message_ids: Collection[str]
) -> Mapping[str, tuple[dict[str, int], dict[str, int]]]:
    """Return of each message how many mails stand where: its recipients', and the reports."""
    is_report = (deliveries.c.about != 0).label("is_report")
    counts = (
        select(deliveries.c.message_id, is_report, deliveries.c.state, func.count().label("mails"))
        .where(deliveries.c.message_id.in_(message_ids))
        .group_by(deliveries.c.message_id, is_report, deliveries.c.state)
    )
    found: dict[str, tuple[dict[str, int], dict[str, int]]] = {}
    for row in db.execute(counts):
        found.setdefault(row.message_id, ({}, {}))[int(row.is_report)][row.state] = row.mails
    return {
        message_id: (_in_order(mails), _in_order(reports)) for message_id, (mails, reports) in found.items()
    }


def _in_order(counts: Mapping[str, int]) -> dict[str, int]:
    return {state.value: counts[state] for state in DeliveryState if state in counts}


def _summary(row: Row[Any], mails: Mapping[str, int], reports: Mapping[str, int]) -> Summary:
    with reading(row):
        return Summary(
            message_id=row.message_id,
            call=call_of_row(row),
            state=row.state,
            result=row.result,
            duration_ms=row.duration_ms,
            hearing=hearing_of_row(row),
            forgotten_at=None if row.forgotten_at is None else from_ms(row.forgotten_at),
            deliveries=mails,
            reports=reports,
        )
