"""How often others get their turn while something is done on the event loop."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import gevent


@dataclass
class Turns:
    """Turns that were taken so far."""

    taken: int = 0


@contextmanager
def turns() -> Iterator[Turns]:
    """Take every turn there is within a block, by a greenlet beside it."""
    counted = Turns()

    def take() -> None:
        while True:
            counted.taken += 1
            gevent.sleep(0)

    taking = gevent.spawn(take)
    try:
        yield counted
    finally:
        taking.kill()
