"""What the service says to the service manager that started it: sd_notify(3), spoken without its library.

Where none listens, nothing is said. A word that does not arrive costs the manager's knowledge, never a call.
"""

import os
import time
from collections.abc import MutableMapping
from contextlib import suppress

from gevent import socket
from gevent.event import Event

_SOCKET, _WATCHDOG, _WATCHED = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"
_SEND_SECONDS = 1.0
# Two words may be late before the manager takes us for dead.
_A_PERIOD = 3


class Supervision:
    """Tells a service manager how the service is; takes its variables away, as programs we run are not it."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        named, watchdog, watched = (environment.pop(name, "") for name in (_SOCKET, _WATCHDOG, _WATCHED))
        # A name that begins with @ is of Linux's abstract namespace, where a zero byte stands (unix(7)).
        self._path = f"\0{named[1:]}" if named.startswith("@") else named
        ours = watched in ("", str(os.getpid()))
        self._every = int(watchdog) / 1e6 / _A_PERIOD if ours and watchdog.isdecimal() else 0.0
        self._stopping = Event()

    def ready(self) -> None:
        """Say that calls are taken, or that the new configuration was read."""
        self._say("READY=1")

    def reloading(self) -> None:
        """Say that the configuration is read anew; `ready` follows."""
        self._say(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def leaving(self, seconds: float) -> None:
        """Say that the service stops, and how long it may take, whatever the unit says."""
        self._say(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def run(self) -> None:
        """Say at an interval, until `stop`, that the event loop runs, which alone runs this."""
        while True:
            if self._every:
                self._say("WATCHDOG=1")
            if self._stopping.wait(self._every or None):
                return

    def stop(self) -> None:
        """End `run`."""
        self._stopping.set()

    def _say(self, words: str) -> None:
        if not self._path:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(_SEND_SECONDS)
            sock.sendto(words.encode(), self._path)
