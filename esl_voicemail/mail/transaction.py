"""One mail over a connection that stands: MAIL, RCPT, DATA and the content, and what each reply means for it.

Commands go together where the server takes them so (RFC 2920). Which connection it is, and whether it is
kept, is `transport`'s to say.
"""

import smtplib
from dataclasses import dataclass

from esl_voicemail.mail.replies import (
    CLOSING,
    LOGIN_FIRST,
    TOO_LARGE,
    is_about_size,
    line,
    refusal,
    verdict,
    words,
)
from esl_voicemail.mail.smtp import Client, size_limit, wait
from esl_voicemail.mail.writing import Encoded
from esl_voicemail.verdict import Bounced, Deferred, Delivered, Envelope, TooLarge, Verdict


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long each step may take, in seconds: RFC 5321 section 4.5.3.2."""

    greeting: float = 300
    mail: float = 300
    rcpt: float = 300
    data: float = 120
    block: float = 180
    final: float = 600
    quit: float = 5


STANDARD = Timeouts()


def transact(server: Client, envelope: Envelope, content: Encoded, timeouts: Timeouts) -> Verdict | TooLarge:
    """Hand a mail over to a server and return what became of it."""
    server.content_begun = False
    most = size_limit(server)
    if most is not None and content.size > most:
        numbers = f"the mail has {content.size} bytes, the server takes at most {most}"
        return TooLarge(TOO_LARGE, numbers, most)
    answer = _offered(server, envelope, content.size, timeouts) or _sent(server, content, timeouts)
    if isinstance(answer, Bounced) and is_about_size(answer):
        return TooLarge(answer.code, answer.reply, None)
    return answer


def introduce(server: Client, envelope: Envelope, timeouts: Timeouts, size: int | None = None) -> Verdict:
    """MAIL and RCPT; Delivered here means only that both were accepted."""
    try:
        refused = _afresh(server, timeouts)
        if refused is None:
            server.ask(_mail(server, envelope, size))
            refused = _sender_refused(server)
        if refused is not None:
            return refused
        wait(server, timeouts.rcpt)
        server.ask(_rcpt(envelope))
        return verdict(*server.getreply())
    except (OSError, smtplib.SMTPException) as error:
        return Deferred(None, line(f"connection lost: {words(error)}"))


def _offered(server: Client, envelope: Envelope, size: int, timeouts: Timeouts) -> Verdict | None:
    """MAIL, RCPT and DATA; None where the server waits for the content."""
    if server.has_extn("pipelining"):
        return _offered_at_once(server, envelope, size, timeouts)
    introduced = introduce(server, envelope, timeouts, size)
    if not isinstance(introduced, Delivered):
        return introduced
    try:
        wait(server, timeouts.data)
        server.ask("DATA")
        code, reply = server.getreply()
    except (OSError, smtplib.SMTPException) as error:
        return _lost(error)
    return None if code == 354 else refusal(code, reply)


def _offered_at_once(server: Client, envelope: Envelope, size: int, timeouts: Timeouts) -> Verdict | None:
    """The same, in one piece; each reply has its own step's time."""
    try:
        # Alone, so that what is refused after it is refused of this mail.
        refused = _afresh(server, timeouts)
        if refused is not None:
            return refused
        server.ask(_mail(server, envelope, size), _rcpt(envelope), "DATA")
        refused = _sender_refused(server)
        if refused is not None:
            _hear_out(server, 2, timeouts)
            return refused
        wait(server, timeouts.rcpt)
        code, reply = server.getreply()
        if not 200 <= code < 300:
            _hear_out(server, 1, timeouts)
            return refusal(code, reply)
        wait(server, timeouts.data)
        code, reply = server.getreply()
    except (OSError, smtplib.SMTPException) as error:
        return _lost(error)
    return None if code == 354 else refusal(code, reply)


def _afresh(server: Client, timeouts: Timeouts) -> Verdict | None:
    """RSET, where the server still has a mail's sender; a refusal, if there was one."""
    wait(server, timeouts.mail)
    if not server.sender_taken:
        return None
    server.sender_taken = False
    server.ask("RSET")
    code, reply = server.getreply()
    return None if code == 250 else refusal(code, reply)


def _sender_refused(server: Client) -> Verdict | None:
    code, reply = server.getreply()
    if code != 250:
        # Later, these may be about this recipient or this content: others are not to wait for it.
        return refusal(code, reply, whoever=code in (CLOSING, *LOGIN_FIRST))
    server.sender_taken = True
    return None


def _hear_out(server: Client, replies: int, timeouts: Timeouts) -> None:
    """Hear what a server says to the commands behind the one it refused, DATA's last, or leave it."""
    try:
        wait(server, timeouts.quit)
        codes = [server.getreply()[0] for _ in range(replies)]
        if codes[-1] == 354 and server.sender_taken:
            # It waits for the content of a mail to nobody (RFC 2920 section 3.1).
            server.ask(".")
            server.getreply()
        elif codes[-1] == 354:
            # It may have a recipient, who is to get no empty mail.
            server.close()
    except (OSError, smtplib.SMTPException):
        server.close()


def _sent(server: Client, content: Encoded, timeouts: Timeouts) -> Verdict:
    """The content, and what the server says to it."""
    try:
        wait(server, timeouts.block)
        server.content_begun = True
        failure = server.transfer(content.stuffed)
        # A server that has enough hangs up in the middle, and may have said why.
        wait(server, timeouts.quit if failure else timeouts.final)
        code, reply = server.getreply()
        if failure is None:
            server.sender_taken = False
            return verdict(code, reply)
        server.close()
        if 400 <= code < 600:
            return refusal(code, reply)
        raise failure
    except (OSError, smtplib.SMTPException) as error:
        return _lost(error)


def _lost(error: Exception) -> Deferred:
    # Whether the server has the message may be unknown, so it goes again: at least once.
    return Deferred(None, line(f"connection lost before the final reply: {words(error)}"))


def _mail(server: Client, envelope: Envelope, size: int | None) -> str:
    # RFC 1870: a server that takes no mail of this size can say so before it is sent.
    said = f" SIZE={size}" if size is not None and server.has_extn("size") else ""
    return f"MAIL FROM:<{envelope.sender}>{said}"


def _rcpt(envelope: Envelope) -> str:
    return f"RCPT TO:<{envelope.recipient}>"
