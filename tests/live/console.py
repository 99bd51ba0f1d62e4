"""A switch's inbound event socket: one connection, its commands and its events."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import unquote

HOST = "127.0.0.1"
PASSWORD = "live-tests"


class Event:
    """One event of a switch; of its two hundred headers only those asked for are read."""

    def __init__(self, body: bytes) -> None:
        self._text = "\n" + body.decode("utf-8", "replace").partition("\n\n")[0] + "\n"
        self.name = self.get("Event-Name")
        self.channel = self.get("Unique-ID")

    def get(self, header: str) -> str:
        """Return a header's value, empty when there is none."""
        before = f"\n{header}: "
        start = self._text.find(before)
        if start < 0:
            return ""
        start += len(before)
        return unquote(self._text[start : self._text.index("\n", start)])

    @property
    def at(self) -> float:
        """When the switch fired it, in seconds since the epoch."""
        return int(self.get("Event-Date-Timestamp")) / 1_000_000


class Console:
    """One connection to a switch's inbound event socket."""

    def __init__(self, port: int) -> None:
        self._turn = threading.Lock()
        self._sock = socket.create_connection((HOST, port), timeout=20)
        self._file = self._sock.makefile("rb")
        try:
            self.read()
            if "+OK" not in self.ask(f"auth {PASSWORD}"):
                raise ConnectionError("the switch refuses the password")
        except OSError:
            self.close()
            raise

    def read(self) -> tuple[dict[str, str], bytes]:
        """Return the next message: its headers and its body."""
        headers: dict[str, str] = {}
        while line := self._file.readline().decode().rstrip("\n"):
            name, _, value = line.partition(": ")
            headers[name] = value
        if not headers:
            raise ConnectionError("the switch closed its console")
        return headers, self._file.read(int(headers.get("Content-Length", 0)))

    def ask(self, command: str) -> str:
        """Say a command and return what it says to it; one at a time, whoever asks."""
        with self._turn:
            self._sock.sendall(f"{command}\n\n".encode())
            headers, body = self.read()
        return headers.get("Reply-Text") or body.decode("utf-8", "replace").strip()

    def listen(self, take: Callable[[Event], None]) -> None:
        """Hand over every event until the connection ends; nobody else may read then."""
        self._sock.settimeout(None)
        with suppress(OSError):
            while True:
                take(Event(self.read()[1]))

    def end(self) -> None:
        """End the connection; a read that waits comes back."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let the socket go."""
        self._file.close()
        self._sock.close()
