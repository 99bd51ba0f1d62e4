"""Removes what is kept of one caller, in an order that a crash may cut off anywhere: the next run goes on.

First no mail is sent any more, then the audio goes, then each row forgets who called. A row knows the number
until all else is gone. Numbers are compared by what they mean, not by how they are written.
"""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

import phonenumbers

from esl_voicemail.config import Mailbox, mailbox_of
from esl_voicemail.errors import RecordingError
from esl_voicemail.journal import JournalEditor
from esl_voicemail.journal.forgetting import Mail, Remembered
from esl_voicemail.model import CALLER_NUMBER_CHARACTERS, one_line
from esl_voicemail.spool import Spool

# What people put between the digits of a number: spaces, dashes, brackets, marks that show nothing.
_BETWEEN = {"Zs", "Pd", "Ps", "Pe", "Cf", "Cc"}


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


def erase(
    journal: JournalEditor, spool: Spool, mailboxes: Mapping[str, Mailbox], number: str, now: datetime
) -> Receipt:
    """Remove everything kept of a caller's closed calls; RecordingError when the audio is out of reach."""
    strange = spool.strange()
    if strange:
        # Over an empty mount point a row would forget audio that comes back with the disk.
        raise RecordingError(strange)
    found = [call for call in journal.remembered() if _is_of(call, number, mailboxes)]
    closed = [call for call in found if not call.is_open]
    mails = journal.drop([call.message_id for call in closed], now)
    calls, stuck = [], {}
    for call in closed:
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
    known = [one for one in (call.number, call.callback) if one]
    asked = one_line(number, CALLER_NUMBER_CHARACTERS).casefold()
    if asked in {one.casefold() for one in known}:
        return True  # cut when it was written, it may mean nothing any more
    region = mailbox_of(mailboxes, call.mailbox).region
    return meaning(number, region) in {meaning(one, region) for one in known}


@cache
def meaning(number: str, region: str) -> str:
    """Return what a number stands for, read by a region's habits: E.164 where it can be, else itself.

    Empty for what is no number at all.
    """
    bare = "".join(
        c
        for c in unicodedata.normalize("NFKC", number)
        if unicodedata.category(c) not in _BETWEEN | {"Po"} or c in "*#@:;"
    )
    digits = bare.removeprefix("+")
    if not digits.isdecimal():
        return number.strip().casefold() if any(c.isalnum() for c in bare) else ""
    # A trunk may leave out the plus of an international number.
    for fits in (phonenumbers.is_valid_number, phonenumbers.is_possible_number):
        for written in (bare, f"+{digits}"):
            try:
                parsed = phonenumbers.parse(written, region)
            except phonenumbers.NumberParseException:
                continue
            if fits(parsed):
                return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    return phonenumbers.normalize_digits_only(digits)
