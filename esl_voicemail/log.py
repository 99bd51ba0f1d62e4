"""The log of one running service: which events are said, how loud it is, and what is only counted.

How a line looks is `logline`'s, where it goes `write`'s, what there is to say telemetry's.
"""

import re
import traceback
from collections.abc import Callable, Hashable, Mapping
from datetime import datetime

from gevent.event import Event
from gevent.monkey import get_original

from esl_voicemail.logline import LEVELS, Value, render
from esl_voicemail.repeats import Repeats

# One line a call, an attempt, a transcript, a probe, a message that recovery settled or that waits for a
# person: what became of each is found in the log, whatever else is in it. And who asked for a reload waits
# for the answer.
ALWAYS_SAID = frozenset(
    {
        "call",
        "delivery",
        "transcript",
        "probe",
        "recovered",
        "held",
        "row_unreadable",
        "reload",
        "reload_refused",
    }
)
# Whose trouble it was, and how much of it, makes no other trouble of it; nor does an id in its words.
_OF_ONE = frozenset({"call", "message", "rcpt", "about", "attempt", "next_try", "duration_ms", "count"})
_ID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_HEIGHT = {level: height for height, level in enumerate(LEVELS)}
_COUNTED = frozenset({"warning", "error"})
_EVERY_SECONDS = 1.0

_allocate_lock = get_original("_thread", "allocate_lock")

_Said = tuple[str, str, Mapping[str, Value]]


class Log:
    """Says events, from any greenlet or native thread.

    Troubles that repeat are counted, with `times=`, once a clock for it is given: `seconds`, that only goes
    forward. Whoever gives one keeps `run` going.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        clock: Callable[[], datetime],
        *,
        style: str = "logfmt",
        level: str = "info",
        seconds: Callable[[], float] | None = None,
    ) -> None:
        self._write = write
        self._clock = clock
        self._style = style
        self._least = _HEIGHT[level]
        self._seconds = seconds
        self._repeats: Repeats[_Said] = Repeats()
        # Never held across a switch of greenlets, so a native lock keeps none of them waiting.
        self._counting = _allocate_lock()
        self._stopping = Event()

    def says(self, level: str) -> bool:
        """Whether lines of a level are written, or counted, at all."""
        return _HEIGHT[level] >= self._least

    def say(self, level: str, event: str, fields: Mapping[str, Value]) -> None:
        """Write an event's line, unless it is below the level, or one of many and comes with their count."""
        if not self.says(level):
            return
        if self._seconds is not None and level in _COUNTED and event not in ALWAYS_SAID:
            with self._counting:
                if not self._repeats.passes(
                    _kind(level, event, fields), (level, event, fields), self._seconds()
                ):
                    return
        self._line(level, event, fields)

    def louder(self) -> None:
        """Say more, by one level."""
        self._set(self._least - 1)

    def quieter(self) -> None:
        """Say less, by one level."""
        self._set(self._least + 1)

    def run(self) -> None:
        """Say what was counted, period by period, until `stop`."""
        while not self._stopping.wait(_EVERY_SECONDS):
            if self._seconds is not None:
                with self._counting:
                    due = self._repeats.due(self._seconds())
                self._say_counted(due)

    def stop(self) -> None:
        """End `run`, and say all that was counted; from now on all is said as it comes."""
        self._stopping.set()
        self._seconds = None
        with self._counting:
            rest = self._repeats.rest()
        self._say_counted(rest)

    def _set(self, least: int) -> None:
        self._least = min(max(least, 0), len(LEVELS) - 1)
        # Whoever asked by a signal sees that it arrived, however quiet the log is.
        self._line("info", "log_level", {"now": LEVELS[self._least]})

    def _say_counted(self, troubles: list[tuple[_Said, int]]) -> None:
        for (level, event, fields), times in troubles:
            self._line(level, event, {**fields, "times": times if times > 1 else None})

    def _line(self, level: str, event: str, fields: Mapping[str, Value]) -> None:
        self._write(render(self._style, self._clock(), level, event, fields))


def _kind(level: str, event: str, fields: Mapping[str, Value]) -> Hashable:
    """What two troubles share that are the same one."""
    said = ((key, value) for key, value in fields.items() if key not in _OF_ONE)
    return (
        level,
        event,
        *((key, _ID.sub("", value) if isinstance(value, str) else value) for key, value in said),
    )


def raised_at(error: BaseException) -> str:
    """Return where an error was raised and by way of whom, the nearest first, as one line says it."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    return " < ".join(f"{one.filename.rpartition('/')[2]}:{one.lineno}" for one in reversed(frames))
