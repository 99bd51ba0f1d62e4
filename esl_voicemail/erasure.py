"""Removes what is kept of one caller, in an order that a crash may cut off anywhere: the next run goes on.

First no mail is sent any more, then the audio goes, then each row forgets who called. A row knows the number
until all else is gone. Numbers are compared by what they mean, not by how they are written.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from esl_voicemail.callers import is_of
from esl_voicemail.config import Mailbox, mailbox_of
from esl_voicemail.errors import RecordingError
from esl_voicemail.journal import JournalEditor
from esl_voicemail.journal.forgetting import Mail, Remembered
from esl_voicemail.spool import Spool


@dataclass(frozen=True, slots=True)
class Erased:
    """A call of which nothing is kept any more: which it was, its audio that went, where its mails stood."""

    call: Remembered
    audio: tuple[Path, ...]
    mails: tuple[Mail, ...]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was removed of a caller, and what was not.

    `still_open` are calls in progress or waiting for recovery, `stuck` those whose audio could not be
    removed, each with what the disk said. `trace`: why the journal's files still hold something of what went,
    empty when they do not.
    """

    calls: tuple[Erased, ...]
    still_open: tuple[Remembered, ...]
    stuck: Mapping[str, str]
    trace: str


Watched = Callable[[Sequence[Remembered], str], Iterable[Remembered]]


def erase(
    journal: JournalEditor,
    spool: Spool,
    mailboxes: Mapping[str, Mailbox],
    number: str,
    now: datetime,
    *,
    watched: Watched = lambda calls, _: calls,
) -> Receipt:
    """Remove everything kept of a caller's closed calls; RecordingError when the audio is out of reach.

    `watched` goes through calls for whoever waits, with what is done with them.
    """
    strange = spool.strange()
    if strange:
        # Over an empty mount point a row would forget audio that comes back with the disk.
        raise RecordingError(strange)
    found = [call for call in watched(journal.remembered(), "calls read") if _is_of(call, number, mailboxes)]
    closed = [call for call in found if not call.is_open]
    mails = journal.drop([call.message_id for call in closed], now)
    calls, stuck = [], {}
    for call in watched(closed, "calls erased"):
        try:
            audio = spool.remove(call.recording_file)
        except OSError as error:
            stuck[call.message_id] = str(error)
            continue
        journal.forget(call.message_id, now)
        calls.append(Erased(call, tuple(audio), tuple(mails[call.message_id])))
    return Receipt(
        tuple(calls),
        tuple(call for call in found if call.is_open),
        stuck,
        journal.leave_no_trace(),
    )


def _is_of(call: Remembered, number: str, mailboxes: Mapping[str, Mailbox]) -> bool:
    return is_of(number, (call.number, call.callback), mailbox_of(mailboxes, call.mailbox).region)
