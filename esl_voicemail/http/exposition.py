"""What a registry holds, as text for Prometheus, a piece at a time: whoever else is due comes in between.

Hundreds of mailboxes make tens of thousands of series, which would hold calls up for most of a second.
However many ask, one text is written at a time, and in about half of the time that passes.
"""

import time
from collections.abc import Iterator
from copy import copy

import gevent
from gevent.event import AsyncResult
from gevent.lock import BoundedSemaphore
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_SAMPLES_AT_ONCE = 250
_AT_ONCE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.003, 0.005


class Scrapes:
    """A registry's text for all who ask; those who wait for the one in hand to be written share the next."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._one_at_a_time = BoundedSemaphore()
        self._next: AsyncResult[bytes] | None = None

    def text(self) -> bytes:
        """Return what the registry held after this was asked for, or raise what a collector raised."""
        if self._next is not None:
            shared: bytes = self._next.get()  # type: ignore[assignment]
            return shared
        mine: AsyncResult[bytes] = AsyncResult()
        self._next = mine
        with self._one_at_a_time:
            # Whoever asks from now on wants to know of what happens from now on.
            self._next = None
            try:
                text = exposition(self._registry)
            except BaseException as error:
                mine.set_exception(error)
                raise
        mine.set(text)
        return text


def exposition(registry: CollectorRegistry) -> bytes:
    """Return all families, each part of one as it was when its turn came."""
    return b"".join(_pieces(registry))


def _pieces(registry: CollectorRegistry) -> Iterator[bytes]:
    before, began = "", time.monotonic()
    for family in registry.collect():
        for start in range(0, len(family.samples) or 1, _SAMPLES_AT_ONCE):
            text = generate_latest(_Piece(family, start))
            # A family's HELP and TYPE stand above its first piece only.
            yield text.split(b"\n", 2)[2] if family.name == before else text
            before = family.name
            spent = time.monotonic() - began
            if spent >= _AT_ONCE_SECONDS:
                # A sleep of 0 would give other greenlets a turn, but gevent would look at no socket and no
                # clock for fifty of them on end.
                gevent.sleep(min(spent, _LONGEST_PAUSE_SECONDS))
                began = time.monotonic()


class _Piece:
    """A collector of some of one family's samples."""

    def __init__(self, family: Metric, start: int) -> None:
        self._family = copy(family)
        self._family.samples = family.samples[start : start + _SAMPLES_AT_ONCE]

    def collect(self) -> list[Metric]:
        """Return the family, with these samples alone."""
        return [self._family]
