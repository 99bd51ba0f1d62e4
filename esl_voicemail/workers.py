"""Native threads for what would hold the event loop: disks and codecs.

Less than gevent's own pool does, as every call comes here several times: the queue is native, and one watcher
brings back whatever has been done since the event loop last looked.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

import gevent
from gevent.event import Event
from gevent.hub import Waiter
from gevent.monkey import get_original

_CLOSE_SECONDS = 2.0

_Queue = get_original("queue", "SimpleQueue")
_start_thread = get_original("_thread", "start_new_thread")

P = ParamSpec("P")
T = TypeVar("T")


class Workers:
    """A bounded pool of native threads that greenlets wait for; of one event loop, its maker's."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._started = 0
        self._unfinished = 0
        self._queue = _Queue()
        self._finished: deque[_Work[Any]] = deque()
        self._loop = gevent.get_hub().loop
        self._woken = self._loop.async_()
        self._idle = Event()
        self._idle.set()

    @property
    def busy(self) -> int:
        """How many threads are at work, also for those who no longer wait for it."""
        return min(self._unfinished, self.threads)

    @property
    def waiting(self) -> int:
        """How much work waits for a thread."""
        return max(0, self._unfinished - self.threads)

    def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run work on a thread and return its result or raise its error."""
        mine = self._hand_over(lambda: work(*args, **kwargs))
        self._wait(mine)
        return mine.unpack()

    def run_within(self, seconds: float, work: Callable[[], T], otherwise: T) -> T:
        """Run work, but wait no longer than this: a disk that hangs keeps its thread, not us."""
        mine = self._hand_over(work)
        # The wait for a free thread counts too: a stuck disk may hold them all.
        limit = self._loop.timer(seconds)
        limit.start(mine.waiter.switch, None)
        try:
            self._wait(mine)
        finally:
            limit.close()
        return mine.unpack() if mine.done else otherwise

    def close(self) -> None:
        """Let the threads go, but for those that a disk holds."""
        for _ in range(self._started):
            self._queue.put(None)
        self._started = 0
        self._idle.wait(_CLOSE_SECONDS)

    def _hand_over(self, work: Callable[[], T]) -> "_Work[T]":
        mine = _Work(work)
        if not self._unfinished:
            # Only meanwhile, as an event loop ends when there is nothing left to come.
            self._woken.start(self._bring_back)
            self._idle.clear()
        self._unfinished += 1
        if self._started < min(self._unfinished, self.threads):
            self._start()
        self._queue.put(mine)
        return mine

    def _start(self) -> None:
        try:
            _start_thread(_work_off, (self._queue, self._finished, self._woken))
            self._started += 1
        except RuntimeError:
            # The system has none to give just now; without any, nobody would ever come to this work.
            if not self._started:
                self._settle()
                raise

    def _wait(self, mine: "_Work[T]") -> None:
        try:
            mine.waiter.get()
        finally:
            # Whoever stops waiting takes back what no thread has begun.
            if not mine.done and mine.take():
                mine.forget()
                self._settle()

    def _bring_back(self) -> None:
        # What comes meanwhile wakes the loop again: sockets have their turn first.
        for _ in range(len(self._finished)):
            done = self._finished.popleft()
            self._settle()
            done.waiter.switch(None)

    def _settle(self) -> None:
        self._unfinished -= 1
        if not self._unfinished:
            self._woken.stop()
            self._idle.set()


class _Work(Generic[T]):
    """A piece of work, and what came of it: an error too, for the greenlet that waits to raise."""

    __slots__ = ("_open", "_result", "_work", "done", "error", "waiter")

    def __init__(self, work: Callable[[], T]) -> None:
        self.waiter: Waiter[None] = Waiter()
        self.done = False
        self.error: BaseException | None = None
        self._work = work
        self._open = [None]

    def take(self) -> bool:
        """Return whether it is now whoever asks who has it; of a list, only one can take the last."""
        try:
            self._open.pop()
        except IndexError:
            return False
        return True

    def forget(self) -> None:
        """Let go of work that was taken back: behind threads that are stuck, the queue keeps it."""
        del self._work

    def do(self) -> None:
        """Do it, on a thread."""
        try:
            self._result = self._work()
        except BaseException as error:  # noqa: BLE001 - the greenlet that waits raises it
            self.error = error
        self.done = True

    def unpack(self) -> T:
        """Return the result, or raise the error."""
        if self.error is not None:
            raise self.error
        return self._result


def _work_off(queue: Any, finished: deque[_Work[Any]], woken: Any) -> None:
    """Run in a native thread, until there comes None."""
    while (work := queue.get()) is not None:
        if work.take():
            work.do()
            finished.append(work)
            woken.send()
        # Else it would be kept, with all that it holds, until there is something else to do.
        del work
