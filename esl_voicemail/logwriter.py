"""Log lines to a stream that may block: a native thread writes them, the service never waits.

A pipe whose reader has stopped would otherwise hold the event loop, and with it every call. Lines beyond
the bound are dropped, and so are those that the stream refuses, as a full disk does; how many is said in a
line of its own once there is room. A line is UTF-8, whatever the locale, and never half a line.
"""

from collections.abc import Callable
from io import RawIOBase

from gevent.monkey import get_original

_WAITING_AT_MOST = 10_000
_LAST_SECONDS = 2.0

_Queue = get_original("queue", "SimpleQueue")
_start_thread = get_original("_thread", "start_new_thread")
_allocate_lock = get_original("_thread", "allocate_lock")


class LogWriter:
    """Takes lines from any greenlet; `dropped` words the line that says how many were lost."""

    def __init__(self, stream: RawIOBase, dropped: Callable[[int], str]) -> None:
        self._stream = stream
        self._words = dropped
        self._waiting = _Queue()
        self._dropped = 0
        self._begun = b""
        self._done = _allocate_lock()
        self._done.acquire()
        _start_thread(self._run, ())

    def write(self, line: str) -> None:
        """Have a line written, soon."""
        if self._waiting.qsize() >= _WAITING_AT_MOST:
            self._dropped += 1
            return
        if self._dropped:
            self._waiting.put(self._words(self._dropped))
            self._dropped = 0
        self._waiting.put(line)

    def close(self) -> None:
        """Have the last lines written, within a limit."""
        self._waiting.put(None)
        self._done.acquire(timeout=_LAST_SECONDS)

    def _run(self) -> None:
        refused = 0
        while (line := self._waiting.get()) is not None:
            if refused and self._takes(self._words(refused)):
                refused = 0
            # A log that cannot be written must not stop a call.
            refused += not self._takes(line)
        if refused:
            self._takes(self._words(refused))
        self._done.release()

    def _takes(self, line: str) -> bool:
        """Write a line, unless nothing of it is taken; what is left of the one before comes first."""
        self._begun = self._rest_of(self._begun)
        if self._begun:
            return False
        whole = f"{line}\n".encode()
        left = self._rest_of(whole)
        if len(left) == len(whole):
            return False
        self._begun = left
        return True

    def _rest_of(self, data: bytes) -> bytes:
        """Write as much as the stream takes now and return the rest."""
        try:
            while data and (taken := self._stream.write(data)):
                data = data[taken:]
        except (OSError, ValueError):
            pass
        return data
