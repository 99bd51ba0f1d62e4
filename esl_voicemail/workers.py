"""Native threads for what would hold the event loop: disks and codecs."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import gevent
from gevent.threadpool import ThreadPool

P = ParamSpec("P")
T = TypeVar("T")


class Workers:
    """A bounded pool of native threads that greenlets wait for."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPool(threads)

    def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run work on a thread and return its result or raise its error."""
        result: T = self._pool.apply(work, args, kwargs)
        return result

    def run_within(self, seconds: float, work: Callable[[], T], otherwise: T) -> T:
        """Run work, but wait no longer than this: a disk that hangs keeps its thread, not us."""
        try:
            result: T = self._pool.spawn(work).get(timeout=seconds)  # type: ignore[assignment]
        except gevent.Timeout:
            return otherwise
        return result

    def close(self) -> None:
        """Let the threads go."""
        self._pool.kill()
