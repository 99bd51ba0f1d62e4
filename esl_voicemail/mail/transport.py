"""One mail out of the house: an SMTP transaction, or a file in a Maildir; either way a verdict.

The verdict is decided before all that follows: a server that accepted the message has it, whatever it says
or does afterwards. What is not clearly a refusal is Deferred. What holds the event loop, be it disk or
processor, runs on a native thread.
"""

import smtplib
import ssl
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, TypeVar

import gevent

from esl_voicemail.config import Config
from esl_voicemail.mail.connections import Connections
from esl_voicemail.mail.maildir import Maildir
from esl_voicemail.mail.parts import Entity
from esl_voicemail.mail.replies import CLOSING, LOGIN_FIRST, known_code, line, words
from esl_voicemail.mail.smtp import Client, TlsClient, greet, log_in, part, trusting, within
from esl_voicemail.mail.transaction import STANDARD, Timeouts, introduce, transact
from esl_voicemail.mail.writing import Encoded, encoded
from esl_voicemail.verdict import Deferred, Delivered, Envelope, TooLarge, Verdict

T = TypeVar("T")

# A mail up to this size is made ready in less time than a thread takes to begin with it.
_AT_ONCE_BYTES = 1 << 20

PORTS = {"starttls": 587, "tls": 465, "none": 25}


PROBING = Timeouts(15, 15, 15, 15, 15, 15, 5)  # somebody sits at a terminal and waits


# Put around a part of a try, `encode`, `connect` or `send`, by whoever wants to know how long each takes.
Stage = Callable[[str], AbstractContextManager[object]]


class Transport(Protocol):
    """Brings one mail to one recipient; never raises for what the outside does."""

    @property
    def blocks_on_disk(self) -> bool:
        """Whether `send` must run on a worker thread; it has no parts then."""

    def send(self, envelope: Envelope, mail: Entity, stage: Stage = nullcontext) -> Verdict | TooLarge:
        """Hand the mail over and return what became of it."""

    def close(self) -> None:
        """Leave what is kept open for the next mail."""


@dataclass(frozen=True, slots=True)
class SmtpTransport:
    """One transaction a mail, on a connection that others may have used; certificates are verified."""

    host: str
    port: int
    security: str
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    timeouts: Timeouts = STANDARD
    blocks_on_disk: bool = False
    connections: Connections = field(default_factory=Connections, repr=False, compare=False)

    def send(self, envelope: Envelope, mail: Entity, stage: Stage = nullcontext) -> Verdict | TooLarge:
        """Send by SMTP; the reply in the verdict is the server's own."""
        with stage("encode"):
            content = encoded(mail) if len(mail) <= _AT_ONCE_BYTES else _on_a_thread(lambda: encoded(mail))
        used = self.connections.take()
        if used is not None:
            with stage("send"):
                answer = self._settled(used, envelope, content)
            if answer is not None:
                return answer
        with stage("connect"):
            server = self._connect()
        if isinstance(server, Deferred):
            return server
        with stage("send"):
            answer = self._settled(server, envelope, content)
        assert answer is not None
        return answer

    def close(self) -> None:
        """Leave the server, without delay."""
        self.connections.close()

    def probe(
        self, sender: str, recipients: Iterable[str], timeouts: Timeouts = PROBING
    ) -> list[tuple[str, Verdict]]:
        """Go as far as RCPT for each recipient and no further: nothing is sent."""
        prober, recipients = replace(self, timeouts=timeouts), list(recipients)
        server = prober._connect()
        if isinstance(server, Deferred):
            return [(recipient, server) for recipient in recipients]
        try:
            return [(one, introduce(server, Envelope(sender, one), timeouts)) for one in recipients]
        finally:
            part(server, timeouts.quit)

    def _credentials(self) -> tuple[ssl.SSLContext | None, str | None]:
        tls = None if self.security == "none" else trusting(self.ca_file)
        return tls, self.password_file.read_text().rstrip("\r\n") if self.password_file else None

    def _connect(self) -> Client | Deferred:
        """Connect, greet, secure, authenticate; a refusal here is our set-up's fault, not the message's."""
        server: Client | None = None
        greeting = self.timeouts.greeting
        try:
            tls, password = _on_a_thread(self._credentials)
            if self.security == "tls":
                server = TlsClient(self.host, self.port, timeout=greeting, context=tls)
            else:
                server = Client(self.host, self.port, timeout=greeting)
            greet(server)
            if self.security == "starttls":
                with within(greeting):
                    server.starttls(context=tls)
                greet(server)
            if self.username and password is not None:
                log_in(server, self.username, password)
        except smtplib.SMTPResponseException as error:
            return _deferred(server, error.smtp_code, error.smtp_error, ours=error.smtp_code >= 500)
        except smtplib.SMTPServerDisconnected as error:
            return _deferred(server, None, str(error))
        except smtplib.SMTPException as error:
            return _deferred(server, None, str(error), ours=True)
        except (OSError, UnicodeError) as error:
            peer = "TLS" if isinstance(error, ssl.SSLError) else f"{self.host}:{self.port}"
            where = getattr(error, "filename", None) or peer
            return _deferred(server, None, f"{where}: {words(error)}", ours=not _is_passing(error))
        return server

    def _settled(self, server: Client, envelope: Envelope, content: Encoded) -> Verdict | TooLarge | None:
        """Send, and keep the connection or leave it; None where a used one was no good, and took nothing."""
        good = False
        try:
            answer = transact(server, envelope, content, self.timeouts)
            worn_out = _is_worn_out(server, answer)
            good = not worn_out and _is_good(server, answer)
            return None if worn_out else answer
        finally:
            if good:
                self.connections.keep(server)
            else:
                part(server, self.timeouts.quit)


# Before the name of a mail's file, where a server would say what it has made of it.
STORED = "stored as "


@dataclass(frozen=True, slots=True)
class MaildirTransport:
    """Puts mails into a Maildir on this machine: the service's job done where there is no mail server."""

    maildir: Maildir
    blocks_on_disk: bool = True

    def send(self, envelope: Envelope, mail: Entity, _: Stage = nullcontext) -> Verdict:
        """Store the mail; Deferred while the disk refuses."""
        try:
            name = self.maildir.store(envelope, mail)
        except OSError as error:
            return Deferred(None, line(f"Maildir: {error}"), ours=True, unreachable=True)
        return Delivered(250, line(f"{STORED}{name}"))

    def close(self) -> None:
        """Nothing is kept open."""


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


def _on_a_thread(work: Callable[[], T]) -> T:
    """Do what would hold the event loop; gevent would print the traceback of an error raised there."""

    def tried() -> T | Exception:
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - the greenlet that waits raises it
            return error

    result = gevent.get_hub().threadpool.apply(tried)
    if isinstance(result, Exception):
        raise result
    return result


def _is_good(server: Client, answer: Verdict | TooLarge) -> bool:
    """Whether a server waits for the next mail: it took this one, or refused it and nobody else's."""
    if server.sock is None or answer.code is None:
        return False
    return isinstance(answer, Delivered) or (
        answer.code >= 400 and answer.code not in (CLOSING, *LOGIN_FIRST)
    )


def _is_worn_out(server: Client, answer: Verdict | TooLarge) -> bool:
    """Whether an answer may be about a connection that others used, and the mail itself was not begun.

    A server that has had enough of it says so at MAIL, in whatever words, or closes it at any time.
    """
    if not server.mails or server.content_begun or isinstance(answer, TooLarge):
        return False
    return not server.sender_taken or answer.code in (None, CLOSING, *LOGIN_FIRST)


def _deferred(
    server: smtplib.SMTP | None, code: int | None, reply: bytes | str, *, ours: bool = False
) -> Deferred:
    if server is not None:
        server.close()
    return Deferred(known_code(code), line(reply), ours=ours, unreachable=True)


def _is_passing(error: Exception) -> bool:
    """Whether a fault is likely to pass by itself: a server that is down, not a name that is wrong."""
    return isinstance(error, ConnectionError | TimeoutError | ssl.SSLEOFError | ssl.SSLZeroReturnError)
