"""How far long work has come, told now and then; of short work nothing is. A terminal's bars are `cli`'s."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

EVERY_SECONDS = 5.0

T = TypeVar("T")


def told(work: Sequence[T], tell: Callable[[int, int], None], seconds: float = EVERY_SECONDS) -> Iterator[T]:
    """Go through work; every some seconds, tell how much of how much is done."""
    last = time.monotonic()
    for done, one in enumerate(work):
        now = time.monotonic()
        if done and now - last >= seconds:
            tell(done, len(work))
            last = now
        yield one
