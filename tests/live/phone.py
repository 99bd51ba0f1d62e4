"""A SIP telephone over a bare UDP socket: it registers, and treats calls as it is told to.

Just enough of RFC 3261 for the called side of one call at a time: REGISTER, the answers to INVITE, CANCEL and
BYE, a BYE of its own; and keys as RFC 4733 sends them.
"""

import re
import socket
import struct
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field

from tests.live.console import HOST
from tests.support.service import until

RINGS, ANSWERS, IS_DEAD = "rings", "answers", "is dead"


@dataclass
class Phone:
    """One telephone; `does` is what it does with a call: ring, answer, nothing at all, or a code it says."""

    user: str
    does: str | int = RINGS
    port: int = 0
    calls: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._signal, self._media = _bound(self.port), _bound()
        self.port = self._signal.getsockname()[1]
        self._open = True
        self._peer = (HOST, 0)
        self._registered = threading.Event()
        self._number = 0
        self._invite = b""
        self._known: set[bytes] = set()  # an INVITE that is not answered comes again
        self._id = uuid.uuid4().hex.encode()
        threading.Thread(target=self._listen, daemon=True).start()

    def register(self, sip_port: int, seconds: int = 300) -> None:
        """Register at a switch that asks for no password; with no seconds, no longer be registered."""
        self._registered.clear()
        self._number += 1
        user = self.user.encode()
        lines = (
            b"REGISTER sip:%b SIP/2.0" % HOST.encode(),
            b"Via: SIP/2.0/UDP %b;branch=z9hG4bK%b;rport" % (self._own(), uuid.uuid4().hex.encode()),
            b"Max-Forwards: 70",
            b"From: <sip:%b@%b>;tag=phone" % (user, HOST.encode()),
            b"To: <sip:%b@%b>" % (user, HOST.encode()),
            b"Call-ID: " + self._id,
            b"CSeq: %d REGISTER" % self._number,
            b"Contact: <sip:%b@%b>" % (user, self._own()),
            b"Expires: %d" % seconds,
            b"Content-Length: 0",
        )
        self._signal.sendto(b"\r\n".join(lines) + b"\r\n\r\n", (HOST, sip_port))
        assert self._registered.wait(10), f"{self.user} is not registered"

    def rung(self, times: int = 1, seconds: float = 20.0) -> None:
        """Wait until it has been called so often."""
        until(lambda: len(self.calls) >= times, f"{self.user} is called {times} times", seconds)

    def hang_up(self) -> None:
        """End the last call that it answered."""
        invite = self.calls[-1]
        contact = _header(invite, b"Contact").partition(b"<")[2].partition(b">")[0]
        lines = (
            b"BYE %b SIP/2.0" % contact,
            b"Via: SIP/2.0/UDP %b;branch=z9hG4bK%b;rport" % (self._own(), uuid.uuid4().hex.encode()),
            b"Max-Forwards: 70",
            b"From: %b;tag=phone" % _header(invite, b"To"),
            b"To: " + _header(invite, b"From"),
            b"Call-ID: " + _header(invite, b"Call-ID"),
            b"CSeq: 1 BYE",
            b"Content-Length: 0",
        )
        self._signal.sendto(b"\r\n".join(lines) + b"\r\n\r\n", self._peer)

    def press(self, key: int) -> None:
        """Press a key for 100 ms."""
        found = re.search(rb"\r\nm=audio (\d+) ", self.calls[-1])
        assert found
        target = (HOST, int(found[1]))
        stamp = int(time.monotonic() * 8000) & 0xFFFFFFFF
        for n in range(8):
            length, end = min(n + 1, 5) * 160, 0x80 if n >= 5 else 0
            head = struct.pack("!BBHII", 0x80, 101 | (0x80 if n == 0 else 0), n, stamp, 0x7E1)
            self._media.sendto(head + struct.pack("!BBH", key, end | 10, length), target)
            time.sleep(0.02)

    def close(self) -> None:
        """Let the sockets go."""
        self._open = False
        self._signal.close()
        self._media.close()

    def _own(self) -> bytes:
        return f"{HOST}:{self.port}".encode()

    def _listen(self) -> None:
        while self._open:
            with suppress(OSError):
                message, self._peer = self._signal.recvfrom(65536)
                self._take(message)

    def _take(self, message: bytes) -> None:
        if message.startswith(b"SIP/2.0 200") and b" REGISTER\r\n" in message:
            self._registered.set()
        elif message.startswith(b"INVITE "):
            self._invite = message
            if (known := _header(message, b"Call-ID")) not in self._known:
                self._known.add(known)
                self.calls.append(message)
            self._treat(message)
        elif message.startswith((b"CANCEL ", b"BYE ")) and self.does != IS_DEAD:
            self._answer(message, 200, b"OK")
            if message.startswith(b"CANCEL "):
                self._answer(self._invite, 487, b"Request Terminated")

    def _treat(self, invite: bytes) -> None:
        if isinstance(self.does, int):
            self._answer(invite, self.does, b"As Told")
        elif self.does != IS_DEAD:
            self._answer(invite, 180, b"Ringing")
            if self.does == ANSWERS:
                self._answer(invite, 200, b"OK", self._offer())

    def _offer(self) -> bytes:
        port = self._media.getsockname()[1]
        lines = (
            "v=0",
            "o=- 1 1 IN IP4 127.0.0.1",
            "s=-",
            "c=IN IP4 127.0.0.1",
            "t=0 0",
            f"m=audio {port} RTP/AVP 8 101",
            "a=rtpmap:8 PCMA/8000",
            "a=rtpmap:101 telephone-event/8000",
            "a=fmtp:101 0-15",
            "",
        )
        return "\r\n".join(lines).encode()

    def _answer(self, request: bytes, code: int, words: bytes, body: bytes = b"") -> None:
        kept = re.findall(rb"\r\n((?:Via|From|Call-ID|CSeq): [^\r]*)", request)
        lines = (
            b"SIP/2.0 %d %b" % (code, words),
            *kept,
            b"To: %b;tag=phone" % _header(request, b"To").partition(b";tag=")[0],
            b"Contact: <sip:%b@%b>" % (self.user.encode(), self._own()),
            *([b"Content-Type: application/sdp"] if body else []),
            b"Content-Length: %d" % len(body),
        )
        self._signal.sendto(b"\r\n".join(lines) + b"\r\n\r\n" + body, self._peer)


def _header(message: bytes, name: bytes) -> bytes:
    found = re.search(rb"\r\n" + name + rb": ([^\r]*)", message)
    assert found, message
    return found[1]


def _bound(port: int = 0) -> socket.socket:
    found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    found.bind((HOST, port))
    return found
