"""Log lines to a stream that may block: a native thread writes them, the service never waits.

A pipe whose reader has stopped would otherwise hold the event loop, and with it every call. Lines beyond
the bound, and those that a full disk refuses, are dropped and counted; how many is said in a line of its own
once there is room. A line that was begun is finished then: none is broken.
"""

import os
from collections.abc import Callable
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
        # Past the stream, whose buffer would keep what was refused, or not, and tell nobody.
        stream.flush()
        self._file = stream.fileno()
        self._encoding = stream.encoding
        self._words = dropped
        self._waiting = _Queue()
        # Each is counted by one thread alone.
        self._dropped = self._refused = 0
        self._begun = b""
        self._done = _allocate_lock()
        self._done.acquire()
        _start_thread(self._run, ())

    @property
    def dropped(self) -> int:
        """How many lines are lost, and not said to be yet."""
        return self._dropped + self._refused

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
            self._put(lines)
            if line is not None:
                line = self._waiting.get()
        self._put([])
        self._done.release()

    def _put(self, lines: list[str]) -> None:
        """Write what was begun, how many were refused before, and lines; count those that are refused now."""
        said = [self._words(self._refused), *lines] if self._refused else lines
        text = self._begun + "".join(f"{one}\n" for one in said).encode(self._encoding, "backslashreplace")
        at = self._taken(text)
        in_a_line = text[at - 1 : at] != b"\n" if at else bool(self._begun)
        end = text.index(b"\n", at) + 1 if in_a_line else at
        self._begun = text[at:end]
        left = text.count(b"\n", end)
        # One more than the lines: how many were refused before is not said either.
        self._refused = left if left <= len(lines) else self._refused + len(lines)

    def _taken(self, text: bytes) -> int:
        """Return how much of a text could be written: a log that cannot be must not stop a call."""
        at = 0
        try:
            while at < len(text):
                at += os.write(self._file, text[at:])
        except OSError:
            pass
        return at
