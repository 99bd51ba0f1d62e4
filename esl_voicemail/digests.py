"""What the files were that were digested a moment ago, as long as they stand as they did then.

A recording is read when it is kept, and again when it is mailed; to digest it takes longer than to read it.
How a file stands tells of every write that began since; not of what is stored through a mapping of it
(mmap(2)), which no switch does, nor of a disk's decay within the minute that a digest is known for.
"""

import os
import time
from collections import OrderedDict

from gevent.monkey import get_original

# Who kept it for longer may have changed it below the file system.
_SECONDS = 60.0
_MOST = 4096
# CLOCK_REALTIME_COARSE, by whose ticks the kernel dates what is done to a file (clock_gettime(2)).
_TICKS = 5
# Some file systems count whole seconds, or every other.
_SECOND_NS = 10**9

# A real lock: gevent's patch made the others greenlets' locks.
_allocate_lock = get_original("_thread", "allocate_lock")

_Standing = tuple[int, int, int, int, int]


class Digests:
    """Digests by how their files stood when they were read; for threads, and bounded in number and time."""

    def __init__(self, seconds: float = _SECONDS, most: int = _MOST) -> None:
        self._seconds = seconds
        self._most = most
        self._noted: OrderedDict[_Standing, tuple[float, str]] = OrderedDict()
        self._lock = _allocate_lock()

    def note(self, stood: os.stat_result, digest: str) -> None:
        """Note what a file was that stood so before it was read, when `tells_changes` said yes to that."""
        with self._lock:
            self._noted[_standing(stood)] = time.monotonic(), digest
            if len(self._noted) > self._most:
                self._noted.popitem(last=False)

    def of(self, stands: os.stat_result) -> str | None:
        """Return the digest of a file that stands so after it was read, or None where it is not known."""
        with self._lock:
            noted_at, digest = self._noted.get(_standing(stands), (0.0, None))
        return digest if digest and time.monotonic() - noted_at < self._seconds else None


def tells_changes(status: os.stat_result) -> bool:
    """Whether any change from now on shows in how a file stands: one in the tick of the last would not."""
    counts_seconds = status.st_ctime_ns % _SECOND_NS == 0
    return time.clock_gettime_ns(_TICKS) > status.st_ctime_ns + (2 * _SECOND_NS if counts_seconds else 0)


def _standing(status: os.stat_result) -> _Standing:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
