"""One mail out of the house: an SMTP transaction, or a file in a Maildir; either way a verdict.

The verdict is decided before QUIT: a server that accepted the message has it, whatever it says or does
afterwards. What is not clearly a refusal is Deferred. What holds the event loop, be it disk or processor,
runs on a native thread.
"""

import re
import smtplib
import ssl
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from email.message import EmailMessage
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import gevent

from esl_voicemail.config import Config
from esl_voicemail.errors import ComposeError
from esl_voicemail.mail.maildir import Maildir
from esl_voicemail.mail.message import POLICY
from esl_voicemail.mail.smtp import Client, TlsClient, greet, log_in, part, size_limit, wait, within
from esl_voicemail.mail.writing import written
from esl_voicemail.model import one_line
from esl_voicemail.verdict import Bounced, Deferred, Delivered, Envelope, TooLarge, Verdict

PORTS = {"starttls": 587, "tls": 465, "none": 25}
_REPLY_CHARACTERS = 400
# What a server says of a mail above its limit (RFC 1870 section 6.1); with an enhanced code it may mean a
# mailbox that is full, or what is in the mail, unless that code is one of these (RFC 3463 sections 3.3, 3.4).
_TOO_LARGE = 552
_SIZE_CODE = re.compile(r"5\.(?:2\.3|3\.4)(?!\d)")
_ENHANCED_CODE = re.compile(r"5\.\d{1,3}\.\d{1,3}(?!\d)")
# What a server says at MAIL or RCPT to who has not logged in or secured the line (RFC 4954 section 6, RFC
# 3207 section 4): it is no word on the message.
_LOGIN_FIRST = (530, 534, 535, 538)
_CLOSING = 421  # whatever was asked: the server takes no mail now (RFC 5321 section 4.2.2)


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


PROBING = Timeouts(15, 15, 15, 15, 15, 15, 5)  # somebody sits at a terminal and waits


# Put around a part of a try, `encode`, `connect` or `send`, by whoever wants to know how long each takes.
Stage = Callable[[str], AbstractContextManager[object]]


class Transport(Protocol):
    """Brings one mail to one recipient; never raises for what the outside does."""

    @property
    def blocks_on_disk(self) -> bool:
        """Whether `send` must run on a worker thread; it has no parts then."""

    def send(
        self, envelope: Envelope, message: EmailMessage, stage: Stage = nullcontext
    ) -> Verdict | TooLarge:
        """Hand the mail over and return what became of it; ComposeError when it cannot be written out."""


@dataclass(frozen=True, slots=True)
class SmtpTransport:
    """One connection and one transaction a mail; certificates are verified."""

    host: str
    port: int
    security: str
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    timeouts: Timeouts = Timeouts()
    blocks_on_disk: bool = False

    def send(
        self, envelope: Envelope, message: EmailMessage, stage: Stage = nullcontext
    ) -> Verdict | TooLarge:
        """Send by SMTP; the reply in the verdict is the server's own."""
        opened = self._open(message, stage)
        if isinstance(opened, Deferred):
            return opened
        server, ready = opened
        with stage("send"):
            try:
                return self._transaction(server, envelope, ready)
            finally:
                part(server, self.timeouts.quit)

    def probe(
        self, sender: str, recipients: Iterable[str], timeouts: Timeouts = PROBING
    ) -> list[tuple[str, Verdict]]:
        """Go as far as RCPT for each recipient and no further: nothing is sent."""
        prober, recipients = replace(self, timeouts=timeouts), list(recipients)
        opened = prober._open(None)
        if isinstance(opened, Deferred):
            return [(recipient, opened) for recipient in recipients]
        server, _ = opened
        verdicts: list[tuple[str, Verdict]] = []
        try:
            for recipient in recipients:
                verdicts.append((recipient, prober._introduce(server, Envelope(sender, recipient))))
                server.rset()
        except (OSError, smtplib.SMTPException) as error:
            lost = Deferred(None, _line(f"connection lost: {_words(error)}"))
            verdicts.extend((recipient, lost) for recipient in recipients[len(verdicts) :])
        finally:
            part(server, timeouts.quit)
        return verdicts

    def _ready(self, message: EmailMessage | None) -> "_Ready | Exception":
        """Do what needs no server, on a thread; gevent would print the traceback of an error raised there."""
        try:
            tls = None if self.security == "none" else _trusting(self.ca_file)
            password = self.password_file.read_text().rstrip("\r\n") if self.password_file else None
            content = _written(message) if message is not None else b""
            return _Ready(tls, password, len(content), _stuffed(content))
        except Exception as error:  # noqa: BLE001 - the greenlet that waits raises it
            return error

    def _open(
        self, message: EmailMessage | None, stage: Stage = nullcontext
    ) -> "tuple[Client, _Ready] | Deferred":
        """Connect, greet, secure, authenticate; a refusal here is our set-up's fault, not the message's."""
        server: Client | None = None
        greeting = self.timeouts.greeting
        try:
            with stage("encode"):
                ready = gevent.get_hub().threadpool.apply(self._ready, (message,))
            if isinstance(ready, Exception):
                raise ready
            with stage("connect"):
                if self.security == "tls":
                    server = TlsClient(self.host, self.port, timeout=greeting, context=ready.tls)
                else:
                    server = Client(self.host, self.port, timeout=greeting)
                greet(server)
                if self.security == "starttls":
                    with within(greeting):
                        server.starttls(context=ready.tls)
                    greet(server)
                if self.username and ready.password is not None:
                    log_in(server, self.username, ready.password)
        except smtplib.SMTPResponseException as error:
            return _deferred(server, error.smtp_code, error.smtp_error, ours=error.smtp_code >= 500)
        except smtplib.SMTPServerDisconnected as error:
            return _deferred(server, None, str(error))
        except smtplib.SMTPException as error:
            return _deferred(server, None, str(error), ours=True)
        except (OSError, UnicodeError) as error:
            peer = "TLS" if isinstance(error, ssl.SSLError) else f"{self.host}:{self.port}"
            where = getattr(error, "filename", None) or peer
            return _deferred(server, None, f"{where}: {_words(error)}", ours=not _passing(error))
        return server, ready

    def _transaction(self, server: "Client", envelope: Envelope, ready: "_Ready") -> Verdict | TooLarge:
        most = size_limit(server)
        if most is not None and ready.size > most:
            words = f"the mail has {ready.size} bytes, the server takes at most {most}"
            return TooLarge(_TOO_LARGE, words, most)
        answer = self._exchange(server, envelope, ready)
        if isinstance(answer, Bounced) and _is_about_size(answer):
            return TooLarge(answer.code, answer.reply, None)
        return answer

    def _exchange(self, server: "Client", envelope: Envelope, ready: "_Ready") -> Verdict:
        introduced = self._introduce(server, envelope, ready.size)
        if not isinstance(introduced, Delivered):
            return introduced
        try:
            wait(server, self.timeouts.data)
            code, reply = server.docmd("DATA")
            if code != 354:
                return _refusal(code, reply)
            wait(server, self.timeouts.block)
            failure = server.transfer(ready.stuffed)
            # A server that has enough hangs up in the middle, and may have said why.
            wait(server, self.timeouts.quit if failure else self.timeouts.final)
            code, reply = server.getreply()
            if failure is None or 400 <= code < 600:
                return _verdict(code, reply)
            raise failure
        except (OSError, smtplib.SMTPException) as error:
            # Whether the server has the message is unknown, so it goes again: at least once.
            return Deferred(None, _line(f"connection lost before the final reply: {_words(error)}"))

    def _introduce(self, server: smtplib.SMTP, envelope: Envelope, size: int | None = None) -> Verdict:
        """MAIL and RCPT; Delivered here means only that both were accepted."""
        try:
            wait(server, self.timeouts.mail)
            # RFC 1870: a server that takes no mail of this size can say so before it is sent.
            options = [f"size={size}"] if size is not None and server.has_extn("size") else []
            code, reply = server.mail(envelope.sender, options)
            if code != 250:
                # Later, these may be about this recipient or this content: others are not to wait for it.
                return _refusal(code, reply, whoever=code in (_CLOSING, *_LOGIN_FIRST))
            wait(server, self.timeouts.rcpt)
            return _verdict(*server.rcpt(envelope.recipient))
        except (OSError, smtplib.SMTPException) as error:
            return Deferred(None, _line(f"connection lost: {_words(error)}"))


# Before the name of a mail's file, where a server would say what it has made of it.
STORED = "stored as "


@dataclass(frozen=True, slots=True)
class MaildirTransport:
    """Puts mails into a Maildir on this machine: the service's job done where there is no mail server."""

    maildir: Maildir
    blocks_on_disk: bool = True

    def send(self, envelope: Envelope, message: EmailMessage, _: Stage = nullcontext) -> Verdict:
        """Store the mail; Deferred while the disk refuses."""
        try:
            name = self.maildir.store(envelope, message)
        except OSError as error:
            return Deferred(None, _line(f"Maildir: {error}"), ours=True, unreachable=True)
        return Delivered(250, _line(f"{STORED}{name}"))


def transport_of(config: Config) -> Transport:
    """Return the way out for mails that a configuration names."""
    smtp = config.mail.smtp
    if smtp is None:
        return MaildirTransport(Maildir(config.maildir or config.directory / "mail"))
    return SmtpTransport(
        host=smtp.host,
        port=smtp.port or PORTS[smtp.security],
        security=smtp.security,
        username=smtp.username,
        password_file=config.password_file,
        ca_file=config.ca_file,
    )


@dataclass(frozen=True, slots=True)
class _Ready:
    """What a connection needs: read, encoded and in memory."""

    tls: ssl.SSLContext | None
    password: str | None = field(repr=False)
    size: int
    stuffed: bytes = field(repr=False)


def _written(message: EmailMessage) -> bytes:
    try:
        return written(message, POLICY)
    except Exception as error:  # no server is to blame, and no other mail may wait for it
        raise ComposeError(f"the mail cannot be written out: {type(error).__name__}: {error}") from error


@lru_cache(maxsize=4)
def _context(ca_file: Path | None, _changed: int | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)


def _trusting(ca_file: Path | None) -> ssl.SSLContext:
    """Trust who is in a file, which is read once for as long as it does not change: it takes 20 ms."""
    found = ca_file or ssl.get_default_verify_paths().cafile
    return _context(ca_file, Path(found).stat().st_mtime_ns if found else None)


def _stuffed(content: bytes) -> bytes:
    """The message as DATA wants it: dots at line starts doubled, and the closing dot (RFC 5321 4.5.2)."""
    # No regular expression: it would keep all other threads waiting for as long as it takes.
    stuffed = (b"\n" + content).replace(b"\n.", b"\n..")[1:]
    return stuffed + (b".\r\n" if stuffed.endswith(b"\r\n") else b"\r\n.\r\n")


def _deferred(
    server: smtplib.SMTP | None, code: int | None, reply: bytes | str, *, ours: bool = False
) -> Deferred:
    if server is not None:
        server.close()
    return Deferred(_code(code), _line(reply), ours=ours, unreachable=True)


def _verdict(code: int, reply: bytes) -> Verdict:
    return Delivered(code, _line(reply)) if 200 <= code < 300 else _refusal(code, reply)


def _refusal(code: int, reply: bytes, *, whoever: bool = False) -> Verdict:
    """What a reply means that is not the one hoped for, be it as friendly as may be."""
    if code in _LOGIN_FIRST:
        return Deferred(code, _line(reply), ours=True, unreachable=whoever)
    if 500 <= code < 600:
        return Bounced(code, _line(reply))
    return Deferred(_code(code), _line(reply), unreachable=whoever)


def _is_about_size(refusal: Bounced) -> bool:
    if _SIZE_CODE.match(refusal.reply):
        return True
    return refusal.code == _TOO_LARGE and not _ENHANCED_CODE.match(refusal.reply)


def _code(code: int | None) -> int | None:
    """A reply's code, or None for what is none; smtplib says -1 for no number at all."""
    return code if code is not None and 200 <= code < 600 else None


def _passing(error: Exception) -> bool:
    """Whether a fault is likely to pass by itself: a server that is down, not a name that is wrong."""
    return isinstance(error, ConnectionError | TimeoutError | ssl.SSLEOFError | ssl.SSLZeroReturnError)


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def _line(reply: bytes | str) -> str:
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
    return one_line(text, _REPLY_CHARACTERS)
