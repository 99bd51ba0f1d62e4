"""The time, and how much of it has surely passed.

People set clocks, and computers wake up with wrong ones. What is shown and written is the wall clock's; what
is decided by an age looks at both the wall clock and the time since this process began, and takes the one
that does no harm.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

_MINUTE, _DAY = timedelta(minutes=1), timedelta(days=1)


def _wall() -> datetime:
    return datetime.now(UTC)


def _since_boot() -> float:
    # Goes on while a machine sleeps, as CLOCK_MONOTONIC does not (clock_gettime(2)).
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Clock:
    """Call it for the time now, in UTC; `wall` and `running` are where it reads.

    A clock that was wrong by more than a day, as one without a battery is when a machine starts, is believed
    once it has stood corrected for a day.
    """

    def __init__(
        self, wall: Callable[[], datetime] = _wall, running: Callable[[], float] = _since_boot
    ) -> None:
        self._wall = wall
        self._running = running
        self._zero = self._began_running = self._set_at = running()
        self._began = wall()
        self._set_by = timedelta()

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
        return self._running() - self._zero

    def _steady(self) -> datetime:
        wall, running = self._wall(), self._running()
        steady = self._began + timedelta(seconds=running - self._began_running)
        if abs(wall - steady - self._set_by) > _MINUTE:
            self._set_by, self._set_at = wall - steady, running
        elif abs(self._set_by) > _DAY and running - self._set_at > _DAY.total_seconds():
            self._began, self._began_running, self._set_by = wall, running, timedelta()
            return wall
        return steady
