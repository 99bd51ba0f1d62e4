"""The far end of an event socket, by hand: it says what a test tells it to, whole or not."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import gevent
from gevent import socket
from gevent.server import StreamServer

from esl_voicemail.esl.channel import LINGER_SECONDS
from esl_voicemail.esl.commands import take_over

_UUID = re.compile(r"^Event-UUID: (.*)$", re.MULTILINE)
_APPLICATION = re.compile(r"^execute-app-name: (.*)$", re.MULTILINE)

TAKE_OVER = ("\n\n".join(take_over(LINGER_SECONDS)) + "\n\n").encode()
OK = b"Content-Type: command/reply\nReply-Text: +OK\n\n"


def head(**headers: str) -> bytes:
    """Return a connect reply with these headers."""
    known = {
        "Event-Name": "CHANNEL_DATA",
        "Unique-ID": "peer-1",
        "Content-Type": "command/reply",
        "Socket-Mode": "async",
        "Control": "full",
        **{name.replace("__", "-"): value for name, value in headers.items()},
    }
    return "".join(f"{name}: {value}\n" for name, value in known.items()).encode() + b"\n"


def event(name: str, call_id: str, **headers: str) -> bytes:
    """Return an event of a call."""
    known = {
        "Event-Name": name,
        "Unique-ID": call_id,
        "Answer-State": "answered",
        **{key.replace("__", "-"): value for key, value in headers.items()},
    }
    body = "".join(f"{key}: {value}\n" for key, value in known.items()).encode() + b"\n"
    return b"Content-Length: %d\nContent-Type: text/event-plain\n\n%b" % (len(body), body)


class Peer:
    """A connection to the service that reads its commands and says what it is told to."""

    def __init__(self, address: tuple[str, int], *, source: str = "127.0.0.1") -> None:
        self._socket = socket.create_connection(address, timeout=30, source_address=(source, 0))
        self._heard = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def say(self, *said: bytes) -> None:
        """Write all of it; that nobody listens any more is no matter."""
        try:
            for part in said:
                self._socket.sendall(part)
        except ConnectionError:
            pass

    def drip(self, said: bytes, every_seconds: float) -> None:
        """Write a byte now and then, until nobody listens."""
        try:
            for byte in said:
                self._socket.sendall(bytes([byte]))
                gevent.sleep(every_seconds)
        except ConnectionError:
            pass

    def hear(self) -> bytes:
        """Return all that comes until the service closes."""
        try:
            while received := self._socket.recv(65536):
                self._heard += received
        except ConnectionError:
            pass
        return self._heard

    def take(self) -> str:
        """Wait for one command and return it."""
        while b"\n\n" not in self._heard:
            received = self._socket.recv(65536)
            if not received:
                raise ConnectionError("the service has left")
            self._heard += received
        command, _, self._heard = self._heard.partition(b"\n\n")
        return command.decode()

    def take_until(self, application: str) -> tuple[str, str]:
        """Take commands until an application is asked for; return the command and its Application-UUID."""
        while True:
            command = self.take()
            asked, uuid = _APPLICATION.search(command), _UUID.search(command)
            if asked and uuid and asked[1] == application:
                return command, uuid[1]


@contextmanager
def cut_line(address: tuple[str, int], after: int) -> Iterator[tuple[str, int]]:
    """Lend a line to the service that breaks when the switch has said so many bytes."""

    def carry(switch: socket.socket, _address: object) -> None:
        with socket.create_connection(address, timeout=30) as service:
            back = gevent.spawn(_pump, service, switch, None)
            _pump(switch, service, after)
            back.kill()
        switch.close()

    server = StreamServer(("127.0.0.1", 0), carry)
    server.start()
    try:
        yield "127.0.0.1", server.server_port
    finally:
        server.stop()


def _pump(source: socket.socket, target: socket.socket, most: int | None) -> None:
    left = most
    try:
        while left is None or left > 0:
            received = source.recv(65536 if left is None else min(left, 65536))
            if not received:
                target.shutdown(socket.SHUT_WR)
                if most is not None:
                    # The switch has said all: what the service still says is let through.
                    while source.recv(65536):
                        pass
                return
            target.sendall(received)
            left = None if left is None else left - len(received)
    except OSError:
        pass
