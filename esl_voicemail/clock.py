"""The time, and how much of it has surely passed.

People set clocks, and computers wake up with wrong ones. What is shown and written is the wall clock's; what
is decided by an age looks at both the wall clock and the time since this process began, and takes the one
that does no harm.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


def _wall() -> datetime:
    return datetime.now(UTC)


def _since_boot() -> float:
    # Goes on while a machine sleeps, as CLOCK_MONOTONIC does not (clock_gettime(2)).
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Clock:
    """Call it for the time now, in UTC; `wall` and `running` are where it reads."""

    def __init__(
        self, wall: Callable[[], datetime] = _wall, running: Callable[[], float] = _since_boot
    ) -> None:
        self._wall = wall
        self._running = running
        self._began = wall()
        self._began_running = running()

    def __call__(self) -> datetime:
        """Return what the wall clock says."""
        return self._wall()

    def earliest(self) -> datetime:
        """Return the time to judge an end by: nothing expires because a clock was set forward."""
        return min(self._wall(), self._steady())

    def latest(self) -> datetime:
        """Return the time to judge a beginning by: nothing waits because a clock was set back."""
        return max(self._wall(), self._steady())

    def seconds(self) -> float:
        """Return the seconds since this process began, whatever is done to the wall clock."""
        return self._running() - self._began_running

    def set_by(self) -> timedelta:
        """Return by how much the wall clock was set forward, or, negative, back since this process began."""
        return self._wall() - self._steady()

    def _steady(self) -> datetime:
        return self._began + timedelta(seconds=self.seconds())
