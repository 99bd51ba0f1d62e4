"""How far two sounds are the same speech, whatever was done to their loudness and their ends. Pure.

Both are a telephone's samples: 8000 a second, mono, 16-bit, little-endian.
"""

import sys
from array import array
from collections.abc import Sequence
from itertools import accumulate
from math import sqrt
from operator import mul

_RATE = 8000
_FRAME, _PART = _RATE // 100, _RATE // 4
_FURTHEST_FRAMES = 500


def likeness(said: bytes, heard: bytes) -> float:
    """Return how much of what was said is heard: 1 for all of it, about 0 for something else.

    That is the correlation of each quarter of a second with what is heard in its place, weighted by how loud
    it was said; what was cut off counts as not heard.
    """
    one, other = _samples(said), _samples(heard)
    if not one or not other:
        return 0.0
    shift = _shift(one, other)
    alike = loud = 0.0
    for at in range(0, len(one), _PART):
        part = one[at : at + _PART]
        power = sqrt(_product(part, part))
        alike += power * max(0.0, _correlation(part, _at(other, at + shift, len(part))))
        loud += power
    return alike / loud if loud else 0.0


def _samples(pcm: bytes) -> "array[int]":
    samples = array("h", pcm[: len(pcm) // 2 * 2])
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


def _shift(one: "array[int]", other: "array[int]") -> int:
    """Return by how many samples the other comes later: by the loudness first, then by the loudest part."""
    ones, others = _envelope(one), _envelope(other)
    furthest = min(_FURTHEST_FRAMES, max(len(ones), len(others)))
    frames = max(
        range(-furthest, furthest + 1),
        key=lambda by: _product(ones[max(0, -by) :], others[max(0, by) :]),
    )
    sums = [0.0, *accumulate(ones)]
    width = _PART // _FRAME
    loudest = max(
        range(max(1, len(ones) - width)), key=lambda at: sums[min(at + width, len(ones))] - sums[at]
    )
    first = loudest * _FRAME
    part = one[first : first + _PART]
    near = range((frames - 2) * _FRAME, (frames + 2) * _FRAME)
    return max(near, key=lambda by: _correlation(part, _at(other, first + by, len(part))))


def _envelope(samples: "array[int]") -> list[float]:
    parts = (samples[at : at + _FRAME] for at in range(0, len(samples), _FRAME))
    return [sqrt(_product(part, part)) for part in parts]


def _at(samples: "array[int]", first: int, count: int) -> "array[int]":
    """Return samples from a place on, silence where there are none."""
    before = array("h", bytes(2 * min(count, max(0, -first))))
    found = before + samples[max(0, first) : max(0, first + count)]
    return found + array("h", bytes(2 * (count - len(found))))


def _correlation(one: Sequence[int], other: Sequence[int]) -> float:
    power = _product(one, one) * _product(other, other)
    return _product(one, other) / sqrt(power) if power else 0.0


def _product(one: Sequence[float], other: Sequence[float]) -> float:
    total: float = sum(map(mul, one, other))
    return total
