"""What a mail server's replies mean for a mail. Pure."""

import re

from esl_voicemail.model import one_line
from esl_voicemail.verdict import Bounced, Deferred, Delivered, Verdict

_REPLY_CHARACTERS = 400
# What a server says of a mail above its limit (RFC 1870 section 6.1); with an enhanced code it may mean a
# mailbox that is full, or what is in the mail, unless that code is one of these (RFC 3463 sections 3.3, 3.4).
TOO_LARGE = 552
_SIZE_CODE = re.compile(r"5\.(?:2\.3|3\.4)(?!\d)")
_ENHANCED_CODE = re.compile(r"5\.\d{1,3}\.\d{1,3}(?!\d)")
# What a server says at MAIL or RCPT to who has not logged in or secured the line (RFC 4954 section 6, RFC
# 3207 section 4): it is no word on the message.
LOGIN_FIRST = (530, 534, 535, 538)
CLOSING = 421  # whatever was asked: the server takes no mail now (RFC 5321 section 4.2.2)


def verdict(code: int, reply: bytes) -> Verdict:
    """What a reply means to the question whether the server takes it."""
    return Delivered(code, line(reply)) if 200 <= code < 300 else refusal(code, reply)


def refusal(code: int, reply: bytes, *, whoever: bool = False) -> Verdict:
    """What a reply means that is not the one hoped for, be it as friendly as may be."""
    if code in LOGIN_FIRST:
        return Deferred(code, line(reply), ours=True, unreachable=whoever)
    if 500 <= code < 600:
        return Bounced(code, line(reply))
    return Deferred(known_code(code), line(reply), unreachable=whoever)


def is_about_size(answer: Bounced) -> bool:
    """Whether a mail is refused as too large, which a smaller one may not be."""
    if _SIZE_CODE.match(answer.reply):
        return True
    return answer.code == TOO_LARGE and not _ENHANCED_CODE.match(answer.reply)


def known_code(code: int | None) -> int | None:
    """A reply's code, or None for what is none; smtplib says -1 for no number at all."""
    return code if code is not None and 200 <= code < 600 else None


def words(error: Exception) -> str:
    """What an error says, or its name where it says nothing."""
    return str(error) or type(error).__name__


def line(reply: bytes | str) -> str:
    """A server's words as one printable line, bounded."""
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
    return one_line(text, _REPLY_CHARACTERS)
