"""`messages list`: the calls that are asked for, as a table or for programs, and new ones as they come."""

import argparse
import json
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import gevent
from gevent.event import Event

from esl_voicemail import moments
from esl_voicemail.callers import ending, is_of
from esl_voicemail.cli import table
from esl_voicemail.cli.arguments import WITHHELD_CALLER, caller
from esl_voicemail.cli.following import News
from esl_voicemail.cli.table import Column
from esl_voicemail.config import Config, load, mailbox_of
from esl_voicemail.config.load import find
from esl_voicemail.config.mailbox import DEFAULT
from esl_voicemail.errors import JournalError, VoicemailError
from esl_voicemail.journal import JournalReader
from esl_voicemail.journal.listing import Summary, Wanted
from esl_voicemail.model import PROBE, DeliveryState, VoicemailState

# More than any journal holds.
_ALL = 1 << 31
_LOOK_AGAIN_SECONDS = 0.5
_CLOSED = (VoicemailState.KEPT, VoicemailState.DISCARDED, VoicemailState.LOST)
_STATES = {state.value: state for states in (VoicemailState, DeliveryState) for state in states}

_MESSAGE, _WHEN = Column("MESSAGE", 26), Column("WHEN", 22)
_MAILBOX, _CALLER = Column("MAILBOX", 12), Column("CALLER", 24)
_STATE, _SECONDS, _MAIL = Column("STATE", 9), Column("SECONDS", 7, is_number=True), Column("MAIL", 13)
_COLUMNS = (_MESSAGE, _WHEN, _MAILBOX, _CALLER, _STATE, _SECONDS, _MAIL)
_ONE_LINE = 131
# On a terminal that is narrower: who called and when before all else, which is cut last.
_TWO_LINES = ((_WHEN, _CALLER, _MAILBOX, _SECONDS), (_MESSAGE, _STATE, _MAIL))


def add(verbs: Any, common: argparse.ArgumentParser) -> None:
    """Add the verb to those of `messages`."""
    listing = verbs.add_parser("list", parents=[common], help="the newest calls, newest first")
    listing.add_argument("--mailbox", metavar="NAME", help="only this mailbox's")
    listing.add_argument(
        "--caller",
        metavar="NUMBER",
        type=caller,
        help="only this caller's, or whoever left the number, however it is written; or `withheld`",
    )
    listing.add_argument(
        "--state",
        metavar="STATE",
        action="append",
        choices=list(_STATES),
        default=[],
        help=f"only those that are, or have a mail that is: {', '.join(_STATES)}; may be repeated",
    )
    listing.add_argument(
        "--since", metavar="WHEN", type=_moment, help=f"only those from then on: {moments.EXAMPLES}"
    )
    listing.add_argument(
        "--until", metavar="WHEN", type=_moment, help="only those before, or of that day and before"
    )
    listing.add_argument(
        "--limit", "--most", metavar="N", type=_limit, default=50, help="how many (default 50)"
    )
    listing.add_argument("--json", action="store_true", help="one JSON object a line")
    listing.add_argument("--probes", action="store_true", help="the probe's calls too")
    listing.add_argument(
        "--follow",
        action="store_true",
        help="oldest first, and then each new one when its call has ended, or it comes into the state asked "
        "for; Ctrl-C ends it",
    )
    listing.set_defaults(run=_list)


def _list(asked: argparse.Namespace) -> int:
    config = load(find(asked.config))
    reader = JournalReader(config.directory, config.recordings)
    wanted = _wanted(asked, config, reader)
    show = _Shown(zone_of(config, asked.mailbox or DEFAULT), as_json=asked.json)
    if asked.follow:
        _follow(reader, wanted, asked, config, show)
        return int(show.failed)
    show.all(islice(_found(reader, wanted, asked, config), asked.limit))
    if not show.shown and asked.mailbox is not None and asked.mailbox not in config.mailboxes:
        raise VoicemailError(f"no mailbox {asked.mailbox!r}; there are {', '.join(config.mailboxes)}")
    if not show.shown and asked.caller is not None and _is_word(asked.caller):
        raise VoicemailError(
            f"no call of {asked.caller!r}: --caller takes a number or `withheld`; "
            "callers' names are not looked for"
        )
    return int(show.failed)


def _wanted(asked: argparse.Namespace, config: Config, reader: JournalReader) -> Wanted:
    now = datetime.now(zone_of(config, asked.mailbox or DEFAULT))
    since = asked.since and moments.begin(asked.since, now)
    until = asked.until and moments.end(asked.until, now, since)
    if since and until and since >= until:
        raise VoicemailError(
            f"--since {asked.since} is {_when(since)}, --until {asked.until} is "
            f"{_when(until)}: no call can lie between; turn them round"
        )
    numbers = None
    if asked.caller == WITHHELD_CALLER:
        numbers = {""}
    elif asked.caller is not None:
        # How a number reads is for its mailbox's region to say; here it is enough that one reads it so.
        regions = {mailbox.region for mailbox in config.mailboxes.values()}
        numbers = {
            one
            for region in regions
            for one in reader.written(asked.caller, ending(asked.caller, region))
            if is_of(asked.caller, [one], region)
        }
    states = [_STATES[state] for state in asked.state]
    return Wanted(asked.mailbox, numbers, states, since, until, probes=asked.probes)


def _found(
    reader: JournalReader, wanted: Wanted, asked: argparse.Namespace, config: Config
) -> Iterator[Summary | JournalError]:
    for one in reader.find(wanted, asked.limit):
        if asked.caller is None or isinstance(one, JournalError):
            yield one
            continue
        if asked.caller == WITHHELD_CALLER:
            if one.call.caller.withheld and not one.forgotten_at:
                yield one
            continue
        known = (one.call.caller.number, one.call.callback)
        if is_of(asked.caller, known, mailbox_of(config.mailboxes, one.call.mailbox).region):
            yield one


def _follow(
    reader: JournalReader, wanted: Wanted, asked: argparse.Namespace, config: Config, show: "_Shown"
) -> None:
    """Show the newest that are there, then each that comes, until somebody interrupts."""
    # An interrupt that met gevent's loop would be printed there, with all that led to it.
    interrupted = Event()
    interrupt = gevent.signal_handler(signal.SIGINT, interrupted.set)
    if not wanted.states:
        # Of a call that goes on nothing is known yet.
        wanted = replace(wanted, states=_CLOSED)
    # Whose a new call is, is seen when it is there; to look all numbers through each time takes too long.
    news = News(reader.newest, replace(wanted, numbers=None))
    show.all(reversed(news.begin(lambda: islice(_found(reader, wanted, asked, config), asked.limit))))
    while not interrupted.wait(_LOOK_AGAIN_SECONDS):
        new = news.look()
        if new:
            show.all(reversed(list(_found(reader, Wanted(message_ids=new), asked, config))))
    interrupt.cancel()


class _Shown:
    """Prints calls as they are found, all times in one zone; `failed` when one could not be read."""

    def __init__(self, zone: ZoneInfo, *, as_json: bool) -> None:
        self._zone = zone
        self._as_json = as_json
        self._room = table.room()
        is_wide = self._room is None or self._room >= _ONE_LINE
        self._parts = (_COLUMNS,) if is_wide else _TWO_LINES
        self.shown = self.failed = False
        self._headed = as_json

    def all(self, found: Iterator[Summary | JournalError]) -> None:
        """Print them, in their order."""
        for one in found:
            self._head()
            self.shown = True
            if isinstance(one, JournalError):
                self.failed = True
                print(one, file=sys.stderr)
            elif self._as_json:
                print(json.dumps(of_summary(one), ensure_ascii=False))
            else:
                self._lines(self._cells(one))
        self._head()
        sys.stdout.flush()

    def _head(self) -> None:
        """Head the table, once the journal could be read."""
        if not self._headed:
            self._lines({column: column.head for column in _COLUMNS})
        self._headed = True

    def _cells(self, one: Summary) -> dict[Column, str]:
        return {
            _MESSAGE: one.message_id,
            _WHEN: _when(one.call.arrived_at.astimezone(self._zone)),
            _MAILBOX: "probe" if one.call.mailbox == PROBE else one.call.mailbox,
            _CALLER: caller_of(one),
            _STATE: one.state,
            _SECONDS: "" if one.duration_ms is None else f"{one.duration_ms / 1000:.1f}",
            _MAIL: _mail(one),
        }

    def _lines(self, cells: Mapping[Column, str]) -> None:
        """Print a row; in two lines where the terminal is too narrow for one."""
        for part in self._parts:
            indent = "" if part is self._parts[0] else "  "
            print(
                indent
                + table.row(part, [cells[one] for one in part], self._room and self._room - len(indent))
            )


def _when(moment: datetime) -> str:
    """Write a time as `--since` takes it, with its offset: once a year two hours are called the same."""
    return f"{moment:%Y-%m-%d %H:%M}{moment.isoformat()[-6:].removesuffix(':00')}"


def _is_word(text: str) -> bool:
    return text != WITHHELD_CALLER and not any(c.isdigit() for c in text)


def _mail(one: Summary) -> str:
    """Say where the mails of a message stand, or why there is no message."""
    if not one.recipients:
        return one.result or ""
    # Mails of a call that left no message are notices of it.
    notice = "" if one.state == VoicemailState.KEPT else f"{one.result}, notice "
    others = [(state, n) for state, n in one.deliveries.items() if state != DeliveryState.DELIVERED]
    said = f"{notice}{one.delivered}/{one.recipients} delivered" + "".join(
        f", {n} {state}" for state, n in others
    )
    return said + "".join(f", report {state}" for state in one.reports if state != DeliveryState.DELIVERED)


def _limit(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number, 1 or more, not {text!r}")
    return min(int(text), _ALL)


def _moment(text: str) -> str:
    """Check a time; it is read once it is known in which zone."""
    try:
        moments.begin(text, datetime.now(UTC))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def zone_of(config: Config, mailbox: str) -> ZoneInfo:
    """Return the zone in which a mailbox's times are shown."""
    return mailbox_of(config.mailboxes, mailbox).timezone


def caller_of(one: Summary) -> str:
    """Say who called."""
    caller = one.call.caller
    if one.forgotten_at:
        return "forgotten"
    number = "withheld" if caller.withheld else caller.number or "unknown"
    return f"{number} {caller.name}".strip()


def stamp(moment: datetime | None) -> str | None:
    """Return a moment for programs."""
    return None if moment is None else moment.isoformat(timespec="milliseconds")


def of_summary(one: Summary) -> dict[str, Any]:
    """Return one line of the list for programs."""
    call = one.call
    return {
        "message": one.message_id,
        "call": call.call_id,
        "arrived_at": stamp(call.arrived_at),
        "mailbox": call.mailbox,
        "language": call.language,
        "reason": call.reason.value,
        "caller": {"number": call.caller.number, "name": call.caller.name, "withheld": call.caller.withheld},
        "dialled": call.dialled,
        "queue": call.queue,
        "queue_wait_seconds": call.queue_wait_seconds,
        "reference": call.reference,
        "typed": call.typed,
        "callback": call.callback,
        "promise": call.promise and {"kind": call.promise.kind, "day": call.promise.day.isoformat()},
        "state": one.state,
        "result": one.result,
        "duration_ms": one.duration_ms,
        "heard": one.hearing.content if one.hearing else None,
        "speech_ms": one.hearing.speech_ms if one.hearing else None,
        "forgotten_at": stamp(one.forgotten_at),
        "recipients": one.recipients,
        "delivered": one.delivered,
        "deliveries": dict(one.deliveries),
        "reports": dict(one.reports),
    }
