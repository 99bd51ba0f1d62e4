"""smtplib's client, for servers that may wish us ill: no reply is endless, none holds the event loop.

With `transport` and `transaction` the only room that knows `smtplib`; what a reply means for a mail is theirs
to say.
"""

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
_BLOCK_BYTES = 1 << 18
_READ_BYTES = 1 << 13
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
            self.file = _Lines(self.sock)
        self.file.left = _REPLY_LINES
        if self.file.has_reply:
            return super().getreply()
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
        if self.sock is None or self.file is None or self.file.rest:
            return False
        self.sock.settimeout(0)
        try:
            self.sock.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            pass
        return False


class TlsClient(Client, smtplib.SMTP_SSL):
    """The same, where TLS comes before all else."""


class _Lines:
    """What a server says: a line at a time, others in between, and `left` lines at most.

    `rest` is what has come of the lines that follow. In the place of the file that smtplib reads: a socket's
    own goes through three layers for each line.
    """

    def __init__(self, sock: Any) -> None:
        self.left = 0
        self.rest = b""
        self._sock = sock

    @property
    def has_reply(self) -> bool:
        """Whether a reply of one line has come already."""
        return b"\n" in self.rest and self.rest[3:4] != b"-"

    def readline(self, size: int) -> bytes:
        """Return a line, or so many bytes of it, or all there was before the server hung up."""
        if self.left == 0:
            raise OSError(f"a reply of more than {_REPLY_LINES} lines")
        if self.left < _REPLY_LINES:
            gevent.sleep(0)
        self.left -= 1
        while (end := self.rest.find(b"\n", 0, size) + 1 or size) > len(self.rest):
            more = self._sock.recv(_READ_BYTES)
            if not more:
                end = len(self.rest)
                break
            self.rest += more
        line, self.rest = self.rest[:end], self.rest[end:]
        return line

    def close(self) -> None:
        """Nothing is held but the socket, which is its owner's."""


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
