"""The headers of a mail, encoded here: texts of any letters, addresses, and what programs sort by. Pure.

The library's own folding drops quotes and spaces (python/cpython#92081, #121284), and takes a caller's name
that looks encoded for encoded, with the line breaks in it.
"""

import hashlib
import re
import string
from collections.abc import Iterator, Sequence
from email import base64mime, quoprimime

from esl_voicemail.config import Mailbox
from esl_voicemail.config.values import MailAddress
from esl_voicemail.mail.facts import Facts
from esl_voicemail.model import Attempt, one_line

_LINE = 75  # an encoded word may be no longer (RFC 2047 section 2)
_FOLD = "\r\n "
_AROUND = len("=?utf-8?q??=")
# What stands for itself in an encoded word, a blank as `_`.
_UNQUOTED = frozenset(" !*+-/" + string.ascii_letters + string.digits)
# What needs neither quotes nor encoding, in a phrase as in a subject (RFC 5322 section 3.2.3).
_PLAIN = re.compile(r"[A-Za-z0-9!#$%&'*+/^_`{|}~ -]+")
# What else stands in an unstructured header as it is; `=?` would begin an encoded word.
_PLAIN_TEXT = re.compile(r"(?!.*=\?)[\x21-\x7e]+( [\x21-\x7e]+)*")


def addresses(header: str, everybody: Sequence[MailAddress]) -> str:
    """Write a list of addresses for a header, one a line."""
    return f",{_FOLD}".join(_address(header if n == 0 else "", one) for n, one in enumerate(everybody))


def _address(header: str, who: MailAddress) -> str:
    """Write an address; the address itself is never folded."""
    if not who.name:
        return who.address
    name = _phrase(header, who.name)
    fits = len(header) + 2 + len(name) + len(who.address) + 3 <= _LINE
    return f"{name}{' ' if fits else _FOLD}<{who.address}>"


def text(header: str, value: str) -> str:
    """Write an unstructured header's text as it is, where it is short and plain, else as encoded words."""
    if _PLAIN_TEXT.fullmatch(value) and len(header) + 2 + len(value) <= _LINE:
        return value
    return _encoded(header, value)


def _phrase(header: str, value: str) -> str:
    if _PLAIN.fullmatch(value) and len(header) + 2 + len(value) <= _LINE:
        return value
    return _encoded(header, value)


def _encoded(header: str, value: str) -> str:
    """Write encoded words, each of whole characters, in the encoding that takes less room."""
    octets = value.encode()
    quoted = quoprimime.header_length(octets) <= base64mime.header_length(octets)
    module = quoprimime if quoted else base64mime
    words, begun, size = [], 0, 0
    room = _LINE - len(f"{header}: ") - _AROUND
    for at, character in enumerate(value):
        more = 1 if character in _UNQUOTED else len(character.encode()) * (3 if quoted else 1)
        size += more
        # Base64 makes four characters of each three octets begun.
        if (size if quoted else (size + 2) // 3 * 4) > room:
            words.append(module.header_encode(value[begun:at].encode(), "utf-8"))
            begun, size, room = at, more, _LINE - 1 - _AROUND
    words.append(module.header_encode(value[begun:].encode(), "utf-8"))
    return _FOLD.join(words)


def message_id(attempt: Attempt) -> str:
    """Return the Message-ID of a delivery, the same on every attempt (RFC 5322 section 3.6.4)."""
    failed = attempt.undelivered
    parties = [attempt.recipient, failed.recipient] if failed else [attempt.recipient]
    return f"<{attempt.voicemail.message_id.lower()}.{_digest(*parties)}@{attempt.mail_domain}>"


def thread(attempt: Attempt, mailbox: Mailbox) -> str:
    """Return what all mails of one caller to a mailbox refer to, where they are to be one conversation.

    Empty for a caller without a number, and for a report.
    """
    caller = attempt.voicemail.call.caller
    if not mailbox.thread_callers or attempt.undelivered or caller.withheld or not caller.number:
        return ""
    # No mail has this Message-ID, whatever domain they come from (RFC 2606 section 2).
    return f"<caller.{_digest(mailbox.key, caller.number)}@voicemail.invalid>"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).lower().encode()).hexdigest()[:16]


def sender_of(mailbox: Mailbox, sender: MailAddress, facts: Facts) -> MailAddress:
    """Return the From: always our own address, with the caller in its name where the mailbox wants that."""
    if not mailbox.caller_in_from or facts.kind == "undelivered":
        return sender
    called = ", ".join(filter(None, (facts.caller_name, facts.caller_number)))
    if not called:
        return sender
    # A caller who calls himself by an address must not pass for its owner.
    called = one_line(called.replace("@", " at "), 80)
    return MailAddress(f"{called} ({sender.name})" if sender.name else called, sender.address)


def for_filters(attempt: Attempt, facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield what the mail says to people as headers for programs; of a report only what it is about."""
    voicemail = attempt.voicemail
    call = voicemail.call
    yield "X-Voicemail-Kind", facts.kind
    yield "X-Voicemail-Mailbox", call.mailbox
    if attempt.undelivered is None:
        yield "X-Voicemail-Reason", call.reason.value
        yield "X-Voicemail-Caller", "withheld" if call.caller.withheld else call.caller.number or "unknown"
        if voicemail.recording:
            yield "X-Voicemail-Duration", str(round(voicemail.recording.duration_ms / 1000))
        if facts.reference:
            yield "X-Voicemail-Reference", facts.reference
        if facts.digits:
            yield "X-Voicemail-Digits", facts.digits
    yield "X-Voicemail-Message", voicemail.message_id
    yield "X-Voicemail-Call", call.call_id
