"""Native threads for what would hold the event loop: disks and codecs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, ParamSpec, TypeVar

import gevent
from gevent.threadpool import ThreadPool

_CLOSE_SECONDS = 2.0

P = ParamSpec("P")
T = TypeVar("T")


class Workers:
    """A bounded pool of native threads that greenlets wait for."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._shut_out = 0
        self._pool = ThreadPool(threads)

    @property
    def busy(self) -> int:
        """How many threads are at work, also for those who no longer wait for it."""
        return min(len(self._pool), self.threads)

    @property
    def waiting(self) -> int:
        """How much work waits for a thread."""
        # gevent lets one more in than there are threads.
        return self._shut_out + max(0, len(self._pool) - self.threads)

    def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run work on a thread and return its result or raise its error."""
        return self._outcome(lambda: work(*args, **kwargs)).unpack()

    def run_within(self, seconds: float, work: Callable[[], T], otherwise: T) -> T:
        """Run work, but wait no longer than this: a disk that hangs keeps its thread, not us."""
        limit = gevent.Timeout.start_new(seconds)
        try:
            # The wait for a free thread counts too: a stuck disk may hold them all.
            outcome = self._outcome(work)
        except gevent.Timeout as expired:
            if expired is not limit:
                raise
            return otherwise
        finally:
            limit.close()
        return outcome.unpack()

    def _outcome(self, work: Callable[[], T]) -> "_Outcome[T]":
        self._shut_out += 1
        try:
            started = self._pool.spawn(_try, work)
        finally:
            self._shut_out -= 1
        outcome: _Outcome[T] = started.get()  # type: ignore[assignment]
        return outcome

    def close(self) -> None:
        """Let the threads go, but for those that a disk holds."""
        with gevent.Timeout(_CLOSE_SECONDS, False):  # type: ignore[arg-type]
            self._pool.kill()


@dataclass(frozen=True, slots=True)
class _Outcome(Generic[T]):
    result: T | None
    error: Exception | None

    def unpack(self) -> T:
        if self.error is not None:
            raise self.error
        return self.result  # type: ignore[return-value]


def _try(work: Callable[[], T]) -> _Outcome[T]:
    """Carry an error back as a value: raised in a thread, gevent would also print its traceback."""
    try:
        return _Outcome(work(), None)
    except Exception as error:  # noqa: BLE001 - the greenlet that waits raises it
        return _Outcome(None, error)
