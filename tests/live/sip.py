"""A SIP caller over a bare UDP socket: it sends the bytes it is told to, well-formed or not.

It speaks just enough of RFC 3261 for one call: INVITE, ACK, CANCEL, BYE and an answer to a BYE; and sends
G.711 A-law over RTP (RFC 3550), or nothing at all.
"""

import os
import re
import socket
import struct
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from tests.live.console import HOST
from tests.live.switch import MARK

_PACKET = 160


@dataclass
class SipCaller:
    """One call, from a socket of its own."""

    to_port: int
    destination: bytes
    sender: bytes = b'"Caller" <sip:+48601234567@127.0.0.1>'
    headers: tuple[bytes, ...] = ()
    mark: str = field(default_factory=lambda: str(uuid.uuid4()))

    def __post_init__(self) -> None:
        self._signal = _bound()
        self._media = _bound()
        self._peer = (HOST, self.to_port)
        self._answers: dict[int, bytes] = {}
        self._changed = threading.Condition()
        self._hung_up = threading.Event()
        self._branch = b"z9hG4bK" + uuid.uuid4().hex.encode()
        self._open = True
        threading.Thread(target=self._listen, daemon=True).start()

    def invite(self) -> None:
        """Call."""
        port = str(self._media.getsockname()[1]).encode()
        body = b"\r\n".join(
            (
                b"v=0",
                b"o=- 1 1 IN IP4 127.0.0.1",
                b"s=-",
                b"c=IN IP4 127.0.0.1",
                b"t=0 0",
                b"m=audio " + port + b" RTP/AVP 8 101",
                b"a=rtpmap:8 PCMA/8000",
                b"a=rtpmap:101 telephone-event/8000",
                b"a=fmtp:101 0-15",
                b"a=sendrecv",
                b"",
            )
        )
        more = (f"{MARK}: {self.mark}".encode(), *self.headers, b"Content-Type: application/sdp")
        self._say(b"INVITE", b"1", self._branch, b"", more, body)

    def answered(self, seconds: float = 20.0) -> None:
        """Wait for 200 and acknowledge it."""
        self._final(lambda code: code == 200, "the call is answered", seconds)

    def cancel(self) -> None:
        """Give up before the answer, and wait until the switch agrees."""
        self._provisional()
        self._say(b"CANCEL", b"1", self._branch)
        self._final(lambda code: code == 487, "the call is cancelled", 10)

    def refused(self, seconds: float = 20.0) -> int:
        """Wait for a final answer that is none, and return its code."""
        return self._final(lambda code: code >= 300, "the call is refused", seconds)

    def hang_up(self) -> None:
        """Send BYE."""
        self._say(b"BYE", b"2", b"z9hG4bK" + uuid.uuid4().hex.encode(), self._to_tag(200))

    def wait_for_bye(self, seconds: float = 60.0) -> None:
        """Wait until the switch hangs up."""
        assert self._hung_up.wait(seconds), f"the switch did not hang up within {seconds:g} s"

    def talk(self, audio: bytes) -> float:
        """Send A-law audio as RTP, a packet every 20 ms; return by how much the latest came late.

        Packets that were held up and then come at once are dropped by a switch that will not lag behind, so
        they are sent by a thread that does not wait for its turn, where the system grants that.
        """
        with ThreadPoolExecutor(1, initializer=_before_all_others) as sender:
            return sender.submit(self._send, audio).result()

    def _send(self, audio: bytes) -> float:
        found = re.search(rb"\r\nm=audio (\d+) ", self._answers[200])
        assert found
        target = (HOST, int(found[1]))
        began, latest = time.monotonic(), 0.0
        for n in range(0, len(audio), _PACKET):
            part = audio[n : n + _PACKET].ljust(_PACKET, b"\xd5")
            head = struct.pack("!BBHII", 0x80, 8 | (0x80 if n == 0 else 0), n // _PACKET & 0xFFFF, n, 0x1EE7)
            self._media.sendto(head + part, target)
            latest = max(latest, time.monotonic() - began - n / _PACKET * 0.02)
            time.sleep(max(0.0, began + (n / _PACKET + 1) * 0.02 - time.monotonic()))
        return latest

    def close(self) -> None:
        """Let the sockets go."""
        self._open = False
        self._signal.close()
        self._media.close()

    def _say(
        self,
        method: bytes,
        number: bytes,
        branch: bytes,
        to_tag: bytes = b"",
        more: tuple[bytes, ...] = (),
        body: bytes = b"",
    ) -> None:
        own = f"{HOST}:{self._signal.getsockname()[1]}".encode()
        uri = b"sip:%b@%b:%d" % (self.destination, HOST.encode(), self.to_port)
        lines = (
            b"%b %b SIP/2.0" % (method, uri),
            b"Via: SIP/2.0/UDP %b;branch=%b;rport" % (own, branch),
            b"Max-Forwards: 70",
            b"From: %b;tag=live" % self.sender,
            b"To: <%b>%b" % (uri, to_tag),
            b"Call-ID: " + self.mark.encode(),
            b"CSeq: %b %b" % (number, method),
            b"Contact: <sip:live@%b>" % own,
            *more,
            b"Content-Length: %d" % len(body),
        )
        self._signal.sendto(b"\r\n".join(lines) + b"\r\n\r\n" + body, self._peer)

    def _listen(self) -> None:
        while self._open:
            with suppress(OSError, ValueError):
                self._take(self._signal.recv(65536))

    def _take(self, message: bytes) -> None:
        if message.startswith(b"SIP/2.0 "):
            code = int(message[8:11])
            if re.search(rb"\r\nCSeq: 1 INVITE\r\n", message):
                with self._changed:
                    self._answers[code] = message
                    self._changed.notify_all()
                if code >= 200:
                    branch = self._branch if code >= 300 else b"z9hG4bK" + uuid.uuid4().hex.encode()
                    self._say(b"ACK", b"1", branch, self._to_tag(code))
            return
        kept = re.findall(rb"\r\n((?:Via|From|To|Call-ID|CSeq): [^\r]*)", message)
        self._signal.sendto(
            b"\r\n".join((b"SIP/2.0 200 OK", *kept, b"Content-Length: 0", b"", b"")), self._peer
        )
        if message.startswith(b"BYE "):
            self._hung_up.set()

    def _to_tag(self, code: int) -> bytes:
        found = re.search(rb"\r\nTo: [^\r]*(;tag=[^;\r]+)", self._answers[code])
        return found[1] if found else b""

    def _provisional(self) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self._answers, 10), "no answer to the INVITE"

    def _final(self, met: Callable[[int], bool], what: str, seconds: float) -> int:
        with self._changed:
            came = self._changed.wait_for(lambda: any(code >= 200 for code in self._answers), seconds)
            final = max(self._answers, default=0)
            assert came, f"not within {seconds:g} s: {what}"
            assert met(final), f"{what}? It was answered with {final}"
            return final


def _before_all_others() -> None:
    """Let this thread run whenever it can; without the right to ask for it, it takes its turn."""
    with suppress(PermissionError):
        os.sched_setscheduler(threading.get_native_id(), os.SCHED_FIFO, os.sched_param(1))


def _bound() -> socket.socket:
    found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    found.bind((HOST, 0))
    return found
