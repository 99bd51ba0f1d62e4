"""What a registry holds, as text for Prometheus, a piece at a time: whoever else is due comes in between.

Hundreds of mailboxes make tens of thousands of series, which would hold calls up for most of a second.
"""

from collections.abc import Iterator
from copy import copy

import gevent
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_SAMPLES_AT_ONCE = 250


def exposition(registry: CollectorRegistry) -> bytes:
    """Return all families, each part of one as it was when its turn came."""
    return b"".join(_pieces(registry))


def _pieces(registry: CollectorRegistry) -> Iterator[bytes]:
    before = ""
    for family in registry.collect():
        for start in range(0, len(family.samples) or 1, _SAMPLES_AT_ONCE):
            text = generate_latest(_Piece(family, start))
            # A family's HELP and TYPE stand above its first piece only.
            yield text.split(b"\n", 2)[2] if family.name == before else text
            before = family.name
            gevent.sleep(0)


class _Piece:
    """A collector of some of one family's samples."""

    def __init__(self, family: Metric, start: int) -> None:
        self._family = copy(family)
        self._family.samples = family.samples[start : start + _SAMPLES_AT_ONCE]

    def collect(self) -> list[Metric]:
        """Return the family, with these samples alone."""
        return [self._family]
