"""The service itself, its event loop watched: how long one greenlet held it, and how late a timer came.

What `esl-voicemail` runs, with a trace of each switch between greenlets. The maxima stand in a file that
both sides map; `Watch` is the other side of it. What the thread waited for a processor is taken off what a
greenlet held: that is the machine's, not ours.
"""

import mmap
import os
import struct
import sys
from pathlib import Path

VARIABLE = "BENCH_WATCH"
_TIMES = struct.Struct("ddd")
_SIZE = 4096
_EVERY_SECONDS = 0.005
_WORTH_SECONDS = 0.002


class Watch:
    """The longest holds and the longest lateness since the last `forget`, in seconds; and who held it."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_SIZE))
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), _SIZE)

    @property
    def times(self) -> tuple[float, float, float]:
        """How long it was held, how long by the clock on the wall, how late a timer was."""
        held, wall, late = _TIMES.unpack_from(self._shared)
        return held, wall, late

    @property
    def holder(self) -> str:
        """Who held it longest, by where he then let go."""
        return self._shared[_TIMES.size :].rstrip(b"\0").decode("utf-8", "replace")

    def forget(self) -> None:
        """Begin anew."""
        self._shared[:] = bytes(_SIZE)

    def held(self, seconds: float, wall: float, holder: object) -> None:
        """Note how long somebody ran without a pause."""
        longest, by_wall, late = self.times
        _TIMES.pack_into(self._shared, 0, max(seconds, longest), max(wall, by_wall), late)
        if seconds > longest:
            words = _places(holder).encode()[: _SIZE - _TIMES.size]
            self._shared[_TIMES.size :] = words.ljust(_SIZE - _TIMES.size, b"\0")

    def late(self, seconds: float) -> None:
        """Note how late a timer was."""
        held, wall, latest = self.times
        _TIMES.pack_into(self._shared, 0, held, wall, max(seconds, latest))


def _places(holder: object) -> str:
    frame, places = getattr(holder, "gr_frame", None), []
    while frame is not None:
        places.append(f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}")
        frame = frame.f_back
    return " < ".join(places) or repr(holder)


def _look(watch: Watch) -> None:
    """Watch this thread's event loop from now on."""
    import time

    import gevent
    import greenlet

    hub, clock = gevent.get_hub(), time.perf_counter
    schedule = os.open("/proc/thread-self/schedstat", os.O_RDONLY)

    def waited() -> float:
        """Return how long this thread has waited for a processor since it began."""
        return int(os.pread(schedule, 100, 0).split()[1]) / 1e9

    began, due, before = clock(), clock() + _EVERY_SECONDS, waited()

    def switched(_: str, between: "tuple[object, object]") -> None:
        nonlocal began, before
        now = clock()
        if between[0] is not hub and now - began > _WORTH_SECONDS:
            # `before` is no older than the timer's last turn, and in what is long there is none.
            waiting, before = -before, waited()
            watch.held(now - began - min(now - began, waiting + before), now - began, between[0])
        began = now

    def rung() -> None:
        nonlocal due, before
        now, before = clock(), waited()
        if now - due > _WORTH_SECONDS:
            watch.late(now - due)
        due = now + _EVERY_SECONDS

    hub.loop.timer(_EVERY_SECONDS, _EVERY_SECONDS).start(rung)
    greenlet.settrace(switched)  # type: ignore[attr-defined]


if __name__ == "__main__":
    from esl_voicemail import __main__ as service

    _look(Watch(Path(os.environ[VARIABLE])))
    sys.exit(service.main())  # type: ignore[func-returns-value]
