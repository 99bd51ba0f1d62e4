"""smtplib's client, for servers that may wish us ill: no reply is endless, none holds the event loop.

With `transport` and `transaction` the only room that knows `smtplib`; what a reply means for a mail is theirs
to say.
"""

import io
import re
import smtplib
import ssl
from base64 import b64encode
from contextlib import closing, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import gevent

_REPLY_LINES = 128
_BLOCK_BYTES = 1 << 16
# The greeting may take its time; a machine that is there answers a connection at once.
_CONNECT_SECONDS = 30.0


class Client(smtplib.SMTP):
    """One connection; a step's time counts for its whole reply.

    `mails` were sent on it before this one, which the server knows the sender of, and has begun to get the
    content of; `idle_since` is when the last one was settled, by the clock that only goes forward.
    """

    mails = 0
    sender_taken = False
    content_begun = False
    idle_since = 0.0

    def _get_socket(self, host: str, port: int, timeout: float) -> Any:
        with within(min(timeout, _CONNECT_SECONDS)):
            return super()._get_socket(host, port, timeout)  # type: ignore[misc]

    def getreply(self) -> tuple[int, bytes]:
        """Read one reply, all of it within the time limit of the step."""
        assert self.sock is not None
        if self.file is None:
            self.file = _Lines(self.sock.makefile("rb", buffering=0))
        self.file.left = _REPLY_LINES
        with within(self.sock.gettimeout()):
            return super().getreply()

    def ask(self, *commands: str) -> None:
        """Send commands in one piece; a reply to each is to be read."""
        lines = "\r\n".join((*commands, ""))
        if lines.count("\r") + lines.count("\n") != 2 * len(commands):
            raise ValueError("an address with a line end in it")
        self.send(lines)

    def transfer(self, stuffed: bytes) -> OSError | None:
        """Send in blocks, as the time limit of a write counts for each; the failure leaves it open."""
        assert self.sock is not None
        try:
            with memoryview(stuffed) as whole:
                for start in range(0, len(stuffed), _BLOCK_BYTES):
                    if start:
                        gevent.sleep(0)
                    self.sock.sendall(whole[start : start + _BLOCK_BYTES])
        except OSError as error:
            return error
        return None

    def quiet(self) -> bool:
        """Tell whether the server has said nothing unasked: no goodbye, and no reply too many."""
        if self.sock is None or self.file is None:
            return False
        self.sock.settimeout(0)
        try:
            return not self.file.peek()
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False


class TlsClient(Client, smtplib.SMTP_SSL):
    """The same, where TLS comes before all else."""


class _Lines(io.BufferedReader):
    """What a server says: a line at a time, others in between, and `left` lines at most."""

    left = 0

    def readline(self, size: int | None = -1, /) -> bytes:
        if self.left == 0:
            raise OSError(f"a reply of more than {_REPLY_LINES} lines")
        if self.left < _REPLY_LINES:
            gevent.sleep(0)
        self.left -= 1
        return super().readline(size)


@lru_cache(maxsize=4)
def _context(ca_file: Path | None, _changed: int | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)


def trusting(ca_file: Path | None) -> ssl.SSLContext:
    """Trust who is in a file, which is read once for as long as it does not change: it takes 20 ms."""
    found = ca_file or ssl.get_default_verify_paths().cafile
    return _context(ca_file, Path(found).stat().st_mtime_ns if found else None)


def within(seconds: float | None) -> gevent.Timeout:
    """Limit all of a block's waiting together; a socket's own limit counts for each piece that comes."""
    return gevent.Timeout(seconds, TimeoutError("timed out"))


def greet(server: smtplib.SMTP) -> None:
    """EHLO, or HELO to a server that does not know it; not to one that says something else."""
    code, reply = server.ehlo()
    if code >= 500:
        code, reply = server.helo()
    if not 200 <= code < 300:
        raise smtplib.SMTPHeloError(code, reply)


def log_in(server: smtplib.SMTP, username: str, password: str) -> None:
    """AUTH once, in UTF-8 (RFC 4616): smtplib knows ASCII only, and offers a refused password again."""
    offered = server.esmtp_features.get("auth", "").upper().split()
    if "PLAIN" in offered:
        code, reply = server.docmd("AUTH", "PLAIN " + _base64(f"\0{username}\0{password}"))
    elif "LOGIN" in offered:
        code, reply = server.docmd("AUTH", "LOGIN " + _base64(username))
        if code == 334:
            code, reply = server.docmd(_base64(password))
    else:
        raise smtplib.SMTPNotSupportedError("the server offers neither AUTH PLAIN nor AUTH LOGIN")
    if code != 235:
        raise smtplib.SMTPAuthenticationError(code, reply)


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()


def size_limit(server: smtplib.SMTP) -> int | None:
    """Return the largest mail a server takes, in bytes; None where it says of none (RFC 1870 section 3)."""
    said = server.esmtp_features.get("size", "")
    # The limit has 20 digits at most; of thousands `int` would make an error of ours.
    return (int(said) or None) if re.fullmatch(r"[0-9]{1,20}", said) else None


def wait(server: smtplib.SMTP, seconds: float) -> None:
    """Limit how long each further read or write may wait."""
    if server.sock is not None:
        server.sock.settimeout(seconds)


def part(server: smtplib.SMTP, seconds: float) -> None:
    """Say goodbye, for so long at most and whatever comes in between, our own end too: the verdict stands."""
    limit = gevent.Timeout(seconds, False)  # type: ignore[arg-type]
    broken = (OSError, smtplib.SMTPException, gevent.Timeout, gevent.GreenletExit)
    with closing(server), suppress(*broken), limit:
        wait(server, seconds)
        server.quit()
