"""One native thread, which does one thing after the other while the greenlets that asked wait for it.

A pool of gevent's makes a watcher of the event loop and a greenlet for each piece of work; here one of each
stays. Who asks sets the limit of the wait: a disk that is stuck keeps the thread.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import gevent
from gevent.hub import Waiter
from gevent.monkey import get_original

T = TypeVar("T")

_Queue = get_original("queue", "SimpleQueue")
_start_thread = get_original("_thread", "start_new_thread")


class Thread:
    """A native thread at the service of the event loop that made it."""

    def __init__(self) -> None:
        self._asked = _Queue()
        self._done: deque[Callable[[], None]] = deque()
        # Does not keep an event loop going that has nothing else to wait for.
        self._woken = gevent.get_hub().loop.async_(ref=False)
        self._woken.start(self._answer)
        _start_thread(self._run, ())

    def run(self, work: Callable[[], T]) -> T:
        """Run work after what was asked before and return its result, or raise its error."""
        waiter: Waiter[Any] = Waiter()
        self._asked.put((waiter, work))
        result: T = waiter.get()
        return result

    def close(self) -> None:
        """Let the thread go once all that was asked is done."""
        self._asked.put(None)
        self._woken.stop()
        self._woken.close()

    def _answer(self) -> None:
        """Run by the event loop."""
        while self._done:
            self._done.popleft()()

    def _run(self) -> None:
        """Run in the thread."""
        while (asked := self._asked.get()) is not None:
            waiter, work = asked
            try:
                answer = partial(waiter.switch, work())
            except BaseException as error:  # noqa: BLE001 - who waits must hear of it
                answer = partial(waiter.throw, error)
            self._done.append(answer)
            # Nothing of it is kept until the next comes.
            del asked, waiter, work, answer
            self._woken.send()
