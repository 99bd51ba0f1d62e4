"""What a switch's connections need of the system, and their bytes: read and written within limits of time.

What they need is no waiting to fill a packet, and to learn of the switch's end. It is set once, on the socket
that listens: Linux has each connection begin with what that one is set to.
"""

import time

import gevent
from gevent import socket
from gevent.hub import Waiter

_READ_BYTES = 65536
_READ = 1  # EV_READ of libev

# A machine or a line that is gone says nothing, and by itself the kernel asks after two hours. Asked after
# 30 s of silence and then every 10 s, it is known to be gone within 60 s, where a recording may last an hour;
# so it is where nothing confirms what was written. A frozen switch's kernel answers: deadlines see to that.
_TCP = {
    socket.TCP_NODELAY: 1,
    socket.TCP_KEEPIDLE: 30,
    socket.TCP_KEEPINTVL: 10,
    socket.TCP_KEEPCNT: 3,
    socket.TCP_USER_TIMEOUT: 60_000,
}


def prepare(sock: socket.socket) -> None:
    """Set a socket, and with it every connection that it accepts."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _TCP.items():
        sock.setsockopt(socket.IPPROTO_TCP, option, value)


class Stream:
    """A connection's bytes, for the one greenlet that reads them.

    gevent's `recv` tries, fails, and only then waits, for each wait with an exception that says it was too
    long. A call waits a dozen times: together these cost more than to read.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(0.0)
        self._sock = sock
        self._loop = gevent.get_hub().loop
        self._readable = self._loop.io(sock.fileno(), _READ)

    def receive(self, until: float, *, midway: bool = False) -> bytes | None:
        """Return what comes, nothing at its end; None when nothing has come at `until` (monotonic seconds).

        OSError when the connection is broken. What has arrived is read even when the time is over: it may be
        this process that was held up. `midway` in a frame, the rest may well be there, and is tried at once:
        of many who say much, one comes to an end after the other, and they take less memory.
        """
        while True:
            in_time = midway or self._wait(until)
            midway = False
            try:
                return self._sock.recv(_READ_BYTES)
            except BlockingIOError:
                if not in_time:
                    return None

    def send(self, content: bytes, seconds: float) -> None:
        """Write all of it; OSError when the peer does not read for so long, or is gone."""
        try:
            sent = self._sock.send(content)
        except BlockingIOError:
            sent = 0
        if sent < len(content):
            self._sock.settimeout(seconds)
            try:
                self._sock.sendall(content[sent:])
            finally:
                self._sock.settimeout(0.0)

    def close(self) -> None:
        """Close the socket; for whoever reads it, as nobody is woken who waits."""
        self._readable.close()
        self._sock.close()

    def _wait(self, until: float) -> bool:
        """Wait until there is something to read; return whether there is before the time is over."""
        seconds = until - time.monotonic()
        if seconds <= 0:
            return False
        waiter: Waiter[bool] = Waiter()
        late = self._loop.timer(seconds)
        self._readable.start(waiter.switch, True)
        late.start(waiter.switch, False)
        try:
            return waiter.get()
        finally:
            self._readable.stop()
            late.close()
