"""Log lines to a stream that may block: a native thread writes them, the service never waits.

A pipe whose reader has stopped would otherwise hold the event loop, and with it every call. Lines beyond
the bound are dropped and counted; how many is said in a line of its own once there is room.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

from gevent.monkey import get_original

_WAITING_AT_MOST = 10_000
_LAST_SECONDS = 2.0
# Lines that come so close are written together: to wake a thread for each costs more than to write it.
_GATHER_SECONDS = 0.02

_Queue = get_original("queue", "SimpleQueue")
_start_thread = get_original("_thread", "start_new_thread")
_allocate_lock = get_original("_thread", "allocate_lock")
_sleep = get_original("time", "sleep")


class LogWriter:
    """Takes lines from any greenlet; `dropped` words the line that says how many were lost."""

    def __init__(self, stream: TextIO, dropped: Callable[[int], str]) -> None:
        self._stream = stream
        self._words = dropped
        self._waiting = _Queue()
        self._dropped = 0
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
        line = self._waiting.get()
        while line is not None:
            _sleep(_GATHER_SECONDS)
            lines = [line]
            while self._waiting.qsize() and (line := self._waiting.get()) is not None:
                lines.append(line)
            # A log that cannot be written must not stop a call.
            with suppress(OSError, ValueError):
                self._stream.write("".join(f"{one}\n" for one in lines))
                self._stream.flush()
            if line is not None:
                line = self._waiting.get()
        self._done.release()
