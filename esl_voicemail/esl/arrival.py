"""Who is calling whom, and why: the connect reply read into a `Call`. Pure.

Everything here came over the network, much of it from the caller's telephone; it leaves as one bounded
line or as a member of a fixed list.
"""

import re
from collections.abc import Mapping
from datetime import datetime

from esl_voicemail.causes import CAUSES
from esl_voicemail.config import Mailbox
from esl_voicemail.esl.frames import Headers
from esl_voicemail.model import CALL_ID, CALLER_NUMBER_CHARACTERS, Call, Caller, Reason, one_line

WITHHELD = {"", "anonymous", "unknown", "unavailable", "restricted", "private", "withheld", "0000000000"}

# What a number is written with; a name of nothing else is the number again.
_NO_NAME = re.compile(r"[\d\s+*#().;=@:/-]+")

# What else the switch may say in `DIALSTATUS`, or a caller's network of the called one.
_OTHER_WORDS: dict[Reason, tuple[str, ...]] = {
    Reason.NO_ANSWER: ("NOANSWER",),
    Reason.BUSY: ("BUSY", "DONTCALL", "UNWANTED"),
    Reason.UNAVAILABLE: ("INVALIDARGS",),
}
_REASON_OF_CAUSE = {
    cause: reason for words in (CAUSES, _OTHER_WORDS) for reason, causes in words.items() for cause in causes
}
# Which greeting a holiday has is the mailbox's to know; to the dialplan it is a day after hours.
_REASONS = {reason.value: reason for reason in Reason} | {"holiday": Reason.AFTER_HOURS}


def call_id(headers: Headers) -> str:
    """Return the channel's UUID; ValueError when it is none."""
    found = headers.get("Unique-ID")
    if not CALL_ID.fullmatch(found):
        raise ValueError("the switch named no channel UUID")
    return found


def mailbox_of(headers: Headers, mailboxes: Mapping[str, Mailbox]) -> tuple[Mailbox | None, str]:
    """Return the mailbox the call is for, and the name or number it was found (or not found) by."""
    named = one_line(headers.variable("voicemail_mailbox"), 40)
    if named:
        return mailboxes.get(named), named
    for number in _dialled(headers):
        for mailbox in mailboxes.values():
            if number in {_bare(one) for one in mailbox.numbers}:
                return mailbox, number
    return None, next(iter(_dialled(headers)), "")


def read_call(headers: Headers, mailbox: Mailbox, now: datetime) -> Call:
    """Read the call; `now` is our own clock's, as the switch's may be another machine's."""
    language = headers.variable("voicemail_language").lower()
    dialled = _dialled(headers)
    known = [number for number in dialled if number in {_bare(one) for one in mailbox.numbers}]
    wait = headers.number("variable_voicemail_queue_wait")
    language = language if language in {"pl", "en"} else mailbox.language
    promised = mailbox.promised(now, language)
    return Call(
        call_id=call_id(headers),
        mailbox=mailbox.key,
        reason=_reason(headers) or mailbox.reason_by_clock(now),
        caller=_caller(headers),
        dialled=(known or dialled or [""])[0],
        arrived_at=now,
        language=language,
        queue=one_line(headers.variable("voicemail_queue") or headers.variable("cc_queue"), 60),
        queue_wait_seconds=wait if wait is None or wait < 1_000_000 else None,
        reference=one_line(headers.variable("voicemail_reference"), 60),
        promise=promised[1] if promised else None,
    )


def _caller(headers: Headers) -> Caller:
    number = one_line(headers.get("Caller-Caller-ID-Number"), CALLER_NUMBER_CHARACTERS)
    name = one_line(headers.get("Caller-Caller-ID-Name"), 80)
    # With `Privacy: id` the number header holds the real number all the same: the flag decides. Without a
    # display name the switch puts the number in the name's place.
    withheld = headers.get("Caller-Privacy-Hide-Number") == "true" or number.lower() in WITHHELD
    nameless = name.lower() in WITHHELD or not _NO_NAME.sub("", name)
    if nameless or headers.get("Caller-Privacy-Hide-Name") == "true":
        name = ""
    return Caller(number="" if withheld else number, name=name, withheld=withheld)


def _dialled(headers: Headers) -> list[str]:
    """The dialled number, most original first: a transfer changes the destination, not the request URI.

    The caller's telephone writes the To header, so that comes last.
    """
    names = ("variable_sip_req_user", "Caller-RDNIS", "Caller-Destination-Number", "variable_sip_to_user")
    numbers = [_bare(one_line(headers.get(name), 40)) for name in names]
    return [number for number in dict.fromkeys(numbers) if number]


def _bare(number: str) -> str:
    return number.removeprefix("+")


def _reason(headers: Headers) -> Reason | None:
    said = headers.variable("voicemail_reason").strip()
    if said:
        reason = _REASONS.get(said.lower().replace("_", "-")) or _REASON_OF_CAUSE.get(said.upper())
        if reason:
            return reason
    if headers.variable("cc_cause") == "cancel" and headers.variable("cc_cancel_reason") in {
        "TIMEOUT",
        "NO_AGENT_TIMEOUT",
    }:
        return Reason.QUEUE_TIMEOUT
    if headers.variable("fifo_status") == "TIMEOUT":
        return Reason.QUEUE_TIMEOUT
    for name in ("originate_disposition", "DIALSTATUS"):
        reason = _REASON_OF_CAUSE.get(headers.variable(name).upper())
        if reason:
            return reason
    return None
